"""A plain function waits by run_sync() and await_() in the steps of a coroutine.

They are driven by hand, so that each step is seen.
"""

import asyncio
import collections.abc
import contextlib
import contextvars
import copy
import functools
import gc
import importlib
import inspect
import pickle
import re
import signal
import sys
import threading
import types
import typing
import warnings
import weakref

import pytest

import copool
import copool.greenlet
from copool import Coroutine, CoroutineError, _core, yield_
from copool._core import _greenlet_names
from copool.aio import (
    Bridge,
    asyncify,
    atomic,
    await_,
    bridge,
    can_await,
    enter,
    run_sync,
)


class Step:
    """Yields a value to the driver; its result is what that sends."""

    def __init__(self, value=None):
        self.value = value

    def __await__(self):
        return (yield self.value)


async def ready(value=None):
    return value


def finish(awaitable, value=None):
    """Drive to the end, sending `value` at each stop; returns the result."""
    suspended = awaitable.cr_suspended
    try:
        awaitable.send(value if suspended else None)
        while True:
            awaitable.send(value)
    except StopIteration as stop:
        return stop.value


# --- results ---


def call_with(*args, **kwargs):
    return args, kwargs


@pytest.mark.parametrize("n", [0, 1, 4, 5, 300])
def test_arguments_reach_the_function(n):
    args = tuple(range(n))
    kwargs = {f"k{i}": i for i in range(n)}
    assert finish(run_sync(call_with, *args)) == (args, {})
    assert finish(run_sync(call_with, **kwargs)) == ((), kwargs)
    assert finish(run_sync(call_with, *args, **kwargs)) == (args, kwargs)


@pytest.mark.parametrize("result", [None, 0, (1, 2), ValueError("value"), [], ()])
def test_any_result_comes_back_as_it_is(result):
    async def outer():
        return await run_sync(lambda: result)

    assert finish(run_sync(lambda: result)) is result
    assert finish(outer()) is result
    assert finish(run_sync(lambda: await_(ready(result)))) is result
    assert finish(run_sync(lambda: await_(Step())), result) is result


def test_the_end_is_an_end_for_every_way_to_drive():
    assert list(run_sync(int)) == []
    assert list(run_sync(lambda: None)) == []

    def twice():
        yield from run_sync(lambda: await_(Step(1)) or await_(Step(2)))

    assert list(twice()) == [1, 2]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_comes_out_with_its_traceback(error):
    def deep():
        raise error

    def fn():
        await_(Step())
        deep()

    b = run_sync(fn)
    b.send(None)
    with pytest.raises(type(error)) as raised:
        b.send(None)
    assert raised.value is error
    assert [entry.name for entry in raised.traceback][-2:] == ["fn", "deep"]


def test_stop_iteration_does_not_look_like_an_end():
    with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
        run_sync(next, iter(())).send(None)
    assert isinstance(raised.value.__cause__, StopIteration)


def test_stop_iteration_of_an_awaitable_is_its_result():
    class Odd:
        def __await__(self):
            return self

        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration(5)

    assert finish(run_sync(lambda: await_(Odd()))) == 5


# --- suspension ---


def test_what_is_awaited_is_yielded_to_the_driver_and_sent_back():
    def fn():
        return await_(Step("a")), await_(Step("b"))

    b = run_sync(fn)
    assert b.send(None) == "a"
    assert b.send(1) == "b"
    with pytest.raises(StopIteration) as stop:
        b.send(2)
    assert stop.value.value == (1, 2)


def test_any_frame_can_wait():
    """Below a C function, a generator, an operator, an attribute, an import hook."""
    seen = []

    def wait(x):
        seen.append(await_(Step(x)))
        return x

    class Thing:
        def __getattr__(self, name):
            return wait(name)

        def __lt__(self, other):
            return bool(wait("lt"))

        def __eq__(self, other):
            return bool(wait("eq"))

        __hash__ = None

    def fn():
        assert sorted([3, 1, 2], key=wait) == [1, 2, 3]
        assert [x * 2 for x in (wait(i) for i in range(3))] == [0, 2, 4]
        assert Thing().attribute == "attribute"
        assert Thing() < Thing()
        assert Thing() in [Thing()]
        exec("wait('exec')", {"wait": wait})
        return sum(map(wait, range(4)))

    b = run_sync(fn)
    assert finish(b, "sent") == 6
    assert len(seen) == 3 + 3 + 3 + 1 + 4


def test_no_switch_when_nothing_waits():
    b = run_sync(lambda: [await_(ready(i)) for i in range(3)])
    with pytest.raises(StopIteration) as stop:
        b.send(None)
    assert stop.value.value == [0, 1, 2]


def test_bridges_nest():
    def inner():
        return await_(Step("inner"))

    async def middle():
        return await run_sync(inner)

    def outer():
        return await_(run_sync(lambda: await_(middle())))

    b = run_sync(outer)
    assert b.send(None) == "inner"
    assert finish(b, 7) == 7


def test_many_wait_at_once_and_go_on_in_any_order():
    def fn(i):
        return i, await_(Step(i)), await_(Step(-i))

    bridges = [run_sync(fn, i) for i in range(1000)]
    assert [b.send(None) for b in bridges] == list(range(1000))
    bridges.reverse()
    assert [b.send("x") for b in bridges] == [-i for i in reversed(range(1000))]
    assert [finish(b, "y") for b in bridges[::2]] == [
        (i, "x", "y") for i in reversed(range(1, 1000, 2))
    ]


def test_an_exception_is_thrown_where_it_waits():
    log = []

    async def inner():
        try:
            await Step("inner")
        except KeyError as error:
            log.append(error.args)
            return await Step("after")

    def fn():
        return await_(inner())

    b = run_sync(fn)
    assert b.send(None) == "inner"
    assert b.throw(KeyError("k")) == "after"
    assert finish(b, 5) == 5
    assert log == [("k",)]


