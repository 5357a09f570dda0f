"""All that one copy of copool in a process has: threads, and what was made in them.

Nothing is stopped, so that a chain may go on while it is read. Each thread counts
its switches: a chain is read again if that has changed meanwhile, until two readings
are the same. Lists change too: a walk that falls off one begins again and leaves out
what it has seen. What could not be read in this way is counted.
"""

from __future__ import annotations

import contextlib
from struct import Struct

from copool.commands.outside.frames import Frames, Window
from copool.commands.outside.memory import BadAddress, Memory
from copool.commands.outside.model import Chain, Line, Scene, Thread
from copool.commands.outside.names import Names
from copool.commands.outside.objects import Objects
from copool.commands.outside.table import Table

_TRIES = 5  # of a chain that goes on
_RESTARTS = 20  # of a list that changes
_AROUND = 1000  # steps on the way through a list that lead to known ones
_MOST_AWAITED = 1000
_word = Struct("<Q").unpack_from


class Changed(Exception):
    """What was looked at has become something else."""


class _Record:
    """A thread's record, and what it says while it is read."""

    def __init__(self, memory: Memory, table: Table, address: int) -> None:
        self.address = address
        self.ts = memory.word(address + table["record.ts"])
        if not self.ts:
            return  # the thread has ended
        self._memory = memory
        # Both in one reading: they lie side by side.
        current, switches = table["record.current"], table["record.switches"]
        self._low = address + min(current, switches)
        self._size = abs(current - switches) + 8
        self._current = current - min(current, switches)
        self._switches = switches - min(current, switches)
        self.own = address + table["record.own"]
        self.state = memory.word(address + table["record.state"])
        self.notes_times = memory.read(self.state + table["state.times"], 1) != b"\0"
        name = memory.string(address + table["record.name"], 48)
        native = memory.word(self.ts + table["thread.native"])
        if not name and native == memory.own_pid():
            name = "MainThread"  # threading was not imported yet
        ident = memory.word(address + table["record.ident"])
        before = memory.word(address + table["record.before"])
        self.thread = Thread(name, ident, native, self.look()[1] - before)

    def look(self) -> tuple[int, int]:
        """Return who runs, and how often that has changed; `last` stays the same."""
        data = self._memory.read(self._low, self._size)
        self.last: tuple[int, int] = (
            _word(data, self._current)[0],
            _word(data, self._switches)[0],
        )
        return self.last


