"""Tools that follow calls find what is true.

Each in a process of its own.
"""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated


def needs(tool):
    """Skip where a tool has no release for this version of Python."""
    return pytest.mark.skipif(
        importlib.util.find_spec(tool) is None,
        reason=f"{tool} has no release for Python {sys.version_info[0]}."
        f"{sys.version_info[1]}",
    )


def run(*arguments, cwd=None, **env):
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=cwd,
        env=os.environ | env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- coverage -------------------------------------------------------------

COVERED = """
import asyncio
import copool, copool.aio
def leaf(stop, i):
    before = i
    stop()
    if before == 1:
        return before
    after = before + 1
    stop()
    return after
def never(): # pragma: no cover
    return 1
def top(stop):
    for i in range(3):
        sorted([i], key=lambda i: leaf(stop, i))
def short():
    result = 1
    return result
chains = [copool.Coroutine(top) for _ in range(3)]
for chain in chains:
    chain.enter(copool.yield_)
copool.Coroutine(short).enter()
{middle}
for _ in range(2):
    for chain in chains:
        chain.enter()
async def main():
    def stop():
        copool.aio.await_(asyncio.sleep(0))
    async def task():
        top(stop)
        await asyncio.sleep(0)
        return short()
    await asyncio.gather(*[task() for _ in range(3)])
copool.aio.run(main())
{end}
"""

STOPS_INSIDE = """
def stops():
    import coverage
    coverage.Coverage.current().stop()
copool.Coroutine(stops).enter()
"""


@pytest.fixture
def covered(tmp_path):
    def measure(core, *, middle="", end=""):
        program = tmp_path / "program.py"
        program.write_text(COVERED.format(middle=middle, end=end))
        measured = ("-m", "coverage", "run", "--branch", "program.py")
        out = run(*measured, cwd=tmp_path, COVERAGE_CORE=core)
        assert out == ""
        run("-m", "coverage", "json", "-q", cwd=tmp_path)
        files = json.loads((tmp_path / "coverage.json").read_text())["files"]
        return files["program.py"]

    return measure


CORES = ["ctrace", "pytrace"]
if sys.version_info >= (3, 14):  # before, it has no branches
    CORES.append("sysmon")


@pytest.mark.parametrize("core", CORES)
def test_coverage_finds_every_line_and_branch(covered, core):
    found = covered(core)
    assert (found["missing_lines"], found["missing_branches"]) == ([], [])


def test_coverage_stops_while_coroutines_are_suspended_and_in_one(covered):
    # Its tracers warn if they are not the current trace function by then.
    assert covered("pytrace", end=STOPS_INSIDE)["executed_lines"]
    assert covered("pytrace", middle=STOPS_INSIDE)["missing_lines"]


# --- what the page says ------------------------------------------------------

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/debugging.md").read_text()


def said(word):
    """Return the code in the page that has that word."""
    blocks = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    return next(block for block in blocks if word in block)


# --- yappi ----------------------------------------------------------------

TURNS = """
import sys
import copool
def work(n):
    total = 0
    for i in range(n):
        total += i
    return total
def a_work(): work(60_000)
def b_work(): work(20_000)
def m_work(): work(20_000)
def a_step(stop): a_work(); stop()
def b_step(stop): b_work(); stop()
def a_top(stop):
    for _ in range(50): a_step(stop)
def b_top(stop):
    for _ in range(50): b_step(stop)
def turn(a, b): a(); m_work(); b()
def run():
    a, b = copool.Coroutine(a_top, name="a"), copool.Coroutine(b_top, name="b")
    a.enter(copool.yield_); m_work(); b.enter(copool.yield_)
    for _ in range(49):
        turn(a.enter, b.enter)
    a.enter(); b.enter()
"""

YAPPI = (
    TURNS
    + said("yappi")
    + """
run()
yappi.stop()
found = {s.name: s.ttot for s in yappi.get_func_stats()}
whole = found["run"] + found["a_top"] + found["b_top"]
print({name: round(100 * found[name] / whole) for name in ("run", "a_top", "b_top")})
print({s.name: s.sched_count for s in yappi.get_greenlet_stats()})
"""
)