def test_an_awaitable_without_throw_leaves_the_exception_to_the_caller():
    class Plain:
        def __await__(self):
            return iter([1, 2])

    def fn():
        try:
            await_(Plain())
        except KeyError:
            return "caught"

    b = run_sync(fn)
    assert b.send(None) == 1
    with pytest.raises(StopIteration) as stop:
        b.throw(KeyError)
    assert stop.value.value == "caught"


@pytest.mark.parametrize("how", ["instance", "class", "three"])
def test_throw_takes_what_a_coroutine_takes(how):
    error = KeyError("k")
    args = {
        "instance": (error,),
        "class": (KeyError,),
        "three": (KeyError, error, None),
    }[how]
    for b in (run_sync(await_, Step()), bridge(ready())):
        if b.__name__ == "await_":
            b.send(None)
        with pytest.raises(KeyError):
            b.throw(*args)


def test_throw_before_the_start_runs_nothing():
    called = []
    b = run_sync(called.append, 1)
    with pytest.raises(KeyError):
        b.throw(KeyError("k"))
    with pytest.raises(RuntimeError, match="cannot reuse"):
        b.send(None)
    assert not called


def test_the_exception_that_the_driver_handles_is_seen_and_chained():
    def fn():
        seen.append(sys.exception())
        await_(Step())
        seen.append(sys.exception())
        raise ValueError

    seen = []
    b = run_sync(fn)
    errors = [KeyError("one"), KeyError("two")]
    raised = None
    for error in errors:
        try:
            raise error
        except KeyError:
            try:
                b.send(None)
            except ValueError as end:
                raised = end
    assert raised.__context__ is errors[1]
    assert seen == errors
    assert sys.exception() is None


# --- contexts ---


def test_the_context_is_the_drivers_as_in_a_plain_await():
    var = contextvars.ContextVar("var", default="unset")

    def fn():
        var.set("by the call")
        await_(Step())
        seen.append(var.get())
        var.set("again")

    seen = []
    b = run_sync(fn)
    first, second = contextvars.Context(), contextvars.Context()
    first.run(b.send, None)
    assert first[var] == "by the call"
    second.run(var.set, "second's")
    second.run(finish, b)
    assert seen == ["second's"]
    assert first[var] == "by the call"
    assert second[var] == "again"
    assert var.get() == "unset"


@pytest.mark.parametrize("step", ["send", "throw"])
def test_a_greenlet_without_a_context_gets_one_as_the_driver(step):
    var = contextvars.ContextVar("var", default="unset")

    def call():
        with contextlib.suppress(KeyError):
            await_(Step())
        var.set("set below")

    def drive():
        with contextlib.suppress(StopIteration):
            b.throw(KeyError) if step == "throw" else b.send(None)
        return var.get()

    b = run_sync(call)
    b.send(None)
    assert _greenlet_names()["greenlet"](drive).switch() == "set below"
    assert var.get() == "unset"


def test_a_context_that_the_call_entered_stays_its_own():
    var = contextvars.ContextVar("var", default="unset")

    def inside():
        var.set("inside")
        await_(Step())
        return var.get()

    b = run_sync(lambda: (own.run(inside), var.get()))
    own, driver = contextvars.Context(), contextvars.Context()
    driver.run(b.send, None)
    assert var not in driver
    with pytest.raises(RuntimeError, match="already entered"):
        own.run(int)
    assert driver.run(finish, b) == ("inside", "unset")
    assert own.run(var.get) == "inside"


# --- atomic blocks ---


def test_an_atomic_block_forbids_to_wait_at_any_depth():
    async def waits():
        try:
            await Step()
        finally:
            log.append("closed")

    def fn():
        with atomic():
            assert await_(ready(1)) == 1
            for awaitable in (waits(), run_sync(lambda: await_(waits()))):
                with pytest.raises(CoroutineError, match="in a block of copool"):
                    await_(awaitable)
                assert log.pop() == "closed"
            with atomic():
                pass
            with pytest.raises(CoroutineError, match="in a block of copool"):
                Coroutine(await_).enter(waits())
        return await_(Step())

    log = []
    assert finish(run_sync(fn), 5) == 5
    assert log == ["closed"]


def test_an_atomic_block_ends_with_an_exception_and_may_be_used_again():
    def fn():
        block = atomic()
        for _ in range(2):
            with pytest.raises(KeyError), block:
                raise KeyError
            await_(Step())

    finish(run_sync(fn))
    with atomic(), pytest.raises(CoroutineError, match="no task"):
        await_(ready())


@pytest.mark.parametrize("decorator", [atomic, atomic()], ids=["bare", "called"])
def test_a_function_can_be_atomic(decorator):
    @decorator
    def fn(x, /, *, y=5):
        """Text."""
        with pytest.raises(CoroutineError, match="in a block of copool"):
            await_(Step())
        if x:
            fn(x - 1)
        elif y == 7:
            raise KeyError
        return x, y, await_(ready("ready"))

    class Thing:
        @decorator
        def method(self):
            return fn(2)

        @staticmethod
        @decorator
        def static():
            return fn(0)

    def call():
        results = [fn(1, y=6), Thing().method(), Thing.static()]
        with pytest.raises(KeyError):
            fn(0, y=7)
        return results, await_(Step())

    assert (fn.__name__, fn.__doc__) == ("fn", "Text.")
    results = [(1, 6, "ready"), (2, 5, "ready"), (0, 5, "ready")]
    assert finish(run_sync(call), 9) == (results, 9)


def test_an_atomic_function_may_be_in_several_tasks_at_once():
    @atomic
    def fn(value):
        other = run_sync(call, value - 1) if value else None
        seen.append(can_await())
        if other:
            finish(other)
        return value

    def call(value):
        return fn(value), await_(Step())

    seen = []
    assert finish(run_sync(call, 3), "after") == (3, "after")
    assert seen == [False] * 4


def test_one_atomic_block_in_several_tasks_is_that_of_each():
    async def main(name):
        with block:
            await Step()
            seen.append((name, can_await()))
        seen.append((name, can_await()))
        return await_(Step())

    block, seen = atomic(), []
    first, second = bridge(main("first")), bridge(main("second"))
    first.send(None)
    second.send(None)
    first.send(None)
    second.send(None)
    assert seen == [(n, w) for n in ("first", "second") for w in (False, True)]
    finish(first)
    finish(second)


