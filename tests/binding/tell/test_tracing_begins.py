"""Tracing that begins while something is suspended sees what that does.

For the first time in its process: code that was ever traced is another case.
"""

import sys

import pytest

pytestmark = pytest.mark.isolated

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


# Fifty chains of each kind stop in leaf(), below sorted(), twice, and in top().
SUSPENDED = """
import asyncio, sys, threading
import copool.aio
from copool import Coroutine, yield_
from copool._core import _greenlet_names
names = _greenlet_names()
def leaf(n):
    stop()
    a = 1
    stop()
    b = 2
    return a + b
def top():
    sorted([1], key=leaf)
    c = 3
    stop()
    d = 4
def coroutines(count):
    global stop
    stop = yield_
    return [Coroutine(top).enter for _ in range(count)]
def greenlets(count):
    global stop
    stop = names["getcurrent"]().switch
    return [names["greenlet"](top).switch for _ in range(count)]
class Pause:
    def __await__(self):
        yield
def chains(count):
    global stop
    stop = lambda: copool.aio.await_(Pause())
    def driver(chain):
        def drive():
            try:
                chain.send(None)
            except StopIteration:
                pass
        return drive
    return [driver(copool.aio.run_sync(top)) for _ in range(count)]
seen = []
def count(code, line):
    if code in (leaf.__code__, top.__code__):
        seen.append((code.co_name, line - code.co_firstlineno))
def report(count):
    there = [("leaf", n) for n in (2, 3, 4, 5)] + [("top", n) for n in (2, 3, 4)]
    missed = {{*there}} - {{*seen}}
    print(sorted(missed), all(seen.count(place) == count for place in {{*seen}}))
def go_on(steps):
    for _ in range(3):
        for step in steps:
            step()
"""

KINDS = ["coroutines", "greenlets", "chains"]
needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="there is no sys.monitoring"
)

MONITORS = (
    SUSPENDED
    + """
m = sys.monitoring
m.use_tool_id(3, "test")
m.register_callback(3, m.events.LINE, count)
{before}
suspended = {kind}({count})
for step in suspended:
    step()
m.set_events(3, m.events.LINE)
go_on(suspended)
m.set_events(3, 0)
report({count})
print([m.get_tool(id) for id in range(6)])
"""
)


@needs_monitoring
@pytest.mark.parametrize("kind", KINDS)
def test_a_monitoring_tool_sees_each_line(python, kind):
    done = python(MONITORS.format(kind=kind, count=50, before=""))
    tools = "[None, None, None, 'test', None, None]"
    assert (done.lines, done.errors) == (["[] True", tools], "")


@needs_monitoring
def test_with_more_of_them_than_are_renewed_at_once(python):
    done = python(MONITORS.format(kind="coroutines", count=1000, before=""))
    assert (done.lines[0], done.errors) == ("[] True", "")


@needs_monitoring
def test_with_every_tool_in_use(python):
    others = "for id in (0, 1, 2, 4, 5): m.use_tool_id(id, str(id))"
    done = python(MONITORS.format(kind="coroutines", count=50, before=others))
    tools = "['0', '1', '2', 'test', '4', '5']"
    assert (done.lines, done.errors) == (["[] True", tools], "")


@needs_monitoring
def test_what_stands_in_the_place_of_monitoring_is_not_called(python):
    # It would run in the middle of a switch.
    other = """
class Other:
    def __getattr__(self, name):
        print(name)
sys.monitoring = Other()
"""
    done = python(MONITORS.format(kind="coroutines", count=50, before=other))
    assert (done.lines[0][-4:], done.errors) == ("True", "")
    assert len(done.lines) == 2


TRACES = (
    SUSPENDED
    + """
def trace(frame, event, arg):
    if event == "line":
        count(frame.f_code, frame.f_lineno)
    return trace
suspended = coroutines(50)
for step in suspended:
    step()
for step in suspended:
    frame = step.__self__.frame
    while frame:
        frame.f_trace = trace
        frame = frame.f_back
{begin}
go_on(suspended)
sys.settrace(None)
report(50)
"""
)


def test_a_trace_function_sees_each_line_of_frames_that_have_one(python):
    # Of others it sees none: CPython asks for one when a frame begins.
    done = python(TRACES.format(begin="sys.settrace(trace)"))
    assert (done.lines, done.errors) == (["[] True"], "")


@needs_monitoring
def test_another_thread_sets_a_trace_function_for_all(python):
    begin = """
thread = threading.Thread(target=threading.settrace_all_threads, args=(trace,))
thread.start()
thread.join()
"""
    done = python(TRACES.format(begin=begin))
    assert (done.lines, done.errors) == (["[] True"], "")


OFTEN = (
    SUSPENDED
    + """
import random
m = sys.monitoring
m.use_tool_id(3, "test")
m.register_callback(3, m.events.LINE, count)
def each():
    stop()
    x = 1
top = each
random.seed(1)
suspended = coroutines(300)
for step in suspended:
    step()
random.shuffle(suspended)
expected = 0
on = False
for step in suspended:
    if random.random() < 0.3:
        on = not on
        m.set_events(3, m.events.LINE if on else 0)
    expected += on
    step()
print(seen.count(("each", 2)) == expected > 50)
"""
)


@needs_monitoring
def test_a_tool_comes_and_goes_all_the_time(python):
    script = OFTEN.replace("leaf.__code__, top.__code__", "each.__code__,")
    done = python(script.format())
    assert (done.lines, done.errors) == (["True"], "")


TWO_THREADS = (
    SUSPENDED
    + """
m = sys.monitoring
m.use_tool_id(3, "test")
m.register_callback(3, m.events.LINE, count)
stop = yield_
begun, go = threading.Barrier(3), threading.Barrier(3)
def work():
    suspended = coroutines(50)
    for step in suspended:
        step()
    begun.wait()
    go.wait()
    go_on(suspended)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
begun.wait()
m.set_events(3, m.events.LINE)
go.wait()
for thread in threads:
    thread.join()
m.set_events(3, 0)
report(100)
"""
)


@needs_monitoring
def test_chains_of_two_threads(python):
    done = python(TWO_THREADS.format())
    assert (done.lines, done.errors) == (["[] True"], "")


IN_CALLED = (
    SUSPENDED
    + """
m = sys.monitoring
m.use_tool_id(3, "test")
m.register_callback(3, m.events.LINE, count)
def begin():
    m.set_events(3, m.events.LINE)
def leaf(n):
    enter(begin)
    a = 1
    b = 2
def top():
    enter(leaf, 0)
    c = 3
def coroutine(fn, *args):
    Coroutine(fn).enter(*args)
def greenlet(fn, *args):
    names["greenlet"](fn).switch(*args)
def chain(fn, *args):
    try:
        copool.aio.run_sync(fn, *args).send(None)
    except StopIteration:
        pass
enter = {kind}
enter(top)
m.set_events(3, 0)
print(sorted(seen))
"""
)


@needs_monitoring
@pytest.mark.parametrize("kind", ["coroutine", "greenlet", "chain"])
def test_those_that_wait_for_who_begins_see_it(python, kind):
    done = python(IN_CALLED.format(kind=kind))
    assert done.errors == ""
    assert done.lines == ["[('leaf', 2), ('leaf', 3), ('top', 2)]"]
