"""The policies `none`, `mutex`, `release` and `magazine`, step by step.

Each operation is a generator. A `yield` announces what the thread does next to
something that threads share; whoever drives the generator decides when that
happens, by resuming it. All up to the next `yield` is then one atomic step.
What a thread does with lists of its own belongs to the step before it.

Names are those of `src/core/pool_*.c`.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum, IntEnum
from typing import NamedTuple, TypeVar

WARM_BLOCKS = 1024

T = TypeVar("T")


class Op(IntEnum):
    """What kind of step it is, which decides what it costs."""

    LOAD = 0
    STORE = 1
    RMW = 2
    """An atomic read-modify-write: exchange, compare-and-swap, addition."""
    RETRY = 3
    """The compare-and-swap after one that failed."""
    LOCK = 4
    """Waits until the lock is free."""
    UNLOCK = 5
    TAKE = 6
    """A block from the arena, its pages to be touched."""
    GIVE = 7
    """A block to the arena, its pages given back."""
    MAP = 8
    UNMAP = 9


class Step(NamedTuple):
    """An announcement: the kind of step, and the cache line or lock."""

    op: Op
    what: str = ""


LOAD, STORE, RMW, RETRY = (Step(op, "release_pool") for op in list(Op)[:4])
LOAD_STORED = Step(Op.LOAD, "lock")
LOCK, UNLOCK = Step(Op.LOCK, "lock"), Step(Op.UNLOCK, "lock")
TAKE, GIVE = Step(Op.TAKE, "arena"), Step(Op.GIVE, "arena")
MAP, UNMAP = Step(Op.MAP, "mmap_lock"), Step(Op.UNMAP, "mmap_lock")

Steps = Generator[Step, None, T]


class Place(Enum):
    """Where a block is."""

    ARENA = 0
    IDLE = 1
    IN_USE = 2


class Violation(AssertionError):
    """A block is where it must not be, or a bound does not hold."""


class Block:
    """A stack, linked into at most one list."""

    __slots__ = ("batch_length", "index", "next", "next_batch", "place", "user")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next: Block | None = None
        self.next_batch: Block | None = None
        self.batch_length = 0
        self.place = Place.ARENA
        self.user: Local | None = None

    def move(self, before: Place, after: Place) -> None:
        """Note that it goes from one place to another."""
        if self.place is not before:
            twice = before is Place.IDLE and after is Place.IN_USE
            what = "handed out twice" if twice else f"moved from {before.name}"
            raise Violation(f"block {self.index} is {self.place.name}, but {what}")
        self.place = after


class Chain:
    """A list of blocks that counts its length: `struct list`."""

    __slots__ = ("head", "length")

    def __init__(self) -> None:
        self.head: Block | None = None
        self.length = 0

    def push(self, block: Block) -> None:
        """Put a block before the others."""
        block.next = self.head
        self.head = block
        self.length += 1

    def pop(self) -> Block:
        """Take the newest block; there must be one."""
        block = self.head
        assert block is not None
        self.head = block.next
        self.length -= 1
        return block

    def take(self) -> Block | None:
        """Empty the list; return what was in it, with its length noted."""
        batch = self.head
        if batch is not None:
            batch.batch_length = self.length
        self.head, self.length = None, 0
        return batch


class Local:
    """What one thread keeps of the pool: `struct pool_local`."""

    __slots__ = ("alloc_pool", "batch", "index", "loaded", "previous")

    def __init__(self, index: int) -> None:
        self.index = index
        self.loaded, self.previous = Chain(), Chain()
        self.batch: int | None = None  # known when it first uses the pool
        self.alloc_pool: Block | None = None


class Policy:
    """A pool: the arena below it, the counts, and what policies share."""

    name = ""

    def __init__(
        self, *, batch: int = 64, max_blocks: int = 2**40, max_idle: int = 4096
    ) -> None:
        # What threads keep counts against the cap: a small part of it.
        self.batch = max(1, min(batch, max_blocks // 16))
        self.max_blocks, self.max_idle = max_blocks, max_idle
        self.blocks: list[Block] = []
        self.vacant: list[Block] = []
        self.created = self.reused = self.finished = self.contended = 0
        self.peak = 0
        self.lock: Local | None = None

    # --- the operations: one method each in every policy --------------------

    def get(self, me: Local) -> Steps[Block | None]:
        """Hand out a block for a new coroutine; None at the cap."""
        raise NotImplementedError

    def put(self, me: Local, block: Block) -> Steps[None]:
        """Take back the block of a coroutine that has finished."""
        raise NotImplementedError

    def drain(self, me: Local) -> Steps[None]:
        """Do what is done when the thread exits."""
        return
        yield

    def trim(self, me: Local) -> Steps[int]:
        """Give all that is idle here and in the shared part to the arena."""
        return 0
        yield

    # --- counts --------------------------------------------------------------

    @property
    def out(self) -> int:
        """The number of blocks that are not in the arena."""
        return len(self.blocks) - len(self.vacant)

    @property
    def live(self) -> int:
        """The number of blocks in use."""
        return self.created - self.finished

    @property
    def idle_shared(self) -> int:
        """The number of idle blocks that any thread may take, as is counted."""
        return 0

    def walk_shared(self) -> int:
        """Return that by walking; raise Violation if a bound does not hold."""
        return self.idle_shared

    # --- for the policies ----------------------------------------------------

    def arena_take(self, step: Step = TAKE) -> Steps[Block | None]:
        """Take a block from the arena and count it; None at the cap."""
        yield step
        if self.out >= self.max_blocks:
            return None
        if not self.vacant:
            self.vacant.append(Block(len(self.blocks)))
            self.blocks.append(self.vacant[-1])
        block = self.vacant.pop()
        block.move(Place.ARENA, Place.IN_USE)
        self.peak = max(self.peak, self.out)
        self.created += 1
        return block

    def arena_give(self, block: Block, before: Place, step: Step = GIVE) -> Steps[None]:
        """Give a block to the arena."""
        yield step
        block.move(before, Place.ARENA)
        self.vacant.append(block)

    def destroy_chain(self, chain: Block | None) -> Steps[int]:
        """Give a chain of idle blocks to the arena; return its length."""
        n = 0
        while chain is not None:
            block, chain = chain, chain.next
            yield from self.arena_give(block, Place.IDLE)
            n += 1
        return n

    def hand_out(self, block: Block) -> Block:
        """Count a block that comes out of the pool."""
        block.move(Place.IDLE, Place.IN_USE)
        self.created += 1
        self.reused += 1
        return block

    def pool_lock(self, me: Local) -> Steps[None]:
        """Take the pool's lock."""
        if self.lock is not None:
            self.contended += 1
        yield LOCK
        self.lock = me

    def pool_unlock(self) -> Steps[None]:
        """Leave the pool's lock."""
        yield UNLOCK
        self.lock = None


