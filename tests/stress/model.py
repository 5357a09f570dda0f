"""The oracle: what a program must answer, by a model that has no stacks.

Chains of calls are lists of frames here, and moving control is an assignment. What
garbage collection does at a time of its own is left open until it must have happened.
"""

from typing import Any

from program import CALLS, KINDS, SLOTS

EXITS = {"C": "CoroutineExit", "G": "GreenletExit", "B": "GeneratorExit"}
EXITS["D"] = EXITS["B"]


class Unclear(Exception):
    """What the operation does depends on when the collector ran."""


class Anything:
    """Equal to all that an answer can be."""

    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "anything"


class Dead:
    """A set that has all of `must` and none outside of `may`."""

    def __init__(self, must: set[int], may: set[int]) -> None:
        self.must, self.may = must, may

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and self.must <= set(other) <= self.may

    def __repr__(self) -> str:
        return f"from {sorted(self.must)} to {sorted(self.may)}"


class Frame:
    def __init__(self, kind: str, habits: int) -> None:
        self.kind = kind
        self.catches = catches(habits)
        self.held: list[Chain] = []
        self.pending: tuple[int, str, Chain | None] | None = None
        self.context_before: dict[str, Any] | None = None
        self.section: Section | None = None
        self.marker = 0


class Section:
    """A call on the thread's own stack, which control leaves only by its end.

    It goes to greenlets that bear its number or a later one: the one that called, and
    those that began since.
    """

    def __init__(self, thread: "Thread") -> None:
        thread.sections += 1
        self.number = thread.sections
        self.occupant, self.greenlet = thread.current, thread.greenlet
        self.outer, self.before = thread.section, thread.greenlet.section
        thread.section, self.greenlet.section = self, self.number

    def end(self, thread: "Thread") -> None:
        assert thread.section is self
        thread.section, self.greenlet.section = self.outer, self.before


class Thread:
    def __init__(self, outer: "Thread | None", limit: int) -> None:
        self.outer, self.limit = outer, limit
        self.main = Chain(-1, "M", 0)
        self.main.active = True
        self.main.thread = self
        self.main.frames = [Frame("bottom", 1)]
        self.main.top = self.main
        self.current = self.greenlet = self.main
        self.section: Section | None = None
        self.sections = 0
        self.dead = False

    def occupant(self) -> "Chain | None":
        return self.section.occupant if self.section else None

    def number(self) -> int:
        return self.section.number if self.section else 0

    def sections_open(self) -> "list[Section]":
        found, section = [], self.section
        while section:
            found.append(section)
            section = section.outer
        return found


class Chain:
    def __init__(self, number: int, kind: str, habits: int) -> None:
        self.number, self.kind, self.habits = number, kind, habits
        self.active = self.finished = False
        self.frames: list[Frame] = []
        self.caller: Chain | None = None
        self.parent: Chain | None = None
        self.top: Chain | None = None
        self.thread: Thread | None = None
        self.context: dict[str, Any] = {}
        self.base: dict[str, Any] = {}  # of a call's steps
        self.in_await = False  # a plain one: it has no stack
        self.section = 0  # of a greenlet: that in which it has begun
        self.freed = self.unsure = self.required = self.unclear = False

    def suspended(self) -> bool:
        if not self.active:
            return False
        if self.kind == "G":
            assert self.thread
            return self.thread.greenlet is not self
        return self.kind != "M" and self.caller is None


def follow(thing: Chain, driver: Chain) -> None:
    """Give it, and the coroutines that wait in it, the context of its driver."""
    before, chain = thing.base, thing.top
    while chain:
        if chain.context is before:
            chain.context = thing.base = driver.context
        chain = chain.caller if chain is not thing else None


def alive(g: Chain) -> Chain:
    """The greenlet or, if it is dead, the first of its parents that is not."""
    while g.finished:
        assert g.parent
        g = g.parent
    return g


# Habits, which are numbers below 64, shared with what runs in earnest.


def catches(habits: int) -> bool:
    return habits % 2 == 1


