"""Runs programs while the n-th allocation that they cause fails, for each n.

    LD_PRELOAD=refuse.so python refusals.py refuse.so PROGRAM once|on STEP

`once`: that allocation fails, `on`: so do all that follow. Every STEP-th n is tried.
Whatever fails, the program must return what it always does, if something did without
the memory, or raise MemoryError; afterwards it must work, and nothing may be leaked.
"""

import atexit
import contextvars
import ctypes
import gc
import os
import queue
import sys
import threading
import types
import warnings
from functools import partial

from refusing import load

import copool
from copool import Coroutine, PoolExhausted, _core, yield_
from copool._core import await_, bridge, run_sync

names = _core._greenlet_names()
greenlet, getcurrent = names["greenlet"], names["getcurrent"]

# --- the programs -----------------------------------------------------------


def echo(*args, **kwargs):
    """Yield the arguments, then whatever is sent, until None is."""
    sent = args
    while sent is not None:
        sent = yield_(sent)
    return kwargs or "end"


def coroutine():
    co = Coroutine(echo)
    seen = [co.enter(1, 2), co.enter(3), co.state, co.done, co.enter(None)]
    many = Coroutine(echo)
    seen += [many.enter(*range(9)), many.enter(None)]
    context = contextvars.copy_context()
    inside = Coroutine(partial(echo, key=1), context=context)
    seen += [inside.enter(), inside.enter(None)]
    return seen


def contexts():
    def set_it(value):
        before = variable.set(value).old_value
        return before, yield_(variable.get()), variable.get()

    def main():
        variable.set(1)
        seen = []
        for context in None, "shared":
            co = Coroutine(set_it, context=context)
            other = Coroutine(set_it)
            seen += [co.enter(2), other.enter(3), variable.get()]
            seen += [co.enter(4), other.enter(5)]
        return seen

    variable = contextvars.ContextVar("variable")
    return contextvars.copy_context().run(main)


def attributes():
    def body():
        co = copool.current()
        yield_([co.state, co.caller is None, repr(co)[:18], co.frame.f_lineno > 0])
        yield_(copool.in_coroutine())

    co = Coroutine(body)
    seen = [co.enter(), co.frame.f_code.co_name, co.enter(), repr(co)[:18], co.state]
    co.close()
    return [*seen, co.state, co.frame, repr(co)[:17]]


def iteration():
    def body(n):
        for i in range(n):
            yield_(i)
        return n

    def stop():
        yield_(1)
        raise StopIteration(2)

    co = Coroutine(partial(body, 5))
    seen = list(co)
    try:
        seen += list(Coroutine(stop))
    except RuntimeError as error:
        seen.append(type(error.__cause__).__name__)
    co = Coroutine(partial(body, 0))
    try:
        next(co)
    except StopIteration as stop:
        seen.append(stop.value)
    return seen


def deep():
    """Take data stack beyond the block's own, and C stack."""

    def descend(n):
        a = b = c = d = e = f = g = h = n
        if n:
            return descend(n - 1)[a - b + c - d + e - f + g - h :]
        return sorted(range(3), key=lambda x: (yield_(x), x)[1])

    return list(Coroutine(partial(descend, 200)))


class Error(Exception):
    pass


def throwing():
    def body():
        seen = []
        try:
            yield_(1)
        except Error as error:
            seen.append(error.args)
        try:
            yield_(2)
        finally:
            seen.append("finally")
            log.append(seen)

    log = []
    co = Coroutine(body)
    seen = [co.enter(), co.throw(Error(3)), co.close(), co.state, log]
    co = Coroutine(body)
    co.enter()
    try:
        co.throw(KeyError)
    except KeyError as error:
        seen.append(error.__traceback__.tb_next.tb_frame.f_code.co_name)
    for unstarted in (Coroutine(body), Coroutine(body)):
        try:
            unstarted.throw(Error)
        except Error:
            seen.append(unstarted.close())
    return seen


def stubborn():
    def body():
        try:
            yield_()
        except copool.CoroutineExit:
            yield_()

    co = Coroutine(body)
    co.enter()
    try:
        co.close()
    except copool.CoroutineError:
        return [co.enter(), co.state]


