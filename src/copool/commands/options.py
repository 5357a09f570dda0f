"""What the commands' options are converted with: types for argparse."""

import argparse
from pathlib import Path


def number(text: str) -> int:
    """Convert a number above zero; raise ArgumentTypeError if it is none."""
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return found


def output(text: str) -> Path:
    """Convert a file's name; raise ArgumentTypeError if it can't be written.

    Before anything is done, since what comes before it is written may take minutes.
    """
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be a file")
    return path
