"""on_thread_stack() runs a call on the thread's own stack, in one chain of calls."""

import asyncio
import contextvars
import functools
import gc
import json
import os
import signal
import sys
import threading
import traceback
import weakref

import pytest

import copool
import copool.aio
from copool import Coroutine, CoroutineError, on_thread_stack, yield_
from copool._core import _greenlet_names

greenlet, getcurrent = map(_greenlet_names().get, ("greenlet", "getcurrent"))
GreenletError = _greenlet_names()["error"]

NEAR = 1 << 20


def in_coroutine(fn):
    return Coroutine(fn).enter()


def in_greenlet(fn):
    return greenlet(fn).switch()


def in_task(fn):
    async def main():
        return fn()

    return copool.aio.run(main(), foreign_greenlets=True)


def awaited(fn):
    return asyncio.run(copool.aio.run_sync(fn))


def in_bridge(fn):
    with pytest.raises(StopIteration) as info:
        copool.aio.run_sync(fn).send(None)
    return info.value.value


CHAINS = pytest.mark.parametrize("chain", [in_coroutine, in_greenlet, in_task, awaited])


def in_thread(fn):
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(fn()))
    thread.start()
    thread.join()
    return outcome[0]


def stack_pointer():
    """Where the calling thread stands: another one looks while it waits."""
    ready, told = os.pipe()
    found = []

    def look(thread):
        while len(found) < 1:
            with open(f"/proc/self/task/{thread}/syscall") as file:
                words = file.read().split()
            if len(words) == 9 and words[1] == hex(ready):  # it is in read()
                found.append(int(words[7], 16))
        os.write(told, b"!")

    thread = threading.Thread(target=look, args=[threading.get_native_id()])
    thread.start()
    os.read(ready, 1)
    thread.join()
    os.close(ready)
    os.close(told)
    return found[0]


@pytest.mark.skipif(
    "COPOOL_EMULATED" in os.environ, reason="the kernel sees the emulator's stack"
)
@CHAINS
@pytest.mark.parametrize("where", [lambda fn: fn(), in_thread], ids=["main", "thread"])
def test_runs_below_what_stands_on_the_threads_stack(chain, where):
    def measure():
        plain = stack_pointer()
        own, hosted, after = chain(
            lambda: [stack_pointer(), on_thread_stack(stack_pointer), stack_pointer()]
        )
        return plain, own, hosted, after

    plain, own, hosted, after = where(measure)
    assert abs(own - plain) > NEAR
    assert abs(own - after) < 4096
    assert 0 < plain - hosted < NEAR


def test_is_a_plain_call_where_there_is_no_other_stack():
    assert on_thread_stack(divmod, 7, 2) == (3, 1)
    assert on_thread_stack(sorted, [2, 3], reverse=True) == [3, 2]
    assert on_thread_stack(on_thread_stack, int, "7") == 7
    nested = functools.partial(on_thread_stack, on_thread_stack, stack_pointer)
    assert abs(in_coroutine(nested) - stack_pointer()) < NEAR


@CHAINS
def test_passes_arguments_results_and_exceptions(chain):
    def called(*args, **kwargs):
        return args, kwargs

    result = chain(lambda: on_thread_stack(called, 1, 2, 3, 4, 5, six=6, seven=7))
    assert result == ((1, 2, 3, 4, 5), {"six": 6, "seven": 7})
    error = KeyError("no")

    def failing():
        raise error

    def caught():
        with pytest.raises(KeyError) as info:
            on_thread_stack(failing)
        return info.value

    assert chain(caught) is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ["caught", "failing"]
    with pytest.raises(KeyError):
        chain(lambda: on_thread_stack(failing))


@CHAINS
def test_is_one_chain_of_calls(chain):
    var = contextvars.ContextVar("var", default="outside")

    def called():
        var.set("inside")
        frame = sys._getframe()
        return frame.f_code.co_name, frame.f_back.f_code.co_name, sys.exception()

    def body():
        try:
            raise ValueError
        except ValueError as error:
            names = on_thread_stack(called)
            return (
                names == ("called", "body", error),
                var.get(),
                sys.exception() is error,
            )

    assert chain(body) == (True, "inside", True)


