"""Threads, processes and interpreters end in order with coroutines suspended."""

import os
import shutil

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.asserted]

PRELUDE = """
import ctypes, gc, os, queue, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
import copool
from copool import Coroutine, yield_

def body(name="co"):
    try:
        yield_()
    finally:
        print("finally", name, threading.get_ident() in owners, flush=True)

owners = set()

def run(fn):
    def work():
        owners.add(threading.get_ident())
        fn()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""

SCRIPTS = {
    "a thread ends before a chain that a frame leads to": (
        """
warnings.simplefilter("ignore")  # its stack is leaked
frames, back = [], []
def body():
    frames.append(sys._getframe())
    while True:
        try:
            yield_()
        except copool.CoroutineExit:
            pass
def work():
    co = Coroutine(body)
    co.enter()
    back.append(co)
run(work)
blank = [bytes(1000) for _ in range(1000)]  # where the thread state was
frame = frames[0]
while frame:
    print(frame.f_code.co_name)
    frame = frame.f_back
print(back[0].state)
""",
        ["body", "finished"],
    ),
    "thread ends with suspended ones": (
        """
kept = []
def work():
    for i in range(2):
        co = Coroutine(body)
        co.enter(i)
        kept.append(co)
run(work)
print([co.state for co in kept], copool.stats().live)
""",
        ["finally 1 True", "finally 0 True", "['finished', 'finished'] 0"],
    ),
    "one that catches the exit at the end of a thread is not run again": (
        """
def stubborn():
    while True:
        try:
            yield_()
        except BaseException as error:
            caught.append(type(error).__name__)
def work():
    kept.append(Coroutine(stubborn))
    kept[0].enter()
caught, kept = [], []
warnings.showwarning = lambda message, *args: print(str(message).split(": ")[1])
run(work)
print(caught, kept[0].state, copool.stats().live)
""",
        ["it is never run again", "['CoroutineExit'] finished 0"],
    ),
    "finally at the end of a thread uses copool": (
        """
def using():
    try:
        yield_()
    finally:
        print(list(Coroutine(lambda: [yield_(i) for i in range(3)])))
kept = []
def work():
    co = Coroutine(using)
    co.enter()
    kept.append(co)
run(work)
print(kept[0].state, copool.stats().live)
""",
        ["[0, 1, 2]", "finished 0"],
    ),
    "what CPython drops after all else of a thread uses copool": (
        """
class Late:
    def __call__(self, *args):
        pass
    def __del__(self):
        co = Coroutine(yield_)
        print(co.enter("late"))
        kept.append(co)
kept, before = [], copool.stats().live
def work():
    Coroutine(int).enter()
    sys.set_asyncgen_hooks(firstiter=Late())
run(work)
blank = [bytes(1000) for _ in range(1000)]  # where the thread state was
gc.collect()
print(kept[0].state, copool.stats().live - before)
""",
        ["late", "finished 0"],
    ),
    "what is too late to be told of the end": (
        """
class TooLate:
    def __call__(self, *args):
        pass
    def __del__(self):
        co = Coroutine(yield_)
        try:
            co.enter()
        except RuntimeError as error:
            errors.add(str(error))
        else:
            kept.append(co)
kept, errors = [], set()
def first(): # of copool
    sys.set_asyncgen_hooks(firstiter=TooLate())
def last():
    Coroutine(int).enter()
    sys.setprofile(TooLate())
for _ in range(5):
    run(first)
    run(last)
    blank = [bytes(1000) for _ in range(1000)]
    gc.collect()
    Coroutine(int).enter()
is_told = sys.version_info >= (3, 13)
print(len(kept) == (not is_told) * 10, *errors or ["copool can't be used"])
kept.clear()
gc.collect()
print(copool._core.check())
""",
        None,
    ),
    "what is too late for that may ask, and make what others drive": (
        """
import asyncio
from copool import aio
class TooLate:
    def __call__(self, *args):
        pass
    def __del__(self):
        answers.append((copool.current(), copool.in_coroutine(), aio.can_await()))
        copool.trim()
        tasks.append(loop.create_task(waits()))