def misuse():
    seen = []

    def attempt(call, *args):
        try:
            call(*args)
        except (TypeError, ValueError, copool.CoroutineError) as error:
            seen.append(type(error).__name__)

    def body():
        attempt(copool.current().enter)
        yield_()

    co = Coroutine(body)
    co.enter()
    attempt(co.enter, 1, 2)
    co.enter()
    attempt(co.enter)
    attempt(yield_)
    attempt(yield_, 1, 2)
    attempt(Coroutine, 1)
    attempt(Coroutine)
    attempt(co.throw, 1)
    attempt(await_, 1)
    attempt(run_sync)
    attempt(bridge, 1)
    return seen


def foreign():
    """Use what belongs to another thread; `other` is made by the set-up."""
    seen = []
    for call in (other.enter, other.close, partial(other.throw, Error)):
        try:
            call()
        except copool.CoroutineError:
            seen.append(1)
    try:
        other_greenlet.switch()
    except names["error"] as error:
        if not error.args:  # 3.11 raises without a text that there is no memory for
            raise MemoryError from error
        seen.append(str(error)[:36])
    return seen


def dropping():
    ended = []

    def body(n):
        me = copool.current()  # a cycle
        try:
            yield_(n)
        finally:
            ended.append(n)
            del me

    def plain(n):
        try:
            yield_(n)
        finally:
            ended.append(n)

    seen = [Coroutine(body).enter(1), Coroutine(plain).enter(2)]
    gc.collect()
    return [seen, sorted(ended)]


def greenlets():
    main = getcurrent()
    seen = []

    def body(*args, **kwargs):
        seen.append((args, kwargs))
        seen.append(main.switch(1, 2))
        try:
            main.switch(x=3)
        except Error as error:
            seen.append(error.args)
        return "end"

    g = greenlet(body)
    seen += [g.switch(1, 2, a=3), g.switch(4), g.throw(Error, 5), g.dead, g.switch()]
    other = greenlet(body)
    seen += [other.throw(names["GreenletExit"]).args, bool(other), repr(other)[:9]]
    context = contextvars.copy_context()
    third = greenlet(parent=main, run=body)
    third.gr_context = context
    seen += [third.switch(), third.gr_frame.f_code.co_name, third.parent is main]
    third.throw()
    return seen


class Walker(greenlet):
    def run(self, n):
        for i in range(n):
            self.parent.switch(i)
        return "end"


def greenlet_classes():
    w = Walker()
    w.tag = 1
    return [w.switch(3), w.switch(), w.switch(), w.switch(), w.tag, w.dead]


def greenlet_parents():
    """Greenlets that end and so start others, or fail to."""
    main = getcurrent()
    seen = []

    def second(value):
        seen.append(value)
        main.switch("from second")
        raise Error("second")

    def first():
        seen.append("first")
        return "result"

    parent = greenlet(second)
    child = greenlet(first, parent)
    seen.append(child.switch())
    try:
        parent.switch()
    except Error as error:
        seen.append(error.args)
    try:
        greenlet(first, greenlet(None)).switch()
    except TypeError:
        seen.append("nothing to run")
    return seen


def greenlet_ends_with_error():
    """The error goes to a parent that has not started, and from there on."""

    def fail():
        raise Error(1)

    try:
        greenlet(fail, greenlet(echo)).switch()
    except Error as error:
        return error.args


def greenlet_thrown():
    try:
        greenlet(echo).throw(Error, 1)
    except Error as error:
        return error.args


def greenlet_drops():
    ended = []

    def body():
        try:
            getcurrent().parent.switch(1)
        finally:
            ended.append(1)

    seen = [greenlet(body).switch()]
    g = greenlet(body)
    g.switch()
    g.cycle = g
    del g
    gc.collect()
    return [seen, ended]


def greenlet_traces():
    seen = []
    names["settrace"](lambda event, pair: seen.append(event))
    try:
        greenlet(lambda: 1).switch()
        g = greenlet(lambda: 1)
        g.throw(names["GreenletExit"])
    finally:
        names["settrace"](None)
    return seen


class Suspends:
    def __init__(self, n):
        self.n = n

    def __await__(self):
        yield from range(self.n)
        return "awaited"


def drive(it):
    seen = []
    try:
        value = None
        while True:
            seen.append(it.send(value))
            value = None
    except StopIteration as stop:
        seen.append(stop.value)
    return seen


