"""The section .copool of a process: numbers by name, of the copool that it has."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from copool.commands.outside.elf import Elf, ElfError
from copool.commands.outside.memory import (
    BadAddress,
    Mapping,
    Memory,
    OutsideError,
    copies_of_core,
)

_COOKIE = b"copool section\0\0"
_HEAD = struct.Struct("<16sIIII")
_VERSION = 1
_MOST = 4096


class Table(dict[str, int]):
    """The entries of one copy of copool in a process."""

    def __init__(self, entries: dict[str, int], whose: str) -> None:
        super().__init__(entries)
        self._whose = whose

    def __missing__(self, name: str) -> int:
        raise OutsideError(
            f"copool {_version(self.get('copool'))} of {self._whose}, for Python"
            f" {_version(self.get('python'))}, does not say what {name!r} is, which"
            f" copool {own_version()} needs to know: read it with the copool that"
            " it has"
        )

    def python(self) -> tuple[int, int]:
        """Return the version of Python that it was compiled for."""
        number = self["python"]
        return number >> 24, number >> 16 & 0xFF

    def versions(self) -> tuple[str, str]:
        """Return the versions of copool and of Python, for reports."""
        return _version(self.get("copool")), _version(self.get("python"))


def own_version() -> str:
    """Return the version of the copool that reads."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("copool")
    except PackageNotFoundError:
        return "of no known version"


def _version(number: int | None) -> str:
    """Write a version in the way of PY_VERSION_HEX; the oldest tables have none.

    >>> _version(0x030C01F0), _version(0x030F00B2), _version(None)
    ('3.12.1', '3.15.0b2', 'of an unknown version')
    """
    if number is None:
        return "of an unknown version"
    major, minor, micro = number >> 24, number >> 16 & 0xFF, number >> 8 & 0xFF
    level = {0xA: "a", 0xB: "b", 0xC: "rc"}.get(number >> 4 & 0xF, "")
    serial = f"{level}{number & 0xF}" if level else ""
    return f"{major}.{minor}.{micro}{serial}"


def tables(memory: Memory) -> Iterator[Table]:
    """Yield that of each copy of copool in the process that has been imported."""
    for copy in copies_of_core(memory.mappings()):
        address = section_address(memory, copy, ".copool")
        if address is None or not _has_cookie(memory, address):
            address = _search(memory, copy)
        if address is None and copy[0].path.split("/")[-2:-1] != ["copool"]:
            continue  # another project's
        if address is None:
            raise OutsideError(
                f"{memory.name} has {copy[0].path}, which has no section .copool:"
                f" it is older than copool {own_version()}, or its memory is missing"
            )
        table = _read(memory, address)
        if table is not None:
            yield table


def section_address(memory: Memory, copy: list[Mapping], name: str) -> int | None:
    """Return where a section of a library is; None if that can't be known."""
    file = memory.open_file(copy[0])
    if file is None:
        return None
    with file:
        try:
            elf = Elf(file)
            wanted = elf.address_of(name)
            if wanted is None:
                return None
            return copy[0].start - copy[0].offset - elf.load_address() + wanted
        except (ElfError, OSError, struct.error):
            return None


def _has_cookie(memory: Memory, address: int) -> bool:
    try:
        return memory.read(address, len(_COOKIE)) == _COOKIE
    except BadAddress:
        return False


def _search(memory: Memory, copy: list[Mapping]) -> int | None:
    """Look for the section in what the library can write to, without its file."""
    for mapping in copy:
        if not mapping.writable:
            continue
        try:
            data = memory.read_some(mapping.start, mapping.end - mapping.start)
        except BadAddress:
            continue
        at = data.find(_COOKIE)
        while at >= 0 and (mapping.start + at) % 32:
            at = data.find(_COOKIE, at + 1)
        if at >= 0:
            return mapping.start + at
    return None


def _read(memory: Memory, address: int) -> Table | None:
    """Return the table; None while it is not filled in."""
    try:
        _, version, count, size, name_size = _HEAD.unpack(
            memory.read(address, _HEAD.size)
        )
        if version == 0:
            return None
        if version != _VERSION:
            raise OutsideError(
                f"{memory.name} has a table of version {version}, and copool"
                f" {own_version()} reads version {_VERSION}: read it with the copool"
                " that it has"
            )
        if count > _MOST or size < name_size + 8 or size > 1024:
            raise OutsideError(f"{memory.name} has a table of copool's that is broken")
        data = memory.read(address + _HEAD.size, count * size)
    except BadAddress:
        raise OutsideError(
            f"{memory.name} has copool, but the memory where its table is can't be read"
        ) from None
    entries = {}
    for at in range(0, count * size, size):
        name = data[at : at + name_size].partition(b"\0")[0].decode("ascii", "replace")
        entries[name] = struct.unpack_from("<Q", data, at + name_size)[0]
    return Table(entries, memory.name)
