"""copool.settrace() is told of each switch, and of nothing else."""

import asyncio
import random
import subprocess
import sys
import threading

import pytest

import copool.aio
from copool import Coroutine, gettrace, settrace, yield_


@pytest.fixture
def events():
    found = []
    settrace(lambda event, args: found.append((event, *args)))
    yield found
    settrace(None)


@pytest.fixture(autouse=True)
def _untraced():
    yield
    settrace(None)


def test_each_switch_of_a_coroutine(events):
    def body():
        yield_()

    co = Coroutine(body)
    co.enter()
    co.enter()
    assert events == [
        ("switch", None, co),
        ("switch", co, None),
        ("switch", None, co),
        ("switch", co, None),
    ]


def test_coroutines_in_coroutines(events):
    inner = Coroutine(yield_)
    outer = Coroutine(inner.enter)
    outer.enter()
    inner.enter()
    assert [event[1:] for event in events] == [
        (None, outer),
        (outer, inner),
        (inner, outer),
        (outer, None),
        (None, inner),
        (inner, None),
    ]


def test_exceptions_are_thrown(events):
    co = Coroutine(yield_)
    co.enter()
    with pytest.raises(KeyError):
        co.throw(KeyError)
    assert [event[0] for event in events] == ["switch", "switch", "throw", "throw"]


def test_it_is_told_in_the_target_before_that_goes_on():
    order = []

    def told(event, args):
        order.append((args[1], copool.current()))

    def body():
        order.append("begins")
        yield_()
        order.append("goes on")

    settrace(told)
    co = Coroutine(body)
    co.enter()
    order.append("yielded")
    co.enter()
    assert order == [
        (co, co),
        "begins",
        (None, None),
        "yielded",
        (co, co),
        "goes on",
        (None, None),
    ]


def test_awaited_chains(events):
    async def waits():
        await asyncio.sleep(0)
        copool.aio.await_(asyncio.sleep(0))

    async def main():
        task = asyncio.create_task(waits())
        await task
        return task.get_coro()

    bridge = copool.aio.run(main(), foreign_greenlets=True)
    its = [event for event in events if bridge in event]
    assert its == 3 * [("switch", None, bridge), ("switch", bridge, None)]


def test_what_was_suspended_before_is_told_of():
    def body():
        inner = Coroutine(yield_)
        inner.enter()
        yield_()
        inner.enter()

    cos = [Coroutine(body) for _ in range(20)]
    for co in cos:
        co.enter()
    found = []
    settrace(lambda event, args: found.append(args))
    for co in cos:
        co.enter()
    assert len(found) == 4 * len(cos)
    assert [args[1] for args in found[::4]] == cos


def test_set_and_get():
    def told(event, args):
        pass

    def other(event, args):
        pass

    assert (settrace(told), gettrace()) == (None, told)
    assert (settrace(other), gettrace()) == (told, other)
    assert (settrace(None), gettrace()) == (other, None)
    assert (settrace(None), gettrace()) == (None, None)


@pytest.mark.parametrize("thing", [1, "x"])
def test_only_what_can_be_called(thing):
    with pytest.raises(TypeError, match="needs a callable or None, not"):
        settrace(thing)
    assert gettrace() is None


def test_only_in_its_thread(events):
    def work():
        assert gettrace() is None
        Coroutine(yield_).enter()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert events == []


def test_nothing_is_told_any_more(events):
    co = Coroutine(lambda: [yield_(), yield_()])
    co.enter()
    settrace(None)
    told = len(events)
    co.enter()
    co.enter()
    Coroutine(yield_).enter()
    assert len(events) == told


def raises(event, args):
    raise ZeroDivisionError(event)


def test_an_error_is_raised_in_the_target_and_ends_it():
    caught = []

    def body():
        try:
            yield_(1)
        except ZeroDivisionError as error:
            caught.append(error.args)
        yield_(2)

    co = Coroutine(body)
    co.enter()
    settrace(raises)
    assert co.enter() == 2
    assert (caught, gettrace()) == ([("switch",)], None)
    settrace(raises)
    with pytest.raises(ZeroDivisionError, match="throw"):
        co.close()


