"""`copool ps`."""

from __future__ import annotations

from collections.abc import Sequence

from copool.commands.outside import cli


def main(argv: Sequence[str]) -> int:
    """Write a short table; return the exit status."""
    return cli.main("ps", argv)
