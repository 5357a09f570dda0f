"""Recursion through C has the room in a chain that it has in a thread."""

import copy
import functools
import json
import marshal
import pickle
import threading

import pytest

import copool.aio
from copool import Coroutine
from copool._core import _greenlet_names

STACK = 8 << 20
"""Bytes that a thread has, and a chain unless it is told otherwise."""


def nested(make, levels):
    thing = make(None)
    for _ in range(levels):
        thing = make(thing)
    return thing


def depth_of(lists):
    levels = 0
    while lists and lists[0]:
        lists, levels = lists[0], levels + 1
    return levels


def iterators(kind, levels):
    chain = iter([0, 1, 2])
    for _ in range(levels):
        chain = kind(chain)
    return list(chain)


def sort_deep(levels):
    if levels:
        return sorted([1], key=lambda _: sort_deep(levels - 1) or 1) and levels
    return 0


def free_deep(make, levels):
    thing = nested(make, levels)
    del thing
    return levels


class Held:
    def __init__(self, held):
        self.held = held


ENDING = {
    "json.loads": lambda n: depth_of(json.loads("[" * n + "]" * n)),
    "json.dumps": lambda n: len(json.dumps(nested(lambda x: [x], n))),
    "pickle.dumps": lambda n: len(pickle.dumps(nested(lambda x: [x], n))),
    "pickle.loads": lambda n: depth_of(pickle.loads(b"]" * n + b"a" * (n - 1) + b".")),
    "copy.deepcopy": lambda n: depth_of(copy.deepcopy(nested(lambda x: [x], n))),
    "marshal.dumps": lambda n: len(marshal.dumps(nested(lambda x: [x], n))),
    "repr of lists": lambda n: len(repr(nested(lambda x: [x], n))),
    "repr of dicts": lambda n: len(repr(nested(lambda x: {1: x}, n))),
    "comparison": lambda n: nested(lambda x: [x], n) == nested(lambda x: [x], n),
    "isinstance": lambda n: isinstance(1, nested(lambda x: (x or int,), n)),
    "sorted": sort_deep,
    "compile, a sum": lambda n: eval(compile("1+" * n + "1", "", "eval")),
    "compile, parentheses": lambda n: eval(
        compile("(" * n + "1" + ")" * n, "", "eval")
    ),
    "compile, signs": lambda n: eval(compile("- " * n + "1", "", "eval")),
    "compile, attributes": lambda n: bool(compile("a" + ".b" * n, "", "eval")),
}

LASTING = {
    "map": lambda: iterators(functools.partial(map, int), 20_000),
    "filter": lambda: iterators(functools.partial(filter, lambda _: True), 20_000),
    "free lists": lambda: free_deep(lambda x: [x], 200_000),
    "free tuples": lambda: free_deep(lambda x: (x,), 200_000),
    "free dicts": lambda: free_deep(lambda x: {1: x}, 200_000),
    "free objects": lambda: free_deep(Held, 200_000),
}

MOST = 20_000
"""Levels that are tried; a thread's stack holds as many of those that do not end."""


def outcome(fn, *args):
    try:
        return fn(*args)
    except (RecursionError, MemoryError, SyntaxError, ValueError) as error:
        return type(error)


def levels_until_it_ends(fn):
    """The most levels that give a result, and what one more raises."""
    if not isinstance(outcome(fn, MOST), type):
        return MOST, None
    good, bad = 1, MOST
    while bad - good > 1:
        middle = (good + bad) // 2
        if isinstance(outcome(fn, middle), type):
            bad = middle
        else:
            good = middle
    return good, outcome(fn, bad)


def in_thread(fn):
    results = []
    before = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=lambda: results.append(fn()))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    return results[0]


def in_coroutine(fn):
    return Coroutine(fn).enter()


def in_greenlet(fn):
    return _greenlet_names()["greenlet"](fn).switch()


def in_task(fn):
    async def main():
        return fn()

    return copool.aio.run(main(), foreign_greenlets=True)


CHAINS = pytest.mark.parametrize("chain", [in_coroutine, in_greenlet, in_task])


@pytest.fixture(scope="module", params=ENDING)
def ending(request):
    fn = ENDING[request.param]
    return fn, in_thread(lambda: levels_until_it_ends(fn))


@CHAINS
def test_ends_where_it_ends_in_a_thread(ending, chain):
    fn, (levels, error) = ending
    inside, inside_error = in_thread(lambda: chain(lambda: levels_until_it_ends(fn)))
    assert inside_error is error
    # The frames that lie below it differ by a few, those of a loop for a task.
    assert inside == pytest.approx(levels, rel=0.05, abs=30)


@CHAINS
@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("levels", [100, 500, 1_200, 6_000, MOST])
def test_same_outcome_as_in_the_main_flow(name, levels, chain):
    outside = outcome(ENDING[name], levels)
    assert chain(lambda: outcome(ENDING[name], levels)) == outside


@CHAINS
@pytest.mark.parametrize("name", LASTING)
def test_what_no_thread_counts_has_room_too(name, chain):
    assert chain(LASTING[name]) == LASTING[name]()


def test_default_stack_is_as_large_as_a_threads():
    assert STACK <= copool.stats().stack_size < STACK + (1 << 20)