def bridges():
    @types.coroutine
    def generator():
        return (yield "generator")

    async def plain():
        return await Suspends(2)

    def call(*args, **kwargs):
        return args, kwargs, await_(Suspends(2)), await_(plain()), await_(generator())

    async def target():
        before = await Suspends(1)
        return before, call(), await Suspends(1)

    def stop():
        raise StopIteration(1)

    b = run_sync(call, 1, 2, a=3)
    seen = [b.__name__, b.cr_frame.f_code.co_name, drive(b), repr(b)[:18]]
    seen += [drive(run_sync(int)), drive(bridge(target()))]
    try:
        drive(run_sync(stop))
    except RuntimeError as error:
        seen.append(type(error.__cause__).__name__)
    inner = Coroutine(lambda: drive(run_sync(call)))
    return [*seen, inner.enter()]


def bridge_ends():
    ended = []

    def call():
        try:
            await_(Suspends(3))
        except Error as error:
            ended.append(error.args)
            await_(Suspends(1))
        finally:
            ended.append("finally")

    async def target():
        call()

    seen = []
    for make in (lambda: run_sync(call), lambda: bridge(target())):
        b = make()
        seen += [b.send(None), b.throw(Error(1))]
        b.close()
        b = make()
        seen.append(b.send(None))
        seen.append((b.cr_frame.f_code.co_name, type(b.cr_await).__name__))
        b.close()
        b = make()
        b.send(None)
        del b
        b = make()
        b.close()
    b = run_sync(call)
    try:
        b.throw(Error(2))
    except Error as error:
        seen.append(error.args)
    return [seen, ended]


def refused_waits():
    seen = []

    async def wait():
        await Suspends(1)

    try:
        await_(wait())
    except copool.CoroutineError:
        seen.append("outside")

    def call():
        greenlet(lambda: await_(wait())).switch()

    try:
        drive(run_sync(call))
    except copool.CoroutineError:
        seen.append("in a greenlet")
    return seen


def pool():
    seen = []
    before = _core.options()
    try:
        for policy in ("none", "mutex", "release", "magazine"):
            copool.configure(policy=policy, batch=2, max_idle=4, max_blocks=100)
            coroutines = [Coroutine(echo) for _ in range(7)]
            seen.append([co.enter(i) for i, co in enumerate(coroutines)])
            seen.append([co.enter(None) for co in coroutines])
            seen.append(copool.stats().live - copool.stats().live_retired)
            copool.trim()
    finally:
        copool.configure(**before)
    return seen


def dumped():
    """All of it, or MemoryError: nothing is left out in silence."""
    co = Coroutine(echo, name="dumped")
    co.enter()
    text = _core._dump(False, None, 0.0, None)
    return [
        text.startswith("copool: "),
        "1 × coroutine 'dumped', suspended" in text,
        "  echo (" in text and "  dumped (" in text,
        "meanwhile" in text,
        co.enter(None),
    ]


def cap():
    before = _core.options()
    seen = []
    try:
        copool.configure(max_blocks=2)
        coroutines = [Coroutine(echo) for _ in range(3)]
        for co in coroutines:
            try:
                seen.append(co.enter(1))
            except PoolExhausted as error:
                if "all 2 blocks" not in str(error):
                    raise
                seen.append(co.state)
        coroutines[0].close()
        seen.append(coroutines[2].enter(2))
    finally:
        copool.configure(**before)
    return seen


def traced():
    seen = []

    def trace(frame, event, arg):
        if frame.f_code is body.__code__:
            seen.append(event)
        return trace

    def body():
        yield_(1)

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        co = Coroutine(body)
        co.enter()
        co.enter()
        drive(run_sync(body_of_bridge))
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return seen


def body_of_bridge():
    return await_(Suspends(1))


def garbage():
    """What the collector does with suspended ones, at every allocation."""
    before = gc.get_threshold()
    gc.enable()
    gc.set_threshold(1)
    try:
        return [coroutine(), dropping(), bridge_ends()]
    finally:
        gc.set_threshold(*before)
        gc.disable()


PROGRAMS = [
    coroutine,
    contexts,
    attributes,
    iteration,
    deep,
    throwing,
    stubborn,
    misuse,
    foreign,
    dropping,
    greenlets,
    greenlet_classes,
    greenlet_parents,
    greenlet_drops,
    greenlet_traces,
    bridges,
    bridge_ends,
    refused_waits,
    pool,
    dumped,
    cap,
    traced,
    garbage,
]


