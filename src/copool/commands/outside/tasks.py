"""Names of asyncio's tasks, whose layout is no part of CPython's headers.

From 3.14 on the extension module _asyncio has a variable that says it, in a section
named after it; before, copool's own table says it if the process has found out.
"""

from __future__ import annotations

import struct

from copool.commands.outside.memory import BadAddress, Memory, copies_of_asyncio
from copool.commands.outside.objects import Objects
from copool.commands.outside.table import Table, section_address


class TaskNames:
    """Finds them by the weak references that Bridges have to their tasks."""

    def __init__(self, memory: Memory, table: Table, objects: Objects) -> None:
        self._memory, self._table, self._objects = memory, table, objects
        self._name_at: int | None = None
        self._is_looked_up = False

    def name(self, bridge: int) -> str | None:
        """Return the name of the task that drives it, None if it is not known."""
        reference = self._memory.word(bridge + self._table["bridge.task"])
        if not reference:
            return None
        if not self._is_looked_up:
            self._name_at = self._find()
            self._is_looked_up = True
        if self._name_at is None:
            return None
        try:
            task = self._memory.word(reference + self._table["weakref.object"])
            name = self._memory.word(task + self._name_at)
            return self._objects.text_or_number(name, "Task-{}")
        except BadAddress:
            return None

    def _find(self) -> int | None:
        own = self._table.get("task.name")
        if own:
            return own
        if self._table.python() < (3, 14):
            return None
        for copy in copies_of_asyncio(self._memory.mappings()):
            address = section_address(self._memory, copy, ".AsyncioDebug")
            if address is None:
                continue
            try:
                size, name_at = struct.unpack("<QQ", self._memory.read(address, 16))
            except BadAddress:
                continue
            if name_at < size < 1 << 16:
                return int(name_at)
        return None
