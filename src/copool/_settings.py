"""Settings of the pool on their way into the core, and those of the environment.

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


def apply(changes: "dict[str, Any]") -> None:
    """Change these settings of the pool, as `copool.configure()` says."""
    for name, value in changes.items():
        if isinstance(value, int) and abs(value) > sys.maxsize:
            raise ValueError(f"{name} must be at most {sys.maxsize}, not {value}")
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
        )
    if report is not None:
        _core.report_overflows(report)


def _from_environment(environ: "Mapping[str, str]") -> None:
    """Apply `COPOOL_POLICY`, `_BATCH` and the others."""
    changes: dict[str, Any] = {}
    for name in ("policy", "guard"):
        if text := environ.get(f"COPOOL_{name.upper()}"):
            changes[name] = text
    for name in ("batch", "stack_size", "max_blocks"):
        variable = f"COPOOL_{name.upper()}"
        if text := environ.get(variable):
            try:
                changes[name] = int(text)
            except ValueError:
                raise ValueError(
                    f"the environment variable {variable} must be a whole number, "
                    f"not {text!r}"
                ) from None
    if text := environ.get("COPOOL_OVERFLOW_REPORT"):
        if text not in ("0", "1"):
            raise ValueError(
                "the environment variable COPOOL_OVERFLOW_REPORT must be 0 or 1, "
                f"not {text!r}"
            )
        changes["overflow_report"] = text == "1"
    if changes:
        try:
            apply(changes)
        except ValueError as error:
            error.add_note(
                "This setting comes from the environment variables "
                + ", ".join(f"COPOOL_{name.upper()}" for name in changes)
            )
            raise


_from_environment(os.environ)
