"""dump() lists all that is suspended, with the lines of a traceback."""

import asyncio
import functools
import io
import json
import random
import re
import sys
import threading
import time
import traceback

import pytest

import copool
import copool.aio
from copool import Coroutine, yield_
from copool._core import _greenlet_names
from copool.aio import await_, run_sync

names = _greenlet_names()
greenlet, getcurrent = names["greenlet"], names["getcurrent"]


def dumped(**options):
    out = io.StringIO()
    assert copool.dump(out, **options) is None
    return out.getvalue()


def groups(**options):
    """Those of this file, from what is on a line of JSON."""
    return [
        group
        for group in json.loads(dumped(format="json", **options))["groups"]
        if any(place["file"] == __file__ for place in group["stack"])
    ]


def group_of(function, **options):
    """The one in whose stack the function is."""
    (group,) = (
        group
        for group in groups(**options)
        if any(p["function"].endswith(function.__qualname__) for p in group["stack"])
    )
    return group


def functions(group):
    return [
        place["function"].rpartition(".<locals>.")[2]
        for place in group["stack"]
        if place["file"] == __file__
    ]


def line_of(function, offset=1):
    return function.__code__.co_firstlineno + offset


def wait():
    yield_()


def wait_below():
    wait()


@pytest.fixture
def suspended():
    """Makes coroutines that are suspended, and ends them."""
    made = []

    def make(function, *args, **options):
        co = Coroutine(function, **options)
        co.enter(*args)
        made.append(co)
        return co

    yield make
    for co in made:
        co.close()


@pytest.fixture
def noting():
    """Puts back what is noted."""
    before = copool._core._noted()
    yield copool.note
    copool._core._note(*before)


# --- coroutines ---------------------------------------------------------------


def test_suspended(suspended):
    suspended(wait_below, name="worker")
    assert group_of(wait_below) == {
        "count": 1,
        "kind": "coroutine",
        "state": "suspended",
        "thread": threading.get_ident(),
        "threads": 1,
        "entered_by": None,
        "made_by": None,
        "made_elsewhere": 0,
        "newest_seconds": None,
        "oldest_seconds": None,
        "names": ["worker"],
        "more_names": False,
        "stack": [
            {"function": "wait", "file": __file__, "line": line_of(wait)},
            {"function": "wait_below", "file": __file__, "line": line_of(wait_below)},
        ],
        "more_frames": False,
    }


def test_running_and_waiting():
    """What runs does not show that it is in dump()."""
    found = []

    def inner():
        found.extend(groups())

    def outer():
        Coroutine(inner, name="in").enter()

    Coroutine(outer, name="out").enter()
    running, waiting, thread = (
        next(g for g in found if functions(g)[-1:] == [name])
        for name in ("inner", "outer", "test_running_and_waiting")
    )
    assert (running["kind"], running["state"]) == ("coroutine", "running")
    assert running["names"] == ["in"]
    assert functions(running) == ["dumped", "groups", "inner"]
    assert running["entered_by"] == {
        "function": outer.__qualname__,
        "file": __file__,
        "line": line_of(outer),
    }
    assert (waiting["state"], functions(waiting)) == ("waiting", ["outer"])
    assert waiting["entered_by"]["function"] == "test_running_and_waiting"
    assert (thread["kind"], thread["state"]) == ("thread", "waiting")
    assert thread["entered_by"] is None


def test_own_chain_runs():
    assert functions(group_of(test_own_chain_runs))[-1] == "test_own_chain_runs"
    found = group_of(test_own_chain_runs)
    assert (found["kind"], found["state"]) == ("thread", "running")
    assert "/_dump.py" not in found["stack"][0]["file"]


def test_neither_created_nor_finished_nor_parked():
    created, finished = Coroutine(wait_below), Coroutine(int)
    finished.enter()
    asyncio.run(runs_through())  # leaves a strand that is parked
    assert [g for g in groups() if g["kind"] != "thread"] == []
    created.close()


async def runs_through():
    await run_sync(int)


