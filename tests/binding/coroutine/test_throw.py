"""throw() raises an exception where the coroutine is suspended."""

import sys

import pytest

from copool import Coroutine, CoroutineError, CoroutineExit, yield_


def test_is_raised_at_the_yield():
    order = []

    def body():
        try:
            yield_("first")
        except KeyError as error:
            order.append(error.args)
            yield_("second")
        return "end"

    co = Coroutine(body)
    order.append(co.enter())
    order.append(co.throw(KeyError("x")))
    order.append(co.enter())
    assert order == ["first", ("x",), "second", "end"]


def test_comes_back_when_it_is_not_caught():
    co = Coroutine(yield_)
    co.enter()
    error = KeyError("x")
    with pytest.raises(KeyError) as caught:
        co.throw(error)
    assert (caught.value is error, co.state) == (True, "finished")


def test_class_is_called():
    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(KeyError) as caught:
        co.throw(KeyError)
    assert caught.value.args == ()


def test_into_unstarted_runs_no_code():
    order = []
    co = Coroutine(lambda: order.append("ran"))
    with pytest.raises(KeyError):
        co.throw(KeyError("x"))
    alone = object()
    assert (order, co.state) == ([], "finished")
    assert sys.getrefcount(co) == sys.getrefcount(alone)


def test_into_finished_comes_straight_back():
    co = Coroutine(int)
    co.enter()
    with pytest.raises(KeyError):
        co.throw(KeyError("x"))


def test_into_running_and_waiting_is_refused():
    order = []

    def attempt(which):
        try:
            which.throw(KeyError("x"))
        except CoroutineError as error:
            order.append(str(error).split(": ", 1)[1])

    def body():
        attempt(outer)
        attempt(inner)

    outer = Coroutine(lambda: inner.enter())
    inner = Coroutine(body)
    outer.enter()
    assert order == [
        "it waits for a coroutine that it entered; yield until control is back in it",
        "it is running already; only suspended coroutines can be entered, "
        "use copool.yield_() to stop this one",
    ]


@pytest.mark.parametrize("thing", [None, 1, "KeyError", int, object()])
def test_refuses_what_is_no_exception(thing):
    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(TypeError, match="takes an exception or an exception class"):
        co.throw(thing)
    assert co.state == "suspended"
    co.close()


def test_refuses_a_class_that_makes_something_else():
    class Odd(Exception):
        def __new__(cls):
            return 1

    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(TypeError, match="should have returned an exception"):
        co.throw(Odd)
    assert co.state == "suspended"
    co.close()


def test_constructor_that_fails():
    class Failing(Exception):
        def __init__(self):
            raise LookupError("made badly")

    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(LookupError, match="made badly"):
        co.throw(Failing)
    assert co.state == "suspended"
    co.close()


def test_state_is_judged_after_the_exception_was_made():
    order = []

    class Ending(Exception):
        def __init__(self):
            order.append(co.close())

    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(Ending):
        co.throw(Ending)
    assert (order, co.state) == ([None], "finished")


def test_exception_whose_making_suspends_the_thrower():
    class Slow(Exception):
        def __init__(self):
            yield_("making")

    order = []

    def thrower():
        try:
            co.throw(Slow)
        except CoroutineError as error:
            order.append("waits for a coroutine" in str(error))

    co = Coroutine(lambda: (yield_(), a.enter()))
    a = Coroutine(thrower)
    co.enter()
    order.append(a.enter())
    co.enter()
    assert order == ["making", True]


def test_context_is_what_the_coroutine_handles():
    def body():
        try:
            raise LookupError
        except LookupError:
            yield_()

    def generator():
        try:
            raise LookupError
        except LookupError:
            yield

    contexts = []
    for thing in (Coroutine(body), generator()):
        next(thing)
        try:
            thing.throw(KeyError("x"))
        except KeyError as error:
            contexts.append(repr(error.__context__))
    assert contexts == ["LookupError()", "LookupError()"]


def test_context_is_kept_when_nothing_is_handled():
    error = KeyError("x")
    error.__context__ = LookupError("before")
    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(KeyError):
        co.throw(error)
    assert repr(error.__context__) == "LookupError('before')"


def test_handled_exception_thrown_again_is_not_its_own_context():
    def body():
        try:
            yield_()
        except KeyError as error:
            yield_(error)

    co = Coroutine(body)
    co.enter()
    error = co.throw(KeyError("x"))
    with pytest.raises(KeyError):
        co.throw(error)
    assert error.__context__ is None


def test_traceback_grows_by_the_frames_of_the_coroutine():
    def raising():
        raise KeyError("x")

    def inner():
        yield_()

    def body():
        inner()

    co = Coroutine(body)
    co.enter()
    try:
        raising()
    except KeyError as error:
        saved = error
    names = []
    try:
        co.throw(saved)
    except KeyError as error:
        traceback = error.__traceback__
        while traceback:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
    this = "test_traceback_grows_by_the_frames_of_the_coroutine"
    assert names == [this, "body", "inner", this, "raising"]


def test_through_a_chain_of_coroutines():
    order = []

    def inner():
        try:
            yield_("ready")
        except KeyError:
            order.append("inner")
            raise

    def outer():
        co = Coroutine(inner)
        try:
            yield_(co.enter())
        except KeyError as error:
            order.append("outer")
            co.throw(error)

    co = Coroutine(outer)
    order.append(co.enter())
    with pytest.raises(KeyError):
        co.throw(KeyError("x"))
    assert order == ["ready", "outer", "inner"]


def test_exit_by_hand_comes_back():
    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(CoroutineExit):
        co.throw(CoroutineExit)
