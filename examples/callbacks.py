"""Turn libraries that call back inside out, so that the caller asks.

A generator cannot do this: the function that would have to yield is called from
C code, which knows nothing of generators. A coroutine yields through it.

    python examples/callbacks.py
"""

import re
import xml.sax
from collections.abc import Callable, Iterator
from xml.sax.handler import ContentHandler

import copool

XML = b"<menu><dish>soup<price>3</price></dish><dish>stew<price>5</price></dish></menu>"


class Events(ContentHandler):
    """Hands each event of the parser to whoever iterates over it."""

    def startElement(self, name: str, attrs: object) -> None:
        copool.yield_(("start", name))

    def characters(self, content: str) -> None:
        copool.yield_(("text", content))

    def endElement(self, name: str) -> None:
        copool.yield_(("end", name))


def events(document: bytes) -> Iterator[tuple[str, str]]:
    """Iterate over a document, which is parsed no further than is asked for."""
    return iter(copool.Coroutine(lambda: xml.sax.parseString(document, Events())))


def substitute(pattern: str, text: str, choose: Callable[[str], str]) -> str:
    """Replace matches. The coroutine gives a match and is sent its replacement."""
    search = copool.Coroutine(lambda: re.sub(pattern, copool.yield_, text))
    given = search.enter()
    while not search.done:
        given = search.enter(choose(given.group()))
    assert isinstance(given, str)
    return given


def main() -> None:
    for kind, what in events(XML):
        print(kind, what)
        if what == "soup":
            print("that will do")
            break
    dishes = {"$first": "soup", "$second": "stew"}
    print(substitute(r"\$\w+", "Today: $first, then $second.", dishes.__getitem__))


if __name__ == "__main__":
    main()
