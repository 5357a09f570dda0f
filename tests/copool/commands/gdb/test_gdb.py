"""gdb shows each suspended chain, of processes and of cores."""

import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import copool
from copool.commands.gdb import cli, reading

pytestmark = pytest.mark.isolated

PACKAGE = Path(copool.__file__).parent
AUTO_LOADED = next(PACKAGE.glob("_core.*-gdb.py"))

PROGRAM = """
import ctypes, threading, time
import copool, copool.greenlet
copool.greenlet.install()
from greenlet import getcurrent, greenlet

libc = ctypes.CDLL(None)
Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

def wait():
    copool.yield_()

def compare(*_):
    wait()
    return 0

def sort():
    libc.qsort((ctypes.c_int * 2)(), 2, 4, Compare(compare))

def worker(depth=2):
    if depth:
        worker(depth - 1)
    else:
        sort()

def idle():
    wait()

def run():
    for one in kept:
        print(hex(id(one)))
    print("ready", flush=True)
    time.sleep(600)

def outer():
    sorted([0], key=lambda _: run())

def drive():
    copool.Coroutine(outer).enter()

def in_another_thread():
    co = copool.Coroutine(idle)
    co.enter()
    begun.set()
    time.sleep(600)

kept = [copool.Coroutine(worker) for _ in range(7)]
kept.append(copool.Coroutine(idle, name="the odd \\u00e9\\u0142\\U0001f600 one"))
for co in kept:
    co.enter()
kept.append(copool.Coroutine(int))
kept[-1].enter()
green = greenlet(getcurrent().switch)
green.switch(1)
begun = threading.Event()
threading.Thread(target=in_another_thread, name="other", daemon=True).start()
begun.wait()
drive()
"""
ODD = "the odd \u00e9\u0142\U0001f600 one"


@dataclass
class Scene:
    process: subprocess.Popen
    addresses: list[str]  # seven of worker, the odd one, one that has finished
    folder: Path

    def gdb(self, *commands):
        return gdb(str(self.process.pid), commands=commands)


def run_gdb(*arguments, commands=(), options=()):
    """Run them in gdb, which may only read."""
    words = ["gdb", "-nx", "-batch", "-iex", "set may-write-memory off"]
    words += ["-iex", "set may-write-registers off", "-iex", "set width 0"]
    # CPython's own scripts take their time to show arguments that are objects.
    words += [*(options or ("-iex", "set auto-load python-scripts off")), *arguments]
    for command in commands:
        words += ["-ex", "echo @@\\n", "-ex", command]
    environment = os.environ | {"DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"}
    for name in ("PYTHONPATH", "PYTHONMALLOC", "PYTHONDEVMODE"):
        environment.pop(name, None)
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=environment,
        timeout=100,
    )
    if "ptrace: Operation not permitted" in done.stdout:
        pytest.skip("gdb may not attach to processes here")
    return done.stdout


def gdb(*target, commands):
    """Return what each of the commands has printed."""
    where = target if len(target) > 1 else ("-p", *target)
    text = run_gdb(*where, "-x", str(cli.SCRIPT), commands=commands)
    _, *outputs = text.split("@@\n")
    assert len(outputs) == len(commands), text
    outputs[-1] = re.sub(r"\[Inferior .*\n", "", outputs[-1])
    return outputs


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    running = []

    def begin(script):
        folder = tmp_path_factory.mktemp("gdb")
        (folder / "program.py").write_text(script, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)),
        )
        running.append(process)
        lines = []
        for line in process.stdout:
            if line == "ready\n":
                return Scene(process, lines, folder)
            lines.append(line.strip())
        raise AssertionError(f"the program has ended: {process.wait()}")

    yield begin
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def scene(start):
    return start(PROGRAM)


def entries(listing):
    """Return what each group is, with the thread's name, and where it stands."""
    found = re.findall(
        r"^(\d+) +(.*), at 0x\w+, thread \d+(.*)\n +(.*)$", listing, re.M
    )
    assert [int(number) for number, *_ in found] == [*range(1, len(found) + 1)]
    return {what + thread: where for _, what, thread, where in found}


