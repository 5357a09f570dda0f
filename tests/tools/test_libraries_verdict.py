"""A library is said to work only if its answer is that of the main flow."""

import functools
import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "libraries"
MODULES = ("judge", "page", "hosts", "neighbours", "program")
HOSTS = ("coroutine", "greenlet", "task")


@pytest.fixture
def rule(monkeypatch):
    """Imports a module of the folder."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def judge(rule):
    return rule("judge")


ABOUT = {
    "name": "numpy",
    "version": "1.2",
    "thread_stack": False,
    "checks": ["small", "heavy", "callback"],
}


def record(*entries, ended=True):
    lines = [ABOUT, *entries, *[{"ended": True}] * ended]
    return "\n".join(map(json.dumps, lines))


def outcome(check, status="ok", detail=""):
    return {"check": check, "outcome": status, "detail": detail}


def began(check):
    return {"check": check, "outcome": None}


ALL_OK = [outcome("small"), outcome("heavy"), outcome("callback")]
RECORD_STATUS_OUTCOMES = {
    "all right": (record(*ALL_OK), 0, ["ok", "ok", "ok"]),
    "a wrong answer": (
        record(outcome("small"), outcome("heavy", "wrong"), outcome("callback")),
        0,
        ["ok", "wrong", "ok"],
    ),
    "a crash in the second": (
        record(outcome("small"), began("heavy"), ended=False),
        -11,
        ["ok", "crashed", "crashed"],
    ),
    "hanging in the second": (
        record(outcome("small"), began("heavy"), ended=False),
        None,
        ["ok", "timed out", "timed out"],
    ),
    "a crash at the end": (record(*ALL_OK), -6, ["ok", "ok", "ok", "crashed"]),
    "hanging at the end": (record(*ALL_OK), None, ["ok", "ok", "ok", "timed out"]),
    "ending too early with status 0": (
        record(outcome("small"), ended=False),
        0,
        ["ok", "crashed", "crashed"],
    ),
    "no word": ("", 1, ["crashed"]),
    "no word, and status 0": ("", 0, ["crashed"]),
}


@pytest.mark.parametrize("case", RECORD_STATUS_OUTCOMES)
def test_what_a_process_told_and_how_it_ended_make_the_outcomes(judge, case):
    text, status, expected = RECORD_STATUS_OUTCOMES[case]
    result = judge.read_result(text, status, "last words")
    assert [o.status for o in result.outcomes.values()] == expected
    found = judge.surprises({"task": result}, judge.Listed())
    assert len(found) == len(expected) - expected.count("ok")
    kind, _ = judge.verdict([result], judge.Listed())
    assert (kind == "works") == (case == "all right")


def results(judge, **by_check):
    outcomes = {check: judge.Outcome(status) for check, status in by_check.items()}
    return {host: judge.Result(outcomes) for host in HOSTS}


def listed(judge, outcome="raised", hosts=()):
    return judge.Listed({"callback": judge.Deviation(outcome, "a reason", hosts)})


@pytest.mark.parametrize(
    ("ours", "surprising"),
    [("raised", 0), ("wrong", 3), ("ok", 3), ("crashed", 3), ("timed out", 3)],
)
def test_what_is_listed_has_to_come_out_so_neither_worse_nor_better(
    judge, ours, surprising
):
    found = judge.surprises(results(judge, small="ok", callback=ours), listed(judge))
    assert len(found) == surprising


def test_what_is_listed_for_one_host_is_not_excused_in_others(judge):
    found = judge.surprises(
        results(judge, callback="raised"), listed(judge, hosts=("task",))
    )
    assert [text.split(":")[0] for text in found] == [
        "callback in a coroutine",
        "callback in a greenlet",
    ]


def test_what_is_listed_has_to_exist(judge):
    assert len(judge.surprises(results(judge, small="ok"), listed(judge))) == 3


def test_one_that_is_skipped_surprises_nobody(judge):
    skipped = judge.read_result('{"skipped": "no Java"}', 0)
    assert (skipped.skipped, dict(skipped.outcomes)) == ("no Java", {})
    assert judge.surprises({"task": skipped}, listed(judge)) == []


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"small": "ok", "callback": "ok"}, "works"),
        ({"small": "ok", "callback": "raised"}, "must not switch in its callbacks"),
        ({"small": "wrong", "callback": "raised"}, "fails"),
        ({"small": "crashed", "callback": "ok"}, "fails"),
        ({"small": "timed out"}, "fails"),
        ({}, "fails"),
    ],
)
def test_the_verdict_is_made_of_what_came_out(judge, statuses, expected):
    by_host = results(judge, **statuses).values()
    rule = judge.Listed() if expected == "works" else listed(judge)
    assert judge.verdict(by_host, rule)[0] == expected


def test_callbacks_that_fail_and_are_not_listed_are_a_failure(judge):
    by_host = results(judge, small="ok", callback="raised").values()
    assert judge.verdict(by_host, judge.Listed()) == ("fails", "raised")


def test_a_library_may_need_the_threads_stack_and_still_fail(judge):
    for status, expected in (("ok", "needs `on_thread_stack`"), ("wrong", "fails")):
        outcomes = {"small": judge.Outcome(status), "callback": judge.Outcome("raised")}
        result = judge.Result(outcomes, thread_stack=True)
        assert judge.verdict([result], listed(judge))[0] == expected


def test_a_note_excuses_no_failure(judge):
    note = judge.Listed(note="but for some")
    right, wrong = (results(judge, small=status).values() for status in ("ok", "wrong"))
    assert judge.verdict(right, note) == ("works", "but for some")
    assert judge.verdict(wrong, note) == ("fails", "wrong")


@pytest.mark.parametrize("status", ["crashed", "timed out", "ok", "no such"])
def test_nothing_that_ends_or_hangs_a_process_can_be_listed(judge, tmp_path, status):
    path = tmp_path / "expected.toml"
    path.write_text(f'[numpy.heavy]\noutcome = "{status}"\nreason = "why"\n')
    with pytest.raises(ValueError, match="may not be listed"):
        judge.read_listed(path)


def test_what_is_listed_can_be_read_and_names_libraries(judge):
    expected = judge.read_listed(FOLDER / "expected.toml")
    works = {path.stem for path in (FOLDER / "works").glob("*.py")}
    assert expected.keys() <= works


NAN = float("nan")


@pytest.mark.parametrize(
    ("ours", "right", "expected"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.001, False),
        (NAN, 1.0, False),
        (NAN, NAN, False),
        (1, 1.0, False),
        ([1, (2.0, "a")], [1, (2.0, "a")], True),
        ([1, (NAN, "a")], [1, (2.0, "a")], False),
        ([1], [1, 2], False),
        ({"a": 1.0}, {"a": 1.0}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        (None, [1], False),
    ],
)
def test_answers_are_the_same_but_for_rounding_and_nan_never_is(
    rule, ours, right, expected
):
    assert rule("program").same(ours, right) is expected


@pytest.mark.parametrize(
    ("ours", "expected"),
    [([1.0, 2.0], True), ([1.0, NAN], False), ([1.0, 2.1], False), ([1.0], False)],
)
def test_answers_of_numpy_are_compared_so_too(rule, ours, expected):
    numpy = pytest.importorskip("numpy")
    same = rule("program").same
    assert same(numpy.array(ours), numpy.array([1.0, 2.0])) is expected


class Lines:
    """Stands for the file of a record."""

    def __init__(self):
        self.outcomes = {}

    def write(self, *, check, outcome, detail=""):
        self.outcomes[check] = outcome


def told(rule, host_name, **functions):
    """What the checks of a library with these functions come to in a host."""
    hosts, program = rule("hosts"), rule("program")
    work, lines = type(sys)("work"), Lines()
    vars(work).update(functions)
    library = program.Library(work, hosts.HOSTS[host_name](), lines)
    for check in library.checks():
        library.run(check)
    return lines.outcomes


@pytest.mark.parametrize("host", ["coroutine", "task"])
def test_a_library_is_judged_by_its_answers_in_the_main_flow(rule, host, monkeypatch):
    import copool.aio

    run = functools.partial(copool.aio.run, foreign_greenlets=True)
    monkeypatch.setattr(copool.aio, "run", run)
    pause = rule("hosts").pause
    is_main = {
        "coroutine": lambda: not copool.in_coroutine(),
        "task": lambda: not copool.aio.can_await(),
    }[host]

    def fail():
        raise KeyError("here" if is_main() else "there")

    def stop(number):
        pause()
        return [number]

    assert told(
        rule,
        host,
        small=lambda: 1,
        heavy=lambda: 1 if is_main() else 2,
        callback=stop,
        exception=fail,
    ) == {
        "small": "ok",
        "heavy": "wrong",
        "callback": "ok",
        "exception": "wrong",
        "neighbours": "wrong",
    }
    assert told(rule, host, small=lambda: 1 if is_main() else fail()) == {
        "small": "raised"
    }
    assert told(rule, host, callback=lambda number: number) == {"callback": "raised"}
    assert told(rule, host, small=lambda: 1, exception=lambda: 1) == {
        "small": "ok",
        "exception": "raised",
    }
    assert told(rule, host, small=lambda: None) == {"small": "wrong"}


def test_neighbours_that_lose_a_value_are_noticed(rule, monkeypatch):
    right = told(rule, "coroutine", heavy=lambda: 1)
    assert right == {"heavy": "ok", "neighbours": "ok"}
    program = rule("program")
    whole = program.neighbour
    monkeypatch.setattr(program, "neighbour", lambda n: whole(n) + [None] * (n == 7))
    lost = told(rule, "coroutine", heavy=lambda: 1)
    assert lost == {"heavy": "ok", "neighbours": "wrong"}


def test_rows_are_put_into_the_table_and_others_stay(rule):
    judge, page = rule("judge"), rule("page")
    text = f"# Page\n\n{page.BEGIN}\n{page.END}\n\nBy hand.\n"
    whole = judge.read_result(record(*ALL_OK), 0)
    broken = judge.read_result(record(*ALL_OK[:1], began("heavy"), ended=False), -11)
    one = page.row(dict.fromkeys(HOSTS, whole), judge.Listed())
    text = page.with_rows(text, {"numpy": one})
    other = ("lxml", *page.row(dict.fromkeys(HOSTS, broken), judge.Listed())[1:])
    text = page.with_rows(text, {"lxml": other})
    rows = page.read_rows(text.partition(page.BEGIN)[2].partition(page.END)[0])
    assert list(rows) == ["lxml", "numpy"]
    assert (rows["numpy"][3], rows["numpy"][-1]) == ("s h c – –", "works")
    assert "**h: crashed**" in rows["lxml"][3]
    assert rows["lxml"][-1] == "fails: crashed"
    assert text.startswith("# Page\n")
    assert text.endswith("By hand.\n")
    assert page.with_rows(text, {}) == text


def test_the_page_has_no_row_of_a_failure():
    text = (FOLDER.parents[1] / "docs" / "libraries.md").read_text()
    rows = text.partition("<!-- table -->")[2].partition("<!-- end")[0].splitlines()
    verdicts = [row.strip("| ").rpartition("| ")[2] for row in rows if row]
    assert len(verdicts) > 30
    assert [verdict for verdict in verdicts if verdict.startswith("fails")] == []
