"""Tracing that begins while something is suspended.

For the first time in its process: code that was ever traced is another case.
"""

import pytest

SCRIPT = """
import sys
from copool import Coroutine, yield_
def suspended():
    try:
        yield_()
        raise KeyError
    finally:
        print("finally")
def begins(other):
    sys.{begin}(lambda *_: None)
    other.enter()
def throws(other):
    sys.{begin}(lambda *_: None)
    other.throw(KeyError)
co = Coroutine(suspended)
co.enter()
try:
    {first}
except KeyError:
    print("caught")
"""


@pytest.mark.parametrize("begin", ["settrace", "setprofile"])
@pytest.mark.parametrize(
    "first",
    ["begins(co)", "throws(co)", "Coroutine(begins).enter(co)"],
    ids=["in it", "at once in it", "in it and in its caller's caller"],
)
def test_an_exception_in_what_was_suspended(python, begin, first):
    done = python(SCRIPT.format(begin=begin, first=first))
    assert (done.lines, done.code, done.errors) == (["finally", "caught"], 0, "")


IN_INIT = """
import sys
from copool import Coroutine, yield_
class Made:
    def __init__(self, pause=False):
        if pause:
            yield_()
def make(pause=False):
    return Made(pause)
for _ in range(1000):
    make()
co = Coroutine(make)
co.enter(True)
sys.{begin}(lambda *_: None)
print(type(co.enter()).__name__)
"""


@pytest.mark.parametrize("begin", ["settrace", "setprofile"])
def test_it_was_suspended_in_what_makes_an_object(python, begin):
    # Once it is used to it, CPython calls __init__() below a frame which is no
    # function's and can't be traced.
    done = python(IN_INIT.format(begin=begin))
    assert (done.lines, done.code, done.errors) == (["Made"], 0, "")