if sys.version_info < (3, 11, 1):
    sys.exception = lambda: sys.exc_info()[1]


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_is_traced_as_a_plain_call_is(kind):
    def called(n):
        return sum([n, 1])

    def body(call):
        return call(called, 1)

    def events(call):
        seen = []

        def tool(frame, event, arg):
            name = frame.f_code.co_name
            if name in ("called", "body") and event in ("call", "return", "exception"):
                seen.append((event, name))
            return tool

        def traced():
            getattr(sys, kind)(tool)
            try:
                body(call)
            finally:
                getattr(sys, kind)(None)

        before = getattr(sys, kind.replace("set", "get"))()
        in_coroutine(traced)
        getattr(sys, kind)(before)
        return seen

    expected = events(lambda fn, *args: fn(*args))
    assert ("call", "called") in expected
    assert events(on_thread_stack) == expected


def test_current_coroutine_is_the_one_that_called():
    co = Coroutine(lambda: on_thread_stack(lambda: (copool.current(), co.state)))
    assert co.enter() == (co, "running")
    inner = Coroutine(lambda: inner.caller)
    outer = Coroutine(lambda: on_thread_stack(inner.enter))
    assert outer.enter() is outer


@pytest.fixture
def small_stack(settings):
    copool.configure(stack_size=768 << 10)


@pytest.mark.usefixtures("small_stack")
@CHAINS
def test_limits_are_those_of_the_thread(chain):
    def nested(levels):
        json.loads("[" * levels + "]" * levels)
        return True

    def most():
        """Levels that are parsed, to within a twentieth."""
        levels = 100
        try:
            while levels < 500_000 and nested(levels):
                levels += levels // 20
        except RecursionError:
            pass
        return levels

    def measure():
        return chain(lambda: [most(), on_thread_stack(most), most()])

    inside, hosted, after = in_thread(measure)
    outside = in_thread(most)
    assert inside == after < hosted
    assert hosted == pytest.approx(outside, rel=0.11)


@pytest.mark.parametrize("chain", [in_coroutine, in_greenlet, in_bridge])
def test_recursion_through_it_ends(chain):
    """Each time in another chain, and all of them on the thread's stack."""

    def recurse():
        return chain(lambda: on_thread_stack(recurse))

    with pytest.raises((RecursionError, copool.PoolExhausted)):
        recurse()


# --- what may not happen ----------------------------------------------------------


def test_yield_is_refused_and_nothing_is_lost():
    def called():
        with pytest.raises(CoroutineError, match="on the thread's own stack") as info:
            yield_(1)
        assert "must return first" in str(info.value)
        assert not copool.in_coroutine()
        return "called"

    def body():
        yield_(copool.in_coroutine())
        got = on_thread_stack(called)
        yield_(copool.in_coroutine())
        return got

    assert list(co := Coroutine(body)) == [True, True]
    assert co.done
    assert Coroutine(lambda: (yield_(), on_thread_stack(called))[1]).enter() is None


def test_switch_to_another_greenlet_is_refused():
    main = getcurrent()
    other = greenlet(lambda: main.switch("other"))
    other.switch()

    def called():
        for method in main.switch, other.switch, main.throw, other.throw:
            with pytest.raises(GreenletError, match=r"copool\.on_thread_stack"):
                method()
        with pytest.raises(GreenletError, match=r"copool\.on_thread_stack"):
            main.switch(1, 2)
        return getcurrent()

    g = greenlet(lambda: on_thread_stack(called))
    assert g.switch() is g
    assert other.switch() == ()


def test_await_is_refused_where_the_task_would_wait():
    async def waits():
        await asyncio.sleep(0)

    def called():
        assert not copool.aio.can_await()
        with pytest.raises(CoroutineError, match="on the thread's own stack"):
            copool.aio.await_(waits())
        return "called"

    def in_coroutines():
        """The one that occupies the stack is below or above that which waits."""
        above = Coroutine(lambda: on_thread_stack(called)).enter()
        below = on_thread_stack(lambda: Coroutine(called).enter())
        copool.aio.await_(waits())
        return above, below

    for chain in in_task, awaited:
        assert chain(lambda: on_thread_stack(called)) == "called"
        assert chain(in_coroutines) == ("called", "called")


def test_what_is_waited_for_without_suspending_works():
    async def ready():
        return 7

    assert in_task(lambda: on_thread_stack(copool.aio.await_, ready())) == 7


# --- what may ---------------------------------------------------------------------


@CHAINS
def test_coroutines_of_its_own_come_back(chain):
    def counter(n):
        for i in range(n):
            yield_(i)
        return "end"

    def called():
        others = [Coroutine(counter) for _ in range(3)]
        order = [co.enter(2) for co in others]
        order += [co.enter() for co in reversed(others)]
        order += [co.enter() for co in others]
        return order

    def body():
        return on_thread_stack(called)

    assert chain(body) == [0, 0, 0, 1, 1, 1, "end", "end", "end"]


