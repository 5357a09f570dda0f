"""What lies in the repository beside the pages: files that are pages, and links to it.

    ```{repository} ../README.md
    ```

puts a file of the repository into a page, with its links as they are from there.

Pages are read in two places. Where the repository is shown, `[x](../examples/x.py)`
leads to the file. On the site a file that is a page is a link to that page, MyST makes
a download of any other one, and what is no file, such as a folder, is named without a
link. What is not there at all fails the build.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

PART = re.compile(r"^```\{repository\} (\S+)\n```$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")

log = logging.getLogger(__name__)


def find_pages(app: Sphinx) -> None:
    """Note which files of the repository are pages."""
    docs = Path(app.srcdir)
    app.repository_pages = {
        (page.parent / part[1]).resolve(): page
        for page in docs.rglob("*.md")
        for part in PART.finditer(page.read_text())
    }


def resolve(app: Sphinx, name: str, source: list[str]) -> None:
    """Put in what is to be put in, and leave of links what the site can follow."""
    docs = Path(app.srcdir)
    page = docs / f"{name}.md"

    def put_in(part: re.Match[str]) -> str:
        file = (page.parent / part[1]).resolve()
        app.env.note_dependency(str(file))
        return LINK.sub(lambda link: follow(link, file.parent), file.read_text())

    def follow(link: re.Match[str], folder: Path) -> str:
        text, path, place = link.groups()
        target = (folder / path).resolve()
        target = app.repository_pages.get(target, target)
        if not target.exists():
            log.warning("there is no %s in the repository", target, location=name)
        if not target.is_file():
            return text
        # Only pages have places.
        place = place if place and target.suffix == ".md" else ""
        return f"[{text}]({os.path.relpath(target, page.parent)}{place})"

    whole = LINK.sub(lambda link: follow(link, page.parent), source[0])
    source[0] = PART.sub(put_in, whole)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.connect("builder-inited", find_pages)
    app.connect("source-read", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