def test_equal_ones_once(suspended):
    for i in range(5):
        suspended(wait_below, name=f"below-{i}")
    for i in range(3):
        suspended(wait, name=f"wait-{i}")
    suspended(lambda: wait())
    found = [g for g in groups() if g["kind"] == "coroutine"]
    assert [g["count"] for g in found] == [5, 3, 1]
    assert found[0]["names"] == ["below-4", "below-3", "below-2"]
    assert (found[0]["more_names"], found[1]["more_names"]) == (True, False)
    assert found[1]["names"] == ["wait-2", "wait-1", "wait-0"]


def test_another_line_is_another_group(suspended):
    def two_lines():
        wait()
        wait()

    suspended(two_lines)
    suspended(two_lines).enter()
    found = [g for g in groups() if "two_lines" in functions(g)]
    assert sorted(g["stack"][1]["line"] - line_of(two_lines) for g in found) == [0, 1]


def test_limit(suspended):
    for _ in range(3):
        suspended(wait)
    suspended(wait_below)
    whole = json.loads(dumped(format="json"))
    some = json.loads(dumped(format="json", limit=1))
    assert len(some["groups"]) == 1
    assert some["chains"] == whole["chains"]
    assert some["left_out"] == {
        "groups": len(whole["groups"]) - 1,
        "chains": whole["chains"] - some["groups"][0]["count"],
    }
    assert json.loads(dumped(format="json", limit=0))["groups"] == []
    assert whole["left_out"] == {"groups": 0, "chains": 0}


def test_deep_stacks_end_with_the_outermost_left_out(suspended):
    def deep(n):
        deep(n - 1) if n else wait()

    suspended(deep, 150)
    suspended(deep, 98)
    longest = [g for g in groups() if "deep" in functions(g)]
    by_end = {g["more_frames"]: len(g["stack"]) for g in longest}
    assert by_end == {True: 100, False: 100}


def test_what_is_no_python_code(suspended):
    suspended(yield_, name="alone")
    assert "'alone', suspended" in dumped()
    assert "  (no Python code)\n" in dumped().partition("'alone'")[2]


def test_generators_and_c_code_in_between(suspended):
    def key(x):
        yield_()
        return x

    def generated():
        yield from sorted([2, 1], key=key)

    def body():
        list(generated())

    co = suspended(body)
    assert functions(group_of(body)) == ["key", "generated", "body"]
    co.enter(), co.enter()


# --- lines --------------------------------------------------------------------


def program(seed):
    """A function that yields at lines which are far apart, before and behind."""
    rng = random.Random(seed)
    lines = ["def body(yield_):"]
    for _ in range(60):
        lines += [""] * rng.choice([0, 0, 1, 3, 40, 700])
        shape = rng.randrange(6)
        if shape == 0:
            lines.append("    yield_()")
        elif shape == 1:
            lines += [
                "    print(",
                *[""] * rng.choice([0, 5, 90]),
                "      end=yield_()",
            ]
            lines += [" or ''", "      , sep='', file=None or sink)"]
        elif shape == 2:
            lines += ["    for i in range(2):", "        yield_(", "        )"]
        elif shape == 3:
            lines += ["    try:", "        1 / 0", "    except ZeroDivisionError:"]
            lines += ["        yield_()", "    finally:", "        yield_()"]
        elif shape == 4:
            lines += [f"    x = [yield_() for _ in 'ab']{' ' * rng.randrange(200)}"]
        else:
            lines += ["    with lock:", "        (lambda: ", "          yield_())()"]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(8))
def test_lines_are_those_of_tracebacks(seed):
    space = {"sink": io.StringIO(), "lock": threading.RLock()}
    exec(compile(program(seed), "made-up.py", "exec"), space)
    co = Coroutine(space["body"])
    co.enter(yield_)
    count = 0
    while not co.done:
        stack = [
            (frame.f_code.co_qualname, line)
            for frame, line in traceback.walk_stack(co.frame)
        ]
        (found,) = (
            g
            for g in json.loads(dumped(format="json"))["groups"]
            if any(place["file"] == "made-up.py" for place in g["stack"])
        )
        assert [(p["function"], p["line"]) for p in found["stack"]] == stack
        count += 1
        co.enter()
    assert count > 50


# --- names --------------------------------------------------------------------


class Text(str):
    pass


