"""What `importlib.metadata` tells of greenlet while copool stands in for it."""

import os
from importlib.metadata import Distribution

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class DropIn(Distribution):
    """Name and version: what programs check."""

    def __init__(self, version: str) -> None:
        self._version = version

    def read_text(self, filename: str) -> str | None:
        """Return the text of METADATA, and None for any other file."""
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: greenlet\nVersion: {self._version}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> "NoReturn":
        """Refuse: no file belongs to this distribution."""
        raise FileNotFoundError(f"copool's greenlet has no file {os.fspath(path)}")
