"""What an ending chain drops is dropped in it, and so in its context.

Generators that its frames still hold reset a context variable when they are closed,
which works in the context only in which it was set.
"""

import contextlib
import contextvars
import gc
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest

from copool import Coroutine, CoroutineExit, yield_
from copool._core import _greenlet_names, bridge
from copool.aio import await_, run_sync

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent, GreenletExit = api.greenlet, api.getcurrent, api.GreenletExit
var = contextvars.ContextVar("var", default="unset")


class Never:
    def __await__(self):
        yield


@pytest.fixture
def ended():
    """What generators have ended with; nothing may be reported."""
    results, unraisable = [], []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    yield results
    sys.unraisablehook = before
    assert [str(report.exc_value) for report in unraisable] == []


def setting(ended, value="set"):
    """A generator that has set the variable, and resets it when it is closed."""

    def generate():
        token = var.set(value)
        try:
            yield
        finally:
            try:
                var.reset(token)
            except ValueError as error:
                ended.append(str(error))
            else:
                ended.append("reset")

    generator = generate()
    next(generator)
    return generator


def hold(stop, ended):
    held = setting(ended)
    stop()
    return held


def unstarted(kind, call):
    """A chain that calls that, and what starts it."""
    if kind == "coroutine":
        chain = Coroutine(call, context=contextvars.Context())
        return chain, chain.enter
    if kind == "greenlet":
        chain = greenlet(call)
        return chain, chain.switch
    if kind == "bridge":
        chain = run_sync(call)
    else:

        async def driven():
            call()

        chain = bridge(driven())
    return chain, lambda: contextvars.Context().run(chain.send, None)


STOP = {
    "coroutine": yield_,
    "greenlet": lambda: getcurrent().parent.switch(),
    "bridge": lambda: await_(Never()),
    "driven": lambda: await_(Never()),
}
CLOSE = {
    "coroutine": Coroutine.close,
    "greenlet": greenlet.throw,
    "bridge": lambda chain: chain.close(),
    "driven": lambda chain: chain.close(),
}
kinds = pytest.mark.parametrize("kind", STOP)


@kinds
def test_closed_from_another_context(kind, ended):
    chain, start = unstarted(kind, lambda: hold(STOP[kind], ended))
    start()
    CLOSE[kind](chain)
    assert ended == ["reset"]


@kinds
def test_the_last_reference_goes(kind, ended):
    chain, start = unstarted(kind, lambda: hold(STOP[kind], ended))
    start()
    del chain, start
    assert ended == ["reset"]


@kinds
def test_collected(kind, ended):
    def make(cycle):
        def call():
            itself = cycle
            return hold(STOP[kind], ended), itself

        chain, start = unstarted(kind, call)
        start()
        cycle.append(chain)

    make([])
    gc.collect()
    assert ended == ["reset"]


@kinds
def test_its_thread_ends(kind, ended):
    kept = []

    def work():
        chain, start = unstarted(kind, lambda: hold(STOP[kind], ended))
        start()
        if kind != "greenlet":
            kept.append(chain)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == ["reset"]


@kinds
def test_dropped_in_another_thread(kind, ended):
    chain, start = unstarted(kind, lambda: hold(STOP[kind], ended))
    start()
    box = [chain]
    del chain, start
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert ended == []
    _, start = unstarted("coroutine", int)
    start()
    assert ended == ["reset"]


@kinds
def test_what_it_has_called_is_dropped_in_it_too(kind, ended):
    def make():
        held = None

        def call():
            nonlocal held
            held = setting(ended)

        return unstarted(kind, call)

    chain, start = make()
    if kind in ("bridge", "driven"):
        with pytest.raises(StopIteration):
            start()
    else:
        start()
    del chain, start
    assert ended == ["reset"]


