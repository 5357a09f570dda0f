"""Bad input raises the right exception, its message has the remedy, nothing leaks."""

import copy
import gc
import pickle
import queue
import sys
import threading

import pytest

import copool
from copool import Coroutine, CoroutineError, PoolExhausted, _core, yield_


def raised(fn, *args, **kwargs):
    try:
        fn(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)
    return None


def suspended():
    co = Coroutine(yield_)
    co.enter()
    return co


def test_exception_classes():
    assert issubclass(CoroutineError, RuntimeError)
    assert issubclass(PoolExhausted, MemoryError)
    assert not issubclass(copool.CoroutineExit, Exception)
    for kind in (CoroutineError, PoolExhausted, copool.CoroutineExit):
        assert (kind.__module__, bool(kind.__doc__)) == ("copool", True)


def test_entering_the_running_one():
    co = Coroutine(lambda: raised(co.enter))
    assert co.enter() == (
        CoroutineError,
        f"can't enter <copool.Coroutine of {co_name('running')}, running, at "
        f"{id(co):#x}>: it is running already; only suspended coroutines can be "
        "entered, use copool.yield_() to stop this one",
    )


def co_name(which):
    return f"test_entering_the_{which}_one.<locals>.<lambda>"


def test_entering_a_waiting_one():
    outer = Coroutine(lambda: Coroutine(lambda: raised(outer.enter)).enter())
    kind, text = outer.enter()
    assert kind is CoroutineError
    assert text.endswith(
        "it waits for a coroutine that it entered; yield until control is back in it"
    )


def test_entering_a_finished_one():
    co = Coroutine(int)
    co.enter()
    for attempt in (co.enter, lambda: co.enter(1)):
        assert raised(attempt) == (
            CoroutineError,
            f"can't enter {co!r}: it has finished and can't be entered again; "
            "make a new Coroutine of the function",
        )


def test_entering_from_a_foreign_thread():
    answers = queue.SimpleQueue()
    co = suspended()

    def foreign():
        for attempt in (co.enter, co.close, lambda: co.throw(KeyError)):
            answers.put(raised(attempt))

    thread = threading.Thread(target=foreign, name="other")
    thread.start()
    thread.join()
    for _ in range(3):
        kind, text = answers.get_nowait()
        assert kind is CoroutineError
        main = threading.main_thread()
        assert f"was started in thread '{main.name}' (ident {main.ident})" in text
        assert "not in thread 'other' (ident " in text
        assert text.endswith("first enter it in the thread that is to run it")
    assert co.state == "suspended"
    co.close()


def test_entering_one_that_runs_in_a_foreign_thread():
    entered, leave = threading.Event(), threading.Event()
    co = Coroutine(lambda: (entered.set(), leave.wait()))
    thread = threading.Thread(target=co.enter, name="other")
    thread.start()
    entered.wait()
    answers = [raised(co.enter), raised(co.close), raised(co.throw, KeyError)]
    seen = (co.state, co.done, co.caller, co.frame is not None)
    leave.set()
    thread.join()
    for kind, text in answers:
        assert kind is CoroutineError
        assert "was started in thread 'other'" in text
    assert seen == ("running", False, None, True)


def test_message_about_a_thread_that_is_no_more():
    """Its coroutines ended with it."""
    made = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: made.put(suspended()))
    thread.start()
    thread.join()
    co = made.get_nowait()
    assert raised(co.enter)[1].endswith("make a new Coroutine of the function")


def test_yielding_outside():
    assert raised(yield_) == (
        CoroutineError,
        "yield_() outside a coroutine: there is nobody to yield to; call it in a "
        "function that runs in copool.Coroutine(function).enter()",
    )
    assert raised(yield_, 1)[0] is CoroutineError


@pytest.mark.parametrize("thing", [None, 1, "fn", [], iter(())])
def test_non_callable(thing):
    assert raised(Coroutine, thing) == (
        TypeError,
        f"Coroutine() needs a callable, not {type(thing).__name__}; pass the "
        "function itself, its arguments go to the first enter()",
    )


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((print, 1), {}),
        ((print,), {"names": "x"}),
        ((print,), {"name": 1}),
        ((print,), {"name": b"x"}),
        ((), {"context": None}),
        ((print,), {"context": 1}),
    ],
)
def test_constructor_called_badly(args, kwargs):
    assert raised(Coroutine, *args, **kwargs)[0] is TypeError