def line_of(text):
    return PROGRAM.splitlines().index(text) + 1


WAIT = f"wait (program.py:{line_of('    copool.yield_()')})"


def check_list(listing):
    assert listing.splitlines()[0] == "12 chains in 2 threads"
    found = entries(listing)
    assert next(iter(found)) == "coroutine outer, running MainThread"
    assert "; in " not in found["coroutine outer, running MainThread"]
    waits = found["7 × coroutine worker, suspended MainThread"]
    assert waits.startswith(f"{WAIT} < compare (")
    assert " 3 more; in core_yield ()" in waits
    for name in (
        f"coroutine {ODD}, suspended MainThread",
        "coroutine idle, suspended other",
    ):
        assert found[name].startswith(f"{WAIT} < idle (")
    assert found["greenlet switch, suspended MainThread"].startswith(
        "no frames of Python"
    )
    assert "thread MainThread, waiting MainThread" in found


def check_worker(text):
    """Its calls in C and in Python, in turn, to the end of its stack."""
    words = [
        "coroutine worker, suspended",
        "#0 ",
        "core_yield ()",
        "wait (",
        "compare (",
    ]
    words += ["qsort", "sort (", *["worker ("] * 3, "strand_main ()"]
    assert in_order(text, words) == words
    numbers = re.findall(r"^#(\d+)", text, re.M)
    assert numbers == [str(number) for number in range(len(numbers))]
    assert len(re.findall(r"^        \w+ \(", text, re.M)) == 6
    assert "Backtrace stopped" not in text
    assert "not known" not in text


def in_order(text, words):
    """Return those of the words that come, one behind the other."""
    at, found = 0, []
    for word in words:
        next_ = text.find(word, at)
        if next_ >= 0:
            at = next_ + len(word)
            found.append(word)
    return found


def test_list_has_all_that_has_begun_and_equal_ones_once(scene):
    check_list(*scene.gdb("copool list"))


def test_list_shows_as_many_groups_as_are_asked_for(scene):
    listing, everything = scene.gdb("copool list 2", "copool list")
    rest = len(entries(everything)) - 2
    assert [*entries(listing)] == [*entries(everything)][:2]
    assert listing.splitlines()[-1] == f"and {rest} more: copool list {rest + 2}"


def test_bt_of_a_suspended_one_by_number_and_address_and_name(scene):
    first = scene.addresses[0]
    texts = scene.gdb("copool bt 3", f"copool bt {first}", "copool bt worker")
    for text in texts:
        check_worker(text)
    assert f"at {first}," in texts[1]
    other = scene.gdb(f"copool bt {ODD}")[0]
    words = [ODD, "core_yield ()", "wait (", "idle (", "strand_main ()"]
    assert in_order(other, words) == words


def test_bt_of_the_running_one_and_of_who_waits_for_it(scene):
    running, waiting = scene.gdb("copool bt outer", "copool bt 2")
    words = ["coroutine outer, running", "sleep", "_PyEval_EvalFrameDefault", "run ("]
    words += [
        "_PyEval_EvalFrameDefault",
        "outer (",
        "strand_main ()",
        "entered by: thread",
    ]
    assert in_order(running, words) == words
    words = ["thread MainThread, waiting", "start ()", "drive (", "<module> (", "main"]
    assert in_order(waiting, words) == words


def test_bt_leaves_the_selected_frame_and_thread(scene):
    outputs = scene.gdb(
        *("thread 2", "info registers rip", "frame 2", "info registers rip"),
        *("copool bt 3", "copool bt outer", "info registers rip", "thread"),
    )
    assert outputs[6] == outputs[3] != outputs[1]
    assert "Current thread is 2 " in outputs[7]


