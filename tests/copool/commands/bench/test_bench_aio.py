"""`copool bench --aio` times only ways that do what they are timed for.

What is not installed is left out of the tests as it is left out of the tables.
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from functools import partial

import pytest
from benchmarked import results_of

import copool.aio
from copool import _core
from copool.commands.bench import (
    aio,
    cases,
    cli,
    compat,
    footprint,
    orm,
    report,
    runner,
    targets,
)
from copool.commands.bench.model import (
    BenchError,
    Extra,
    ImpossibleError,
    Key,
    Series,
    Trial,
    WrongResultError,
)

TINY = ["--aio", "--rounds", "1", "--round-ms", "1", "--quick"]
SETTINGS = runner.Settings(rounds=1, round_ms=1, quick=True)
WORKS = {
    str(key): work
    for case in aio.CASES
    for part in case.plan(case, SETTINGS)
    if isinstance(part, Trial)
    for key, work in part.works.items()
    if key.level == "aio"  # others are done by processes
}


@pytest.fixture(autouse=True)
def fresh_identity():
    """Let who the greenlet of this process is be looked up anew."""
    aio._expect_real_greenlet.cache_clear()
    yield
    aio._expect_real_greenlet.cache_clear()


def series(case, subject, *values, variant="", level="aio", unit="ns/op"):
    return Series(Key(case, level, variant, subject), unit, values)


def case_by(name):
    (case,) = cli.chosen_cases(aio.CASES, [name])
    return case


# --- the works --------------------------------------------------------------


@pytest.mark.parametrize("name", [*WORKS])
def test_every_operation_of_every_subject_comes_back(name):
    # A multiple of the tasks that run at a time.
    n = 2 * aio.AT_A_TIME
    for count in (True, False):
        try:
            sample = WORKS[name](n, count=count)
        except ImpossibleError as reason:
            pytest.skip(str(reason))
        assert (sample.came_back, sample.operations) == (n, n)
        assert sample.nanoseconds > 0


@pytest.mark.parametrize("steps", [0, 1, 6, 8])
def test_what_does_not_suspend_the_right_number_of_times_is_noticed(steps):
    assert aio.drive(aio.awaiting(aio.Suspends, 7), 6).came_back == 6
    assert aio.drive(aio.awaiting(aio.Suspends, steps), 6).came_back == 0


def test_a_function_that_is_called_too_often_is_noticed():
    async def call_twice(function):
        await copool.aio.run_sync(function)
        return await copool.aio.run_sync(function)

    subject = aio.Subject(lambda: aio.Way(call_twice, copool.aio.await_))
    with pytest.raises(WrongResultError, match="14 of 7"):
        aio.call_work(subject, None)(7, count=True).verified("it")


@pytest.mark.parametrize(("result", "instead"), [(None, aio.DONE), (aio.DONE, None)])
def test_a_function_whose_result_is_lost_is_noticed(result, instead):
    async def call(function):
        await copool.aio.run_sync(function)
        return instead

    subject = aio.Subject(lambda: aio.Way(call, copool.aio.await_))
    assert aio.call_work(subject, result)(7, count=False).came_back == 0


def test_a_wait_that_does_not_take_a_turn_of_the_loop_is_noticed():
    def lazy():
        def wait(coroutine):
            coroutine.close()
            return aio.DONE

        return aio.Way(copool.aio.run_sync, wait)

    work = aio.wait_work(aio.Subject(lazy), aio.sleep, aio.counting_sleep)
    with pytest.raises(WrongResultError, match="0 of 7"):
        work(7, count=True).verified("it")


@pytest.mark.parametrize("name", [*aio.MODES])
def test_only_in_anywhere_mode_await_works_below_every_task(name):
    async def main():
        return await asyncio.create_task(whether())

    async def whether():
        return copool.aio.can_await()

    assert aio.MODES[name].run(main()) is (name == "copool")
    if name != "greenback":
        with pytest.raises(StopIteration) as end:
            aio.MODES[name].by_hand(whether).send(None)
        assert end.value.value is (name == "copool")


# --- SQLAlchemy's asyncio -----------------------------------------------------

ORM = [
    ("session-execute", ""),
    ("lazy-load", ""),
    ("request", orm.SELECTIN),
    ("request", orm.JOINED),
]


@pytest.fixture
def prepare(monkeypatch):
    """Return a function that prepares a case in this process, with its greenlet."""
    for name in orm.EXTRA.packages:
        pytest.importorskip(name)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    with ExitStack() as at_end:
        way = orm.WAYS[orm.GREENLET]
        yield lambda case, variant="": orm.WORKS[case](at_end, way, variant)


@pytest.mark.parametrize(("case", "variant"), ORM)
def test_what_is_loaded_is_looked_at(prepare, case, variant):
    assert prepare(case, variant)(3, count=False).came_back == 3


def test_a_collection_that_is_not_whole_is_noticed(prepare, monkeypatch):
    work = prepare("lazy-load")
    monkeypatch.setattr(orm, "EACH", 3)
    assert work(3, count=False).came_back == 0


def test_a_page_that_is_another_is_noticed(prepare, monkeypatch):
    monkeypatch.setattr(orm, "PAGE", orm.PAGE.replace("prizes", "letters"))
    assert prepare("request", orm.SELECTIN)(3, count=False).came_back == 0


SELECTS = """
from contextlib import ExitStack
from copool.commands.bench import orm
from sqlalchemy import event
from sqlalchemy.engine import Engine