def test_two_values_for_one_yield():
    co = suspended()
    assert raised(co.enter, 1, 2) == (
        TypeError,
        "enter() of a suspended coroutine takes at most one argument, the value "
        "that its yield_() returns (2 given); pass a tuple for more",
    )
    assert co.enter(3) == 3
    inside = Coroutine(lambda: raised(yield_, 1, 2))
    assert inside.enter() == (
        TypeError,
        "yield_() takes one argument at most, the value that enter() returns "
        "(2 given); pass a tuple for more",
    )


def test_keywords_are_refused():
    assert raised(Coroutine(print).enter, value=1)[0] is TypeError
    assert raised(yield_, value=1)[0] is TypeError


def test_what_a_coroutine_cannot_do():
    co = suspended()
    attempts = [
        lambda: type("Sub", (Coroutine,), {}),
        lambda: copy.copy(co),
        lambda: copy.deepcopy(co),
        lambda: pickle.dumps(co),
        lambda: setattr(Coroutine, "enter", None),
    ]
    assert [raised(attempt)[0] for attempt in attempts] == [TypeError] * 5
    attempts = [
        lambda: setattr(co, "state", "finished"),
        lambda: setattr(co, "other", 1),
        lambda: delattr(co, "frame"),
    ]
    assert [raised(attempt)[0] for attempt in attempts] == [AttributeError] * 3
    co.close()


def test_cap_reached(settings):
    copool.configure(max_blocks=20)
    some = [suspended() for _ in range(20)]
    one_more = Coroutine(yield_)
    assert raised(one_more.enter) == (
        PoolExhausted,
        "all 20 blocks are in use: let coroutines finish, close() them, or raise "
        "the cap with copool.configure(max_blocks=...) or COPOOL_MAX_BLOCKS",
    )
    assert (one_more.state, copool.stats().live) == ("created", 20)
    some.pop().close()
    assert [one_more.enter("now"), one_more.state] == ["now", "suspended"]
    one_more.close()
    for co in some:
        co.close()


def misuse_all():
    co = suspended()
    finished = Coroutine(int)
    finished.enter()
    for attempt in (
        yield_,
        finished.enter,
        lambda: co.enter(1, 2),
        lambda: co.throw(1),
        lambda: Coroutine(1),
        lambda: Coroutine(print, context=1),
        lambda: copool.configure(policy="x"),
        lambda: copool.configure(stack_size=1),
        lambda: Coroutine(lambda: 1 / 0).enter(),
        lambda: Coroutine(misuse_all.missing).enter(),
    ):
        assert raised(attempt)
    running = Coroutine(lambda: raised(running.enter))
    running.enter()
    co.close()


def test_nothing_leaks():
    for _ in range(20):
        misuse_all()
    gc.collect()
    counts = []
    for _ in range(3):
        for _ in range(50):
            misuse_all()
        gc.collect()
        counts.append((sys.getallocatedblocks(), copool.stats().live))
    assert counts[2][0] - counts[1][0] < 50  # less than one a round
    assert counts[2][1] == counts[0][1]
    assert _core.check()


def test_references_are_balanced():
    thing = object()

    def failing(value):
        yield_(value)
        raise KeyError(value)

    def use():
        co = Coroutine(lambda value: yield_(value))
        co.enter(thing)
        co.enter(thing)
        co = Coroutine(failing)
        co.enter(thing)
        raised(co.enter, thing)
        co = Coroutine(failing)
        co.enter(thing)
        raised(co.throw, KeyError(thing))
        co = Coroutine(failing)
        co.enter(thing)
        co.close()
        co = Coroutine(failing)
        co.enter(thing)
        del co
        raised(yield_, thing)
        raised(Coroutine, thing)
        list(Coroutine(lambda: [yield_(thing)]))

    use()
    gc.collect()
    before = sys.getrefcount(thing), sys.getrefcount(failing)
    for _ in range(10):
        use()
    gc.collect()
    assert (sys.getrefcount(thing), sys.getrefcount(failing)) == before
