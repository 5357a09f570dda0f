"""The `copool` command: passes its arguments on to the command named first."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

_COMMANDS = {
    "demo": "merge the names in the standard library, with a coroutine per function",
    "bench": "measure copool beside greenlet, generators, tasks and threads",
}
# What the extras named like the commands install.
_EXTRAS = {"greenlet", "matplotlib", "rich"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    options = _parser().parse_args(argv)
    try:
        command = import_module(f"copool.{options.command}.cli")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        print(
            f"copool {options.command} needs {missing}, which is not installed:"
            f" pip install 'copool[{options.command}]'",
            file=sys.stderr,
        )
        return 1
    try:
        status: int = command.main(options.arguments)
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<8}{what}" for name, what in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="copool",
        description="Stackful coroutines at the price of a generator.",
        epilog=f"commands:\n{commands}\n\n'copool COMMAND --help' tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"copool {version('copool')}"
    )
    parser.add_argument("command", choices=list(_COMMANDS), metavar="COMMAND")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="passed on to it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
