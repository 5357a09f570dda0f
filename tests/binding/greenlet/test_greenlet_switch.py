"""Switching between greenlets passes what greenlet's would, to whom it would."""

import gc
import sys
from types import SimpleNamespace

import pytest

import copool
from copool._core import _greenlet_names

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent


def test_both_run_in_turns():
    order = []

    def child():
        order.append("child")
        main.switch()
        order.append("child again")

    main = getcurrent()
    g = greenlet(child)
    order.append("main")
    g.switch()
    order.append("main again")
    g.switch()
    assert order == ["main", "child", "main again", "child again"]
    assert g.dead


PASSED = [
    ((), {}, ()),
    ((1,), {}, 1),
    ((None,), {}, None),
    (((1, 2),), {}, (1, 2)),
    ((1, 2, 3), {}, (1, 2, 3)),
    ((), {"a": 1}, {"a": 1}),
    ((1,), {"a": 2}, ((1,), {"a": 2})),
    ((1, 2), {"a": 3, "b": 4}, ((1, 2), {"a": 3, "b": 4})),
]


@pytest.mark.parametrize(("args", "kwargs", "received"), PASSED)
def test_what_a_switch_passes(args, kwargs, received):
    main = getcurrent()
    got = []

    def child():
        got.append(main.switch(*args, **kwargs))

    g = greenlet(child)
    assert g.switch() == received
    g.switch(*args, **kwargs)
    assert got == [received]


@pytest.mark.parametrize(("args", "kwargs", "received"), PASSED)
def test_a_switch_to_oneself_or_a_dead_one_returns_what_is_passed(
    args, kwargs, received
):
    dead = greenlet(int)
    dead.switch()
    assert getcurrent().switch(*args, **kwargs) == received
    assert dead.switch(*args, **kwargs) == received


@pytest.mark.parametrize("count", [0, 1, 4, 5, 40])
@pytest.mark.parametrize("names", [0, 1, 4, 5])
def test_the_first_switch_passes_the_arguments(count, names):
    args = tuple(object() for _ in range(count))
    kwargs = {f"name{i}": object() for i in range(names)}
    got = greenlet(lambda *a, **k: (a, k)).switch(*args, **kwargs)
    assert got == (args, kwargs)


def test_arguments_are_held_while_the_starter_goes_on():
    class Value:
        pass

    def child(*values, **named):
        getcurrent().parent.switch()
        return [type(v) for v in (*values, *named.values())]

    for count in (1, 6):
        g = greenlet(child)
        g.switch(*[Value() for _ in range(count)], last=Value())
        assert g.switch() == [Value] * (count + 1)


def test_no_reference_is_lost_or_kept():
    value = object()
    before = sys.getrefcount(value)
    main = getcurrent()

    def child(*args, **kwargs):
        while True:
            main.switch(value, value, name=value)

    g = greenlet(child)
    for _ in range(10):
        g.switch(value, name=value)
        getcurrent().switch(value, value)
    del g
    assert sys.getrefcount(value) == before


def test_the_result_goes_to_the_parent_not_to_who_switched():
    order = []
    first = greenlet(lambda: order.append(("first got", second.switch())) or "end")
    second = greenlet(lambda: "from second")
    assert first.switch() == "from second"
    assert second.dead
    assert not first.dead
    assert first.switch(7) == "end"
    assert order == [("first got", 7)]


def test_a_dead_parent_is_passed_over():
    dead = greenlet(int)
    dead.switch()
    assert greenlet(lambda: 7, dead).switch() == 7


def test_a_pending_parent_is_started_with_the_result():
    parent = greenlet(lambda *args: ("parent", args))
    assert greenlet(lambda: (1, 2), parent).switch() == ("parent", ((1, 2),))
    parent = greenlet(lambda *args: ("parent", args))
    dead = greenlet(int)
    dead.switch()
    dead.parent = parent
    assert dead.switch(1, 2) == ("parent", (1, 2))