class Callable:
    async def __call__(self): ...


async def generates():
    yield


def plain_generator():
    yield


@pytest.mark.parametrize(
    "fn",
    [
        *(ready, generates, plain_generator, asyncify(len), Callable()),
        *(functools.partial(ready), functools.partial(plain_generator)),
    ],
)
def test_what_runs_later_cannot_be_atomic(fn):
    for decorator in (atomic, atomic()):
        with pytest.raises(TypeError, match="whose calls run later"):
            decorator(fn)


@pytest.mark.parametrize("thing", [None, 5, int, classmethod(len)])
def test_atomic_decorates_functions(thing):
    with pytest.raises(TypeError, match=r"atomic\(\) decorates functions"):
        atomic(thing)


def test_an_atomic_block_binds_nobody_else():
    def blocks():
        with atomic():
            finish(run_sync(await_, Step()))

    finish(run_sync(blocks))


# --- with coroutines and greenlets ---


def test_a_coroutine_that_is_entered_waits_with_its_enterer():
    def walk():
        for i in range(3):
            yield_(await_(Step(i)))

    def fn():
        nonlocal co
        co = Coroutine(walk)
        return list(co)

    co = None
    b = run_sync(fn)
    assert b.send(None) == 0
    assert co.state == "waiting"
    with pytest.raises(CoroutineError, match=r"waits in await_\(\)"):
        co.enter()
    with pytest.raises(CoroutineError, match=r"waits in await_\(\)"):
        co.close()
    assert b.send("a") == 1
    assert finish(b, "b") == ["a", "b", "b"]


def test_a_coroutine_waits_for_whoever_enters_it_now():
    def fn():
        yield_()
        return await_(Step("waits"))

    co = Coroutine(fn)
    co.enter()
    b = run_sync(co.enter)
    assert b.send(None) == "waits"
    assert finish(b, 3) == 3
    assert co.done


def test_a_coroutine_that_loses_its_task_while_it_awaits():
    async def odd():
        try:
            yield_("away")
            await Step()
        finally:
            log.append("closed")

    log = []
    co = Coroutine(lambda: await_(odd()))
    assert finish(run_sync(co.enter)) == "away"
    with pytest.raises(CoroutineError, match="has gone on without it"):
        co.enter()
    assert log == ["closed"]


def test_yield_and_current_know_that_a_call_is_no_coroutine():
    def fn():
        assert not copool.in_coroutine()
        assert copool.current() is None
        with pytest.raises(CoroutineError, match="outside a coroutine"):
            yield_()

    finish(run_sync(fn))
    co = Coroutine(lambda: finish(run_sync(fn)))
    co.enter()
    assert co.done


def test_await_in_a_greenlet_says_what_to_do():
    greenlet = _greenlet_names()["greenlet"]

    def fn():
        with pytest.raises(CoroutineError, match="inside a greenlet"):
            await_(ready())
        return "done"

    assert finish(run_sync(greenlet(fn).switch)) == "done"


def test_a_greenlet_switch_below_a_call_comes_back_to_it():
    names = _greenlet_names()
    greenlet, getcurrent = names["greenlet"], names["getcurrent"]
    main = getcurrent()
    g = greenlet(lambda: main.switch("from g") + 1)

    def fn():
        first = g.switch()
        await_(Step())
        return first, g.switch(1)

    b = run_sync(fn)
    b.send(None)
    assert getcurrent() is main
    assert finish(b) == ("from g", 2)


# --- misuse ---


async def agen():
    yield 1


AWAITABLES = [lambda: run_sync(int), ready, lambda: agen().asend(None)]


@pytest.mark.parametrize("make", AWAITABLES)
@pytest.mark.parametrize("where", ["thread", "coroutine"])
def test_outside_it_names_the_remedies_and_nothing_else_is_said(
    make, where, unraisable
):
    awaitable = make()
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = await_ if where == "thread" else Coroutine(await_).enter
        with pytest.raises(CoroutineError) as raised:
            call(awaitable)
        del awaitable
        gc.collect()
    assert not unraisable  # as a warning is that is raised where something is freed
    assert "await copool.aio.run_sync(" in str(raised.value)
    assert "copool.aio.run(main())" in str(raised.value)


def test_outside_a_coroutine_that_has_begun_is_left_alone():
    async def twice():
        await Step(1)
        await Step(2)

    co = twice()
    co.send(None)
    with pytest.raises(CoroutineError):
        await_(co)
    assert co.send(None) == 2
    co.close()


def test_outside_an_object_that_can_be_closed_is_left_alone():
    class Connection:
        closed = False

        def __await__(self):
            yield

        def close(self):
            self.closed = True

    connection = Connection()
    with pytest.raises(CoroutineError):
        await_(connection)
    assert not connection.closed


@pytest.mark.parametrize("thing", [None, 5, ready, iter(()), (i for i in ())])
def test_what_is_not_awaitable_is_named(thing):
    with pytest.raises(TypeError, match=f"not {type(thing).__name__}"):
        finish(run_sync(await_, thing))


@pytest.mark.parametrize("returned", [None, [], "coroutine"])
def test_a_bad_await_method_is_named(returned):
    class Bad:
        def __await__(self):
            return coroutine if returned == "coroutine" else returned

    coroutine = ready()
    with pytest.raises(TypeError, match=r"__await__\(\) of Bad returned"):
        finish(run_sync(await_, Bad()))
    coroutine.close()


def test_an_await_method_that_fails_fails_the_wait():
    class Bad:
        def __await__(self):
            raise KeyError

    with pytest.raises(KeyError):
        finish(run_sync(await_, Bad()))


def test_generator_based_coroutines_can_be_awaited():
    @types.coroutine
    def old():
        return (yield 5)

    b = run_sync(lambda: await_(old()))
    assert b.send(None) == 5
    assert finish(b, 6) == 6


