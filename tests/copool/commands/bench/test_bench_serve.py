"""`copool bench --serve` times servers that answer rightly, and leaves none behind.

A small program stands for wrk, but in one test, and in some for the server. What is
not installed is left out of the tests as it is left out of the tables.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from benchmarked import results_of
from matplotlib.figure import Figure

from copool.commands.bench import (
    aio,
    cases,
    cli,
    compat,
    orm,
    plot,
    report,
    serve,
    served,
    targets,
)
from copool.commands.bench.model import (
    RATE,
    BenchError,
    ImpossibleError,
    Key,
    Sample,
    Series,
    WrongResultError,
)

pytestmark = pytest.mark.alone

TINY = ["--serve", "--quick", "--rounds", "1"]
COUNTS = {"microseconds": 2_000_000, "requests": 5000, "errors": {"read": 0}}

# Says that it has a greenlet that is another one than copool's, and then what it does.
GREETING = """
import json, os, signal, socket, subprocess, sys, time
print(json.dumps({"greenlet": "/lib/greenlet.so"}), flush=True)
"""


@pytest.fixture
def wrk(tmp_path, monkeypatch):
    """Return a function that puts a shell script in the place of wrk."""

    def put(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        fake = folder / "wrk"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


@pytest.fixture
def counting(wrk):
    """Let wrk count some requests without any."""
    wrk(f"echo '{json.dumps(COUNTS)}'")


@pytest.fixture
def stand_in(monkeypatch, counting):
    """Return a function that lets a program stand for the server of greenlet."""

    def become(code):
        way = orm.Way(("-c", GREETING + textwrap.dedent(code)), "greenlet")
        monkeypatch.setattr(orm, "WAYS", {**orm.WAYS, orm.GREENLET: way})
        monkeypatch.setattr(serve, "PACKAGES", {"gunicorn": ()})
        return serve.HttpWork("gunicorn", orm.GREENLET, "")

    return become


def series(case, subject, *values, variant=""):
    return Series(Key(case, "serve", variant, subject), RATE, values)


def case_by(name):
    (case,) = cli.chosen_cases(serve.CASES, [name])
    return case


def do(work, n, *, count):
    """Have it done, or skip what is not installed."""
    try:
        return work(n, count=count)
    except ImpossibleError as reason:
        pytest.skip(str(reason))


def those_with(mark):
    """Return the command lines of the processes that have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" "))
        except OSError:
            continue  # it has ended
    return found


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- the plan ---------------------------------------------------------------


def test_names_of_cases_differ_so_that_targets_are_told_apart():
    ours = {case.name for case in serve.CASES}
    assert not ours & {c.name for c in (*cases.CASES, *compat.CASES, *aio.CASES)}
    assert ours - {target.case for target in targets.TARGETS} == {"fastapi"}
    assert ours == {*serve.PACKAGES} == {*served.SERVERS}


def test_list_names_the_cases_of_serve(capsys):
    assert cli.main(["--serve", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [case.name for case in serve.CASES]


def test_rounds_are_as_long_as_they_are_told():
    def size(name, settings):
        (trial,) = case_by(name).plan(case_by(name), settings)
        return trial.n

    assert (size("fastapi", serve.FULL), size("celery", serve.FULL)) == (1, 1000)
    longer = serve.Settings(rounds=1, round_ms=2600)
    assert (size("fastapi", longer), size("celery", longer)) == (3, 2600)


def test_a_server_and_its_clients_have_different_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 2})
    assert serve.processors() == ((3,), [1, 2])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert serve.processors() == ((1,), (1,))


# --- the real ones ----------------------------------------------------------


def test_wrk_counts_the_requests_of_a_second():
    variant = serve.NO_KEEP_ALIVE
    with closing(serve.HttpWork("gunicorn", orm.IN_PLACE, variant)) as work:
        do(work, 1, count=True)
        sample = do(work, 1, count=False)
    assert sample.operations == sample.came_back > 0
    assert 0.9e9 < sample.nanoseconds < 60e9


@pytest.mark.usefixtures("counting")
def test_fastapi_answers_in_anywhere_mode():
    with closing(serve.HttpWork("fastapi", orm.ANYWHERE, "")) as work:
        assert do(work, 1, count=True) == Sample(0, 1, 1)


def test_celery_carries_out_each_task_once():
    with closing(serve.CeleryWork("celery", orm.IN_PLACE, "")) as work:
        assert do(work, 1, count=True).came_back == 1
        assert do(work, 150, count=False).came_back == 150
        # One that nobody waited for is noticed.
        work.app.send_task(served.TASK, (7, 0))
        assert do(work, 20, count=False).came_back == 0


# --- what goes wrong --------------------------------------------------------