async def waits():
    return aio.await_(asyncio.sleep(0, "waited"))
def first(): # of copool
    sys.setprofile(TooLate())
def last():
    Coroutine(int).enter()
    sys.setprofile(TooLate())
answers, tasks = [], []
loop = asyncio.new_event_loop()
aio.install(loop)
run(first)
run(last)
print(*answers)
print(*loop.run_until_complete(asyncio.gather(*tasks)))
tasks.clear()
loop.close()
""",
        ["(None, False, False) (None, False, False)", "waited waited"],
    ),
    "dropped in another thread, unwound at the owner's next use": (
        """
main_co = [Coroutine(body)]
owners.add(threading.get_ident())
main_co[0].enter()
thread = threading.Thread(target=main_co.clear)
thread.start()
thread.join()
print("dropped")
copool.current()
print("not by asking")
Coroutine(int).enter()
print(copool.stats().live)
""",
        ["dropped", "not by asking", "finally co True", "0"],
    ),
    "dropped in another thread, unwound at the owner's end": (
        """
to, back = queue.SimpleQueue(), queue.SimpleQueue()
def work():
    owners.add(threading.get_ident())
    co = Coroutine(body)
    co.enter()
    to.put(co)
    del co
    back.get()
thread = threading.Thread(target=work)
thread.start()
to.get()
gc.collect()
print("dropped")
back.put(1)
thread.join()
print(copool.stats().live)
""",
        ["dropped", "finally co True", "0"],
    ),
    "dropped in another thread while all is unwound": (
        """
import types
from copool.aio import await_, bridge
unwinds, dropped = threading.Event(), threading.Event()
@types.coroutine
def waits():
    yield
async def target(number):
    try:
        await_(waits())
    finally:
        ended.append(number)
def at_the_end():
    try:
        yield_()
    finally:
        unwinds.set()
        dropped.wait()
ended, kept, bridges = [], [], []
def work():
    def start():
        kept.append(Coroutine(at_the_end))
        kept[-1].enter()
    start() # it is the first to be unwound, or the other one
    for number in range(3):
        bridges.append(bridge(target(number)))
        bridges[-1].send(None)
    start()
thread = threading.Thread(target=work)
thread.start()
unwinds.wait()
bridges.clear()
dropped.set()
thread.join()
print(sorted(ended), {co.state for co in kept}, copool.stats().live)
""",
        ["[0, 1, 2] {'finished'} 0"],
    ),
    "made in one thread, run in another": (
        """
co = Coroutine(body)
def work():
    co.enter()
    co.enter()
run(work)
print(co.state)
""",
        ["finally co True", "finished"],
    ),
    "a thread of C, without a Python thread object": (
        """
kept = []
@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def work(_):
    owners.add(threading.get_ident())
    co = Coroutine(body)
    co.enter("C")
    kept.append(co)
libc = ctypes.CDLL(None)
ident = ctypes.c_ulong()
for _ in range(3):
    libc.pthread_create(ctypes.byref(ident), None, work, None)
    libc.pthread_join(ident, None)
print([co.state for co in kept], copool.stats().live)
""",
        ["finally C True"] * 3 + ["['finished', 'finished', 'finished'] 0"],
    ),
    "fork inside a coroutine": (
        """
def forking():
    yield_(os.fork())
    return os.getpid()
co = Coroutine(forking)
pid = co.enter()
if pid == 0:
    ok = co.enter() == os.getpid() and list(Coroutine(lambda: yield_(1))) == [1]
    print("child", ok, copool._core.check(), flush=True)
    sys.exit(0)
print("status", os.waitpid(pid, 0)[1], flush=True)
print("parent", co.enter() == os.getpid())
""",
        ["child True True", "status 0", "parent True"],
    ),
    "fork while other threads have suspended ones": (
        """
ready, leave = threading.Event(), threading.Event()
owners.add("others")
def work():
    owners.add(threading.get_ident())
    co = Coroutine(body)
    co.enter("thread")
    kept.append(co)
    ready.set()
    leave.wait()