def test_a_coroutine_that_somebody_awaits_is_refused():
    async def inner():
        await Step()

    async def outer():
        await co

    co = inner()
    first = outer()
    first.send(None)
    with pytest.raises(RuntimeError, match="being awaited already"):
        finish(run_sync(await_, co))
    first.close()


def test_two_cannot_await_one_call():
    async def wait():
        await b

    b = run_sync(await_, Step())
    first = wait()
    first.send(None)
    with pytest.raises(RuntimeError, match="awaited already"):
        finish(wait())
    with pytest.raises(RuntimeError, match="awaited already"):
        finish(run_sync(await_, b))
    finish(first)
    with pytest.raises(RuntimeError, match="cannot reuse"):
        finish(wait())


def test_a_call_that_is_running_refuses_to_be_driven():
    def fn():
        for act in (b.send, b.throw):
            with pytest.raises(ValueError, match="already executing"):
                act(KeyError() if act == b.throw else None)
        with pytest.raises(ValueError, match="already executing"):
            b.close()

    b = run_sync(fn)
    finish(b)


def test_a_value_cannot_be_sent_before_the_start():
    for b in (run_sync(int), bridge(ready(0))):
        with pytest.raises(TypeError, match="has not started"):
            b.send(1)
        assert finish(b) == 0


def test_another_thread_cannot_go_on():
    b = run_sync(await_, Step())
    b.send(None)
    errors = []

    def work():
        for act in (lambda: b.send(None), lambda: b.throw(KeyError), b.close):
            try:
                act()
            except CoroutineError as error:
                errors.append(str(error))

    thread = threading.Thread(target=work, name="other")
    thread.start()
    thread.join()
    assert len(errors) == 3
    assert all("other" in e and "MainThread" in e for e in errors)
    assert finish(b, 1) == 1


@pytest.mark.parametrize("bad", [None, 5, "text"])
def test_run_sync_wants_a_callable(bad):
    with pytest.raises(TypeError, match=f"not {type(bad).__name__}"):
        run_sync(bad)
    with pytest.raises(TypeError, match="needs the function"):
        run_sync()


@pytest.mark.parametrize("bad", [None, ready, len])
def test_bridge_wants_a_coroutine(bad):
    with pytest.raises(TypeError, match=f"not {type(bad).__name__}"):
        bridge(bad)


@pytest.mark.parametrize(
    "args", [(), (1,), (KeyError(), 1), (KeyError, 1, 2), (1, 2, 3, 4)]
)
def test_throw_refuses_what_cannot_be_raised(args):
    b = run_sync(await_, Step())
    b.send(None)
    with pytest.raises(TypeError):
        b.throw(*args)
    assert finish(b, 2) == 2


def test_a_call_that_is_never_awaited_says_so():
    with pytest.warns(RuntimeWarning, match=r"run_sync.* of .*noop.* never awaited"):
        run_sync(noop)


def test_a_call_that_is_closed_says_nothing(unraisable):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b = run_sync(noop)
        b.close()
        with pytest.raises(RuntimeError, match="cannot reuse"):
            b.send(None)
        del b
    assert not unraisable  # as a warning is that is raised where something is freed


def noop():
    pass


# --- the end ---


def waits(log, name="fn"):
    try:
        await_(Step(name))
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append(name)


def test_close_raises_generator_exit_and_closes_what_is_awaited():
    async def inner():
        try:
            await Step()
        finally:
            log.append("inner")

    def fn():
        try:
            await_(inner())
        except GeneratorExit:
            log.append("fn")
            raise

    log = []
    b = run_sync(fn)
    b.send(None)
    b.close()
    assert log == ["inner", "fn"]
    b.close()


def test_close_passes_on_what_is_raised_instead():
    def fn():
        try:
            await_(Step())
        finally:
            raise KeyError("instead")

    b = run_sync(fn)
    b.send(None)
    with pytest.raises(KeyError, match="instead"):
        b.close()


def test_a_closed_call_cannot_wait_but_finishes():
    async def inner():
        try:
            await Step("inner")
        finally:
            log.append("inner closed")

    def fn():
        try:
            await_(Step())
        finally:
            log.append(await_(ready("no wait is needed")))
            try:
                await_(inner())
            except CoroutineError as error:
                log.append("is being closed" in str(error))

    log = []
    b = run_sync(fn)
    b.send(None)
    b.close()
    assert log == ["no wait is needed", "inner closed", True]


def test_a_closed_coroutine_that_goes_on_is_reported():
    async def stubborn():
        for _ in range(2):
            with contextlib.suppress(GeneratorExit):
                await Step()

    b = bridge(stubborn())
    b.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        b.close()


def test_a_dropped_call_is_closed_at_once():
    log = []
    b = run_sync(waits, log)
    b.send(None)
    del b
    assert log == [GeneratorExit, "fn"]


def test_a_dropped_coroutine_is_closed_below_await():
    async def main():
        waits(log)

    log = []
    b = bridge(main())
    assert b.send(None) == "fn"
    del b
    assert log == [GeneratorExit, "fn"]


def test_a_dropped_coroutine_is_closed_in_a_plain_await_after_one_below():
    async def main():
        await_(Step())
        try:
            await Step()
        finally:
            log.append("finally")

    log = []
    b = bridge(main())
    b.send(None)
    b.send(None)
    del b
    assert log == ["finally"]


def test_an_error_while_a_dropped_call_ends_is_unraisable(unraisable):
    def fn():
        try:
            await_(Step())
        finally:
            raise KeyError

    b = run_sync(fn)
    b.send(None)
    del b
    assert [type(e) for e in unraisable] == [KeyError]


def test_a_cycle_through_a_suspended_call_is_collected():
    class Thing:
        pass

    def fn(thing):
        waits(log)

    log = []
    thing = Thing()
    alive = weakref.ref(thing)
    thing.bridge = run_sync(fn, thing)
    thing.bridge.send(None)
    del thing
    assert alive()
    gc.collect()
    assert not alive()
    assert log == [GeneratorExit, "fn"]