class Reader:
    """Reads a scene; to be used once."""

    def __init__(self, memory: Memory, table: Table) -> None:
        self._memory, self._table = memory, table
        self._objects = Objects(memory, table)
        self._frames = Frames(memory, table, self._objects)
        self._names = Names(memory, table, self._objects)
        self._scene = Scene(memory.pid, table.versions())
        self._window = Window(memory)
        self._kinds = {
            table["kind.coroutine"]: "coroutine",
            table["kind.greenlet"]: "greenlet",
            table["kind.bridge"]: "awaited",
        }
        self._bridge_types: set[int] = set()
        self._known_kinds: dict[int, str] = {}
        self._by_strand: dict[int, Chain] = {}
        self._way: set[int] = set()  # those that run, and that wait for these
        self._callers: dict[int, int] = {}
        names = ["thread", "face", "ops", "caller", "next", "link", "rest", "since"]
        self._at = {name: table[f"strand.{name}"] for name in names}
        names = ["state", "strand", "top", "target", "awaited", "next", "link"]
        self._bridge_at = [(name, table[f"bridge.{name}"]) for name in names]
        self._bridge_size = max(at for _, at in self._bridge_at) + 8
        self._root_at, self._size = table["strand.root"], table["strand.size"]
        self._has_cframe = "slice.cframe" in table
        name = "slice.cframe" if self._has_cframe else "slice.frame"
        self._frame_at = table["strand.slice"] + table[name]
        self._rest_times = table["strand.rest.times"]

    def read(self) -> Scene:
        """Read all; raises Gone if the process ends meanwhile."""
        states: set[int] = set()
        for record in self._read_records():
            self._read_running(record)
            for head in ("record.started", "record.passed"):
                self._read_list(record, record.address + self._table[head])
            if record.state not in states:
                states.add(record.state)
                self._read_bridges(record.state + self._table["state.bridges"])
        for strand, caller in self._callers.items():
            chain, by = self._by_strand.get(strand), self._by_strand.get(caller)
            if chain is not None and by is not None and by.lines:
                chain.entered_by = by.lines[0]
        return self._scene

    # --- threads

    def _read_records(self) -> list[_Record]:
        found: list[_Record] = []
        seen: set[int] = set()
        try:
            address = self._memory.word(self._table["records"])
            while address and address not in seen:
                seen.add(address)
                record = _Record(self._memory, self._table, address)
                if record.ts:
                    found.append(record)
                    type_at = record.state + self._table["state.bridge.type"]
                    self._bridge_types.add(self._memory.word(type_at))
                    self._scene.threads.append(record.thread)
                address = self._memory.word(address + self._table["record.next"])
        except BadAddress:
            self._scene.unread += 1
        return found

    def _read_running(self, record: _Record) -> None:
        """Read who runs, who waits for it, and the thread's own chain in any case."""
        with contextlib.suppress(BadAddress):  # those in lists are found there, too
            strand, _ = record.look()
            while strand and strand not in self._by_strand:
                record.look()
                self._window.forget()
                if not self._read_strand(record, strand, "waiting"):
                    break
                self._way.add(strand)
                (strand,) = _word(*self._window.at(strand + self._at["caller"], 8))
        if record.own not in self._by_strand:
            self._window.forget()
            self._read_strand(record, record.own, "suspended")

    # --- lists

    def _read_list(self, record: _Record, head: int) -> None:
        """Read the chains of a list, whose elements come and go meanwhile."""
        seen: set[int] = set()
        for _ in range(_RESTARTS):
            with contextlib.suppress(BadAddress, Changed):
                link, strand = head, self._memory.word(head)
                steps = 0
                while strand:
                    self._window.forget()
                    is_used = self._check_strand(record, strand, link)
                    if strand not in seen:
                        seen.add(strand)
                        if is_used and strand not in self._by_strand:
                            self._read_strand(record, strand, "suspended")
                    link = strand + self._at["next"]
                    (strand,) = _word(*self._window.at(link, 8))
                    steps += 1
                    if steps > _AROUND + 2 * len(seen):
                        raise Changed  # it leads to its beginning again and again
                return
        self._scene.unread += 1

    def _check_strand(self, record: _Record, strand: int, link: int) -> bool:
        """Raise Changed if it is in no list any more, or in another one.

        False if it has no face: it is kept for whatever begins next.
        """
        data, at = self._window.at(strand, self._size)
        if _word(data, at + self._at["link"])[0] != link:
            raise Changed
        if _word(data, at + self._at["thread"])[0] != record.address:
            raise Changed
        return bool(_word(data, at + self._at["face"])[0])

    # --- chains

    def _read_strand(self, record: _Record, strand: int, state: str) -> bool:
        """Read one until nothing has been switched meanwhile, or nothing changes."""
        last: Chain | None = None
        for attempt in range(_TRIES):
            current, before = record.last
            if attempt:
                self._window.forget()
            try:
                chain = self._chain(record, strand, current, state)
                is_steady = record.look()[1] == before
            except BadAddress:
                with contextlib.suppress(BadAddress):
                    record.look()
                continue
            if is_steady or _is_same(last, chain):
                if chain.kind != "thread":
                    self._names.fill_in(chain)
                self._by_strand[strand] = chain
                self._scene.chains.append(chain)
                return True
            last = chain
        self._scene.unread += 1
        return False

    def _chain(
        self, record: _Record, strand: int, current: int, otherwise: str
    ) -> Chain:
        data, at = self._window.at(strand, self._size)
        places = self._at
        face, caller, ops, since, rest = (
            _word(data, at + places["face"])[0],
            _word(data, at + places["caller"])[0],
            _word(data, at + places["ops"])[0],
            _word(data, at + places["since"])[0],
            _word(data, at + places["rest"])[0],
        )
        kind = "thread" if strand == record.own else self._kind(ops)
        if otherwise == "suspended" and caller in self._way:
            caller = 0  # it has just been left, and its caller has not arrived yet
        state = "waiting" if caller else otherwise
        awaited: tuple[Line, ...] = ()
        if strand == current:
            state, frame = "running", self._running_frame(record.ts)
        else:
            awaited = self._awaited_below(strand, face, kind, caller)
            frame = self._frame(strand)
        lines = self._frames.chain(
            frame,
            strand + self._root_at,
            self._window,
            hangs=strand == current and kind in ("coroutine", "awaited"),
        )
        chain = Chain(kind, state, record.thread, awaited + lines, face)
        if state == "suspended" and record.notes_times and rest & self._rest_times:
            chain.age = self._memory.seconds_since(since) if since else None
        self._callers[strand] = caller
        return chain

    def _kind(self, ops: int) -> str:
        """Return what the faces with those operations are.

        For what is called on a thread's own stack they are a copy, not for long.
        """
        kind = self._known_kinds.get(ops)
        if kind is None:
            number = self._memory.read(ops + self._table["ops.kind"], 4)
            kind = self._kinds.get(int.from_bytes(number, "little"))
            if kind is None:
                raise BadAddress
            if any(each.start <= ops < each.end for each in self._memory.mappings()):
                self._known_kinds[ops] = kind
        return kind

    def _frame(self, strand: int) -> int:
        """Return the innermost frame of a chain that does not run."""
        (frame,) = _word(*self._window.at(strand + self._frame_at, 8))
        if self._has_cframe:
            (frame,) = _word(*self._window.at(frame + self._table["cframe.frame"], 8))
        return int(frame)

    def _running_frame(self, ts: int) -> int:
        table, memory = self._table, self._memory
        if self._has_cframe:
            cframe = memory.word(ts + table["thread.cframe"])
            return memory.word(cframe + table["cframe.frame"])
        return memory.word(ts + table["thread.frame"])

    # --- what is awaited

    def _awaited_below(
        self, strand: int, face: int, kind: str, caller: int
    ) -> tuple[Line, ...]:
        """Return what a chain awaits that is in await_().

        The strand that has called that is a Bridge's own or one that it has entered.
        """
        window = Window(self._memory)
        for _ in range(_MOST_AWAITED):
            if not caller:
                break
            data, at = window.at(caller, self._size)
            face, ops, caller = (
                _word(data, at + self._at[name])[0]
                for name in ("face", "ops", "caller")
            )
            kind = self._kind(ops) if face else "thread"
        if kind != "awaited":
            return ()
        if self._memory.word(face + self._table["bridge.top"]) != strand:
            return ()
        return self._awaited(self._memory.word(face + self._table["bridge.awaited"]))

    def _awaited(self, awaitable: int) -> tuple[Line, ...]:
        """Return the lines of what is awaited, from coroutine to coroutine.

        Where one awaits a Bridge it goes on with that one's chain.
        """
        lines: list[Line] = []
        for _ in range(_MOST_AWAITED):
            if not awaitable:
                break
            found = self._frames.generator(awaitable)
            if found is not None:
                lines.append(found[0])
                awaitable = found[1]
                continue
            if self._objects.type_of(awaitable) not in self._bridge_types:
                break
            bridge = self._bridge(awaitable)
            if bridge["state"] & 0xFF != self._table["state.suspended"]:
                break
            awaitable = bridge["target"]
            if bridge["strand"]:
                window = Window(self._memory)
                root = bridge["strand"] + self._root_at
                frame = self._frame(bridge["strand"])
                lines += reversed(self._frames.chain(frame, root, window))
                own = bridge["top"] == bridge["strand"]
                awaitable = bridge["awaited"] if own else 0
        return tuple(reversed(lines))

    def _bridge(self, bridge: int) -> dict[str, int]:
        data = self._memory.read(bridge, self._bridge_size)
        return {name: _word(data, at)[0] for name, at in self._bridge_at}

    def _read_bridges(self, head: int) -> None:
        """Read those of an interpreter that have no strand, and so no thread."""
        seen = {chain.face for chain in self._scene.chains}
        for _ in range(_RESTARTS):
            with contextlib.suppress(BadAddress, Changed):
                link, address = head, self._memory.word(head)
                while address:
                    bridge = self._bridge(address)
                    if bridge["link"] != link:
                        raise Changed
                    if address not in seen:
                        seen.add(address)
                        is_suspended = (
                            bridge["state"] & 0xFF == self._table["state.suspended"]
                        )
                        if is_suspended and not bridge["strand"]:
                            self._read_bridge(address)
                    link = address + self._table["bridge.next"]
                    address = bridge["next"]
                return
        self._scene.unread += 1

    def _read_bridge(self, bridge: int) -> None:
        """Read one until two readings are the same: nothing counts its steps."""
        last: Chain | None = None
        for _ in range(_TRIES):
            try:
                chain = Chain(
                    "awaited", "suspended", None, self._awaited(bridge), bridge
                )
            except BadAddress:
                continue
            if _is_same(last, chain):
                self._names.fill_in(chain)
                self._scene.chains.append(chain)
                return
            last = chain
        self._scene.unread += 1


def _is_same(one: Chain | None, other: Chain) -> bool:
    return one is not None and (one.lines, one.state, one.face, one.kind) == (
        other.lines,
        other.state,
        other.face,
        other.kind,
    )
