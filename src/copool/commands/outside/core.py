"""The memory of a process that is no more, as a kernel or gcore wrote it to a file.

What a program has not changed of the files that it has mapped is as a rule not in
it: names of types and functions in C are read from those files, if they are there
and the same.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

from copool.commands.outside import elf
from copool.commands.outside.elf import Elf, ElfError, Segment
from copool.commands.outside.memory import BadAddress, Mapping, Memory, OutsideError

_NT_PRSTATUS, _NT_PRPSINFO, _NT_FILE = 1, 3, 0x46494C45
_PAGE = 4096


class Core(Memory):
    """A core; raises OutsideError if the file is none that can be read."""

    def __init__(self, path: Path) -> None:
        self.name = f"core {path}"
        self.pid = 0
        self.truncated = ""
        self._latest = 0
        self._program = ""
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutsideError(f"{path}: {error.strerror}") from None
        try:
            self._fd = self._file.fileno()
            self._size = os.fstat(self._fd).st_size
            self._elf = Elf(self._file)
            if self._elf.type != elf.CORE:
                raise ElfError("is no core but a program or a library")
            self._load()
        except OSError as error:
            self.close()
            raise OutsideError(f"{path}: {error.strerror}") from None
        except (ElfError, struct.error) as error:
            self.close()
            raise OutsideError(f"{path} {error}") from None

    def command(self) -> str:
        """Return what the process was called."""
        return self._program

    def is_python(self) -> bool:
        """Whether it looks like one, by the files that it had mapped."""
        return any("python" in Path(each.path).name for each in self._mappings)

    def seconds_since(self, time: int) -> float:
        """Return the age, as far as it is known: until the latest time asked for."""
        self._latest = max(self._latest, time)
        return (self._latest - time) / 1e9

    def seconds_of_day(self) -> float:
        """Return when the core was written."""
        return os.fstat(self._fd).st_mtime

    def check_alive(self) -> None:
        """Nothing changes here any more."""

    def mappings(self) -> list[Mapping]:
        """Return those of files."""
        return self._mappings

    def open_file(self, mapping: Mapping) -> BinaryIO | None:
        """Open the file of that name, if its beginning is as the process had it.

        A linker puts a number there that differs for different builds.
        """
        try:
            file = open(mapping.path, "rb")  # noqa: SIM115
        except (OSError, ValueError):
            return None
        for first in self._mappings:
            if first.path == mapping.path and first.offset == 0:
                try:
                    known = self._from_core(first.start, _PAGE)
                except BadAddress:
                    break  # a core without it is all that there is
                if file.read(len(known)) == known:
                    break
                file.close()
                return None
        return file

    def read_some(self, address: int, size: int) -> bytes:
        """Return what the core has there, or else the file that was mapped."""
        try:
            return self._from_core(address, size)
        except BadAddress:
            return self._from_file(address, size)

    def _load(self) -> None:
        segments = [*self._elf.segments()]
        self._segments = sorted(
            (each for each in segments if each.type == elf.LOAD),
            key=lambda each: each.address,
        )
        self._starts = [each.address for each in self._segments]
        ends = [each.offset + each.in_file for each in self._segments]
        if ends and max(ends) > self._size:
            self.truncated = f"cut off: it has {self._size:,} bytes of {max(ends):,}"
        self._mappings: list[Mapping] = []
        self._files: dict[str, BinaryIO | None] = {}
        for segment in segments:
            if segment.type == elf.NOTE:
                self._read_notes(segment)
        self._mapping_starts = [each.start for each in self._mappings]

    def _read_notes(self, segment: Segment) -> None:
        for owner, type_, content in self._elf.notes(segment):
            if owner != b"CORE":
                continue
            if type_ == _NT_FILE:
                self._read_files(content)
            elif type_ == _NT_PRPSINFO and len(content) >= 56:
                self.pid = int.from_bytes(content[24:28], "little")
                name = content[40:56].partition(b"\0")[0]
                self._program = name.decode("utf-8", "replace")

    def _read_files(self, content: bytes) -> None:
        count, page = struct.unpack_from("<QQ", content)
        if count * 24 > len(content):
            raise ElfError("has a list of files that cannot be")
        names = content[16 + count * 24 :].split(b"\0")
        for i in range(count):
            start, end, offset = struct.unpack_from("<QQQ", content, 16 + i * 24)
            path = os.fsdecode(names[i]).removesuffix(" (deleted)")
            segment = self._segment(start)
            writable = segment is not None and bool(segment.flags & elf.WRITABLE)
            self._mappings.append(Mapping(start, end, offset * page, writable, path))
        self._mappings.sort(key=lambda each: each.start)

    def _segment(self, address: int) -> Segment | None:
        i = bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        found = self._segments[i]
        return found if address < found.address + found.in_memory else None

    def _from_core(self, address: int, size: int) -> bytes:
        segment = self._segment(address)
        if segment is None or address >= segment.address + segment.in_file:
            raise BadAddress
        at = address - segment.address
        size = min(size, segment.in_file - at)
        found = os.pread(self._fd, size, segment.offset + at)
        if not found:
            raise BadAddress
        return found

    def _from_file(self, address: int, size: int) -> bytes:
        i = bisect_right(self._mapping_starts, address) - 1
        mapping = self._mappings[i] if i >= 0 else None
        # What could be written to is only in the core, or lost.
        if mapping is None or address >= mapping.end or mapping.writable:
            raise BadAddress
        if mapping.path not in self._files:
            self._files[mapping.path] = self.open_file(mapping)
        file = self._files[mapping.path]
        at = address - mapping.start
        if file is not None:
            found = os.pread(
                file.fileno(), min(size, mapping.end - address), mapping.offset + at
            )
            if found:
                return found
        raise BadAddress
