"""`copool bench --compat` has each library take part once, and says why one does not.

Most tests let a small program of their own stand for the processes that the
benchmark starts. The real ones are run with one round where greenlet is installed.
"""

import json
import sys
from contextlib import closing
from importlib.util import find_spec

import pytest
from benchmarked import results_of

from copool import _core
from copool.commands.bench import cases, cli, compat, footprint, report, runner, targets
from copool.commands.bench.model import (
    BenchError,
    ImpossibleError,
    Key,
    Series,
    WrongResultError,
    difference,
)

TINY = ["--compat", "--rounds", "1", "--round-ms", "1", "--quick"]
SETTINGS = runner.Settings(rounds=3, round_ms=1, quick=True)

needs_greenlet = pytest.mark.skipif(
    find_spec("greenlet") is None, reason="greenlet is not installed"
)

# Answers as a worker does; of the operations, LOST don't come back.
STAND_IN = """
import json, sys
print(json.dumps({"greenlet": FILE}), flush=True)
for line in sys.stdin:
    n = json.loads(line)["n"]
    print(json.dumps({"nanoseconds": n * 1000, "operations": n,
                      "came_back": n - LOST, "preempted": False}), flush=True)
"""
# A worker that does not find MISSING, but greenlet, whether or not it is there.
WITHOUT = """
import sys, types
class Blocker:
    def find_spec(name, *_):
        if name == MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker)
if MISSING != "greenlet":
    sys.modules["greenlet"] = types.SimpleNamespace(greenlet=object)
from copool.commands.bench import worker
worker.main(sys.argv[-1:])
"""


def program(code, **names):
    """Return a launcher that runs the code, whatever it is to launch."""
    lines = [f"{name} = {value!r}" for name, value in names.items()]
    return ("-c", "\n".join([*lines, code]))


@pytest.fixture
def launch(monkeypatch):
    """Return a function that says how the two subjects are started."""

    def launch_by(greenlet, copool):
        launchers = {"greenlet": greenlet, "copool": copool}
        monkeypatch.setattr(compat, "LAUNCHERS", launchers)

    return launch_by


@pytest.fixture
def stand_ins(launch):
    """Let both subjects be small programs that are what they should be."""

    def launch_stand_ins(lost=0):
        theirs = program(STAND_IN, FILE="/lib/greenlet.so", LOST=0)
        launch(theirs, program(STAND_IN, FILE=_core.__file__, LOST=lost))

    launch_stand_ins()
    return launch_stand_ins


@pytest.fixture
def spawn():
    (case,) = cli.chosen_cases(compat.CASES, ["spawn"])
    return case


def trial_of(case):
    (trial,) = case.plan(case, SETTINGS)
    return trial


def series(case, subject, *values, variant="", unit="ns/op"):
    return Series(Key(case, "drop-in", variant, subject), unit, values)


# --- the plan ---------------------------------------------------------------


def test_every_case_is_planned_for_both():
    for case in compat.CASES:
        if case is not cases.MAP_16K:
            (part,) = case.plan(case, SETTINGS)
            keys = getattr(part, "works", None) or part.keys
            assert {(key.case, key.level) for key in keys} == {(case.name, "drop-in")}
            assert {key.subject for key in keys} == {"greenlet", "copool"}


def test_names_of_cases_differ_so_that_targets_are_told_apart():
    ours = {case.name for case in compat.CASES}
    assert ours & {case.name for case in cases.CASES} == {"map-16k"}
    assert {target.case for target in targets.TARGETS} > ours - {"map-16k"}


