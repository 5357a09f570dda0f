"""Greenlets and coroutines mix in one thread, and neither loses its place.

A coroutine that a greenlet enters is part of the greenlet while it runs, as a
generator would be.
"""

import contextvars
import gc
import sys
import weakref
from types import SimpleNamespace

import pytest

import copool
from copool import Coroutine, CoroutineError, yield_
from copool._core import _greenlet_names

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent


def test_a_greenlet_switches_away_inside_a_coroutine():
    order = []
    main = getcurrent()

    def inside():
        order.append(getcurrent() is g)
        order.append(main.switch("from the coroutine"))
        yield_("yielded")
        return "ended"

    def body():
        co = Coroutine(inside)
        return [co.enter(), co.enter()]

    g = greenlet(body)
    assert g.switch() == "from the coroutine"
    assert getcurrent() is main
    assert copool.current() is None
    assert g.switch("back") == ["yielded", "ended"]
    assert order == [True, "back"]


def test_a_coroutine_is_entered_by_one_greenlet_after_another():
    main = getcurrent()

    def inside():
        seen = []
        while True:
            seen.append(getcurrent())
            yield_(seen)

    co = Coroutine(inside)
    g = greenlet(co.enter)
    h = greenlet(co.enter)
    g.switch()
    h.switch()
    assert co.enter() == [g, h, main]
    co.close()


def test_a_greenlet_begun_in_a_coroutine_returns_there():
    def inside():
        g = greenlet(lambda x: x + 1)
        assert g.parent is main
        return g.switch(1)

    main = getcurrent()
    assert Coroutine(inside).enter() == 2


def test_yield_in_a_greenlet_does_not_reach_the_coroutine_around_it():
    def body():
        assert not copool.in_coroutine()
        assert copool.current() is None
        with pytest.raises(CoroutineError, match="outside a coroutine"):
            yield_()
        return 5

    def inside():
        assert copool.in_coroutine()
        return greenlet(body).switch()

    assert Coroutine(inside).enter() == 5


def test_a_coroutine_that_waits_in_a_suspended_greenlet_is_not_entered():
    main = getcurrent()
    co = Coroutine(lambda: main.switch())
    g = greenlet(co.enter)
    g.switch()
    assert co.state == "waiting"
    for do in (co.enter, co.close, lambda: co.throw(KeyError)):
        with pytest.raises(CoroutineError, match="waits in a greenlet that is susp"):
            do()
    g.switch()
    assert co.done


def test_an_exception_passes_through_both():
    main = getcurrent()
    order = []

    def inside():
        try:
            main.switch()
        except KeyError:
            order.append("coroutine")
            raise

    def body():
        try:
            Coroutine(inside).enter()
        except KeyError:
            order.append("greenlet")
            raise

    g = greenlet(body)
    g.switch()
    with pytest.raises(KeyError):
        g.throw(KeyError)
    assert order == ["coroutine", "greenlet"]


def test_a_dropped_greenlet_ends_the_coroutine_it_is_in():
    main = getcurrent()
    order = []

    def inside():
        try:
            main.switch()
        finally:
            order.append("coroutine")

    def body():
        try:
            Coroutine(inside).enter()
        finally:
            order.append("greenlet")

    g = greenlet(body)
    g.switch()
    del g
    assert order == ["coroutine", "greenlet"]


def test_a_dropped_coroutine_ends_and_its_greenlets_with_it():
    order = []

    def inside():
        g = greenlet(body)
        g.switch()
        try:
            yield_()
        finally:
            order.append("coroutine")
            del g

    def body():
        try:
            getcurrent().parent.switch()
        finally:
            order.append("greenlet")

    co = Coroutine(inside)
    co.enter()
    del co
    assert order == ["coroutine", "greenlet"]


def test_a_finally_that_switches_greenlets_while_a_coroutine_is_closed():
    order = []
    hub = greenlet(lambda: order.append("hub") or "value")

    def inside():
        try:
            yield_()
        finally:
            order.append(hub.switch())

    co = Coroutine(inside)
    co.enter()
    co.close()
    assert order == ["hub", "value"]


def test_the_main_greenlet_waits_in_a_coroutine():
    order = []
    main = getcurrent()

    def inside():
        order.append(g.switch())
        order.append(yield_())

    g = greenlet(lambda: main.switch(main.gr_frame.f_code.co_name))
    co = Coroutine(inside)
    co.enter()
    co.enter("entered")
    assert order == ["inside", "entered"]
    assert g.switch() is not None


def test_nested_in_turns():
    order = []

    def level(n):
        order.append(n)
        if n == 0:
            order.append(getcurrent())
            return main.switch("deep")
        if n % 2:
            return Coroutine(level).enter(n - 1)
        return greenlet(level).switch(n - 1)

    main = getcurrent()
    top = greenlet(level)
    assert top.switch(6) == "deep"
    innermost = order.pop()
    assert order == [6, 5, 4, 3, 2, 1, 0]
    assert innermost.switch("out") == "out"
    assert top.dead
    assert innermost.dead


def test_contexts_are_those_of_the_greenlet():
    var = contextvars.ContextVar("var", default=None)
    main = getcurrent()

    def inside():
        var.set("inside")
        main.switch()
        return var.get()

    def body(context):
        var.set("body")
        return Coroutine(inside, context=context).enter(), var.get()

    for context, seen in (None, "body"), ("shared", "inside"):
        g = greenlet(body)
        g.switch(context)
        # Whatever coroutine it is suspended in.
        assert g.gr_context[var] == seen
        assert var.get() is None
        assert g.switch() == ("inside", seen)


def test_exceptions_being_handled():
    main = getcurrent()

    def inside():
        main.switch(sys.exc_info()[0])

    def body():
        try:
            raise KeyError
        except KeyError:
            Coroutine(inside).enter()

    g = greenlet(body)
    assert g.switch() is KeyError
    assert sys.exc_info()[0] is None
    g.switch()


def test_collected_together():
    main = getcurrent()

    def inside():
        mine = greenlet(lambda: main.switch())
        mine.co = copool.current()
        mine.switch()
        yield_(weakref.ref(mine))

    co = Coroutine(inside)
    refs = [co.enter(), weakref.ref(co)]
    del co
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
