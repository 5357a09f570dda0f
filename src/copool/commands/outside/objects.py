"""CPython's objects, as far as reports need them, in the layout of the table."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from copool.commands.outside.memory import MASK, BadAddress, Memory
from copool.commands.outside.table import Table

_MOST_TEXT = 500  # characters that are shown
_MOST_TABLE = 1 << 22  # bytes of a table of lines
_MOST_KEYS = 1000
_IS_TYPE = 1 << 31  # Py_TPFLAGS_TYPE_SUBCLASS, part of the stable ABI
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
_SPLIT = 2  # the kind of a dict's keys that leaves the values to others
_METHODS = 8  # of methods


class Code:
    """What a code object is called, and its lines."""

    __slots__ = ("file", "function", "lines", "starts", "text_at", "traceable")

    def __init__(
        self,
        function: str,
        file: str,
        text_at: int,
        traceable: int,
        table: bytes,
        first: int,
    ) -> None:
        self.function, self.file = function, file
        self.text_at, self.traceable = text_at, traceable
        self.starts, self.lines = [-2], [first]  # before it has begun
        for start, line in _lines(table, first):
            self.starts.append(start)
            self.lines.append(line)

    def line(self, instruction: int) -> int:
        """Return the line of the instruction at the address; 0 if it has none."""
        i = bisect_right(self.starts, instruction - self.text_at) - 1
        return self.lines[max(i, 0)]


def _lines(table: bytes, first: int) -> Iterator[tuple[int, int]]:
    """Yield where pieces of code begin, and their lines; 0 for none.

    The table is co_linetable; a piece is an entry of it, see CPython's
    Objects/locations.md.
    """
    numbers = iter(table)

    def signed() -> int:
        value = shift = 0
        while True:
            byte = next(numbers)
            value |= (byte & 63) << shift
            shift += 6
            if not byte & 64:
                return -(value >> 1) if value & 1 else value >> 1

    start, line = 0, first
    try:
        for byte in numbers:
            kind = byte >> 3 & 15
            if kind >= 13 and kind < 15:
                line += signed()
                for _ in range(3 if kind == 14 else 0):
                    signed()
            elif kind >= 10 and kind < 13:
                line += kind - 10
                next(numbers), next(numbers)
            elif kind < 10:
                next(numbers)
            yield start, 0 if kind == 15 else line
            start += 2 * ((byte & 7) + 1)
    except (StopIteration, RuntimeError):
        return  # it was none, or has changed


class Objects:
    """Reads them, and remembers: for one look at a process."""

    def __init__(self, memory: Memory, table: Table) -> None:
        self._memory, self._table = memory, table
        self._texts: dict[int, str] = {}
        self._types: dict[int, str] = {}
        self._callables: dict[int, str] = {}
        self._codes: dict[int, Code] = {}
        self._text_head = table["str.text"] + 80
        self._type_at = table["object.type"]
        self._code_type = 0

    def type_of(self, address: int) -> int:
        """Return the address of the object's type."""
        return self._memory.word(address + self._type_at)

    def type_name(self, type_: int) -> str:
        """Return what a type is called, with its module as its tp_name has it."""
        name = self._types.get(type_)
        if name is None:
            at = self._memory.word(type_ + self._table["type.name"])
            name = self._types[type_] = self._memory.string(at)
        return name

    def text(self, address: int) -> str:
        """Return the value of a str; raises BadAddress if it is none."""
        found = self._texts.get(address)
        if found is None:
            found = self._texts[address] = self._read_text(address)
        return found

    def _read_text(self, address: int) -> str:
        table = self._table
        head = self._memory.read_some(address, self._text_head)
        if len(head) < table["str.text.ascii"]:
            raise BadAddress
        (length,) = struct.unpack_from("<q", head, table["str.length"])
        (state,) = struct.unpack_from("<I", head, table["str.state"])
        (type_,) = struct.unpack_from("<Q", head, self._type_at)
        kind = state // table["str.kind"] & 7
        if not 0 <= length < 1 << 40 or kind not in _CODECS:
            raise BadAddress
        size = min(length, _MOST_TEXT) * kind
        if type_ != table["type.str"]:
            # A class that is derived has its text elsewhere.
            at = self._memory.word(address + table["str.text"])
            data = self._memory.read(at, size) if size else b""
        else:
            is_ascii = state & table["str.ascii"]
            begin = table["str.text.ascii"] if is_ascii else table["str.text"]
            data = head[begin : begin + size]
            if len(data) < size:
                data = self._memory.read(address + begin, size)
        text = data.decode(_CODECS[kind], "replace")
        return text if length <= _MOST_TEXT else text + "…"

    def text_or_number(self, address: int, form: str) -> str:
        """Return the value of a str; or of an int, as that form has it."""
        if self.type_of(address) == self._table.get("type.int"):
            return form.format(self._number(address))
        return self.text(address)

    def _number(self, address: int) -> int:
        """Return the value of an int that is not negative.

        Where these are in use, from 3.12 on, its size is beside bits for the sign.
        """
        count = self._memory.word(address + self._table["int.tag"]) >> 3
        if count > 4:
            raise BadAddress
        at = address + self._table["int.digits"]
        digits = self._memory.read(at, 4 * count) if count else b""
        return sum(
            digit << 30 * i
            for i, (digit,) in enumerate(struct.iter_unpack("<I", digits))
        )

    def bytes(self, address: int) -> bytes:
        """Return the value of a bytes object."""
        size = self._memory.word(address + self._table["bytes.size"])
        if size > _MOST_TABLE:
            raise BadAddress
        at = address + self._table["bytes.text"]
        return self._memory.read(at, size) if size else b""

    def code(self, address: int) -> Code:
        """Return a code object; raises BadAddress if it is none."""
        found = self._codes.get(address)
        if found is None:
            found = self._codes[address] = self._read_code(address)
        return found

    def _read_code(self, address: int) -> Code:
        if not self._code_type:
            self._code_type = self.type_of(self._table["root.code"])
        if self.type_of(address) != self._code_type:
            raise BadAddress
        table, memory = self._table, self._memory
        text_at = address + table["code.code"]
        first = memory.read(address + table["code.firstlineno"], 4)
        traceable = memory.read(address + table["code.traceable"], 4)
        return Code(
            self.text(memory.word(address + table["code.qualname"])),
            self.text(memory.word(address + table["code.filename"])),
            text_at,
            text_at + 2 * int.from_bytes(traceable, "little", signed=True),
            self.bytes(memory.word(address + table["code.linetable"])),
            int.from_bytes(first, "little", signed=True),
        )

    def callable_name(self, address: int) -> str:
        """Return the name of something that can be called, or that of its type."""
        name = self._callables.get(address)
        if name is None:
            name = self._callables[address] = self._read_callable_name(address)
        return name

    def _read_callable_name(self, address: int) -> str:
        table, memory = self._table, self._memory
        type_ = self.type_of(address)
        for _ in range(_METHODS):
            if type_ != table["type.method"]:
                break
            address = memory.word(address + table["method.function"])
            type_ = self.type_of(address)
        if type_ == table["type.function"]:
            return self.text(memory.word(address + table["function.qualname"]))
        if type_ in (table["type.coroutine"], table["type.generator"]):
            return self.text(memory.word(address + table["gen.qualname"]))
        if type_ == table["type.builtin"]:
            definition = memory.word(address + table["builtin.def"])
            return memory.string(memory.word(definition + table["def.name"]))
        if memory.word(type_ + table["type.flags"]) & _IS_TYPE:
            return self.type_name(address)
        return self.type_name(type_)

    def dict_get(self, address: int, key: str) -> int:
        """Return what a dict has under the key; 0 if it has nothing."""
        for name, value in self._items(address):
            if value and self._is_text(name, key):
                return value
        return 0

    def _is_text(self, address: int, text: str) -> bool:
        try:
            return self.text(address) == text
        except BadAddress:
            return False

    def _items(self, address: int) -> Iterator[tuple[int, int]]:
        table, memory = self._table, self._memory
        keys = memory.word(address + table["dict.keys"])
        values = memory.word(address + table["dict.values"])
        log2_bytes = memory.read(keys + table["keys.index.bytes"], 1)[0]
        kind = memory.read(keys + table["keys.kind"], 1)[0]
        count = memory.word(keys + table["keys.count"])
        if log2_bytes > 40 or count > MASK >> 1:
            raise BadAddress
        # Of a split dict keys may be more than values; entries of a general one
        # begin with the hash.
        first, size = (8, 24) if kind == 0 else (0, 16)
        at = keys + table["keys.indices"] + (1 << log2_bytes)
        for i in range(min(count, _MOST_KEYS)):
            entry = at + i * size + first
            key = memory.word(entry)
            if not key:
                continue
            if kind == _SPLIT and values:
                yield key, memory.word(values + table["values.first"] + 8 * i)
            else:
                yield key, memory.word(entry + 8)