def test_what_is_wrong_is_said_in_words(scene):
    finished = scene.addresses[8]
    outputs = scene.gdb(
        "copool bt 99",
        "copool bt 0",
        "copool bt nobody",
        "copool bt 0x10",
        f"copool bt {finished}",
        "copool bt",
        "copool list all",
    )
    assert outputs == [
        "There is no 99: see `copool list`.\n",
        "There is no 0: see `copool list`.\n",
        "nobody is neither the name of one nor an address: see `copool list`.\n",
        "There is no chain of copool's at 0x10: see `copool list`.\n",
        f"The copool.Coroutine at {finished} has no stack: it has finished or not"
        " begun.\n",
        "usage: copool bt NUMBER | ADDRESS | NAME\n",
        "usage: copool list [N]\n",
    ]


def test_names_that_several_have(start):
    twice = start(
        """
import copool, time
def one(): copool.yield_()
def other(): one()
kept = [copool.Coroutine(fn, name="same\\n") for fn in (one, other)]
for co in kept: co.enter()
print("ready", flush=True)
time.sleep(600)
"""
    )
    (text,) = twice.gdb(r"copool bt same\n")
    assert text.startswith("Several are called same\\n:\ncopool bt 0x")
    places = [line.partition("    ")[2] for line in text.splitlines()[1:]]
    assert sorted(place.partition(";")[0] for place in places) == [
        "one (program.py:3)",
        "one (program.py:3) < other (program.py:4)",
    ]


def test_without_a_process_and_without_copool(start):
    (text,) = gdb("-nx", "-nh", commands=["copool list"])
    assert text.startswith("There is no process: attach to one")
    without = start("import time; print('ready', flush=True); time.sleep(600)")
    (text,) = without.gdb("copool list")
    assert text.startswith("There is no copool in this process")


def test_gdb_loads_them_by_itself_where_that_is_allowed(scene):
    target = ("-p", str(scene.process.pid))
    allow = ("-iex", f"add-auto-load-safe-path {PACKAGE}")
    check_list(
        run_gdb(*target, options=allow, commands=["copool list"]).split("@@\n")[1]
    )
    text = run_gdb(*target, options=("-iex", "set width 0"), commands=["copool list"])
    assert f'"{AUTO_LOADED}" auto-loading has been declined' in text
    assert "chains" not in text


def test_a_kernels_core_has_all(start):
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or "|" in pattern:
        pytest.skip("the kernel puts cores elsewhere here")
    scene = start(PROGRAM)
    scene.process.send_signal(signal.SIGABRT)
    assert scene.process.wait() == -signal.SIGABRT
    (core,) = scene.folder.glob("*core*")
    python = os.path.realpath(sys.executable)
    listing, worker = gdb(python, str(core), commands=["copool list", "copool bt 3"])
    core.unlink()
    check_list(listing)
    check_worker(worker)


def test_a_core_of_gcore_has_all_or_says_that_it_has_not(scene):
    core = scene.folder / "gcore"
    run_gdb("-p", str(scene.process.pid), commands=[f"gcore {core}"])
    python = os.path.realpath(sys.executable)
    listing, worker = gdb(python, str(core), commands=["copool list", "copool bt 3"])
    core.unlink()
    if "Not all can be read" in listing:
        assert gdb_version() < (18, 0)
        assert "12 chains" not in listing
    else:
        check_list(listing)
        check_worker(worker)


