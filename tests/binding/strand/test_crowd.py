"""Each of many that take turns goes on where it was, also where others end."""

import gc
import random
import subprocess
import sys

import pytest

from copool import Coroutine, CoroutineExit, yield_
from copool._core import _greenlet_names
from copool.aio import await_, run_sync

# So many that one of them has been away for long when it is entered again.
CROWD = 700


def counter(ended):
    """Count what it is sent until that is None; note the sum at the end."""

    def body(value):
        total = 0
        try:
            while value is not None:
                total += value
                value = yield_(total)
        finally:
            ended.append(total)
        return "done"

    return body


def deep(function, value, calls):
    """Call it below so many functions."""
    return function(value) if not calls else deep(function, value, calls - 1)


@pytest.mark.parametrize("order", ["in turn", "shuffled", "back and forth"])
def test_each_gets_what_it_is_sent(order):
    chance, ended = random.Random(5), []
    crowd = [Coroutine(counter(ended)) for _ in range(CROWD)]
    sums = [0] * CROWD
    turns = list(range(CROWD))
    for turn in range(6):
        for i in turns:
            sums[i] += turn + i
            assert crowd[i].enter(turn + i) == sums[i]
        if order == "shuffled":
            chance.shuffle(turns)
        elif order == "back and forth":
            turns.reverse()
    assert [co.enter(None) for co in crowd] == ["done"] * CROWD
    assert sorted(ended) == sorted(sums)


@pytest.mark.parametrize("seed", range(4))
def test_while_some_end_and_new_ones_come(seed):
    """By themselves, closed, dropped, thrown at; and are freed at once."""
    chance, ended = random.Random(seed), []
    crowd, begun = [], 0
    for _ in range(8):
        while len(crowd) < CROWD:
            co = Coroutine(deep)
            co.enter(counter(ended), 1, chance.choice((0, 0, 0, 30)))
            crowd.append(co)
            begun += 1
        left = []
        for co in crowd:
            assert co.enter(0) == 1
            how = chance.choice(("stay",) * 12 + ("end", "close", "drop", "throw"))
            if how == "stay":
                left.append(co)
            elif how == "end":
                assert co.enter(None) == "done"
            elif how == "close":
                co.close()
            elif how == "throw":
                with pytest.raises(CoroutineExit):
                    co.throw(CoroutineExit)
        crowd = left
        del co
    del crowd, left
    gc.collect()
    assert ended == [1] * begun


def test_of_greenlets_of_which_some_end():
    names = _greenlet_names()
    greenlet, main = names["greenlet"], names["getcurrent"]()
    chance, ended = random.Random(1), []

    def body(value):
        try:
            while value is not None:
                value = main.switch(value)
        finally:
            ended.append(value)

    crowd, begun = [], 0
    for turn in range(8):
        while len(crowd) < CROWD:
            crowd.append(greenlet(body))
            begun += 1
        left = []
        for g in crowd:
            assert g.switch(turn) == turn
            how = chance.choice(("stay",) * 12 + ("end", "drop", "throw"))
            if how == "stay":
                left.append(g)
            elif how == "end":
                g.switch(None)
            elif how == "throw":
                g.throw()
        crowd = left
        del g
    del crowd, left
    gc.collect()
    assert len(ended) == begun


class Wait:
    """Gives a value to the driver; its result is what that sends."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        return (yield self.value)


def test_of_functions_that_wait_of_which_some_end():
    chance, ended = random.Random(2), []

    def body():
        value = 0
        try:
            while value is not None:
                value = await_(Wait(value))
        finally:
            ended.append(value)

    crowd, begun = [], 0
    for turn in range(8):
        while len(crowd) < CROWD:
            step = run_sync(body)
            assert step.send(None) == 0
            crowd.append(step)
            begun += 1
        left = []
        for step in crowd:
            assert step.send(turn) == turn
            how = chance.choice(("stay",) * 12 + ("end", "close", "drop"))
            if how == "stay":
                left.append(step)
            elif how == "close":
                step.close()
            elif how == "end":
                with pytest.raises(StopIteration):
                    step.send(None)
        crowd = left
        del step
    del crowd, left
    gc.collect()
    assert len(ended) == begun


GIVEN_UP = f"""
import contextlib
from copool import Coroutine, CoroutineExit, yield_

def stubborn():
    while True:
        with contextlib.suppress(CoroutineExit):
            yield_("here")

crowd = [Coroutine(stubborn) for _ in range({CROWD})]
for _ in range(2):
    assert {{co.enter() for co in crowd}} == {{"here"}}
del crowd[-1]
assert {{co.enter() for co in crowd}} == {{"here"}}
"""


def test_while_one_is_given_up():
    """It is not unwound: it has caught the exit and yielded."""
    process = subprocess.run(
        [sys.executable, "-c", GIVEN_UP], capture_output=True, text=True, check=True
    )
    assert process.stderr.count("its stack is leaked") == 1


def test_entered_from_one_another():
    """Each of a crowd enters the next one, so that none has yielded yet."""

    def body(n):
        below = crowd[n + 1].enter(n + 1) if n + 1 < depth else 0
        while True:
            below += yield_(below) or 1

    depth = 200
    crowd = [Coroutine(body) for _ in range(depth)]
    crowd[0].enter(0)
    for turn in range(1, 4):
        assert [co.enter() for co in crowd] == [turn] * depth