class NonePolicy(Policy):
    """Map a block, unmap it."""

    name = "none"

    def get(self, me: Local) -> Steps[Block | None]:
        """Map a block."""
        return (yield from self.arena_take(MAP))

    def put(self, me: Local, block: Block) -> Steps[None]:
        """Unmap it."""
        self.finished += 1
        yield from self.arena_give(block, Place.IN_USE, UNMAP)


class MutexPolicy(Policy):
    """One list under a lock: what the patch replaced."""

    name = "mutex"

    def __init__(
        self, *, batch: int = 64, max_blocks: int = 2**40, max_idle: int = 4096
    ) -> None:
        super().__init__(batch=batch, max_blocks=max_blocks, max_idle=max_idle)
        self.idle = Chain()
        self.max_size = self.batch

    def get(self, me: Local) -> Steps[Block | None]:
        """Pop under the lock."""
        yield from self.pool_lock(me)
        block = self.hand_out(self.idle.pop()) if self.idle.head else None
        yield from self.pool_unlock()
        if block is not None:
            return block
        return (yield from self.arena_take())

    def put(self, me: Local, block: Block) -> Steps[None]:
        """Push under the lock, below max_size."""
        yield from self.pool_lock(me)
        self.finished += 1
        has_room = self.idle.length < self.max_size
        if has_room:
            block.move(Place.IN_USE, Place.IDLE)
            self.idle.push(block)
        yield from self.pool_unlock()
        if not has_room:
            yield from self.arena_give(block, Place.IN_USE)

    def trim(self, me: Local) -> Steps[int]:
        """Empty the list."""
        yield from self.pool_lock(me)
        chain = self.idle.take()
        yield from self.pool_unlock()
        return (yield from self.destroy_chain(chain))

    @property
    def idle_shared(self) -> int:
        """The length of the list."""
        return self.idle.length


