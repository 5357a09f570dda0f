"""A process may end in any way while coroutines are suspended or running."""

import time

import pytest

pytestmark = pytest.mark.isolated

PRELUDE = """
import atexit, gc, os, sys, threading
import copool
from copool import Coroutine, yield_

def body(name="co"):
    try:
        yield_()
    finally:
        print("finally", name, flush=True)
"""

# Script, exit status, what it prints, whether it writes to stderr.
EXITS = {
    "with one suspended": (
        "co = Coroutine(body); co.enter()",
        0,
        ["finally co"],
        "",
    ),
    "with one in a cycle": (
        """
def cycle():
    me = copool.current()
    body(me.state)
Coroutine(cycle).enter()
""",
        0,
        ["finally running"],
        "",
    ),
    "with one unstarted": ("co = Coroutine(body)", 0, [], ""),
    "newest first": (
        "cos = [Coroutine(body) for _ in range(3)]\n"
        "for i, co in enumerate(cos): co.enter(i)",
        0,
        ["finally 2", "finally 1", "finally 0"],
        "",
    ),
    "sys.exit inside": (
        "co = Coroutine(body); co.enter()\nCoroutine(sys.exit).enter(3)",
        3,
        ["finally co"],
        "",
    ),
    "sys.exit deep inside": (
        """
def inner():
    try:
        sys.exit(4)
    finally:
        print("inner")
Coroutine(lambda: Coroutine(inner).enter()).enter()
""",
        4,
        ["inner"],
        "",
    ),
    "sys.exit through levels of every kind": (
        """
from copool.aio import run_sync
from copool._core import _greenlet_names
greenlet = _greenlet_names()["greenlet"]
def level(n):
    if not n:
        sys.exit("no more")
    enter = [
        lambda: Coroutine(level).enter(n - 1),
        lambda: greenlet(level).switch(n - 1),
        lambda: run_sync(level, n - 1).send(None),
        lambda: sorted([0], key=lambda _: level(n - 1)),
    ][n % 4]
    try:
        enter()
    finally:
        print("level", n, type(sys.exception()).__name__)
level(6)
""",
        1,
        [f"level {n} SystemExit" for n in range(1, 7)],
        "no more\n",
    ),
    "sys.exit that one catches": (
        """
def catching():
    try:
        Coroutine(sys.exit).enter(9)
    except SystemExit as exit:
        yield_(exit.code)
    sys.exit(8)
co = Coroutine(catching)
print(co.enter(), flush=True)
co.enter()
""",
        8,
        ["9"],
        "",
    ),
    "sys.exit in finally of one that is dropped": (
        """
def exits():
    try:
        yield_()
    finally:
        sys.exit(3)
co = Coroutine(exits)
co.enter()
del co
print("goes on", flush=True)
""",
        0,
        ["goes on"],
        "SystemExit: 3",
    ),
    "sys.exit in a thread, inside": (
        """
def work():
    co = Coroutine(body)
    co.enter()
    Coroutine(sys.exit).enter(3)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print("joined", copool.stats().live, flush=True)
""",
        0,
        ["finally co", "joined 0"],
        "",
    ),
    "os._exit in finally at the end": (
        """
def exits():
    try:
        yield_()
    finally:
        print("exits", flush=True)
        os._exit(6)
cos = [Coroutine(body), Coroutine(exits)]
for co in cos: co.enter()
""",
        6,
        ["exits"],
        "",
    ),
    "os._exit in a thread, inside, while others wait inside": (
        """
inside = threading.Event()
def waits():
    inside.set()
    threading.Event().wait()
threading.Thread(target=Coroutine(waits).enter).start()
inside.wait()
co = Coroutine(body); co.enter()
threading.Thread(target=Coroutine(Coroutine(os._exit).enter).enter, args=[5]).start()
threading.Event().wait()
""",
        5,
        [],
        "",
    ),
    "daemon threads in coroutines that were entered below C code": (
        """
inside = threading.Semaphore(0)
def waits(_):
    other = Coroutine(body)
    other.enter()
    inside.release()
    threading.Event().wait()
def work():
    Coroutine(lambda: max([0], key=Coroutine(waits).enter)).enter()
for _ in range(8): threading.Thread(target=work, daemon=True).start()
for _ in range(8): inside.acquire()
""",
        0,
        [],
        "",
    ),
    "sys.exit on the thread's own stack": (
        """
co = Coroutine(body); co.enter()
Coroutine(lambda: copool.on_thread_stack(sys.exit, 5)).enter()
""",
        5,
        ["finally co"],
        "",
    ),
    "daemon threads on their own stacks, and in coroutines below these": (
        """
inside = threading.Semaphore(0)
def waits(_=None):
    other = Coroutine(body)
    other.enter()
    inside.release()
    threading.Event().wait()
def below():
    Coroutine(lambda: max([0], key=Coroutine(waits).enter)).enter()
def work(fn):
    Coroutine(lambda: copool.on_thread_stack(fn)).enter()
for fn in [waits, below] * 4:
    threading.Thread(target=work, args=[fn], daemon=True).start()
for _ in range(8): inside.acquire()
""",
        0,
        [],
        "",
    ),
    "daemon threads that make and end them all the time": (
        """
inside = threading.Semaphore(0)
def work():
    inside.release()
    while True:
        cos = [Coroutine(yield_) for _ in range(20)]
        for co in cos: co.enter()
        cos = [Coroutine(len) for _ in range(20)]
        for co in cos: co.enter(())
sys.setswitchinterval(1e-5)
for _ in range(4): threading.Thread(target=work, daemon=True).start()
for _ in range(4): inside.acquire()
""",
        0,
        [],
        "",
    ),
    "a finalizer that raises, in one that is dropped": (
        """
class Bad:
    def __del__(self):
        raise KeyError("from __del__")
def holding():
    bad = Bad()
    body()
co = Coroutine(holding)
co.enter()
del co
print(copool.stats().live, flush=True)
""",
        0,
        ["finally co", "0"],
        "KeyError: 'from __del__'",
    ),
    "finalizers that raise while all are ended": (
        """
import weakref
class Bad:
    def __del__(self):
        raise SystemExit("from __del__")
def called(ref):
    raise KeyError("from a callback")
def holding(n):
    bad = Bad()
    refs.append(weakref.ref(bad, called))
    body(n)
refs = []
cos = [Coroutine(holding) for _ in range(3)]
for i, co in enumerate(cos): co.enter(i)
""",
        0,
        ["finally 2", "finally 1", "finally 0"],
        "KeyError: 'from a callback'",
    ),
    "suspended in a finalizer": (
        """
class Waits:
    def __del__(self):
        body("in __del__")
def dropping():
    Waits()
co = Coroutine(dropping)
co.enter()
print(co.state, flush=True)
""",
        0,
        ["suspended", "finally in __del__"],
        # The exit goes through it, as any exception in a finalizer.
        "CoroutineExit",
    ),
    "a hook for what can't be raised that uses coroutines": (
        """
def hook(unraisable):
    co = Coroutine(lambda: yield_(repr(unraisable.exc_value)))
    print(co.enter(), flush=True)
    kept.append(co)
def failing(n):
    try:
        yield_()
    finally:
        raise KeyError(n)
kept = []
sys.unraisablehook = hook
cos = [Coroutine(failing) for _ in range(3)]
for i, co in enumerate(cos): co.enter(i)
del co
del cos[0]
print(copool.stats().live, flush=True)
""",
        0,
        ["KeyError(0)", "3", "KeyError(2)", "KeyError(1)"],
        "",
    ),
    "os._exit inside": (
        "co = Coroutine(body); co.enter()\nCoroutine(os._exit).enter(5)",
        5,
        [],
        "",
    ),
    "exception at top level": (
        "co = Coroutine(body); co.enter()\nCoroutine(lambda: 1 / 0).enter()",
        1,
        ["finally co"],
        "ZeroDivisionError",
    ),
    "daemon thread with a suspended one": (
        """
ready = threading.Event()
def work():
    co = Coroutine(body)
    co.enter()
    ready.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
        0,
        [],
        "",
    ),
    "daemon thread inside a coroutine": (
        """
ready = threading.Event()
def wait():
    ready.set()
    threading.Event().wait()
threading.Thread(target=Coroutine(wait).enter, daemon=True).start()
ready.wait()
""",
        0,
        [],
        "",
    ),
    "daemon thread that switches all the time": (
        """
ready = threading.Event()
def spin():
    while True:
        ready.set()
        yield_()
def work():
    co = Coroutine(spin)
    while True:
        co.enter()
threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
        0,
        [],
        "",
    ),
    "exception in finally": (
        """
def failing():
    try:
        yield_()
    finally:
        raise KeyError("x")
co = Coroutine(failing); co.enter()
""",
        0,
        [],
        "KeyError: 'x'",
    ),
    "yields again": (
        """
def stubborn():
    while True:
        try:
            yield_()
        except copool.CoroutineExit:
            pass
co = Coroutine(stubborn); co.enter()
""",
        0,
        [],
        "it is never run again",
    ),
    "starts another in finally": (
        """
def starting():
    try:
        yield_()
    finally:
        global other
        other = Coroutine(body)
        other.enter("other")
co = Coroutine(starting); co.enter()
""",
        0,
        ["finally other"],
        "",
    ),
    "starts another in finally, and that one, too, without end": (
        """
def starting():
    try:
        yield_()
    finally:
        start()
def start():
    cos.append(Coroutine(starting))
    cos[-1].enter()
    del cos[:-1]
cos = []
start()
thread = threading.Thread(target=start)
thread.start()
thread.join()
""",
        0,
        [],
        "keep starting others",
    ),
    "started after ours at exit": (
        """
def late():
    global co
    co = Coroutine(body)
    co.enter()
    print("late")
atexit._clear()
atexit.register(late)
""",
        0,
        ["late"],
        "",
    ),
    "from within atexit": (
        "atexit.register(Coroutine(lambda: print('at exit')).enter)",
        0,
        ["at exit"],
        "",
    ),
    "main thread ends inside a fork's child": (
        """
def forking():
    if os.fork():
        print("child", os.wait()[1], flush=True)
    yield_()
    print("end", flush=True)
co = Coroutine(forking)
co.enter()
co.enter()
""",
        0,
        ["end", "child 0", "end"],
        "",
    ),
    "finalizer of a module switches": (
        """
class Late:
    def __del__(self):
        try:
            Coroutine(print).enter("late")
        except BaseException as error:
            print(type(error).__name__)
sys.keep = Late()
""",
        0,
        None,
        None,
    ),
}


