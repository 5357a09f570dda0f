"""A coroutine has a context of its own, copied from whoever enters it first."""

import asyncio
import contextvars
import decimal
import gc
import subprocess
import sys
import threading
import weakref

import pytest

import copool
from copool import Coroutine, yield_

var = contextvars.ContextVar("var", default="unset")


def read_for_ever():
    while True:
        yield_(var.get())


@pytest.mark.parametrize("given", [{}, {"context": None}])
def test_runs_in_a_copy_of_the_context_of_whoever_enters_first(given):
    def body():
        yield_(var.get())
        yield_(var.get())
        var.set("inside")
        yield_(var.get())

    def main():
        co = Coroutine(body, **given)
        var.set("at first enter")
        seen = [co.enter()]
        var.set("later")
        seen += [co.enter(), co.enter(), var.get()]
        co.close()
        return seen

    seen = contextvars.copy_context().run(main)
    assert seen == ["at first enter", "at first enter", "inside", "later"]


def test_begins_with_nothing_where_nothing_is_set():
    def body():
        seen = [var.get(), len(contextvars.copy_context())]
        token = var.set("inside")
        yield_([*seen, var.get(), len(contextvars.copy_context())])
        var.reset(token)
        return var.get()

    co = Coroutine(body)
    seen = contextvars.Context().run(co.enter)
    assert seen == ["unset", 0, "inside", 1]
    assert [var.get(), co.enter()] == ["unset", "unset"]


def test_what_it_sets_is_gone_with_it():
    def body():
        var.set("inside")
        return var.get()

    def main():
        other.set("outside")
        return [Coroutine(body).enter(), var.get(), Coroutine(var.get).enter()]

    other = contextvars.ContextVar("other")
    for context in contextvars.Context(), contextvars.copy_context():
        assert context.run(main) == ["inside", "unset", "unset"]


@pytest.mark.parametrize(
    ("context", "after_change"), [(None, "first"), ("shared", "changed")]
)
def test_keeps_its_context_when_entered_from_another(context, after_change):
    co = Coroutine(read_for_ever, context=context)
    first, second = contextvars.copy_context(), contextvars.copy_context()
    first.run(var.set, "first")
    second.run(var.set, "second")
    seen = [first.run(co.enter), second.run(co.enter), co.enter()]
    first.run(var.set, "changed")
    seen.append(second.run(co.enter))
    co.close()
    assert seen == ["first"] * 3 + [after_change]


def test_unwinds_in_its_own_context():
    def body():
        token = var.set("inside")
        try:
            yield_()
        finally:
            seen.append(var.get())
            var.reset(token)
            seen.append(var.get())

    seen = []
    context = contextvars.copy_context()
    for end in ("close", "drop", "collect"):
        co = Coroutine(body)
        context.run(co.enter)
        if end == "close":
            co.close()
        elif end == "collect":
            cycle = [co]
            cycle.append(cycle)
            del cycle
        del co
        gc.collect()
    assert seen == ["inside", "unset"] * 3


def test_shares_the_context_of_whoever_enters_first_if_asked_to():
    def body():
        yield_(var.get())
        var.set("inside")
        yield_(var.get())

    def main():
        co = Coroutine(body, context="".join(["sha", "red"]))
        var.set("at first enter")
        seen = [co.enter()]
        var.set("later")
        seen += [co.enter(), var.get()]
        co.close()
        return seen

    seen = contextvars.copy_context().run(main)
    assert seen == ["at first enter", "inside", "inside"]


def test_shares_what_is_not_there_yet():
    def main():
        Coroutine(lambda: var.set("inside"), context="shared").enter()
        return var.get()

    # A coroutine that begins where nothing is set has no context object.
    assert contextvars.Context().run(Coroutine(main).enter) == "inside"


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

    coroutines = [Coroutine(body) for _ in range(3)]
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

    co = Coroutine(outer)
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


def set_context(digits):
    decimal.setcontext(decimal.Context(prec=digits))
    yield_()
    return str(decimal.Decimal(1) / 3)


def use_local_context(digits):
    with decimal.localcontext() as context:
        context.prec = digits
        yield_()
        return str(decimal.Decimal(1) / 3)


def set_precision(digits):
    decimal.getcontext().prec = digits
    yield_()
    return str(decimal.Decimal(1) / 3)


