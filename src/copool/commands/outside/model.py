"""What is found in a process."""

from __future__ import annotations

from dataclasses import dataclass, field

Line = tuple[str, str, int]
"""A function, its file, and the line that it is in; 0 if that is not known."""


@dataclass(slots=True)
class Thread:
    """A thread that uses copool; `native` is what the system calls it."""

    name: str  # when it first used copool, or ""
    ident: int
    native: int
    switches: int


@dataclass(slots=True)
class Chain:
    """A chain of calls.

    Its kind is coroutine, greenlet, awaited (a Bridge's), or thread (its own chain);
    its state running, waiting (for what it entered), or suspended.
    """

    kind: str
    state: str
    thread: Thread | None  # None if no thread has it at the moment
    lines: tuple[Line, ...]  # the innermost first
    face: int = 0  # the address of the object
    name: str | None = None
    entered_by: Line | None = None
    made_by: str | None = None
    age: float | None = None  # seconds since it was left


@dataclass(slots=True)
class Scene:
    """What one copy of copool in a process has."""

    pid: int
    versions: tuple[str, str]  # of copool and of Python
    threads: list[Thread] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    unread: int = 0  # chains, or rests of lists, that changed whenever they were read
