"""The pool of stacks as Python programs see it: settings and statistics."""

from dataclasses import dataclass
from typing import Literal

import copool._core as _core
import copool._settings as _settings

Policy = Literal["none", "mutex", "release", "magazine"]
Guard = Literal["auto", "madvise", "mprotect", "none"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of a kind have begun and not ended, by state.

    Frozen, so that any thread may read it.

    >>> import copool
    >>> co = copool.Coroutine(copool.yield_)
    >>> co.enter()
    >>> copool.stats().chains.coroutines
    Counts(running=0, waiting=0, suspended=1)
    >>> co.close()
    """

    running: int
    """Those that have control, one in each thread at the most."""
    waiting: int
    """Those that have entered what runs, or what waits in turn."""
    suspended: int
    """Those that wait to be entered, switched to or resumed."""


@dataclass(frozen=True, slots=True)
class ChainStats:
    """Counts of what runs on the stacks, or could, at one moment.

    All but the first are of this interpreter, in whatever thread. Frozen.

    >>> import copool
    >>> before = copool.stats().chains.switches
    >>> list(copool.Coroutine(copool.yield_))
    [None]
    >>> copool.stats().chains.switches - before  # there and back, twice
    4
    """

    switches: int
    """From one stack to another, in all threads that the process has had."""
    coroutines: Counts
    """Objects of the type `Coroutine`."""
    greenlets: Counts
    """The main ones, which are no more than their threads, left out."""
    awaited: Counts
    """Tasks in which any function may await, and calls of `run_sync()`. Those that are
    suspended in an `await` of an `async def` have no stack meanwhile."""
    oldest: float | None
    """For how many seconds the longest suspended has been left, of those that have a
    stack. None if there are none, or if the times are not noted."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counts of the pool at one moment, in blocks unless it says bytes.

    A block is the stack of one coroutine with all that belongs to it. Every
    block that was ever mapped is live, idle (ready to be used again, its pages
    kept) or vacant (its pages given back to the system). Frozen, so that any thread
    may read it.

    >>> import copool
    >>> pool = copool.stats()
    >>> pool.policy, pool.batch, pool.live <= pool.max_blocks
    ('magazine', 64, True)
    """

    policy: Policy
    """How unused stacks are kept."""
    guard: Guard
    """The guard in force: never `auto`."""
    guard_size: int
    """Bytes of each guard: what was asked for, or more; 0 if there are none."""
    stack_size: int
    """Usable bytes of C stack for each coroutine: what was asked for, or more."""
    batch: int
    """Blocks that move between a thread and the shared pool at once."""
    max_blocks: int
    """The cap in force on live and idle blocks together."""
    max_idle: int
    """Blocks that the store of the policy `magazine` keeps."""
    created: int
    """Coroutines that got a block, since the pool was configured."""
    reused: int
    """How many of these blocks came out of the pool."""
    live: int
    """Blocks of started coroutines that have not finished."""
    live_retired: int
    """The same, in pools that `configure()` replaced."""
    idle_local: int
    """Idle blocks kept by threads."""
    idle_shared: int
    """Idle blocks that any thread may take."""
    vacant: int
    """Blocks that were mapped, and whose pages have been given back."""
    peak: int
    """The most blocks that ever held pages at once."""
    slabs: int
    """Mappings that the blocks lie in."""
    mapped_bytes: int
    """Address space of these; memory is taken page by page, on touch."""
    discards: int
    """How often the pages of a block were given back."""
    contended: int
    """How often a thread had to wait for another one."""
    lost: int
    """Blocks left behind by threads that a fork did not copy."""
    chains: ChainStats
    """What runs on the stacks, or could."""


def stats() -> PoolStats:
    """Count the blocks of the pool, and what runs on them.

    Never switches, never raises. Exact for coroutines of Python, in whatever thread:
    they all hold the GIL. Takes longer the more of them there are, a few milliseconds
    for a hundred thousand.

    >>> import copool
    >>> before = copool.stats().live
    >>> co = copool.Coroutine(copool.yield_)
    >>> co.enter()
    >>> copool.stats().live - before
    1
    >>> co.close()
    >>> copool.stats().live - before
    0
    """
    switches, coroutines, greenlets, awaited, oldest = _core.chains()
    chains = ChainStats(
        switches, Counts(*coroutines), Counts(*greenlets), Counts(*awaited), oldest
    )
    return PoolStats(**_core.stats(), chains=chains)


def configure(
    *,
    policy: Policy | None = None,
    batch: int | None = None,
    stack_size: int | None = None,
    max_blocks: int | None = None,
    max_idle: int | None = None,
    guard: Guard | None = None,
    guard_size: int | None = None,
    overflow_report: bool | None = None,
) -> None:
    """Change settings of the pool; what is left out stays as it is.

    Coroutines started later, in whatever thread, get stacks from a new pool; those that
    run keep theirs. Never switches.

    policy: `magazine` (the default), `release`, `mutex` or `none`.
    batch: blocks moved between a thread and the shared pool at once, 1 to 4096.
    stack_size: bytes of C stack for each coroutine, of address space: memory is
        taken only for what is used. At most 1 GiB; docs/design.md tells how to
        choose it.
    max_blocks: the cap on live and idle blocks together.
    max_idle: idle blocks that the shared store of `magazine` keeps, for as long as
        they are needed now and then.
    guard: what lies below each stack; `auto` takes the best that there is.
    guard_size: its bytes, which no frame of C code that is as large can leap over:
        1 MiB unless set, at most 64 MiB. Crowds do with less; docs/design.md tells
        what that gives up. 0 is for `guard="none"` only, which ignores it.
    overflow_report: whether C code that runs into the guard of a stack is reported
        on standard error, by a handler of SIGSEGV. True puts that in front of
        handlers that were set since. This one takes effect for all coroutines.

    Raises ValueError for a setting that cannot be, TypeError for one of the wrong
    type; then nothing has changed.

    >>> import copool
    >>> copool.configure(batch=32)
    >>> copool.stats().batch
    32
    >>> copool.configure(batch=64)
    """
    options = {
        "policy": policy,
        "batch": batch,
        "stack_size": stack_size,
        "max_blocks": max_blocks,
        "max_idle": max_idle,
        "guard": guard,
        "guard_size": guard_size,
        "overflow_report": overflow_report,
    }
    _settings.apply(
        {name: given for name, given in options.items() if given is not None}
    )
