"""Importing copool loads no core; the first use does, from any thread or handler."""

import os
import subprocess
import sys

import pytest

import copool
from copool import _core

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}


def printed(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | variables,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOADED = "print(sorted(n for n in sys.modules if n.startswith('copool.')))\n"


def test_importing_it_loads_no_core():
    assert printed("import sys, copool; print(dir(copool));" + LOADED)[1] == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "copool.Coroutine",
        "copool.PoolStats",
        "copool.__version__",
        "copool._core.options",
        "from copool import configure",
        "from copool import _core",
        "from copool import *",
        "import copool._pool",
    ],
)
def test_any_use_makes_all_names_there_with_the_environments_settings(use):
    lines = printed(
        f"import copool\n{use}\n"
        "print(sorted(set(copool.__all__) - set(dir(copool))))\n"
        "print(copool.stats().batch, copool.Coroutine(lambda: 1).enter())\n"
        # A module that has this function has slow names.
        "print(hasattr(copool, '__getattr__'))\n",
        COPOOL_BATCH="7",
    )
    assert lines == ["[]", "7 1", "False"]


def test_a_name_that_is_not_there_is_an_attribute_error_before_and_after():
    lines = printed(
        "import sys, copool\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        copool.no_such_name\n"
        "    except AttributeError as error:\n"
        "        print(error)\n"
        "    print('copool._core' in sys.modules)\n"
        "    copool.Coroutine\n"
    )
    message = "module 'copool' has no attribute 'no_such_name'"
    assert lines == [message, "False", message, "True"]


def test_threads_that_use_it_first_at_once():
    lines = printed(
        "import copool, threading\n"
        "seen = []\n"
        "start = threading.Barrier(8)\n"
        "def use():\n"
        "    start.wait()\n"
        "    seen.append(copool.Coroutine(lambda: copool.stats().live).enter() > 0)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(*seen)\n"
    )
    assert lines == [" ".join(["True"] * 8)]


# As a signal handler may come between any two instructions of Python code.
BETWEEN = """
import dataclasses, sys, copool
used = []
def use():
    used.append(id(copool.Coroutine))
    assert copool._core.Coroutine is copool.Coroutine
    assert list(copool.Coroutine(lambda: copool.yield_(1))) == [1]
def trace(frame, event, arg):
    name = frame.f_globals.get("__name__")
    frame.f_trace_opcodes = name in ("copool", "importlib._bootstrap")
    if not busy and comes(frame):
        busy.append(True)
        use()
        busy.clear()
    return trace
busy = []
sys._getframe().f_trace_opcodes = True  # where it must be known beforehand
sys.settrace(trace)
batch = copool.stats().batch
sys.settrace(None)
print(len(used), {*used} == {id(copool.Coroutine)}, end=" ")
print(batch, hasattr(copool, "__getattr__"))
"""


@pytest.mark.parametrize("folder", ["its own", "another"])
def test_a_handler_uses_the_core_at_any_moment_while_that_is_loaded(folder):
    comes = "import copool\ndef comes(frame): return copool._loading\n"
    if folder == "another":  # as of a package that is not installed
        comes += "copool.__path__.insert(0, '/nowhere')\n"
    ((times, *said),) = map(str.split, printed(comes + BETWEEN, COPOOL_BATCH="7"))
    assert int(times) > 1000
    assert said == ["True", "7", "False"]


@pytest.mark.parametrize("step", [1, 10, 20])
def test_a_handler_loads_the_core_when_another_use_is_about_to(step):
    comes = f"""
steps = 0
def comes(frame):
    global steps
    steps += frame.f_code.co_name == "__getattr__"
    return steps == {step} and not used and not copool._loading
"""
    assert printed(comes + BETWEEN, COPOOL_BATCH="7") == ["1 True 7 False"]


