"""`copool bench` checks what it times, computes what it prints, and never hangs.

The cases are run with one round of a millisecond: what they find is of no
interest here, only that they find it.
"""

import json
import subprocess
import sys
from itertools import count

import pytest
from benchmarked import results_of
from matplotlib.figure import Figure

from copool.commands.bench import (
    cases,
    clevel,
    cli,
    footprint,
    plot,
    report,
    runner,
    targets,
)
from copool.commands.bench.model import (
    BenchError,
    ImpossibleError,
    Key,
    Results,
    Sample,
    Series,
    Trial,
    WrongResultError,
    ratio,
)

TINY = ["--rounds", "1", "--round-ms", "1", "--quick"]
SETTINGS = runner.Settings(rounds=5, round_ms=1, quick=True)


def key(subject: str, variant: str = "", *, level: str = "python") -> Key:
    return Key("cost", level, variant, subject)  # type: ignore[arg-type]


def series(subject: str, *values: float, variant: str = "", **names: str) -> Series:
    return Series(key(subject, variant, **names), "ns/op", values)


class FakeWork:
    """Takes `each` nanoseconds an operation, and writes down its turns."""

    def __init__(self, name: str, turns: list[str], each: int, lost: int = 0) -> None:
        self.name, self.turns, self.each, self.lost = name, turns, each, lost

    def __call__(self, n: int, *, count: bool) -> Sample:
        self.turns.append(f"{self.name}{'?' if count else ''}")
        return Sample(n * self.each, n, n - self.lost)


# --- arithmetic -------------------------------------------------------------


def test_ratio_is_the_median_of_the_ratios_of_each_round():
    slow = series("slow", 10, 400, 30, 40, 50)
    fast = series("fast", 5, 100, 10, 10, 5)
    assert ratio(slow, fast) == 4
    assert ratio(fast, slow) == 1 / 4


def test_ratio_of_series_not_measured_in_turns_is_refused():
    with pytest.raises(BenchError, match="not measured in turns"):
        ratio(series("a", 1, 2), series("b", 1))


def test_spread_is_the_first_and_last_decile():
    one = series("a", *range(1, 12))
    assert (one.p10, one.median, one.p90) == (2, 6, 10)
    single = series("a", 7)
    assert (single.p10, single.median, single.p90) == (7, 7, 7)


def test_targets_read_ratios_the_right_way_round():
    verdicts = targets.judge(
        results_of(
            series("copool", 10, 10),
            series("greenlet", 500, 500),
            series("generator", 5, 5),
            series("magazine", 1, 1, level="c"),
            series("release", 2, 2, level="c"),
            series("mutex", 3, 3, level="c"),
            series("fcontext", 0.5, 0.5, level="c"),
        ),
        ["cost"],
    )
    figures = [(v.figure, v.reached) for v in verdicts]
    assert figures == [
        (50, True),  # times faster than greenlet
        (2, False),  # times a generator's
        (1.5, True),  # release faster than mutex
        (3, True),  # magazine faster than mutex
        (2, True),  # magazine faster than release
        (None, None),  # Boost: not measured
        (2, False),  # times Boost's bare jump
    ]


@pytest.mark.parametrize(
    ("case", "variant", "bound"),
    [("yield", "", 65), ("cost", "", 90), ("crowd", "10,000", 80), ("mixed", "", 85)],
)
def test_the_bare_jump_is_a_target_where_it_is_done(case, variant, bound):
    def judged(value: float) -> list[tuple[float | None, bool | None]]:
        verdicts = targets.judge(
            results_of(
                Series(Key(case, "c", variant, "magazine"), "ns/op", (value,)),
                Series(Key(case, "c", variant, "fcontext"), "ns/op", (100,)),
            ),
            [case],
        )
        return [
            (verdict.figure, verdict.reached)
            for verdict in verdicts
            if "bare jump" in verdict.target.text
        ]

    assert judged(bound) == [(bound / 100, True)]
    assert judged(bound + 1) == [((bound + 1) / 100, False)]


@pytest.mark.parametrize(("calls", "figure"), [(1.0, 1.95), (1.7, None)])
def test_scaling_is_judged_only_where_plain_calls_scale(monkeypatch, calls, figure):
    monkeypatch.setattr(targets, "cores", lambda: 2)

    def of(subject: str, threads: int, value: float) -> Series:
        names = Key("threads", "c", cases.threads_variant(threads), subject)
        return Series(names, "ns/op", (value, value, value))

    (verdict,) = targets.judge(
        results_of(
            of("call", 1, 2),
            of("call", 2, calls),
            of("magazine", 1, 39),
            of("magazine", 2, 20),
        ),
        ["threads"],
    )
    assert verdict.figure == figure


