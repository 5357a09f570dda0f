"""The command line: `copool gdb`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.py")
_TAKE_A_FILE = ("--core", "--exe")
_EPILOG = """
What follows is passed on to gdb, as in:

  copool gdb 4321 -batch -ex 'copool list'
  copool gdb --core core.4321 -batch -ex 'copool bt 1'

A gdb that runs already takes the commands with: source {script}
"""


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    p = argparse.ArgumentParser(
        prog="copool gdb",
        usage="copool gdb (PID | [--exe FILE] --core FILE) [ARGUMENTS OF GDB]\n"
        "       copool gdb --path",
        description="Starts gdb with the commands `copool list` and `copool bt`.",
        epilog=_EPILOG.format(script=SCRIPT),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("pid", nargs="?", type=int, metavar="PID", help="a process")
    what.add_argument("--core", metavar="FILE", help="a core instead of a process")
    what.add_argument(
        "--path", action="store_true", help="print where the script for gdb is"
    )
    p.add_argument(
        "--exe",
        metavar="FILE",
        default=os.path.realpath(sys.executable),
        help="the Python that wrote the core; default: this one, %(default)s",
    )
    return p


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is for us, and what is for gdb."""
    at = 0
    while at < len(argv) and argv[at] in _TAKE_A_FILE:
        at += 2
    # Then a number, or an option of ours or a mistake in its place.
    if "--core" not in argv[:at]:
        at += 1
    return argv[:at], argv[at:]


def main(argv: Sequence[str]) -> int:
    """Become gdb; return an exit status if that can't be."""
    ours, rest = _split(argv)
    options = parser().parse_args(ours)
    if options.path:
        print(SCRIPT)
        return 0
    # The process may have the very script beside its library: no warning of that.
    allow = f"add-auto-load-safe-path {SCRIPT.parents[2]}"
    command = ["gdb", "-quiet", "-iex", allow]
    if options.core:
        command += [options.exe, options.core]
    else:
        command += ["-p", str(options.pid)]
    command += ["-x", str(SCRIPT), *rest]
    # They are for our Python, and gdb has its own.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "PYTHONPATH")
    }
    try:
        os.execvpe("gdb", command, environment)
    except OSError as error:
        print(
            f"copool gdb needs gdb, which can't be run: {error.strerror}",
            file=sys.stderr,
        )
    return 1