def interpreters_in_turn():
    """Forget, and find again, which record is the thread's."""
    co = Coroutine(echo)
    seen = [co.enter(1)]
    interpreters.run_string(
        other_interpreter, "try: copool.current()\nexcept MemoryError: pass"
    )
    seen.append(co.enter(2))
    interpreters.run_string(
        other_interpreter, "try: copool.current()\nexcept MemoryError: pass"
    )
    seen.append(copool.current())
    return [*seen, co.enter(None), co.state]


def eager():
    """Wait in a context that is not the driver's: is it another task's?"""

    def call():
        return contextvars.copy_context().run(await_, Suspends(1))

    return drive(run_sync(call))


def eager_task():
    """The same where it is: that task may not wait there, by what it is called."""

    async def inner():
        await_(Suspends(1))

    def call():
        coroutine = inner()
        tasks.current = types.SimpleNamespace(get_coro=lambda: coroutine)
        try:
            contextvars.copy_context().run(coroutine.send, None)
        except copool.CoroutineError:
            return "refused"
        finally:
            del tasks.current

    return drive(run_sync(call))


def retrying():
    """What could not be done for want of memory can be done again."""
    # None of these needs memory to be called, or to wait.
    first, second = wait_once(), wait_once()
    co, b, g = Coroutine(yield_), run_sync(await_, first), greenlet(echo_greenlet)
    seen = [again(co.enter, 1), again(b.send, None), again(g.switch, 1)]
    seen += [again(g.switch, 2, 3), again(co.enter, 4), co.state]
    coroutine = bridge(coroutine_of_bridge(second))
    seen.append(again(coroutine.send, None))
    again(coroutine.close)
    again(b.close)
    return [*seen, isinstance(again(g.throw), BaseException), g.dead]


def echo_greenlet(value):
    while True:
        value = getcurrent().parent.switch(value)


def again(call, *args):
    try:
        return call(*args)
    except MemoryError:
        return call(*args)


async def wait_once():
    await Suspends(1)


async def coroutine_of_bridge(coroutine):
    await_(coroutine)


PROGRAMS += [
    greenlet_ends_with_error,
    greenlet_thrown,
    interpreters_in_turn,
    eager,
    eager_task,
    retrying,
]

# --- threads ----------------------------------------------------------------


def in_thread():
    """Use copool for the first time in a thread, which leaves chains suspended."""
    seen, ended, errors = [], [], []

    def body():
        try:
            yield_(1)
        finally:
            ended.append("coroutine")

    def call():
        try:
            await_(Suspends(1))
        finally:
            ended.append("bridge")

    def call_greenlet():
        try:
            getcurrent().parent.switch(2)
        finally:
            ended.append("greenlet")

    def work():
        library.refuse_to_the_end(lock, *arming)
        try:
            kept.append(Coroutine(body))
            seen.append(kept[0].enter())
            kept.append(run_sync(call))
            seen.append(kept[1].send(None))
            kept.append(greenlet(call_greenlet))
            seen.append(kept[2].switch())
            seen.append(drive(run_sync(int)))
        except BaseException as error:
            errors.append(error)

    kept = []
    thread = threading.Thread(target=work)
    thread.start()
    threads.PyThread_acquire_lock(lock, 1)
    thread.join()
    for error in errors:
        raise error
    return [seen, sorted(ended), [type(face).__name__ for face in kept]]


def fill_free_lists():
    """Let this thread keep as many dead coroutines and bridges as it ever does.

    It would keep those that other threads made, one after the other.
    """
    faces = [(Coroutine(int), run_sync(int)) for _ in range(300)]
    for _, b in faces:
        b.close()


def run_in_thread(program, first, last):
    """Like refuse_while(), for a program that arms in its own thread."""
    arming[:] = first, last
    try:
        return program()
    finally:
        arming[:] = 1, 0


PROGRAMS.append(in_thread)
arming = [1, 0]
threads = ctypes.CDLL(None)
threads.PyThread_allocate_lock.restype = ctypes.c_void_p
threads.PyThread_acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
lock = threads.PyThread_allocate_lock()
threads.PyThread_acquire_lock(lock, 1)

# --- running them -----------------------------------------------------------


class Wrong(Exception):
    """What must not be."""


def settle():
    """Free what is only cached, and see that the pool is whole."""
    gc.collect()
    sys._clear_type_cache()  # it keeps names that were looked up
    copool.trim()
    stats = copool.stats()
    if not _core.check():
        raise Wrong("the pool's recount differs")
    return stats.live + stats.live_retired


