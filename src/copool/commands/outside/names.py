"""What chains are called, and who made them."""

from __future__ import annotations

from struct import Struct

from copool.commands.outside.memory import BadAddress, Memory
from copool.commands.outside.model import Chain
from copool.commands.outside.objects import Objects
from copool.commands.outside.table import Table
from copool.commands.outside.tasks import TaskNames

_ENOUGH = 4  # different names of what looks equal: reports show fewer
_word = Struct("<Q").unpack_from


class Names:
    """Fills in the names of chains that have been read."""

    def __init__(self, memory: Memory, table: Table, objects: Objects) -> None:
        self._memory, self._table, self._objects = memory, table, objects
        self._tasks = TaskNames(memory, table, objects)
        self._places = {
            "coroutine": (table["coroutine.label"], table["coroutine.fn"]),
            "greenlet": (table["more.label"], table["more.run"]),
            "awaited": (table["bridge.label"], table["bridge.target"]),
        }
        self._known: dict[object, set[str | None]] = {}

    def fill_in(self, chain: Chain) -> None:
        """Note who made it and, unless enough like it have one, its name.

        What can't be read is left out: its chain has been.
        """
        try:
            label, callee = self._read(chain)
            if label:
                maker = self._memory.word(label + self._table["label.maker"])
                chain.made_by = self._objects.text(maker) if maker else None
            known = self._known.setdefault(
                (chain.kind, chain.state, chain.lines), set()
            )
            if len(known) < _ENOUGH:
                chain.name = self._given(label) or self._own(chain)
                if chain.name is None and callee:
                    chain.name = self._objects.callable_name(callee)
                known.add(chain.name)
        except BadAddress:
            return

    def _read(self, chain: Chain) -> tuple[int, int]:
        """Return the label and what is called."""
        object_, (label_at, callee_at) = chain.face, self._places[chain.kind]
        if chain.kind == "greenlet":
            object_ = self._memory.word(object_ + self._table["greenlet.more"])
        data = self._memory.read(object_, max(label_at, callee_at) + 8)
        (label,), (callee,) = _word(data, label_at), _word(data, callee_at)
        return label, callee

    def _given(self, label: int) -> str | None:
        name = self._memory.word(label + self._table["label.name"]) if label else 0
        return self._objects.text(name) if name else None

    def _own(self, chain: Chain) -> str | None:
        """Return what else it is called than its function."""
        if chain.kind == "greenlet":
            return self._in_dict(chain.face)
        return self._tasks.name(chain.face) if chain.kind == "awaited" else None

    def _in_dict(self, face: int) -> str | None:
        """Return the value of its attribute `name`, if that is a str."""
        attributes = self._memory.word(face + self._table["greenlet.dict"])
        try:
            found = attributes and self._objects.dict_get(attributes, "name")
            return self._objects.text(found) if found else None
        except BadAddress:
            return None
