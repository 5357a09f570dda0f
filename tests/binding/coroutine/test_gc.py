"""Garbage is found: what is dropped is unwound at once, and cycles are collected."""

import gc
import sys
import threading
import warnings
import weakref

import pytest

import copool
from copool import Coroutine, CoroutineExit, yield_


@pytest.fixture
def unraisable(monkeypatch):
    found = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda u: found.append((type(u.object), u.exc_value))
    )
    yield found
    found.clear()


class Thing:
    pass


def test_dropped_runs_finally_at_once(suspended):
    order = []
    co = suspended(order.append, "finally")
    order.append("drop")
    del co
    order.append("dropped")
    assert order == ["drop", "finally", "dropped"]


def test_dropped_sees_the_exit_and_its_caller():
    order = []

    def body():
        try:
            yield_()
        except CoroutineExit as error:
            order.append((error.args, copool.current().caller is dropper))

    def drop():
        cos.pop()

    co = Coroutine(body)
    co.enter()
    cos = [co]
    del co
    dropper = Coroutine(drop)
    dropper.enter()
    assert order == [((), True)]


def test_dropped_keeps_the_exception_on_its_way():
    def body():
        try:
            yield_()
        except CoroutineExit:
            raise_and_catch()

    def raise_and_catch():
        try:
            raise LookupError
        except LookupError:
            pass

    def holder():
        co = Coroutine(body)
        co.enter()
        raise KeyError("x")

    try:
        holder()
    except KeyError as error:
        error.__traceback__ = None
        found = error
    assert found.args == ("x",)


def test_unstarted_and_finished_are_dropped_silently():
    order = []
    co = Coroutine(lambda: order.append("ran"))
    del co
    co = Coroutine(int)
    co.enter()
    del co
    assert order == []


def through_local():
    def body():
        me = copool.current()
        yield_(me is not None)

    return body


def through_closure():
    def body():
        yield_()
        return co

    co = Coroutine(body)
    return co


def through_argument():
    def body(me):
        yield_()
        return me

    return body


def through_many_arguments():
    def body(*args):
        yield_()
        return args

    return body


def through_deep_local():
    def inner(me):
        yield_()
        return me

    def middle():
        inner(copool.current())

    return lambda: middle()


def through_attribute():
    class Owner:
        def run(self):
            yield_()

    owner = Owner()
    owner.co = Coroutine(owner.run)
    return owner.co


def through_exception():
    def body():
        try:
            raise KeyError(copool.current())
        except KeyError:
            yield_()

    return body


def through_generator():
    def generates(me):
        yield_()
        yield me

    return lambda: next(generates(copool.current()))


def through_frame():
    def body():
        frame = sys._getframe()
        yield_(frame is not None)

    return body


def through_two():
    def body(other):
        yield_()
        return other

    a, b = Coroutine(body), Coroutine(body)
    a.enter(b)
    b.enter(a)
    return a


@pytest.mark.parametrize(
    "make",
    [
        through_local,
        through_closure,
        through_argument,
        through_many_arguments,
        through_deep_local,
        through_attribute,
        through_exception,
        through_generator,
        through_frame,
        through_two,
    ],
)
def test_cycle_is_collected(make):
    before = copool.stats().live
    co = make()
    if not isinstance(co, Coroutine):
        co = Coroutine(co)
    if co.state == "created":
        arguments = {through_argument: 1, through_many_arguments: 9}
        co.enter(*[co] * arguments.get(make, 0))
    ref = weakref.ref(co)
    del co
    gc.collect()
    assert (ref(), copool.stats().live) == (None, before)


@pytest.mark.usefixtures("collected_by_hand")
def test_finally_runs_when_a_cycle_is_collected():
    order = []

    def body():
        me = copool.current()
        try:
            yield_()
        finally:
            order.append(me.state)

    co = Coroutine(body)
    co.enter()
    del co
    assert order == []
    gc.collect()
    assert order == ["running"]


def test_what_is_in_use_is_not_collected():
    def body():
        things = [Thing()]
        things.append(things)
        refs.append(weakref.ref(things[0]))
        yield_()
        return things[0]

    refs = []
    co = Coroutine(body)
    co.enter()
    gc.collect()
    alive = refs[0]()
    assert (alive is not None, co.enter() is alive) == (True, True)


def test_what_waits_is_not_collected():
    def inner():
        gc.collect()
        return [ref() is not None for ref in refs]

    def outer():
        thing = Thing()
        thing.me = thing
        refs.append(weakref.ref(thing))
        del thing
        thing = Thing()
        thing.me = thing
        refs.append(weakref.ref(thing))
        return Coroutine(inner).enter()

    refs = []
    assert Coroutine(outer).enter() == [False, True]