OF_CPYTHON = (
    # The collector does not tell its callbacks that it is done.
    "the garbage collector has called this finalizer",
    # 3.15 says so of a frame that there was no memory for.
    "Missing frame when calling trace function",
)
"""Parts of errors by which CPython says that there was no memory."""
if sys.version_info < (3, 13):
    # An exception passes through a frame, and there is no memory for what is kept of
    # it: with this CPython calls of plain functions end in the same.
    OF_CPYTHON += (
        "error return without exception set",
        "returned NULL without setting an exception",
    )


def is_of_cpython(error):
    # 3.11.2 raises that without its text, where there is no memory for this either.
    textless = sys.version_info < (3, 11, 7) and repr(error) == "SystemError()"
    return textless or any(text in str(error) for text in OF_CPYTHON)


def attempt(library, program, n, mode, expected, kept):
    """Run once with refusals and once without; return how many there were."""
    error = None
    try:
        run = run_in_thread if program is in_thread else library.refuse_while
        result = run(program, n, n if mode == "once" else 1 << 40)
    except MemoryError:
        pass
    except BaseException as other:
        if not is_of_cpython(other):
            error = other
    else:
        if result != expected:
            raise Wrong(f"returned {result!r}")
        del result
    refused = library.refuse_count()
    if error:
        raise Wrong(f"raised {error!r}") from error
    sys.settrace(None)
    threading.settrace(None)
    names["settrace"](None)
    if program in (pool, cap):
        copool.configure(**options)
    if program is garbage:
        gc.disable()
    if settle() != kept:
        raise Wrong(f"{settle() - kept} blocks are leaked")
    result = program()
    if result != expected:
        raise Wrong(f"afterwards it returns {result!r}")
    del result
    if settle() != kept:
        raise Wrong(f"afterwards {settle() - kept} blocks are leaked")
    return refused


def leaks(attempt_again, measure, rounds):
    """Whether every one of some rounds leaves more behind."""
    before = measure()
    for _ in range(rounds):
        attempt_again()
        now = measure()
        if now <= before:
            return False
        before = now
    return True


def main(name, mode, step):
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda unraisable: None
    program = globals()[name]
    gc.disable()
    if program is in_thread:
        fill_free_lists()
    expected = program()
    if program() != expected:
        sys.exit("the program doesn't always return the same")
    kept = settle()
    gc.freeze()
    measures = [library.refuse_live]
    if hasattr(sys, "gettotalrefcount"):  # in a debug build
        measures.append(sys.gettotalrefcount)
    n = 1
    while True:
        os.write(1, f"{n}\n".encode())
        again = partial(attempt, library, program, n, mode, expected, kept)
        try:
            if not again():
                break
            for measure in measures:
                if leaks(again, measure, 2) and leaks(again, measure, 8):
                    raise Wrong(f"{measure.__name__}() grows")
        except Wrong as wrong:
            raise Wrong(f"{name}, {mode}, {n}: {wrong}") from wrong
        n += int(step)
    print("end")


def make_interpreter():
    """Make one that shares the GIL and has copool loaded."""
    try:
        import _interpreters as interpreters

        made = interpreters.create("legacy")
    except ImportError:
        import _xxsubinterpreters as interpreters

        made = interpreters.create(isolated=False)
    atexit.register(interpreters.destroy, made)
    interpreters.run_string(made, "import copool; copool.current()")
    return interpreters, made


def make_foreign():
    """Start a thread that keeps a suspended coroutine and greenlet."""
    ready, leave = queue.SimpleQueue(), queue.SimpleQueue()

    def body():
        co = Coroutine(echo)
        co.enter(1)
        g = greenlet(lambda: g.parent.switch())
        g.switch()
        ready.put((co, g))
        leave.get()
        co.close()
        g.throw()

    threading.Thread(target=body, daemon=True).start()
    return ready.get()


if __name__ == "__main__":
    library = load(sys.argv[1], _core.__file__)
    options = _core.options()
    if sys.argv[2] == "foreign":
        other, other_greenlet = make_foreign()
    if sys.argv[2] == "eager_task":
        tasks = sys.modules["asyncio.tasks"] = types.ModuleType("asyncio.tasks")
        tasks.current_task = lambda: tasks.current
    if sys.argv[2] == "interpreters_in_turn":
        interpreters, other_interpreter = make_interpreter()
    main(*sys.argv[2:])
