"""What the random programs consist of.

A program has one list of operations for each thread. There is no code for a
coroutine: whoever has control takes the next operation of its thread's list and does
it, so that any part of a list is a program too, which is what makes lists shrink. An
operation is `[name, a, b]` with two small numbers.

    make k f    make a Coroutine, a greenlet, a call or a driven `async def` (k), with
                habits f, and put it into slot f % SLOTS
    go i v      enter, switch to or send v to what is in slot i
    throw i     raise Boom in it          close i   end it
    yield v     copool.yield_(v)          await v   wait in await_(), or in `await`
    up v        switch to the current greenlet's parent
    call k f    do what follows inside a call, through C code, in a block or on the
                thread's own stack (k), with habits f
    return v    return from it
    raise       raise Boom here
    hold i      refer to what is in slot i from this frame
    release     no more                   drop i    empty slot i
    set v, get  the context variable      handled   the exception that is handled
    state i     what it says of itself    depth     that there is room to recurse
    collect     the garbage collector     trim, configure k   the pool
    trace k     set or remove trace functions
    thread k    the next k operations are done in a thread, which is waited for
    fork        a child process does the rest too, and must agree
    toss i      give what is in slot i to all threads; empty   drop what was tossed
"""

from dataclasses import asdict, dataclass
from typing import Any

SLOTS = 5
KINDS = ["C", "G", "B", "D"]
CALLS = [
    "call",
    "except",
    "context",
    "sort",
    "generator",
    "map",
    "getattr",
    "with",
    "exec",
    "sub",
    "section",
]
POLICIES = ["magazine", "release", "mutex", "none"]


@dataclass
class Program:
    threads: list[list[list[Any]]]
    threshold: tuple[int, int, int] | None = None
    # Whether the first thread is the main one.
    main: bool = False
    seed: int | None = None
    plant: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def size(self) -> int:
        return sum(map(len, self.threads))
