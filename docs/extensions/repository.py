"""Links from pages to what lies in the repository beside them.

Pages are read in two places. Where the repository is shown, `[x](../examples/x.py)`
leads to the file. On the site MyST makes a download of it, and what is no file, such as
a folder, is named without a link. What is not there at all fails the build.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")

log = logging.getLogger(__name__)


def resolve(app: Sphinx, page: str, source: list[str]) -> None:
    """Leave of links what the site can follow."""
    docs = Path(app.srcdir)
    folder = (docs / page).parent

    def follow(link: re.Match[str]) -> str:
        text, path, _ = link.groups()
        target = (folder / path).resolve()
        if target.is_relative_to(docs):
            return link[0]
        if not target.exists():
            log.warning("%s is not in the repository", path, location=page)
        return link[0] if target.is_file() else text

    source[0] = LINK.sub(follow, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.connect("source-read", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