NAMES = {
    "worker": "worker",
    "é": "é",
    "日本": "日本",
    "😀": "😀",
    "a\nb\tc\rd": r"a\nb\tc\rd",
    "\x1b[31mred\x7f\x85": r"\x1b[31mred\x7f\x85",
    "'\"\\": "'\"\\",
    "\udc80 \ud83d": r"\udc80 \ud83d",
    "é\udc80": r"é\udc80",
    "\u202eback\u2028": r"\u202eback\u2028",
    "": "",
    "\0": r"\x00",
    Text("derived"): "derived",
    Text("d\u00e9riv\u00e9 \u4e2d"): "dérivé 中",
}


@pytest.mark.parametrize("name", NAMES)
def test_names(suspended, name):
    suspended(wait_below, name=name)
    assert group_of(wait_below)["names"] == [str(name)]
    assert f"coroutine '{NAMES[name]}', suspended" in dumped()


def test_long_names_are_cut(suspended):
    suspended(wait_below, name="x" * 10000)
    assert group_of(wait_below)["names"] == ["x" * 500 + "…"]


class Callable:
    def __call__(self):
        wait()

    def method(self):
        wait()

    @classmethod
    def of_class(cls):
        wait()


class Constructed:
    def __init__(self):
        wait()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (wait, "wait"),
        (Callable().method, "Callable.method"),
        (Callable.of_class, "Callable.of_class"),
        (Callable(), "Callable"),
        (Constructed, "Constructed"),
        (functools.partial(wait), "functools.partial"),
    ],
)
def test_without_a_name_that_of_the_function(suspended, function, name):
    suspended(function)
    (found,) = (g for g in groups() if g["kind"] == "coroutine")
    assert found["names"] == [name]


# --- greenlets ----------------------------------------------------------------


class Derived(greenlet):
    pass


class Slots(greenlet):
    __slots__ = ("name",)


@pytest.mark.parametrize("kind", [greenlet, Derived])
@pytest.mark.parametrize(
    ("name", "shown"),
    [("g", "g"), ("grün", "grün"), (5, "switch_back"), (None, "switch_back")],
)
def test_greenlets(kind, name, shown):
    def switch_back():
        main.switch()

    main = getcurrent()
    made = kind(switch_back)
    made.before = 1
    if name is not None:
        made.name = name
    made.behind = "name"
    made.switch()
    found = group_of(switch_back)
    assert (found["kind"], found["state"]) == ("greenlet", "suspended")
    assert [n.rpartition(".")[2] for n in found["names"]] == [shown]
    assert functions(found) == ["switch_back"]
    made.switch()


def test_coroutine_in_a_greenlet_waits_with_it():
    def innermost():
        main.switch()

    def outer():
        Coroutine(innermost).enter()

    main = getcurrent()
    made = greenlet(outer)
    made.switch()
    inside = group_of(innermost)
    (outside,) = (g for g in groups() if functions(g) == ["outer"])
    assert (inside["kind"], inside["state"]) == ("coroutine", "waiting")
    assert functions(inside) == ["innermost"]
    assert inside["entered_by"]["function"] == outer.__qualname__
    assert (outside["kind"], outside["state"]) == ("greenlet", "suspended")
    made.switch()


def test_thread_is_suspended_while_a_greenlet_runs():
    found = []
    made = greenlet(lambda: found.extend(groups()))
    made.switch()
    states = {g["kind"]: g["state"] for g in found}
    assert states == {"greenlet": "running", "thread": "suspended"}


# --- what is awaited ----------------------------------------------------------


async def leaf(event):
    await event.wait()


async def plain(event):
    await leaf(event)


def waits_below(event):
    await_(leaf(event))


async def anywhere(event):
    waits_below(event)


async def called(event):
    await run_sync(waits_below, event)


async def entered(event):
    Coroutine(waits_below).enter(event)


def run_tasks(coroutine, *task_names, then=lambda tasks: None, runner=None):
    """What is dumped while they wait."""

    async def main():
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(coroutine(event), name=n) for n in task_names]
        await asyncio.sleep(0)
        then(tasks)
        await asyncio.sleep(0)
        found = [g for g in groups() if g["state"] != "running"]
        event.set()
        await asyncio.gather(*tasks)
        return [g for g in found if g["kind"] != "thread"]

    if runner:
        return runner(main())
    return copool.aio.run(main(), foreign_greenlets=True)