def test_a_handler_uses_the_core_while_a_module_that_others_need_is_imported():
    """Those that the other names need, in this case dataclasses."""
    lines = printed(
        "import sys, copool\n"
        "sys.modules['dataclasses'] = type(sys)('dataclasses')  # has nothing yet\n"
        "print(copool.Coroutine(lambda: 1).enter(), copool._core.options()['batch'])\n"
        "try:\n"
        "    copool.stats\n"
        "except ImportError as error:\n"
        "    print(error.name)\n"
        "del sys.modules['dataclasses']\n"
        "print(copool.stats().batch, hasattr(copool, '__getattr__'))\n",
        COPOOL_BATCH="7",
    )
    assert lines == ["1 7", "dataclasses", "7 False"]


INTERRUPTED = """
import sys, copool
def trace(frame, event, arg):
    if here(frame):
        act()
    return trace
def here(frame):
    global left
    is_core = frame.f_code.co_name in names and "copool._core" in sys.modules
    left -= is_core
    return is_core and left == 0
sys.settrace(trace)
try:
    load()
except Exception as error:
    print(type(error).__name__, error)
sys.settrace(None)
print(list(copool.Coroutine(lambda: copool.yield_(1))), copool.stats().live)
"""


def test_a_handler_is_told_of_names_that_are_not_there_yet():
    begin = """
import dataclasses
names, left = ["_load_unlocked"], 1
def load(): copool.stats
def act(): copool.stats
"""
    told, works = printed(begin + INTERRUPTED)
    assert told.startswith("ImportError copool.stats is still being imported")
    assert works == "[1] 0"


@pytest.mark.parametrize("step", range(1, 12))
def test_a_handler_that_raises_while_the_core_is_imported_breaks_nothing(step):
    begin = f"""
names, left = ["_load_unlocked", "_find_and_load", "exec_module"], {step}
def load(): copool.Coroutine
def act(): raise KeyError("of the handler")
"""
    assert printed(begin + INTERRUPTED)[-1] == "[1] 0"


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_handler_uses_the_core_while_something_else_imports_it(step):
    begin = f"""
names, left = ["_load_unlocked", "exec_module"], {step}
def load(): import copool.aio
def act(): print(copool.Coroutine(lambda: 1).enter())
"""
    assert printed(begin + INTERRUPTED) == ["1", "[1] 0"]


STORM = """
import signal, copool
calls = depth = 0
def again():
    if calls < 200:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
def handler(number, frame):
    global calls, depth
    calls += 1
    depth += 1
    # On a slow machine all would interrupt one another, up to the limit of calls.
    if depth < 30:
        again()
    assert list(copool.Coroutine(lambda: copool.yield_(1))) == [1]
    depth -= 1
    if depth == 29:
        again()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 1e-4)
while calls < 200:
    pass
# One that was interrupted before it set the timer has done so since.
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(copool.stats().live)
"""


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="3.11's import can't be interrupted by one of the same thread",
)
def test_a_handler_that_interrupts_itself_uses_the_core_first():
    for _ in range(10):
        assert printed(STORM) == ["0"]


def test_the_names_of_the_core_are_those_that_nothing_stands_in_front_of():
    loaded = {name: getattr(copool, name) for name in copool.__all__}
    own = {name for name, value in loaded.items() if vars(_core).get(name) is value}
    assert own == copool._CORE


def test_a_use_before_the_core_is_an_attribute_of_the_package():
    """It is imported by another thread, and becomes that a moment later."""
    lines = printed(
        "import copool\n"
        "__import__('copool._core')\n"
        "del copool._core\n"
        "print(copool.Coroutine(lambda: copool.stats().live).enter())\n"
    )
    assert lines == ["1"]


def test_names_listed_before_the_first_use():
    names = printed("import copool; print(*dir(copool))")[0].split()
    assert set(copool.__all__) <= set(names)
    assert names == sorted(names)


def test_settings_of_the_environment_that_cannot_be_are_told_at_each_use():
    lines = printed(
        "import copool\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        copool.Coroutine\n"
        "    except ValueError as error:\n"
        "        print(error)\n",
        COPOOL_BATCH="0",
    )
    assert lines == ["batch must be from 1 to 4096, not 0"] * 2