def test_list_names_the_cases_of_compat(capsys):
    assert cli.main(["--compat", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [case.name for case in compat.CASES]


def test_a_case_without_compat_is_unknown_with_it(capsys):
    assert cli.main(["--compat", "--case", "cost"]) == cli.EXIT_ERROR
    assert "there are: map-16k, spawn, switch" in capsys.readouterr().err


# --- who takes part ---------------------------------------------------------


def test_the_greenlet_of_a_process_is_known_by_where_it_lies():
    maps = "1000-2000 r-xp 00000000 08:01 7  /lib/a b.so\n2000-3000 rw-p 00000000 0:0 0"
    addresses = (0xFFF, 0x1000, 0x1FFF, 0x2000, 0x3000)
    files = [footprint.file_at(address, maps) for address in addresses]
    assert files == ["", "/lib/a b.so", "/lib/a b.so", "", ""]


@pytest.mark.parametrize("file", [_core.__file__, ""])
def test_what_is_not_the_real_greenlet_is_refused_as_it(file):
    footprint.check_identity("greenlet", "/lib/greenlet.so")
    with pytest.raises(BenchError, match="was to run with the real greenlet"):
        footprint.check_identity("greenlet", file)


@pytest.mark.parametrize("file", ["/lib/greenlet.so", __file__, ""])
def test_what_is_not_copool_is_refused_as_it(file):
    footprint.check_identity("copool", _core.__file__)
    with pytest.raises(BenchError, match="did not put copool in greenlet's place"):
        footprint.check_identity("copool", file)


@needs_greenlet
@pytest.mark.parametrize("case", ["spawn", "suspended", "import", "start-up"])
def test_the_real_greenlet_is_never_compared_with_itself(case, launch, capsys):
    launch((), ())
    assert cli.main([*TINY, "--case", case]) == cli.EXIT_ERROR
    message = capsys.readouterr().err
    assert "did not put copool in greenlet's place" in message
    assert "_greenlet" in message


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        ("greenlet-spawn", "sqlalchemy"),
        ("gevent-join", "gevent"),
        ("spawn", "greenlet"),
    ],
)
def test_a_missing_package_gives_a_row_with_the_remedy(case, missing, launch, capsys):
    without = program(WITHOUT, MISSING=missing)
    launch(without, without)
    assert cli.main([*TINY, "--case", case, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = {one["subject"]: one["why"] for one in document["impossible"]}
    why = f"{missing} is not installed (pip install 'copool[compat]')"
    assert told == {"greenlet": why, "copool": why}
    assert document["series"] == []


def test_a_remedy_is_printed_whole(launch, monkeypatch, capsys):
    without = program(WITHOUT, MISSING="greenlet")
    launch(without, without)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([*TINY, "--case", "spawn"]) == 0
    assert "(pip install 'copool[compat]')" in capsys.readouterr().out


def test_an_import_error_of_our_own_is_not_called_a_missing_package(launch, spawn):
    launch(program(WITHOUT, MISSING="copool.commands.bench.peers"), ())
    with closing(trial_of(spawn)) as trial:
        work = next(iter(trial.works.values()))
        with pytest.raises(
            BenchError, match=r"spawn by greenlet: .*copool.commands.bench.peers"
        ):
            work(1, count=True)


# --- processes that take turns ----------------------------------------------


@pytest.mark.usefixtures("stand_ins")
def test_both_processes_are_measured_round_by_round(spawn):
    with closing(trial_of(spawn)) as trial:
        done = runner.run_trial(trial, SETTINGS, lambda: None)
    assert [key.subject for key in done.series] == ["greenlet", "copool"]
    assert [one.values for one in done.series.values()] == [(1000.0,) * 3] * 2


def test_a_count_that_is_wrong_stops_the_benchmark(stand_ins, spawn):
    stand_ins(lost=1)
    with (
        closing(trial_of(spawn)) as trial,
        pytest.raises(WrongResultError, match="spawn by copool: 39 of 40 operations"),
    ):
        runner.run_trial(trial, SETTINGS, lambda: None)


def test_a_process_that_dies_is_told_with_its_last_words(launch):
    launch(program("raise SystemExit('out of luck')"), ())
    with (
        closing(compat.RemoteWork("spawn", "greenlet")) as work,
        pytest.raises(BenchError, match="spawn by greenlet: out of luck"),
    ):
        work(1, count=True)


@pytest.mark.usefixtures("stand_ins")
def test_processes_are_replaced_now_and_then_and_end_with_the_trial(monkeypatch):
    monkeypatch.setattr(compat, "ORDERS_EACH", 2)
    with closing(compat.RemoteWork("spawn", "greenlet")) as work:
        processes = []
        for _ in range(5):
            work(1, count=False)
            processes.append(work.process)
    first, second, third = dict.fromkeys(processes)
    assert processes == [first, first, second, second, third]
    assert [one.returncode for one in (first, second, third)] == [0, 0, 0]


def test_a_worker_that_was_preempted_is_asked_again():
    samples = iter([True, True, False])

    def work(n, *, count):
        return runner.Sample(n, n, n, preempted=next(samples))

    assert not runner.run_undisturbed(work, 1, attempts=9).preempted
    assert list(samples) == []


# --- the real ones ----------------------------------------------------------

TURNS = [
    case.name
    for case in compat.CASES
    if case.name not in ("map-16k", "suspended", "import", "start-up")
]


@pytest.mark.parametrize("case", TURNS)
def test_every_operation_comes_back(case):
    with closing(compat.RemoteWork(case, "greenlet")) as work:
        try:
            counted = work(70, count=True)
        except ImpossibleError as reason:
            pytest.skip(str(reason))
        timed = work(70, count=False)
    assert (counted.came_back, counted.operations) == (70, 70)
    assert (timed.came_back, timed.operations) == (70, 70)
    assert timed.nanoseconds > 0


@needs_greenlet
def test_the_cases_of_greenlet_itself_are_measured_and_printed(monkeypatch, capsys):
    real = footprint.in_a_process

    def small(what, subject, number, **options):
        figures = real(what, subject, "100", **options)
        return {**figures, "finished": int(number)}

    monkeypatch.setattr(footprint, "in_a_process", small)
    names = ("spawn", "switch", "deep-switch", "throw", "getcurrent", "suspended")
    names += ("import", "start-up")
    chosen = [part for name in names for part in ("--case", name)]
    assert cli.main([*TINY, *chosen]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.endswith("× ")]
    assert len(rows) == len(names) + 2  # two have two variants
    assert "more under `copool run`" in printed


# --- the report -------------------------------------------------------------


def test_difference_is_the_median_of_the_differences_of_each_round():
    late = series("start-up", "copool", 15, 900, 12)
    soon = series("start-up", "greenlet", 10, 890, 11)
    assert difference(late, soon) == 5
    with pytest.raises(BenchError, match="not measured in turns"):
        difference(late, series("start-up", "greenlet", 1))


def test_targets_compare_copool_with_the_real_one():
    both = [
        series("spawn", "greenlet", 3000, 3000),
        series("spawn", "copool", 100, 100),
        series("suspended", "greenlet", 6000, variant="resident", unit="bytes"),
        series("suspended", "copool", 4500, variant="resident", unit="bytes"),
        series("start-up", "greenlet", 9e6, 10e6, variant="copool run"),
        series("start-up", "copool", 12.5e6, 13.5e6, variant="copool run"),
    ]
    judged = targets.judge(
        results_of(*both), ["spawn", "suspended", "import", "start-up"]
    )
    assert [(v.target.case, v.figure, v.reached) for v in judged] == [
        ("spawn", 30, True),
        ("suspended", 0.75, True),
        ("import", None, None),
        ("start-up", 3.5, False),
    ]


def test_a_row_shows_both_side_by_side_or_why_not(spawn):
    ours, theirs = (
        series("spawn", s, t) for s, t in (("copool", 100), ("greenlet", 3000))
    )
    (table,) = report.tables(results_of(ours, theirs), [spawn])
    assert table.rows == (
        ("create, run and finish", "3.00 µs", "", "100 ns", "", "30.0×"),
    )
    lacking = results_of(ours, impossible={theirs.key: "not there"})
    (table,) = report.tables(lacking, [spawn])
    assert table.rows == (
        ("create, run and finish: not there", "", "", "100 ns", "", ""),
    )
    both = results_of(impossible={theirs.key: "not there", ours.key: "not there"})
    (table,) = report.tables(both, [spawn])
    assert table.rows == (("create, run and finish: not there", *[""] * 5),)


def test_markdown_of_compat_has_a_place_of_its_own(tmp_path):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    page = tmp_path / "page.md"
    marks = (f"bench {version}", f"compat {version}")
    page.write_text("".join(f"<!-- {mark} -->\nold\n<!-- end -->\n" for mark in marks))
    arguments = ["--case", "map-16k", "--markdown", str(page)]
    assert cli.main([*TINY, *arguments]) == 0
    first, second = page.read_text().split(f"<!-- compat {version} -->\n")
    assert "old" in first
    assert "old" not in second
    assert "map-16k" in second
