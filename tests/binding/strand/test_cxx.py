"""C++ exceptions that are held over a switch stay with their chain.

By every face, in every order.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import copool

COMPILER = shutil.which(os.environ.get("CXX", "c++"))
HEADERS = sysconfig.get_path("include")

pytestmark = [
    pytest.mark.isolated,
    pytest.mark.skipif(not COMPILER, reason="needs a C++ compiler"),
    pytest.mark.skipif(
        not Path(HEADERS, "Python.h").exists(), reason="needs Python's headers"
    ),
]

PRELUDE = """
import ctypes, gc, itertools, os, sys, threading, warnings
import copool
from copool import Coroutine, yield_
from copool.aio import await_, bridge, run_sync
from copool._core import _greenlet_names
greenlet, getcurrent = map(_greenlet_names().get, ("greenlet", "getcurrent"))

def is_loaded(name):
    with open("/proc/self/maps") as maps:
        return any(line.rpartition("/")[2].startswith(name) for line in maps)

def has_runtime():
    return is_loaded("libstdc++")

assert not has_runtime()

class Pause:
    def __await__(self):
        yield

class OfCoroutine:
    def __init__(self, fn, *args):
        self.co = Coroutine(fn)
        self.args = args
    def go(self):
        args, self.args = self.args, ()
        return self.co.enter(*args)
    def end(self):
        self.co.close()
    pause = staticmethod(yield_)

class OfGreenlet:
    def __init__(self, fn, *args):
        self.greenlet = greenlet(fn)
        self.args = args
    def go(self):
        args, self.args = self.args, ()
        return self.greenlet.switch(*args)
    def end(self):
        self.greenlet.throw()
    def pause():
        getcurrent().parent.switch(None)

class OfRunSync:
    def __init__(self, fn, *args):
        self.driven = self.make(fn, *args)
    def make(self, fn, *args):
        return run_sync(fn, *args)
    def go(self):
        try:
            self.driven.send(None)
        except StopIteration as stop:
            return stop.value
    def end(self):
        self.driven.close()
    def pause():
        await_(Pause())

FACES = [OfCoroutine, OfGreenlet, OfRunSync]
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The folder that has the extension module `catching`."""
    folder = tmp_path_factory.mktemp("cxx")
    source = Path(__file__).with_name("catching.cpp")
    path = folder / ("catching" + sysconfig.get_config_var("EXT_SUFFIX"))
    options = ["-std=c++17", "-shared", "-fPIC", "-pthread", f"-I{HEADERS}"]
    subprocess.run([COMPILER, *options, source, "-o", path], check=True)
    return folder


@pytest.fixture
def run(python, module):
    def run(script, *folders):
        path = os.pathsep.join(map(str, (*folders, module, *inherited)))
        return python(PRELUDE + script, env=os.environ | {"PYTHONPATH": path})

    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return run


ORDERS = """
import catching
WANTED = {
    "rethrow": (1, "{0} {0} -"),
    "nested": (3, "{0}2 {0}1 -"),
    "unwinding": (1, "11 {0}0"),
}

def cross(face, names, order):
    \"\"\"Let one chain for each name begin, and all go on in that order.\"\"\"
    chains, results, wanted = [], {}, {}
    for i, name in enumerate("ABC"):
        pauses, text = WANTED[names[i]]
        chains.append(face(getattr(catching, names[i]), name, face.pause))
        wanted[i] = text.format(name)
        chains[i].go()
        state.append(catching.state()[1:])
    for _ in range(3):
        for i in order:
            if i not in results and (result := chains[i].go()) is not None:
                results[i] = result
            state.append(catching.state()[1:])
    assert results == wanted, (face, names, order, results)

def check(outside):
    for face in FACES:
        for names in itertools.product(WANTED, repeat=3):
            for order in itertools.permutations(range(3)):
                cross(face, names, order)
    assert set(state) == {outside}, set(state)
    state.clear()
    return True

state = []
"""

SCRIPTS = {
    "each goes on with its own": (
        ORDERS
        + """
check(("-", 0))
print(catching.state())
""",
        ["(0, '-', 0)"],
    ),
    "and so does the thread's own chain": (
        ORDERS
        + """
print(catching.rethrow("M", lambda: check(("M", 0))))
print(catching.unwinding("M", lambda: check(("-", 1))))
print(catching.state())
""",
        ["M M -", "11 M0", "(0, '-', 0)"],
    ),
    "a chain begins with none": (
        """
import catching
def begins():
    for face in FACES:
        print(face(catching.state).go())
catching.rethrow("M", begins)
catching.unwinding("M", begins)
""",
        ["(1, '-', 0)"] * 6,
    ),
    "a strand that was parked begins with none": (
        """
import catching
async def work():
    return catching.state()