def test_task_in_a_plain_await():
    (found,) = run_tasks(plain, "a", "b")
    assert (found["count"], found["kind"], found["state"]) == (
        2,
        "awaited",
        "suspended",
    )
    assert (found["thread"], found["threads"]) == (None, 0)
    assert (found["names"], functions(found)) == (["b", "a"], ["leaf", "plain"])
    assert found["stack"][0]["function"].endswith("Event.wait")


def test_task_in_await_():
    (found,) = run_tasks(anywhere, "a")
    assert (found["kind"], found["state"], found["names"]) == (
        ("awaited", "suspended", ["a"])
    )
    assert found["thread"] == threading.get_ident()
    assert functions(found) == ["leaf", "waits_below", "anywhere"]


def test_task_that_awaits_a_call():
    inside, outside = run_tasks(called, "a")
    assert (outside["names"], inside["names"]) == (["a"], ["waits_below"])
    assert functions(outside) == ["leaf", "waits_below", "called"]
    assert functions(inside) == ["leaf", "waits_below"]


def test_coroutine_in_a_task():
    inside, outside = run_tasks(entered, "a")
    assert (inside["kind"], inside["state"]) == ("coroutine", "waiting")
    assert functions(inside) == ["leaf", "waits_below"]
    assert (outside["kind"], outside["state"]) == ("awaited", "suspended")
    assert functions(outside) == ["entered"]


def test_call_on_a_plain_loop():
    (found,) = run_tasks(called, "a", runner=asyncio.run)
    assert (found["names"], functions(found)) == (
        (["waits_below"], ["leaf", "waits_below"])
    )


def test_task_names():
    def rename(tasks):
        tasks[0].set_name("renamed")
        tasks[1].set_name("ümlaut")

    (found,) = run_tasks(plain, "a", "b", None, then=rename)
    numbered, *others = found["names"]
    assert others == ["ümlaut", "renamed"]
    assert re.fullmatch(r"Task-\d+", numbered)


def test_names_of_tasks_of_another_class():
    """Written in Python, they keep their names where nothing can be read."""

    class Other(asyncio.tasks._PyTask):
        pass

    def factory(loop, coro, **options):
        return Other(coro, loop=loop, **options)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        copool.aio.install(loop, foreign_greenlets=True)
        event = asyncio.Event()
        task = loop.create_task(plain(event))
        await asyncio.sleep(0)
        found = group_of(plain)
        event.set()
        await task
        return found["names"]

    assert asyncio.run(main()) == ["plain"]


# --- threads ------------------------------------------------------------------