@pytest.mark.parametrize("name", EXITS)
def test_exit(python, name):
    script, code, lines, errors = EXITS[name]
    done = python(PRELUDE + script)
    assert done.code == code, done.errors
    if lines is not None:
        assert done.lines == lines
    if errors is not None:
        assert (errors in done.errors) if errors else (done.errors == "")


def test_exit_with_ten_thousand_suspended(python):
    done = python(
        """
        from copool import Coroutine, yield_
        ended = []
        def body():
            try:
                yield_()
            finally:
                ended.append(1)
                if len(ended) == 10_000:
                    print("all")
        cos = [Coroutine(body) for _ in range(10_000)]
        for co in cos:
            co.enter()
        """
    )
    assert (done.code, done.lines, done.errors) == (0, ["all"], "")


SUSPENDS_MANY = """
import sys, threading, time
import copool
from copool import Coroutine, yield_

def suspend(n):
    cos = [Coroutine(yield_) for _ in range(n)]
    for co in cos:
        co.enter()
    return cos

def told():
    print(copool.stats().live, time.monotonic(), flush=True)
"""

# Script, exit status.
MANY = {
    "in the main thread": ("kept = suspend(100_000)\ntold()", 0),
    "in the main thread, by an exception": (
        "kept = suspend(100_000)\ntold()\nraise SystemExit(3)",
        3,
    ),
    "inside one": (
        """
def inside():
    kept = suspend(100_000)
    told()
    sys.exit(4)
Coroutine(inside).enter()
""",
        4,
    ),
    "in threads that end": (
        """
def work():
    kept = suspend(25_000)
    barrier.wait()
    barrier.wait()
barrier = threading.Barrier(5)
for _ in range(4):
    threading.Thread(target=work).start()
barrier.wait()
told()
barrier.wait()
""",
        0,
    ),
    "in daemon threads": (
        """
def work():
    kept = suspend(25_000)
    barrier.wait()
    threading.Event().wait()
barrier = threading.Barrier(5)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
barrier.wait()
told()
""",
        0,
    ),
    "among greenlets, which are left": (
        """
from copool._core import _greenlet_names
greenlet, getcurrent = (_greenlet_names()[n] for n in ("greenlet", "getcurrent"))
kept = suspend(50_000)
kept += [greenlet(getcurrent().switch) for _ in range(50_000)]
for g in kept[50_000:]:
    g.switch()
told()
""",
        0,
    ),
    "in a cycle each": (
        """
import gc
gc.disable()
def cycle():
    me = copool.current()
    yield_()
for _ in range(100_000):
    Coroutine(cycle).enter()
told()
""",
        0,
    ),
}