def step():
    try:
        bridge(work()).send(None)
    except StopIteration as stop:
        return stop.value
step()
print(catching.rethrow("M", lambda: print(step())))
""",
        ["(1, '-', 0)", "M M -"],
    ),
    "one is entered from the catch block of another": (
        """
import catching
def deep(face, n):
    name = f"{face.__name__}{n}"
    def inner():
        if n:
            for _ in range(2):
                chain = face(deep, face, n - 1)
                while (result := chain.go()) is None:
                    pass
                print(result)
        face.pause()
    return catching.rethrow(name, inner)
for face in FACES:
    chain = face(deep, face, 2)
    while (result := chain.go()) is None:
        pass
    print(result)
print(catching.state())
""",
        [
            f"{face}{n} {face}{n} -"
            for face in ("OfCoroutine", "OfGreenlet", "OfRunSync")
            for n in (0, 0, 1, 0, 0, 1, 2)
        ]
        + ["(0, '-', 0)"],
    ),
    "a greenlet that ends in the catch block of its parent": (
        """
import catching
main = getcurrent()
def other():
    return catching.rethrow("B", main.switch)
b = greenlet(other)
def inner():
    main.switch(b.switch())
a = greenlet(lambda: catching.rethrow("A", inner))
a.switch()
b.parent = a
print(b.switch())  # it ends, and so goes on in a
print(a.switch())
print(a.dead, b.dead, catching.state())
""",
        ["B B -", "A A -", "True True (0, '-', 0)"],
    ),
    "one that is thrown into": (
        """
import catching
def body(name):
    try:
        return catching.rethrow(name, yield_)
    except KeyError:
        return catching.rethrow(name + "again", yield_)
a, b = Coroutine(body), Coroutine(body)
a.enter("A")
b.enter("B")
a.throw(KeyError)
print(catching.state())
b.throw(KeyError())
print(a.enter(), b.enter(), catching.state())
g = greenlet(body)
c = Coroutine(body)
main = getcurrent()
g = greenlet(lambda: catching.rethrow("G", main.switch))
g.switch()
c.enter("C")
try:
    g.throw(ValueError)
except ValueError:
    print(catching.state())
print(c.enter(), catching.state())
""",
        [
            "(2, '-', 0)",
            "Aagain Aagain - Bagain Bagain - (0, '-', 0)",
            "(1, '-', 0)",
            "C C - (0, '-', 0)",
        ],
    ),
    "one that is closed or dropped in a catch block destroys its exception": (
        """
import catching
for name in ("rethrow", "nested", "unwinding"):
    for face in FACES:
        first, other, last = [face(getattr(catching, name), n, face.pause)
                              for n in "ABC"]
        for chain in first, other, last:
            chain.go()
        before = catching.state()
        try:
            first.end()
        except copool.CoroutineExit:
            pass
        del last, chain
        gc.collect()
        while (result := other.go()) is None:
            pass
        print(before, result, catching.state())
""",
        [
            f"(3, '-', 0) {result} (0, '-', 0)"
            for result in ("B B -", "B2 B1 -", "11 B0")
            for face in range(3)
        ],
    ),
    "one that is given up keeps its exception": (
        """
import catching
warnings.simplefilter("ignore")
def stubborn():
    while True:
        try:
            yield_()
        except copool.CoroutineExit:
            pass
co = Coroutine(catching.rethrow)
co.enter("A", stubborn)
other = Coroutine(catching.rethrow)
other.enter("B", yield_)
del co
gc.collect()
print(catching.state(), other.enter(), catching.state())
""",
        ["(2, '-', 0) B B - (1, '-', 0)"],
    ),
    "the trace function is kept, too": (
        """
import catching
def traces(name):
    def trace(*args):
        pass
    sys.settrace(trace)
    print(catching.rethrow(name, yield_), sys.gettrace() is trace)
sys.settrace(lambda *args: None)
cos = [Coroutine(traces) for _ in range(3)]
for name, co in zip("ABC", cos):
    co.enter(name)
for co in cos:
    co.enter()
sys.settrace(None)
""",
        ["A A - True", "B B - True", "C C - True"],
    ),
    "threads have each their own": (
        """
import catching
def work(n):
    for _ in range(100):
        for order in itertools.permutations(range(3)):
            cos = [Coroutine(catching.rethrow) for _ in range(3)]
            for i, co in enumerate(cos):
                co.enter(f"{n}{i}", yield_)
            for i in order:
                assert cos[i].enter() == f"{n}{i} {n}{i} -"
    states.append(catching.state()[1:])
states = []
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(states == [("-", 0)] * 4, catching.state())
""",
        ["True (0, '-', 0)"],
    ),
}

# In these the runtime comes when there are chains already.
LATE = {
    "while chains are suspended": (
        """
