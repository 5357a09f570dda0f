"""tests/compat fails where a test passes with the real greenlet and not here."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "compat"


@pytest.fixture
def rule(monkeypatch):
    """The module with the rule, and the outcomes that it is about."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("harness", "verdict"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("verdict"), importlib.import_module("harness")


REAL_OURS_VERDICT = [
    ("passed", "passed", "passed"),
    ("passed", "failed", "failed"),
    ("passed", "skipped", "failed"),
    ("passed", None, "failed"),
    ("failed", "failed", "skipped"),
    ("failed", "passed", "passed"),
    ("failed", None, "skipped"),
    ("skipped", "skipped", "skipped"),
    ("skipped", "failed", "failed"),
    ("skipped", None, "skipped"),
    (None, "failed", "failed"),
    (None, "passed", "passed"),
]


@pytest.mark.parametrize(("real", "ours", "expected"), REAL_OURS_VERDICT)
def test_an_outcome_is_judged_by_that_of_the_real_greenlet(rule, real, ours, expected):
    verdict, harness = rule
    outcomes = [
        {"test": harness.Outcome(status)} if status else {} for status in (real, ours)
    ]
    assert verdict.compare(*outcomes, {})["test"].status == expected


def test_a_file_that_passes_with_fewer_tests_than_the_real_one_fails(rule):
    verdict, harness = rule
    real, ours = ({"test": harness.Outcome("passed", count=n)} for n in (5, 4))
    assert verdict.compare(real, ours, {})["test"].status == "failed"


@pytest.mark.parametrize(
    ("ours", "expected"), [("failed", "not applicable"), ("passed", "failed")]
)
def test_what_is_listed_as_not_applicable_has_to_fail(rule, ours, expected):
    verdict, harness = rule
    real, ours = (
        {"a.test": harness.Outcome("passed")},
        {"a.test": harness.Outcome(ours)},
    )
    for listed in ("a.test", "*.test"):
        verdicts = verdict.compare(real, ours, {listed: "a reason"})
        assert {test: o.status for test, o in verdicts.items()} == {"a.test": expected}


def test_what_is_listed_as_not_applicable_has_to_exist(rule):
    verdict, harness = rule
    outcomes = {"a.test": harness.Outcome("passed")}
    verdicts = verdict.compare(outcomes, outcomes, {"*.other": "a reason"})
    assert verdicts["*.other"].status == "failed"


def test_a_test_that_began_and_did_not_end_has_failed(rule, tmp_path):
    _, harness = rule
    record = tmp_path / "record.jsonl"
    record.write_text('{"test": "a", "status": null}\n{"provider": "copool"}\n')
    run = harness.Run("copool", tmp_path)
    outcomes = harness.read_record(record, run, 1)
    assert [outcome.status for outcome in outcomes.values()] == ["failed"]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ('{"provider": "greenlet"}\n', 0),
        ("", 0),
        ('{"provider": "copool"}\n', -11),
    ],
)
def test_a_run_on_another_provider_or_with_a_crash_fails(rule, tmp_path, said, status):
    _, harness = rule
    record = tmp_path / "record.jsonl"
    record.write_text('{"test": "a", "status": "passed"}\n' + said)
    outcomes = harness.read_record(record, harness.Run("copool", tmp_path), status)
    assert sorted(outcome.status for outcome in outcomes.values()) == [
        "failed",
        "passed",
    ]


@pytest.mark.parametrize("suite", ["asyncio", "greenlet"])
def test_at_most_five_are_listed_as_not_applicable(rule, suite):
    verdict, _ = rule
    not_applicable, leaks = verdict.exceptions(suite)
    assert 0 < len(not_applicable) <= verdict.MOST_NOT_APPLICABLE
    assert not leaks & not_applicable.keys()
