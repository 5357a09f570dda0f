"""Watches work in processes that fork, end, have more interpreters or run gevent."""

import os
import re
import sys

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.alone]

PRELUDE = """
import os, sys, threading, time, warnings
import copool
from copool import Coroutine, yield_

def block(seconds=0.2):
    time.sleep(seconds)

def tell(hold):
    print(hold.kind, hold.name, "over" if hold.over else "holds", flush=True)
"""

SCRIPTS = {
    "exit with a watch": (
        "copool.watch(callback=tell)\nCoroutine(block).enter()",
        ["coroutine block holds"],
    ),
    "exit while a coroutine holds the main thread": (
        """
copool.watch(callback=tell)
def body():
    block()
    sys.exit()
Coroutine(body).enter()
""",
        ["coroutine body holds"],
    ),
    "exit while another thread is held": (
        """
copool.watch(callback=tell)
thread = threading.Thread(target=Coroutine(block).enter, args=(50,), daemon=True)
thread.start()
time.sleep(0.3)
""",
        ["coroutine block holds"],
    ),
    "exit while a callback does not return": (
        """
begun = threading.Event()
def callback(hold):
    print("called", flush=True)
    begun.set()
    time.sleep(1000)
copool.watch(callback=callback)
Coroutine(block).enter()
begun.wait()
""",
        ["called"],
    ),
    "child of a fork has a watch, and its parent": (
        """
warnings.simplefilter("error")  # as about a fork with several threads
copool.watch(callback=tell)
child = os.fork()
if child:
    os.waitpid(child, 0)
Coroutine(block, name="parent" if child else "child").enter()
time.sleep(0.2)
""",
        [
            "coroutine child holds",
            "coroutine child over",
            "coroutine parent holds",
            "coroutine parent over",
        ],
    ),
    "a watch that was stopped is so after a fork": (
        """
copool.watch(callback=tell).stop()
child = os.fork()
if child:
    os.waitpid(child, 0)
Coroutine(block).enter()
print(len(os.listdir("/proc/self/task")), flush=True)
""",
        ["1", "1"],
    ),
    "fork while a callback runs": (
        """
warnings.simplefilter("ignore", DeprecationWarning)
begun, go_on = threading.Event(), threading.Event()
def callback(hold):
    tell(hold)
    begun.set()
    go_on.wait()
watch = copool.watch(callback=callback)
thread = threading.Thread(target=Coroutine(block, name="first").enter)
thread.start()
begun.wait()
child = os.fork()
if child:
    os.waitpid(child, 0)
    go_on.set()
    thread.join()
else:
    go_on.set()
    Coroutine(block, name="child").enter()
time.sleep(0.2)
""",
        [
            "coroutine first holds",
            "coroutine child holds",
            "coroutine child over",
            "coroutine first over",
        ],
    ),
    "fork in a callback": (
        """
warnings.simplefilter("ignore", DeprecationWarning)
def callback(hold):
    tell(hold)
    if hold.name == "first" and not hold.over:
        child = os.fork()
        if not child:
            Coroutine(block, name="child").enter()
            time.sleep(0.2)
            os._exit(0)
        os.waitpid(child, 0)
copool.watch(callback=callback)
Coroutine(block, name="first").enter()
time.sleep(1)
""",
        [
            "coroutine first holds",
            "coroutine child holds",
            "coroutine child over",
            "coroutine first over",
        ],
    ),
    "threads that come and go": (
        """
names = set()
def callback(hold):
    if hold.over:
        names.add(hold.name)
with copool.watch(callback=callback):
    for i in range(5):
        threads = [
            threading.Thread(target=Coroutine(block, name=f"{i} {j}").enter)
            for j in range(20)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    time.sleep(0.2)
print(len(names))
""",
        ["100"],
    ),
    "no thread for it": (
        """
import resource
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), resource.RLIM_INFINITY))
try:
    copool.watch()
except RuntimeError as error:
    print(error)
print(len(os.listdir("/proc/self/task")))
""",
        [
            "can't start the threads of copool.watch(): the system has no memory for "
            "them or allows no more",
            "1",
        ],
    ),
    "watches come and go": (
        """
for _ in range(300):
    copool.watch(0.001, callback=tell).stop()
print(len(os.listdir("/proc/self/task")))
""",
        ["1"],
    ),
    "its threads take no signals": (
        """
import signal
copool.watch(callback=tell)
masks = []
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        text = open(f"/proc/self/task/{task}/status").read()
        mask = int(text.split("SigBlk:")[1].split()[0], 16)
        masks.append(bool(mask >> (signal.SIGTERM - 1) & 1))
print(masks)
""",
        ["[True, True]"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_process(name, python):
    script, lines = SCRIPTS[name]
    done = python(PRELUDE + script)
    # What ends with the process may still be told of, or not.
    found = done.lines[: len(lines)] if name.startswith("exit") else done.lines
    assert (done.code, found, done.errors) == (0, lines, "")


# --- the environment ------------------------------------------------------------------

BLOCKS = """
import time
from copool import Coroutine
Coroutine(lambda: time.sleep(0.2), name="sleeper").enter()
time.sleep(0.2)
"""


def watched(value="0.02"):
    return os.environ | {"COPOOL_WATCH": value}


def without_times(errors):
    return re.sub(r"0\.[0-9]{3} s", "… s", errors)


def test_variable_watches_a_program_that_does_not_ask_for_it(python):
    done = python(BLOCKS, env=watched())
    assert (done.code, done.lines) == (0, [])
    first, *_, last = without_times(done.errors).splitlines()
    assert first == "coroutine 'sleeper' holds thread 'MainThread' for … s:"
    assert last == (
        "coroutine 'sleeper' has held thread 'MainThread' for … s and lets others go on"
    )


def test_variable_that_is_0_or_empty_watches_nothing(python):
    for value in ("0", ""):
        done = python(BLOCKS, env=watched(value))
        assert (done.code, done.errors) == (0, "")


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e9"])
def test_variable_that_is_no_time_is_an_error(value, python):
    done = python(BLOCKS, env=watched(value))
    assert done.code == 1
    assert done.errors.splitlines()[-1] == (
        "ValueError: the environment variable COPOOL_WATCH must be a number of seconds "
        f"from 0.001 to 86400, or 0 for none, not {value!r}"
    )


def test_variable_works_where_only_the_greenlet_is_imported(python):
    script = """
    import time, greenlet
    greenlet.greenlet(lambda: time.sleep(0.2)).switch()
    """
    done = python(script, env=watched() | {"COPOOL_GREENLET": "1"})
    first = without_times(done.errors).splitlines()[0]
    assert first == "greenlet '<lambda>' holds thread 'MainThread' for … s:"


def test_variable_starts_nothing_in_a_program_without_coroutines(python):
    script = "import copool, os; print(len(os.listdir('/proc/self/task')))"
    assert python(script, env=watched()).lines == ["1"]


# --- gevent ---------------------------------------------------------------------------

GEVENT = """
import gevent.monkey
real_sleep = __import__("time").sleep
if {patched}:
    gevent.monkey.patch_all()
import gevent, gevent.pool, gevent.threadpool, threading, time

def fetch(number):
    gevent.sleep(0.1)
    if number == 7:
        real_sleep(0.2)
    gevent.sleep(0.1)

gevent.pool.Group().map(fetch, range(10))
gevent.sleep(0.3)  # nobody has anything to do
# What blocks where it may.
print(gevent.threadpool.ThreadPool(1).apply(real_sleep, (0.2,)))
print(gevent.get_hub().threadpool.apply(real_sleep, (0.2,)))
gevent.sleep(0.1)
"""


@pytest.mark.parametrize("patched", [False, True])
def test_gevent(patched, python, tmp_path):
    """One greenlet of ten holds the loop; the hub, and the thread pool, never do."""
    pytest.importorskip("gevent", reason="gevent is not there for this Python")
    program = tmp_path / "program.py"
    program.write_text(GEVENT.format(patched=patched))
    done = python(
        f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')",
        env=watched() | {"COPOOL_GREENLET": "1"},
    )
    lines = without_times(done.errors).splitlines()
    assert (done.code, done.lines) == (0, ["None", "None"])
    told = [line for line in lines if line.startswith("greenlet ")]
    assert [re.sub(r"Greenlet-\d+", "Greenlet-…", line) for line in told] == [
        "greenlet 'Greenlet-…' holds thread 'MainThread' for … s:",
        "greenlet 'Greenlet-…' has held thread 'MainThread' for … s and lets others go"
        " on",
    ]
    assert [line for line in lines if "real_sleep" in line] == ["    real_sleep(0.2)"]


# --- other interpreters ---------------------------------------------------------------

INTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import os, sys, time, copool

holds = []
watch = copool.watch(callback=holds.append)
other = interpreters.create()
code = '''
import sys, time, copool
def tell(hold):
    print("other", hold.name, hold.over, flush=True)
watch = copool.watch(callback=tell)
copool.Coroutine(lambda: time.sleep(0.2), name="inside").enter()
time.sleep(0.1)
'''
run = getattr(interpreters, "exec", getattr(interpreters, "run_string", None))
if sys.version_info < (3, 12):  # which destroys none that has threads
    code += "watch.stop()"
if error := run(other, code):
    print(error)
copool.Coroutine(lambda: time.sleep(0.2), name="main").enter()
time.sleep(0.1)
print([(hold.name, hold.over) for hold in holds])
threads = len(os.listdir("/proc/self/task"))
interpreters.destroy(other)
print(threads - len(os.listdir("/proc/self/task")))
"""


def test_each_interpreter_watches_its_own_threads_and_ends_with_it(python):
    done = python(INTERPRETERS)
    assert (done.code, done.lines) == (
        0,
        [
            "other inside False",
            "other inside True",
            "[('main', False), ('main', True)]",
            "0" if sys.version_info < (3, 12) else "2",
        ],
    )
