"""What all coroutines, greenlets and tasks of the process are doing, as text.

Programs that ask for nothing of the kind import this too, so it imports nothing that
`copool.stats()` does not need.
"""

import sys
from typing import Any, Literal, Protocol, TypeAlias

import copool._core as _core


class Writable(Protocol):
    """A text file, as far as dumps go."""

    def write(self, text: str, /) -> object:
        """Write the text."""


class HasFileno(Protocol):
    """A file of the system."""

    def fileno(self) -> int:
        """Return its number."""


Format: TypeAlias = Literal["text", "json"]


def dump(
    file: "Writable | None" = None,
    *,
    format: "Format" = "text",
    limit: int | None = None,
    older_than: float | None = None,
) -> None:
    """Write what all chains of calls of the process are doing to a text file.

    These are the coroutines, greenlets and awaited calls of all threads, and the
    threads' own. Chains that do the same are written once, with their number, the
    largest group first, and at most `limit` groups. `file` is `sys.stderr` unless
    given.

    With `older_than` only those are written that have been suspended for more than so
    many seconds; that needs `note(times=True)`, else it raises ValueError. Raises
    TypeError and ValueError for other arguments that cannot be, and what `write()`
    does.

    >>> import io, copool
    >>> waiting = copool.Coroutine(copool.yield_, name="me")
    >>> waiting.enter()
    >>> text = io.StringIO()
    >>> copool.dump(text)
    >>> "coroutine 'me', suspended" in text.getvalue()
    True
    >>> waiting.close()
    """
    _check_limit(limit)
    seconds, age = _parse_age(older_than)
    text = _core._dump(_is_json(format), limit, seconds, age)
    if file is None:
        file = sys.stderr
        if file is None:  # a program without a console
            return
    file.write(text)


def dump_on(
    signum: int,
    file: "HasFileno | int | None" = None,
    *,
    format: "Format" = "text",
    limit: int | None = None,
    chain: bool = False,
) -> None:
    """Have `dump()` written when the signal arrives, even if the process is stuck.

    That takes no lock and runs no code of the program's. `file` is one of the system's,
    an object with `fileno()` or a number, standard error unless given; it is kept
    open. With `chain=True` whatever handled the signal before does so afterwards; for
    a signal that had no handler that is mostly the end of the process.

    Called again it takes the place of what was asked for before. Raises ValueError for
    signals that can't be caught and for those of faults, such as SIGSEGV; OSError for a
    file that is none. It may be called in any thread, and shows all of them.

    >>> import signal, tempfile, copool
    >>> file = tempfile.TemporaryFile("w+")
    >>> copool.dump_on(signal.SIGUSR1, file)
    >>> signal.raise_signal(signal.SIGUSR1)
    >>> file.seek(0), "thread, running" in file.read()
    (0, True)
    >>> copool.dump_off(signal.SIGUSR1)
    True
    """
    _check_limit(limit)
    json = _is_json(format)
    fd = 2 if file is None else file if isinstance(file, int) else file.fileno()
    _core._dump_on(signum, fd, json, limit, bool(chain))


def dump_off(signum: int) -> bool:
    """Undo `dump_on()`; return whether there was anything to undo.

    It may be called in any thread. Raises TypeError for what is no number.

    >>> import signal, copool
    >>> copool.dump_off(signal.SIGUSR1)
    False
    """
    return _core._dump_off(signum)


def note(makers: bool | None = None, times: bool | None = None) -> None:
    """Say whether it is noted who makes coroutines and when they are suspended.

    `dump()` then shows that of those that are made, or suspended, from now on. Neither
    is noted by default, since it takes time; None leaves it as it is. It holds for all
    threads. Never raises.

    >>> import copool
    >>> copool.note(makers=True)
    >>> co = copool.Coroutine(copool.yield_)  # copool.dump() says: made here
    >>> copool.note(makers=False)
    """
    before = _core._noted()
    _core._note(
        before[0] if makers is None else bool(makers),
        before[1] if times is None else bool(times),
    )


def _is_json(format: "Any") -> bool:
    if format not in ("text", "json"):
        raise ValueError(f"format must be 'text' or 'json', not {format!r}")
    return bool(format == "json")


def _check_limit(limit: "Any") -> None:
    if limit is None:
        return
    # True is 1 to Python, but nobody means one group by it.
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be an int or None, not {type(limit).__name__}")
    if not 0 <= limit <= sys.maxsize:
        raise ValueError(f"limit must be from 0 to {sys.maxsize}, but is {limit}")


def _parse_age(older_than: "Any") -> tuple[float, str | None]:
    """Return it in seconds, and as it is shown."""
    if older_than is None:
        return 0.0, None
    if isinstance(older_than, bool) or not isinstance(older_than, (int, float)):
        raise TypeError(
            f"older_than must be a number of seconds, not {type(older_than).__name__}"
        )
    if not 0 <= older_than <= 1e9:
        raise ValueError(f"older_than must be from 0 to 1e9 seconds, not {older_than}")
    if not _core._noted()[1]:
        raise ValueError(
            "older_than needs the times at which coroutines are suspended: call "
            "copool.note(times=True) when the program begins, or set COPOOL_NOTE=times"
        )
    return float(older_than), repr(older_than)