@pytest.mark.parametrize("where", MANY)
def test_exit_with_a_hundred_thousand_suspended(python, where):
    script, code = MANY[where]
    done = python(SUSPENDS_MANY + script)
    end = time.monotonic()
    assert (done.code, done.errors) == (code, "")
    live, begin = done.lines[0].split()
    assert int(live) in (100_000, 100_001)
    assert end - float(begin) < 20  # it takes less than one


def test_leaked_one_is_counted_and_spares_the_pool(python):
    done = python(
        """
        import warnings
        import copool
        def body():
            while True:
                try:
                    copool.yield_()
                except copool.CoroutineExit:
                    pass
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            co = copool.Coroutine(body)
            co.enter()
            frame = co.frame
            del co
        print([w.category.__name__ for w in caught])
        print("its stack is leaked" in str(caught[0].message))
        print(copool.stats().live, copool._core.check(), frame.f_code.co_name)
        copool.configure(batch=8)
        print(copool.stats().live_retired, copool._core.check())
        """
    )
    assert (done.code, done.lines) == (
        0,
        ["['RuntimeWarning']", "True", "1 True body", "1 True"],
    )


def test_imported_twice_is_one(python):
    done = python(
        """
        import gc, sys
        import copool
        old = copool.Coroutine, copool.CoroutineError
        co = copool.Coroutine(copool.yield_)
        co.enter()
        for name in [name for name in sys.modules if name.startswith("copool")]:
            del sys.modules[name]
        del copool
        gc.collect()
        import copool
        gc.collect()
        print(old == (copool.Coroutine, copool.CoroutineError), co.enter(1))
        try:
            copool.yield_()
        except copool.CoroutineError:
            print("caught")
        print(copool.stats().live)
        """
    )
    assert (done.code, done.lines, done.errors) == (0, ["True 1", "caught", "0"], "")


def test_imported_again_after_it_was_let_go(python):
    done = python(
        """
        import gc, sys
        for _ in range(3):
            import copool
            co = copool.Coroutine(copool.yield_)
            co.enter()
            co.close()
            del co, copool
            for name in [name for name in sys.modules if name.startswith("copool")]:
                del sys.modules[name]
            gc.collect()
        print("end")
        """,
        env={"PYTHONMALLOC": "debug"},
    )
    assert (done.code, done.lines) == (0, ["end"])
