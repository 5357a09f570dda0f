"""fork() and exec() work in and around what is suspended, as does what needs them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated

COMPILER = shutil.which(os.environ.get("CC", "cc"))

PRELUDE = """
import gc, os, subprocess, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
import copool
from copool import Coroutine, yield_
from copool.aio import await_, run_sync
from copool._core import _greenlet_names, check
greenlet, getcurrent = (_greenlet_names()[n] for n in ("greenlet", "getcurrent"))

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def waits(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

class Step:
    def __await__(self):
        return (yield)

def body(name="co"):
    try:
        yield_()
    finally:
        say("finally", name)

def works():
    \"\"\"Whether coroutines can be made and the pool is whole.\"\"\"
    cos = [Coroutine(yield_) for _ in range(300)]
    return [co.enter(i) for i, co in enumerate(cos)] == list(range(300)) and check()

def deep(n, fn):
    \"\"\"Calls it below n coroutines, with C code between them.\"\"\"
    if not n:
        return fn()
    try:
        return sorted([0], key=lambda _: out.append(Coroutine(deep).enter(n - 1, fn)))
    finally:
        say("left", n, "in the child" if os.getpid() != parent else "in the parent")

out = []
parent = os.getpid()
"""

# Script, what it prints.
FORKS = {
    "on the thread's own stack": (
        """
def forks():
    pid = os.fork()
    if pid:
        say("status", waits(pid))
    else:
        say("child", works())
    return "parent" if pid else "child"
def host():
    try:
        return copool.on_thread_stack(forks)
    finally:
        left.append(copool.current() is not None)
left = []
other = Coroutine(body)
other.enter("other")
who = Coroutine(lambda: Coroutine(host).enter()).enter()
say(who, left, works())
other.enter()
""",
        [
            "child True",
            "child [True] True",
            "finally other",
            "status 0",
            "parent [True] True",
            "finally other",
        ],
    ),
    "in another thread while one is on its own stack": (
        """
inside, go_on = threading.Event(), threading.Event()
def waits_there():
    inside.set()
    go_on.wait()
    say("went on")
hosts = Coroutine(lambda: copool.on_thread_stack(waits_there))
thread = threading.Thread(target=hosts.enter)
thread.start()
inside.wait()
pid = os.fork()
if not pid:
    say("child", works())
    os._exit(0)
say("status", waits(pid))
go_on.set()
thread.join()
say(works())
""",
        ["child True", "status 0", "went on", "True"],
    ),
    "the child returns through all levels": (
        """
def forks():
    pid = os.fork()
    if pid:
        say("status", waits(pid))
deep(2, forks)
say("end", works())
""",
        [
            "left 1 in the child",
            "left 2 in the child",
            "end True",
            "status 0",
            "left 1 in the parent",
            "left 2 in the parent",
            "end True",
        ],
    ),
    "the child exits through all levels": (
        """
def exits():
    pid = os.fork()
    if not pid:
        sys.exit(7)
    say("status", waits(pid))
deep(2, exits)
say("end", works())
""",
        [
            "left 1 in the child",
            "left 2 in the child",
            "status 7",
            "left 1 in the parent",
            "left 2 in the parent",
            "end True",
        ],
    ),
    "the child raises through all levels": (
        """
def fails():
    pid = os.fork()
    if not pid:
        raise KeyError("in the child")
    say("status", waits(pid))
try:
    deep(1, fails)
except KeyError as error:
    say(error)
say("end", works())
""",
        [
            "left 1 in the child",
            "'in the child'",
            "end True",
            "status 0",
            "left 1 in the parent",
            "end True",
        ],
    ),
    "suspended ones end in both": (
        """
cos = [Coroutine(body) for _ in range(2)]
for i, co in enumerate(cos):
    co.enter(i)
g = greenlet(lambda: (body_g(), say("greenlet ends")))
def body_g():
    getcurrent().parent.switch()
g.switch()
def waits_in_it():
    try:
        await_(Step())
    finally:
        say("call ends")
b = run_sync(waits_in_it)
b.send(None)
pid = os.fork()
if not pid:
    say("child")
    g.switch()
    try:
        b.send(None)
    except StopIteration:
        pass
    cos[0].enter()
    sys.exit(3)
say("status", waits(pid))
""",
        [
            "child",
            "greenlet ends",
            "call ends",
            "finally 0",
            "finally 1",
            "status 3",
            "call ends",
            "finally 1",
            "finally 0",
        ],
    ),
    "in a finalizer of what is suspended": (
        """
def forks():
    try:
        yield_()
    finally:
        pid = os.fork()
        say("status" if pid else "child", waits(pid) if pid else works())
co = Coroutine(forks)
co.enter()
del co
say("end", works())
""",
        ["child True", "end True", "status 0", "end True"],
    ),
    "in a thread, inside coroutines, while others wait in theirs": (
        """
def forks():
    pid = os.fork()
    if pid:
        say("status", waits(pid))
        return
    say("child", mine.state, others[0].state, works())
    mine.enter()
    others.clear()
    gc.collect()
    say(threading.current_thread() is threading.main_thread(), works())
    sys.exit(4)  # ends the thread that is left
def work():
    global mine
    mine = Coroutine(body)
    mine.enter("of the thread")
    Coroutine(lambda: Coroutine(forks).enter()).enter()
    if os.getpid() == parent:
        mine.close()
others = [Coroutine(body)]
others[0].enter("of the main thread")
thread = threading.Thread(target=work)
thread.start()
thread.join()
others[0].enter()
""",
        [
            "child suspended finished True",
            "finally of the thread",
            "True True",
            "status 0",
            "finally of the thread",
            "finally of the main thread",
        ],
    ),
    "while threads run in coroutines and make others": (
        """
stop = False
def busy():
    while not stop:
        cos = [Coroutine(yield_) for _ in range(200)]
        for co in cos:
            co.enter()
        yield_()
def work():
    for _ in Coroutine(busy): pass
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
statuses = []
for _ in range(40):
    pid = Coroutine(os.fork).enter()
    if not pid:
        os._exit(0 if works() and works() else 1)
    statuses.append(waits(pid))
stop = True
for thread in threads: thread.join()
say(statuses == [0] * 40, works())
""",
        ["True True"],
    ),
    "while a thread waits inside a coroutine, and the child exits": (
        """
inside, leave = threading.Event(), threading.Event()
def waiting():
    try:
        inside.set()
        leave.wait()
    finally:
        say("left", os.getpid() == parent)
thread = threading.Thread(target=Coroutine(waiting).enter)
thread.start()
inside.wait()
pid = os.fork()
if not pid:
    gc.collect()
    say(works())
    sys.exit(5)
say("status", waits(pid))
leave.set()
thread.join()
""",
        ["True", "status 5", "left True"],
    ),
    "while a thread runs in one that has been suspended elsewhere": (
        """
inside, leave = threading.Event(), threading.Event()
def deep(n, *args):
    return deep(n - 1, n, *args) if n else yield_()
def wide(n, *args):
    a = b = c = d = e = f = g = h = n
    if n:
        return wide(n - 1, *range(n))
    inside.set()
    leave.wait()
def runs():
    deep(40)
    wide(40)
def work():
    co = Coroutine(runs)
    co.enter()
    co.enter()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
    inside.wait()
    inside.clear()
pid = os.fork()
if not pid:
    gc.collect()
    say(works())
    sys.exit(0)
say("status", waits(pid))
leave.set()
for thread in threads: thread.join()
""",
        ["True", "status 0"],
    ),
    "while a thread that ends unwinds what it has": (
        """
unwinds, leave = threading.Event(), threading.Event()
def waits_at_its_end():
    try:
        yield_()
    finally:
        unwinds.set()
        leave.wait()
kept = []
def work():
    for fn in (yield_, waits_at_its_end, yield_):
        kept.append(Coroutine(fn))
        kept[-1].enter()
thread = threading.Thread(target=work)
thread.start()
unwinds.wait()
pid = os.fork()
if not pid:
    gc.collect()
    say({co.state for co in kept}, works())
    sys.exit(0)
say("status", waits(pid))
leave.set()
thread.join()
say({co.state for co in kept})
""",
        ["{'finished'} True", "status 0", "{'finished'}"],
    ),
    "grandchildren, each inside one more": (
        """
def forks(n):
    pid = os.fork()
    if pid:
        return waits(pid)
    if n:
        status = Coroutine(forks).enter(n - 1)
        if not status:
            os._exit(10 + n)
        os._exit(status + 10)
    os._exit(0 if works() else 1)
say(Coroutine(forks).enter(3))
""",
        ["31"],
    ),
}

FORKS["below coroutines in greenlets in calls that are awaited"] = (
    """
def in_call():
    await_(Step())
    pid = os.fork()
    await_(Step())
    return pid
def in_greenlet():
    call = run_sync(in_call)
    call.send(None)
    getcurrent().parent.switch()
    call.send(None)
    getcurrent().parent.switch()
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
def in_coroutine():
    g = greenlet(in_greenlet)
    g.switch()
    yield_()
    g.switch()
    yield_()
    return g.switch()
co = Coroutine(in_coroutine)
co.enter()
co.enter()
pid = co.enter()
say("status" if pid else "child", waits(pid) if pid else works(), co.done)
""",
    ["child True True", "status 0 True"],
)


@pytest.mark.parametrize("name", FORKS)
def test_fork(python, name):
    script, lines = FORKS[name]
    done = python(PRELUDE + script)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


ON_TOP = {
    "multiprocessing, a process": (
        """
import multiprocessing
context = multiprocessing.get_context("fork")
def target(queue):
    yield_later.enter()
    queue.put(list(Coroutine(lambda: [yield_(i) for i in range(3)])))
    queue.close()
    sys.exit(6)
def start():
    queue = context.SimpleQueue()
    process = context.Process(target=target, args=(queue,))
    process.start()
    got = queue.get()
    process.join()
    return got, process.exitcode
yield_later = Coroutine(body)
yield_later.enter()
say(Coroutine(lambda: Coroutine(start).enter()).enter())
""",
        ["finally co", "([0, 1, 2], 6)", "finally co"],
    ),
    "multiprocessing, a pool": (
        """
import multiprocessing
context = multiprocessing.get_context("fork")
def square(n):
    co = Coroutine(lambda n: yield_(n) * n)
    return co.enter(n) and co.enter(n)
def start():
    with context.Pool(2) as pool:
        return pool.map(square, range(1, 20)) == [n * n for n in range(1, 20)]
say(Coroutine(start).enter(), works())
""",
        ["True True"],
    ),
    "concurrent.futures, processes": (
        """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context("fork")
def square(n):
    co = Coroutine(lambda n: yield_(n) * n)
    return co.enter(n) and co.enter(n)
def fails(n):
    Coroutine(lambda: {}[n]).enter()
def start():
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        yield_(sum(executor.map(square, range(1, 20))))
        try:
            executor.submit(fails, 1).result()
        except KeyError as error:
            yield_(repr(error))
        yield_(type(executor.submit(dies).exception()).__name__)
    return works()
def dies():
    Coroutine(os._exit).enter(1)
for answer in Coroutine(lambda: yield_(start())): say(answer)
""",
        ["2470", "KeyError(1)", "BrokenProcessPool", "True"],
    ),
    "concurrent.futures, threads": (
        """
from concurrent.futures import ThreadPoolExecutor
def square(n):
    co = Coroutine(lambda n: yield_(n) * n)
    kept.append(co)
    return co.enter(n) and co.enter(n)
kept = []
def start():
    with ThreadPoolExecutor(4) as executor:
        return sum(executor.map(square, range(1, 200)))
say(Coroutine(start).enter() == sum(n * n for n in range(200)))
say({co.state for co in kept}, works())
""",
        ["True", "{'finished'} True"],
    ),
    "subprocess, with Python code between fork and exec": (
        """
def between():
    assert Coroutine(lambda: Coroutine(sum).enter([1, 2])).enter() == 3
    mine.close()
def start():
    return subprocess.run(
        [sys.executable, "-c", "print('child')"], preexec_fn=between,
        capture_output=True, text=True).stdout.strip()
mine = Coroutine(body)
mine.enter("mine")
say(Coroutine(start).enter(), mine.state)
mine.close()
""",
        ["finally mine", "child suspended", "finally mine"],
    ),
    "exec inside, with others suspended, in this thread and another": (
        """
def work():
    global other
    other = Coroutine(body)
    other.enter("of the thread")
    there.set()
    threading.Event().wait()
there = threading.Event()
threading.Thread(target=work, daemon=True).start()
there.wait()
mine = Coroutine(body)
mine.enter()
program = "import copool; print(copool.Coroutine(sum).enter([1, 2]))"
def replaces():
    try:
        os.execv(sys.executable, [sys.executable, "-c", program])
    finally:
        say("never")
Coroutine(lambda: Coroutine(replaces).enter()).enter()
""",
        ["3"],
    ),
    "exec that fails is an exception": (
        """
def fails():
    try:
        os.execv("/nonexistent", ["x"])
    except FileNotFoundError as error:
        yield_(error.errno)
    return "end"
co = Coroutine(fails)
say(co.enter(), co.enter(), works())
""",
        ["2 end True"],
    ),
    "exec in the child of a fork inside": (
        """
def runs():
    pid = os.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", "print('child')"])
    return waits(pid)
mine = Coroutine(body)
mine.enter()
say(Coroutine(runs).enter(), works())
""",
        ["child", "0 True", "finally co"],
    ),
}


@pytest.mark.parametrize("name", ON_TOP)
def test_what_forks_or_replaces_the_process(python, name):
    script, lines = ON_TOP[name]
    done = python(PRELUDE + script)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


FORKS_IN_C = """
import ctypes
def other():
    while True:
        copool.stats()
        copool.trim()
threading.Thread(target=other, daemon=True).start()
say(ctypes.CDLL({path!r}).fork_often({n}))
os._exit(0)
"""


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
def test_c_code_forks_without_the_gil_while_the_pool_is_used(python, tmp_path):
    path = tmp_path / "forking.so"
    source = Path(__file__).with_name("forking.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", source, "-o", path], check=True)
    done = python(PRELUDE + FORKS_IN_C.format(path=str(path), n=3000))
    assert (done.lines, done.code, done.errors) == (["3000"], 0, "")