@pytest.mark.parametrize("drives", [False, True])
def test_a_cycle_through_what_is_awaited_is_collected(unraisable, drives):
    """As that of a task with an event that nobody else knows."""

    class Awaited:
        def __await__(self):
            yield

    async def coroutine(awaited):
        await awaited

    async def main():
        fn(log)

    def fn(log, *args):
        try:
            str(await_(coroutine(awaited())))
        finally:
            log.append("finally")

    log = []
    thing = Awaited()
    awaited = weakref.ref(thing)
    thing.bridge = bridge(main()) if drives else run_sync(fn, log)
    thing.bridge.send(None)
    del thing
    assert not log
    gc.collect()
    assert log == ["finally"]
    assert not awaited()
    assert not unraisable


def test_a_cycle_through_a_driven_coroutine_is_collected():
    class Thing:
        pass

    async def main(thing):
        await Step()

    thing = Thing()
    alive = weakref.ref(thing)
    thing.bridge = bridge(main(thing))
    thing.bridge.send(None)
    del thing
    gc.collect()
    assert not alive()


def test_a_cycle_through_a_local_of_a_driven_coroutine_is_collected():
    class Thing:
        pass

    async def main(thing):
        await_(Step())
        return thing

    thing = Thing()
    alive = weakref.ref(thing)
    thing.bridge = bridge(main(thing))
    thing.bridge.send(None)
    del thing
    gc.collect()
    assert not alive()


def test_dropped_after_it_was_garbage_before_it_began():
    class Saves:
        def __del__(self):
            saved.append(self.bridge)

    def fn():
        try:
            await_(Step())
        finally:
            saved.append("finally")

    def make_garbage():
        thing = Saves()
        thing.bridge, thing.me = run_sync(fn), thing
        del thing
        gc.collect()

    saved = []
    with pytest.warns(RuntimeWarning, match="never awaited"):
        make_garbage()
    saved.pop().send(None)
    assert saved == ["finally"]


def test_dropped_in_another_thread_it_ends_in_its_own():
    def fn():
        try:
            await_(Step())
        finally:
            idents.append(threading.get_ident())

    idents = []
    box = [run_sync(fn)]
    box[0].send(None)
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    finish(run_sync(noop))
    assert idents == [threading.get_ident()]


def test_a_thread_that_ends_closes_its_calls():
    def work():
        b = run_sync(waits, log)
        b.send(None)
        kept.append(b)

    log, kept = [], []
    live = copool.stats().live
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert log == [GeneratorExit, "fn"]
    assert copool.stats().live == live
    with pytest.raises(RuntimeError, match="cannot reuse"):
        kept[0].send(None)


# --- finalizers and signals ---


def test_a_finalizer_below_a_call_can_wait():
    class Thing:
        def __del__(self):
            log.append(await_(Step("in __del__")))

    def fn():
        thing = Thing()
        del thing
        return "after"

    log = []
    b = run_sync(fn)
    assert b.send(None) == "in __del__"
    assert finish(b, 8) == "after"
    assert log == [8]


def test_a_finalizer_outside_reports_the_error_only(unraisable):
    class Thing:
        def __del__(self):
            await_(ready())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Thing()
    assert [type(e) for e in unraisable] == [CoroutineError]


def test_a_finalizer_that_the_collector_calls_cannot_wait(unraisable):
    class Thing:
        def __init__(self):
            self.me = self

        def __del__(self):
            log.append(await_(ready("no wait")))
            log.append(finish(run_sync(await_, Step()), "own driver"))
            await_(Step())

    def fn():
        Thing()
        gc.collect()
        await_(Step())
        return "after"

    log = []
    gc.collect()
    b = run_sync(fn)
    b.send(None)
    assert finish(b) == "after"
    assert log == ["no wait", "own driver"]
    assert ["garbage collector" in str(e) for e in unraisable] == [True]


def test_a_collection_in_another_thread_keeps_nobody_from_waiting():
    class Thing:
        def __init__(self):
            self.me = self

        def __del__(self):
            collecting.set()
            waited.wait(10)

    def work():
        Thing()
        gc.collect()

    def fn():
        thread.start()
        assert collecting.wait(10)
        return await_(Step("waits"))

    collecting, waited = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    gc.collect()
    b = run_sync(fn)
    try:
        assert b.send(None) == "waits"
    finally:
        waited.set()
        thread.join()
    assert finish(b, "end") == "end"


def test_a_signal_handler_below_a_call_can_wait():
    def handler(number, frame):
        log.append(await_(Step("in the handler")))

    def fn():
        signal.raise_signal(signal.SIGUSR1)
        return "after"

    log = []
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        b = run_sync(fn)
        assert b.send(None) == "in the handler"
        assert finish(b, 9) == "after"
        assert log == [9]
        with pytest.raises(CoroutineError, match="no task can wait"):
            fn()
    finally:
        signal.signal(signal.SIGUSR1, before)


# --- stacks ---


def test_stacks_are_kept_between_steps():
    copool.trim()
    live = copool.stats().live
    for _ in range(1000):
        finish(run_sync(noop))
    assert copool.stats().live == live + 1
    bridges = [run_sync(await_, Step()) for _ in range(100)]
    for b in bridges:
        b.send(None)
    assert copool.stats().live == live + 100
    for b in bridges:
        finish(b)
    assert live < copool.stats().live <= live + 20
    copool.trim()
    assert copool.stats().live == live


def test_a_driven_coroutine_occupies_a_stack_only_below_await():
    async def main():
        await Step()
        await_(Step())

    copool.trim()
    live = copool.stats().live
    bridges = [bridge(main()) for _ in range(50)]
    for b in bridges:
        b.send(None)
    assert copool.stats().live == live + 1
    for b in bridges:
        b.send(None)
    assert copool.stats().live == live + 50
    for b in bridges:
        finish(b)


def test_stacks_of_an_old_pool_are_not_kept():
    finish(run_sync(noop))
    size = copool.stats().stack_size
    try:
        copool.configure(stack_size=size * 2)
        b = run_sync(await_, Step())
        b.send(None)
        assert copool.stats().live_retired == 0
        finish(b)
        b = run_sync(await_, Step())
        b.send(None)
        copool.configure(stack_size=size)
        assert finish(b, 4) == 4
        assert copool.stats().live_retired == 0
    finally:
        copool.configure(stack_size=size)