kept = []
thread = threading.Thread(target=work)
thread.start()
ready.wait()
pid = os.fork()
if pid == 0:
    print(kept[0].state, list(Coroutine(lambda: yield_(1))), flush=True)
    kept.clear()
    gc.collect()
    print(copool._core.check(), flush=True)
    sys.exit(0)
print("status", os.waitpid(pid, 0)[1], flush=True)
leave.set()
thread.join()
print(kept[0].state)
""",
        None,
    ),
    "many threads that come and go": (
        """
def work():
    for _ in range(50):
        co = Coroutine(lambda: yield_(1))
        co.enter()
    keep.append(co)
keep = []
for _ in range(20):
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print({co.state for co in keep}, copool.stats().live, copool._core.check())
""",
        ["{'finished'} 0 True"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_threads(python, name):
    script, lines = SCRIPTS[name]
    done = python(PRELUDE + script)
    assert (done.code, done.errors) == (0, "")
    if lines is not None:
        assert done.lines == lines
    elif name == "what is too late to be told of the end":
        assert done.lines[0].startswith("True copool can't be used")
        assert done.lines[1:] == ["True"]
    else:
        assert done.lines == [
            "finished [1]",
            "True",
            "status 0",
            "finally thread True",
            "finished",
        ]


INTERPRETERS = """
try:
    import _interpreters as interpreters
    def create():
        return interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    def create():
        return interpreters.create(isolated=False)
from copool import Coroutine, yield_
import copool

USE = '''
import copool
assert copool.current() is None
co = copool.Coroutine(copool.yield_)
assert [co.enter(1), co.state] == [1, "suspended"]
other = copool.Coroutine(copool.yield_)
other.enter()
del other
assert list(copool.Coroutine(lambda: copool.yield_(2))) == [2]
class Thing:
    pass
import weakref
assert weakref.ref(Thing())() is None  # freed at once, on whatever stack
'''
def run():
    interpreter = create()
    failed = interpreters.run_string(interpreter, USE)
    interpreters.destroy(interpreter)
    return failed
"""


@pytest.mark.parametrize(
    "script",
    [
        "print(run())",
        "co = Coroutine(yield_); co.enter(); print(run()); co.close()",
        "print(Coroutine(run).enter())",
        "print(Coroutine(run).enter()); print(run()); co = Coroutine(int); co.enter()",
        "import threading\n"
        "t = threading.Thread(target=lambda: (run(), Coroutine(int).enter()))\n"
        "t.start(); t.join(); print(None)",
    ],
    ids=["alone", "one suspended outside", "inside one", "twice", "in a thread"],
)
def test_sub_interpreter(python, script):
    done = python(INTERPRETERS + script, env={**os.environ, "PYTHONMALLOC": "debug"})
    assert done.code == 0, done.errors
    assert set(done.lines) == {"None"}


@pytest.mark.skipif(not shutil.which("true"), reason="needs a program to start")
def test_subprocess_from_inside(python):
    done = python(
        """
        import subprocess
        from copool import Coroutine
        print(Coroutine(subprocess.call).enter(["true"]))
        """
    )
    assert (done.code, done.lines) == (0, ["0"])


@pytest.mark.skipif(not shutil.which("valgrind"), reason="needs valgrind")
def test_thread_that_worked_for_an_interpreter_which_is_gone(python):
    """What the thread remembers of it is still memory of ours."""
    done = python(
        INTERPRETERS
        + """
import queue, threading
there, here = queue.SimpleQueue(), queue.SimpleQueue()
interpreter = create()
def work():
    interpreters.run_string(interpreter, USE)
    there.put(None)
    here.get()
    print(Coroutine(int).state)
thread = threading.Thread(target=work)
thread.start()
there.get()
interpreters.destroy(interpreter)
here.put(None)
thread.join()
""",
        before=["valgrind", "-q", "--undef-value-errors=no", "--error-exitcode=9"],
        env={**os.environ, "PYTHONMALLOC": "malloc"},
    )
    assert (done.code, done.lines) == (0, ["created"]), done.errors