@pytest.mark.parametrize("body", [set_context, use_local_context])
def test_each_has_its_precision(body):
    def main():
        decimal.getcontext()
        coroutines = [Coroutine(body) for _ in range(3)]
        for digits, co in enumerate(coroutines, 3):
            co.enter(digits)
        return [co.enter() for co in coroutines] + [str(decimal.Decimal(1) / 3)]

    threes = ["0.333", "0.3333", "0.33333", "0." + 28 * "3"]
    assert contextvars.Context().run(main) == threes


def test_what_is_changed_in_place_is_changed_for_all_as_in_tasks():
    async def task(digits):
        decimal.getcontext().prec = digits
        await asyncio.sleep(0)
        return str(decimal.Decimal(1) / 3)

    async def tasks():
        decimal.getcontext()
        return await asyncio.gather(task(3), task(5))

    def coroutines():
        decimal.getcontext()
        first, second = Coroutine(set_precision), Coroutine(set_precision)
        first.enter(3)
        second.enter(5)
        return [first.enter(), second.enter()]

    by_tasks = contextvars.Context().run(asyncio.run, tasks())
    assert contextvars.Context().run(coroutines) == by_tasks == ["0.33333"] * 2


AWARE = """
import warnings
from copool import Coroutine, yield_

def body(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        yield_()
        warnings.warn("careful")
        return len(caught)

coroutines = [Coroutine(body) for _ in range(2)]
for co, action in zip(coroutines, ["always", "ignore"]):
    co.enter(action)
print([co.enter() for co in coroutines])
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the option is new in 3.14")
def test_each_catches_its_warnings_where_they_are_in_the_context():
    option = ["-X", "context_aware_warnings=1"]
    done = subprocess.run(
        [sys.executable, *option, "-c", AWARE], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[1, 0]\n", "")


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


def test_values_of_a_copy_are_let_go():
    class Value:
        def __del__(self):
            order.append("gone")
            Coroutine(var.set).enter("set while it goes")

    def body():
        var.set(Value())
        yield_()
        order.append("ends")

    def main():
        var.set("outside")
        for _ in range(2):
            co = Coroutine(body)
            co.enter()
            co.enter()
        return var.get()

    order = []
    assert contextvars.Context().run(main) == "outside"
    assert order == ["ends", "gone"] * 2


def test_a_context_that_somebody_has_is_not_used_again():
    def body(name):
        tokens.append(var.set(name))

    def main():
        var.set("outside")
        for name in "abc":
            Coroutine(body).enter(name)
        contexts = [token_context(token) for token in tokens]
        return [context[var] for context in contexts]

    def token_context(token):
        contexts = [
            thing
            for thing in gc.get_referents(token)
            if isinstance(thing, contextvars.Context)
        ]
        return contexts[0]

    tokens = []
    assert contextvars.Context().run(main) == ["a", "b", "c"]


def count_contexts():
    gc.collect()
    return sum(type(thing) is contextvars.Context for thing in gc.get_objects())


def test_threads_and_trim_leave_no_contexts_behind():
    def work():
        var.set("outside")
        coroutines = [Coroutine(read_for_ever) for _ in range(40)]
        for co in coroutines:
            assert co.enter() == "outside"
        for co in coroutines:
            co.close()

    copool.trim()
    before = count_contexts()
    for _ in range(5):
        thread = threading.Thread(target=contextvars.Context().run, args=[work])
        thread.start()
        thread.join()
    del thread
    assert count_contexts() <= before
    contextvars.Context().run(work)
    copool.trim()
    assert count_contexts() <= before


def test_contexts_that_the_collector_shows_can_be_used():
    def enter_three():
        coroutines = [Coroutine(read_for_ever) for _ in range(3)]
        seen = [co.enter() for co in coroutines]
        for co in coroutines:
            co.close()
        return seen

    def everything():
        return [
            thing
            for thing in gc.get_objects()
            if type(thing) is contextvars.Context and var not in thing
        ]

    def main():
        var.set("outside")
        enter_three()
        found = everything()
        for context in found:
            assert dict(context) == dict(context.items())
        seen = [enter_three()]
        references = [weakref.ref(context) for context in found]
        seen.append(enter_three())
        found.clear()
        context = None
        seen.append(enter_three())
        references.clear()
        return seen

    assert contextvars.Context().run(main) == [["outside"] * 3] * 3


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


@pytest.mark.parametrize("thing", [1, {}, "context", b"shared", "Shared"])
def test_refuses_what_is_no_context(thing):
    wanted = r'context must be a contextvars\.Context, "shared" or None, not '
    with pytest.raises(TypeError, match=wanted):
        Coroutine(print, context=thing)