RETURNS = """
import copool
def body():
    while True: copool.yield_()
co = copool.Coroutine(body)
for _ in range(9): co.enter()
next(co)
"""
STEPS = """
import gdb
gdb.execute("set breakpoint pending on")
gdb.Breakpoint("__x86_return_thunk").ignore_count = 9
gdb.execute("run")
outer = gdb.newest_frame().older()
for function in ("coroutine_enter", "coroutine_iternext", "core_yield"):
    print(function, gdb.execute(f"disassemble {function}", to_string=True))
gdb.execute("stepi")
assert gdb.newest_frame().older() == outer, gdb.newest_frame().older().name()
assert gdb.newest_frame().older().pc() == outer.pc()
gdb.execute("stepi")
assert gdb.newest_frame().pc() == outer.pc(), gdb.newest_frame().name()
print("has returned")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="not for this machine")
def test_what_returns_by_a_jump_unwinds_at_each_instruction(tmp_path):
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    program, steps = tmp_path / "program.py", tmp_path / "steps.py"
    program.write_text(RETURNS, encoding="utf-8")
    steps.write_text(STEPS, encoding="utf-8")
    words = ["gdb", "-nx", "-batch", "-iex", "set auto-load python-scripts off"]
    words += ["-x", str(steps), "--args", sys.executable, str(program)]
    done = subprocess.run(
        words,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"DEBUGINFOD_URLS": ""},
        timeout=100,
    )
    if "ptrace: Operation not permitted" in done.stderr:
        pytest.skip("gdb may not attach to processes here")
    assert "has returned" in done.stdout, done.stdout + done.stderr
    assert not re.search(r"\tret\b", done.stdout)
    assert done.stdout.count("<__x86_return_thunk>") >= 3


def gdb_version():
    text = subprocess.run(["gdb", "--version"], capture_output=True, text=True).stdout
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", text).groups()))


# --- the command line ----------------------------------------------------------------


def run_copool(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "copool", "gdb", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=100,
    )


def test_the_command_starts_gdb_with_them(scene):
    done = run_copool(
        *(str(scene.process.pid), "-nx", "-batch", "-ex", "copool list"),
        PYTHONHOME=sys.base_prefix,
        LC_ALL="C.UTF-8",
    )
    if "ptrace: Operation not permitted" in done.stderr:
        pytest.skip("gdb may not attach to processes here")
    check_list(done.stdout[done.stdout.index("12 chains") :].partition("[Inferior")[0])


def test_the_command_tells_where_the_script_is():
    assert run_copool("--path").stdout == f"{cli.SCRIPT}\n"
    assert AUTO_LOADED.read_text() == cli.SCRIPT.read_text()


@pytest.mark.parametrize(
    "arguments", [(), ("core.1",), ("--core",), ("--path=x",), ("--help",)]
)
def test_usage(arguments):
    done = run_copool(*arguments)
    assert "usage: copool gdb (PID | " in done.stdout + done.stderr
    assert done.returncode == (0 if arguments == ("--help",) else 2)


def test_without_gdb(tmp_path):
    done = run_copool("1", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "copool gdb needs gdb, which can't be run: No such file or directory\n"
    )


# --- tables ------------------------------------------------------------------------


def table_of(*entries, version=1, cookie=b"copool section\0\0"):
    head = cookie + b"".join(
        number.to_bytes(4, "little") for number in (version, len(entries), 32, 24)
    )
    return head + b"".join(
        name.encode().ljust(24, b"\0") + value.to_bytes(8, "little")
        for name, value in entries
    )


def read_from(data):
    def read(address, size):
        if address + size > len(data):
            raise reading.Unreadable
        return data[address : address + size]

    return reading.read_table(read, 0)


def test_a_table_is_read():
    assert read_from(table_of(("a", 1), ("b" * 24, 2**64 - 1))) == {
        "a": 1,
        "b" * 24: 2**64 - 1,
    }
    assert read_from(table_of(version=0)) is None


def test_tables_of_other_versions_are_refused():
    with pytest.raises(reading.OtherVersion, match="version 2, and these"):
        read_from(table_of(version=2))
    with pytest.raises(reading.OtherVersion, match="does not say what 'records' is"):
        read_from(table_of(("a", 1)))["records"]


def test_damaged_tables_are_refused():
    whole = table_of(("a", 1), ("b", 2))
    for size in range(len(whole)):
        with pytest.raises(reading.Unreadable):
            read_from(whole[:size])
    with pytest.raises(reading.Unreadable):
        read_from(table_of(cookie=b"another section\0"))
    with pytest.raises(reading.Unreadable):
        read_from(whole[:20] + b"\xff" * 12 + whole[32:])


def test_they_need_no_newer_python_than_gdb_may_have():
    import ast

    for file in cli.SCRIPT.parent.glob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
