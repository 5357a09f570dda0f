"""How a process may end while coroutines are suspended or running."""

import pytest

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
        "its stack is leaked",
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
