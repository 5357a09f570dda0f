"""Deep recursion ends with RecursionError, inside as outside."""

import functools
import json
import pickle
import re
import sys

import pytest

import copool
from copool import Coroutine, yield_

HUGE = 100_000


def depth():
    """How many Python calls there is room for."""
    n = 0

    def descend():
        nonlocal n
        n += 1
        descend()

    with pytest.raises(RecursionError):
        descend()
    return n


def nested(make, levels=HUGE):
    thing = None
    for _ in range(levels):
        thing = make(thing)
    return thing


def python_calls():
    python_calls()


def sort_by_key(_=None):
    return sorted([1], key=sort_by_key)


class SortsItself:
    """The greediest way known: most bytes of stack for each counted call."""

    def __lt__(self, other):
        return [SortsItself(), SortsItself()].sort()


def map_calls(_=None):
    return list(map(map_calls, [1]))


def sub_calls(_=None):
    return re.sub("a", sub_calls, "a")


def reduce_calls(a=None, b=None):
    return functools.reduce(reduce_calls, [1, 2])


class Attributes:
    def __getattr__(self, name):
        return getattr(self, name)


class Shown:
    def __repr__(self):
        return repr([Shown()])


def generators():
    yield from generators()


def executes():
    try:
        exec("executes()", {"executes": executes})
    except MemoryError as error:  # what the parser says from 3.14 on
        raise RecursionError from error


def coroutine_in_python_calls():
    Coroutine(coroutine_in_python_calls_more).enter()


def coroutine_in_python_calls_more():
    python_calls()


