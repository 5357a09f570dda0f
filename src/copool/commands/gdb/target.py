"""What gdb debugs, as far as copool is in it. Only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gdb

from .reading import OtherVersion, Process, Table, Unreadable, find_cookie, read_table

_SECTION = re.compile(r"0x([0-9a-f]+) - 0x[0-9a-f]+ is \.copool in (.*)")
_MAPPING = re.compile(r"0x([0-9a-f]+) +0x([0-9a-f]+) .* (/.*/copool/_core\.[^/]*)$")


def read(address: int, size: int) -> bytes:
    """Return the bytes at the address; raise Unreadable if they can't be had."""
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.error, OverflowError):
        raise Unreadable from None


def processes() -> list[Process]:
    """Return a reader for each copy of copool in the process: as a rule one."""
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError(
            "There is no process: attach to one (attach PID), or take a core"
            " (core-file FILE) with the Python that wrote it (file EXECUTABLE)."
        )
    found, other = [], ""
    for address in _sections():
        try:
            table = read_table(read, address)
        except Unreadable:
            continue
        except OtherVersion as error:
            other = str(error)
            continue
        if table is not None:
            found.append(Process(read, table))
    if not found:
        raise gdb.GdbError(
            f"No coroutines: {other}."
            if other
            else "There is no copool in this process, or its memory is missing: no"
            " library copool/_core… is loaded that has a section .copool in use."
        )
    return found


def _sections() -> Iterator[int]:
    """Yield where the table may be.

    By the libraries that gdb has read, or else by what is mapped of others.
    """
    text = gdb.execute("info files", to_string=True)
    found = [int(address, 16) for address, _ in _SECTION.findall(text)]
    if found:
        yield from found
        return
    try:
        text = gdb.execute("info proc mappings", to_string=True)
    except gdb.error:
        return
    for line in text.splitlines():
        mapping = _MAPPING.search(line)
        if not mapping:
            continue
        begin, end = (int(number, 16) for number in mapping.groups()[:2])
        try:
            at = find_cookie(read(begin, end - begin))
        except Unreadable:
            continue
        if at >= 0:
            yield begin + at


def thread_of(native: int) -> gdb.InferiorThread | None:
    """Return the thread that the kernel numbers so."""
    for thread in gdb.selected_inferior().threads():
        if native in thread.ptid[1:]:
            return thread
    return None


__all__ = ["Process", "Table", "processes", "read", "thread_of"]
