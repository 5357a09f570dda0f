"""What comes of a test of CPython's is the same inside of a coroutine, or is said."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "stdlib"


@pytest.fixture
def rule(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "verdict", raising=False)
    yield importlib.import_module("verdict")
    del sys.modules["verdict"]


def kinds(verdicts):
    return {test: verdict.kind for test, verdict in verdicts.items()}


def outcomes(rule, *statuses):
    return [{"a.test": rule.Outcome(status)} if status else {} for status in statuses]


STATUSES = ["passed", "failed", "error", "skipped", "expected failure"]


@pytest.mark.parametrize("here", [*STATUSES, "crashed", "timed out", None])
@pytest.mark.parametrize("there", [*STATUSES, None])
def test_any_change_of_an_outcome_differs(rule, there, here):
    if there is here is None:
        return
    main, ours = outcomes(rule, there, here)
    expected = "same" if there == here else "differs"
    assert kinds(rule.compare("task", [main], ours, [])) == {"a.test": expected}


@pytest.mark.parametrize(
    ("here", "kind"),
    [
        ("failed", "listed"),
        ("skipped", "listed"),
        ("crashed", "differs"),
        ("timed out", "differs"),
        (None, "differs"),
        ("passed", "stale"),
    ],
)
def test_what_is_listed_may_differ_and_has_to_but_may_not_end_the_process(
    rule, here, kind
):
    main, ours = outcomes(rule, "passed", here)
    for pattern in ("a.test", "a.*"):
        listed = [rule.Excuse(pattern, "a reason")]
        assert kinds(rule.compare("task", [main], ours, listed)) == {"a.test": kind}


def test_what_is_listed_for_another_host_differs(rule):
    main, ours = outcomes(rule, "passed", "failed")
    listed = [rule.Excuse("a.test", "a reason", hosts=["greenlet"])]
    assert kinds(rule.compare("task", [main], ours, listed)) == {"a.test": "differs"}
    assert kinds(rule.compare("greenlet", [main], ours, listed)) == {"a.test": "listed"}


def test_what_is_listed_as_flaky_need_not_differ(rule):
    main, same, other = outcomes(rule, "passed", "passed", "failed")
    listed = [rule.Excuse("a.test", "a reason", flaky=True)]
    assert kinds(rule.compare("task", [main], same, listed)) == {"a.test": "same"}
    assert kinds(rule.compare("task", [main], other, listed)) == {"a.test": "listed"}


def test_what_is_listed_has_to_exist(rule):
    tests, _ = outcomes(rule, "passed", None)
    listed = [rule.Excuse(test, "a reason") for test in ("a.test", "a.gone", "b.c")]
    assert kinds(rule.never_met("a", tests, listed)) == {"a.gone": "stale"}


@pytest.mark.parametrize(
    ("again", "here", "kind"),
    [
        ("failed", "failed", "flaky"),
        ("failed", "passed", "same"),
        ("passed", "failed", "differs"),
        (None, "failed", "flaky"),
        ("failed", "crashed", "differs"),
        ("failed", "timed out", "differs"),
        ("failed", None, "differs"),
    ],
)
def test_what_differs_in_the_main_flow_too_is_flaky_unless_it_ends_the_process(
    rule, again, here, kind
):
    *main, ours = outcomes(rule, "passed", again, here)
    assert kinds(rule.compare("task", main, ours, [])) == {"a.test": kind}


def record(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


BEGUN = {"test": "a.test", "status": None}
ENDED = {"test": "a.test", "status": "passed", "detail": ""}
THERE = {"host": "task"}


@pytest.mark.parametrize(
    ("entries", "status", "test", "end"),
    [
        ([BEGUN, ENDED, THERE], 0, "passed", "passed"),
        ([BEGUN], -11, "crashed", "crashed"),
        ([BEGUN], None, "timed out", "timed out"),
        ([BEGUN, ENDED], -11, "passed", "crashed"),
        ([BEGUN, ENDED, THERE], -11, "passed", "crashed"),
        ([BEGUN, ENDED], 0, "passed", "crashed"),
        ([BEGUN, ENDED, {"host": "main"}], 0, "passed", "crashed"),
        ([BEGUN, ENDED, THERE], None, "passed", "timed out"),
    ],
)
def test_a_process_has_to_come_to_its_end_where_it_began(
    rule, tmp_path, entries, status, test, end
):
    record(tmp_path / "record", *entries)
    found = rule.read_record(tmp_path / "record", "a", "task", status)
    assert {name: outcome.status for name, outcome in found.items()} == {
        "a.test": test,
        "a comes to its end": end,
    }


def test_a_process_that_wrote_nothing_has_crashed(rule, tmp_path):
    found = rule.read_record(tmp_path / "record", "a", "task", 0)
    assert [outcome.status for outcome in found.values()] == ["crashed"]


def test_what_is_listed_is_complete_and_for_modules_that_run(rule):
    listed = tomllib.loads((FOLDER / "modules.toml").read_text())
    run = {f"test.{name}" for name in listed["quick"] + listed["slower"]}
    assert not set(listed["quick"]) & set(listed["slower"])
    assert len(run) == len(listed["quick"] + listed["slower"])
    assert {f"test.{name}" for name in listed["only"]} <= run
    patterns = list(listed["cut"])
    for minor in range(11, 16):
        for entry in rule.exceptions(f"3.{minor}"):
            assert entry.reason
            assert set(entry.hosts) <= {"coroutine", "greenlet", "task"}
            patterns.append(entry.test)
    for pattern in patterns:
        assert re.match(r"test\.\w+", pattern).group() in run


INSIDE = """
import os
import unittest