@needs("yappi")
def test_yappi_by_coroutine(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(YAPPI)
    shares, switches = map(eval, run(str(program)).splitlines())
    assert abs(shares["run"] - 20) < 8
    assert abs(shares["a_top"] - 60) < 8
    assert abs(shares["b_top"] - 20) < 8
    assert switches == {"main": 103, "a": 51, "b": 51}


# --- pyinstrument -----------------------------------------------------------

PYINSTRUMENT = (
    TURNS.replace("range(50)", "range(200)").replace("range(49)", "range(199)")
    + """
from pyinstrument import Profiler
profiler = Profiler(interval=0.0005)
with profiler:
    run()
places = {}
def walk(frame, above):
    here = (*above, frame.function)
    for name in ("a_work", "b_work", "m_work"):
        if frame.function == name:
            places.setdefault(name, set()).add(tuple(n for n in here if n in NAMES))
    for child in frame.children:
        walk(child, here)
NAMES = {"run", "turn", "a_top", "a_step", "b_top", "b_step"}
NAMES |= {"a_work", "b_work", "m_work"}
walk(profiler.last_session.root_frame(), ())
print({name: sorted(where) for name, where in places.items()})
"""
)


@needs("pyinstrument")
def test_pyinstrument_shows_who_entered(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PYINSTRUMENT)
    where = eval(run(str(program)))
    assert ("run", "turn", "a_top", "a_step", "a_work") in where["a_work"]
    assert ("run", "turn", "b_top", "b_step", "b_work") in where["b_work"]
    assert all(names[0] == "run" for names in where["a_work"] + where["m_work"])


# --- line_profiler ----------------------------------------------------------

LINES = (
    TURNS
    + """
from line_profiler import LineProfiler
profiler = LineProfiler(a_step, turn)
with profiler:
    run()
stats = profiler.get_stats().timings
print({key[2]: [hits for _, hits, _ in rows] for key, rows in stats.items()})
"""
).replace("a_work(); stop()", "\n    a_work()\n    stop()")


@needs("line_profiler")
def test_line_profiler_counts_lines(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LINES)
    found = eval(run(str(program)))
    assert found["a_step"] == [50, 50]


# --- viztracer --------------------------------------------------------------

VIZTRACER = (
    TURNS
    + """
import collections, json, sys
from viztracer import VizTracer
if "greenlets" in sys.argv:
    import greenlet
    hub = greenlet.getcurrent()
    def run():
        a, b = greenlet.greenlet(a_top).switch, greenlet.greenlet(b_top).switch
        a(hub.switch); m_work(); b(hub.switch)
        for _ in range(49):
            turn(a, b)
        a(); b()
main = run
import os
os.chdir(sys.argv[1])
"""
    + said("VizTracer")
    + """
with open("turns.json") as file:
    events = json.load(file)["traceEvents"]
calls = [event for event in events if event["ph"] == "X"]
counts = collections.Counter()
for call in calls:
    name = call["name"].split(" ")[0]
    counts[name] += 1
# Each lies within one that began before, or after it.
calls.sort(key=lambda call: (call["ts"], -call["dur"]))
open_until, crossed = [], 0
for call in calls:
    while open_until and open_until[-1] <= call["ts"] + 0.002:
        open_until.pop()
    end = call["ts"] + call["dur"]
    crossed += bool(open_until and end > open_until[-1] + 0.002)
    open_until.append(end)
def within(inner, outer):
    outers = [call for call in calls if call["name"].startswith(outer)]
    spans = [(call["ts"], call["ts"] + call["dur"]) for call in outers]
    return [
        any(start <= call["ts"] + 0.002 and call["ts"] + call["dur"] <= end + 0.002
            for start, end in spans)
        for call in calls
        if call["name"].startswith(inner)
    ]
pairs = [("a_work", "a_top"), ("a_work", "run"), ("m_work", "run"), ("m_work", "a_top")]
print([{*within(*pair)} for pair in pairs])
print({name: counts[name] for name in ("a_work", "b_work", "m_work", "a_top", "run")})
print(crossed)
"""
)


@needs("viztracer")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
@pytest.mark.parametrize("kind", ["coroutines", "greenlets"])
def test_viztracer_follows_switches(tmp_path, kind):
    program = tmp_path / "program.py"
    program.write_text(VIZTRACER)
    out = run("-m", "copool", "run", str(program), str(tmp_path), kind)
    within, counts, crossed = map(eval, out.splitlines()[-3:])
    # A coroutine is a part of run(), and a greenlet is not.
    assert within == [{True}, {kind == "coroutines"}, {True}, {False}]
    stretches = {"coroutines": 1, "greenlets": 103}[kind]
    works = {"a_work": 50, "b_work": 50, "m_work": 50}
    assert counts == works | {"a_top": 51, "run": stretches}
    assert crossed == 0


@needs("viztracer")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_viztracer_in_threads_and_when_they_have_ended(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        TURNS
        + """
import os, sys, threading
from viztracer import VizTracer
class Last:
    def __del__(self): len("last")
local = threading.local()
def main():
    def work():
        local.last = Last()
        run()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
os.chdir(sys.argv[1])
"""
        + said("VizTracer")
        + """
import collections, json
with open("turns.json") as file:
    events = json.load(file)["traceEvents"]
names = [event["name"].split(" ")[0] for event in events if event["ph"] == "X"]
print([names.count(name) for name in ("a_work", "b_work", "m_work")])
"""
    )
    out = run(str(program), str(tmp_path))
    assert out.splitlines()[-1] == "[150, 150, 150]"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_follow_needs_a_tool():
    run(
        "-c",
        "import copool, pytest\nwith pytest.raises(RuntimeError, match='start"
        " the tool first'): copool.follow().__enter__()",
    )


# --- debugpy ----------------------------------------------------------------

DEBUGGED = """\
import sys, debugpy
debugpy.listen(("127.0.0.1", int(sys.argv[1])))
debugpy.wait_for_client()
import copool
def top():
    x = 1
    copool.yield_(x)
    y = 2
def drive():
    co = copool.Coroutine(top)
    co.enter()
    after = 1
    co.enter()
    last = 2
drive()
"""


class Debugger:
    """A client of the Debug Adapter Protocol, with a breakpoint."""

    def __init__(self, program, port, line):
        self.socket = connected(port)
        self.file = self.socket.makefile("rb")
        self.sequence = 0
        self.call("initialize", adapterID="test", pathFormat="path")
        self.send("attach", justMyCode=False)
        self.wait(lambda message: message.get("event") == "initialized")
        breakpoints = {"source": {"path": program}, "breakpoints": [{"line": line}]}
        self.call("setBreakpoints", **breakpoints)
        self.call("configurationDone")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, command, **arguments):
        self.sequence += 1
        message = {"seq": self.sequence, "type": "request", "command": command}
        content = json.dumps(message | {"arguments": arguments}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        return self.sequence

    def wait(self, wanted):
        while True:
            length = 0
            while line := self.file.readline().strip():
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            message = json.loads(self.file.read(length))
            if wanted(message):
                return message

    def call(self, command, **arguments):
        number = self.send(command, **arguments)
        return self.wait(lambda message: message.get("request_seq") == number)

    def stopped(self):
        """Wait until it stops; return where, the innermost call first."""
        event = self.wait(lambda message: message.get("event") == "stopped")
        self.thread = event["body"]["threadId"]
        frames = self.call("stackTrace", threadId=self.thread)["body"]["stackFrames"]
        return [f"{frame['name']}:{frame['line']}" for frame in frames]

    def step(self, how):
        self.call(how, threadId=self.thread)
        return self.stopped()


def connected(port):
    for _ in range(1000):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("debugpy does not listen")


@needs("debugpy")
def test_debugpy_sees_who_entered_and_steps_out(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(DEBUGGED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-Xfrozen_modules=off", str(program), str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            debugger = Debugger(str(program), port, 6)
            assert debugger.stopped() == ["top:6", "drive:11", "<module>:15"]
            assert debugger.step("next")[0] == "top:7"
            assert debugger.step("next") == ["top:8", "drive:13", "<module>:15"]
            assert debugger.step("stepOut")[0] in ("drive:13", "drive:14")
            debugger.close()
        finally:
            process.kill()
