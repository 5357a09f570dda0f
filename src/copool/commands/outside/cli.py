"""The command line: `copool ps` and `copool dump`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from copool.commands.options import number
from copool.commands.outside.core import Core
from copool.commands.outside.memory import BadAddress, OutsideError
from copool.commands.outside.process import Process
from copool.commands.outside.report import Report
from copool.commands.outside.scene import Reader
from copool.commands.outside.summary import as_text
from copool.commands.outside.table import tables

EXIT_ERROR = 1
Command = Literal["ps", "dump"]
_ABOUT: dict[Command, str] = {
    "ps": "Counts the coroutines of a process by what they do, from outside.",
    "dump": "Writes the stacks of all coroutines of a process, from outside.",
}


def parser(command: Command) -> argparse.ArgumentParser:
    """Describe the options."""
    p = argparse.ArgumentParser(
        prog=f"copool {command}",
        description=_ABOUT[command]
        + " The process is neither stopped nor changed. Root may read any, and each"
        " user their own, where the system lets debuggers attach.",
    )
    target = p.add_mutually_exclusive_group(required=True)
    target.add_argument("pid", type=_pid, nargs="?", metavar="PID", help="its number")
    target.add_argument(
        "--core", type=Path, metavar="FILE", help="what a kernel or gcore wrote of one"
    )
    p.add_argument("--json", action="store_true", help="write JSON")
    p.add_argument(
        "--limit", type=number, metavar="N", help="show the N largest groups only"
    )
    p.add_argument(
        "--older-than",
        type=_seconds,
        metavar="SECONDS",
        help="show what has been suspended for longer, where the program notes times",
    )
    if command == "ps":
        p.add_argument(
            "--watch",
            type=_interval,
            nargs="?",
            const=2.0,
            metavar="SECONDS",
            help="show it again and again, in a table that stays; default: 2",
        )
    return p


def _pid(text: str) -> int:
    try:
        pid = int(text)
    except ValueError:
        pid = 0
    if not 0 < pid < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a process")
    return pid


def _seconds(text: str) -> float:
    try:
        seconds = int(text) if text.isdecimal() else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e12:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _interval(text: str) -> float:
    seconds = _seconds(text)
    if not 0.05 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0.05 to 86400 seconds")
    return seconds


def opened(options: argparse.Namespace) -> Process | Core:
    """Return what is to be read; raises OutsideError if that can't be."""
    return Process(options.pid) if options.core is None else Core(options.core)


def look(
    memory: Process | Core, limit: int | None, older_than: float | None
) -> list[Report]:
    """Read all copies of copool that it has; raises OutsideError if there is none."""
    reports = []
    when = memory.seconds_of_day()
    try:
        for table in tables(memory):
            scene = Reader(memory, table).read()
            reports.append(Report(scene, when, limit, older_than))
    except BadAddress:
        memory.check_alive()
        raise OutsideError(
            f"{memory.name} has copool, but its memory can't be read"
        ) from None
    memory.check_alive()
    if not reports:
        raise OutsideError(f"{memory.name} ({memory.command()}) {_without(memory)}")
    # A copy that was imported after another one in its interpreter uses that.
    return [each for each in reports if each.scene.threads] or reports[:1]


def _without(memory: Process | Core) -> str:
    if memory.is_python():
        return "is a Python that has not loaded copool"
    return "is not a Python program"


def main(command: Command, argv: Sequence[str]) -> int:
    """Do what the options ask for; return the exit status."""
    options = parser(command).parse_args(argv)
    memory = None
    try:
        memory = opened(options)
        return run(command, memory, options)
    except OutsideError as error:
        cut_off = isinstance(memory, Core) and memory.truncated
        told = f"; the core is {cut_off}" if cut_off else ""
        print(f"copool {command}: {error}{told}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:  # as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    finally:
        if memory:
            memory.close()


def run(command: Command, memory: Process | Core, options: argparse.Namespace) -> int:
    """Read once and write, or watch."""
    if getattr(options, "watch", None) is not None:
        return watch(memory, options)
    reports = look(memory, options.limit, options.older_than)
    for i, report in enumerate(reports):
        if options.json:
            write(report.json())
        else:
            write("\n" if i else "")
            write(report.text() if command == "dump" else as_text(report))
    sys.stdout.flush()
    if isinstance(memory, Core):
        why = f"the core is {memory.truncated}" if memory.truncated else ""
        if not why and any(report.scene.unread for report in reports):
            why = (
                "the core has not all of the memory: gcore of gdb 13 leaves out stacks"
            )
        if why:
            print(f"copool {command}: {why}", file=sys.stderr)
    return 0


def write(text: str) -> None:
    """Write UTF-8 whatever the locale: names may have any character."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))


def watch(memory: Process | Core, options: argparse.Namespace) -> int:
    """Show a live table until the process ends or the user has seen enough."""
    if isinstance(memory, Core):
        raise OutsideError("--watch is for processes: a core does not change")
    try:
        from copool.commands.outside.live import show
    except ImportError as error:
        raise OutsideError(
            f"--watch needs {error.name}, which is not installed:"
            " pip install 'copool[ps]'"
        ) from None
    show(
        lambda: look(memory, None, options.older_than),
        memory.name,
        options.watch,
        options.limit,
    )
    return 0