def test_what_wrk_counts_as_failed_is_an_error():
    counts = {**COUNTS, "errors": {"read": 3, "status": 0, "timeout": 1}}
    with pytest.raises(WrongResultError, match=r"5,000 .*: read 3, timeout 1$"):
        serve.counted_by_wrk(json.dumps(counts), "it")
    with pytest.raises(WrongResultError, match="of 0 requests"):
        serve.counted_by_wrk(json.dumps({**COUNTS, "requests": 0}), "it")


PAGES = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    left = RIGHT
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Hello, world!\\n" if Handler.left > 0 else b"Bye")
        Handler.left -= 1
class Server(http.server.HTTPServer):
    def __init__(self):
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket = socket.socket(fileno=int(sys.argv[-1]))
Server().serve_forever()
"""


@pytest.mark.parametrize("right", [0, 1])
def test_a_wrong_page_before_or_after_the_load_is_an_error(right, stand_in):
    with (
        closing(stand_in(PAGES.replace("RIGHT", str(right)))) as work,
        pytest.raises(BenchError, match=r"gunicorn by greenlet: a wrong .*200 b'Bye'"),
    ):
        work(1, count=False)


def test_a_server_that_ends_is_told_with_its_last_lines(stand_in):
    code = "raise SystemExit('\\n'.join(f'line {n}' for n in range(20)))"
    with closing(stand_in(code)) as work, pytest.raises(BenchError) as error:
        work(1, count=True)
    told = "gunicorn by greenlet: it has ended; it said:\nline 12\nline 13\n"
    assert str(error.value).startswith(told)
    assert str(error.value).endswith("line 19")


def test_a_server_that_does_not_even_begin_is_told_with_its_last_lines(
    stand_in, monkeypatch
):
    work = stand_in("")
    way = orm.Way(("-c", "raise SystemExit('out of luck')"), "greenlet")
    monkeypatch.setattr(orm, "WAYS", {orm.GREENLET: way})
    with closing(work), pytest.raises(BenchError, match="greenlet: out of luck"):
        work(1, count=True)


def test_a_server_that_does_not_answer_is_told(stand_in, monkeypatch):
    monkeypatch.setattr(serve, "PATIENCE", 0.2)
    code = "print('busy', file=sys.stderr, flush=True); time.sleep(1000)"
    with (
        closing(stand_in(code)) as work,
        pytest.raises(BenchError, match=r"no answer in 0.2 seconds; it said:\nbusy"),
    ):
        work(1, count=True)


def test_a_server_with_another_greenlet_is_refused(counting, monkeypatch):
    way = orm.Way((), "copool")
    monkeypatch.setattr(orm, "WAYS", {**orm.WAYS, orm.IN_PLACE: way})
    with (
        closing(serve.HttpWork("gunicorn", orm.IN_PLACE, "")) as work,
        pytest.raises(BenchError, match="did not put copool in greenlet's place"),
    ):
        do(work, 1, count=True)


@pytest.mark.parametrize(
    ("case", "name"), [("gunicorn", "wrk"), ("celery", "redis-server")]
)
def test_a_missing_program_gives_rows_with_the_remedy(case, name, monkeypatch, capsys):
    monkeypatch.setattr(serve, "PACKAGES", {case: ()})
    monkeypatch.setenv("PATH", "")
    assert cli.main([*TINY, "--case", case, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = {one["why"] for one in document["impossible"]}
    assert told == {f"{name} is not installed (sudo apt install {name})"}
    assert document["series"] == []


def test_a_missing_package_gives_rows_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(serve, "PACKAGES", {"fastapi": ("sys", "no_such_package")})
    assert cli.main([*TINY, "--case", "fastapi", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    why = "no_such_package is not installed (pip install 'copool[serve]')"
    assert [one["why"] for one in document["impossible"]] == [why] * 3


# --- nothing is left behind -------------------------------------------------

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
os.write(1, b"here\\n")  # at once: both write to it
time.sleep(1000)
"""


def test_what_does_not_want_to_end_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "PATIENCE_AT_END", 0.1)
    mark = f"COPOOL_TEST={uuid.uuid4()}"
    options = {"env": dict([*os.environ.items(), mark.split("=")])}
    with open(tmp_path / "log", "w") as log:
        allowed = os.sched_getaffinity(0)
        with serve.started(["-c", STUBBORN], allowed, log, **options) as process:
            assert [process.stdout.readline() for _ in range(2)] == ["here\n"] * 2
            assert len(those_with(mark)) == 2
        wait_until(lambda: not those_with(mark))
    assert process.returncode == -signal.SIGKILL


