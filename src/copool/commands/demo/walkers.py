"""One walk, written four times: each gives out the names of a tree one by one."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import greenlet

import copool
from copool.commands.demo.source import Tree

# Returns the next name, and None once after the last.
Step: TypeAlias = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Walker:
    """A way to stop in the midst of a recursion and to go on later."""

    name: str
    start: Callable[[Tree], Step]


# copool: the recursion as anybody would write it.


def _walk(tree: Tree) -> None:
    for part in tree:
        if isinstance(part, str):
            copool.yield_(part)
        else:
            _walk(part)


def _start(tree: Tree) -> Step:
    return partial(next, copool.Coroutine(partial(_walk, tree)), None)


# Generators: every level is one, and passes on what the levels below yield.


def _walk_generator(tree: Tree) -> Iterator[str]:
    for part in tree:
        if isinstance(part, str):
            yield part
        else:
            yield from _walk_generator(part)


def _start_generator(tree: Tree) -> Step:
    return partial(next, _walk_generator(tree), None)


# greenlet and threads: the recursion is told how to give a name away.


def _walk_giving(tree: Tree, give: Callable[[str], object]) -> None:
    for part in tree:
        if isinstance(part, str):
            give(part)
        else:
            _walk_giving(part, give)


def _start_greenlet(tree: Tree) -> Step:
    give = greenlet.getcurrent().switch
    step: Step = greenlet.greenlet(partial(_walk_giving, tree, give)).switch
    return step


class _Thread:
    """A walker in a thread; two locks hand the turn to and fro."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._name: str | None = None
        self._wanted = threading.Lock()
        self._given = threading.Lock()
        self._wanted.acquire()
        self._given.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self) -> str | None:
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._wanted.release()
        self._given.acquire()
        if self._name is None:
            self._thread.join()
        return self._name

    def _run(self) -> None:
        try:
            _walk_giving(self._tree, self._give)
        finally:
            self._name = None
            self._given.release()

    def _give(self, name: str) -> None:
        self._name = name
        self._given.release()
        self._wanted.acquire()


def _start_thread(tree: Tree) -> Step:
    return _Thread(tree).step


COPOOL = Walker("copool", _start)
GENERATORS = Walker("nested yield from", _start_generator)
GREENLET = Walker("greenlet", _start_greenlet)
THREADS = Walker("threads", _start_thread)