def test_threads():
    ready, done = threading.Barrier(4), threading.Event()

    def in_thread():
        co = Coroutine(wait_below)
        co.enter()
        ready.wait()
        done.wait()
        co.close()

    threads = [threading.Thread(target=in_thread, name=f"t{i}") for i in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    while sum(functions(g) == ["in_thread"] for g in groups()) != 1:
        time.sleep(0.001)  # all of them in done.wait()
    whole = json.loads(dumped(format="json"))
    found, text = group_of(wait_below), dumped()
    done.set()
    for thread in threads:
        thread.join()
    assert (found["count"], found["threads"]) == (3, 3)
    idents = {t["ident"]: t for t in whole["threads"]}
    assert {idents[t.ident]["name"] for t in threads} == {"t0", "t1", "t2"}
    assert {idents[t.ident]["native_id"] for t in threads} == {
        t.native_id for t in threads
    }
    assert all(idents[t.ident]["switches"] == 2 for t in threads)
    assert re.search(
        r"3 × coroutine, suspended, in t\d \(\d+\) and 2 other threads", text
    )


# --- what is noted ------------------------------------------------------------


def test_makers(suspended, noting):
    def elsewhere():
        suspended(wait_below)

    noting(makers=True)
    for _ in range(2):
        suspended(wait_below)
    elsewhere()
    noting(makers=False)
    suspended(wait_below)
    noting(makers=True)
    found = group_of(wait_below)
    line = line_of(suspended)
    assert found["made_by"] == f"suspended.<locals>.make ({__file__}:{line})"
    assert (found["count"], found["made_elsewhere"]) == (4, 1)
    assert (
        f"  made by suspended.<locals>.make ({__file__}:{line}) and 1 elsewhere\n"
        in (dumped())
    )


def test_makers_of_tasks_are_outside_asyncio(noting):
    noting(makers=True)
    (found,) = run_tasks(plain, "a")
    assert found["made_by"].startswith(
        "run_tasks.<locals>.main.<locals>.<listcomp> ("
    ) or (found["made_by"].startswith("run_tasks.<locals>.main ("))


def test_times(suspended, noting):
    suspended(wait_below)
    noting(times=True)
    assert group_of(wait_below)["oldest_seconds"] is None
    before = time.monotonic()
    old = suspended(wait)
    time.sleep(0.02)
    young = suspended(wait)
    found = next(g for g in groups() if functions(g) == ["wait"])
    passed = time.monotonic() - before
    assert 0.02 <= found["oldest_seconds"] <= passed
    assert 0 <= found["newest_seconds"] <= passed - 0.02
    assert "  waits for 0 s\n" in dumped()
    assert (old.state, young.state) == ("suspended", "suspended")
    noting(times=False)
    assert all(g["oldest_seconds"] is None for g in groups())


def test_older_than(suspended, noting):
    noting(times=True)
    suspended(wait)
    time.sleep(0.05)
    suspended(wait_below)
    found = groups(older_than=0.04)
    assert [functions(g) for g in found] == [["wait"]]
    text = dumped(older_than=0.04)
    assert re.match(
        r"copool: \d+ chains in 1 thread of .*\nsuspended for more than 0.04 s: 1\n",
        text,
    )
    assert json.loads(dumped(format="json", older_than=0.04))["older_than"] == 0.04
    assert json.loads(dumped(format="json", older_than=1000))["groups"] == []


def test_note_leaves_what_is_not_given(noting):
    seen = []
    for options in ({"makers": True}, {"times": True}, {}, {"makers": False}):
        noting(**options)
        seen.append(copool._core._noted())
    assert seen == [(True, False), (True, True), (True, True), (False, True)]


# --- how it is asked for ------------------------------------------------------


def test_file_is_standard_error_and_written_to_once(capsys, monkeypatch):
    copool.dump()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("copool: ")

    class File:
        def __init__(self):
            self.texts = []

        def write(self, text):
            self.texts.append(text)

    file = File()
    copool.dump(file)
    assert [text[:8] for text in file.texts] == ["copool: "]
    monkeypatch.setattr(sys, "stderr", None)
    copool.dump()


def test_errors_of_the_file_pass():
    class Refuses:
        def write(self, text):
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        copool.dump(Refuses())
    with pytest.raises(AttributeError):
        copool.dump(5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "xml"}, ValueError, "format must be 'text' or 'json', not 'xml'"),
        ({"format": None}, ValueError, "format must be 'text' or 'json', not None"),
        ({"limit": 1.5}, TypeError, "limit must be an int or None, not float"),
        ({"limit": True}, TypeError, "limit must be an int or None, not bool"),
        ({"limit": -1}, ValueError, "limit must be from 0 to"),
        ({"limit": 1 << 64}, ValueError, "limit must be from 0 to"),
        ({"older_than": "1"}, TypeError, "older_than must be a number of seconds"),
        ({"older_than": -1}, ValueError, "older_than must be from 0 to 1e9"),
        ({"older_than": float("nan")}, ValueError, "older_than must be from 0 to 1e9"),
        ({"older_than": 1}, ValueError, "call copool.note"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        copool.dump(io.StringIO(), **options)


def test_a_name_is_a_string():
    with pytest.raises(TypeError, match="name must be a str, not int"):
        Coroutine(wait, name=5)


# --- how long it takes --------------------------------------------------------


@pytest.mark.alone
def test_ten_thousand(suspended):
    def deep(n):
        deep(n - 1) if n else wait()

    for i in range(10_000):
        suspended(deep, i % 7, name=f"worker-{i}")
    times = []
    for _ in range(5):
        before = time.process_time()
        text = dumped(limit=1)
        times.append(time.process_time() - before)
    assert text.startswith("copool: 10,00")
    assert min(times) < 0.2
