"""`copool.follow()`: lets a tool with one stack of calls follow switches.

The tool is made to believe that at each switch every call of the chain that is left
returns, and that those of the chain that goes on are made again. So its stack is right,
and what it shows of a call are the times at which the call ran.
"""

from __future__ import annotations

import sys
import threading
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from copool import _core
from copool._chains import Chains, Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType

_monitoring: Any = getattr(sys, "monitoring", None)  # from 3.12 on
_BEGINS = ("PY_START", "PY_RESUME", "PY_THROW")
_ENDS = ("PY_RETURN", "PY_YIELD", "PY_UNWIND")
_C_ENDS = ("C_RETURN", "C_RAISE")


class _Call(NamedTuple):
    """A call that has not returned; of a function in C, if there is one."""

    code: CodeType
    offset: int
    function: Any = None
    first: Any = None


class _Calls:
    """The calls of a chain that have not returned."""

    __slots__ = ("early", "open")

    def __init__(self, *, early: bool = False) -> None:
        self.open: list[_Call] = []
        self.early = early  # there were some before we came, of which the tool knows

    def returns(self, function: Any = None) -> bool:
        """Drop the innermost one; false if it has not been seen."""
        if function is None:
            while self.open and self.open[-1].function is not None:
                self.open.pop()
        elif self.open and self.open[-1].function is not function:
            return False
        if not self.open:
            return self.early
        self.open.pop()
        return True


class _Thread(Chains):
    def __init__(self, follow: Follow) -> None:
        self.follow = follow
        super().__init__()
        for level in self.levels:
            level.data.early = True
        _core._profiler(self.switched)
        self.go_on()

    def make(self) -> _Calls:
        return _Calls()

    def switched(self, event: str, pair: tuple[object, object]) -> None:
        if self.follow.on:
            super().switched(event, pair)
        else:
            _core._profiler(None)

    def go_on(self) -> None:
        self.calls: _Calls = self.levels[-1].data

    def entered(self, group: list[Level]) -> None:
        for level in group:
            for call in level.data.open:
                self.follow.replay(call, begins=True)

    def left(self, group: list[Level], *, alive: bool) -> None:
        for level in reversed(group):
            for call in reversed(level.data.open):
                self.follow.replay(call, begins=False)


class Follow:
    """What `follow()` returns."""

    def __init__(self) -> None:
        self.on = False
        self._local = threading.local()
        self._tool: dict[str, Callable[..., object]] = {}

    def __enter__(self) -> Follow:
        if not _monitoring:
            raise RuntimeError("copool.follow() needs Python 3.12 or later")
        if _monitoring.get_tool(_monitoring.PROFILER_ID) is None:
            raise RuntimeError(
                "copool.follow() finds no profiler: start the tool first, as in "
                "'with VizTracer(), copool.follow():'"
            )
        self.on = True
        _core._untraced(self._take_over)
        return self

    def _take_over(self) -> None:
        for events, wrapped in (
            (_BEGINS, self._begins),
            (_ENDS, self._ends),
            (("CALL",), self._calls),
            (_C_ENDS, self._c_ends),
        ):
            for event in events:
                self._wrap(event, wrapped)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _core._untraced(self._give_back)

    def _give_back(self) -> None:
        self.on = False
        _core._profiler(None)
        for event, callback in self._tool.items():
            self._register(event, callback)

    def replay(self, call: _Call, *, begins: bool) -> None:
        """Tell the tool of a call once more."""
        code, offset, function, first = call
        if function is None:
            if begins:
                self._tool["PY_START"](code, offset)
            else:
                self._tool["PY_RETURN"](code, offset, None)
        elif "CALL" in self._tool:
            self._tool["CALL" if begins else "C_RETURN"](code, offset, function, first)

    def _register(self, event: str, callback: Callable[..., object] | None) -> Any:
        number = getattr(_monitoring.events, event)
        return _monitoring.register_callback(_monitoring.PROFILER_ID, number, callback)

    def _wrap(self, event: str, wrapper: Callable[..., Callable[..., object]]) -> None:
        callback = self._register(event, None)
        if callback:
            self._tool[event] = callback
            self._register(event, wrapper(callback))

    def _calls_here(self) -> _Calls:
        try:
            calls: _Calls = self._local.thread.calls
        except AttributeError:
            try:
                self._local.thread = thread = _Thread(self)
            except RuntimeError:  # the thread is ending
                return _Calls(early=True)
            calls = thread.calls
        return calls

    def _begins(self, tool: Callable[..., object]) -> Callable[..., object]:
        def begins(code: CodeType, offset: int, *rest: object) -> object:
            self._calls_here().open.append(_Call(code, offset))
            return tool(code, offset, *rest)

        return begins

    def _ends(self, tool: Callable[..., object]) -> Callable[..., object]:
        def ends(code: CodeType, *rest: object) -> object:
            return tool(code, *rest) if self._calls_here().returns() else None

        return ends

    def _calls(self, tool: Callable[..., object]) -> Callable[..., object]:
        def calls(code: CodeType, offset: int, function: Any, first: object) -> object:
            called = function.__func__ if isinstance(function, MethodType) else function
            if not isinstance(called, FunctionType):
                call = _Call(code, offset, function, first)
                self._calls_here().open.append(call)
            return tool(code, offset, function, first)

        return calls

    def _c_ends(self, tool: Callable[..., object]) -> Callable[..., object]:
        def ends(code: CodeType, offset: int, function: Any, first: object) -> object:
            if self._calls_here().returns(function):
                return tool(code, offset, function, first)
            return None

        return ends
