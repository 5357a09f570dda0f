"""`copool.profile()`: a profiler of calls that knows of switches.

The profiler of the standard library, which this is made of, keeps one stack of calls.
Here every chain of calls has a profiler of its own, with a clock that stands still
while the chain is suspended; at a switch the other one takes over.
"""

from __future__ import annotations

import _lsprof
import operator
import os
import sys
import threading
from collections import deque
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from copool import _core
from copool._chains import Chains, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    Label = tuple[str, int, str]
    Stats = dict[
        Label,
        tuple[int, int, float, float, dict[Label, tuple[int, int, float, float]]],
    ]

_monitoring: Any = getattr(sys, "monitoring", None)  # from 3.12 on
# What the profiler has called at an event of sys.monitoring, as far as it has that.
_CALLBACKS = {
    event: name
    for event, name in {
        "PY_START": "_pystart_callback",
        "PY_RESUME": "_pystart_callback",
        "PY_THROW": "_pythrow_callback",
        "PY_RETURN": "_pyreturn_callback",
        "PY_YIELD": "_pyreturn_callback",
        "PY_UNWIND": "_pyreturn_callback",
        "CALL": "_ccall_callback",
        "C_RETURN": "_creturn_callback",
        "C_RAISE": "_creturn_callback",
    }.items()
    if hasattr(_lsprof.Profiler, name)
}

_CALLED, _RETURNED = (
    list(_CALLBACKS).index(event) if _CALLBACKS else 0
    for event in ("PY_START", "PY_RETURN")
)

_running: Profile | None = None


class _StandIn(NamedTuple):
    """A function of ours that stands for a chain in the profile of who enters it."""

    code: CodeType
    frame: FrameType
    label: Label | None


class _Chain:
    """What measures a chain of calls: reused, so that figures add up, when it ends."""

    __slots__ = ("callbacks", "clock", "profiler")

    def __init__(self, begin: Callable[[], object]) -> None:
        self.clock = _core._Clock()
        self.profiler = _lsprof.Profiler(self.clock, 1e-9)
        self.callbacks = (
            *(getattr(self.profiler, name) for name in _CALLBACKS.values()),
            begin,
        )


class _Thread(Chains):
    """Lets the profiler of the chain that goes on take over."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        super().__init__()
        for level in self.levels:
            level.data.clock.start()
        _core._profiler(self.switched)
        self.go_on()

    def make(self) -> _Chain:
        return self.profile._take()

    def switched(self, event: str, pair: tuple[object, object]) -> None:
        if _running is self.profile:
            super().switched(event, pair)
        else:
            _core._profiler(None)

    def go_on(self) -> None:
        chain = self.levels[-1].data
        if _monitoring:
            _core._relay(chain.callbacks)
        else:
            chain.profiler.enable()

    def entered(self, group: list[Level]) -> None:
        first = group[0]
        if first.hangs:
            if first.stand_in is None:
                first.stand_in = self.profile._stand_in(first.callee)
            self.event(self.levels[-1].data, first.stand_in, begins=True)
        for level in group:
            level.data.clock.start()

    def left(self, group: list[Level], *, alive: bool) -> None:
        for level in group:
            level.data.clock.stop()
        if not alive:
            self.profile._spare += [level.data for level in group]
        if group[0].stand_in:
            chain = self.levels[-1].data
            if not _monitoring:
                chain.profiler.enable()
            self.event(chain, group[0].stand_in, begins=False)

    def event(self, chain: _Chain, stand_in: _StandIn, *, begins: bool) -> None:
        if not _monitoring:
            _core._profile_event(chain.profiler, stand_in.frame, begins)
        elif begins:
            chain.callbacks[_CALLED](stand_in.code, 0)
        else:
            chain.callbacks[_RETURNED](stand_in.code, 0, None)


class Profile:
    """What `profile()` returns."""

    def __init__(self) -> None:
        self.stats: Stats = {}
        self._chains: list[_Chain] = []
        self._spare: list[_Chain] = []
        self._stand_ins: dict[object, _StandIn] = {}
        self._begin = self._begin_thread  # one object, by which relays know

    def __enter__(self) -> Profile:
        global _running
        if _running:
            raise RuntimeError("copool.profile() is running already")
        if _monitoring:
            _monitoring.use_tool_id(_monitoring.PROFILER_ID, "copool.profile")
        else:
            self._before = threading.getprofile()
            threading.setprofile(self._begin)
        _running = self
        if _monitoring:
            self._begin()
            self._monitor()
        else:
            self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _running
        _core._relay(None)
        if _monitoring:
            self._monitor_no_more()
        else:
            sys.setprofile(None)
            threading.setprofile(self._before)
        _core._profiler(None)
        _running = None
        self._end()

    def create_stats(self) -> None:
        """Do nothing: `stats` is there when the `with` statement has ended."""

    def print_stats(self, sort: str = "cumulative") -> None:
        """Print what was measured, as `cProfile` does."""
        import pstats

        measured: Any = self
        pstats.Stats(measured).strip_dirs().sort_stats(sort).print_stats()

    def dump_stats(self, file: str | os.PathLike[str]) -> None:
        """Write what was measured to a file, for `pstats` and what else reads it."""
        import marshal

        with open(file, "wb") as out:
            marshal.dump(self.stats, out)

    def _take(self) -> _Chain:
        if self._spare:
            return self._spare.pop()
        self._chains.append(_Chain(self._begin))
        return self._chains[-1]

    def _begin_thread(self, *_: object) -> None:
        if _running is self:
            _Thread(self)

    def _monitor(self) -> None:
        events = 0
        for kind, name in enumerate(_CALLBACKS):
            event = getattr(_monitoring.events, name)
            events |= event
            _monitoring.register_callback(
                _monitoring.PROFILER_ID, event, _core._Relay(kind, self._begin)
            )
        _monitoring.set_events(_monitoring.PROFILER_ID, events)

    def _monitor_no_more(self) -> None:
        _monitoring.set_events(_monitoring.PROFILER_ID, 0)
        for name in _CALLBACKS:
            event = getattr(_monitoring.events, name)
            _monitoring.register_callback(_monitoring.PROFILER_ID, event, None)
        _monitoring.free_tool_id(_monitoring.PROFILER_ID)

    def _stand_in(self, callee: object) -> _StandIn:
        """Return what stands for a chain that begins with a call of that."""
        code = _code_of(callee)
        key = code or type(callee)
        if key not in self._stand_ins:
            frame = _frame_of_copy()
            label = _label(code) if code else None
            self._stand_ins[key] = _StandIn(frame.f_code, frame, label)
        return self._stand_ins[key]

    def _end(self) -> None:
        """Let calls that have not returned count up to now, and add up."""
        spare = {id(chain) for chain in self._spare}
        open_chains = [chain for chain in self._chains if id(chain) not in spare]
        for chain in open_chains:
            # From C, so that the calls themselves are not seen.
            steps = (chain.profiler.enable, chain.profiler.disable)
            deque(map(operator.call, steps), maxlen=0)
        entries = [
            entry for chain in self._chains for entry in chain.profiler.getstats()
        ]
        entered = {
            id(stand_in.code): stand_in.label for stand_in in self._stand_ins.values()
        }
        self.stats = _added_up(entries, entered)
        self._chains.clear()
        self._spare.clear()


def _code_of(callee: Any) -> CodeType | None:
    """Return the code that a chain of a callable, or of a coroutine, begins with."""
    for name in ("func", "__func__"):  # of functools.partial, and of methods
        callee = getattr(callee, name, callee)
    for name in ("__code__", "cr_code", "gi_code"):
        code = getattr(callee, name, None)
        if isinstance(code, CodeType):
            return code
    return None


def _frame_of_copy() -> FrameType:
    """Return a frame whose code is no other function's."""

    def frame() -> FrameType:
        return sys._getframe()

    result: FrameType = FunctionType(frame.__code__.replace(), {"sys": sys})()
    return result