ENDLESS = {
    "Python calls": python_calls,
    "sorted(key=)": sort_by_key,
    "list.sort by __lt__": lambda: SortsItself() < 1,
    "map": map_calls,
    "re.sub": sub_calls,
    "reduce": reduce_calls,
    "__getattr__": lambda: Attributes().x,
    "__repr__": lambda: repr(Shown()),
    "generators": lambda: next(generators()),
    "exec": executes,
    "inside another": coroutine_in_python_calls,
    "repr of lists": lambda: repr(nested(lambda x: [x])),
    "repr of dicts": lambda: repr(nested(lambda x: {1: x})),
    "json.dumps": lambda: json.dumps(nested(lambda x: [x])),
    "json.loads": lambda: json.loads("[" * HUGE),
    "pickle.dumps": lambda: pickle.dumps(nested(lambda x: [x])),
    "comparison": lambda: (
        nested(lambda x: [x], 5 * HUGE) == nested(lambda x: [x], 5 * HUGE)
    ),
    "isinstance": lambda: isinstance(1, nested(lambda x: (x,), 5 * HUGE)),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_error_and_not_a_crash(name):
    co = Coroutine(ENDLESS[name])
    with pytest.raises(RecursionError):
        co.enter()
    assert co.done


@pytest.fixture
def smaller_stack(settings):
    """Than a thread's, which has the thread's own limit, whatever that is."""
    copool.configure(stack_size=6 << 20)


@pytest.mark.usefixtures("smaller_stack")
@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_error_below_a_high_limit(name):
    """What counts then is the stack, not the limit."""
    if name == "Python calls" and sys.version_info >= (3, 12):
        pytest.skip("Python calls take no stack, so only the limit ends them")
    if name in ("inside another", "generators") and sys.version_info >= (3, 12):
        pytest.skip("limited by memory only")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(RecursionError):
            Coroutine(ENDLESS[name]).enter()
    finally:
        sys.setrecursionlimit(before)


@pytest.fixture
def least_stack(settings):
    with pytest.raises(ValueError, match="CPython needs at least") as caught:
        copool.configure(stack_size=1)
    least = int(str(caught.value).split()[-1])
    copool.configure(stack_size=least)
    return least


@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_error_on_the_least_stack(least_stack, name):
    assert least_stack <= 512 * 1024  # what a crowd is made with
    with pytest.raises(RecursionError):
        Coroutine(ENDLESS[name]).enter()


def test_as_deep_as_outside():
    def measure():
        return depth()

    outside = measure()
    inside = Coroutine(measure).enter()
    # What called this test takes some of the depth outside.
    assert 0 < inside - outside < sys.getrecursionlimit() - 500
    assert sys.getrecursionlimit() - 10 < inside < sys.getrecursionlimit()


def test_depth_outside_is_the_same_afterwards():
    before = depth()
    for body in (python_calls, sort_by_key):
        with pytest.raises(RecursionError):
            Coroutine(body).enter()
    inside = Coroutine(depth).enter()
    co = Coroutine(lambda: (yield_(), depth())[1])
    co.enter()
    between = depth()
    assert (between, co.enter(), depth()) == (before, inside - 1, before)


def test_depth_counts_for_each_chain():
    def descend(n):
        return descend(n - 1) if n else (yield_(), depth())[1]

    def measure(n):
        co = Coroutine(descend)
        co.enter(n)
        return co.enter()

    assert measure(100) - measure(300) == 200


def test_limit_set_outside_counts_inside():
    before = sys.getrecursionlimit()
    co = Coroutine(lambda: (yield_(depth()), depth())[1])
    high = co.enter()
    sys.setrecursionlimit(before - 200)
    try:
        assert high - co.enter() == 200
    finally:
        sys.setrecursionlimit(before)


def test_limit_set_inside_counts_outside():
    before = sys.getrecursionlimit()
    high = depth()

    def body():
        sys.setrecursionlimit(before - 200)
        yield_()
        sys.setrecursionlimit(before)

    co = Coroutine(body)
    co.enter()
    low = depth()
    co.enter()
    assert (high - low, depth()) == (200, high)


@pytest.mark.usefixtures("smaller_stack")
@pytest.mark.parametrize("between", [list, yield_], ids=["at once", "later"])
@pytest.mark.parametrize("name", ["sorted", "compiling", "comparison"])
def test_limit_raised_and_lowered_inside(name, between):
    endless = {
        "sorted": sort_by_key,
        "compiling": lambda: compile("-" * 50_000 + "1", "", "eval"),
        "comparison": ENDLESS["comparison"],
    }

    def body():
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(10**6)
        try:
            between()
            with pytest.raises((RecursionError, MemoryError)):
                endless[name]()
            between()
        finally:
            sys.setrecursionlimit(before)
        return depth()

    co = Coroutine(body)
    while not co.done:
        deep = co.enter()
    assert sys.getrecursionlimit() - 10 < deep < sys.getrecursionlimit()


def test_limit_below_the_depth_of_a_coroutine_is_refused():
    def descend(n):
        if n:
            return descend(n - 1)
        with pytest.raises(RecursionError, match=r"recursion depth 10\d"):
            sys.setrecursionlimit(50)
        return sys.getrecursionlimit()

    assert Coroutine(descend).enter(100) == sys.getrecursionlimit()


def test_recovers_and_switches_after_an_overflow():
    def body():
        for _ in range(3):
            try:
                sort_by_key()
            except RecursionError:
                yield_("caught")
        return "end"

    assert list(Coroutine(body)) == ["caught"] * 3


def test_yield_at_the_bottom_of_a_deep_recursion():
    def descend(n):
        if n:
            return descend(n - 1) + 1
        return yield_("bottom")

    co = Coroutine(descend)
    n = sys.getrecursionlimit() - 20
    assert [co.enter(n), co.enter(0)] == ["bottom", n]


@pytest.mark.parametrize(
    "source",
    [
        "(" * 199 + ")" * 199,
        "[" * 199 + "]" * 199,
        "f(" * 199 + ")" * 199,
        "-" * 5000 + "1",
        "lambda:" * 3000 + "1",
        "1 if 1 else " * 3000 + "1",
        "a" + ".b" * 20_000,
        "2**" * 5000 + "1",
    ],
    ids=lambda source: source[:4],
)
def test_compiling_deep_source(source):
    def body():
        try:
            compile(source, "<text>", "eval")
        except (RecursionError, MemoryError) as error:
            return type(error).__name__
        return "compiled"

    assert Coroutine(body).enter() in ("compiled", "RecursionError", "MemoryError")
    assert copool.Coroutine(lambda: compile("(1)", "", "eval")).enter()


class Holder:
    def __init__(self, held):
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


CONTAINERS = pytest.mark.parametrize(
    "make",
    [lambda x: [x], lambda x: (x,), lambda x: {1: x}, Holder, Slotted],
    ids=["list", "tuple", "dict", "object", "slots"],
)


def free_deep(make):
    def body():
        thing = nested(make, 300_000)
        yield_()
        del thing
        return "freed"

    co = Coroutine(body)
    co.enter()
    assert co.enter() == "freed"


@CONTAINERS
def test_freeing_deep_containers(make):
    free_deep(make)


@CONTAINERS
def test_freeing_deep_containers_on_the_least_stack(least_stack, make):
    free_deep(make)


def test_dropping_a_chain_of_suspended_coroutines():
    freed = []

    class Note:
        def __del__(self):
            freed.append(1)

    def body(other, note):
        yield_()

    co = None
    for _ in range(2000):
        new = Coroutine(body)
        new.enter(co, Note())
        co = new
    del co, new
    assert len(freed) == 2000