def test_no_stack_fails_the_step_and_it_may_be_tried_again():
    copool.trim()
    before = copool.stats().max_blocks
    copool.configure(max_blocks=1)
    try:
        holder = Coroutine(yield_)
        holder.enter()
        b, d = run_sync(int), bridge(ready(1))
        for act in (b.send, d.send):
            with pytest.raises(copool.PoolExhausted):
                act(None)
        with pytest.raises(copool.PoolExhausted):
            d.throw(KeyError("lost"))
        holder.close()
        assert finish(b) == 0
        assert finish(d) == 1
    finally:
        copool.configure(max_blocks=before)


def test_recursion_through_many_stacks_ends():
    def deeper():
        return await_(run_sync(deeper))

    with pytest.raises(RecursionError):
        finish(run_sync(deeper))

    async def anywhere():
        return await bridge(anywhere())

    with pytest.raises(RecursionError):
        finish(anywhere())


def test_a_call_has_what_is_left_of_the_limit():
    def depth():
        try:
            return 1 + depth()
        except RecursionError:
            return 1

    def descend(n):
        return descend(n - 1) if n else finish(run_sync(depth))

    assert abs(descend(100) + 100 - descend(0)) < 10


@pytest.mark.parametrize(("context", "inside"), [(None, 1), ("shared", 2)])
def test_what_waits_in_the_driver_s_context_goes_on_in_that_of_the_next(
    context, inside
):
    def inner():
        await_(Step())
        seen.append(var.get())

    def call():
        Coroutine(inner, context=context).enter()
        seen.append(var.get())
        await_(Step())
        seen.append(var.get())

    def drive(value):
        context = contextvars.Context()
        context.run(var.set, value)
        return context.run(next, b, "end")

    var = contextvars.ContextVar("var")
    seen = []
    b = run_sync(call)
    drive(1)
    drive(2)
    assert drive(3) == "end"
    assert seen == [inside, 2, 3]


def test_a_context_entered_below_stays_when_the_driver_has_it_too():
    def call():
        def inside():
            var.set("inside")
            co.enter()
            seen.append([await_(Step()), var.get()])
            seen.append([await_(Step()), var.get()])
            seen.append([await_(Step()), var.get()])

        contextvars.copy_context().run(inside)
        seen.append([await_(Step()), var.get()])
        return var.get()

    def drive():  # in the context that inside() has entered
        yield_()
        assert var.get() == "inside"
        b.send(1)

    var = contextvars.ContextVar("var", default="outside")
    seen = []
    co, b = Coroutine(drive), run_sync(call)
    b.send(None)
    co.enter()
    b.send(2)
    elsewhere = contextvars.Context()
    elsewhere.run(var.set, "elsewhere")
    elsewhere.run(b.send, 3)
    assert finish(b, 4) == "outside"
    assert seen == [[1, "inside"], [2, "inside"], [3, "inside"], [4, "outside"]]


def test_no_reference_is_left_over():
    async def main(thing):
        await Step(thing)
        await_(Step(thing))
        return thing

    def fn(*args, **kwargs):
        fn(*args) if kwargs else None
        await_(Step(thing))
        return thing

    def fail(thing):
        await_(Step(thing))
        raise error

    def use():
        for b in (
            run_sync(fn, thing, key=thing),
            run_sync(fn, *[thing] * 9),
            run_sync(await_, main(thing)),
            bridge(main(thing)),
            run_sync(fail, thing),
        ):
            with contextlib.suppress(KeyError):
                context.run(finish, b, thing)
            b = run_sync(fn, thing)
            context.run(b.send, None)
            with contextlib.suppress(KeyError):
                b.throw(error)
            b = bridge(main(thing))
            b.send(None)
            with contextlib.suppress(KeyError):
                b.throw(error)
        error.__traceback__ = error.__context__ = None

    thing, error, context = object(), KeyError(), contextvars.Context()
    use()
    counts = [sys.getrefcount(x) for x in (thing, error, context)]
    for _ in range(10):
        use()
    assert [sys.getrefcount(x) for x in (thing, error, context)] == counts


# --- the object ---


def test_it_is_a_coroutine_to_those_who_ask():
    b = run_sync(await_, Step())
    assert isinstance(b, collections.abc.Coroutine)
    assert asyncio.iscoroutine(b)
    assert b.__qualname__ == "await_"
    assert weakref.ref(b)() is b
    with pytest.raises(TypeError):
        type(b)()
    b.close()


def test_it_shows_where_it_waits():
    def fn():
        inner()

    def inner():
        await_(step)

    step = Step()
    b = run_sync(fn)
    assert "created" in repr(b)
    assert b.cr_code is fn.__code__
    b.send(None)
    assert b.cr_frame.f_code is fn.__code__
    assert b.cr_frame.f_back is None
    assert b.cr_code is fn.__code__
    call = b.cr_await
    assert call.cr_frame.f_code is inner.__code__
    assert call.cr_frame.f_back is b.cr_frame
    assert call.cr_code is inner.__code__
    assert call.cr_await.__name__ == "__await__"
    assert (b.cr_running, b.cr_suspended, b.cr_origin) == (False, True, None)
    assert f"of {fn.__qualname__}, suspended" in repr(b)
    finish(b)
    assert (b.cr_running, b.cr_suspended, b.cr_frame) == (False, False, None)
    assert f"of {fn.__qualname__}, finished" in repr(b)


class Asks:
    """What Python's own modules say of a coroutine that calls `ask` and waits."""

    def __init__(self):
        self.said = []

    def ask(self, b):
        frame = b.cr_frame
        self.said.append(
            (
                inspect.getcoroutinestate(b),
                inspect.getcoroutinelocals(b).get("x"),
                b.cr_running,
                b.cr_suspended,
                b.cr_code is not None,
                frame and (frame.f_code.co_name, frame.f_code.co_filename),
                frame and frame.f_lineno - b.cr_code.co_firstlineno,
                type(b.cr_await).__name__,
                b.cr_origin,
                re.sub("0x[0-9a-f]+", "", b.__qualname__ + b.__name__),
                asyncio.coroutines._format_coroutine(b).split(":")[0],
                inspect.isawaitable(b),
                asyncio.iscoroutine(b),
                [isinstance(b, kind) for kind in KINDS],
            )
        )


