"""The commands: `copool list` and `copool bt`."""

from __future__ import annotations

import re
from typing import NamedTuple

import gdb

from . import walking
from .reading import Chain, Unreadable
from .target import Process, processes

_SHOWN, _FRAMES = 20, 3
_SYMBOL = re.compile(r"(\S+)(?: \+ \d+)? in section")


class _Group(NamedTuple):
    """Chains that stand at the same place, by the same way."""

    chains: list[Chain]

    @property
    def first(self) -> Chain:
        return self.chains[0]


def _read_all() -> tuple[list[Process], list[_Group]]:
    """Return all chains: what runs first, then the largest groups."""
    readers = processes()
    groups: dict[object, list[Chain]] = {}
    try:
        for reader in readers:
            for chain in reader.chains():
                key = (
                    chain.kind,
                    chain.state,
                    chain.thread,
                    0 if chain.runs else chain.pc,
                    chain.frames,
                )
                groups.setdefault(key, []).append(chain)
    except Unreadable:
        raise gdb.GdbError(
            "What copool knows of its threads can't be read: this core has not all of"
            " the process's memory. docs/debugging.md says which cores have."
        ) from None
    order = ("running", "waiting", "suspended")
    found = [_Group(chains) for chains in groups.values()]
    found.sort(key=lambda g: (order.index(g.first.state), -len(g.chains)))
    return readers, found


def _warn(readers: list[Process]) -> None:
    if any(reader.cut_off for reader in readers):
        print(
            "Not all can be read: this is a core without their stacks, or the process"
            " stood in the middle of a change. docs/debugging.md says which cores have"
            " the stacks."
        )


def _describe(group: _Group) -> str:
    names = {chain.name for chain in group.chains}
    chain = group.first
    name = chain.name if len(names) == 1 else f"{chain.name} and other names"
    count = f"{len(group.chains):,} × " if len(group.chains) > 1 else ""
    return f"{count}{chain._replace(name=name)}"


def _where(chain: Chain) -> str:
    """Return where its frames in Python stand, and which function in C."""
    frames = [frame.brief() for frame in chain.frames[:_FRAMES]]
    more = len(chain.frames) - len(frames)
    if more:
        frames.append(f"{more} more")
    text = " < ".join(frames) or "no frames of Python"
    return text if chain.runs else f"{text}; in {_function(chain.pc)}"


def _function(pc: int) -> str:
    """Return the name of the function in C, or of the library that it is in."""
    found = _SYMBOL.match(gdb.execute(f"info symbol {pc:#x}", to_string=True))
    if found:
        return f"{found[1]} ()"
    library = gdb.solib_name(pc)
    return f"{pc:#x} of {library}" if library else f"{pc:#x}"


class _Copool(gdb.Command):
    """Coroutines, greenlets and awaited calls of copool's, and their stacks."""

    def __init__(self) -> None:
        super().__init__("copool", gdb.COMMAND_STACK, prefix=True)


class _List(gdb.Command):
    """List what has begun and not finished, equal ones together.

    Usage: copool list [N]

    For each group: how many, what they are, and the address of the first one; then
    where they stand in Python, innermost first, and in which function in C they
    wait. N is how many groups to show, 20 if it is not given.
    """

    def __init__(self) -> None:
        super().__init__("copool list", gdb.COMMAND_STACK)

    def invoke(self, argument: str, _: bool) -> None:
        if argument and not argument.isdigit():
            raise gdb.GdbError("usage: copool list [N]")
        most = int(argument or _SHOWN)
        readers, groups = _read_all()
        total = sum(len(group.chains) for group in groups)
        threads = {group.first.thread for group in groups}
        print(
            f"{total:,} chain{'' if total == 1 else 's'}"
            f" in {len(threads)} thread{'' if len(threads) == 1 else 's'}"
        )
        for number, group in enumerate(groups[:most], 1):
            chain = group.first
            of = f", thread {chain.thread} {chain.thread_name}".rstrip()
            print(f"{number:<3} {_describe(group)}{of if len(threads) > 1 else ''}")
            print(f"      {_where(chain)}")
        if len(groups) > most:
            print(f"and {len(groups) - most:,} more: copool list {len(groups)}")
        _warn(readers)


class _Backtrace(gdb.Command):
    """Show the frames of a chain, those in C and those in Python.

    Usage: copool bt NUMBER | ADDRESS | NAME

    The number is one that `copool list` shows; the address, or an expression for
    it, that of a coroutine. The selected thread and frame stay what they are.
    """

    def __init__(self) -> None:
        super().__init__("copool bt", gdb.COMMAND_STACK)

    def invoke(self, argument: str, _: bool) -> None:
        argument = argument.strip()
        if not argument:
            raise gdb.GdbError("usage: copool bt NUMBER | ADDRESS | NAME")
        readers, groups = _read_all()
        chain = _choose(argument, readers, groups)
        text = walking.backtrace(chain)
        of = f"{chain.thread} {chain.thread_name}".rstrip()
        print(f"{chain}, of thread {of}")
        print(text)
        waiting = chain.caller and _by_address(chain.caller, groups)
        if waiting:
            print(f"entered by: {waiting} (copool bt {waiting.address:#x})")


def _by_address(address: int, groups: list[_Group]) -> Chain | None:
    for group in groups:
        for chain in group.chains:
            if address in (chain.strand, chain.face):
                return chain
    return None


def _choose(argument: str, readers: list[Process], groups: list[_Group]) -> Chain:
    """Return the chain that is meant."""
    if argument.isdigit():
        if not 1 <= int(argument) <= len(groups):
            raise gdb.GdbError(f"There is no {argument}: see `copool list`.")
        return groups[int(argument) - 1].first
    named = [g for g in groups if any(c.name == argument for c in g.chains)]
    if len(named) > 1:
        lines = [f"Several are called {argument}:"]
        for group in named:
            chain = next(c for c in group.chains if c.name == argument)
            lines.append(f"copool bt {chain.address:#x}    {_where(chain)}")
        raise gdb.GdbError("\n".join(lines))
    if named:
        return next(c for c in named[0].chains if c.name == argument)
    try:
        address = int(gdb.parse_and_eval(argument))
    except gdb.error:
        raise gdb.GdbError(
            f"{argument} is neither the name of one nor an address: see `copool list`."
        ) from None
    found = _by_address(address, groups)
    if not found:
        raise gdb.GdbError(_why_none(address, readers))
    return found


def _why_none(address: int, readers: list[Process]) -> str:
    try:
        name = readers[0].type_name(address)
    except Unreadable:
        name = ""
    if name.startswith(("copool.", "greenlet.")):
        return f"The {name} at {address:#x} has no stack: it has finished or not begun."
    return f"There is no chain of copool's at {address:#x}: see `copool list`."


def register() -> None:
    """Add the commands to gdb."""
    walking.register()
    _Copool()
    _List()
    _Backtrace()
