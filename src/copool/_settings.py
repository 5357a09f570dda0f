"""Settings on their way into the core, and those of the environment.

The environment's are applied when this module is imported, which each way to the
core does: the package `copool`, and `greenlet` when copool stands in for it.
Programs wait for that import, so it imports no module that they may not need.
"""

import os
import sys

import copool._core as _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


# What each number may be. The least stack depends on the version of CPython, which
# the core knows.
_RANGES = {
    "batch": (1, 4096),
    "stack_size": (None, 1 << 30),
    "max_blocks": (1, sys.maxsize),
    "max_idle": (0, sys.maxsize),
    "guard_size": (0, 64 << 20),
}
_TYPES = {"policy": str, "guard": str, "overflow_report": bool}


def apply(changes: "dict[str, Any]") -> None:
    """Change these settings of the pool, as `copool.configure()` says."""
    # All of them before any: what is wrong changes nothing.
    changes = {name: _checked(name, value) for name, value in changes.items()}
    report = changes.pop("overflow_report", None)
    if changes or report is None:
        options = _core.options() | changes
        _core.configure(
            options["policy"],
            options["guard"],
            options["stack_size"],
            options["batch"],
            options["max_blocks"],
            options["max_idle"],
            options["guard_size"],
        )
    if report is not None:
        _core.report_overflows(report)


def _checked(name: str, value: "Any") -> "Any":
    """Return it as the core takes it. Raises TypeError and ValueError.

    An error names the option before anything else that could be one's name.
    """
    if wanted := _TYPES.get(name):
        if not isinstance(value, wanted):
            raise TypeError(
                f"{name} must be a {wanted.__name__}, not {type(value).__name__}"
            )
        return value
    # True is 1 to Python, but nobody means a batch of one by it.
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    number = value.__index__()
    least, most = _RANGES[name]
    if least is None:
        if number < 0:
            raise ValueError(f"{name} must not be negative, but is {number}")
        if number > most:
            raise ValueError(f"{name} may be at most 1 GiB ({most}), not {number}")
    elif not least <= number <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {number}")
    return number


def _from_environment(environ: "Mapping[str, str]") -> None:
    """Apply `COPOOL_POLICY`, `_BATCH` and the others."""
    changes: dict[str, Any] = {}
    for name in ("policy", "guard"):
        if text := environ.get(f"COPOOL_{name.upper()}"):
            changes[name] = text
    for name in _RANGES:
        variable = f"COPOOL_{name.upper()}"
        if text := environ.get(variable):
            try:
                changes[name] = int(text)
            except ValueError:
                raise ValueError(
                    f"the environment variable {variable} must be a whole number, "
                    f"not {text!r}"
                ) from None
    report = flag(environ, "COPOOL_OVERFLOW_REPORT")
    if report is not None:
        changes["overflow_report"] = report
    callers = flag(environ, "COPOOL_GREENLET_CALLERS")
    if callers is not None:
        _core._hang_greenlets(callers)
    if changes:
        try:
            apply(changes)
        except ValueError as error:
            # Each error names its setting first, then the value; and the name of one
            # setting begins with another's.
            text = str(error)
            wrong = min(
                (name for name in changes if name in text),
                key=lambda name: (text.index(name), -len(name)),
            )
            error.add_note(
                "This setting comes from the environment variable"
                f" COPOOL_{wrong.upper()}"
            )
            raise


def flag(environ: "Mapping[str, str]", variable: str) -> bool | None:
    """Return what an environment variable says, None if it is not set."""
    text = environ.get(variable)
    if not text:
        return None
    if text not in ("0", "1"):
        raise ValueError(
            f"the environment variable {variable} must be 0 or 1, not {text!r}"
        )
    return text == "1"


def _note_from_environment(text: str) -> None:
    """Apply `COPOOL_NOTE`."""
    wanted = {word.strip() for word in text.split(",")}
    if wrong := wanted - {"makers", "times"}:
        raise ValueError(
            "the environment variable COPOOL_NOTE must have makers, times or both "
            f"with a comma between them, not {min(wrong)!r}"
        )
    _core._note("makers" in wanted, "times" in wanted)


def _dump_from_environment(text: str) -> None:
    """Apply `COPOOL_DUMP_ON`."""
    import signal

    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    try:
        _core._dump_on(signal.Signals[name], 2, False, None, False)
    except (KeyError, ValueError):
        raise ValueError(
            "the environment variable COPOOL_DUMP_ON must be the name of a signal that "
            f"can be caught and is none of a fault, such as QUIT or USR1, not {text!r}"
        ) from None


_from_environment(os.environ)
if text := os.environ.get("COPOOL_NOTE"):
    _note_from_environment(text)
if text := os.environ.get("COPOOL_DUMP_ON"):
    _dump_from_environment(text)
if os.environ.get("COPOOL_WATCH"):
    from copool._watch import watch_from_environment

    watch_from_environment(os.environ["COPOOL_WATCH"])
