"""Reads the chains of a process, with the table that copool carries in it.

Nothing here knows gdb. What is read may be damaged, or in the middle of a change:
Unreadable is raised then, or less is found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

_COOKIE = b"copool section\0\0"
_HEAD = struct.Struct("<16sIIII")
_VERSION = 1
_MOST_ENTRIES, _MOST_TEXT, _MOST_LINES = 4096, 1000, 1 << 22
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}

# The bytes at an address; raises Unreadable.
Read = Callable[[int, int], bytes]


class Unreadable(Exception):
    """Memory can't be read, or has not in it what it should."""


class OtherVersion(Exception):
    """The table is one that this can't read; the text says so."""


class Table(dict[str, int]):
    """Numbers by name: offsets, addresses and others."""

    def __missing__(self, name: str) -> int:
        raise OtherVersion(
            f"the copool of this process does not say what {name!r} is: read it with"
            " the commands that came with it"
        )


def read_table(read: Read, address: int) -> Table | None:
    """Return the table at the address; None while it is not filled in."""
    cookie, version, count, size, name_size = _HEAD.unpack(read(address, _HEAD.size))
    if cookie != _COOKIE:
        raise Unreadable
    if version == 0:
        return None
    if version != _VERSION:
        raise OtherVersion(
            f"the copool of this process has a table of version {version}, and these"
            f" commands read version {_VERSION}: read it with those that came with it"
        )
    if count > _MOST_ENTRIES or not name_size + 8 <= size <= 1024:
        raise Unreadable
    data = read(address + _HEAD.size, count * size)
    table = Table()
    for at in range(0, count * size, size):
        name = data[at : at + name_size].partition(b"\0")[0].decode("ascii", "replace")
        (table[name],) = struct.unpack_from("<Q", data, at + name_size)
    return table


def find_cookie(data: bytes) -> int:
    """Return where a table may be in it; -1 if there is none."""
    at = data.find(_COOKIE)
    while at >= 0 and at % 32:
        at = data.find(_COOKIE, at + 1)
    return at


def _printable(text: str) -> str:
    """Return it without what a terminal would obey."""
    if text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")


class Frame(NamedTuple):
    """A frame of Python's; `ends` if it is the first that a call in C has run."""

    function: str
    file: str
    line: int
    ends: bool

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line or '?'})"

    def brief(self) -> str:
        """Return the same without the folder."""
        return str(self._replace(file=self.file.rpartition("/")[2]))


class Chain(NamedTuple):
    """A chain of calls that has a stack.

    The stack pointer and the like are only valid while it is not running.
    """

    strand: int
    face: int  # 0 for what a thread does itself
    kind: str
    state: str
    name: str
    thread: int  # as the kernel numbers it
    thread_name: str
    caller: int  # the strand that waits for it, or 0
    sp: int
    fp: int
    pc: int
    frames: tuple[Frame, ...]  # innermost first

    @property
    def address(self) -> int:
        """What to call it by."""
        return self.face or self.strand

    @property
    def runs(self) -> bool:
        """Whether it is where its thread is."""
        return self.state == "running"

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"{self.kind}{name}, {self.state}, at {self.address:#x}"


class _Code(NamedTuple):
    function: str
    file: str
    begin: int
    lines: list[tuple[int, int]]  # the end of a piece, its line or 0

    def line(self, instruction: int) -> int:
        at = instruction - self.begin
        for end, line in self.lines:
            if at < end:
                return line
        return 0


def _lines(table: bytes, line: int) -> Iterator[tuple[int, int]]:
    """Yield what co_linetable says, as far as it makes sense."""
    numbers = iter(table)

    def number() -> int:
        value = shift = 0
        for byte in numbers:
            value |= (byte & 63) << shift
            shift += 6
            if not byte & 64:
                break
        return -(value >> 1) if value & 1 else value >> 1

    end = 0
    for head in numbers:
        kind = head >> 3 & 15
        if kind in (13, 14):
            line += number()
        elif 10 <= kind <= 12:
            line += kind - 10
        # Columns, which nobody wants to know.
        for _ in range(3 if kind == 14 else 0):
            number()
        for _ in range(2 if 10 <= kind <= 12 else kind < 10):
            next(numbers, None)
        end += 2 * ((head & 7) + 1)
        yield end, 0 if kind == 15 else line


