"""contextvars: which Context a coroutine runs in."""

import asyncio
import contextvars
import decimal

import pytest

from copool import Coroutine, yield_

var = contextvars.ContextVar("var", default="unset")


def test_runs_in_the_context_of_whoever_enters_first():
    def body():
        yield_(var.get())
        var.set("inside")
        yield_(var.get())

    def main():
        co = Coroutine(body)
        var.set("at first enter")
        seen = [co.enter()]
        var.set("later")
        seen += [co.enter(), var.get()]
        co.close()
        return seen

    seen = contextvars.copy_context().run(main)
    assert seen == ["at first enter", "inside", "inside"]


def test_keeps_that_context_when_entered_from_another():
    def body():
        while True:
            yield_(var.get())

    co = Coroutine(body)
    first, second = contextvars.copy_context(), contextvars.copy_context()
    first.run(var.set, "first")
    second.run(var.set, "second")
    seen = [first.run(co.enter), second.run(co.enter), co.enter()]
    first.run(var.set, "changed")
    seen.append(second.run(co.enter))
    co.close()
    assert seen == ["first", "first", "first", "changed"]


def test_own_context():
    context = contextvars.copy_context()
    context.run(var.set, "own")

    def body():
        yield_(var.get())
        var.set("changed")

    co = Coroutine(body, context=context)
    seen = [co.enter(), var.get()]
    co.enter()
    assert [*seen, context[var], var.get()] == ["own", "unset", "changed", "unset"]


def test_each_chain_sees_its_own_value_in_a_row_of_switches():
    def body(name):
        var.set(name)
        for _ in range(3):
            yield_(var.get())

    coroutines = [Coroutine(body, context=contextvars.copy_context()) for _ in range(3)]
    seen = [co.enter(name) for co, name in zip(coroutines, "abc", strict=True)]
    seen += [co.enter() for _ in range(2) for co in coroutines]
    for co in coroutines:
        co.enter()
    assert seen == list("abc" * 3)
    assert var.get() == "unset"


def test_context_run_around_a_yield():
    def inner():
        yield_(var.get())
        return var.get()

    def body():
        return contextvars.copy_context().run(lambda: (var.set("run"), inner())[1])

    co = Coroutine(body)
    assert [co.enter(), var.get(), co.enter(), var.get()] == [
        "run",
        "unset",
        "run",
        "unset",
    ]


def test_entered_context_stays_entered_while_suspended():
    context = contextvars.copy_context()
    co = Coroutine(lambda: context.run(yield_))
    co.enter()
    with pytest.raises(RuntimeError, match="already entered"):
        context.run(int)
    co.enter()
    assert context.run(int) == 0


def test_token_is_good_across_a_switch():
    def body():
        token = var.set("set")
        yield_(var.get())
        var.reset(token)
        return var.get()

    co = Coroutine(body, context=contextvars.Context())
    assert [co.enter(), co.enter()] == ["set", "unset"]


def test_nested_coroutines_inherit():
    def inner():
        return var.get()

    def outer():
        var.set("outer")
        return Coroutine(inner).enter()

    co = Coroutine(outer, context=contextvars.copy_context())
    assert [co.enter(), var.get()] == ["outer", "unset"]


def test_decimal_context_belongs_to_the_chain():
    def body(digits):
        decimal.getcontext().prec = digits
        yield_()
        return str(decimal.Decimal(1) / 3)

    coroutines = []
    for digits in (3, 5):
        co = Coroutine(body, context=contextvars.Context())
        co.enter(digits)
        coroutines.append(co)
    assert [co.enter() for co in coroutines] == ["0.333", "0.33333"]


def test_context_is_let_go():
    class Value:
        def __del__(self):
            order.append("gone")

    order = []
    context = contextvars.Context()
    context.run(var.set, Value())
    co = Coroutine(yield_, context=context)
    del context
    co.enter()
    order.append("suspended")
    co.enter()
    assert order == ["suspended", "gone"]


def test_in_asyncio_tasks():
    def body():
        yield_(var.get())
        return var.get()

    async def task(name):
        var.set(name)
        co = Coroutine(body)
        seen = [co.enter()]
        await asyncio.sleep(0)
        return [*seen, co.enter()]

    async def main():
        return await asyncio.gather(*map(task, "abc"))

    assert asyncio.run(main()) == [["a", "a"], ["b", "b"], ["c", "c"]]


@pytest.mark.parametrize("thing", [1, {}, "context"])
def test_refuses_what_is_no_context(thing):
    with pytest.raises(TypeError, match=r"must be a contextvars\.Context or None"):
        Coroutine(print, context=thing)