selects = []
event.listen(Engine, "before_cursor_execute", lambda *a: selects.append(a[2]))
for variant in (orm.LAZY, orm.SELECTIN, orm.JOINED):
    with ExitStack() as at_end:
        work = orm.WORKS["request"](at_end, orm.WAYS[orm.ANYWHERE], variant)
        selects.clear()
        print(work(3, count=False).came_back, len(selects) / 3)
"""


def test_what_loads_itself_takes_as_many_selects_as_what_is_loaded_by_hand(tmp_path):
    for name in orm.EXTRA.packages:
        pytest.importorskip(name)
    program = tmp_path / "selects.py"
    program.write_text(SELECTS)
    launcher = orm.WAYS[orm.ANYWHERE].launcher
    done = subprocess.run(
        [sys.executable, *launcher, str(program)], capture_output=True, text=True
    )
    assert (done.stderr, done.stdout) == ("", "3 4.0\n3 4.0\n3 1.0\n")


def test_only_in_anywhere_mode_what_loads_itself_takes_part():
    (trial,) = case_by("request").plan(case_by("request"), SETTINGS)
    every = [(key.variant, key.subject) for key in trial.works]
    assert [s for v, s in every if v == orm.LAZY] == [orm.ANYWHERE]
    assert [s for v, s in every if v == orm.SELECTIN] == [*orm.WAYS]


@pytest.mark.parametrize("subject", orm.WAYS)
def test_a_process_that_has_another_greenlet_is_refused(subject, monkeypatch):
    greenlet = "copool" if subject == orm.GREENLET else "greenlet"
    way = orm.Way(orm.WAYS[subject].launcher, greenlet)
    monkeypatch.setattr(orm, "WAYS", {**orm.WAYS, subject: way})
    with (
        closing(aio.OrmWork("session-execute", subject, "")) as work,
        pytest.raises((BenchError, ImpossibleError), match=r"greenlet|not installed"),
    ):
        work(1, count=True)


# --- tasks that wait at once ------------------------------------------------


@pytest.mark.parametrize("subject", [*footprint.MEMORY["waiting"]])
def test_tasks_that_wait_at_once_all_finish(subject):
    try:
        figures = footprint.in_a_process("waiting", subject, "50", extra=aio.EXTRA)
    except ImpossibleError as reason:
        pytest.skip(str(reason))
    assert figures["finished"] == 50
    assert figures["resident"] >= 0


def test_a_task_that_did_not_wait_does_not_count():
    async def body(gate):
        return 1

    assert footprint.measure_tasks(body, 10)["finished"] == 0


# --- who takes part ---------------------------------------------------------


def test_copool_in_place_of_greenlet_is_refused():
    command = [sys.executable, "-m", "copool", "run", "-m", "copool.commands.bench"]
    chosen = [*TINY, "--case", "run-sync"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True)
    assert done.returncode == cli.EXIT_ERROR
    assert done.stdout == ""
    assert "start `copool bench` without `copool run`" in done.stderr


@pytest.mark.parametrize("case", ["run-sync", "task-step"])
def test_it_is_refused_whatever_case_it_would_take_part_in(case, monkeypatch, capsys):
    monkeypatch.setattr(aio, "greenlet_file", lambda: _core.__file__)
    assert cli.main([*TINY, "--case", case]) == cli.EXIT_ERROR
    assert "was to run with the real greenlet" in capsys.readouterr().err


def test_it_is_refused_in_the_processes_of_tasks_that_wait(monkeypatch, capsys):
    figures = {"resident": 0, "tables": 0, "finished": 4000, "greenlet": _core.__file__}
    monkeypatch.setattr(footprint, "in_a_process", lambda *_, **__: figures)
    assert cli.main([*TINY, "--case", "tasks-waiting"]) == cli.EXIT_ERROR
    assert "was to run with the real greenlet" in capsys.readouterr().err


class Blocker:
    """Lets the import of a package fail as if it weren't there."""

    def __init__(self, missing):
        self.missing = missing

    def find_spec(self, name, *_):
        if name == self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("missing", "without"),
    [
        ("asgiref", {"asgiref"}),
        ("greenback", {"greenback"}),
        ("greenlet", {"SQLAlchemy", "greenback"}),
        ("sqlalchemy", {"SQLAlchemy"}),
    ],
)
def test_without_a_package_the_others_are_measured(
    missing, without, monkeypatch, capsys
):
    for name in aio.EXTRA.packages:
        pytest.importorskip(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Blocker(missing), *sys.meta_path])
    assert cli.main([*TINY, "--case", "await-ready", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = {one["subject"]: one["why"] for one in document["impossible"]}
    why = f"{missing} is not installed (pip install 'copool[aio]')"
    assert {told[subject] for subject in without} == {why}
    measured = {one["subject"] for one in document["series"]}
    assert measured >= {"plain", "copool", "copool anywhere", "to_thread"}
    assert not measured & without


def test_a_package_missing_in_a_process_is_told_with_the_remedy(monkeypatch):
    def run(*_, **__):
        return subprocess.CompletedProcess([], 0, '{"missing": "greenback"}\n', "")

    monkeypatch.setattr(footprint.subprocess, "run", run)
    with pytest.raises(ImpossibleError, match=r"pip install 'copool\[aio\]'"):
        footprint.in_a_process("waiting", "greenback", "5", extra=aio.EXTRA)


def test_an_import_error_of_our_own_is_not_called_a_missing_package():
    def work(n, *, count):
        raise ModuleNotFoundError(name="copool.commands.bench.nonsense")

    with pytest.raises(ModuleNotFoundError):
        aio.needing_extra(work)(1, count=True)
    with pytest.raises(ImpossibleError, match="a is not installed"):
        raise Extra("b", frozenset("a")).lacks(ModuleNotFoundError(name="a"))


# --- the command line -------------------------------------------------------


def test_list_names_the_cases_of_aio(capsys):
    assert cli.main(["--aio", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [case.name for case in aio.CASES]


def test_names_of_cases_differ_so_that_targets_are_told_apart():
    ours = {case.name for case in aio.CASES}
    assert not ours & {case.name for case in (*cases.CASES, *compat.CASES)}
    assert ours - {target.case for target in targets.TARGETS} == {
        "await-ready",
        "task-lifecycle",
    }


def test_one_kind_of_benchmark_at_a_time(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--aio", "--compat"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.fixture
def few(monkeypatch):
    """Make the processes measure few tasks."""
    real = footprint.in_a_process

    def small(what, subject, number, **options):
        figures = real(what, subject, "50", **options)
        return {**figures, "finished": int(number)}

    monkeypatch.setattr(footprint, "in_a_process", small)


@pytest.mark.usefixtures("few")
def test_all_of_it_is_measured_drawn_and_compared(tmp_path, monkeypatch, capsys):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    marks = (f"bench {version}", f"aio {version}")
    page.write_text("".join(f"<!-- {mark} -->\nold\n<!-- end -->\n" for mark in marks))
    # Wide enough for what rounds of a microsecond on a busy machine may come to.
    monkeypatch.setenv("COLUMNS", "120")
    outputs = ["--markdown", str(page), "--plot", str(picture)]
    assert cli.main([*TINY, "--check", *outputs]) in (0, cli.EXIT_MISSED)
    printed = capsys.readouterr().out
    for case in aio.CASES:
        assert f"\n{case.name}, " in printed
    tables = printed.partition("\nrun-sync, ")[2].partition("\n“")[0]
    if "not installed" not in printed:  # else the reason is longer than a line
        # An empty line and the title before each table; no row is broken.
        rows = [line for line in tables.splitlines() if line.startswith(" ")]
        assert all(line.split() for line in rows)
        keys = sum(len(trial.works) for trial in trials())
        memory = 2 * len(footprint.MEMORY["waiting"]) + 1
        verdicts = [t for t in targets.TARGETS if t.case in case_names()]
        headings = len(aio.CASES) + 1
        assert len(rows) == keys + memory + len(verdicts) + headings
    assert "<svg" in picture.read_text()
    first, second = page.read_text().split(f"<!-- aio {version} -->\n")
    assert "old" in first
    assert "old" not in second
    assert "| copool anywhere |" in second


def case_names():
    return {case.name for case in aio.CASES}


def trials():
    for case in aio.CASES:
        for part in case.plan(case, SETTINGS):
            if isinstance(part, Trial):
                yield part


# --- the report -------------------------------------------------------------


def test_a_row_shows_the_ratios_and_the_difference():
    ready = partial(series, "await-ready")
    gone = Key("await-ready", "aio", "", "greenback")
    every = (
        ready("plain", 50, 60),
        ready("copool", 75, 90),
        ready("to_thread", 5e3, 6e3),
    )
    (table,) = report.tables(
        results_of(*every, impossible={gone: "no such thing"}), [case_by("await-ready")]
    )
    assert table.columns[3:] == ("÷ plain", "÷ copool", "− plain")
    assert [(row[0], *row[3:]) for row in table.rows] == [
        ("plain", "", "0.67×", ""),
        ("copool", "1.50×", "", "27.5 ns"),
        ("to_thread", "100×", "66.7×", "5.45 µs"),
        ("greenback: no such thing", "", "", ""),
    ]


BOUNDS = [
    # what is compared, its variant, with whom, just within, just beyond
    ("run-sync", "noop", "plain", 3.0, 3.1),
    ("run-sync", "result", "plain", 3.0, 3.1),
    ("run-sync", "noop", "SQLAlchemy", 1 / 20, 1 / 19),
    ("run-sync", "noop", "to_thread", 1 / 50, 1 / 49),
    ("await-suspends", "awaitable", "plain", 1.5, 1.6),
    ("await-sleep", "", "plain", 1.5, 1.6),
    ("task-step", "by hand", "plain", 1.15, 1.16),
    ("task-step", "1 task", "plain", 1.15, 1.16),
    ("task-step", "64 tasks", "plain", 1.15, 1.16),
]


@pytest.mark.parametrize(("case", "variant", "other", "within", "beyond"), BOUNDS)
def test_targets_are_reached_up_to_the_bound(case, variant, other, within, beyond):
    def verdicts(factor):
        base = series(case, other, 1000, 1000, variant=variant)
        ours = series(case, "copool", *[1000 * factor] * 2, variant=variant)
        judged = targets.judge(results_of(base, ours), [case])
        return [v.reached for v in judged if v.reached is not None]

    assert verdicts(within) == [True]
    assert verdicts(beyond) == [False]
    assert {*BOUNDED} == {t.case for t in targets.TARGETS if t.case in case_names()}


BOUNDED = {case for case, *_ in (*BOUNDS, *ORM)} | {"tasks-waiting"}

ORM_BOUNDS = [
    # the case, our variant, greenlet's, just within, just beyond
    ("session-execute", "", "", 1 / 1.25, 1 / 1.24),
    ("lazy-load", "", "", 1, 1.01),
    ("request", orm.LAZY, orm.SELECTIN, 1, 1.01),
    ("request", orm.SELECTIN, orm.SELECTIN, 1, 1.01),
    ("request", orm.JOINED, orm.JOINED, 1, 1.01),
]


@pytest.mark.parametrize(("case", "ours", "theirs", "within", "beyond"), ORM_BOUNDS)
def test_anywhere_mode_is_to_be_no_slower_than_greenlet(
    case, ours, theirs, within, beyond
):
    def verdicts(factor):
        base = series(case, orm.GREENLET, 1000, variant=theirs, level="orm")
        mine = series(case, orm.ANYWHERE, 1000 * factor, variant=ours, level="orm")
        judged = targets.judge(results_of(base, mine), [case])
        return [v.reached for v in judged if v.reached is not None]

    assert verdicts(within) == [True]
    assert verdicts(beyond) == [False]


@pytest.mark.parametrize(("finished", "reached"), [(0, True), (-1, False)])
def test_every_one_of_the_tasks_must_finish(finished, reached):
    alive = series(
        "tasks-waiting",
        "copool",
        cases.ALIVE + finished,
        variant=f"{cases.ALIVE:,} alive",
        level="process",
        unit="finished",
    )
    (verdict,) = targets.judge(results_of(alive), ["tasks-waiting"])
    assert verdict.reached is reached


@pytest.mark.parametrize(
    ("factor", "word"), [(1.9, "wish reached"), (2.1, "reached"), (3.1, "MISSED")]
)
def test_a_wish_is_told_apart_from_the_bound(factor, word):
    base = series("run-sync", "plain", 100, variant="noop")
    ours = series("run-sync", "copool", 100 * factor, variant="noop")
    table = report.verdict_table(targets.judge(results_of(base, ours), ["run-sync"]))
    assert table.rows[0][1:] == ("≤ 3×; wish 2×", f"{factor:.2f}×", word)


def test_a_bound_that_is_just_missed_does_not_look_reached():
    base = series("run-sync", "plain", 100, variant="noop")
    ours = series("run-sync", "copool", 300.4, variant="noop")
    table = report.verdict_table(targets.judge(results_of(base, ours), ["run-sync"]))
    assert table.rows[0][1:] == ("≤ 3×; wish 2×", "3.004×", "MISSED")
