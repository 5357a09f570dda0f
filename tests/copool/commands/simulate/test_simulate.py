"""`copool simulate` counts what the pool does in virtual time, the same in each run."""

import io
import json
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from copool.commands.model.policies import POLICIES
from copool.commands.simulate import cli
from copool.commands.simulate.cli import main
from copool.commands.simulate.costs import DEFAULT, Costs
from copool.commands.simulate.patterns import PATTERNS, Load, simulate
from copool.commands.simulate.plot import lines_of
from copool.commands.simulate.report import Row, count, duration, percent, table

FREE = Costs(**dict.fromkeys(Costs.__slots__, 0.0))
SMALL = Load(threads=6, lifecycles=60, alive=10, pause=1000.0)


def run(policy, pattern="steady", load=SMALL, costs=DEFAULT, **options):
    return simulate(POLICIES[policy](**options), costs, pattern, load)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_coroutine_that_is_made_finishes(pattern, policy):
    outcome = run(policy, pattern, batch=4)
    makers = 3 if pattern == "handoff" else 6
    assert outcome.lifecycles == makers * 60
    assert outcome.reused + outcome.made == outcome.lifecycles
    last = outcome.history[-1]
    assert (last.live, last.idle) == (0, outcome.idle_end)
    assert outcome.idle_end <= outcome.peak <= outcome.made
    assert max(moment.live for moment in outcome.history) <= outcome.peak


@pytest.mark.parametrize("policy", POLICIES)
def test_same_seed_gives_the_same_and_another_one_does_not(policy):
    assert run(policy) == run(policy)
    assert run(policy).history != run(policy, load=replace(SMALL, seed=2)).history


@pytest.mark.parametrize(
    ("policy", "cost"),
    [
        ("none", {"map": 1000.0}),
        ("mutex", {"lock": 5.0}),
        ("release", {"atomic": 3.0}),
        ("magazine", {"local": 20.0}),
    ],
)
def test_one_thread_pays_for_its_own_steps_only(policy, cost):
    load = Load(threads=1, lifecycles=100, alive=1, pause=0.0)
    outcome = run(policy, load=load, costs=replace(FREE, **cost))
    (price,) = cost.values()
    # Two locks, or two atomic operations and now and then an exchange.
    times = {"none": 1, "mutex": 2, "release": 2, "magazine": 1}[policy]
    assert outcome.ns_each == pytest.approx(times * price, rel=0.02)
    assert (outcome.contended, outcome.waited) == (0, 0.0)


def test_what_threads_share_costs_more_with_more_threads():
    def each(policy, threads):
        load = Load(threads, 300, 1, 0.0)
        return run(policy, load=load, costs=replace(DEFAULT, arena=0.0)).ns_each

    assert each("magazine", 8) < 1.2 * each("magazine", 1)
    for policy in ("none", "mutex", "release"):
        assert each(policy, 8) > 1.5 * each(policy, 2)
        assert each(policy, 2) > each(policy, 1)


def test_one_writer_of_a_line_at_a_time():
    """What threads do to the list takes at least as long as all their transfers."""
    load = Load(threads=8, lifecycles=100, alive=1, pause=0.0)
    costs = replace(FREE, line=100.0)
    assert run("release", load=load, costs=costs).span >= 800 * 2 * 100


def test_command_prints_writes_and_draws(tmp_path, capsys):
    pictured = tmp_path / "blocks.svg"
    written = tmp_path / "figures.json"
    options = ["--threads", "2,4", "--batch", "2,8", "--policy", "magazine"]
    options += ["--pattern", "burst", "--alive", "9", "--cost", "line=50"]
    assert main([*options, "--plot", str(pictured), "--json", str(written)]) == 0
    out = capsys.readouterr().out
    assert out.count(" magazine ") == 4
    assert "line 50" in out
    figures = json.loads(written.read_text())
    rows = [(row["threads"], row["batch"]) for row in figures["rows"]]
    assert rows == [(2, 2), (2, 8), (4, 2), (4, 8)]
    picture = pictured.read_text()
    assert "magazine, 4 threads, batch 8" in picture
    assert "burst: 9 alive in each thread, 2,000 lifecycles of each" in picture
    assert "each panel has its own scale of time" in picture


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--cost", "coffee=3"], "no cost 'coffee'"),
        (["--cost", "line=much"], "not a number"),
        (["--cost", "line=-1"], "must be from 0"),
        (["--plot", "x.pdf"], "must end in .svg or .png"),
    ],
)
def test_what_cannot_be_is_told(options, text, capsys):
    assert main(["--threads", "1", "--lifecycles", "1", *options]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["1", "3", "2,5"])