def test_coroutine_from_before_goes_on_and_outlives_it():
    co = Coroutine(lambda: [yield_(i) for i in range(4)])
    co.enter()

    def called():
        return co.enter(), co.enter()

    assert Coroutine(lambda: on_thread_stack(called)).enter() == (1, 2)
    assert co.enter() == 3


def test_greenlets_of_its_own_come_back():
    def called():
        mine = getcurrent()

        def ping(value):
            while value < 5:
                value = mine.switch(value + 1)
            return "end"

        g = greenlet(ping)
        return [g.switch(n) for n in (1, 2, 4, 5)], g.dead

    expected = ([2, 3, 5, "end"], True)
    assert in_greenlet(lambda: on_thread_stack(called)) == expected
    assert in_coroutine(lambda: on_thread_stack(called)) == expected
    assert (
        in_greenlet(lambda: in_coroutine(lambda: on_thread_stack(called))) == expected
    )


def test_greenlet_whose_parent_must_wait_ends_in_who_called():
    main = getcurrent()

    def called():
        g = greenlet(lambda: "lost?", parent=main)
        with pytest.raises(GreenletError, match=r"copool\.on_thread_stack"):
            g.switch()
        return g.dead

    g = greenlet(lambda: on_thread_stack(called))
    assert g.switch() is True
    assert g.dead


def test_error_of_a_greenlet_whose_parent_must_wait_is_not_lost():
    error = KeyError("lost?")

    def fails():
        raise error

    def called():
        with pytest.raises(GreenletError) as info:
            greenlet(fails, parent=main).switch()
        return info.value.__context__

    main = getcurrent()
    assert in_greenlet(lambda: on_thread_stack(called)) is error


def test_greenlet_that_is_ended_there_may_use_others_meanwhile():
    ended = []
    main = getcurrent()

    def body():
        try:
            main.switch()
        finally:
            mine = getcurrent()
            ended.append(greenlet(lambda: mine.switch("back") and "end").switch())

    other = [greenlet(body)]
    other[0].switch()
    in_greenlet(lambda: on_thread_stack(other.clear))
    assert ended == ["back"]


def test_greenlet_from_before_that_is_dropped_is_ended_there():
    ended = []
    main = getcurrent()

    def body():
        try:
            main.switch()
        finally:
            ended.append(getcurrent() is not main)

    others = [greenlet(body) for _ in range(3)]
    for other in others:
        other.switch()
    del other

    def called():
        others.clear()
        gc.collect()
        return list(ended)

    assert in_greenlet(lambda: on_thread_stack(called)) == [True] * 3


def test_loop_of_its_own_waits():
    async def main():
        await asyncio.sleep(0)
        return await copool.aio.run_sync(lambda: copool.aio.await_(asyncio.sleep(0, 5)))

    for chain in in_coroutine, in_greenlet:
        assert chain(lambda: on_thread_stack(asyncio.run, main())) == 5


def test_nested_ten_deep():
    pointers = []

    def nest(n):
        pointers.append(stack_pointer())
        if n == 1:
            return 1
        inner = functools.partial(on_thread_stack, nest, n - 1)
        return in_greenlet(inner) + in_coroutine(lambda: 0) + 1

    assert in_coroutine(lambda: on_thread_stack(nest, 10)) == 10
    assert len(pointers) == 10
    assert sorted(pointers, reverse=True) == pointers
    assert pointers[0] - pointers[-1] < NEAR
    assert abs(pointers[0] - stack_pointer()) < NEAR


def test_greenlet_that_began_there_goes_on_elsewhere():
    def called():
        mine = getcurrent()
        begun.append(greenlet(lambda: (mine.switch("begun"), "end")[1]))
        return begun[0].switch()

    begun = []
    assert in_greenlet(lambda: on_thread_stack(called)) == "begun"

    def again():
        with pytest.raises(GreenletError, match=r"copool\.on_thread_stack"):
            begun[0].switch()

    in_greenlet(lambda: on_thread_stack(again))
    assert begun[0].switch() == "end"


def test_greenlet_that_began_in_a_section_within_goes_on():
    def within():
        mine = getcurrent()
        begun.append(greenlet(lambda: (mine.switch("begun"), "end")[1]))
        return begun[0].switch()

    def called():
        assert in_greenlet(lambda: on_thread_stack(within)) == "begun"
        begun[0].parent = getcurrent()
        return begun[0].switch()

    begun = []
    assert in_coroutine(lambda: on_thread_stack(called)) == "end"


