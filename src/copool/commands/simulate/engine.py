"""Runs the threads of a pattern on a policy, in virtual time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import accumulate

from copool.commands.model.policies import RETRY, Block, Local, Op, Policy, Step
from copool.commands.simulate.costs import Costs

MOST_BINS = 512


@dataclass(frozen=True, slots=True)
class Moment:
    """Blocks at one moment of virtual time."""

    ns: float
    live: int
    idle: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a simulation."""

    lifecycles: int
    reused: int
    made: int
    """Blocks that were taken fresh from the arena."""
    peak: int
    """The most blocks that held pages at once."""
    idle_end: int
    contended: int
    """Steps that had to wait for another thread or to be repeated."""
    waited: float
    """The part of all threads' time that they waited for another one."""
    ns_each: float
    """Threads' time for one lifecycle, pauses not counted."""
    span: float
    """All of the virtual time, in nanoseconds."""
    history: tuple[Moment, ...]

    @property
    def hit_rate(self) -> float:
        """The part of the coroutines that got a used block."""
        return self.reused / self.lifecycles if self.lifecycles else 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A thread does something else for a while."""

    ns: float


class Mailbox:
    """Hands blocks from one thread to another; holds so many at the most."""

    __slots__ = ("blocks", "most", "reader", "writer")

    def __init__(self, most: int) -> None:
        self.most = most
        self.blocks: deque[Block] = deque()
        self.reader: Thread | None = None
        self.writer: Thread | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """A thread puts a block into a mailbox, when there is room."""

    box: Mailbox
    block: Block


@dataclass(frozen=True, slots=True)
class Receive:
    """A thread takes a block out of a mailbox, when there is one."""

    box: Mailbox


Work = Step | Pause | Send | Receive
Program = Generator[Work, Block | None, None]


class Thread:
    """A thread: its program, its clock, and what it does next."""

    __slots__ = (
        "begun", "local", "now", "paused", "program", "sent", "waited", "work",
    )  # fmt: skip

    def __init__(self, local: Local, begun: float) -> None:
        self.local = local
        self.begun = self.now = begun
        self.paused = self.waited = 0.0
        self.sent: Block | None = None
        self.program: Program
        self.work: Step | Send | Receive

    def wait_until(self, now: float) -> None:
        """Let the time pass in which it waited for another thread."""
        if now > self.now:
            self.waited += now - self.now
            self.now = now


_Event = tuple[float, int, Thread, Callable[[Thread], None]]


class Line:
    """A cache line: who has a copy, who of them wrote it, who waits for it."""

    __slots__ = ("owner", "queue", "readers", "user")

    def __init__(self) -> None:
        self.user: Thread | None = None
        self.owner: Thread | None = None
        self.readers: set[Thread] = set()
        self.queue: deque[Thread] = deque()

    def fetch(self, thread: Thread, cost: float, *, is_write: bool) -> float:
        """Bring the line to a thread; return what that costs."""
        if is_write:
            is_here = self.owner is thread or not self.readers
            self.owner, self.readers = thread, {thread}
        else:
            is_here = thread in self.readers or not self.readers
            self.owner = None
            self.readers.add(thread)
        return 0.0 if is_here else cost


class Simulation:
    """A policy, the costs of its steps, and the threads that use it."""

    def __init__(self, pool: Policy, costs: Costs) -> None:
        self.pool, self.costs = pool, costs
        self.threads: list[Thread] = []
        self.history = _History()
        self.contended = 0
        self.lines = {name: Line() for name in ("release_pool", "lock", "mmap_lock")}
        self.holder: Thread | None = None
        self.sleepers: deque[Thread] = deque()
        self._events: list[_Event] = []
        self._count = 0

    # --- what patterns use ---------------------------------------------------

    def add(self, local: Local, begun: float) -> Thread:
        """Return a new thread, which has no program yet."""
        thread = Thread(local, begun)
        self.threads.append(thread)
        return thread

    def create(self, thread: Thread) -> Generator[Work, Block | None, Block]:
        """Begin a coroutine: take a block and run on it."""
        block = yield from self.pool.get(thread.local)
        assert block is not None  # there is no cap
        thread.now += self.costs.local / 2
        if block.user is not None and block.user is not thread.local:
            thread.now += self.costs.line
        block.user = thread.local
        self.history.note(thread.now, 1, self.pool.out)
        return block

    def finish(
        self, thread: Thread, block: Block
    ) -> Generator[Work, Block | None, None]:
        """End a coroutine."""
        thread.now += self.costs.local / 2
        if block.user is not thread.local:
            thread.now += self.costs.line
            block.user = thread.local
        yield from self.pool.put(thread.local, block)
        self.history.note(thread.now, -1, self.pool.out)

    # --- the course of time --------------------------------------------------

    def run(self) -> Outcome:
        """Run all threads to their ends."""
        for thread in self.threads:
            self._at(thread.now, thread, self._go_on)
        events = self._events
        while events:
            now, _, thread, then = heapq.heappop(events)
            thread.now = now
            then(thread)
        return self._outcome()

    def _at(self, when: float, thread: Thread, then: Callable[[Thread], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, thread, then))

    def _go_on(self, thread: Thread) -> None:
        """Do the step that was announced; run up to the next announcement."""
        work: Work | None = None
        try:
            while work is None or isinstance(work, Pause):
                if work is not None:
                    thread.now += work.ns
                    thread.paused += work.ns
                sent, thread.sent = thread.sent, None
                work = thread.program.send(sent)
        except StopIteration:
            return
        thread.work = work
        self._at(thread.now, thread, self._arrive)

    def _arrive(self, thread: Thread) -> None:
        """Begin what was announced, or wait."""
        work = thread.work
        if not isinstance(work, Step):
            self._mail(thread, work)
        elif work.op is Op.LOCK:
            self._lock(thread)
        elif work.op is Op.UNLOCK:
            self._at(thread.now + self.costs.lock / 2, thread, self._unlock)
        elif work.op is Op.TAKE or work.op is Op.GIVE:
            # Page faults, and giving pages back, go on side by side.
            self._at(thread.now + self.costs.arena / 2, thread, self._go_on)
        else:
            self._reach_for(thread, self.lines[work.what], work.op)

    # --- lines ---------------------------------------------------------------

    def _reach_for(self, thread: Thread, line: Line, op: Op) -> None:
        if op is Op.LOAD and thread in line.readers:
            self._go_on(thread)
        elif op is Op.RETRY:  # it still has the line
            self.contended += 1
            self._at(thread.now + self.costs.atomic, thread, self._let_go)
        elif line.user is not None:
            self.contended += 1
            line.queue.append(thread)
        else:
            self._bring(thread, line, op)

    def _bring(self, thread: Thread, line: Line, op: Op) -> None:
        costs = self.costs
        line.user = thread
        cost = line.fetch(thread, costs.line, is_write=op is not Op.LOAD)
        if op is Op.RMW:
            cost += costs.atomic
        elif op is Op.MAP or op is Op.UNMAP:
            cost = costs.map / 2
        self._at(thread.now + cost, thread, self._let_go)

    def _let_go(self, thread: Thread) -> None:
        """End a step on a line. A retry follows before another gets the line."""
        work = thread.work
        assert isinstance(work, Step)
        line = self.lines[work.what]
        now = thread.now
        self._go_on(thread)
        if thread.work is RETRY:
            return
        line.user = None
        if line.queue:
            waiter = line.queue.popleft()
            waiter.wait_until(now)
            assert isinstance(waiter.work, Step)
            self._bring(waiter, line, waiter.work.op)

    # --- the lock ------------------------------------------------------------

    def _lock(self, thread: Thread) -> None:
        if self.holder is not None:
            self.contended += 1
            self.sleepers.append(thread)
            return
        self.holder = thread
        cost = self.lines["lock"].fetch(thread, self.costs.line, is_write=True)
        self._at(thread.now + cost + self.costs.lock / 2, thread, self._go_on)

    def _unlock(self, thread: Thread) -> None:
        self.holder = None
        now = thread.now
        if self.sleepers:
            sleeper = self.sleepers.popleft()
            sleeper.wait_until(now + self.costs.wake)
            self._at(sleeper.now, sleeper, self._wake)
            thread.now += self.costs.wake / 2
        self._go_on(thread)

    def _wake(self, thread: Thread) -> None:
        if self.holder is None:
            self._lock(thread)
        else:
            self.sleepers.appendleft(thread)

    # --- mailboxes -----------------------------------------------------------

    def _mail(self, thread: Thread, work: Send | Receive) -> None:
        """Move a block, if there is one or room for one; else the thread waits."""
        box = work.box
        if isinstance(work, Send):
            if len(box.blocks) == box.most:
                box.writer = thread
                return
            box.blocks.append(work.block)
        else:
            if not box.blocks:
                box.reader = thread
                return
            thread.sent = box.blocks.popleft()
        other, box.reader, box.writer = box.reader or box.writer, None, None
        # Each block is handed over by a line of its own.
        thread.now += self.costs.line
        now = thread.now
        self._go_on(thread)
        if other is not None:
            other.wait_until(now)
            self._at(now, other, self._arrive)

    # --- the end -------------------------------------------------------------

    def _outcome(self) -> Outcome:
        pool, threads = self.pool, self.threads
        busy = sum(t.now - t.begun - t.paused for t in threads)
        begun = min(t.begun for t in threads)
        span = max(t.now for t in threads) - begun
        if pool.live:
            raise AssertionError(f"{pool.live} coroutines never finished")
        return Outcome(
            lifecycles=pool.created,
            reused=pool.reused,
            made=pool.created - pool.reused,
            peak=pool.peak,
            idle_end=pool.out,
            contended=self.contended,
            waited=sum(t.waited for t in threads) / busy if busy else 0.0,
            ns_each=busy / pool.created,
            span=span,
            history=self.history.moments(),
        )


class _History:
    """Blocks over time, in bins that become twice as long when there are many.

    Threads run ahead of each other between steps that they share, so what comes
    in is not in the order of time: bins hold by how much the counts change.
    """

    def __init__(self) -> None:
        self.width = 100.0
        self.live = [0] * MOST_BINS
        self.out = [0] * MOST_BINS
        self.was_out = self.last = 0

    def note(self, ns: float, live: int, out: int) -> None:
        """Note that so many more are live, and how many hold pages."""
        while ns >= self.width * MOST_BINS:
            self.live, self.out = _in_pairs(self.live), _in_pairs(self.out)
            self.width *= 2
            self.last //= 2
        index = int(ns / self.width)
        self.live[index] += live
        self.out[index] += out - self.was_out
        self.was_out = out
        self.last = max(self.last, index)

    def moments(self) -> tuple[Moment, ...]:
        """Return the blocks at the end of each bin."""
        live = accumulate(self.live[: self.last + 1])
        out = accumulate(self.out[: self.last + 1])
        return tuple(
            Moment((index + 1) * self.width, a, max(b - a, 0))
            for index, (a, b) in enumerate(zip(live, out, strict=True))
        )


def _in_pairs(bins: list[int]) -> list[int]:
    pairs = zip(bins[::2], bins[1::2], strict=True)
    return [a + b for a, b in pairs] + [0] * (MOST_BINS // 2)
