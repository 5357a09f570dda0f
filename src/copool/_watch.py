"""Who holds a thread: what `copool.watch()` starts, and what it tells of.

The core's thread looks at the counts of switches and calls us with what it found;
here that gets its names and is told. The environment's watch is started by
`copool._settings`.
"""

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import CodeType, FrameType, TracebackType
from typing import Any, Literal, final

import copool._core as _core
from copool._later import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    import traceback as _traceback
else:
    logging, _traceback = Later("logging"), Later("traceback")

_Face = tuple[int, Any, Any]
_Frame = tuple[CodeType, int, object]

# What `seconds` may be.
_RANGE = (0.001, 86400)

# A greenlet or coroutine with one of these among its frames is a loop, which is idle
# when it waits: to its thread it is what the thread's own chain of calls is elsewhere.
_LOOPS = {
    ("gevent.hub", "Hub.run"),
    ("gevent.threadpool", "_WorkerGreenlet.run"),  # is there to be blocked
    ("eventlet.hubs.hub", "BaseHub.run"),
    ("eventlet.hubs.asyncio", "Hub.run"),
    ("asyncio.base_events", "BaseEventLoop.run_forever"),
    ("asyncio.runners", "Runner.run"),  # uvloop's own functions have no frames
    ("trio._core._run", "unrolled_run"),
}

Kind = Literal["coroutine", "greenlet", "task"]

# By the core's numbers.
_KINDS: dict[int, Kind] = {1: "coroutine", 2: "greenlet", 3: "task"}


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """A coroutine, greenlet or task that holds its thread, for `watch()`.

    That is: it runs, or waits for something that is not copool's, and nobody else
    in its thread can go on. Frozen, so that any thread may read it.

    >>> import time, copool
    >>> holds = []
    >>> with copool.watch(callback=holds.append):
    ...     copool.Coroutine(time.sleep, name="nap").enter(0.1)
    >>> "coroutine 'nap' holds thread" in str(holds[0])
    True
    """

    kind: Kind
    """`coroutine`, `greenlet` or `task`."""
    name: str
    """What it is called, in dumps too."""
    inside: tuple[str, ...]
    """Who has entered it, such as `task 'Task-2'`, the innermost first."""
    thread: str
    """The thread's name, as it was when copool was first used there."""
    ident: int
    """Its `threading.get_ident()`."""
    seconds: float
    """For how long at least: from when the watch saw it first until it last did."""
    over: bool
    """Whether it has switched since, and was told of before."""
    frames: "tuple[_traceback.FrameSummary, ...]"
    """Its calls when it was first told of, the innermost last."""
    callers: "tuple[_traceback.FrameSummary, ...]"
    """Those of who has entered it."""

    def __str__(self) -> str:
        """Return all of it, as the log has it."""
        who = f"{self.kind} {self.name!r}"
        if self.inside:
            who += f" in {' in '.join(self.inside)}"
        whom = f"thread {self.thread!r} for {self.seconds:.3f} s"
        if self.over:
            return f"{who} has held {whom} and lets others go on"
        return f"{who} holds {whom}:\n{self.text}"

    @property
    def text(self) -> str:
        """Its calls as a traceback shows them, those of who has entered it first."""
        from traceback import StackSummary

        own = "".join(StackSummary.from_list(list(self.frames)).format())
        if not self.callers:
            return own.rstrip("\n")
        callers = "".join(StackSummary.from_list(list(self.callers)).format())
        return f"{callers}  -- has entered --\n{own}".rstrip("\n")


@final
class Watch:
    """Looks for what holds its thread, until `stop()`. Made by `watch()`.

    It has a thread of its own. A context manager, too; leaving it raises nothing.

    >>> import copool
    >>> watch = copool.watch(0.5)
    >>> watch.stop()
    """

    def __init__(self, seconds: float, tell: "Callable[[Hold], object]") -> None:
        self._seconds = seconds
        self._tell = tell
        self._told: dict[int, Hold] = {}
        self._start()
        _add(self)

    def _start(self) -> None:
        self._told.clear()
        self._core = _core._watch_start(self._seconds, self._begun, self._ended)

    def stop(self) -> None:
        """End it.

        Waits for a callback that is running, unless that has called this. Calling it
        again changes nothing. Raises only what a signal's handler does meanwhile.
        """
        _watches.discard(self)
        # In pieces, so that signals are handled.
        while _core._watch_stop(self._core, 0.1) is False:
            pass

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.stop()

    def _begun(
        self,
        key: int,
        held: float,
        ident: int,
        thread: str,
        faces: "list[_Face]",
        frames: "list[_Frame]",
        callers: "list[_Frame]",
    ) -> bool:
        """Tell of a hold; whether its end is to be told, too."""
        if any((module, code.co_qualname) in _LOOPS for code, _, module in frames):
            return False
        (kind, name), *inside = (_named(face, ident) for face in faces)
        hold = Hold(
            kind,
            name,
            tuple(f"{kind} {name!r}" for kind, name in inside),
            thread or str(ident),
            ident,
            held,
            False,
            _summaries(frames),
            _summaries(callers),
        )
        self._tell(hold)
        self._told[key] = hold
        return True

    def _ended(self, key: int, held: float) -> None:
        self._tell(replace(self._told.pop(key), seconds=held, over=True))

    def _pause(self) -> bool:
        """End its thread, to be started again; False while that is in a callback."""
        if _core._watch_tells(self._core):
            return False
        _core._watch_stop(self._core, 1)
        return True


