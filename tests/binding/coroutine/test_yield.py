"""yield_() works from any depth, through any kind of caller."""

import contextlib
import functools
import re

import copool
from copool import Coroutine, yield_


def test_from_any_depth():
    def descend(n):
        if n:
            descend(n - 1)
        else:
            yield_("bottom")
        return "top"

    co = Coroutine(descend)
    assert [co.enter(100), co.enter()] == ["bottom", "top"]


def through_sorted():
    return sorted([2, 1], key=yield_)


def through_map():
    return list(map(yield_, [1, 2]))


def through_sub():
    return re.sub("a", lambda match: yield_(match[0]), "aba")


def through_reduce():
    return functools.reduce(lambda a, b: yield_((a, b)), [1, 2, 3])


def through_generator():
    return sum(yield_(i) for i in range(3))


def through_comprehension():
    return [yield_(i) for i in range(3)]


def through_class_body():
    class Thing:
        value = yield_("in class")

    return Thing.value


def through_import():
    namespace = {"yield_": yield_}
    exec(compile("value = yield_('in exec')", "<text>", "exec"), namespace)
    return namespace["value"]


def through_special_methods():
    class Thing:
        def __getattr__(self, name):
            return yield_(name)

        def __add__(self, other):
            return yield_(other)

        def __bool__(self):
            return bool(yield_("bool"))

    return [Thing().name, Thing() + 5, not Thing()]


def through_with():
    @contextlib.contextmanager
    def manager():
        yield yield_("enter")
        yield_("exit")

    with manager() as value:
        return value


def through_finalizer():
    class Thing:
        def __del__(self):
            order.append(yield_("in __del__"))

    order = []
    thing = Thing()
    del thing
    return order


CASES = {
    through_sorted: ([2, 1, 10, 10], [2, 1]),
    through_map: ([1, 2, 10, 10], [10, 10]),
    through_sub: (["a", "a", "x", "x"], "xbx"),
    through_reduce: ([(1, 2), (10, 3), 10, 10], 10),
    through_generator: ([0, 1, 2, 10, 10, 10], 30),
    through_comprehension: ([0, 1, 2, 10, 10, 10], [10, 10, 10]),
    through_class_body: (["in class", 10], 10),
    through_import: (["in exec", 10], 10),
    through_special_methods: (["name", 5, "bool", 10, 10, 10], [10, 10, False]),
    through_with: (["enter", "exit", 10], 10),
    through_finalizer: (["in __del__", 10], [10]),
}


def test_through_c_functions_and_special_methods():
    for fn, (values, result) in CASES.items():
        yields = [v for v in values if v not in (10, "x")]
        answer = "x" if fn is through_sub else 10
        co = Coroutine(fn)
        seen = [co.enter()]
        while True:
            received = co.enter(answer)
            if co.done:
                break
            seen.append(received)
        assert (fn, seen, received) == (fn, yields, result)


def test_yield_itself_is_a_body():
    co = Coroutine(yield_)
    assert [co.enter("a"), co.enter("b"), co.state] == ["a", "b", "finished"]


def test_enter_itself_is_a_body():
    inner = Coroutine(lambda: yield_("inner"))
    outer = Coroutine(inner.enter)
    assert [outer.enter(), outer.state, inner.state] == [
        "inner",
        "finished",
        "suspended",
    ]
    inner.close()


def test_interleaving_of_three():
    order = []

    def body(name):
        for i in range(3):
            order.append(f"{name}{i}")
            yield_()

    coroutines = [Coroutine(body) for _ in range(3)]
    for co, name in zip(coroutines, "abc", strict=True):
        co.enter(name)
    while coroutines:
        for co in list(coroutines):
            co.enter()
            if co.done:
                coroutines.remove(co)
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_value_passes_by_identity():
    thing = object()
    co = Coroutine(lambda: yield_(thing))
    other = object()
    assert [co.enter() is thing, co.enter(other) is other] == [True, True]


def test_generator_and_coroutine_keep_their_own_yield():
    def generator():
        yield "g1"
        yield_("c")
        yield "g2"

    def body():
        return list(generator())

    co = Coroutine(body)
    assert [co.enter(), co.enter()] == ["c", ["g1", "g2"]]


def test_generator_that_runs_in_a_suspended_coroutine_is_running():
    def generator():
        yield_()
        yield 1

    g = generator()
    co = Coroutine(lambda: next(g))
    co.enter()
    order = []
    try:
        next(g)
    except ValueError as error:
        order.append(str(error))
    order.append(co.enter())
    assert order == ["generator already executing", 1]


def test_generator_moves_between_coroutines():
    def generator():
        while True:
            yield copool.current()

    g = generator()
    a, b = Coroutine(lambda: next(g)), Coroutine(lambda: next(g))
    assert [a.enter() is a, b.enter() is b, next(g)] == [True, True, None]


def test_async_function_yields_to_two_sides():
    class Wait:
        def __await__(self):
            return (yield "awaited")

    async def main():
        yield_("yielded")
        return await Wait()

    task = main()
    co = Coroutine(lambda: task.send(None))
    assert [co.enter(), co.enter()] == ["yielded", "awaited"]
    task.close()


def test_values_half_evaluated_survive_a_switch():
    def body():
        return (yield_(1), yield_(2), [yield_(3)], {"a": yield_(4)})

    co = Coroutine(body)
    assert [co.enter(), co.enter("a"), co.enter("b"), co.enter("c")] == [1, 2, 3, 4]
    assert co.enter("d") == ("a", "b", ["c"], {"a": "d"})
