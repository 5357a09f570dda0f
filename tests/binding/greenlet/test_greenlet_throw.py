"""An exception thrown into a greenlet is raised where it waits, or ends it."""

import gc
import sys
import weakref
from types import SimpleNamespace

import pytest

from copool._core import _greenlet_names

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent


def suspended(order, name="g"):
    """A greenlet that records what ends it."""
    main = getcurrent()

    def body():
        try:
            main.switch()
        except BaseException as error:
            order.append((name, type(error), getcurrent().parent is main))
            raise
        finally:
            order.append((name, "finally"))

    g = greenlet(body)
    g.switch()
    return g


def test_raises_where_it_is_suspended():
    order = []
    g = suspended(order)
    with pytest.raises(KeyError, match="x"):
        g.throw(KeyError("x"))
    assert order == [("g", KeyError, True), ("g", "finally")]
    assert g.dead


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ((ValueError,), ValueError()),
        ((ValueError, 5), ValueError(5)),
        ((ValueError, (1, 2)), ValueError(1, 2)),
        ((ValueError, ValueError(8)), ValueError(8)),
        ((ValueError(3),), ValueError(3)),
        ((ValueError(3), None, None), ValueError(3)),
    ],
)
def test_ways_to_say_what_to_raise(args, result):
    for target in (suspended([]), getcurrent(), greenlet(int)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            target.throw(*args)
        assert caught.value.args == result.args


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1,), "exceptions must be classes, or instances, not int"),
        ((int,), "exceptions must be classes, or instances, not type"),
        ((ValueError(), 1), "instance exception may not have a separate value"),
        ((ValueError, None, 3), "throw\\(\\) third argument must be a traceback"),
        ((1, 2, 3, 4), "throw\\(\\) takes at most 3 arguments \\(4 given\\)"),
    ],
)
def test_what_cannot_be_raised(args, message):
    g = suspended([])
    with pytest.raises(TypeError, match=message):
        g.throw(*args)
    assert not g.dead


def test_the_traceback_is_kept():
    try:
        raise ValueError("origin")
    except ValueError as error:
        traceback = error.__traceback__
    g = suspended([])
    with pytest.raises(ValueError, match="1") as caught:
        g.throw(ValueError, 1, traceback)
    found = []
    tb = caught.value.__traceback__
    while tb:
        found.append(tb)
        tb = tb.tb_next
    assert traceback in found


def test_exit_is_returned_as_a_value():
    order = []
    result = suspended(order).throw()
    assert isinstance(result, api.GreenletExit)
    assert order == [("g", api.GreenletExit, True), ("g", "finally")]
    assert suspended([]).throw(api.GreenletExit, 5).args == (5,)


def test_exit_into_dead_and_pending_ones():
    dead = greenlet(int)
    dead.switch()
    assert isinstance(dead.throw(), api.GreenletExit)
    with pytest.raises(KeyError):
        dead.throw(KeyError)
    ran = []
    pending = greenlet(lambda: ran.append(1))
    assert isinstance(pending.throw(), api.GreenletExit)
    assert pending.dead
    assert not ran


def test_an_exception_goes_to_the_parent():
    order = []
    parent = greenlet(lambda: order.append(getcurrent().parent.switch()))
    parent.switch()
    child = greenlet(lambda: 1 // 0, parent)
    with pytest.raises(ZeroDivisionError):
        child.switch()
    assert parent.dead
    assert not order


def test_dropping_the_last_reference_ends_it():
    order = []
    g = suspended(order)
    del g
    assert order == [("g", api.GreenletExit, True), ("g", "finally")]


def test_dropped_ones_return_control_whoever_is_their_parent():
    main = getcurrent()
    elsewhere = greenlet(lambda: pytest.fail("it must not run"))
    order = []

    def body():
        try:
            main.switch()
        finally:
            order.append(getcurrent().parent)

    g = greenlet(body, elsewhere)
    g.switch()
    del g
    assert order == [main]
    assert not elsewhere.dead


def test_dropped_while_an_exception_is_handled_and_raised():
    order = []

    class Holder:
        pass

    holder = Holder()
    holder.g = suspended(order)

    def fail():
        try:
            raise KeyError("kept")
        finally:
            del holder.g

    with pytest.raises(KeyError, match="kept"):
        fail()
    assert order[-1] == ("g", "finally")


def test_an_error_while_it_is_ended_is_reported(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: reported.append(u.exc_type))
    main = getcurrent()

    def body():
        try:
            main.switch()
        except api.GreenletExit:
            raise KeyError from None

    g = greenlet(body)
    g.switch()
    del g
    assert reported == [KeyError]


def test_one_that_survives_may_go_on():
    main = getcurrent()
    kept = []

    def body():
        try:
            main.switch()
        except api.GreenletExit:
            kept.append(getcurrent())
            kept.append(main.switch())
        return "end"

    g = greenlet(body)
    g.switch()
    del g
    assert not kept[0].dead
    assert kept[0].parent is main
    assert kept[0].switch("later") == "end"
    assert kept[1:] == ["later"]
    # And it is ended like others when it is dropped once more.
    kept.clear()
    g = greenlet(body)
    g.switch()
    del g
    assert len(kept) == 1
    kept.clear()
    gc.collect()


def test_one_that_survives_in_a_subclass_may_go_on():
    class Sub(greenlet):
        pass

    main = getcurrent()
    kept = []
    order = []

    def body():
        while True:
            try:
                main.switch()
            except api.GreenletExit:
                order.append("exit")
                if len(order) > 3:
                    return
                kept.append(getcurrent())

    before = sys.getrefcount(Sub)
    g = Sub(body)
    g.switch()
    del g
    for _ in range(3):
        kept.clear()
    assert order == ["exit"] * 4
    assert sys.getrefcount(Sub) == before


def test_a_cycle_through_its_frames_is_collected():
    order = []
    main = getcurrent()

    def body():
        me = getcurrent()
        other = [me]
        try:
            main.switch()
        finally:
            order.append((type(me), len(other)))

    g = greenlet(body)
    g.switch()
    ref = weakref.ref(g)
    del g
    assert not order
    gc.collect()
    assert order == [(greenlet, 1)]
    assert ref() is None


def test_a_cycle_through_its_callable_is_collected():
    main = getcurrent()

    def make():
        def body():
            main.switch()
            return g

        g = greenlet(body)
        g.switch()
        return weakref.ref(g)

    ref = make()
    gc.collect()
    assert ref() is None


def test_a_cycle_through_attributes_is_collected():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.me = g
    g.switch()
    pending = greenlet(int)
    pending.me = pending
    refs = [weakref.ref(g), weakref.ref(pending)]
    del g, pending
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.usefixtures("collected_by_hand")
def test_collected_in_another_greenlet():
    order = []

    def make():
        g = suspended(order)
        g.me = g

    make()
    greenlet(gc.collect).switch()
    assert order == [("g", api.GreenletExit, False), ("g", "finally")]


def test_the_exit_says_why_it_is_raised_in_one_that_is_dropped():
    def body():
        try:
            main.switch()
        except api.GreenletExit as error:
            said.append(str(error))

    main, said = getcurrent(), []
    for end in (lambda g: g.throw(), lambda g: None):
        g = greenlet(body)
        g.switch()
        end(g)
        del g
    assert said == ["", "Killing the greenlet because all references have vanished."]