class ReleasePolicy(Policy):
    """The patch: push one, take all."""

    name = "release"

    def __init__(
        self, *, batch: int = 64, max_blocks: int = 2**40, max_idle: int = 4096
    ) -> None:
        super().__init__(batch=batch, max_blocks=max_blocks, max_idle=max_idle)
        self.release_pool: Block | None = None
        self.release_pool_size = 0

    def steal(self, me: Local) -> Steps[None]:
        """Take the whole shared list."""
        yield STORE
        self.release_pool_size = 0
        yield RMW
        me.alloc_pool, self.release_pool = self.release_pool, None

    def get(self, me: Local) -> Steps[Block | None]:
        """Pop the thread's own list; when it is empty, steal the shared one."""
        if me.alloc_pool is None:
            yield LOAD
            if self.release_pool_size > self.batch:
                yield from self.steal(me)
            if me.alloc_pool is None:
                fresh = yield from self.arena_take()
                if fresh is not None:
                    return fresh
                yield from self.steal(me)  # rather than fail
                if me.alloc_pool is None:
                    return None
        block = me.alloc_pool
        me.alloc_pool = block.next
        return self.hand_out(block)

    def put(self, me: Local, block: Block) -> Steps[None]:
        """Push onto the shared list; above two batches, destroy."""
        self.finished += 1
        yield LOAD
        if self.release_pool_size >= 2 * self.batch:
            yield from self.arena_give(block, Place.IN_USE)
            return
        block.move(Place.IN_USE, Place.IDLE)
        yield LOAD
        block.next = self.release_pool
        yield RMW
        while self.release_pool is not block.next:
            self.contended += 1
            block.next = self.release_pool
            yield RETRY
        self.release_pool = block
        yield RMW
        self.release_pool_size += 1

    def drain(self, me: Local) -> Steps[None]:
        """Destroy what the thread stole and has not used."""
        chain, me.alloc_pool = me.alloc_pool, None
        yield from self.destroy_chain(chain)

    def trim(self, me: Local) -> Steps[int]:
        """Empty both lists."""
        chain, me.alloc_pool = me.alloc_pool, None
        n = yield from self.destroy_chain(chain)
        yield from self.steal(me)
        chain, me.alloc_pool = me.alloc_pool, None
        return n + (yield from self.destroy_chain(chain))

    @property
    def idle_shared(self) -> int:
        """What the size says, which may be wrong."""
        return self.release_pool_size

    def walk_shared(self) -> int:
        """Count what lies in the list."""
        n, block = 0, self.release_pool
        while block is not None:
            if block.place is not Place.IDLE:
                raise Violation(f"block {block.index} is {block.place.name}, in a list")
            n, block = n + 1, block.next
        return n


