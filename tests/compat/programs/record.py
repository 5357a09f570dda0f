"""A file with what came of each test, written so that a crash loses nothing.

As a program: fails unless it runs on the greenlet that the environment names.
"""

import json
import os
import re
import sys
from pathlib import Path


def provider() -> str:
    """Which greenlet this process runs on, by what is mapped into it."""
    import greenlet  # noqa: F401

    import copool.greenlet

    maps = Path("/proc/self/maps").read_text()
    files = re.findall(r"/([^/\n]*)/([^/.\n]*)\.[^/\n]*$", maps, re.MULTILINE)
    mapped = {
        "greenlet": ("greenlet", "_greenlet") in files,
        # It may be loaded beside greenlet, and used in other ways.
        "copool": ("copool", "_core") in files and copool.greenlet.installed(),
    }
    return " and ".join(name for name, there in mapped.items() if there) or "none"


class Record:
    """Lines of JSON in the file that the environment names."""

    def __init__(self) -> None:
        # Not for child processes: they are part of some test.
        self.path = Path(os.environ.pop("COMPAT_RECORD"))

    def _write(self, **entry: str | int | None) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def begin(self, test: str) -> None:
        self._write(test=test, status=None)

    def end(self, test: str, status: str, detail: str = "", count: int = 1) -> None:
        self._write(test=test, status=status, detail=detail, count=count)

    def say_provider(self, provider: str) -> None:
        self._write(provider=provider)


if __name__ == "__main__" and provider() != os.environ["COMPAT_PROVIDER"]:
    sys.exit(f"this runs on {provider()}")