def watch(
    seconds: float = 0.02,
    *,
    callback: "Callable[[Hold], object] | None" = None,
    logger: "logging.Logger | None" = None,
) -> Watch:
    """Tell of each coroutine, greenlet or task that holds its thread for so long.

    It holds it who does not switch: who computes, or waits for something in a way
    that lets nobody else go on, such as `time.sleep()`. Each is told of twice: when
    it is noticed, with its calls, and when it has switched, with the time that it has
    taken. Loops that wait for events are not, nor is what runs outside coroutines.

    seconds: from 0.001 on. What takes half as much again is noticed for certain.
    callback: called with a `Hold`, in the watch's own thread. What it raises is
        reported as unraisable.
    logger: gets a warning, with the `Hold` as `record.hold`; the logger `copool` unless
        one is given or there is a callback.

    Returns a `Watch`, for `stop()`; it is a context manager, too. Never switches. The
    watch has a thread of its own; it is for the threads of this interpreter, ends
    with it, and goes on in the child of a fork. Raises TypeError and ValueError for
    what can't be, RuntimeError if there can be no thread.

    >>> import time, copool
    >>> holds = []
    >>> with copool.watch(callback=holds.append):
    ...     copool.Coroutine(time.sleep, name="nap").enter(0.1)
    >>> holds[0].kind, holds[0].name, holds[0].over
    ('coroutine', 'nap', False)
    """
    least, most = _RANGE
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds must be a number, not {type(seconds).__name__}")
    if not least <= seconds <= most:
        raise ValueError(f"seconds must be from {least} to {most}, not {seconds}")
    if not (callback is None or callable(callback)):
        raise TypeError(
            f"callback must be a callable, not {type(callback).__name__}: it gets a "
            "copool.Hold"
        )
    if not (logger is None or callable(getattr(logger, "warning", None))):
        raise TypeError(
            f"logger must be a logging.Logger, not {type(logger).__name__}: pass "
            "logging.getLogger(name)"
        )
    # Here, since threading takes the thread that imports it for the main one.
    import logging
    import threading  # noqa: F401
    import traceback  # noqa: F401

    tells: list[Callable[[Hold], object]] = [callback] if callback else []
    if logger or not callback:
        log = logger or logging.getLogger("copool")
        tells.append(lambda hold: log.warning("%s", hold, extra={"hold": hold}))
    return Watch(float(seconds), lambda hold: [tell(hold) for tell in tells])


def watch_from_environment(text: str) -> None:
    """Do what `COPOOL_WATCH` says, for `copool._settings`."""
    try:
        seconds = float(text)
        if seconds:
            watch(seconds)
    except ValueError:
        least, most = _RANGE
        raise ValueError(
            "the environment variable COPOOL_WATCH must be a number of seconds from "
            f"{least} to {most}, or 0 for none, not {text!r}"
        ) from None


# --- names ----------------------------------------------------------------------------


def _named(face: "_Face", ident: int) -> tuple[Kind, str]:
    """Return what to call it; the hint is its name, what it runs, or its task."""
    number, which, name = face
    try:
        run = getattr(name, "func", name)  # a partial's
        if number == 2:
            name = getattr(which, "name", None)  # gevent's have one
        elif number == 3:
            task = name or _task_of(which, ident)
            name = task.get_name() if task else which.__qualname__
        return _KINDS[number], name if isinstance(name, str) else _qualname(run)
    except Exception:  # of a class of the program's, or what it runs has no name
        return _KINDS[number], type(which).__qualname__


def _qualname(run: "Any") -> str:
    return str(run.__qualname__)


def _task_of(bridge: "Any", ident: int) -> "Any":
    """Return the task that drives it in that thread, or None if it is not found."""
    frame = sys._current_frames().get(ident)
    while frame and not (loop := _loop_of(frame)):
        frame = frame.f_back
    task = sys.modules["asyncio"].current_task(loop) if frame else None
    return task if task and task.get_coro() is bridge else None


def _loop_of(frame: "FrameType") -> "Any":
    name = frame.f_globals.get("__name__"), frame.f_code.co_qualname
    if name == ("asyncio.base_events", "BaseEventLoop.run_forever"):
        return frame.f_locals["self"]
    if name == ("asyncio.runners", "Runner.run"):
        return frame.f_locals["self"].get_loop()
    return None


def _summaries(frames: "list[_Frame]") -> "tuple[_traceback.FrameSummary, ...]":
    return tuple(
        _traceback.FrameSummary(
            code.co_filename, line, code.co_qualname, lookup_line=False
        )
        for code, line, _ in reversed(frames)
    )


# --- forks, and the end ---------------------------------------------------------------

_watches: set[Watch] = set()
_paused: set[Watch] = set()


def _add(watch: Watch) -> None:
    if not _added:
        _added.append(True)
        atexit.register(_stop_all)
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=_after_fork,
            after_in_child=_after_fork_in_child,
        )
    _watches.add(watch)


_added: list[bool] = []


def _stop_all() -> None:
    # A callback that does not return must not keep the process.
    for watch in [*_watches]:
        _core._watch_stop(watch._core, 1)
    _watches.clear()


def _before_fork() -> None:
    """End the threads: the child has none, and may be forked from one only."""
    _paused.update(watch for watch in [*_watches] if watch._pause())


def _after_fork() -> None:
    for watch in _paused & _watches:
        watch._start()
    _paused.clear()


def _after_fork_in_child() -> None:
    # A callback that was running is not here, or is what has forked and goes on.
    for watch in _watches - _paused:
        _core._watch_stop(watch._core, 0)
    _paused.update(_watches)
    _after_fork()