def test_an_error_before_the_first_step():
    ran = []
    settrace(raises)
    co = Coroutine(ran.append)
    with pytest.raises(ZeroDivisionError):
        co.enter(1)
    assert (ran, co.done, gettrace()) == ([], True, None)


def test_an_error_in_who_entered_it():
    co = Coroutine(yield_)
    settrace(lambda event, args: args[1] is None and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        co.enter()
    assert (co.state, gettrace()) == ("suspended", None)
    co.close()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_error_before_a_step_of_a_task():
    async def waits():
        await asyncio.sleep(0)

    async def main():
        tasks = [asyncio.create_task(waits()) for _ in range(2)]
        settrace(lambda event, args: args[1] is not None and 1 / 0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(result) for result in results]

    assert copool.aio.run(main(), foreign_greenlets=True) == [
        ZeroDivisionError,
        type(None),
    ]


def test_it_may_switch_itself():
    """As one that waits for a lock of gevent's does; it is not told of these."""
    told = []

    def trace(event, args):
        told.append(args)
        helper.enter()

    def helps():
        while True:
            yield_()

    helper = Coroutine(helps)
    helper.enter()
    settrace(trace)
    co = Coroutine(lambda: yield_(5))
    assert co.enter() == 5
    settrace(None)
    assert told == [(None, co), (co, None)]
    helper.close()


def test_who_was_left_lives_until_it_is_told():
    """Though nobody else refers to it, it is unwound after that only."""
    order = []

    def body():
        try:
            yield_()
        finally:
            order.append("unwound")

    settrace(lambda event, args: order.append(args[1] and args[1].state))
    Coroutine(body).enter()
    settrace(None)
    assert order == ["running", None, "running", "unwound", None]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_what_happens(seed):
    """At random, with tracing that comes and goes."""
    choose = random.Random(seed)
    told, expected, alive = [], [], []

    def trace(event, args):
        told.append(args)

    def body():
        while choose.random() < 0.9:
            if alive and choose.random() < 0.5:
                step(choose.choice(alive))
            yield_()

    def step(co):
        if co.state not in ("created", "suspended"):
            return
        me = copool.current()
        if gettrace():
            expected.append((me, co))
        co.enter()
        if gettrace():
            expected.append((co, me))

    for _ in range(400):
        if choose.random() < 0.1:
            settrace(None if gettrace() else trace)
        alive[:] = [co for co in alive if not co.done]
        if len(alive) < 10:
            alive.append(Coroutine(body))
        step(choose.choice(alive))
    settrace(None)
    for co in alive:
        co.close()
    assert told == expected
    assert len(told) > 100


def test_greenlets_and_coroutines_are_told_as_one():
    program = """
import copool.greenlet
copool.greenlet.install()
import copool, greenlet

found, of_greenlets = [], []
copool.settrace(lambda event, args: found.append(args))
greenlet.settrace(lambda event, args: of_greenlets.append(args))
main = greenlet.getcurrent()

def body():
    co = copool.Coroutine(main.switch)
    co.enter()

g = greenlet.greenlet(body)
g.switch()
g.switch()
assert g.dead
names = {g: "g", None: "main", main: "main"}
print(*(names.get(a, "co") + ">" + names.get(b, "co") for a, b in found))
print(*(names[a] + ">" + names[b] for a, b in of_greenlets))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "main>g g>co co>main main>co co>g g>main",
        "main>g g>main main>g g>main",
    ]


def test_a_thread_that_ends_lets_go_of_it():
    class Told:
        def __call__(self, event, args):
            pass

        def __del__(self):
            co = Coroutine(yield_)
            gone.append(co.enter(1))
            co.close()

    gone = []

    def work():
        settrace(Told())
        Coroutine(yield_).enter()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert gone == [1]