def body(face, name):
    face.pause()
    import catching
    return catching.rethrow(name, face.pause)
for face in FACES:
    chains = [face(body, face, name) for name in "ABC"]
    for chain in chains:
        chain.go()
    if face is FACES[0]:
        assert not has_runtime()
    for chain in chains:
        chain.go()
    print([chain.go() for chain in chains])
""",
        ["['A A -', 'B B -', 'C C -']"] * 3,
    ),
    "inside a catch block before the next switch": (
        """
def body():
    assert not has_runtime()
    import catching
    return catching.rethrow("A", yield_)
a = Coroutine(body)
a.enter()
import catching
b = Coroutine(catching.rethrow)
print(catching.state())
b.enter("B", yield_)
print(a.enter(), b.enter(), catching.state())
""",
        ["(1, '-', 0)", "A A - B B - (0, '-', 0)"],
    ),
    "in the catch block of the thread's own chain": (
        """
Coroutine(int).enter()
assert not has_runtime()
import catching
print(catching.rethrow("M", lambda: print(Coroutine(catching.state).enter())))
""",
        ["(1, '-', 0)", "M M -"],
    ),
    "after many other libraries": (
        """
import importlib
co = Coroutine(lambda: [yield_() for _ in itertools.count()])
for name in ("_json", "_bisect", "_heapq", "_csv", "_sqlite3", "_ssl", "_uuid"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
    co.enter()
    assert not has_runtime()
import catching
a, b = (Coroutine(catching.rethrow) for _ in "ab")
a.enter("A", yield_)
b.enter("B", yield_)
print(a.enter(), b.enter())
""",
        ["A A - B B -"],
    ),
    "by ctypes": (
        """
Coroutine(int).enter()
assert not has_runtime()
ctypes.CDLL("libstdc++.so.6")
import catching
a, b = (Coroutine(catching.rethrow) for _ in "ab")
a.enter("A", yield_)
b.enter("B", yield_)
print(a.enter(), b.enter())
""",
        ["A A - B B -"],
    ),
    "in a thread, while others are suspended": (
        """
def body(n, loads):
    co = Coroutine(lambda: [yield_() for _ in range(3)])
    co.enter()
    barrier.wait()
    if loads:
        assert not has_runtime()
        import catching
    barrier.wait()
    import catching
    a, b = (Coroutine(catching.rethrow) for _ in "ab")
    a.enter(f"A{n}", yield_)
    b.enter(f"B{n}", yield_)
    results[n] = a.enter(), b.enter()
barrier = threading.Barrier(4)
results = {}
threads = [threading.Thread(target=body, args=(n, n == 2)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert all(results[n] == (f"A{n} A{n} -", f"B{n} B{n} -") for n in range(4)), results
print("done")
""",
        ["done"],
    ),
    "in a thread, noticed by another one first": (
        """
def body():
    co = Coroutine(lambda: [yield_() for _ in range(3)])
    co.enter()
    turn[0].set()
    turn[1].wait()
    import catching
    print(catching.rethrow("T", lambda: main_is_next()))
    a, b = (Coroutine(catching.rethrow) for _ in "ab")
    a.enter("A", yield_)
    b.enter("B", yield_)
    print(a.enter(), b.enter())
def main_is_next():
    turn[2].set()
    turn[3].wait()
    print(Coroutine(catching.state).enter())
turn = [threading.Event() for _ in range(4)]
thread = threading.Thread(target=body)
thread.start()
turn[0].wait()
Coroutine(int).enter()
assert not has_runtime()
turn[1].set()
turn[2].wait()
import catching
Coroutine(int).enter()
turn[3].set()
thread.join()
""",
        ["(1, '-', 0)", "T T -", "A A - B B -"],
    ),
    "in the child of a fork": (
        """
co = Coroutine(lambda: [yield_() for _ in range(9)])
co.enter()
assert not has_runtime()
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
co.enter()
import catching
a, b = (Coroutine(catching.rethrow) for _ in "ab")
a.enter("A", yield_)
b.enter("B", yield_)
print(a.enter(), b.enter(), flush=True)
""",
        ["A A - B B -"] * 2,
    ),
    "in tasks in anywhere mode": (
        """
import asyncio, copool.aio
async def work(name, future):
    import catching
    return catching.rethrow(name, lambda: await_(future))
async def main():
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    assert not has_runtime()
    for order in itertools.permutations("ABC"):
        futures = {name: loop.create_future() for name in order}
        tasks = {n: asyncio.create_task(work(n, futures[n])) for n in "ABC"}
        await asyncio.sleep(0)
        for name in order:
            futures[name].set_result(None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert tasks[name].done() and tasks[name].result() == f"{name} {name} -"
    print("done")
copool.aio.run(main())
""",
        ["done"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_exceptions_belong_to_the_chain(run, name):
    script, lines = SCRIPTS[name]
    done = run(script)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


@pytest.mark.parametrize("name", LATE)
def test_a_runtime_may_be_loaded_at_any_time(run, name):
    script, lines = LATE[name]
    done = run(script)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


WATCH = """
assert not is_loaded("libsentinel.so")
Coroutine(int).enter()
print(is_loaded("libsentinel.so"))
Coroutine(int).enter()
import catching
print(is_loaded("libsentinel.so"))
Coroutine(int).enter()
print(is_loaded("libsentinel.so"), catching.rethrow("A", lambda: None))
"""


def test_the_sentinel_is_loaded_until_a_runtime_is_found(run):
    done = run(WATCH)
    lines = ["True", "True", "False A A -"]
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


@pytest.fixture(scope="module")
def without_sentinel(tmp_path_factory):
    """A folder with a copy of the package in which that is missing."""
    source = Path(copool.__path__[0])
    if not (source / "libsentinel.so").exists():
        pytest.skip("the package is not installed in one folder")
    folder = tmp_path_factory.mktemp("without")
    ignore = shutil.ignore_patterns("libsentinel*.so", "__pycache__")
    shutil.copytree(source, folder / "copool", ignore=ignore)
    return folder


@pytest.mark.parametrize("name", [*LATE, "without a watch"])
def test_without_a_sentinel_it_is_found_as_well(run, without_sentinel, name):
    script, lines = LATE.get(name, (WATCH, ["False", "False", "False A A -"]))
    done = run(script, without_sentinel)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


# From 3.12 on each of these has a GIL of its own.
INTERPRETERS = """
try:
    import _interpreters as interpreters
    create = interpreters.create
except ImportError:
    import _xxsubinterpreters as interpreters
    def create():
        return interpreters.create(isolated=True)

def run(code):
    failed = interpreters.run_string(one, code)
    assert failed is None, failed

one = create()
PASSES = '''
import copool
from copool import Coroutine, yield_
def crossed(catching, n):
    for i in range(n):
        a, b = (Coroutine(catching.rethrow) for _ in "ab")
        a.enter("A", yield_)
        b.enter("B", yield_)
        if (a.enter(), b.enter()) != ("A A -", "B B -"):
            return i
    return "right"
'''
"""

IN_INTERPRETERS = {
    "noticed by the main one": """
run(PASSES + "Coroutine(int).enter()")
Coroutine(int).enter()
assert not has_runtime()
import catching
exec(PASSES)
print(crossed(catching, 1), flush=True)
run("import catching; print(crossed(catching, 1), flush=True)")
""",
    "noticed by another one": """
co = Coroutine(yield_)
co.enter()
assert not has_runtime()
run(PASSES + "Coroutine(int).enter()")
run("import catching; print(crossed(catching, 1), flush=True)")
co.enter()
import catching
exec(PASSES)
print(crossed(catching, 1))
""",
    "looked for by both at the same time": """
LOADS = '''
import importlib
co = Coroutine(lambda: [yield_() for _ in range(10000)])
for name in ("_json", "_bisect", "_heapq", "_csv", "_random", "_struct", "math"):
    for _ in range(100):
        co.enter()
    try:
        importlib.import_module(name)
    except ImportError:
        pass
for _ in range(100):
    co.enter()
import catching
result = crossed(catching, 100)
'''
thread = threading.Thread(target=run, args=(PASSES + LOADS,))
thread.start()
exec(PASSES + LOADS)
thread.join()
print(result, flush=True)
run("print(result)")
""",
}


@pytest.mark.parametrize("name", IN_INTERPRETERS)
def test_every_interpreter_notices_a_runtime(run, name):
    end = "interpreters.destroy(one)\n"
    done = run(INTERPRETERS + IN_INTERPRETERS[name] + end)
    assert (done.lines, done.code, done.errors) == (["right"] * 2, 0, "")


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="a thread state knows the stack it is on"
)
@pytest.mark.skipif(
    "PYTHONMALLOC" in os.environ or hasattr(sys, "gettotalrefcount"),
    reason="the debug allocator wants a thread state in its own thread",
)
def test_a_thread_state_may_be_used_in_another_thread(run):
    done = run(
        """
import catching
def crossed():
    a, b = (Coroutine(catching.rethrow) for _ in "ab")
    a.enter("A", yield_)
    b.enter("B", yield_)
    print(a.enter(), b.enter())
crossed()
catching.elsewhere(crossed)
crossed()
print(catching.rethrow("M", lambda: catching.elsewhere(crossed)))
crossed()
print(catching.state())
"""
    )
    lines = [*["A A - B B -"] * 4, "M M -", "A A - B B -", "(0, '-', 0)"]
    assert (done.lines, done.code, done.errors) == (lines, 0, "")
