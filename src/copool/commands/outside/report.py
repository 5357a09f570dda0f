"""What was found, grouped, as text and as JSON: in the formats of copool.dump().

docs/debugging.md describes these.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from copool.commands.outside.model import Chain, Line, Scene, Thread

_VERSION = 1
_NAMES = 3
_LINES = 100
_ORDER = ("running", "waiting", "suspended")
# What a terminal would take for an order, or show in another order.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


@dataclass(frozen=True, slots=True)
class Group:
    """Chains that are equal in kind, state, stack and in where they were entered."""

    chains: list[Chain]

    @property
    def first(self) -> Chain:
        """The one that was found first."""
        return self.chains[0]

    def threads(self) -> int:
        """Return how many different ones its chains have."""
        return len({chain.thread.ident for chain in self.chains if chain.thread})

    def names(self) -> tuple[list[str], bool]:
        """Return the first few different ones, and whether there are more."""
        names: dict[str, None] = {}
        for chain in self.chains:
            if chain.name is not None:
                names[chain.name] = None
            if len(names) > _NAMES:
                break
        return [*names][:_NAMES], len(names) > _NAMES

    def maker(self) -> tuple[str | None, int]:
        """Return who made most of them, and how many others made or nobody."""
        makers = Counter(chain.made_by for chain in self.chains if chain.made_by)
        if not makers:
            return None, 0
        ((maker, count),) = makers.most_common(1)
        return maker, len(self.chains) - count

    def ages(self) -> tuple[float, float] | None:
        """Return the least and the greatest, if they are noted."""
        ages = [chain.age for chain in self.chains if chain.age is not None]
        return (min(ages), max(ages)) if ages else None


def grouped(chains: Sequence[Chain]) -> list[Group]:
    """Put equal ones together, the largest group first."""
    groups: dict[object, Group] = {}
    for chain in chains:
        key = (chain.kind, chain.state, chain.lines, chain.entered_by)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group([])
        group.chains.append(chain)
    return sorted(
        groups.values(),
        key=lambda group: (-len(group.chains), _ORDER.index(group.first.state)),
    )


class Report:
    """A scene in groups, from which both forms are written.

    when is as time.time() has it, limit a number of groups. With older_than, of
    seconds, it has only what has been suspended for longer.
    """

    def __init__(
        self,
        scene: Scene,
        when: float,
        limit: int | None = None,
        older_than: float | None = None,
    ) -> None:
        self.scene, self._when = scene, when
        self._older_than = older_than
        chosen = scene.chains
        if older_than is not None:
            chosen = [each for each in chosen if (each.age or 0) > older_than]
        self._chosen = len(chosen)
        self._groups = grouped(chosen)
        self.limit_to(limit)

    def limit_to(self, limit: int | None) -> None:
        """Show so many groups at most."""
        most = len(self._groups) if limit is None else limit
        self.groups, self._left_out = self._groups[:most], self._groups[most:]

    # --- text

    def text(self) -> str:
        """Return it for a person to read."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from self.first_lines()
        for group in self.groups:
            yield ""
            yield _head(group)
            yield from _details(group)
            yield from _stack(group.first.lines)
        rest = self.last_lines()
        if rest:
            yield ""
        yield from rest

    def first_lines(self) -> list[str]:
        """Return what stands before the groups."""
        scene = self.scene
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._when))
        lines = [
            f"copool: {_count(len(scene.chains), 'chain')} in"
            f" {_count(len(scene.threads), 'thread')} of process {scene.pid},"
            f" at {when} UTC"
        ]
        if self._older_than is not None:
            lines.append(
                f"suspended for more than {self._older_than!r} s: {self._chosen:,}"
            )
        return lines

    def last_lines(self) -> list[str]:
        """Return what follows them."""
        lines = []
        if self._left_out:
            chains, groups = self._count_left_out(), len(self._left_out)
            lines.append(
                f"… and {_count(chains, 'chain')} in {_count(groups, 'more group')}"
            )
        if self.scene.unread:
            lines.append(f"… and {self.scene.unread:,} that changed meanwhile")
        return lines

    def _count_left_out(self) -> int:
        return sum(len(group.chains) for group in self._left_out)

    # --- JSON

    def json(self) -> str:
        """Return it as one line."""
        scene = self.scene
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._when))
        document = {
            "version": _VERSION,
            "copool": scene.versions[0],
            "python": scene.versions[1],
            "pid": scene.pid,
            "time": when,
            "older_than": self._older_than,
            "chains": len(scene.chains),
            "threads": [
                {
                    "name": thread.name or None,
                    "ident": thread.ident,
                    "native_id": thread.native,
                    "switches": thread.switches,
                }
                for thread in scene.threads
            ],
            "groups": [*map(_group_as_json, self.groups)],
            "left_out": {
                "groups": len(self._left_out),
                "chains": self._count_left_out(),
            },
            "unread": scene.unread,
        }
        return "".join(_written(document)) + "\n"