class Process:
    """The chains of a process, by the table of one copy of copool in it."""

    def __init__(self, read: Read, table: Table) -> None:
        self._read, self._table = read, table
        self._codes: dict[int, _Code] = {}
        self._lines: dict[tuple[int, int], tuple[str, str, int]] = {}
        self._type_names: dict[int, str] = {}
        self._callables: dict[int, str] = {}
        self._kinds: dict[int, int] = {}
        self._shown = {table[f"owner.{o}"] for o in ("thread", "generator", "object")}
        #: Whether there are chains that could not be read.
        self.cut_off = False

    # --- chains

    def chains(self) -> Iterator[Chain]:
        """Yield all that has begun and not finished.

        And what threads do themselves, for those that do not just now.
        """
        table = self._table
        for record in self._list(self._word(table["records"]), table["record.next"]):
            thread = self._word(record + table["record.ts"])
            if thread:
                yield from self._of_thread(record, thread)

    def _list(self, first: int, link: int) -> Iterator[int]:
        seen = set()
        try:
            while first and first not in seen:
                seen.add(first)
                yield first
                first = self._word(first + link)
        except Unreadable:
            self.cut_off = True

    def _of_thread(self, record: int, thread: int) -> Iterator[Chain]:
        table = self._table
        native = self._word(thread + table["thread.native"])
        name = self._string(record + table["record.name"])
        current = self._word(record + table["record.current"])
        own = record + table["record.own"]
        waiting = set(self._list(current, table["strand.caller"]))
        if current != own:
            waits = own in waiting or not self._is_of(current, record)
            yield self._chain(own, thread, waits)._replace(
                kind="thread", name=name, thread=native, thread_name=name
            )
        for list_ in ("record.started", "record.passed"):
            first = self._word(record + table[list_])
            for strand in self._list(first, table["strand.next"]):
                if not self._is_of(strand, record):
                    break
                if not self._word(strand + table["strand.face"]):
                    continue  # a stack that is kept for the next one
                chain = self._chain(
                    strand, thread, strand in waiting, strand == current
                )
                yield chain._replace(thread=native, thread_name=name)

    def _is_of(self, strand: int, record: int) -> bool:
        """Whether there is a strand of that thread: some cores have zeros there."""
        try:
            thread = self._word(strand + self._table["strand.thread"])
        except Unreadable:
            thread = 0
        if thread != record:
            self.cut_off = True
        return thread == record

    def _chain(
        self, strand: int, thread: int, waits: bool, runs: bool = False
    ) -> Chain:
        table = self._table
        data = self._read(strand, table["strand.size"])

        def word(name: str) -> int:
            return int(struct.unpack_from("<Q", data, table[name])[0])

        if runs:
            frame = self._top_frame(thread, "thread")
        else:
            frame = self._top_frame(strand + table["strand.slice"], "slice")
        face = word("strand.face")
        frames = tuple(self.frames(frame, strand + table["strand.root"]))
        kind, name = self._face(face, word("strand.ops")) if face else ("", "")
        caller = word("strand.caller")
        return Chain(
            strand=strand,
            face=face,
            kind=kind,
            state="running" if runs else "waiting" if waits or caller else "suspended",
            name=name or (frames[-1].function if frames else ""),
            thread=0,
            thread_name="",
            caller=caller,
            sp=word("strand.sp"),
            fp=word("strand.fp"),
            pc=word("strand.pc"),
            frames=frames,
        )

    def _top_frame(self, address: int, holder: str) -> int:
        table = self._table
        if f"{holder}.frame" in table:
            return self._word(address + table[f"{holder}.frame"])
        cframe = self._word(address + table[f"{holder}.cframe"])
        return self._word(cframe + table["cframe.frame"])

    # --- what they are called

    def _face(self, face: int, ops: int) -> tuple[str, str]:
        """Return its kind and name."""
        table = self._table
        if ops not in self._kinds:
            kind = self._read(ops + table["ops.kind"], 4)
            self._kinds[ops] = int.from_bytes(kind, "little")
        try:
            if self._kinds[ops] == table["kind.coroutine"]:
                return "coroutine", self._name(face, "coroutine.label", "coroutine.fn")
            if self._kinds[ops] == table["kind.bridge"]:
                return "bridge", self._name(face, "bridge.label", "bridge.target")
            if self._kinds[ops] == table["kind.greenlet"]:
                more = self._word(face + table["greenlet.more"])
                return "greenlet", self._name(more, "more.label", "more.run")
        except Unreadable:
            pass
        return "chain", ""

    def _name(self, holder: int, label: str, function: str) -> str:
        """Return the name that it was given, or that of what it calls."""
        found = self._word(holder + self._table[label])
        given = found and self._word(found + self._table["label.name"])
        if given:
            return self._text(given)
        called = self._word(holder + self._table[function])
        if called not in self._callables:
            self._callables[called] = self._callable(called) if called else ""
        return self._callables[called]

    def _callable(self, address: int) -> str:
        table = self._table
        kind = self._word(address + table["object.type"])
        if kind == table["type.function"]:
            return self._text(self._word(address + table["function.qualname"]))
        if kind == table["type.method"]:
            return self._callable(self._word(address + table["method.function"]))
        if kind == table["type.builtin"]:
            definition = self._word(address + table["builtin.def"])
            return self._string(self._word(definition + table["def.name"]))
        if kind in (table["type.coroutine"], table["type.generator"]):
            return self._text(self._word(address + table["gen.qualname"]))
        return self.type_name(address)

    def type_name(self, address: int) -> str:
        """Return that of the object's type."""
        kind = self._word(address + self._table["object.type"])
        if kind not in self._type_names:
            name = self._word(kind + self._table["type.name"])
            self._type_names[kind] = self._string(name)
        return self._type_names[kind]

    # --- frames

    def frames(self, frame: int, root: int) -> Iterator[Frame]:
        """Yield them, innermost first, up to the root of the chain."""
        table, found = self._table, None
        seen = set()
        try:
            while frame and frame != root and frame not in seen:
                seen.add(frame)
                data = self._read(frame, table["frame.size"])
                shown = self._frame(data)
                if found and shown:
                    yield found
                elif found:  # one of the interpreter's own: that is where C calls
                    yield found._replace(ends=True)
                found = shown
                (frame,) = struct.unpack_from("<Q", data, table["frame.previous"])
        except Unreadable:
            pass
        if found:
            yield found._replace(ends=True)

    def _frame(self, data: bytes) -> Frame | None:
        """Return it; None if it is no function's."""
        table = self._table
        if data[table["frame.owner"]] not in self._shown:
            return None
        code, instruction = (
            struct.unpack_from("<Q", data, table[name])[0]
            for name in ("frame.code", "frame.instr")
        )
        code &= ~table["frame.tag"]
        ends = "frame.entry" in table and bool(data[table["frame.entry"]])
        key = code, instruction
        if key not in self._lines:
            of = self._code(code)
            self._lines[key] = of.function, of.file, of.line(instruction)
        return Frame(*self._lines[key], ends)

    def _code(self, address: int) -> _Code:
        table = self._table
        if address not in self._codes:
            lines = self._word(address + table["code.linetable"])
            size = self._word(lines + table["bytes.size"])
            first = self._read(address + table["code.firstlineno"], 4)
            if size > _MOST_LINES:
                raise Unreadable
            content = self._read(lines + table["bytes.text"], size)
            self._codes[address] = _Code(
                self._text(self._word(address + table["code.qualname"])),
                self._text(self._word(address + table["code.filename"])),
                address + table["code.code"],
                [*_lines(content, int.from_bytes(first, "little"))],
            )
        return self._codes[address]

    # --- objects

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), "little")

    def _string(self, address: int) -> str:
        """Return a text that ends with a zero."""
        found = b""
        while b"\0" not in found and len(found) < _MOST_TEXT:
            # Not into the next page, which may not be there.
            found += self._read(address + len(found), 16 - (address + len(found)) % 16)
        return _printable(found.partition(b"\0")[0].decode("utf-8", "replace"))

    def _text(self, address: int) -> str:
        """Return the value of a str."""
        table = self._table
        length = self._word(address + table["str.length"])
        state = int.from_bytes(self._read(address + table["str.state"], 4), "little")
        size = state // table["str.kind"] & 7
        if size not in _CODECS:
            raise Unreadable
        ascii_ = state & table["str.ascii"]
        begin = address + table["str.text.ascii" if ascii_ else "str.text"]
        data = self._read(begin, min(length, _MOST_TEXT) * size) if length else b""
        return _printable(data.decode(_CODECS[size], "replace"))
