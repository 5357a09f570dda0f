"""What of ELF is needed here: the sections of a library, the segments of a core."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

CORE, LOAD, NOTE, WRITABLE = 4, 1, 4, 2
# Files may be cut off or of another kind: no table is longer than this.
_MOST = 1 << 20


class ElfError(Exception):
    """The file is not what it should be; the text says how."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of memory and where in the file it is."""

    type: int
    flags: int
    offset: int
    address: int
    in_file: int
    in_memory: int


class Elf:
    """The headers of a file of 64 bits, little-endian as all machines of copool are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self._read(0, 64)
        if head[:4] != b"\x7fELF":
            raise ElfError("is no ELF file")
        if head[4] != 2 or head[5] != 1:
            raise ElfError(
                f"is of a machine of {32 if head[4] == 1 else 64} bits,"
                f" {'little' if head[5] == 1 else 'big'}-endian:"
                " copool runs on none of that kind"
            )
        fields = struct.unpack_from("<HHIQQQIHHHHHH", head, 16)
        self.type: int = fields[0]
        self._segments_at, self._sections_at = fields[4], fields[5]
        self._segment_size, self._segment_count = fields[8], fields[9]
        self._section_size, self._section_count = fields[10], fields[11]
        self._names_index = fields[12]
        if self._segment_count == 0xFFFF:
            # There are more: the first section's header, otherwise unused, says it.
            first = self._read(self._sections_at, 64)
            self._segment_count = struct.unpack_from("<I", first, 44)[0]

    def _read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or size > _MOST << 6:
            raise ElfError("has headers that cannot be")
        try:
            self._file.seek(offset)
            found = self._file.read(size)
        except (OSError, OverflowError):
            raise ElfError("has headers that cannot be") from None
        if len(found) < size:
            raise ElfError("is cut off in the middle of its headers")
        return found

    def segments(self) -> Iterator[Segment]:
        """Yield the program headers."""
        size, count = self._segment_size, self._segment_count
        if size < 56 or count > _MOST:
            raise ElfError("has headers that cannot be")
        table = self._read(self._segments_at, size * count)
        for i in range(count):
            type_, flags, offset, address, _, in_file, in_memory, _ = (
                struct.unpack_from("<IIQQQQQQ", table, i * size)
            )
            yield Segment(type_, flags, offset, address, in_file, in_memory)

    def address_of(self, section: str) -> int | None:
        """Return where in memory it wants to be, as its header says."""
        size, count = self._section_size, self._section_count
        if not self._sections_at or size < 64 or self._names_index >= count:
            return None
        table = self._read(self._sections_at, size * count)
        _, _, _, _, names_at, names_size, *_ = struct.unpack_from(
            "<IIQQQQ", table, self._names_index * size
        )
        names = self._read(names_at, min(names_size, _MOST))
        wanted = section.encode() + b"\0"
        for i in range(count):
            name, _, _, address = struct.unpack_from("<IIQQ", table, i * size)
            if address and names[name : name + len(wanted)] == wanted:
                return int(address)
        return None

    def load_address(self) -> int:
        """Return where the beginning of the file wants to be; 0 but for programs."""
        for segment in self.segments():
            if segment.type == LOAD:
                return segment.address - segment.offset
        return 0

    def notes(self, segment: Segment) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield the owner, type and content of each note."""
        data = self._read(segment.offset, segment.in_file)
        at = 0
        while at + 12 <= len(data):
            name_size, size, type_ = struct.unpack_from("<III", data, at)
            name_at = at + 12
            content_at = name_at + (name_size + 3 & ~3)
            yield (
                data[name_at : name_at + name_size].rstrip(b"\0"),
                type_,
                data[content_at : content_at + size],
            )
            at = content_at + (size + 3 & ~3)