def test_stress_with_a_collection_at_every_allocation():
    def inner(n):
        if n:
            inner(n - 1)
        else:
            yield_([n])

    def body(n):
        me = copool.current()
        things = [me, Thing()]
        for i in range(3):
            inner(n)
            thing = yield_(i)
            things.append(thing)
        return things

    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        kept = []
        for n in range(300):
            co = Coroutine(body)
            co.enter(n % 7)
            if n % 3:
                co.enter()
            if n % 5 == 0:
                kept.append(co)
        for co in kept:
            while not co.done:
                co.enter(Thing())
    finally:
        gc.set_threshold(*before)
    assert [co.state for co in kept] == ["finished"] * 60


def test_get_objects_and_referents():
    thing = Thing()

    def body(value):
        local = value
        yield_()
        return local

    co = Coroutine(body)
    co.enter(thing)
    found = gc.get_referents(co)
    assert (thing in found, body in found) == (True, True)
    assert co in gc.get_referrers(thing)
    assert any(other is co for other in gc.get_objects())
    assert gc.is_tracked(co)
    co.enter()
    assert thing not in gc.get_referents(co)


def test_weakref_callback_comes_after_finally(suspended):
    order = []
    co = suspended(order.append, "finally")
    ref = weakref.ref(co, lambda ref: order.append("callback"))
    weakref.finalize(co, order.append, "finalize")
    del co
    assert (order, ref()) == (["finally", "finalize", "callback"], None)


def test_dropped_after_it_was_garbage_before_it_began():
    class Saves:
        def __del__(self):
            saved.append(self.co)

    def body():
        try:
            yield_()
        finally:
            saved.append("finally")

    saved = []
    thing = Saves()
    thing.co, thing.me = Coroutine(body), thing
    del thing
    gc.collect()
    saved.pop().enter()
    assert saved == ["finally"]


def test_resurrected_in_finally_is_finished():
    kept = []

    def body():
        try:
            yield_()
        finally:
            kept.append(copool.current())

    for _ in range(2):
        co = Coroutine(body)
        co.enter()
        del co
    assert [co.state for co in kept] == ["finished", "finished"]
    kept.clear()


def test_objects_are_used_again_after_a_resurrection():
    """A finalizer runs once for an object, also for one that is recycled."""
    order = []

    def body(n):
        try:
            yield_()
        finally:
            order.append(n)

    for n in range(50):
        co = Coroutine(body)
        co.enter(n)
        del co
    assert order == list(range(50))


def test_exception_while_dropped_is_unraisable(unraisable):
    def body():
        try:
            yield_()
        finally:
            raise KeyError("x")

    co = Coroutine(body)
    co.enter()
    del co
    assert [(kind, repr(error)) for kind, error in unraisable] == [
        (Coroutine, "KeyError('x')")
    ]


def test_drop_within_a_drop():
    order = []

    def inner():
        try:
            yield_()
        finally:
            order.append("inner")

    def outer():
        co = Coroutine(inner)
        co.enter()
        try:
            yield_()
        finally:
            del co
            order.append("outer")

    co = Coroutine(outer)
    co.enter()
    del co
    assert order == ["inner", "outer"]


def test_finalizer_that_switches():
    order = []

    class Switching:
        def __del__(self):
            order.append(yield_("from __del__"))

    def body():
        thing = Switching()
        del thing
        return "end"

    co = Coroutine(body)
    order.append(co.enter())
    order.append(co.enter("answer"))
    assert order == ["from __del__", "answer", "end"]


def test_collection_within_a_coroutine_that_switches():
    order = []

    class Switching:
        def __init__(self):
            self.me = self

        def __del__(self):
            order.append(yield_("from __del__"))

    def body():
        Switching()
        gc.collect()
        return "end"

    co = Coroutine(body)
    order.append(co.enter())
    Thing().me = [Thing() for _ in range(1000)]
    order.append(gc.collect())
    order.append(co.enter("answer"))
    assert order == ["from __del__", 0, "answer", "end"]


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="garbage is collected between bytecodes"
)
def test_finalizer_that_enters_first():
    """Making a thread's context may collect garbage, which may enter."""
    order = []

    def work():
        class Entering:
            def __init__(self, co):
                self.me, self.co = self, co

            def __del__(self):
                order.append(self.co.enter())

        co = Coroutine(lambda: (yield_("first"), yield_("second")))
        copool.current()
        gc.collect()
        Entering(co)
        gc.set_threshold(1)
        order.append(co.enter())
        gc.set_threshold(*before)
        gc.collect()
        while not co.done:
            co.enter()

    before = gc.get_threshold()
    interval = sys.getswitchinterval()
    # Nobody else runs before it is done: that thread would collect its garbage.
    sys.setswitchinterval(100)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*before)
    assert order == ["first", "second"]


def test_frames_keep_no_coroutine_alive():
    co = Coroutine(yield_)
    co.enter()
    ref = weakref.ref(co)
    frame = co.frame
    del co
    assert (ref(), frame) == (None, None)


def test_no_resource_warning_in_normal_use(unraisable):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            co = Coroutine(yield_)
            co.enter()
            del co
        gc.collect()
    assert not unraisable  # as a warning is that is raised where something is freed