# --- ends -------------------------------------------------------------------------


def test_closing_who_called_is_refused():
    def called():
        with pytest.raises(CoroutineError, match="running already"):
            co.close()
        with pytest.raises(CoroutineError, match="running already"):
            co.throw(KeyError)
        with pytest.raises(CoroutineError):
            Coroutine(co.close).enter()
        return "called"

    co = Coroutine(lambda: on_thread_stack(called))
    assert co.enter() == "called"


def test_dropped_and_collected_meanwhile():
    class Thing:
        pass

    things = []

    def called():
        held.clear()
        gc.collect()
        return "called"

    def body(thing):
        thing.me = copool.current()
        things.append(weakref.ref(thing))
        yield_()
        got = on_thread_stack(called)
        yield_(got)

    held = [Coroutine(body)]
    held[0].enter(Thing())
    enter = held[0].enter
    assert enter() == "called"
    assert things[0]() is not None
    del enter
    gc.collect()
    assert things[0]() is None


def test_section_is_over_when_a_greenlet_that_ends_finds_its_heir():
    """Whose result, which nobody can get, ends it."""

    class Result:
        def __del__(self):
            ended.append(caller.switch())

    ended = []
    main = getcurrent()
    begun = greenlet(Result, main)
    caller = greenlet(lambda: main.switch(on_thread_stack(begun.switch)))
    assert caller.switch() == ()
    with pytest.raises(GreenletError, match=r"copool\.on_thread_stack"):
        begun.switch("gone on")
    assert (ended, begun.dead) == (["gone on"], True)


def test_greenlet_that_called_is_not_ended_while_it_must_wait():
    """A greenlet that was switched to is held by who has done so, until control is
    back there; so this one goes on when a child of its ends."""

    def caller():
        main.switch()
        begun = greenlet(lambda: on_thread_stack(drop), main)
        try:
            on_thread_stack(begun.switch)
        except GreenletError:
            order.append("goes on")

    def drop():
        child.parent = main
        held.clear()
        gc.collect()
        order.append("dropped")

    order = []
    main = getcurrent()
    held = [greenlet(caller)]
    held[0].switch()
    child = greenlet(int, held[0])
    child.switch()
    assert order == ["dropped", "goes on"]


@CHAINS
def test_exit_passes_through(chain):
    with pytest.raises(SystemExit):
        chain(lambda: on_thread_stack(sys.exit, 3))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_ends_in_it():
    ended = []

    def body():
        try:
            on_thread_stack(sys.exit)
        finally:
            ended.append(1)

    thread = threading.Thread(target=Coroutine(body).enter)
    thread.start()
    thread.join()
    assert ended == [1]


@CHAINS
def test_signal_handler_runs_and_raises_in_it(chain):
    class Rung(Exception):
        pass

    def handler(number, frame):
        assert on_thread_stack(divmod, 7, 2) == (3, 1)
        raise Rung

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Rung):
            chain(lambda: on_thread_stack(signal.raise_signal, signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, lambda *_: pointers.append(stack_pointer()))
        pointers = []
        chain(lambda: on_thread_stack(signal.raise_signal, signal.SIGUSR1))
        assert abs(pointers[0] - stack_pointer()) < NEAR
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- bad input --------------------------------------------------------------------


class Methods:
    def generator(self):
        yield 1

    async def coroutine(self):
        return 1

    async def both(self):
        yield 1

    @staticmethod
    def static():
        yield 1


@pytest.mark.parametrize(
    "fn",
    [
        Methods.generator,
        Methods().generator,
        Methods().coroutine,
        Methods().both,
        Methods.static,
    ],
)
def test_function_that_runs_nothing_yet_is_refused(fn):
    for call in in_coroutine, lambda body: body():
        with pytest.raises(TypeError, match="runs nothing yet"):
            call(lambda: on_thread_stack(fn))


@pytest.mark.parametrize("thing", [None, 7, "text", []])
def test_what_can_not_be_called_is_refused(thing):
    with pytest.raises(TypeError, match=rf"not {type(thing).__name__}"):
        on_thread_stack(thing)
    with pytest.raises(TypeError, match="not nothing"):
        in_coroutine(on_thread_stack)


def test_in_a_thread_that_is_ending():
    results = []

    class Late:
        def __del__(self):
            results.append(on_thread_stack(divmod, 7, 2))

    local = threading.local()

    def run():
        local.late = Late()
        Coroutine(lambda: on_thread_stack(int)).enter()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    gc.collect()
    assert results == [(3, 1)]