KINDS = (
    *(collections.abc.Coroutine, collections.abc.Awaitable, collections.abc.Hashable),
    *(collections.abc.AsyncIterator, collections.abc.Callable, typing.Coroutine),
)


def asked(make, wait, asks):
    """Return what is said in each state of what calls `fn`, made by `make`."""

    async def coroutine(x):
        asks.ask(b)
        await Step()

    def call(x):
        asks.ask(b)
        await_(Step())

    async def calls(x):
        asks.ask(b)
        await_(Step())

    fn = {"coroutine": coroutine, "call": call, "calls": calls}[wait]
    fn.__name__ = fn.__qualname__ = "fn"
    fn.__code__ = fn.__code__.replace(co_name="fn")
    b = make(fn)
    asks.ask(b)
    b.send(None)
    asks.ask(b)
    with contextlib.suppress(StopIteration):
        b.send(None)
    asks.ask(b)
    b = make(fn)
    b.close()
    asks.ask(b)
    return asks.said


@pytest.mark.parametrize(
    ("make", "wait"),
    [
        (lambda fn: bridge(fn(1)), "coroutine"),
        (lambda fn: bridge(fn(1)), "calls"),
        (lambda fn: run_sync(fn, 1), "call"),
        (lambda fn: run_sync(fn, x=1), "call"),
        (lambda fn: asyncify(fn)(1), "call"),
    ],
    ids=["driven", "driven and waits", "called", "called by keyword", "asyncify"],
)
def test_each_state_is_told_as_of_a_coroutine(make, wait):
    plain = asked(lambda fn: fn(1), "coroutine", Asks())
    assert [state for state, *_ in plain] == [
        *("CORO_CREATED", "CORO_RUNNING", "CORO_SUSPENDED", "CORO_CLOSED"),
        "CORO_CLOSED",
    ]
    assert asked(make, wait, Asks()) == plain


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (int, "int"),
        (functools.partial(int, "5"), "partial"),
        ([].copy, "copy"),
    ],
    ids=["type", "partial", "method"],
)
def test_each_state_of_a_call_of_c_code_is_told(fn, name):
    b = run_sync(fn)
    assert inspect.getcoroutinestate(b) == "CORO_CREATED"
    assert inspect.getcoroutinelocals(b) == {}
    assert (b.__name__, b.cr_code, b.cr_frame.f_code.co_name) == (name, None, name)
    assert asyncio.coroutines._format_coroutine(b).startswith(b.__qualname__)
    finish(b)
    assert inspect.getcoroutinestate(b) == "CORO_CLOSED"
    assert (b.__name__, b.cr_frame) == (name, None)


def test_the_arguments_of_a_call_that_has_not_begun_are_shown():
    class Thing:
        def method(self, a, /, b, *args, c=3, d=4, **more):
            inner = lambda: (a, args)  # noqa: E731
            return inner, thing

    thing = Thing()
    b = run_sync(thing.method, 1, 2, 5, 6, d=7, e=8)
    assert inspect.getcoroutinelocals(b) == {
        **{"self": thing, "a": 1, "b": 2, "args": (5, 6), "c": 3, "d": 7},
        "more": {"e": 8},
    }
    b.close()
    b = run_sync(thing.method)  # which will fail
    assert inspect.getcoroutinelocals(b) == {}
    b.close()


def test_the_frame_of_a_call_that_runs_is_its_own():
    def fn():
        frames.append(sys._getframe())
        inner()

    def inner():
        shown = Coroutine(lambda: b.cr_frame).enter(), b.cr_frame
        assert shown == (frames[0], frames[0])

    frames = []
    b = run_sync(fn)
    finish(b)
    assert len(frames) == 1


def test_it_can_be_renamed_as_a_coroutine():
    def fn():
        await_(Step())

    for b in (run_sync(fn), bridge(ready())):
        b.__name__, b.__qualname__ = "other", "of.other"
        for wrong in (5, None):
            with pytest.raises(TypeError, match="__name__ must be set to a string"):
                b.__name__ = wrong
        with pytest.raises(TypeError, match="__qualname__ must be set to a string"):
            del b.__qualname__
        assert (b.__name__, b.__qualname__) == ("other", "of.other")
        assert "of of.other, created" in repr(b)
        finish(b)
        assert (b.__name__, b.__qualname__) == ("other", "of.other")


def test_a_finished_call_keeps_its_names_and_lets_its_function_go():
    class Thing:
        def method(self):
            return None

    def decorated():
        return None

    decorated.__name__ = decorated.__qualname__ = "as it was"
    thing = Thing()
    alive = [weakref.ref(x) for x in (thing, decorated)]
    calls = [run_sync(thing.method), run_sync(decorated), run_sync(lambda: None)]
    for b in calls:
        with contextlib.suppress(StopIteration):
            b.send(None)
    del thing, decorated
    gc.collect()
    assert [x() for x in alive] == [None, None]
    assert [b.__name__ for b in calls] == ["method", "as it was", "<lambda>"]
    assert [b.cr_code.co_name for b in calls] == ["method", "decorated", "<lambda>"]


@pytest.fixture
def origins():
    sys.set_coroutine_origin_tracking_depth(2)
    yield
    sys.set_coroutine_origin_tracking_depth(0)


@pytest.mark.usefixtures("origins")
def test_where_it_was_made_is_noted_as_of_a_coroutine():
    def both():
        return ready(), run_sync(noop)

    plain, b = both()
    assert b.cr_origin == plain.cr_origin
    assert bridge(plain).cr_origin == plain.cr_origin
    assert [name for _, _, name in b.cr_origin] == [
        "both",
        "test_where_it_was_made_is_noted_as_of_a_coroutine",
    ]
    plain.close()
    b.close()


