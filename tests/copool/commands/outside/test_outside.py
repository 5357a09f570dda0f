"""`copool ps` and `copool dump` read processes that know nothing of them, unchanged."""

import io
import json
import os
import pwd
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path

import pytest

import copool
from copool.commands.outside import cli, table
from copool.commands.outside.core import Core
from copool.commands.outside.memory import BadAddress, Gone, Memory, OutsideError
from copool.commands.outside.process import Process
from copool.commands.outside.report import Report
from copool.commands.outside.scene import Reader

pytestmark = pytest.mark.isolated

VERSION = ".".join(map(str, sys.version_info[:3]))
PRELUDE = """
import asyncio, ctypes, functools, os, sys, threading, time
import copool, copool.aio, copool.greenlet
from copool import Coroutine, yield_, _core
def ready():
    print("ready", flush=True), sys.stdin.read()
"""
STATES = """
kept = []
def leaf():
    yield_()
def top():
    leaf()
for i in range(50):
    co = Coroutine(top, name=f"worker-{i}")
    co.enter()
    kept.append(co)
def inner():
    ready()
def outer():
    Coroutine(inner).enter()
Coroutine(outer).enter()
"""


EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture
def start():
    """Starts programs that are there until the test ends; a call waits for one."""
    running = []

    def begin(script, *, python=sys.executable, env=None, cwd=None, args=()):
        child = subprocess.Popen(
            [python, "-c", PRELUDE + textwrap.dedent(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=cwd,
        )
        running.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield begin
    for child in running:
        child.kill()
        child.communicate()


def seen(pid, **options):
    """Return what `copool dump --json` writes."""
    limit, older_than = options.get("limit"), options.get("older_than")
    (report,) = cli.look(Process(pid), limit, older_than)
    return json.loads(report.json())


def functions(group):
    return [frame["function"] for frame in group["stack"]]


def kinds(document):
    return [
        (group["count"], group["kind"], group["state"], functions(group))
        for group in document["groups"]
    ]


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "copool", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )


def complaint(*arguments, **options):
    """Return what a command says that must fail."""
    done = command(*arguments, **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


# --- what is shown


def test_each_state_is_shown_with_its_stack(start):
    found = seen(start(STATES).pid)
    assert kinds(found) == [
        (50, "coroutine", "suspended", ["leaf", "top"]),
        (1, "coroutine", "running", ["ready", "inner"]),
        (1, "coroutine", "waiting", ["outer"]),
        (1, "thread", "waiting", ["<module>"]),
    ]
    assert found["chains"] == 53
    assert found["unread"] == 0
    assert found["groups"][0]["names"] == ["worker-49", "worker-48", "worker-47"]
    entered = [group["entered_by"] for group in found["groups"]]
    assert [by and by["function"] for by in entered] == [
        None,
        "outer",
        "<module>",
        None,
    ]
    assert found["groups"][0]["newest_seconds"] is None
    assert found["copool"] == copool.__version__
    assert found["python"].startswith(VERSION)


def test_greenlets_are_shown_with_the_names_that_they_have(start):
    script = """
    copool.greenlet.install()
    import greenlet
    class Named(greenlet.greenlet):
        pass
    def wait():
        greenlet.getcurrent().parent.switch()
    kept = []
    for i, name in enumerate(["ascii", "é", "☃", "\\U0001f40d", None]):
        for kind in (greenlet.greenlet, Named):
            g = kind(wait)
            if name:
                g.other = 1
                g.name = name + kind.__name__
            g.switch()
            kept.append(g)
    Coroutine(lambda: kept.append(greenlet.greenlet(ready).switch())).enter()
    """
    found = seen(start(script).pid)
    suspended, *others = found["groups"]
    assert (suspended["count"], suspended["kind"]) == (10, "greenlet")
    assert suspended["state"] == "suspended"
    assert functions(suspended) == ["wait"]
    assert suspended["names"] == ["wait", "\U0001f40dNamed", "\U0001f40dgreenlet"]
    assert [(g["kind"], g["state"], functions(g)[:1]) for g in others] == [
        ("greenlet", "running", ["ready"]),
        ("coroutine", "waiting", ["<lambda>"]),
        ("thread", "suspended", ["<module>"]),
    ]


AWAITING = """
async def pause(event):
    await event.wait()
async def plain(event):
    await pause(event)
def deep(event):
    copool.aio.await_(pause(event))
async def mixed(event):
    deep(event)
async def through(event):
    await mixed(event)
async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(plain(event), name=f"plain {i}") for i in range(4)]
    tasks += [asyncio.create_task(through(event)) for _ in range(3)]
    await asyncio.sleep(0.05)
    ready()
copool.aio.run(main())
"""


def test_tasks_are_shown_with_all_that_they_await(start):
    found = seen(start(AWAITING).pid)
    shown = {tuple(functions(group)): group for group in found["groups"]}
    plain = shown["Event.wait", "pause", "plain"]
    deep = shown["Event.wait", "pause", "deep", "mixed", "through"]
    assert (plain["count"], plain["kind"], plain["state"]) == (
        4,
        "awaited",
        "suspended",
    )
    assert (deep["count"], deep["kind"], deep["state"]) == (3, "awaited", "suspended")
    assert plain["thread"] is None
    assert deep["thread"] == found["threads"][0]["ident"]
    if sys.version_info >= (3, 14):
        assert plain["names"] == ["plain 3", "plain 2", "plain 1"]
        assert deep["names"][0].startswith("Task-")


def test_functions_of_every_kind_have_names(start):
    script = """
    class Klass:
        def method(self):
            yield_()
        def __call__(self):
            yield_()
        def __init__(self, wait=True):
            if wait:
                yield_()
    class Text(str):
        pass
    plain = Klass(False)
    kept = [
        Coroutine(plain.method), Coroutine(plain), Coroutine(Klass),
        Coroutine(yield_), Coroutine(functools.partial(plain.method)),
        Coroutine(plain.method, name=Text("née")),
        Coroutine(plain.method, name="a\\nb"), Coroutine(plain.method, name="x" * 600),
    ]
    for co in kept:
        co.enter()
    ready()
    """
    pid = start(script).pid
    (report,) = cli.look(Process(pid), None, None)
    names = {chain.name for chain in report.scene.chains if chain.kind == "coroutine"}
    # Those that look alike are named as far as a report needs it.
    assert names >= {"Klass", "yield_", "née", "a\nb", "x" * 500 + "…"}
    assert "names: " + "x" * 500 + "…, a\\nb, née, …" in report.text()


def test_makers_and_times_are_shown_where_they_are_noted(start):
    script = """
    _core._note(True, True)
    kept = []
    def make():
        kept.append(Coroutine(yield_))
        kept[-1].enter()
    for _ in range(3):
        make()
    kept.append(Coroutine(yield_))
    kept[-1].enter()
    time.sleep(1.2)
    ready()
    """
    pid = start(script).pid
    first = seen(pid)["groups"][0]
    assert first["made_by"].startswith("make (")
    assert (first["count"], first["made_elsewhere"]) == (4, 1)
    assert 1.2 <= first["newest_seconds"] <= first["oldest_seconds"] < 100
    text = command("dump", pid).stdout
    assert re.search(
        "\n  waits for [0-9]+ s\n  made by make .* and 1 elsewhere\n", text
    )
    old = seen(pid, older_than=1)
    assert [group["count"] for group in old["groups"]] == [4]
    assert (
        "suspended for more than 1 s: 4\n"
        in command("dump", "--older-than", "1", pid).stdout
    )
    assert seen(pid, older_than=1000)["groups"] == []


def test_every_thread_is_shown(start):
    script = """
    def work():
        Coroutine(wait).enter()
    def wait():
        barrier.wait()
        time.sleep(1000)
    barrier = threading.Barrier(4)
    for i in range(3):
        threading.Thread(target=work, name=f"thread {i}", daemon=True).start()
    barrier.wait()
    time.sleep(0.2)
    ready()
    """
    child = start(script)
    found = seen(child.pid)
    names = sorted(thread["name"] for thread in found["threads"])
    assert names == ["thread 0", "thread 1", "thread 2"]
    natives = {str(thread["native_id"]) for thread in found["threads"]}
    assert natives < set(os.listdir(f"/proc/{child.pid}/task"))
    running = found["groups"][0]
    assert (running["count"], running["threads"]) == (3, 3)
    assert (running["kind"], running["state"]) == ("coroutine", "running")
    assert running["entered_by"]["function"] == "work"


def test_deep_stacks_are_shown_as_far_as_others(start):
    script = """
    def down(depth):
        down(depth - 1) if depth else yield_()
    kept = [Coroutine(down) for _ in range(2)]
    for co, depth in zip(kept, (99, 400)):
        co.enter(depth)
    ready()
    """
    groups = seen(start(script).pid)["groups"]
    assert [
        (len(g["stack"]), g["more_frames"]) for g in groups if g["kind"] == "coroutine"
    ] == [(100, True), (100, False)]


def test_text_and_table_are_written(start):
    pid = start(STATES).pid
    dump = command("dump", pid, "--limit", "1").stdout.splitlines()
    assert dump[0].startswith(f"copool: 53 chains in 1 thread of process {pid}, at ")
    assert dump[1:] == [
        "",
        f"50 × coroutine, suspended, in MainThread ({pid})",
        "  names: worker-49, worker-48, worker-47, …",
        "  leaf (<string>:10)",
        "  top (<string>:12)",
        "",
        "… and 3 chains in 3 more groups",
    ]
    ps = command("ps", pid).stdout.splitlines()
    assert ps[2].split() == ["COUNT", "KIND", "STATE", "THREAD", "INNERMOST", "CALLS"]
    assert ps[3].split() == [
        *("50", "coroutine", "suspended", "MainThread"),
        *("leaf", "(<string>:10)", "<", "top", "(<string>:12)"),
    ]
    assert len(ps) == 7
    done = json.loads(command("ps", pid, "--json", "--limit", "1").stdout)
    assert [group["count"] for group in done["groups"]] == [50]


def test_a_live_table_is_shown_until_the_process_ends(start):
    pytest.importorskip("rich")
    child = start(STATES)
    watching = subprocess.Popen(  # into a pipe: the tables follow each other
        [sys.executable, "-m", "copool", "ps", str(child.pid), "--watch", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert f"53 chains in 1 thread of process {child.pid}" in watching.stdout.readline()
    child.kill()
    child.wait()
    _, errors = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert errors == f"copool ps: process {child.pid} has ended while it was read\n"


MIXED = """
copool.note(makers=True, times=True)
class Text(str):
    pass
copool.greenlet.install()
import greenlet
def wait():
    greenlet.getcurrent().parent.switch()
def leaf(depth=0):
    leaf(depth - 1) if depth else yield_()
names = ("a\\x1b[1m", "née", Text("x" * 600), None)
kept = [Coroutine(leaf, name=name) for name in names]
kept += [Coroutine(leaf) for _ in range(3)]
for i, co in enumerate(kept):
    co.enter(i // 4)
deep = Coroutine(leaf)
deep.enter(200)
for name in ("one", None, "\U0001f40d"):
    g = greenlet.greenlet(wait)
    if name:
        g.name = name
    g.switch()
    kept.append(g)
def work():
    copool.aio.run(main())
async def pause(event):
    await event.wait()
def blocking(event):
    copool.aio.await_(pause(event))
async def task(event):
    if event is kept:
        return
    await pause(event)
async def both(event):
    Coroutine(blocking).enter(event)
async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(task(event), name=f"task {i}") for i in range(3)]
    tasks += [asyncio.create_task(both(event)) for _ in range(2)]
    await asyncio.sleep(0.05)
    began.set()
    await event.wait()
began = threading.Event()
thread = threading.Thread(target=work, daemon=True, name="loop")
thread.start()
began.wait()
time.sleep(0.3)
for name in ("json", "text"):
    file = open(sys.argv[1] + name, "w")
    copool.dump_on({"json": 10, "text": 12}[name], file, format=name)
def inner():
    ready()
def outer():
    Coroutine(inner, name="inner").enter()
Coroutine(outer).enter()
"""


def test_a_process_shows_the_same_from_inside(start, tmp_path):
    child = start(MIXED, args=(f"{tmp_path}/",))
    texts = []
    for name, signum in ("json", signal.SIGUSR1), ("text", signal.SIGUSR2):
        child.send_signal(signum)
        file = tmp_path / name
        while not (text := file.read_text()).endswith("\n"):
            time.sleep(0.01)
        texts.append(text)
    inside, text = texts
    (report,) = cli.look(Process(child.pid), None, None)
    outside = json.loads(report.json())
    assert without_times(outside) == without_times(json.loads(inside))
    assert timeless(report.json()) == timeless(inside)
    assert timeless(report.text()) == timeless(text)
    assert outside["chains"] == 23
    assert outside["unread"] == 0


# --- a process that goes on

MAD = """
import random
def down(depth):
    down(depth - 1) if depth else yield_()
def work(i):
    numbers = random.Random(i)
    while True:
        down(numbers.randrange(7))
def short(i):
    down(i % 7)
cos = [Coroutine(work) for _ in range(300)]
for i, co in enumerate(cos):
    co.enter(i)
print("ready", flush=True)
while True:
    for co in cos:
        co.enter()
    if sys.argv[1] == "churn":
        others = [Coroutine(short) for _ in range(100)]
        for i, co in enumerate(others):
            co.enter(i)
        random.shuffle(others)
        for co in others:
            co.enter()
"""


@pytest.mark.parametrize("kind", ["switches", "churn"])
def test_a_process_that_switches_all_the_time_is_read(kind, start):
    pid = start(MAD, args=(kind,)).pid
    for _ in range(5):
        found = seen(pid)
        groups = [each for each in found["groups"] if each["kind"] == "coroutine"]
        counts = {"work": 0, "short": 0, None: 0}
        for group in groups:
            outermost = functions(group)[-1] if group["stack"] else None
            counts[outermost] += group["count"]
            if group["state"] == "suspended":
                assert set(functions(group)[:-1]) <= {"down"}
        # A chain that was read while it began or ended shows nothing.
        assert counts["work"] <= 300 <= sum(counts.values()) + found["unread"]
        assert found["unread"] <= 30
        assert counts["work"] >= 250
        assert found["chains"] == sum(each["count"] for each in found["groups"])


class Moving(Memory):
    """Another memory, in which some words have another value at first.

    For each there is how often that is read. A number counts how often it is read.
    """

    def __init__(self, memory, words, counter):
        self._memory, self._words, self._counter = memory, words, counter
        self._switches = 0
        self.name, self.pid = memory.name, memory.pid

    def read_some(self, address, size):
        data = bytearray(self._memory.read_some(address, size))
        first = {}
        for word, (value, times) in self._words.items():
            if times and 0 <= word - address < len(data):
                self._words[word] = value, times - 1
                first[word] = value
        if 0 <= self._counter - address < len(data):
            self._switches += 1
            first[self._counter] = self._switches
        for word, value in first.items():
            data[word - address : word - address + 8] = value.to_bytes(8, "little")
        return bytes(data)

    def mappings(self):
        return self._memory.mappings()

    def open_file(self, mapping):
        return self._memory.open_file(mapping)

    def seconds_since(self, time):
        return self._memory.seconds_since(time)

    def seconds_of_day(self):
        return self._memory.seconds_of_day()

    def check_alive(self):
        return self._memory.check_alive()


# From one strand to another one. Others come in between, or the list goes round.
@pytest.mark.parametrize("leads", [(7, 9), (30, 3), (45, 45)])
def test_what_changes_while_it_is_read_is_read_again(leads, start):
    memory = Process(start(STATES).pid)
    (found,) = table.tables(memory)
    record = memory.word(found["records"])
    strands = [memory.word(record + found["record.started"])]
    while following := memory.word(strands[-1] + found["strand.next"]):
        strands.append(following)
    assert len(strands) == 52
    frame = found["strand.slice"] + found.get("slice.frame", found.get("slice.cframe"))
    one, other = (strands[i] for i in leads)
    words = {
        strands[20] + frame: (0, 1),  # as one that has not begun
        strands[21] + found["strand.caller"]: (strands[22], 1),
        one + found["strand.next"]: (other, 2),  # each chain is read twice
        strands[5] + found["strand.thread"]: (0, 1),
    }
    moving = Moving(memory, words, record + found["record.switches"])
    report = Report(Reader(moving, found).read(), 0)
    assert [(len(group.chains), group.first.state) for group in report.groups] == [
        (50, "suspended"),
        (1, "running"),
        (1, "waiting"),
        (1, "waiting"),
    ]
    assert report.scene.unread == 0


class Broken(Memory):
    """Another memory, of which now and then something else is read."""

    def __init__(self, memory, seed):
        self._memory, self._random = memory, random.Random(seed)
        self._share = self._random.choice([0.001, 0.01, 0.1])
        self.name, self.pid = memory.name, memory.pid

    def read_some(self, address, size):
        data = self._memory.read_some(address, size)
        if self._random.random() > self._share:
            return data
        match self._random.randrange(4):
            case 0:
                raise BadAddress
            case 1:
                return self._random.randbytes(len(data))
            case 2:
                return bytes(len(data))
            case _:
                data = bytearray(data)
                data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(
                    8
                )
                return bytes(data)

    def __getattr__(self, name):
        return getattr(self._memory, name)

    mappings = open_file = check_alive = seconds_of_day = None

    def seconds_since(self, time):
        return self._memory.seconds_since(time)


for _name in ("mappings", "open_file", "check_alive", "seconds_of_day"):
    setattr(
        Broken,
        _name,
        lambda self, *args, _name=_name: getattr(self._memory, _name)(*args),
    )
Broken.__abstractmethods__ = frozenset()


def test_memory_that_makes_no_sense_is_survived(start):
    memories = [Process(start(STATES).pid), Process(start(AWAITING).pid)]
    whole = [next(table.tables(memory)) for memory in memories]
    counts = []
    for seed in range(60):
        for memory, found in zip(memories, whole, strict=True):
            scene = Reader(Broken(memory, seed), found).read()
            assert len(scene.chains) < 1000
            counts.append(scene.unread)
    assert max(counts) > 0


def test_a_process_that_ends_meanwhile_is_told_of(start, monkeypatch):
    child = start(STATES)
    memory = Process(child.pid)
    read = Reader.read

    def killed(reader):
        child.kill()
        child.wait()
        return read(reader)

    monkeypatch.setattr(Reader, "read", killed)
    with pytest.raises(Gone, match=f"process {child.pid} has ended while it was read"):
        cli.look(memory, None, None)


def usage(pid):
    """Return what would change if memory were given to it, or if it ran or stopped."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        fields = dict(line.split(":") for line in file.readlines()[1:])
    with open(f"/proc/{pid}/status") as file:
        fields |= dict(line.rstrip().split(":", 1) for line in file)
    names = ("Rss", "Private_Dirty", "Anonymous", "VmPTE", "VmSize", "State")
    names += ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return {name: fields[name].strip() for name in names}


def contents(pid):
    """Return a number that differs if anything in its memory does."""
    found = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            low, high = (int(each, 16) for each in line.split()[0].split("-"))
            if line.split()[1][1] != "w" or high - low > 1 << 24:
                continue
            try:
                memory.seek(low)
                found = hash((found, memory.read(high - low)))
            except (OSError, OverflowError):
                pass
    return found


def test_nothing_is_given_to_the_process_or_changed_in_it(start):
    pid = start(STATES).pid
    contents(pid)  # which may itself give it page tables
    time.sleep(0.2)
    before, memory = usage(pid), contents(pid)
    before = usage(pid)
    assert command("dump", pid).returncode == 0
    assert usage(pid) == before
    assert contents(pid) == memory


# --- where the table is


@pytest.fixture
def package(tmp_path):
    """A copy of copool that a test may spoil: its folder, its core, how to use it."""
    shutil.copytree(Path(copool.__file__).parent, tmp_path / "copool")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    core = tmp_path / "copool" / f"_core{suffix}"
    assert core.exists()
    return core, os.environ | {"PYTHONPATH": str(tmp_path)}


def strip(core):
    subprocess.run(["strip", "-s", core], check=True)


def remove_headers(core):
    data = bytearray(core.read_bytes())
    data[40:48] = bytes(8)
    data[58:64] = bytes(6)
    core.write_bytes(data)


@pytest.mark.parametrize("spoil", [strip, remove_headers])
def test_a_library_without_symbols_is_read(spoil, start, package):
    core, env = package
    spoil(core)
    child = start(STATES, env=env)
    assert str(core) in Path(f"/proc/{child.pid}/maps").read_text()
    assert seen(child.pid)["chains"] == 53


def rename_folder(path):
    """Do what pip does while it removes a package."""
    path.parent.rename(path.parent.with_name("~opool"))
    shutil.rmtree(path.parent.with_name("~opool"))


@pytest.mark.parametrize("may_open", [True, False])
@pytest.mark.parametrize("after", [Path.unlink, lambda path: None, rename_folder])
def test_a_library_that_was_replaced_is_read(
    after, may_open, start, package, monkeypatch
):
    core, env = package
    child = start(STATES, env=env)
    other = core.with_name("other")
    other.write_bytes(b"\x7fELF of another version")
    if after != rename_folder:
        os.replace(other, core)
    after(core)
    if not may_open:
        monkeypatch.setattr(Process, "open_file", lambda self, mapping: None)
    assert seen(child.pid)["chains"] == 53


def test_each_copy_of_copool_in_a_process_is_read(
    start, package, monkeypatch, capfdbinary
):
    core, _ = package
    script = f"""
    import importlib.util
    for name in [name for name in sys.modules if name.partition(".")[0] == "copool"]:
        del sys.modules[name]
    sys.path.insert(0, {str(core.parent.parent)!r})
    import copool as second
    def wait():
        second.yield_()
    other = second.Coroutine(wait)
    other.enter()
    """
    pid = start(script + textwrap.indent(STATES, "    ")).pid
    memory = Process(pid)
    tables = [*table.tables(memory)]
    assert len({each["records"] for each in tables}) == 2
    # The second one uses what the first one has.
    (report,) = cli.look(memory, None, None)
    assert len(report.scene.chains) == 54
    monkeypatch.setattr(cli, "tables", lambda memory: tables * 2)
    assert [len(each.scene.chains) for each in cli.look(memory, None, None)] == [54, 54]
    assert cli.main("dump", [str(pid)]) == 0
    assert capfdbinary.readouterr().out.count(b"\n\ncopool: 54 chains in 1 thread") == 1


@pytest.mark.parametrize(
    "name", ["strand.next", "frame.code", "str.kind", "state.bridges", "records"]
)
def test_a_table_that_lacks_something_is_told_of_with_both_versions(
    name, start, monkeypatch
):
    memory = Process(start(STATES).pid)
    (found,) = table.tables(memory)
    del found[name]
    found["copool"] = 0x020304F0
    monkeypatch.setattr(cli, "tables", lambda memory: [found])
    with pytest.raises(OutsideError) as error:
        cli.look(memory, None, None)
    assert f"copool 2.3.4 of process {memory.pid}, for Python {VERSION}" in str(
        error.value
    )
    assert f"{name!r}" in str(error.value)
    assert f"copool {copool.__version__} needs" in str(error.value)


def test_a_table_of_another_version_is_told_of(start, monkeypatch):
    memory = Process(start(STATES).pid)
    monkeypatch.setattr(table, "_VERSION", 2)
    with pytest.raises(
        OutsideError, match=r"a table of version 1, and copool \S+ reads"
    ):
        cli.look(memory, None, None)


def others():
    """Return other interpreters that have copool, as the environment names them."""
    return os.environ.get("COPOOL_OTHER_PYTHONS", "").split()


@pytest.mark.skipif(
    not others(), reason="no other interpreters are named in COPOOL_OTHER_PYTHONS"
)
@pytest.mark.parametrize("python", others())
def test_processes_of_other_versions_are_read(python, start):
    states = seen(start(STATES, python=python).pid)
    assert [(g[0], g[3]) for g in kinds(states)] == [
        (50, ["leaf", "top"]),
        (1, ["ready", "inner"]),
        (1, ["outer"]),
        (1, ["<module>"]),
    ]
    awaiting = {
        tuple(g[3]): g[0] for g in kinds(seen(start(AWAITING, python=python).pid))
    }
    assert awaiting["Event.wait", "pause", "plain"] == 4
    assert awaiting["Event.wait", "pause", "deep", "mixed", "through"] == 3


def test_the_example_for_other_tools_finds_the_same(start):
    script = f"""
    sys.path.insert(0, {str(EXAMPLES)!r})
    threading.Thread(target=__import__, args=("clients",), daemon=True).start()
    time.sleep(0.3)
    ready()
    """
    pid = start(script).pid
    done = subprocess.run(
        [sys.executable, EXAMPLES / "walk_section.py", str(pid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1,000 × receive < serve\n", "")
    largest = seen(pid)["groups"][0]
    assert (largest["count"], functions(largest)) == (1000, ["receive", "serve"])


def test_the_page_explains_each_entry(start):
    page = (Path(__file__).parents[4] / "docs" / "debugging.md").read_text()
    (found,) = table.tables(Process(start(STATES).pid))
    assert [name for name in found if f"`{name}`" not in page] == []


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_the_live_table_cuts_off_calls_and_nothing_else(columns, start):
    console_of = pytest.importorskip("rich.console")
    from copool.commands.outside.live import _drawn

    (report,) = cli.look(Process(start(STATES).pid), None, None)
    console = console_of.Console(width=columns, file=io.StringIO())
    console.print(_drawn(report, columns))
    lines = console.file.getvalue().splitlines()
    while lines[0].split()[:4] != ["COUNT", "KIND", "STATE", "THREAD"]:
        del lines[0]
    assert lines[1].split()[:4] == ["50", "coroutine", "suspended", "MainThread"]
    assert all(len(line) <= columns for line in lines)


# --- what can't be read


@pytest.mark.parametrize("name", ["ps", "dump"])
def test_what_is_no_process_is_told(name, start):
    with subprocess.Popen(["true"]) as ended:
        pass
    assert complaint(name, ended.pid) == (
        f"copool {name}: there is no process {ended.pid}\n"
    )
    sleeping = subprocess.Popen(["sleep", "1000"])
    try:
        while Path(f"/proc/{sleeping.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        assert complaint(name, sleeping.pid) == (
            f"copool {name}: process {sleeping.pid} (sleep) is not a Python program\n"
        )
    finally:
        sleeping.kill()
        while Path(f"/proc/{sleeping.pid}/stat").read_text().split()[2] != "Z":
            time.sleep(0.01)
        assert complaint(name, sleeping.pid) == (
            f"copool {name}: process {sleeping.pid} has ended\n"
        )
        sleeping.wait()
    for pid in ("abc", "0", "-1", "1.5", "99999999999"):
        done = command(name, "--", pid)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{pid!r} is not the number of a process" in done.stderr


def test_a_python_without_copool_is_told():
    with subprocess.Popen(
        [sys.executable, "-Sc", "print(flush=True); import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        said = complaint("ps", child.pid)
        child.communicate()
    assert "is a Python that has not loaded copool" in said


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")


def as_nobody(script):
    """Run it as the user nobody, with what is imported already."""
    nobody = pwd.getpwnam("nobody")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        try:
            text = str(script())
        except OutsideError as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@ROOT
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_it_is_said_which_permission_is_missing(start):
    pid = start(STATES).pid
    said = as_nobody(lambda: Process(pid))
    assert said.startswith(f"process {pid} may not be read by this user: it belongs to")
    assert "user root and this is user nobody; run this as that user or as root" in said


@ROOT
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_an_owner_needs_no_more_than_that(start):
    """Where the system lets the owner's debuggers attach to more than children."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if scope.exists() and scope.read_text().strip() != "0":
        pytest.skip(f"{scope} lets only ancestors")
    script = """
    import pwd
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    ctypes.CDLL(None).prctl(4, 1)  # as a program of nobody's that was just started
    """
    pid = start(script + textwrap.indent(STATES, "    ")).pid
    assert as_nobody(lambda: seen(pid)["chains"]) == "53"


def test_permissions_are_explained(monkeypatch):
    process = Process(os.getpid())
    module = sys.modules[Process.__module__]
    scopes = {"": "", "1": "", "2": "", "3": ""}
    for scope in scopes:
        monkeypatch.setattr(module, "_first_line", lambda path, scope=scope: scope)
        monkeypatch.setattr(module, "_has_capability", lambda number: False)
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
        monkeypatch.setattr(
            os, "stat", lambda path: type("", (), {"st_uid": os.geteuid()})
        )
        scopes[scope] = process._denied()
    assert "--cap-add=SYS_PTRACE" in scopes[""]
    assert "ptrace_scope is 1, so that only its ancestors and root may" in scopes["1"]
    assert "ptrace_scope is 2; CAP_SYS_PTRACE is missing" in scopes["2"]
    assert "ptrace_scope is 3, which forbids it to all" in scopes["3"]


def test_the_file_is_read_where_the_call_is_forbidden(start, monkeypatch):
    pid = start(STATES).pid
    monkeypatch.setattr(Process, "_by_call", lambda self, probe: None)
    assert seen(pid)["chains"] == 53
    assert command("ps", pid).returncode == 0


# --- cores


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """A core of a process, as the kernel writes it, and what it showed before."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"the kernel writes cores elsewhere: core_pattern is {pattern}")
    folder = tmp_path_factory.mktemp("core")
    child = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + "_core._note(True, True)\n" + STATES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2
        ),
    )
    assert child.stdout.readline() == "ready\n"
    before = seen(child.pid)
    child.send_signal(signal.SIGABRT)
    child.communicate()
    found = [*folder.iterdir()]
    if not found:
        pytest.skip("the kernel wrote no core: its limit may be lower")
    yield found[0], before
    shutil.rmtree(folder)


def timeless(text):
    """Return a text without the time of day and the ages."""
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r'(est_seconds":)[0-9.]+', r"\1AGE", text)
    return re.sub(r"waits for .* s\n", "waits for AGE\n", text)


def without_times(document):
    groups = [
        {k: v for k, v in group.items() if not k.endswith("_seconds")}
        for group in document["groups"]
    ]
    return document | {"groups": groups, "time": None}


def test_a_core_shows_what_the_process_did(core):
    path, before = core
    done = command("dump", "--core", path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert without_times(json.loads(done.stdout)) == without_times(before)
    assert "53 chains" in command("ps", "--core", path).stdout


def test_a_core_is_read_without_the_files_of_its_process(core, monkeypatch):
    path, before = core
    monkeypatch.setattr(Core, "open_file", lambda self, mapping: None)
    (report,) = cli.look(Core(path), None, None)
    found = kinds(json.loads(report.json()))
    assert found == kinds(before)


def test_what_is_no_core_is_told(core, tmp_path):
    path, _ = core
    said = complaint("dump", "--core", sys.executable)
    assert "is no core but a program or a library" in said
    other = tmp_path / "other"
    for data, expected in {
        b"": "is cut off in the middle of its headers",
        b"text " * 100: "is no ELF file",
    }.items():
        other.write_bytes(data)
        assert expected in complaint("ps", "--core", other)
    with open(path, "rb") as file:
        head = bytearray(file.read(100_000))
    other.write_bytes(head)
    assert "cut off: it has 100,000 bytes of " in complaint("ps", "--core", other)
    head[4] = 1
    other.write_bytes(head)
    assert "is of a machine of 32 bits" in complaint("ps", "--core", other)
    head[4:6] = 2, 2
    other.write_bytes(head)
    assert "big-endian" in complaint("ps", "--core", other)
    assert "No such file" in complaint("ps", "--core", tmp_path / "none")
    assert "Is a directory" in complaint("ps", "--core", tmp_path)
    assert "a core does not change" in complaint("ps", "--core", path, "--watch")


def test_a_core_with_broken_headers_is_survived(core, tmp_path):
    path, _ = core
    with open(path, "rb") as file:
        whole = file.read(200_000)
    other = tmp_path / "other"
    said = set()
    for seed in range(100):
        numbers = random.Random(seed)
        data = bytearray(whole)
        for _ in range(numbers.choice([1, 10, 1000])):
            data[numbers.randrange(numbers.choice([64, 4096, len(data)]))] = (
                numbers.randrange(256)
            )
        other.write_bytes(data)
        with pytest.raises(OutsideError) as error:
            cli.look(Core(other), None, None)
        said.add(str(error.value).split()[1])
    assert len(said) > 1
