"""The C frames of a chain, by gdb's own tables and symbols.

For one that is suspended an unwinder says that its innermost function has called
that of a thread: its registers are those that the chain has saved. Nothing is
written, neither to memory nor to registers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gdb
from gdb.unwinder import Unwinder, register_unwinder

from .reading import Chain, Frame, Unreadable
from .target import read, thread_of

# The stack pointer, the frame pointer and where it goes on.
_REGISTERS = {"i386:x86-64": ("rsp", "rbp", "rip"), "aarch64": ("sp", "x29", "pc")}
_BELOW = 128
_FRAME = re.compile(r"#(\d+) +(?:0x[0-9a-f]+ in )?(\S+)")
_INTERPRETER = re.compile(r"_PyEval_EvalFrameDefault|_TAIL_CALL_")


class _FrameId:
    def __init__(self, sp: gdb.Value, pc: gdb.Value) -> None:
        self.sp, self.pc = sp, pc


class _Beginning(Unwinder):
    """Stands between a thread's innermost frame and the chain's."""

    def __init__(self) -> None:
        super().__init__("copool")
        self.enabled = False
        self.chain: Chain | None = None

    def __call__(self, pending_frame: gdb.PendingFrame) -> gdb.UnwindInfo | None:
        chain, self.chain = self.chain, None
        if not chain:
            return None  # it is for the first frame only
        sp, fp, pc = _REGISTERS[pending_frame.architecture().name()]
        type_ = pending_frame.read_register(sp).type

        def value(number: int) -> gdb.Value:
            return gdb.Value(number).cast(type_)

        # It must look as if it lay below: gdb would take it for damaged otherwise.
        id_ = _FrameId(value(chain.sp - _BELOW), pending_frame.read_register(pc))
        info = pending_frame.create_unwind_info(id_)
        info.add_saved_register(sp, value(chain.sp))
        info.add_saved_register(fp, value(chain.fp))
        info.add_saved_register(pc, value(chain.pc))
        return info


_beginning = _Beginning()


def register() -> None:
    """Let gdb know the unwinder, which does nothing by itself."""
    register_unwinder(None, _beginning, replace=True)


def backtrace(chain: Chain) -> str:
    """Return what gdb's `backtrace` says of it, with its Python frames in between."""
    with _selection():
        text = _of_running(chain) if chain.runs else _of_suspended(chain)
    return _with_python(text.splitlines(), chain.frames)


def _of_running(chain: Chain) -> str:
    thread = thread_of(chain.thread)
    if not thread:
        raise gdb.GdbError(f"gdb has no thread {chain.thread}, in which it runs.")
    thread.switch()
    return str(gdb.execute("backtrace", to_string=True))


def _of_suspended(chain: Chain) -> str:
    try:
        read(chain.sp, 8)
    except Unreadable:
        raise gdb.GdbError(
            "Its stack can't be read: if this is a core that gcore wrote, it has left"
            " the stacks out. docs/debugging.md says which cores have them."
        ) from None
    machine = gdb.newest_frame().architecture().name()
    if machine not in _REGISTERS:
        raise gdb.GdbError(f"These commands do not know the machine {machine}.")
    _beginning.chain, _beginning.enabled = chain, True
    gdb.invalidate_cached_frames()
    try:
        text = str(gdb.execute("backtrace", to_string=True))
        own = _level(chain.pc)
    finally:
        _beginning.chain, _beginning.enabled = None, False
        gdb.invalidate_cached_frames()
    _, begin, rest = text.partition(f"\n#{own} ")
    if not begin:
        raise gdb.GdbError("gdb finds no frames there.")
    return begin.lstrip() + rest


def _level(pc: int) -> int:
    """Return how many frames the thread's innermost function is.

    More than one if others are inlined into it.
    """
    level, frame = 1, gdb.newest_frame().older()
    while frame and frame.pc() != pc:
        level, frame = level + 1, frame.older()
    return level


@contextmanager
def _selection() -> Iterator[None]:
    """Put back the thread and the frame that are selected."""
    thread, frame = gdb.selected_thread(), gdb.selected_frame()
    level = frame.level()
    try:
        yield
    finally:
        thread.switch()
        frame = gdb.newest_frame()
        while level:
            older = frame.older()
            if not older:
                break
            frame, level = older, level - 1
        frame.select()


def _with_python(lines: list[str], frames: tuple[Frame, ...]) -> str:
    """Put the frames that a call of the interpreter has run behind it."""
    calls: list[list[Frame]] = [[]]
    for frame in frames:
        calls[-1].append(frame)
        if frame.ends:
            calls.append([])
    calls.pop()
    out: list[str] = []
    number, interprets = 0, False
    for line in [*lines, "#"]:
        if line.startswith("#"):
            if interprets and calls:
                out.extend(f"        {frame}" for frame in calls.pop(0))
            found = _FRAME.match(line)
            interprets = bool(found and _INTERPRETER.match(found[2]))
            if found:
                line = f"#{number:<3}" + line[found.end(1) :].lstrip().rjust(0)
                number += 1
        out.append(line)
    out.pop()
    if calls:
        out.append("Python frames whose calls in C are not known:")
        out.extend(f"        {frame}" for call in calls for frame in call)
    return "\n".join(out)
