"""The reference of the C interface: what copool.h declares, with its comments.

    ```{c-api} ../src/core/copool.h
    ```

Comments of the header stand before what they are about, or behind a member. A function
without one fails the build, as does an enumerator or a member that says nothing.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)

COMMENT = r"/\*(?P<text>(?:(?!\*/).)*)\*/"
PIECE = re.compile(
    COMMENT
    + r"|(?P<rule>^#(?:[^\n]*\\\n)*[^\n]*$)"
    + r"|(?P<body>(?:enum|struct) \w+ \{(?:(?!^\};).)*^\};)"
    + r"|(?P<declared>^(?:typedef|static inline|const|enum|void|bool|size_t|co_t)\b"
    + r"[^;{]*;)",
    re.DOTALL | re.MULTILINE,
)
MEMBER = re.compile(r"\s*(?P<code>[^/]*?)[;,]\s*(?:" + COMMENT + r")?", re.DOTALL)


@dataclass
class Declared:
    """Something that the header declares."""

    code: str
    about: str


def read(header: str) -> Iterator["Declared | str"]:
    """Yield what a header declares, in order; and the titles of its parts."""
    about = ""
    for piece in PIECE.finditer(header):
        if piece["text"] is not None:
            text = plain(piece["text"])
            title = re.fullmatch(r"-+ (.*?) -+", text)
            if title:
                yield title[1]
            about = "" if title else text
        elif piece["rule"]:
            about = ""
        else:
            yield Declared(piece["body"] or piece["declared"], about)
            about = ""


def plain(comment: str) -> str:
    """Return a comment's text without the asterisks at its left."""
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in comment.strip().splitlines()]
    return "\n".join(lines).strip()


class CApi(SphinxDirective):
    """Describes what a header declares."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what it says, as a page."""
        path, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        lines: list[str] = []
        for declared in read(Path(absolute).read_text()):
            if isinstance(declared, str):
                lines += [f"## {declared.capitalize()}", ""]
            else:
                lines += self._described(declared)
        node = nodes.Element()
        self.state.nested_parse(lines, self.content_offset, node, match_titles=True)
        return node.children

    def _type(self, declared: Declared) -> list[str]:
        kind, name = declared.code.split()[:2]
        body = declared.code.partition("{")[2].rpartition("}")[0]
        inner = []
        for member in MEMBER.finditer(body + ("," if kind == "enum" else "")):
            code = " ".join(member["code"].split())
            if not code or code.endswith("_COUNT"):
                continue
            about = plain(member["text"] or "")
            what = "c:enumerator" if kind == "enum" else "c:member"
            inner += directive(what, code, ["", *linked(about)], fence=6)
        return directive(f"c:{kind}", name, ["", *linked(declared.about), "", *inner])

    def _described(self, declared: Declared) -> list[str]:
        if "{" in declared.code:
            return self._type(declared)
        code = " ".join(declared.code.removesuffix(";").split())
        what = "c:type" if code.startswith("typedef") else "c:function"
        if what == "c:function" and not declared.about:
            log.warning("%s has no comment", code, location=self.get_location())
        code = re.sub(r"^typedef struct \w+ |^typedef |^static inline ", "", code)
        return directive(what, code, ["", *linked(declared.about)])


def directive(what: str, code: str, body: list[str], fence: int = 9) -> list[str]:
    """Return the lines of a directive."""
    ticks = "`" * fence
    return [f"{ticks}{{{what}}} {code}", *body, "", ticks, ""]


def linked(text: str) -> list[str]:
    """Let what a comment names of the interface lead to it; return its lines."""
    text = textwrap.dedent(text).replace("*", r"\*").replace("<", r"\<")
    text = re.sub(r"\b(co_\w+)\(\)", r"{c:func}`\1`", text)
    text = re.sub(r"\bCO_(?:[A-Z]+_?)+\b", r"{c:enumerator}`\g<0>`", text)
    text = re.sub(r"\bdocs/([\w-]+)\.md\b", r"[\1](/\1.md)", text)
    return text.splitlines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.add_directive("c-api", CApi)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