# --- the runner -------------------------------------------------------------


def test_subjects_take_turns_and_the_first_round_is_thrown_away(monkeypatch):
    monkeypatch.setattr(runner, "preemptions", lambda: 0)
    turns: list[str] = []
    works = {key(n): FakeWork(n, turns, each=1_000_000) for n in "abc"}
    done = runner.run_trial(Trial(works), SETTINGS, lambda: None)
    assert turns[:6] == ["a?", "a", "a", "a", "b?", "b"]  # verified, calibrated
    assert turns[12:] == ["a", "b", "c"] * (SETTINGS.rounds + 1)
    assert [len(s.values) for s in done.series.values()] == [SETTINGS.rounds] * 3
    assert {s.median for s in done.series.values()} == {1_000_000}


def test_calibration_finds_how_many_operations_fill_a_round():
    assert runner.calibrate(FakeWork("a", [], each=100), 1e6) == 10_000
    assert runner.calibrate(FakeWork("a", [], each=5_000_000), 1e6) == 1


def test_a_wrong_result_stops_the_benchmark():
    works = {key("a"): FakeWork("a", [], each=1000, lost=1)}
    with pytest.raises(WrongResultError, match="cost by a: 39 of 40"):
        runner.run_trial(Trial(works), SETTINGS, lambda: None)


def test_a_subject_that_cannot_is_left_out_with_its_reason():
    def refuse(n: int, *, count: bool) -> Sample:
        raise ImpossibleError("not in this life")

    steps = count()
    works = {key("a"): FakeWork("a", [], each=1000), key("b"): refuse}
    done = runner.run_trial(Trial(works), SETTINGS, lambda: next(steps))
    assert list(done.series) == [key("a")]
    assert done.impossible == {key("b"): "not in this life"}
    assert next(steps) == 2 * SETTINGS.rounds  # the bar still comes to its end


PYTHON_METHODS = ("lifecycle", "cost", "yield_there_and_back", "deep_yield", "nesting")


@pytest.mark.parametrize("method", PYTHON_METHODS)
@pytest.mark.parametrize("name", [*cases.python_subjects()])
def test_every_operation_of_every_subject_comes_back(name, method):
    work = getattr(cases.python_subjects()[name], method, None)
    if work is None:
        pytest.skip("has no such case")
    for counted in (True, False):
        try:
            sample = work(2, count=counted)
        except ImpossibleError as reason:
            pytest.skip(str(reason))
        assert sample.came_back == sample.operations > 0


def test_a_body_that_yields_too_often_is_noticed(monkeypatch):
    from copool.commands.bench import subjects

    monkeypatch.setattr(subjects, "repeat", lambda _, n: range(n + 3 if n == 8 else n))
    sample = cases.python_subjects()["generator"].yield_there_and_back(7, count=False)
    assert sample.came_back == 0
    with pytest.raises(WrongResultError):
        sample.verified("it")


def test_the_c_level_knows_its_cases():
    assert clevel.CWork("cost", "magazine")(10, count=False).operations == 10
    assert clevel.CWork("crowd", "magazine", width=5)(2, count=False).operations == 10
    with pytest.raises(BenchError, match="no case 'dance' by 'mutex'"):
        clevel.CWork("dance", "mutex")(1, count=False)


C_SUBJECTS = (*clevel.POLICIES, *clevel.OTHERS)
C_CASES = ("lifecycle", "cost", "yield", "inexact", "crowd", "mixed")


@pytest.mark.parametrize("subject", C_SUBJECTS)
@pytest.mark.parametrize("case", C_CASES)
def test_each_subject_of_the_c_level_does_each_case(case, subject):
    work = clevel.CWork(case, subject, width=5)
    if subject in ("boost", "fcontext") and not clevel.has_boost():
        with pytest.raises(ImpossibleError, match="libboost-context-dev"):
            work(1, count=False)
        return
    for n in (1, 40, 1000):
        assert work(n, count=False).operations == n * (5 if case == "crowd" else 1)
    # Nobody can have made that many steps.
    with pytest.raises(WrongResultError, match=f"{case} by {subject}: wrong"):
        work(-1, count=False)


