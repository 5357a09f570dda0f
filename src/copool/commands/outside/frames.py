"""Chains of frames, and of coroutines that await each other."""

from __future__ import annotations

import struct

from copool.commands.outside.memory import PAGE, BadAddress, Memory
from copool.commands.outside.model import Line
from copool.commands.outside.objects import Objects
from copool.commands.outside.table import Table

_MOST = 100_000  # frames of a chain
_HEAD = 16  # bytes that every object has
_MOST_OF_IT = 512  # bytes of a generator that are read at once
_LOCATION, _AFTER_YIELD_FROM = 3, 2  # of RESUME's argument, in 3.11 and 3.12


class Window:
    """A piece of memory that was read at once, and is looked at in many places.

    As a rule a coroutine has its record and its frames in one page. No page is
    read but for something that is in it, see Memory.read_near().
    """

    __slots__ = ("_data", "_end", "_memory", "_start")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.forget()

    def forget(self) -> None:
        """Read anew from here on."""
        self._data, self._start, self._end = b"", 0, 0

    def at(self, address: int, size: int) -> tuple[bytes, int]:
        """Return bytes and where in these the address is; so many are behind it."""
        if not self._start <= address <= self._end - size:
            last = address + size - 1
            start = address & -PAGE
            end = (last | PAGE - 1) + 1
            self._data = self._memory.read_some(start, end - start)
            self._start, self._end = start, start + len(self._data)
            if address > self._end - size:
                self.forget()
                raise BadAddress
        return self._data, address - self._start


class Frames:
    """Walks through them, in the layout of the table."""

    def __init__(self, memory: Memory, table: Table, objects: Objects) -> None:
        self._memory, self._table, self._objects = memory, table, objects
        names = ("frame.code", "frame.instr", "frame.previous")
        self._code_at, self._instr_at, self._previous_at = (table[n] for n in names)
        self._owner_at = table["frame.owner"]
        self._size = max(*(table[n] + 8 for n in names), self._owner_at + 1)
        self._address = ~table["frame.tag"]
        self._generator = table["owner.generator"]
        self._owners = {
            table[f"owner.{name}"] for name in ("thread", "generator", "object")
        }
        self._lines: dict[tuple[int, int], Line] = {}
        self._unbegun: set[tuple[int, int]] = set()  # calls that no tool shows yet
        self._root_code = table["root.code"]
        self._type_at = table["object.type"]
        self._generators = (table["type.coroutine"], table["type.generator"])
        self._asks_code = table.python() < (3, 13)
        self._yields_from: dict[int, bool] = {}
        self._word = struct.Struct("<Q").unpack_from

    def chain(
        self, frame: int, root: int, window: Window, *, hangs: bool = False
    ) -> tuple[Line, ...]:
        """Return the lines of a chain from the innermost on.

        It ends before the frame `root`, or with the last, which it must not if it
        hangs from that. Raises BadAddress if the chain is none, as it may be if it
        runs meanwhile.
        """
        lines: list[Line] = []
        word, known = self._word, self._lines
        for _ in range(_MOST):
            if frame == root or not (frame or hangs):
                return tuple(lines)
            if not frame:
                raise BadAddress  # of the one that was left just now
            data, at = window.at(frame, self._size)
            owner = data[at + self._owner_at]
            if owner in self._owners:
                code = word(data, at + self._code_at)[0] & self._address
                if code == self._root_code:
                    raise BadAddress  # of another chain
                where = (code, word(data, at + self._instr_at)[0])
                line = known.get(where) or self._line(*where)
                if where not in self._unbegun or owner == self._generator:
                    lines.append(line)
            frame = word(data, at + self._previous_at)[0]
        raise BadAddress

    def generator(self, address: int) -> tuple[Line, int] | None:
        """Return where a generator or coroutine is, and what it awaits or 0.

        None if it is something else.
        """
        frame_at = self._table["gen.frame"]
        data = self._memory.read_near(address, _HEAD, _MOST_OF_IT)
        if self._word(data, self._type_at)[0] not in self._generators:
            return None
        if len(data) < frame_at + self._size:
            data = self._memory.read(address, _MOST_OF_IT)
        code = self._word(data, frame_at + self._code_at)[0] & self._address
        instruction = self._word(data, frame_at + self._instr_at)[0]
        line = self._line(code, instruction)
        return line, self._awaited_by(address, data, instruction)

    def _awaited_by(self, generator: int, data: bytes, instruction: int) -> int:
        """Return what a generator awaits, from its evaluation stack, or 0."""
        table, frame_at = self._table, self._table["gen.frame"]
        if data[table["gen.state"]] != table["gen.awaits"]:
            return 0
        if not self._is_yield_from(instruction):
            return 0
        if "frame.stackpointer" in table:
            (top,) = self._word(data, frame_at + table["frame.stackpointer"])
        else:
            at = frame_at + table["frame.stacktop"]
            values = int.from_bytes(data[at : at + 4], "little", signed=True)
            top = generator + frame_at + table["frame.locals"] + 8 * values
        at = top - 8 * table["gen.awaited"] - generator
        if 0 <= at <= len(data) - 8:
            return int(self._word(data, at)[0]) & self._address
        return self._memory.word(generator + at) & self._address

    def _is_yield_from(self, instruction: int) -> bool:
        """Whether a suspended generator waits for what it awaits or yields from.

        From 3.13 on it has a state of its own then; before, the instruction with
        which it goes on says it.
        """
        if not self._asks_code:
            return True
        known = self._yields_from.get(instruction)
        if known is None:
            # Behind the one that it stopped at: RESUME, and its argument.
            argument = self._memory.read(instruction + 3, 1)[0]
            known = argument & _LOCATION >= _AFTER_YIELD_FROM
            self._yields_from[instruction] = known
        return known

    def _line(self, code_at: int, instruction: int) -> Line:
        code = self._objects.code(code_at)
        where = (code_at, instruction)
        if instruction < code.traceable:
            self._unbegun.add(where)
        return self._lines.setdefault(
            where, (code.function, code.file, code.line(instruction))
        )
