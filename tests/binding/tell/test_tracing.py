"""Trace and profile functions see coroutines as they see generators."""

import contextlib
import sys
import threading

import pytest

from copool import Coroutine, current, yield_
from copool._core import _greenlet_names

greenlet = _greenlet_names()["greenlet"]


class tracing:
    def __init__(self, function, setter=sys.settrace):
        self.function, self.setter = function, setter

    def __enter__(self):
        self.setter(self.function)

    def __exit__(self, *_):
        self.setter(None)


def body():
    total = 0
    for i in range(3):
        yield_(i)
        total += i
    return total


def generator():
    total = 0
    for i in range(3):
        yield i
        total += i
    return total


def record_lines(code):
    lines = []

    def tracer(frame, event, arg):
        if frame.f_code is not code:
            return None
        if event == "line":
            lines.append(frame.f_lineno - code.co_firstlineno)
        return tracer

    return tracer, lines


def test_lines_are_those_of_a_generator():
    records = []
    for function, make in ((body, lambda: Coroutine(body)), (generator, generator)):
        tracer, lines = record_lines(function.__code__)
        with tracing(tracer):
            for _ in make():
                pass
        records.append(lines)
    assert records[0] == records[1] == [1, 2, 3, 4, 2, 3, 4, 2, 3, 4, 2, 5]


def test_trace_set_between_two_enters_is_seen_by_new_calls():
    def called():
        return 1

    def long():
        yield_()
        called()
        yield_()
        called()

    events = []

    def tracer(frame, event, arg):
        events.append((event, frame.f_code.co_name))

    co = Coroutine(long)
    co.enter()
    with tracing(tracer):
        co.enter()
    co.enter()
    assert ("call", "called") in events
    assert events.count(("call", "called")) == 1


def test_trace_removed_inside_stays_removed_outside():
    events = []

    def tracer(frame, event, arg):
        events.append(frame.f_code.co_name)

    def inside():
        sys.settrace(None)
        yield_()

    def outside():
        pass

    co = Coroutine(inside)
    with tracing(tracer):
        co.enter()
        outside()
        assert sys.gettrace() is None
    co.close()
    assert "outside" not in events


def test_trace_set_inside_counts_outside():
    events = []

    def tracer(frame, event, arg):
        events.append(frame.f_code.co_name)

    def inside():
        sys.settrace(tracer)
        yield_()
        sys.settrace(None)

    def outside():
        pass

    co = Coroutine(inside)
    co.enter()
    outside()
    co.enter()
    outside()
    assert events.count("outside") == 1


def test_a_trace_function_that_switches_mutes_nobody():
    """Its own chain is muted while it runs, as always, the others are not."""
    events = []

    def traced():
        pass

    def tracer(frame, event, arg):
        if frame.f_code is traced.__code__:
            events.append(current().frame.f_code.co_name if current() else "main")
            if current() is first:
                yield_("in the trace function")

    first = Coroutine(lambda: traced())
    second = Coroutine(lambda: traced())
    with tracing(tracer):
        seen = first.enter()
        second.enter()
        traced()
    first.enter()
    assert (seen, events) == (
        "in the trace function",
        ["tracer", "tracer", "main"],
    )


def test_dropped_in_the_middle_of_a_trace_function():
    order = []

    def traced():
        pass

    def tracer(frame, event, arg):
        if frame.f_code is traced.__code__:
            try:
                yield_()
            finally:
                order.append("unwound")

    co = Coroutine(lambda: traced())
    with tracing(tracer):
        co.enter()
        sys.settrace(None)
        del co
    assert order == ["unwound"]


def calls(events):
    wanted = ("outer", "inner")
    return [(event, name) for event, name in events if name in wanted]


def test_profile_events_balance():
    events = []

    def profiler(frame, event, arg):
        events.append((event, frame.f_code.co_name))

    def inner():
        yield_()

    def outer():
        inner()

    with tracing(profiler, sys.setprofile):
        co = Coroutine(outer)
        co.enter()
        co.enter()
    assert calls([e for e in events if e[0] in ("call", "return")]) == [
        ("call", "outer"),
        ("call", "inner"),
        ("return", "inner"),
        ("return", "outer"),
    ]
    c_calls = [e for e in events if e[0].startswith("c_") and e[1] == "inner"]
    assert c_calls == [("c_call", "inner"), ("c_return", "inner")]


def test_exception_events():
    events = []

    def tracer(frame, event, arg):
        if frame.f_code is thrown_into.__code__:
            events.append(event)
        return tracer

    def thrown_into():
        yield_()

    co = Coroutine(thrown_into)
    with tracing(tracer):
        co.enter()
        co.close()
    assert events == ["call", "line", "exception", "return"]


def test_threading_settrace_reaches_coroutines():
    names = []

    def tracer(frame, event, arg):
        names.append(frame.f_code.co_name)

    def in_thread():
        yield_()

    def work():
        co = Coroutine(in_thread)
        co.enter()
        co.enter()

    threading.settrace(tracer)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.settrace(None)
    assert names.count("in_thread") == 1


def test_local_trace_function_survives_suspension():
    tracer, lines = record_lines(body.__code__)
    co = Coroutine(body)
    with tracing(tracer):
        co.enter()
        first = list(lines)
        co.enter()
        second = list(lines)
    co.close()
    assert (first, second) == ([1, 2, 3], [1, 2, 3, 4, 2, 3])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring():
    monitoring = sys.monitoring
    tool, events = monitoring.PROFILER_ID, []
    kinds = monitoring.events
    names = {
        kinds.PY_START: "start",
        kinds.PY_RETURN: "return",
        kinds.PY_UNWIND: "unwind",
        kinds.LINE: "line",
    }

    def note(kind):
        def callback(code, *args):
            if code is body.__code__:
                events.append(names[kind])

        return callback

    monitoring.use_tool_id(tool, "test")
    try:
        for kind in names:
            monitoring.register_callback(tool, kind, note(kind))
        monitoring.set_events(tool, sum(names))
        finished, unwound = Coroutine(body), Coroutine(body)
        list(finished)
        whole = list(events)
        events.clear()
        unwound.enter()
        unwound.close()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert whole == ["start", *["line"] * 12, "return"]
    assert events == ["start", "line", "line", "line", "unwind"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_callback_that_switches():
    monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID

    def watched():
        return "end"

    def callback(code, offset):
        if code is watched.__code__ and current():
            yield_("in the callback")

    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(tool, monitoring.events.PY_START, callback)
        monitoring.set_events(tool, monitoring.events.PY_START)
        co = Coroutine(lambda: watched())
        seen = [co.enter(), watched(), co.enter()]
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert seen == ["in the callback", "end", "end"]


@pytest.mark.parametrize("raises", [False, True])
def test_no_trace_function_is_kept_where_a_greenlet_begins_as_another_ends(raises):
    def tracer(*args):
        pass

    def end():
        if raises:
            raise KeyError

    def once():
        parent = greenlet(lambda value=None: value)
        child = greenlet(end, parent)
        with contextlib.suppress(KeyError), tracing(tracer):
            child.switch()

    once()
    before = sys.getrefcount(tracer)
    for _ in range(10):
        once()
    assert sys.getrefcount(tracer) == before