def _count(number: int, what: str) -> str:
    """Write a number of things.

    >>> _count(1, "chain"), _count(10003, "chain")
    ('1 chain', '10,003 chains')
    """
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def safe(text: str) -> str:
    r"""Write text of a program so that it stays in its place.

    >>> print(safe("a\nb\x1b[1m"))
    a\nb\x1b[1m
    """
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    digits = f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
    return _ESCAPES.get(character, digits)


def place(line: Line) -> str:
    """Write where something is: a function, its file and line."""
    function, file, number = line
    return f"{safe(function)} ({safe(file)}:{number or '?'})"


def where(thread: Thread | None) -> str:
    """Write which thread it is, or nothing if it is not known."""
    if thread is None:
        return ""
    return f"{safe(thread.name) or 'a thread'} ({thread.native})"


def _head(group: Group) -> str:
    chain, count = group.first, len(group.chains)
    words = f"{count:,} × {chain.kind}"
    if count == 1 and chain.name is not None:
        words += f" '{safe(chain.name)}'"
    words += f", {chain.state}"
    if chain.thread is not None:
        words += f", in {where(chain.thread)}"
        others = group.threads() - 1
        words += f" and {_count(others, 'other thread')}" if others else ""
    if chain.entered_by is not None:
        words += f", entered by {place(chain.entered_by)}"
    return words


def _details(group: Group) -> Iterator[str]:
    names, are_more = group.names()
    if len(group.chains) > 1 and names:
        yield f"  names: {', '.join(map(safe, names))}{', …' if are_more else ''}"
    ages = group.ages()
    if ages:
        least, most = map(int, ages)
        yield f"  waits for {least:,} s" + (f" to {most:,} s" if most != least else "")
    maker, others = group.maker()
    if maker is not None:
        elsewhere = f" and {others:,} elsewhere" if others else ""
        yield f"  made by {safe(maker)}{elsewhere}"


def _stack(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines[:_LINES]:
        yield f"  {place(line)}"
    if len(lines) > _LINES:
        yield "  …"
    if not lines:
        yield "  (no Python code)"


class _Seconds(float):
    """A number that is written with three decimals."""


def _group_as_json(group: Group) -> dict[str, object]:
    chain = group.first
    maker, elsewhere = group.maker()
    ages = group.ages()
    names, are_more = group.names()
    return {
        "count": len(group.chains),
        "kind": chain.kind,
        "state": chain.state,
        "thread": chain.thread.ident if chain.thread else None,
        "threads": group.threads(),
        "entered_by": _line_as_json(chain.entered_by) if chain.entered_by else None,
        "made_by": maker,
        "made_elsewhere": elsewhere,
        "newest_seconds": _Seconds(ages[0]) if ages else None,
        "oldest_seconds": _Seconds(ages[1]) if ages else None,
        "names": names,
        "more_names": are_more,
        "stack": [*map(_line_as_json, chain.lines[:_LINES])],
        "more_frames": len(chain.lines) > _LINES,
    }


def _line_as_json(line: Line) -> dict[str, object]:
    function, file, number = line
    return {"function": function, "file": file, "line": number or None}


def _written(value: object) -> Iterator[str]:
    """Yield the pieces of a value in JSON, without spaces."""
    if isinstance(value, dict):
        for i, (key, each) in enumerate(value.items()):
            yield f'{"," if i else "{"}"{key}":'
            yield from _written(each)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        yield "["
        for i, each in enumerate(value):
            yield "," if i else ""
            yield from _written(each)
        yield "]"
    elif isinstance(value, _Seconds):
        yield f"{value:.3f}"
    else:
        text = json.dumps(value, ensure_ascii=False)
        yield re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text)