@pytest.mark.usefixtures("origins")
def test_a_call_that_is_never_awaited_says_where_it_was_made():
    def make():
        run_sync(noop)

    with pytest.warns(RuntimeWarning, match="never awaited") as caught:
        make()
    text = str(caught[0].message)
    lines = text.splitlines()
    assert lines[0].endswith("was never awaited")
    assert lines[1] == "Coroutine created at (most recent call last)"
    assert [line.strip() for line in lines[2:]][1::2][-1:] == ["run_sync(noop)"]
    assert lines[-2].endswith(", in make")


def test_throw_takes_three_arguments_as_a_coroutine_does():
    def trace():
        try:
            raise KeyError("first")
        except KeyError as error:
            return error, error.__traceback__

    error, traceback = trace()

    async def waits():
        await Step()

    for make in (waits, lambda: bridge(waits()), lambda: run_sync(await_, Step())):
        for args in [
            *((KeyError, "value"), (KeyError, "value", traceback)),
            *((KeyError, error, None), (error, None, traceback), (KeyError, None)),
        ]:
            b = make()
            b.send(None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with pytest.raises(KeyError) as raised:
                    b.throw(*args)
            if args[-1] is traceback:
                names = [entry.name for entry in raised.traceback]
                assert names[-1] == "trace"


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_is_under_way_is_not_copied(act):
    b = run_sync(noop)
    with pytest.raises(TypeError, match=r"cannot pickle or copy <copool.aio.Bridge of"):
        act(b)
    b.close()
    with pytest.raises(TypeError, match=r"cannot pickle 'copool.Coroutine'"):
        act(Coroutine(noop))
    with pytest.raises(TypeError, match="make another one"):
        act(atomic())


def test_types_take_what_type_checkers_are_told():
    for kind in (Coroutine, Bridge, enter):
        alias = kind[int]
        assert typing.get_origin(alias) is kind
        assert typing.get_args(alias) == (int,)

    def fn(a: "Coroutine[int]", b: "Bridge[str] | None") -> "enter[bytes]": ...

    assert typing.get_type_hints(fn) == {
        **{"a": Coroutine[int], "b": Bridge[str] | None},
        "return": enter[bytes],
    }


def test_each_type_is_found_under_its_name():
    def fn():
        inner()

    def inner():
        await_(Step())

    b = run_sync(fn)
    b.send(None)
    values = [b, type(b), b.cr_await, Coroutine(noop), atomic(), copool.stats()]
    values += [copool.stats().chains, copool.stats().chains.greenlets]
    values += [copool.profile(), copool.watch, CoroutineError(), copool.PoolExhausted()]
    values += [value() for value in (copool.CoroutineExit,)]
    kinds = {type(value) for value in values} | {
        value for value in vars(_core).values() if isinstance(value, type)
    }
    assert type(type(b)) is _core.BridgeType  # which may have names for its types only
    for kind in kinds - {type(copool.watch), type(fn), _core.BridgeType}:
        found = importlib.import_module(kind.__module__)
        for name in kind.__qualname__.split("."):
            found = getattr(found, name)
        assert found is kind
    finish(b)


@pytest.mark.parametrize("module", [copool, copool.aio, copool.greenlet])
def test_all_annotations_are_found(module):
    for name in module.__all__:
        thing = getattr(module, name)
        for found in (thing, *getattr(thing, "__dict__", {}).values()):
            if isinstance(found, type) or inspect.isfunction(found):
                typing.get_type_hints(found)


def followed(awaited):
    """Return what tools find that follow cr_await, and what is at the end."""
    names = []
    while hasattr(awaited, "cr_await"):
        if awaited.cr_frame:
            names.append(awaited.cr_frame.f_code.co_name)
            assert awaited.cr_code is awaited.cr_frame.f_code
        awaited = awaited.cr_await
    return names, awaited


def test_whoever_follows_what_is_awaited_sees_the_whole_chain():
    async def main():
        await middle()

    async def middle():
        sorted([1], key=calls)

    def calls(_):
        list(generator())

    def generator():
        yield Coroutine(enters).enter()

    def enters():
        await_(inner())

    async def inner():
        await run_sync(leaf)

    def leaf():
        await_(step)

    step = Step()
    b = bridge(main())
    assert followed(b) == (["main"], None)
    b.send(None)
    names, end = followed(b)
    assert names == [
        *("main", "middle", "calls", "generator", "enters", "inner", "leaf")
    ]
    assert end.__name__ == "__await__"
    finish(b)


def test_a_chain_without_a_frame_shows_what_it_awaits():
    b = run_sync(await_, Step())
    b.send(None)
    assert (b.cr_frame.f_code.co_name, b.cr_frame.f_back) == ("await_", None)
    assert b.cr_await.__name__ == "__await__"
    assert b.__name__ == "await_"
    finish(b)


def test_its_type_has_the_name_of_the_library():
    kind = Bridge
    assert (kind.__name__, kind.__qualname__) == ("Bridge", "Bridge")
    assert kind.__module__ == "copool.aio"
    assert repr(kind) == "<class 'copool.aio.Bridge'>"
    with pytest.raises(TypeError):
        kind.x = 1


def test_one_that_drives_shows_its_coroutine():
    async def main():
        await step
        await_(step)

    step = Step()
    co = main()
    b = bridge(co)
    assert bridge(b) is b
    assert (b.__name__, b.cr_code) == ("main", main.__code__)
    b.send(None)
    assert b.cr_frame is co.cr_frame
    assert b.cr_await is co.cr_await
    b.send(None)
    assert b.cr_frame.f_code is main.__code__
    finish(b)
    assert b.__qualname__ == co.__qualname__


def test_can_await_is_false_where_it_would_be_refused():
    def fn():
        with atomic():
            return can_await()

    assert finish(run_sync(fn)) is False


def test_can_await_tells_whether_it_can():
    assert not can_await()
    assert finish(run_sync(can_await))
    assert finish(run_sync(lambda: Coroutine(can_await).enter()))
    assert not finish(run_sync(_greenlet_names()["greenlet"](can_await).switch))