def test_a_pending_parent_gets_an_exception_without_running():
    ran = []
    parent = greenlet(lambda *args: ran.append(args))
    with pytest.raises(ZeroDivisionError):
        greenlet(lambda: 1 // 0, parent).switch()
    assert parent.dead
    assert not ran


def test_a_chain_of_pending_parents_is_run_through():
    g = greenlet(lambda x: x + 1)
    top = g
    for _ in range(100):
        g = greenlet(lambda x: x + 1, g)
    assert g.switch(0) == 101
    assert top.dead


def test_a_parent_without_run_passes_the_error_on():
    with pytest.raises(AttributeError, match="run"):
        greenlet(int, greenlet()).switch()


def test_a_parent_that_cannot_start_passes_the_error_on(settings):
    copool.configure(max_blocks=1)
    parent = greenlet(lambda x: x)
    child = greenlet(lambda: 5, parent)
    with pytest.raises(copool.PoolExhausted):
        child.switch()
    assert child.dead
    assert not parent.dead
    copool.configure(max_blocks=2)
    assert child.switch(6) == 6
    assert parent.dead


def test_without_a_stack_it_stays_pending(settings):
    copool.configure(max_blocks=1)
    main = getcurrent()
    first = greenlet(main.switch)
    first.switch()
    second = greenlet(lambda x: x)
    with pytest.raises(copool.PoolExhausted):
        second.switch(1)
    with pytest.raises(copool.PoolExhausted):
        second.throw(ValueError)
    assert not second.dead
    first.switch()
    assert second.switch(2) == 2


@pytest.mark.usefixtures("settings", "collected_by_hand")
def test_what_is_thrown_is_dropped_once_where_there_is_no_stack():
    """On 3.11 to raise that there is none runs finalizers, which may switch."""
    copool.configure(max_blocks=2)
    main = getcurrent()
    ended = []

    def body():
        try:
            main.switch()
        except KeyError:
            return "end"

    class Garbage:
        def __init__(self):
            self.me = self
            self.g = greenlet(body)
            self.g.switch()

        def __del__(self):
            ended.append(self.g.throw(KeyError("inner")))

    held = greenlet(main.switch)
    held.switch()
    error = ValueError("thrown")
    before = sys.getrefcount(error)
    thresholds = gc.get_threshold()
    gc.collect()
    for allocations in range(1, 12):
        Garbage()
        try:
            raise IndexError
        except IndexError:
            pending = greenlet(int)
            throw = pending.throw
            gc.set_threshold(allocations)
            gc.enable()
            try:  # noqa: SIM105
                throw(error)
            except (copool.PoolExhausted, ValueError):
                pass  # the latter if garbage was collected before
            gc.disable()
            gc.set_threshold(*thresholds)
        error.__traceback__ = None
        gc.collect()
    assert ended == ["end"] * 11
    assert sys.getrefcount(error) == before
    held.switch()


def test_run_is_looked_up_when_it_starts():
    class Late(greenlet):
        def run(self, x):
            return type(self), x

    assert Late().switch(1) == (Late, 1)
    g = greenlet(int)
    g.run = lambda x: x * 2
    assert g.switch(4) == 8


def test_started_while_its_run_was_looked_up():
    class Eager(greenlet):
        tried = False

        def __getattribute__(self, name):
            if name == "run" and not self.tried:
                self.tried = True
                self.switch("inner")
            return super().__getattribute__(name)

        def run(self, value):
            while True:
                value = self.parent.switch(value)

    g = Eager()
    assert g.switch("outer") == "outer"
    assert g.switch("third") == "third"


def test_reparented_while_its_run_was_looked_up():
    class Moving(greenlet):
        def __getattribute__(self, name):
            if name == "run":
                self.parent = other
            return super().__getattribute__(name)

    other = greenlet(lambda x: ("other", x))
    assert Moving(lambda: 5).switch() == ("other", 5)


def test_a_callable_that_is_not_used_is_dropped_inside():
    order = []

    class Stored:
        def __del__(self):
            order.append(getcurrent() is g)

    class Other(greenlet):
        def __getattribute__(self, name):
            if name == "run":
                return lambda: order.append("run")
            return super().__getattribute__(name)

    g = Other(Stored())
    g.switch()
    assert order == [True, "run"]


def test_deep_below_c_frames():
    main = getcurrent()

    def dive(depth):
        if depth == 0:
            return main.switch("bottom")
        return sorted([depth], key=lambda _: dive(depth - 1) or 0)

    gs = [greenlet(dive) for _ in range(50)]
    assert {g.switch(10) for g in gs} == {"bottom"}
    assert all(g.switch() == [10] for g in reversed(gs))


def test_many_in_a_ring():
    n, rounds = 300, 20
    order = []

    def member(i):
        for _ in range(rounds):
            order.append(i)
            ring[(i + 1) % n].switch((i + 1) % n)

    main = getcurrent()
    ring = [greenlet(member, main) for _ in range(n)]
    ring[0].switch(0)
    assert order == list(range(n)) * rounds
    for g in ring:
        g.throw()


def test_handled_exceptions_are_each_greenlet_s_own():
    seen = []

    def child():
        seen.append(sys.exc_info()[0])
        try:
            raise KeyError("child")
        except KeyError:
            main.switch()
            seen.append(sys.exc_info()[0])

    main = getcurrent()
    g = greenlet(child)
    try:
        raise ValueError("main")
    except ValueError:
        g.switch()
        assert sys.exc_info()[0] is ValueError
    g.switch()
    assert seen == [None, KeyError]


def test_trace_sees_every_switch():
    events = []
    names = {}

    def trace(event, pair):
        events.append((event, *(names[g] for g in pair)))

    main = getcurrent()
    child = greenlet(lambda: main.switch() and None)
    failing = greenlet(lambda: 1 // 0)
    names.update({main: "main", child: "child", failing: "failing"})
    assert api.settrace(trace) is None
    try:
        child.switch()
        child.switch()
        with pytest.raises(ZeroDivisionError):
            failing.switch()
        main.switch()
        with pytest.raises(KeyError):
            main.throw(KeyError)
    finally:
        assert api.settrace(None) is trace
    assert events == [
        ("switch", "main", "child"),
        ("switch", "child", "main"),
        ("switch", "main", "child"),
        ("switch", "child", "main"),
        ("switch", "main", "failing"),
        ("throw", "failing", "main"),
        ("switch", "main", "main"),
        ("throw", "main", "main"),
    ]


def test_a_failing_trace_ends_and_raises_in_the_target():
    order = []

    def trace(event, pair):
        raise KeyError(event)

    def child():
        order.append("never")

    api.settrace(trace)
    with pytest.raises(KeyError):
        greenlet(child).switch()
    assert api.gettrace() is None
    assert not order


def test_a_trace_that_switches():
    def trace(event, pair):
        if pair[1] is first:
            api.settrace(None)
            order.append(second.switch("trace"))

    order = []
    main = getcurrent()
    first = greenlet(lambda: order.append("first"))
    second = greenlet(lambda x: first.switch(x))
    api.settrace(trace)
    first.switch()
    assert order == ["trace", "first"]
    assert second.dead is False
    assert second.throw() is not None
    assert main is getcurrent()


def test_recursion_is_counted_for_each():
    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    def endless():
        return endless()

    def middle(n):
        if n:
            return middle(n - 1)
        return greenlet(down).switch(300)

    assert middle(300) == 300
    with pytest.raises(RecursionError):
        greenlet(endless).switch()
    assert greenlet(down).switch(300) == 300
