"""enter() passes arguments in, brings results out, and the state says which is next."""

import functools
import inspect
import weakref

import pytest

import copool
from copool import Coroutine, yield_


def test_first_arguments_go_to_the_function():
    assert Coroutine(lambda *args: args).enter() == ()
    assert Coroutine(lambda *args: args).enter(1) == (1,)
    assert Coroutine(lambda *args: args).enter(*range(9)) == tuple(range(9))


def test_later_argument_is_what_yield_returns():
    order = []

    def body(first):
        order.append(first)
        order.append(yield_("a"))
        order.append(yield_("b"))
        return "c"

    co = Coroutine(body)
    order.append(co.enter(1))
    order.append(co.enter(2))
    order.append(co.enter())
    assert order == [1, "a", 2, "b", None, "c"]


def test_nothing_runs_before_the_first_enter():
    order = []
    co = Coroutine(lambda: order.append("ran"))
    assert (co.state, order) == ("created", [])
    co.enter()
    assert (co.state, order) == ("finished", ["ran"])


@pytest.mark.parametrize(
    ("fn", "args", "result"),
    [
        (len, ([1, 2],), 2),
        (int, ("7",), 7),
        (functools.partial(max, 1), (2,), 2),
        ("a-b".split, ("-",), ["a", "b"]),
        (sorted, ([2, 1],), [1, 2]),
        (dict, ((("a", 1),),), {"a": 1}),
    ],
)
def test_any_callable_will_do(fn, args, result):
    assert Coroutine(fn).enter(*args) == result


def test_callable_object_and_bound_method():
    class Callable:
        def __call__(self, value):
            return yield_(value)

        def method(self, value):
            return yield_(value)

    for fn in (Callable(), Callable().method):
        co = Coroutine(fn)
        assert [co.enter(1), co.enter(2)] == [1, 2]


def test_states_in_the_life_of_two():
    order = []

    def note(when):
        order.append((when, outer.state, inner.state))

    def inner_body():
        note("inner runs")
        yield_()

    def outer_body():
        note("outer runs")
        inner.enter()
        note("inner yielded")
        yield_()

    outer, inner = Coroutine(outer_body), Coroutine(inner_body)
    note("at first")
    outer.enter()
    note("both suspended")
    outer.enter()
    inner.enter()
    note("at last")
    assert order == [
        ("at first", "created", "created"),
        ("outer runs", "running", "created"),
        ("inner runs", "waiting", "running"),
        ("inner yielded", "running", "suspended"),
        ("both suspended", "suspended", "suspended"),
        ("at last", "finished", "finished"),
    ]


def test_done_caller_and_current():
    order = []

    def inner_body():
        order.append(inner.caller is outer)
        order.append(copool.current() is inner)
        yield_()

    def outer_body():
        order.append(outer.caller)
        inner.enter()
        order.append(inner.caller)
        order.append(copool.in_coroutine())

    outer, inner = Coroutine(outer_body), Coroutine(inner_body)
    order.append((outer.done, copool.current(), copool.in_coroutine()))
    outer.enter()
    order.append((outer.done, inner.done, outer.caller))
    inner.enter()
    assert order == [
        (False, None, False),
        None,
        True,
        True,
        None,
        True,
        (True, False, None),
    ]


def test_caller_is_who_entered_last():
    callers = []

    def body():
        while True:
            callers.append(co.caller and co.caller.frame.f_code.co_name)
            yield_()

    def first():
        co.enter()

    def second():
        co.enter()

    co = Coroutine(body)
    Coroutine(first).enter()
    co.enter()
    Coroutine(second).enter()
    co.close()
    assert callers == ["first", None, "second"]


def test_nested_ten_thousand_deep():
    def descend(n):
        return 1 + Coroutine(descend).enter(n - 1) if n else 0

    assert descend(10_000) == 10_000


def test_repr_names_function_and_state():
    def body():
        yield_(repr(co))

    co = Coroutine(body)
    name = "test_repr_names_function_and_state.<locals>.body"
    assert repr(co) == f"<copool.Coroutine of {name}, created, at {id(co):#x}>"
    assert co.enter() == f"<copool.Coroutine of {name}, running, at {id(co):#x}>"
    assert repr(co) == f"<copool.Coroutine of {name}, suspended, at {id(co):#x}>"
    co.close()
    assert repr(co) == f"<copool.Coroutine, finished, at {id(co):#x}>"


def test_repr_of_a_callable_without_a_name():
    partial = functools.partial(print)
    assert repr(partial) in repr(Coroutine(partial))


def test_repr_survives_a_lookup_that_ends_the_coroutine():
    class Callable:
        def __call__(self):
            yield_()

        def __getattr__(self, name):
            co.close()
            raise AttributeError(name)

    co = Coroutine(Callable())
    co.enter()
    assert "finished" in repr(co)


def test_weak_references():
    co = Coroutine(print)
    ref = weakref.ref(co)
    assert ref() is co
    del co
    assert ref() is None


def test_function_is_let_go_at_the_end():
    def body():
        yield_()

    co = Coroutine(body)
    ref = weakref.ref(body)
    del body
    co.enter()
    assert ref() is not None
    co.enter()
    assert ref() is None


def test_arguments_belong_to_the_coroutine_while_it_needs_them():
    class Thing:
        pass

    def body(*things):
        yield_()
        return len(things)

    for n in (1, 4, 5, 20):
        things = [Thing() for _ in range(n)]
        refs = [weakref.ref(thing) for thing in things]
        co = Coroutine(body)
        co.enter(*things)
        del things
        assert [ref() is None for ref in refs] == [False] * n
        assert co.enter() == n
        assert [ref() is None for ref in refs] == [True] * n


def test_signature_and_help():
    assert str(inspect.signature(Coroutine)) == ("(fn, /, *, context=None, name=None)")
    assert str(inspect.signature(yield_)) == "(value=None, /)"
    for name in ("enter", "throw", "close", "state", "done", "caller", "frame"):
        assert getattr(Coroutine, name).__doc__


def test_every_call_form_of_the_constructor():
    assert Coroutine(len, context=None).enter("ab") == 2
    assert Coroutine(*[len], **{}).enter("ab") == 2
    assert Coroutine.__new__(Coroutine, len).enter("ab") == 2