def cleanup(habits: int) -> str:
    names = ["", "", "coroutine", "finalizer", "cycle", "keep", "collect", "late"]
    return names[habits // 2 % 8]


def is_polite(habits: int) -> bool:
    return habits // 16 % 4 == 3


def shares_context(habits: int) -> bool:
    return habits // 32 % 2 == 1


def to_send(value: int) -> int | None:
    """What a call that has not begun takes is None."""
    return None if value % 4 else value


class Model:
    """Runs one thread's operations; `log` and `ends` are what is to be expected."""

    def __init__(
        self, operations: list[list[Any]], alone: bool, is_main: bool = False
    ) -> None:
        self.operations, self.alone, self.is_main = operations, alone, is_main
        self.leaves = False  # what is suspended: a thread is ending
        self.exact = True
        self.position = 0
        self.slots: list[Chain | None] = [None] * SLOTS
        self.chains: list[Chain] = []
        self.tossed: list[Chain] = []
        self.kept: list[Chain] = []  # which got hold of themselves at their end
        self.log: list[list[Any]] = []
        self.ends: dict[int, list[list[Any]]] = {}
        self.perhaps: set[int] = set()  # of them: those that may not come
        self.lost: set[Chain] = set()  # what frames refer to that were left
        self.thread = Thread(None, len(self.operations))
        self.threads = [self.thread]

    # --- the loop ---

    def run(self) -> None:
        while not self.threads[0].dead:
            t = self.thread
            if self.position >= t.limit:
                self.leave(("value", 0))
                continue
            name, a, b = self.next()
            self.do(self.position - 1, name, a, b)
            self.settle()
        # What is left is dropped.
        self.slots = [None] * SLOTS
        self.tossed.clear()
        self.kept.clear()
        self.settle()
        for chain in self.chains:
            if chain.suspended():
                self.unwind(chain)

    def next(self) -> list[Any]:
        self.position += 1
        return self.operations[self.position - 1]

    def answer(self, chain: Chain, position: int, name: str, value: Any) -> None:
        self.log.append([position, chain.number, name, value])

    def wait(self, position: int, name: str, target: Chain | None) -> None:
        self.thread.current.frames[-1].pending = (position, name, target)

    def deliver(self, chain: Chain, outcome: tuple[str, Any]) -> None:
        """Control is in the chain, whose last operation has that outcome."""
        self.thread.current = chain
        frame = chain.frames[-1]
        assert frame.pending
        position, name, target = frame.pending
        frame.pending = None
        kind, value = outcome
        if name == "close" and target and target.kind != "G" and kind != "value":
            # The end that was asked for.
            if kind == "exit":
                kind, value = "value", None
            elif kind == "late":
                kind, value = "value", "late"
        elif name == "close" and target and target.kind in "BD":
            value = None
        if kind == "value":
            self.answer(chain, position, name, value)
        else:
            self.raise_in(chain, (kind, value))

    def raise_in(self, chain: Chain, error: tuple[str, Any]) -> None:
        self.thread.current = chain
        kind, value = error
        while chain.frames:
            frame = chain.frames[-1]
            frame.pending = None
            if kind == "boom" and frame.catches:
                self.answer(chain, -1, "caught", value)
                return
            if kind == "boom":
                self.answer(chain, -1, "passed", value)
            else:
                self.note_end(chain, value)
            self.pop(chain)
        own = kind == "exit" and value == EXITS.get(chain.kind)
        if own:
            self.keep(chain)
        if own and is_polite(chain.habits):
            self.finish(chain, ("value", 77))
        elif own and chain.kind != "G" and cleanup(chain.habits) == "late":
            self.finish(chain, ("late", None))
        else:
            self.finish(chain, error)

    def keep(self, chain: Chain) -> None:
        if chain.kind in "CG" and cleanup(chain.habits) == "keep":
            self.kept.append(chain)

    def note_end(self, chain: Chain, kind: str) -> None:
        self.ends.setdefault(chain.number, []).append([len(chain.frames), kind])

    def pop(self, chain: Chain) -> None:
        frame = chain.frames.pop()
        if frame.context_before is not None:
            chain.context = frame.context_before
        if frame.section:
            frame.section.end(self.thread)

    def leave(self, outcome: tuple[str, Any]) -> None:
        """The innermost call of the running chain returns."""
        chain = self.thread.current
        self.pop(chain)
        if chain.frames:
            self.deliver(chain, outcome)
        else:
            self.finish(chain, outcome)

    def finish(self, chain: Chain, outcome: tuple[str, Any]) -> None:
        t = self.thread
        chain.active, chain.finished = False, True
        if chain.kind == "M":
            self.end_thread(outcome)
        elif chain.kind == "G":
            if outcome[0] == "exit" and outcome[1] == "GreenletExit":
                outcome = ("value", "GreenletExit")
            self.switch(*self.successor(chain, outcome))
        else:
            caller, chain.caller = chain.caller, None
            assert caller
            if chain.kind in "BD" and outcome[0] == "value":
                outcome = ("value", ["returned", outcome[1]])
            t.current = caller
            self.deliver(caller, outcome)

    def successor(
        self, g: Chain, outcome: tuple[str, Any]
    ) -> tuple[Chain, tuple[str, Any]]:
        """Who goes on when the greenlet ends, and with what."""
        heir = g.parent
        while heir:
            to = alive(heir)
            if self.may_go_on(to):
                return to, outcome
            outcome = ("value", "error")
            heir = heir.parent
        assert self.thread.section
        return self.thread.section.greenlet, outcome

    def may_go_on(self, g: Chain) -> bool:
        return not g.active or g.section >= self.thread.number()

    def end_thread(self, outcome: tuple[str, Any]) -> None:
        t = self.thread
        self.settle()
        t.dead = True
        self.leaves = bool(t.outer) or not self.is_main
        for left in False, True:  # greenlets, which are not run again, come last
            for chain in self.chains:
                if (chain.kind == "G") is not left:
                    continue
                if chain.thread is t and chain.suspended() and not chain.in_await:
                    self.unwind(chain)
        self.leaves = False
        if t.outer:
            self.thread = t.outer
            value = outcome[1] if outcome[0] == "value" else "boom"
            self.deliver(self.thread.current, ("value", value))

    # --- operations ---

    def do(self, position: int, name: str, a: int, b: int) -> None:
        chain = self.thread.current
        i = a % SLOTS
        thing = self.slots[i]
        if thing and name in ("go", "throw", "close", "state") and self.unclear(thing):
            raise Unclear
        if name in ("go", "throw", "close"):
            if thing:
                self.move(position, name, thing, b)
        elif name == "make":
            self.slots[b % SLOTS] = self.make(KINDS[a % len(KINDS)], b)
        elif name == "yield":
            self.do_yield(position, b)
        elif name == "await":
            self.do_await(position, b)
        elif name == "up":
            parent = self.thread.greenlet.parent
            if not parent:
                self.answer(chain, position, name, "no parent")
            else:
                self.move_greenlet(position, name, parent, ("value", b))
        elif name == "call":
            self.wait(position, name, None)
            frame = Frame(CALLS[a], b)
            frame.marker = position
            if frame.kind == "context":
                frame.context_before = chain.context
                chain.context = dict(chain.context)
            elif frame.kind == "section" and self.is_elsewhere(chain):
                frame.section = Section(self.thread)
            chain.frames.append(frame)
        elif name == "return":
            self.leave(("value", b))
        elif name == "raise":
            self.raise_in(chain, ("boom", position))
        elif name == "hold":
            if thing:
                chain.frames[-1].held.append(thing)
        elif name == "release":
            chain.frames[-1].held.clear()
        elif name == "drop":
            self.slots[i] = None
            self.settle()
            if thing:
                unsure = thing.unsure or not self.exact
                gone = Anything() if unsure else thing.freed
                self.answer(chain, position, name, gone)
        elif name == "toss":
            if thing:
                self.slots[i] = None
                self.tossed.append(thing)
                # Other threads may drop it at any time, and what it holds.
                self.exact = self.exact and self.alone
        elif name == "empty":
            if self.alone:
                self.tossed.clear()
        elif name == "set":
            chain.context["value"] = b
        elif name == "get":
            self.answer(chain, position, name, chain.context.get("value"))
        elif name == "handled":
            self.answer(chain, position, name, self.handled(chain))
        elif name == "state":
            if thing:
                self.answer(chain, position, name, self.state(thing))
        elif name == "depth":
            self.answer(chain, position, name, True)
        elif name == "collect":
            while self.kept:
                self.kept.clear()
                self.settle()
            self.settle()
            may = {c.number for c in self.chains if c.freed or c.unsure}
            # What waits for its own thread keeps what it refers to.
            required = not any(
                c.freed and c.required and not self.is_own(c) for c in self.chains
            )
            must = {
                c.number
                for c in self.chains
                if c.freed and (not c.unsure or (c.required and required))
            } - self.may_stay()
            if not self.exact:
                must, may = set(), {c.number for c in self.chains}
            self.answer(chain, position, name, Dead(must, may))
        elif name == "fork":
            if not self.thread.outer:
                self.answer(chain, position, name, 0)
        elif name == "thread" and len(self.threads) < 20:
            self.wait(position, name, None)
            limit = min(self.thread.limit, self.position + b)
            self.thread = Thread(self.thread, limit)
            self.threads.append(self.thread)

    def is_elsewhere(self, chain: Chain) -> bool:
        """Whether it, which runs, is not on the thread's own stack."""
        return chain.kind != "M" and chain is not self.thread.occupant()

    def is_own(self, thing: Chain) -> bool:
        return thing.thread in (None, self.thread) or thing.thread.dead

    def unclear(self, thing: Chain) -> bool:
        """Whether it may have ended as a part of what somebody has dropped."""
        if thing.unclear or self.exact or not thing.active or thing.suspended():
            return thing.unclear
        t: Thread | None = self.thread
        while t:
            chain: Chain | None = t.current
            while chain:
                if chain is thing:
                    return False
                chain = chain.caller
            t = t.outer
        return True

    def make(self, kind: str, habits: int) -> Chain:
        chain = Chain(len(self.chains), kind, habits)
        if kind == "G":
            chain.parent = self.thread.greenlet
        self.chains.append(chain)
        return chain

    def refuse(self, position: int, name: str, error: str) -> None:
        self.answer(self.thread.current, position, name, error)

    def move(self, position: int, name: str, thing: Chain, v: int) -> None:
        outcome: tuple[str, Any] = ("value", v)
        if thing.kind in "BD" and name == "go":
            outcome = ("value", to_send(v))
        if name == "throw":
            outcome = ("boom", position)
        elif name == "close":
            outcome = ("exit", EXITS[thing.kind])
        if thing.kind == "G":
            self.move_greenlet(position, name, thing, outcome)
        elif thing.kind == "C":
            self.move_coroutine(position, name, thing, outcome)
        else:
            self.move_bridge(position, name, thing, outcome)

    def move_coroutine(
        self, position: int, name: str, co: Chain, outcome: tuple[str, Any]
    ) -> None:
        t = self.thread
        foreign = co.suspended() and co.thread is not t
        if (co.active and not co.suspended()) or foreign:
            self.refuse(position, name, "CoroutineError")
        elif not co.active and name == "close":
            co.finished = True
            self.answer(t.current, position, name, None)
        elif not co.active and name == "throw":
            co.finished = True
            self.raise_in(t.current, outcome)
        elif co.finished:
            self.refuse(position, name, "CoroutineError")
        else:
            self.enter(position, name, co, outcome)

    def move_bridge(
        self, position: int, name: str, b: Chain, outcome: tuple[str, Any]
    ) -> None:
        t = self.thread
        foreign = b.suspended() and not b.in_await and b.thread is not t
        created = not b.active and not b.finished
        if b.active and not b.suspended():
            self.refuse(position, name, "ValueError")
        elif foreign:
            self.refuse(position, name, "CoroutineError")
        elif name == "close" and not b.active:
            b.finished = True
            self.answer(t.current, position, name, None)
        elif b.finished:
            self.refuse(position, name, "RuntimeError")
        elif created and name == "throw":
            b.finished = True
            self.raise_in(t.current, outcome)
        elif created and name == "go" and outcome[1] is not None:
            self.refuse(position, name, "TypeError")
        else:
            self.enter(position, name, b, outcome)

    def enter(
        self, position: int, name: str, thing: Chain, outcome: tuple[str, Any]
    ) -> None:
        t = self.thread
        driver = t.current
        self.wait(position, name, thing)
        thing.caller = driver
        if not thing.active:
            thing.active, thing.thread = True, t
            thing.context = thing.base = driver.context
            if thing.kind == "C" and not shares_context(thing.habits):
                thing.context = dict(driver.context)
            self.begin(thing, outcome[1])
            return
        top = thing.top if thing.kind in "BD" else thing
        assert top
        if thing.in_await:
            thing.in_await, thing.thread = False, t
            thing.context = thing.base = driver.context
        elif thing.kind in "BD":
            follow(thing, driver)
        thing.top = None
        self.deliver(top, outcome)

    def begin(self, chain: Chain, value: Any) -> None:
        chain.frames = [Frame("bottom", chain.habits)]
        self.thread.current = chain
        self.answer(chain, -1, "begin", value)

    def do_yield(self, position: int, value: int) -> None:
        co = self.thread.current
        if co.kind != "C" or co is self.thread.occupant():
            self.refuse(position, "yield", "CoroutineError")
            return
        self.wait(position, "yield", None)
        caller, co.caller = co.caller, None
        assert caller
        self.deliver(caller, ("value", value))

    def do_await(self, position: int, value: int) -> None:
        waits = [self.thread.current]
        while waits[-1].kind not in "BD" and waits[-1].caller:
            waits.append(waits[-1].caller)
        top, b = waits[0], waits[-1]
        if b.kind not in "BD" or self.thread.occupant() in waits:
            self.refuse(position, "await", "CoroutineError")
            return
        self.wait(position, "await", None)
        driver, b.caller = b.caller, None
        assert driver
        b.top = top
        b.in_await = b is top and b.kind == "D" and len(b.frames) == 1
        self.deliver(driver, ("value", value))

    def home(self, g: Chain | None) -> Thread | None:
        while g and not g.active:
            g = g.parent
        return g.thread if g else None

    def move_greenlet(
        self, position: int, name: str, g: Chain, outcome: tuple[str, Any]
    ) -> None:
        t = self.thread
        if self.home(g) is not t or not self.may_go_on(alive(g)):
            self.refuse(position, name, "error")
            return
        self.wait(position, name, g)
        if g.finished and outcome[0] == "exit":
            outcome = ("value", "GreenletExit")
        self.switch(alive(g), outcome)

    def switch(self, to: Chain, outcome: tuple[str, Any]) -> None:
        t = self.thread
        if t.greenlet.active:
            t.greenlet.top = t.current
        t.greenlet = to
        if to.active:
            assert to.top
            self.deliver(to.top, outcome)
            return
        to.active, to.thread, to.section = True, t, t.number()
        t.current = to
        if outcome[0] == "value":
            self.begin(to, outcome[1])
        else:
            self.finish(to, outcome)

    def handled(self, chain: Chain | None) -> int | None:
        while chain:
            for frame in reversed(chain.frames):
                if frame.kind == "except":
                    return frame.marker
            chain = chain.caller
        return None

    def state(self, thing: Chain) -> Any:
        if thing.kind == "G":
            return [thing.active, thing.finished]
        if thing.kind in "BD":
            return [thing.active and not thing.suspended(), thing.suspended()]
        if thing.finished:
            return "finished"
        if not thing.active:
            return "created"
        if thing.suspended():
            return "suspended"
        assert thing.thread
        return "running" if thing.thread.current is thing else "waiting"

    # --- garbage ---

    def unwind(self, thing: Chain) -> None:
        """End it as its finalizer does: control comes back to who dropped it."""
        kind = EXITS[thing.kind]
        is_greenlet = thing.kind == "G"
        # Whether it was dropped while its thread went on, and so was ended.
        is_open = is_greenlet and (thing.unsure or not self.exact)
        is_left = is_greenlet and self.leaves and not is_open
        chain = thing if thing.kind == "C" else thing.top
        while chain:
            if is_open:
                self.perhaps.add(chain.number)
            while chain.frames:
                for held in chain.frames[-1].held:
                    held.unsure = held.unsure or thing.unsure
                pending = chain.frames[-1].pending
                if pending and pending[2] and thing.unsure:
                    pending[2].unsure = True
                if is_left or is_open:
                    self.lose(chain)
                if not is_left:
                    self.note_end(chain, kind)
                self.pop(chain)
            chain.active, chain.finished = False, True
            if chain is thing:
                break
            chain.unclear = thing.unsure
            caller, chain.caller = chain.caller, None
            chain = caller
        if not is_left:
            self.keep(thing)

    def lose(self, chain: Chain) -> None:
        """C code may refer to what its innermost frame does; that is not known."""
        frame = chain.frames[-1]
        reached = [chain, *frame.held]
        if frame.pending and frame.pending[2]:
            reached.append(frame.pending[2])
        while reached:
            thing = reached.pop()
            thing.unsure = True
            if thing not in self.lost:
                self.lost.add(thing)
                reached += [thing.parent] if thing.parent else []

    def may_stay(self) -> set[int]:
        return {chain.number for chain in self.lost}

    def references(self, thing: Chain) -> int:
        count = sum(
            things.count(thing) for things in (self.slots, self.tossed, self.kept)
        )
        for chain in [*self.chains, *(t.main for t in self.threads)]:
            for frame in chain.frames:
                count += frame.held.count(thing)
                count += frame.pending is not None and frame.pending[2] is thing
            count += chain.parent is thing and not chain.freed
        count += sum(t.greenlet is thing for t in self.threads if not t.dead)
        count += sum(section.greenlet is thing for section in self.sections_open())
        return count

    def free(self, thing: Chain) -> None:
        t = self.thread
        if thing.suspended():
            if not thing.in_await and thing.thread is not t:
                thing.unsure = True  # its own thread will do it
            self.unwind(thing)
            if thing in self.kept:
                return
        if thing.unsure and thing.parent:
            thing.parent.unsure = True
        thing.freed = True

    def settle(self) -> None:
        again = True
        while again:
            again = False
            for thing in self.chains:
                if not thing.freed and not self.references(thing):
                    self.free(thing)
                    again = True
            garbage = [] if again else self.garbage(seen=True)
            # Up to 3.13 the collector does not see what a call that waits refers to,
            # and a coroutine that others await is not seen while it runs.
            certain = set(self.garbage(seen=False)) if garbage else set()
            if any(c.kind == "D" and not c.in_await for c in garbage):
                certain.clear()
            for thing in garbage:
                thing.unsure = True
                thing.required = self.alone and thing in certain
                again = True
            for thing in garbage:
                self.free(thing)

    def sections_open(self) -> list[Section]:
        """Their greenlets are not ended if they are dropped meanwhile."""
        return [section for t in self.threads for section in t.sections_open()]

    def garbage(self, seen: bool) -> list[Chain]:
        """What nobody refers to but by way of itself.

        `seen` is whether the collector sees what waiting calls refer to.
        """
        visible = {c for c in self.chains if c.suspended()}
        reached = [c for c in self.slots if c] + self.tossed + self.kept
        for chain in [*self.chains, *(t.main for t in self.threads)]:
            for frame in chain.frames:
                if chain not in visible:
                    reached += frame.held
                unseen = chain not in visible or not seen
                if unseen and frame.pending and frame.pending[2]:
                    reached.append(frame.pending[2])
        reached += [t.greenlet for t in self.threads if not t.dead]
        reached += [section.greenlet for section in self.sections_open()]
        found: set[Chain] = set()
        while reached:
            chain = reached.pop()
            if chain in found:
                continue
            found.add(chain)
            for frame in chain.frames:
                reached += frame.held
                if frame.pending and frame.pending[2]:
                    reached.append(frame.pending[2])
            if chain.parent:
                reached.append(chain.parent)
        return [c for c in self.chains if c not in found and not c.freed]