# Ctrl-C works in it, also where a shell has it ignored.
BENCH = """
import signal, sys
from copool.commands.bench import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("case", "end"),
    [
        ("gunicorn", signal.SIGINT),
        ("gunicorn", signal.SIGKILL),
        ("celery", signal.SIGINT),
        ("celery", signal.SIGTERM),
    ],
)
def test_nothing_is_left_when_it_is_interrupted(case, end, wrk, tmp_path):
    for name in serve.PACKAGES[case]:
        pytest.importorskip(name)
    if case == "celery" and not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    # This goes on until the benchmark is gone, as wrk would for a while.
    under_load, mark = tmp_path / "under load", f"COPOOL_TEST={uuid.uuid4()}"
    wrk(f"touch '{under_load}'; while kill -0 $PPID; do sleep 0.05; done")
    environment = dict([*os.environ.items(), mark.split("=")])
    command = [sys.executable, "-c", BENCH, *TINY, "--case", case]
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen(
        command,
        env=environment | {"TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def is_busy():
        if case == "gunicorn":
            return under_load.exists()
        return any(b"served" in c and b"celery" in c for c in those_with(mark))

    wait_until(is_busy)
    assert len(those_with(mark)) > 1
    os.killpg(process.pid, end)  # as a terminal does with Ctrl-C
    _, errors = process.communicate(timeout=60)
    if end == signal.SIGINT:
        assert errors == "copool bench: interrupted\n"
        assert process.returncode == cli.EXIT_INTERRUPTED
        assert those_with(mark) == []
        assert [*folder.iterdir()] == []
    wait_until(lambda: not those_with(mark))


# --- the report -------------------------------------------------------------


@pytest.mark.usefixtures("counting")
def test_all_of_it_is_measured_drawn_and_compared(tmp_path, monkeypatch, capsys):
    for name in serve.PACKAGES["gunicorn"]:
        pytest.importorskip(name)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    marks = (f"aio {version}", f"serve {version}")
    page.write_text("".join(f"<!-- {mark} -->\nold\n<!-- end -->\n" for mark in marks))
    monkeypatch.setenv("COLUMNS", "120")
    outputs = ["--markdown", str(page), "--plot", str(picture)]
    chosen = [*TINY, "--case", "gunicorn", "--check", *outputs]
    assert cli.main(chosen) == cli.EXIT_MISSED
    printed = capsys.readouterr().out
    assert printed.count(" 2,500 /s") == 4
    assert "1.00×  MISSED" in printed
    assert "of how many a second there were" in printed
    assert "<svg" in picture.read_text()
    first, second = page.read_text().split(f"<!-- serve {version} -->\n")
    assert "old" in first
    assert "old" not in second
    assert "| copool's greenlet | keep-alive | 2,500 /s | 1.00× |" in second


def test_a_row_shows_rates_and_by_how_many_times_they_are_more():
    rows = partial(series, "celery")
    gone = Key("celery", "serve", "", orm.IN_PLACE)
    theirs, ours = rows(orm.GREENLET, 500, 600), rows(orm.IN_PLACE, 1000, 1500)
    (table,) = report.tables(results_of(theirs, ours), [case_by("celery")])
    assert table.columns == ("subject", "median", "10 – 90 %", "÷ greenlet")
    assert table.rows == (
        ("greenlet", "550 /s", "510 – 590 /s", ""),
        ("copool's greenlet", "1,250 /s", "1,050 – 1,450 /s", "2.25×"),
    )
    lacking = results_of(theirs, impossible={gone: "not there"})
    (table,) = report.tables(lacking, [case_by("celery")])
    assert table.rows[1] == ("copool's greenlet: not there", "", "")


BOUNDS = [
    # the case, its variant, just within, just beyond
    ("gunicorn", serve.NO_KEEP_ALIVE, 1.5, 1.49),
    ("celery", "", 1, 0.99),
]


@pytest.mark.parametrize(("case", "variant", "within", "beyond"), BOUNDS)
def test_targets_are_reached_up_to_the_bound(case, variant, within, beyond):
    def verdicts(factor):
        base = series(case, orm.GREENLET, 1000, 3000, variant=variant)
        mine = 1000 * factor, 3000 * factor
        ours = series(case, orm.IN_PLACE, *mine, variant=variant)
        return [v.reached for v in targets.judge(results_of(base, ours), [case])]

    assert verdicts(within) == [True]
    assert verdicts(beyond) == [False]


def test_bars_of_rates_begin_at_none():
    ax = Figure().subplots()
    every = series("celery", orm.GREENLET, 500), series("celery", orm.IN_PLACE, 600)
    keys = [one.key for one in every]
    plot.draw_bars(ax, results_of(*every), case_by("celery"), "serve", keys)
    assert (ax.get_xscale(), ax.get_xlim()[0]) == ("linear", 0)
    assert [bar.get_width() for bar in ax.patches] == [500, 600]
