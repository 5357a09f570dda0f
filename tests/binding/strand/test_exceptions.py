"""An exception passes through coroutines as through calls: traceback and context."""

import signal
import sys
import traceback

import pytest

from copool import Coroutine, yield_


def names(error):
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)]


def test_traceback_from_a_coroutine_names_both_sides_in_order():
    def bottom():
        yield_()
        raise KeyError("x")

    def middle():
        bottom()

    def top():
        middle()

    def enterer(co):
        co.enter()

    co = Coroutine(top)
    enterer(co)
    try:
        enterer(co)
    except KeyError as error:
        found = names(error)
    this = "test_traceback_from_a_coroutine_names_both_sides_in_order"
    assert found == [this, "enterer", "top", "middle", "bottom"]


def test_traceback_through_nested_coroutines():
    def inner():
        raise KeyError("x")

    def outer():
        Coroutine(inner).enter()

    try:
        Coroutine(outer).enter()
    except KeyError as error:
        found = names(error)
    assert found == ["test_traceback_through_nested_coroutines", "outer", "inner"]


def test_cause_and_context_cross_the_border():
    def body():
        try:
            raise KeyError("first")
        except KeyError as error:
            yield_()
            raise LookupError("second") from error

    co = Coroutine(body)
    co.enter()
    with pytest.raises(LookupError) as caught:
        co.enter()
    assert repr(caught.value.__cause__) == "KeyError('first')"
    assert caught.value.__context__ is caught.value.__cause__


def test_context_of_one_raised_while_the_enterer_handles_another():
    def body():
        raise KeyError("inside")

    try:
        raise LookupError("outside")
    except LookupError:
        with pytest.raises(KeyError) as caught:
            Coroutine(body).enter()
    assert repr(caught.value.__context__) == "LookupError('outside')"


def test_exc_info_belongs_to_the_chain():
    order = []

    def note(where):
        order.append((where, repr(sys.exc_info()[1])))

    def body():
        note("start")
        try:
            raise KeyError("inside")
        except KeyError:
            note("handling")
            yield_()
            note("handling still")
        note("after")

    co = Coroutine(body)
    co.enter()
    note("outside")
    try:
        raise LookupError("outside")
    except LookupError:
        co.enter()
        note("outside, handling")
    note("end")
    assert order == [
        ("start", "None"),
        ("handling", "KeyError('inside')"),
        ("outside", "None"),
        ("handling still", "KeyError('inside')"),
        ("after", "LookupError('outside')"),
        ("outside, handling", "LookupError('outside')"),
        ("end", "None"),
    ]


def test_exc_info_is_that_of_whoever_enters_now():
    seen = []

    def body():
        while True:
            seen.append(repr(sys.exc_info()[1]))
            yield_()

    def generator():
        while True:
            seen.append(repr(sys.exc_info()[1]))
            yield

    for thing in (Coroutine(body), generator()):
        for error in (KeyError("a"), KeyError("b")):
            try:
                raise error
            except KeyError:
                next(thing)
        next(thing)
        thing.close()
    assert seen == ["KeyError('a')", "KeyError('b')", "None"] * 2


def test_bare_raise_after_a_switch_raises_the_right_one():
    def body(error):
        try:
            raise error
        except KeyError:
            yield_()
            raise

    errors = [KeyError("a"), KeyError("b")]
    coroutines = [Coroutine(body) for _ in errors]
    for co, error in zip(coroutines, errors, strict=True):
        co.enter(error)
    caught = []
    for co in coroutines:
        try:
            co.enter()
        except KeyError as error:
            caught.append(error)
    assert caught == errors


def test_handled_exception_in_a_generator_in_a_coroutine():
    def generator():
        try:
            raise KeyError("g")
        except KeyError:
            yield_()
            yield repr(sys.exc_info()[1])

    def body():
        try:
            raise LookupError("b")
        except LookupError:
            g = generator()
            return next(g), repr(sys.exc_info()[1])

    co = Coroutine(body)
    co.enter()
    assert co.enter() == ("KeyError('g')", "LookupError('b')")
    assert sys.exc_info() == (None, None, None)


def test_exception_group_is_split_inside():
    def body():
        try:
            raise ExceptionGroup("g", [KeyError("a"), LookupError("b"), ValueError()])
        except* KeyError as group:
            yield_(len(group.exceptions))
        except* LookupError as group:
            yield_(len(group.exceptions))

    co = Coroutine(body)
    assert [co.enter(), co.enter()] == [1, 1]
    with pytest.raises(ExceptionGroup) as caught:
        co.enter()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_keyboard_interrupt_is_raised_where_the_program_is():
    order = []

    def body():
        try:
            signal.raise_signal(signal.SIGINT)
            order.append("not here")
        finally:
            order.append("finally")

    co = Coroutine(body)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            co.enter()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (order, co.done, names(caught.value)[1]) == (["finally"], True, "body")


def test_signal_handler_may_switch():
    def handler(number, frame):
        yield_("in the handler")

    def body():
        signal.raise_signal(signal.SIGUSR1)
        return "end"

    co = Coroutine(body)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert [co.enter(), co.enter()] == ["in the handler", "end"]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_exceptions_keep_their_identity_and_notes():
    error = KeyError("x")
    error.add_note("a note")

    def body():
        raise error

    with pytest.raises(KeyError) as caught:
        Coroutine(body).enter()
    assert (caught.value is error, error.__notes__) == (True, ["a note"])


def test_failing_call_of_the_function():
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        Coroutine(lambda: None).enter(1)


def test_system_exit_passes():
    with pytest.raises(SystemExit) as caught:
        Coroutine(sys.exit).enter(3)
    assert caught.value.code == 3