def test_memory_that_does_not_come_to_its_end_is_noticed():
    with pytest.raises(WrongResultError, match="9 of 10 finished"):
        footprint.expect_all({"finished": 9}, 10, "copool")


# --- the command line -------------------------------------------------------


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Make the measurements in other processes small."""
    monkeypatch.setattr(cases, "ALIVE", 500)
    real = footprint.in_a_process

    def small(what, subject, number, **options):
        figures = dict(real(what, subject, str(min(int(number), 100)), **options))
        if "finished" in figures:
            figures["finished"] = int(number)
        return figures

    monkeypatch.setattr(footprint, "in_a_process", small)
    monkeypatch.setattr(cases, "crowd_widths", lambda settings: iter((10, 100)))


@pytest.mark.parametrize("case", [case.name for case in cases.CASES])
def test_each_case_gives_json_with_figures(case, capsys):
    assert cli.main(["--case", case, "--json", "-", *TINY]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) >= {"format", "machine", "series", "ratios", "impossible"}
    assert document["cases"].keys() == {case}
    assert document["series"]
    for one in document["series"]:
        assert one["case"] == case
        assert one["values"]
        assert one["p10"] <= one["median"] <= one["p90"]


def test_files_are_written_and_tables_printed(tmp_path, capsys):
    files = {kind: tmp_path / f"out.{kind}" for kind in ("svg", "json", "md")}
    outputs = ["--plot", str(files["svg"]), "--json", str(files["json"])]
    outputs += ["--markdown", str(files["md"])]
    status = cli.main(["--case", "yield", "--case", "threads", *outputs, *TINY])
    assert status == 0
    assert "<svg" in files["svg"].read_text()
    assert json.loads(files["json"].read_text())["format"] == 1
    assert "| generator |" in files["md"].read_text()
    printed = capsys.readouterr().out
    assert "yield, from Python: switch there and back" in printed
    assert "scaling" in printed


def test_markdown_goes_to_its_place_in_a_page(tmp_path):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- bench {version} -->\nold\n<!-- end -->\nafter\n")
    assert cli.main(["--case", "map-16k", "--markdown", str(page), *TINY]) == 0
    lines = page.read_text().splitlines()
    assert lines[:2] == ["before", f"<!-- bench {version} -->"]
    assert lines[-2:] == ["<!-- end -->", "after"]
    assert "old" not in lines
    assert "| call |" in page.read_text()


def test_every_case_can_be_drawn(tmp_path):
    png = tmp_path / "all.png"
    chosen = ["lifecycle", "deep-yield", "crowd", "memory"]
    arguments = [part for name in chosen for part in ("--case", name)]
    assert cli.main([*arguments, "--plot", str(png), "--json", "/dev/null", *TINY]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_check_lists_targets_and_its_status_tells(monkeypatch, capsys):
    impossible_target = targets.Target(
        "yield", "yield: at no cost", targets.figure("yield", "python", "copool"), "",
        at_most=0,
    )  # fmt: skip
    monkeypatch.setattr(targets, "TARGETS", (impossible_target,))
    assert cli.main(["--case", "yield", "--check", *TINY]) == cli.EXIT_MISSED
    assert "MISSED" in capsys.readouterr().out
    monkeypatch.setattr(targets, "TARGETS", ())
    assert cli.main(["--case", "yield", "--check", *TINY]) == 0


def test_list_names_every_case(capsys):
    assert cli.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [case.name for case in cases.CASES]


def test_an_unknown_case_is_an_error_that_names_those_there_are(capsys):
    assert cli.main(["--case", "dance"]) == cli.EXIT_ERROR
    message = capsys.readouterr().err
    assert "no case 'dance'" in message
    assert "deep-yield" in message


def test_a_picture_of_unknown_kind_is_refused_before_measuring(capsys):
    assert cli.main(["--plot", "picture.gif"]) == cli.EXIT_ERROR
    assert ".svg or .png" in capsys.readouterr().err


def test_lines_show_the_range_that_the_title_promises():
    ax = Figure().subplots()
    keys = [Key("threads", "c", f"{n} threads", "magazine") for n in (1, 2)]
    series = {key: Series(key, "ns", (10.0, 20.0, 30.0)) for key in keys}
    case = next(case for case in cases.CASES if case.name == "threads")
    plot.draw_lines(ax, Results({}, {}, series, {}, []), case, keys)
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (min(heights), max(heights)) == pytest.approx((1e3 / 28, 1e3 / 12))


def test_only_what_is_the_same_has_the_same_colour():
    names = {name: name.removeprefix("copool-") for name in plot.COLOURS}
    names["copool"] = "magazine"
    kinds = {(names[name], colour) for name, colour in plot.COLOURS.items()}
    assert len({colour for _, colour in kinds}) == len(kinds)


@pytest.mark.parametrize("option", ["--plot", "--json", "--markdown"])
def test_a_file_that_cannot_be_is_refused_before_measuring(option, capsys, monkeypatch):
    monkeypatch.setattr(cli, "measure", pytest.fail)
    for name in ("/no/such/place.svg", "/"):
        assert cli.main([option, name]) == cli.EXIT_ERROR
        assert capsys.readouterr().err.startswith("copool bench: ")


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
@pytest.mark.parametrize("option", ["--rounds", "--round-ms"])
def test_numbers_must_be_whole_and_above_zero(option, number, capsys):
    with pytest.raises(SystemExit):
        cli.main([f"{option}={number}"])
    assert f"{number!r} is no whole number from 1 on" in capsys.readouterr().err


def test_matplotlib_is_looked_for_before_measuring(capsys, monkeypatch):
    monkeypatch.setattr(cli, "measure", pytest.fail)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["--plot", "x.svg"]) == cli.EXIT_ERROR
    assert "pip install 'copool[bench]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("rich.table", []), ("matplotlib", ["--plot", "x.svg", "--json", "-"])],
)
def test_a_missing_extra_is_named_with_the_remedy(
    module, arguments, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    status = cli.main(["--case", "map-16k", *arguments, *TINY])
    assert status == cli.EXIT_ERROR
    assert "pip install 'copool[bench]'" in capsys.readouterr().err


def test_without_greenlet_the_others_are_measured(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "greenlet", None)
    cases.python_subjects.cache_clear()
    try:
        assert cli.main(["--case", "yield", "--json", "-", *TINY]) == 0
    finally:
        cases.python_subjects.cache_clear()
    document = json.loads(capsys.readouterr().out)
    why = {one["subject"]: one["why"] for one in document["impossible"]}
    assert "pip install" in why.pop("greenlet")
    assert why.keys() == (set() if clevel.has_boost() else {"boost", "fcontext"})
    assert any("greenlet could not take part" in note for note in document["notes"])


def test_an_interrupt_ends_it_with_a_line(monkeypatch, capsys):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_trial", interrupt)
    assert cli.main(["--case", "yield", *TINY]) == cli.EXIT_INTERRUPTED
    assert capsys.readouterr().err == "copool bench: interrupted\n"


def test_it_runs_as_a_module_and_ends_by_ctrl_c():
    # The first line of output of --list shows that it has started; the long
    # run below is then interrupted while it measures, whenever that is.
    command = [sys.executable, "-m", "copool.commands.bench"]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True)
    assert listed.stdout.startswith("function-call")
    code = (
        "import os, signal, sys\n"
        "from copool.commands.bench import cli\n"
        "real = cli.run_trial\n"
        "def run_trial(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(*arguments)\n"
        "cli.run_trial = run_trial\n"
        "sys.exit(cli.main(['--json', '-']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (cli.EXIT_INTERRUPTED, "")
    assert done.stderr == "copool bench: interrupted\n"


# --- the report -------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (3.141, "ns/op", "3.14 ns"),
        (999.6, "ns/op", "1000 ns"),
        (12_345, "ns/op", "12.3 µs"),
        (2_500_000, "ns/op", "2.50 ms"),
        (4321.6, "bytes", "4,322 bytes"),
        (0.0, "per op", "0"),
    ],
)
def test_amounts_are_written_with_three_digits(value, unit, written):
    assert report.amount(value, unit) == written


def test_tables_hold_the_ratios():
    one, other = series("copool", 10, 10), series("greenlet", 500, 500)
    (case,) = cli.chosen_cases(cases.CASES, ["cost"])
    (table,) = report.tables(results_of(one, other), [case])
    assert table.columns == ("subject", "median", "10 – 90 %", "greenlet ÷ it")
    assert table.rows == (
        ("copool", "10.0 ns", "10.0 – 10.0 ns", "50.0×"),
        ("greenlet", "500 ns", "500 – 500 ns", ""),
    )
