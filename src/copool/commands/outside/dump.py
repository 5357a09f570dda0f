"""`copool dump`."""

from __future__ import annotations

from collections.abc import Sequence

from copool.commands.outside import cli


def main(argv: Sequence[str]) -> int:
    """Write the stacks of all; return the exit status."""
    return cli.main("dump", argv)