class Tests(unittest.TestCase):
    def test_1_passes(self):
        pass

    def test_2_fails(self):
        self.fail()

    def test_3_errs(self):
        raise OSError

    @unittest.skip("a reason")
    def test_4_is_skipped(self):
        pass

    @unittest.expectedFailure
    def test_5_is_expected_to_fail(self):
        self.fail()

    @unittest.expectedFailure
    def test_6_is_not_expected_to_pass(self):
        pass

    def test_7_fails_in_a_part(self):
        with self.subTest():
            self.fail()

    def test_8_is_cut(self):
        os.abort()

    def test_9_crashes(self):
        if {crashes}:
            os.abort()
"""
EXPECTED = [
    "passed",
    "failed",
    "error",
    "skipped",
    "expected failure",
    "unexpected success",
    "failed",
]


def run_inside(rule, folder, host, source):
    """What tests/stdlib/inside.py records of a module with this text."""
    pytest.importorskip("test.support", reason="this Python has no tests of its own")
    (folder / "inner.py").write_text(source)
    (folder / "record").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, FOLDER / "inside.py", host, "inner", "*_is_cut"],
        cwd=folder,
        env=os.environ
        | {"STDLIB_RECORD": str(folder / "record"), "PYTHONPATH": str(folder)},
        capture_output=True,
        check=False,
    )
    return rule.read_record(folder / "record", "inner", host, done.returncode)


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("host", ["main", "coroutine", "greenlet", "task"])
def test_each_outcome_is_recorded_in_each_host(rule, tmp_path, host, crashes):
    found = run_inside(rule, tmp_path, host, INSIDE.format(crashes=crashes))
    last = "crashed" if crashes else "passed"
    assert [outcome.status for outcome in found.values()] == [*EXPECTED, last, last]


LOOKS_WHERE_IT_IS = """
import sys
import unittest

core = sys.modules.get("copool._core")
greenlet = sys.modules.get("greenlet")
is_inside = (core is not None and (core.in_coroutine() or core.can_await())) or (
    greenlet is not None and greenlet.getcurrent().parent is not None
)


class Tests(unittest.TestCase):
    def test_is_in_the_main_flow(self):
        self.assertFalse(is_inside)
"""


@pytest.mark.parametrize("host", ["coroutine", "greenlet", "task"])
def test_a_module_is_inside_as_a_whole(rule, tmp_path, host):
    main, ours = (
        run_inside(rule, tmp_path, where, LOOKS_WHERE_IT_IS) for where in ("main", host)
    )
    assert kinds(rule.compare(host, [main], ours, [])) == {
        "inner.Tests.test_is_in_the_main_flow": "differs",
        "inner comes to its end": "same",
    }
