"""Bytes at an address, of a process or of a core."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

POINTER = 8
PAGE = 4096  # or more: what is in one of these is in one of the others
MASK = (1 << 64) - 1


class OutsideError(Exception):
    """Why a process or a core can't be read; the text is for its user."""


class Gone(OutsideError):
    """The process has ended while it was read."""


class BadAddress(Exception):
    """Nothing can be read there: as a rule what was read before has changed."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A piece of address space that is a piece of a file."""

    start: int
    end: int
    offset: int
    writable: bool
    path: str  # as the process knows it
    inode: int = 0  # 0 if it is not known


# For any version of Python, and in any folder: pip renames one that it removes while
# a process has it. Other projects have files of this name, too.
_CORE_PATH = re.compile(r"/_core\.[^/]*so$")
# What may have the variable AsyncioDebug in it.
_ASYNCIO_PATH = re.compile(r"/(_asyncio\.[^/]*so|libpython3[^/]*|[^/]*python[^/]*)$")


def libraries(
    mappings: Sequence[Mapping], path: re.Pattern[str]
) -> Iterator[list[Mapping]]:
    """Yield the mappings of each copy of the files so named, as they were loaded.

    The same file may be loaded more than once, into namespaces of the linker: each
    copy begins with the beginning of the file.
    """
    copies: list[list[Mapping]] = []
    for mapping in sorted(mappings, key=lambda each: each.start):
        if not path.search(mapping.path):
            continue
        same = copies and copies[-1][0].path == mapping.path
        if same and mapping.offset > copies[-1][0].offset:
            copies[-1].append(mapping)
        else:
            copies.append([mapping])
    yield from copies


def copies_of_core(mappings: Sequence[Mapping]) -> list[list[Mapping]]:
    """Return the mappings of each file that may be the module copool._core."""
    return [*libraries(mappings, _CORE_PATH)]


def copies_of_asyncio(mappings: Sequence[Mapping]) -> list[list[Mapping]]:
    """Return those of what may hold the extension module _asyncio."""
    return [*libraries(mappings, _ASYNCIO_PATH)]


class Memory(ABC):
    """The memory of a process, to be read. Addresses are of 64 bits."""

    name: str  # what is read, for messages
    pid: int
    _file: BinaryIO | None = None  # that is read from, if it is one

    def close(self) -> None:
        """Close the file that is read from; nothing can be read any more."""
        if self._file:
            self._file.close()

    @abstractmethod
    def read_some(self, address: int, size: int) -> bytes:
        """Return what can be read from there on, at least a byte.

        Raises BadAddress if there is nothing.
        """

    @abstractmethod
    def mappings(self) -> list[Mapping]:
        """Return those of files."""

    @abstractmethod
    def open_file(self, mapping: Mapping) -> BinaryIO | None:
        """Open the very file that is mapped there; None if it can't be had."""

    def own_pid(self) -> int:
        """Return what the process itself takes for its number, in a container."""
        return self.pid

    @abstractmethod
    def seconds_since(self, time: int) -> float:
        """Return the age of what is at that time of its CLOCK_MONOTONIC, in ns."""

    @abstractmethod
    def seconds_of_day(self) -> float:
        """Return when it is, or was, as time.time() does."""

    @abstractmethod
    def check_alive(self) -> None:
        """Raise Gone if it has ended meanwhile, or has become another program."""

    def read(self, address: int, size: int) -> bytes:
        """Return so many bytes; raises BadAddress if they can't all be read."""
        found = self.read_some(address, size)
        if len(found) < size:
            raise BadAddress
        return found

    def read_near(self, address: int, least: int, most: int) -> bytes:
        """Return so many bytes at least, and more if they are in the same page.

        A page in which nothing is known to be may be one that has never been used:
        to read that would give it to the process, and with it maybe a page table.
        """
        in_page = PAGE - (address & PAGE - 1)
        return self.read(address, max(least, min(in_page, most)))

    def word(self, address: int) -> int:
        """Return the eight bytes at the address as a number."""
        return int.from_bytes(self.read(address, POINTER), "little")

    def string(self, address: int, most: int = 200) -> str:
        """Return the text there that ends with a zero."""
        found = self.read_some(address, most).partition(b"\0")[0]
        return found.decode("utf-8", "replace")
