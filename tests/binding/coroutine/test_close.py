"""close() runs a coroutine's `finally` blocks, and hides no exception."""

import pytest

from copool import Coroutine, CoroutineError, CoroutineExit, yield_


def test_runs_finally_blocks_innermost_first():
    order = []

    def inner():
        try:
            yield_()
        finally:
            order.append("inner")

    def body():
        try:
            inner()
        finally:
            order.append("outer")

    co = Coroutine(body)
    co.enter()
    assert (co.close(), co.state, order) == (None, "finished", ["inner", "outer"])


def test_of_unstarted_and_finished_does_nothing():
    order = []
    unstarted, finished = Coroutine(lambda: order.append("ran")), Coroutine(int)
    finished.enter()
    states = [co.close() or co.state for co in (unstarted, finished, finished)]
    assert (states, order) == (["finished"] * 3, [])


def test_returns_what_the_function_returns():
    def body():
        try:
            yield_()
        except CoroutineExit:
            return "caught"

    co = Coroutine(body)
    co.enter()
    assert co.close() == "caught"


def test_passes_on_another_exception():
    def body():
        try:
            yield_()
        finally:
            raise KeyError("x")

    co = Coroutine(body)
    co.enter()
    with pytest.raises(KeyError) as caught:
        co.close()
    assert isinstance(caught.value.__context__, CoroutineExit)


def test_of_one_that_yields_again_is_an_error():
    def body():
        try:
            yield_()
        except CoroutineExit:
            yield_("not yet")
        return "at last"

    co = Coroutine(body)
    co.enter()
    with pytest.raises(CoroutineError, match="let the exit pass, or return"):
        co.close()
    assert (co.state, co.close()) == ("suspended", None)


def test_exit_is_no_exception_for_except_exception():
    order = []

    def body():
        try:
            yield_()
        except Exception:
            order.append("caught")

    co = Coroutine(body)
    co.enter()
    co.close()
    assert order == []


def test_of_running_and_waiting_is_refused():
    order = []

    def inner_body():
        for co in (inner, outer):
            try:
                co.close()
            except CoroutineError as error:
                order.append(str(error).split(": ", 1)[1].split(" ")[:3])

    outer, inner = Coroutine(lambda: inner.enter()), Coroutine(inner_body)
    outer.enter()
    assert order == [["it", "is", "running"], ["it", "waits", "for"]]


def test_closes_from_inside_another(suspended):
    order = []
    co = suspended(order.append, "closed")
    Coroutine(co.close).enter()
    assert (order, co.state) == (["closed"], "finished")


def test_exit_through_generators_and_with_blocks():
    order = []

    class Manager:
        def __enter__(self):
            order.append("enter")

        def __exit__(self, kind, value, traceback):
            order.append(kind.__name__)

    def generator():
        try:
            yield_()
            yield
        finally:
            order.append("generator")

    def body():
        with Manager():
            list(generator())

    co = Coroutine(body)
    co.enter()
    co.close()
    assert order == ["enter", "generator", "CoroutineExit"]
