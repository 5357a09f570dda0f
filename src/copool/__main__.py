"""The `copool` command: passes its arguments on to the command named first."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_COMMANDS = {
    "run": "run a program with copool in place of greenlet",
    "ps": "count the coroutines of another process by what they do",
    "dump": "write the stacks of all coroutines of another process, or of a core",
    "gdb": "start gdb with commands for coroutines, on a process or a core",
    "demo": "merge the names in the standard library, with a coroutine per function",
    "bench": "measure copool beside greenlet, generators, tasks and threads",
    "simulate": "run the pool's policies under many threads, in virtual time",
}
# Where those are that have no folder of their own.
_MODULES = {"ps": "outside.ps", "dump": "outside.dump"}
# What the extras named like the commands install.
_EXTRAS = {"greenlet", "matplotlib", "rich"}
_EXTRA_OF = {"simulate": "bench"}


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run a command; return its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    # First of all: a program that is run must not wait for what the rest imports.
    if arguments[:1] == ["run"]:
        import copool._run

        return copool._run.main(arguments[1:])
    return _pass_on(arguments)


def _pass_on(arguments: list[str]) -> int:
    from importlib import import_module

    options = _parser().parse_args(arguments)
    try:
        module = _MODULES.get(options.command, f"{options.command}.cli")
        command = import_module(f"copool.commands.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        print(
            f"copool {options.command} needs {missing}, which is not installed:"
            f" pip install 'copool[{_EXTRA_OF.get(options.command, options.command)}]'",
            file=sys.stderr,
        )
        return 1
    try:
        status: int = command.main(options.arguments)
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> "argparse.ArgumentParser":
    import argparse
    from importlib.metadata import version

    commands = "\n".join(f"  {name:<10}{what}" for name, what in _COMMANDS.items())
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