def test_hand_off_needs_pairs_of_threads(threads, capsys):
    assert main(["--pattern", "handoff", "--threads", threads]) == 2
    wrong = threads.rpartition(",")[2]
    assert f"between two threads each: not {wrong} threads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "wrong"),
    [
        ("--threads", "0", "0"),
        ("--threads", "1,", ""),
        ("--batch", "8,x", "x"),
        ("--alive", "-3", "-3"),
        ("--lifecycles", "1.5", "1.5"),
    ],
)
def test_numbers_must_be_whole_and_above_zero(option, text, wrong, capsys):
    with pytest.raises(SystemExit):
        main([f"{option}={text}"])
    assert f"{wrong!r} is no whole number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("pause", ["nan", "-500", "inf", "soon"])
def test_a_pause_must_be_a_time(pause, capsys):
    with pytest.raises(SystemExit):
        main(["--pattern", "burst", f"--pause={pause}"])
    assert f"{pause!r} is no number from 0 to 10⁹" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--plot"])
@pytest.mark.parametrize("name", ["/no/such/place.svg", "/"])
def test_a_file_that_cannot_be_is_refused_at_once(option, name, capsys, monkeypatch):
    monkeypatch.setattr(cli, "simulate", pytest.fail)
    with pytest.raises(SystemExit):
        main([option, name])
    assert "cannot be a file" in capsys.readouterr().err


def test_matplotlib_is_looked_for_first(capsys, monkeypatch):
    monkeypatch.setattr(cli, "simulate", pytest.fail)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--plot", "x.svg"]) == 2
    assert "--plot needs matplotlib" in capsys.readouterr().err


def test_what_has_no_batches_is_simulated_and_drawn_once(tmp_path, capsys):
    pictured = tmp_path / "blocks.svg"
    options = ["--threads", "1", "--batch", "2,8", "--lifecycles", "20"]
    assert main([*options, "--plot", str(pictured)]) == 0
    out = capsys.readouterr().out
    assert (out.count(" none "), out.count(" mutex ")) == (1, 2)
    picture = pictured.read_text()
    assert "none, 1 thread<" in picture
    assert "mutex, 1 thread, batch 8" in picture


@pytest.mark.parametrize(
    ("batches", "lines"),
    [
        ([4], [["none", "mutex", "magazine"]] * 2),
        ([4, 8], [["none"], ["mutex"] * 2, ["magazine"] * 2] * 2),
    ],
)
def test_a_line_of_panels_is_a_policy_or_all_of_them(batches, lines):
    rows = [
        Row(threads, policy, batch, None)
        for threads in (2, 4)
        for policy in ("none", "mutex", "magazine")
        for batch in ([None] if policy == "none" else batches)
    ]
    found = lines_of(rows)
    assert [[row.policy for row in line] for line in found] == lines
    assert all(len({row.threads for row in line}) == 1 for line in found)


def test_the_widest_figures_fit_into_eighty_columns():
    outcome = replace(
        run("mutex"),
        **dict.fromkeys(("made", "peak", "idle_end", "contended"), 999_999),
        lifecycles=1, reused=1, waited=1.0, ns_each=12_300.0,
    )  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    console.print(table([Row(100_000, "magazine", 65536, outcome)]))
    shown = console.file.getvalue()
    assert "…" not in shown
    assert shown.split().count("999,999") == 4
    assert "100,000 magazine 65536 100.0 %" in shown
    assert "100.0 % 12.3 µs" in shown


def test_counts_are_exact_up_to_a_million():
    assert [count(n) for n in (0, 999_999, 1_234_567, 123_456_789, 10**9)] == [
        "0",
        "999,999",
        "1.23 M",
        "123 M",
        "1.00 G",
    ]


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (
            ["--threads", "64", "--policy", "magazine"],
            "steady: 1 alive in each thread, 2,000 lifecycles of each",
        ),
        (
            ["--threads", "2,200", "--pattern", "handoff", "--policy", "magazine"],
            "handoff: 256 alive in each pair, 5,120 or 2,000 lifecycles of each",
        ),
    ],
)
def test_the_title_says_how_much_was_simulated(options, title, capsys, monkeypatch):
    loads = []

    def small(pool, costs, pattern, load):
        loads.append(load.lifecycles)
        return simulate(pool, costs, pattern, replace(load, lifecycles=10))

    monkeypatch.setattr(cli, "simulate", small)
    assert main(options) == 0
    assert title in capsys.readouterr().out
    assert all(f"{number:,}" in title for number in loads)


def test_figures_are_rounded_without_lying():
    times = [duration(ns) for ns in (0.5, 99.96, 999.4, 999.6, 2.5e6, 3.2e12)]
    assert times == ["0.50 ns", "100 ns", "999 ns", "1.00 µs", "2.50 ms", "3200 s"]
    assert [percent(part) for part in (0, 0.5, 0.99999, 1)] == [
        "0.0 %",
        "50.0 %",
        "99.9 %",
        "100.0 %",
    ]