def _label(code: CodeType | str) -> Label:
    """Name a function as `pstats` has it; those of C have a string."""
    if isinstance(code, str):
        return ("~", 0, code)
    return (code.co_filename, code.co_firstlineno, code.co_name)


class _Sum:
    """Figures of a function, or of its calls by one caller."""

    __slots__ = ("calls", "inline", "recursive", "total")

    def __init__(self) -> None:
        self.calls = self.recursive = 0
        self.inline = self.total = 0.0

    def add(self, entry: Any) -> None:
        self.calls += entry.callcount
        self.recursive += entry.reccallcount
        self.inline += entry.inlinetime
        self.total += entry.totaltime

    def subtract(self, other: _Sum) -> None:
        self.calls -= other.calls
        self.recursive -= other.recursive
        self.inline -= other.inline
        self.total -= other.total

    def row(self) -> tuple[int, int, float, float]:
        return (self.calls - self.recursive, self.calls, self.inline, self.total)


def _added_up(entries: Iterable[Any], entered: dict[int, Label | None]) -> Stats:
    """Return what `pstats` reads.

    entered: functions that stand for chains, by the identity of their code, with
        the function that the chain begins with.
    """
    sums: dict[Label, _Sum] = {}
    callers: dict[Label, dict[Label, _Sum]] = {}
    enterers: dict[Label, dict[Label, _Sum]] = {}
    for entry in entries:
        label = _label(entry.code)
        if id(entry.code) in entered:
            continue
        if label[0] != __file__:
            sums.setdefault(label, _Sum()).add(entry)
        for call in entry.calls or ():
            if id(call.code) in entered:
                called, found = entered[id(call.code)], enterers
            else:
                called, found = _label(call.code), callers
            if called:
                found.setdefault(called, {}).setdefault(label, _Sum()).add(call)
    _leave_us_out(sums, callers)
    for label, by in enterers.items():
        if label in sums:
            _share(sums[label], callers.setdefault(label, {}), by)
    return {
        label: (
            *found.row(),
            {by: calls.row() for by, calls in callers.get(label, {}).items()},
        )
        for label, found in sums.items()
    }


def _share(
    whole: _Sum, callers: dict[Label, _Sum], enterers: dict[Label, _Sum]
) -> None:
    """Add those who enter chains that begin with a function to its callers.

    What no caller accounts for of the time that the function itself took is theirs, by
    the time that the chains took.
    """
    rest = max(0.0, whole.inline - sum(calls.inline for calls in callers.values()))
    total = sum(calls.total for calls in enterers.values())
    for label, calls in enterers.items():
        calls.inline = rest * calls.total / total if total else 0.0
        if label in callers:
            known = callers[label]
            known.calls += calls.calls
            known.recursive += calls.recursive
            known.inline += calls.inline
            known.total += calls.total
        else:
            callers[label] = calls


def _leave_us_out(
    sums: dict[Label, _Sum], callers: dict[Label, dict[Label, _Sum]]
) -> None:
    """Take away what is called only because this module measures."""
    for label, by in callers.items():
        ours = [caller for caller in by if caller[0] == __file__]
        for caller in ours:
            calls = by.pop(caller)
            if label in sums:
                sums[label].subtract(calls)
                if not sums[label].calls:
                    del sums[label]