@kinds
def test_an_exception_of_one_that_is_dropped_is_reported_in_it(kind, monkeypatch):
    def call():
        var.set("chain")
        held = setting(results)
        try:
            STOP[kind]()
        finally:
            raise KeyError(held)

    results, seen = [], []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda r: seen.append((r.exc_type, var.get()))
    )
    chain, start = unstarted(kind, call)
    start()
    del chain, start
    assert (seen, results) == ([(KeyError, "set")], ["reset"])


def test_an_exception_that_close_passes_on_keeps_its_frames():
    def body():
        local = "kept"
        try:
            yield_()
        finally:
            raise KeyError(local)

    co = Coroutine(body)
    co.enter()
    with pytest.raises(KeyError) as caught:
        co.close()
    assert caught.tb.tb_next.tb_frame.f_locals["local"] == "kept"


def test_an_exit_that_is_thrown_or_raised_is_an_exception_as_any_other():
    co = Coroutine(lambda: hold(yield_, []))
    co.enter()
    with pytest.raises(CoroutineExit) as caught:
        co.throw(CoroutineExit)
    assert caught.traceback[-1].name == "hold"


@pytest.mark.parametrize("thrown", [GreenletExit, GreenletExit("x")])
def test_the_exit_that_a_parent_gets_has_let_go_of_the_frames(thrown, ended):
    chain, start = unstarted("greenlet", lambda: hold(STOP["greenlet"], ended))
    start()
    got = chain.throw(thrown)
    assert ended == ["reset"]
    assert isinstance(got, GreenletExit)
    assert thrown in (got, GreenletExit)
    assert (got.__traceback__, got.__context__) == (None, None)


def test_an_exit_that_a_greenlet_raises_itself_lets_go_of_them_too(ended):
    def body():
        held = setting(ended)
        try:
            raise KeyError(held)
        except KeyError:
            raise GreenletExit from None

    got = greenlet(body).switch()
    assert (ended, got.__traceback__) == (["reset"], None)


def test_an_exit_that_the_greenlet_has_kept_lets_go_when_it_ends(ended):
    """As gevent does, which makes it the value of its greenlets."""

    def body():
        try:
            hold(STOP["greenlet"], ended)
        except GreenletExit as error:
            kept.append(error)

    kept = []
    chain, start = unstarted("greenlet", body)
    start()
    chain.throw()
    assert (ended, kept[0].__traceback__) == (["reset"], None)


def test_a_greenlet_that_goes_on_after_an_exit_does_not_hold_it():
    def body():
        with contextlib.suppress(GreenletExit):
            main.switch()
        main.switch()

    class Exit(GreenletExit):
        pass

    main = getcurrent()
    g = greenlet(body)
    g.switch()
    error = Exit()
    ref = weakref.ref(error)
    g.throw(error)
    del error
    assert ref() is None
    assert not g.dead
    g.throw()


def test_a_coroutine_that_waits_in_another_context_ends_in_its_own(ended):
    """A Context.run() in the chain is left before the chain's own is."""

    def body():
        outer = setting(ended, "outer")
        inner = contextvars.copy_context().run(lambda: hold(yield_, ended))
        return outer, inner

    co = Coroutine(body, context=contextvars.Context())
    co.enter()
    co.close()
    assert ended[-1] == "reset"
    assert len(ended) == 2


def test_a_bridge_that_is_closed_sees_the_context_in_which_it_waits():
    def call():
        var.set("driver")
        try:
            await_(Never())
        finally:
            seen.append(var.get())

    seen = []
    awaited = run_sync(call)
    contextvars.Context().run(awaited.send, None)
    contextvars.Context().run(awaited.close)
    assert seen == ["driver"]


def test_a_generator_that_yields_while_the_exit_is_dropped():
    """It is the chain that does so: close() says what it has always said."""

    def generate():
        try:
            yield
        finally:
            yield_("late")

    def body():
        held = generate()
        next(held)
        yield_()

    co = Coroutine(body)
    co.enter()
    with pytest.raises(Exception, match="caught CoroutineExit and yielded"):
        co.close()
    assert co.state == "suspended"
    assert co.enter() is None
    assert co.done