class MagazinePolicy(Policy):
    """Two magazines in each thread; whole batches go by way of a store."""

    name = "magazine"
    warm_blocks = WARM_BLOCKS

    def __init__(
        self, *, batch: int = 64, max_blocks: int = 2**40, max_idle: int = 4096
    ) -> None:
        # Only whole batches go to the store.
        batch = min(batch, max_idle or batch)
        super().__init__(batch=batch, max_blocks=max_blocks, max_idle=max_idle)
        self.room = max_blocks // 2
        self.warm: list[Block] = []
        self.cold: list[Block] = []
        self.stored = 0

    # --- the store -----------------------------------------------------------

    def cut_batch(self, store: list[Block], batch: Block, most: int) -> None:
        """Put back what is more than so many blocks of a batch."""
        if batch.batch_length <= most:
            return
        last = batch
        for _ in range(most - 1):
            assert last.next is not None
            last = last.next
        rest, last.next = last.next, None
        assert rest is not None
        rest.batch_length, batch.batch_length = batch.batch_length - most, most
        store.append(rest)

    def store_take(self, me: Local, most: int) -> Steps[Block | None]:
        """Take the newest batch, at most so many of it; None if there is none."""
        yield LOAD_STORED
        if not self.stored:
            return None
        yield from self.pool_lock(me)
        store = self.warm or self.cold
        batch = store.pop() if store else None
        if batch is not None:
            self.cut_batch(store, batch, most)
            self.stored -= batch.batch_length
        yield from self.pool_unlock()
        return batch

    def store_give_batch(self, me: Local, batch: Block) -> Steps[None]:
        """Add a batch to the warm store, else to the cold one, or destroy it."""
        yield from self.pool_lock(me)
        room = self.stored + batch.batch_length <= self.max_idle
        in_warm = sum(each.batch_length for each in self.warm)
        warm = room and (
            not in_warm or in_warm + batch.batch_length <= self.warm_blocks
        )
        if warm:
            self.warm.append(batch)
            self.stored += batch.batch_length
        yield from self.pool_unlock()
        if warm:
            return
        if room:
            yield from self.pool_lock(me)
            room = self.stored + batch.batch_length <= self.max_idle
            if room:
                self.cold.append(batch)
                self.stored += batch.batch_length
            yield from self.pool_unlock()
        if not room:
            yield from self.destroy_chain(batch)

    def store_give(self, me: Local, chain: Chain) -> Steps[None]:
        """Empty a magazine into the store."""
        batch = chain.take()
        if batch is not None:
            yield from self.store_give_batch(me, batch)

    # --- the magazines -------------------------------------------------------

    def promise_room(self, me: Local) -> int:
        """Return the thread's own size of a batch."""
        if me.batch is None:
            me.batch = min(self.room // 8 or min(self.room // 2, 1), self.batch)
            self.room -= 2 * me.batch
        return me.batch

    def get(self, me: Local) -> Steps[Block | None]:
        """Pop the magazine; when both are empty, take a batch from the store."""
        most = self.promise_room(me) or 1
        if me.loaded.head is None:
            if me.previous.head is not None:
                me.loaded, me.previous = me.previous, me.loaded
            else:
                batch = yield from self.store_take(me, most)
                if batch is None:
                    return (yield from self.arena_take())
                me.loaded.head, me.loaded.length = batch, batch.batch_length
        return self.hand_out(me.loaded.pop())

    def put(self, me: Local, block: Block) -> Steps[None]:
        """Push onto the magazine; when both are full, give one to the store."""
        batch = self.promise_room(me)
        if me.loaded.length >= batch:
            yield from self.store_give(me, me.previous)
            me.loaded, me.previous = me.previous, me.loaded
        self.finished += 1
        block.move(Place.IN_USE, Place.IDLE)
        me.loaded.push(block)
        if not batch:
            yield from self.store_give(me, me.loaded)

    def drain(self, me: Local) -> Steps[None]:
        """Give both magazines to the store."""
        yield from self.store_give(me, me.loaded)
        yield from self.store_give(me, me.previous)
        self.room += 2 * (me.batch or 0)
        me.batch = None

    def trim(self, me: Local) -> Steps[int]:
        """Empty the thread's magazines and the store."""
        n = yield from self.destroy_chain(me.loaded.take())
        n += yield from self.destroy_chain(me.previous.take())
        batch = yield from self.store_take(me, self.max_idle)
        while batch is not None:
            n += yield from self.destroy_chain(batch)
            batch = yield from self.store_take(me, self.max_idle)
        return n

    @property
    def idle_shared(self) -> int:
        """The blocks in both stores."""
        return self.stored

    def walk_shared(self) -> int:
        """Add up the batches."""
        total = sum(batch.batch_length for batch in (*self.warm, *self.cold))
        if total != self.stored or total > self.max_idle:
            raise Violation(f"{total} blocks in the store, {self.stored} counted")
        return total


POLICIES: dict[str, type[Policy]] = {
    policy.name: policy
    for policy in (NonePolicy, MutexPolicy, ReleasePolicy, MagazinePolicy)
}
