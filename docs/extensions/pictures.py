"""Pictures that are drawn while the site is built, in its own colours, light and dark.

    ```{picture} magazine
    ```

They are as wide as a phone, so that their words can be read there.
"""

from collections.abc import Callable
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH = 400


class Drawing:
    """A picture in the making: boxes, words, arrows."""

    def __init__(self, title: str, height: int) -> None:
        self.title, self.height = title, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", at: str = "middle"):
        """Write words around, before or behind a place."""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{at}" class="{kind}">'
            f"{escape(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, words: str = ""):
        """Draw a box with words in its middle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        )
        self.text(x + width / 2, y + height / 2 + 4.5, words)

    def blocks(self, x: float, y: float, full: int, places: int, size: float = 13):
        """Draw stacks that lie in a list: those there are, and room for more."""
        for number in range(places):
            kind = "full" if number < full else "empty"
            self.parts.append(
                f'<rect x="{x + number * (size + 3)}" y="{y}" width="{size}" '
                f'height="{size}" rx="2" class="{kind}"/>'
            )

    def arrow(self, x: float, y: float, to_y: float, words: str, kind: str, left=False):
        """Draw one up or down, with words beside it."""
        tip = 6 if to_y > y else -6
        self.parts.append(
            f'<path class="{kind}" d="M{x} {y} V{to_y} M{x - 4} {to_y - tip} '
            f'L{x} {to_y} L{x + 4} {to_y - tip}"/>'
        )
        place, at = (x - 6, "end") if left else (x + 6, "start")
        for line, part in enumerate(words.split("\n")):
            self.text(place, (y + to_y) / 2 + 4 + line * 13, part, f"small {kind}", at)

    def svg(self) -> str:
        """Return it as a part of a page."""
        return (
            f'<svg class="picture" role="img" viewBox="0 0 {WIDTH} {self.height}" '
            f'xmlns="http://www.w3.org/2000/svg"><title>{escape(self.title)}</title>'
            f"{''.join(self.parts)}</svg>"
        )


def threads(drawing: Drawing) -> None:
    """Draw two, at the top."""
    for number, x in enumerate((10, 215), start=1):
        drawing.box(x, 8, 175, 32, f"thread {number}")


def none() -> Drawing:
    """Draw the policy that keeps nothing."""
    drawing = Drawing("none: every stack is mapped, and unmapped", 150)
    threads(drawing)
    for x in (55, 260):
        drawing.arrow(x, 108, 44, "create:\nmap", "take")
        drawing.arrow(x + 75, 44, 108, "finish:\nunmap", "give")
    drawing.box(10, 112, 380, 32, "the kernel")
    return drawing


def mutex() -> Drawing:
    """Draw the policy with one list."""
    drawing = Drawing("mutex: one list, and a lock around it", 172)
    threads(drawing)
    for x in (55, 260):
        drawing.arrow(x, 108, 44, "create:\npop", "take")
        drawing.arrow(x + 75, 44, 108, "finish:\npush", "give")
    drawing.box(10, 112, 380, 54)
    drawing.text(200, 130, "one list, under a lock")
    drawing.blocks(105, 142, 7, 12)
    return drawing


def release() -> Drawing:
    """Draw the policy of the patch."""
    drawing = Drawing("release: a list for each thread, and one to give to", 290)
    threads(drawing)
    for x, full in ((10, 5), (215, 0)):
        drawing.arrow(x + 45, 100, 44, "create:\npop", "take")
        drawing.box(x, 104, 110, 52)
        drawing.text(x + 55, 122, "its own list")
        drawing.blocks(x + 8, 133, full, 6)
        drawing.arrow(x + 145, 44, 220, "", "give")
    drawing.text(149, 62, "finish:", "small give", "end")
    drawing.text(149, 75, "push", "small give", "end")
    drawing.arrow(
        260, 220, 160, "when it is empty:\ntake everything", "take", left=True
    )
    drawing.box(10, 224, 380, 54)
    drawing.text(200, 242, "the shared list, by compare-and-swap")
    drawing.blocks(105, 254, 9, 12)
    return drawing


def magazine() -> Drawing:
    """Draw the default."""
    drawing = Drawing("magazine: two magazines a thread, batches by a store", 290)
    threads(drawing)
    for x, full in ((10, (5, 2)), (215, (4, 0))):
        drawing.arrow(x + 45, 100, 44, "create:\npop", "take")
        drawing.arrow(x + 115, 44, 100, "finish:\npush", "give")
        drawing.box(x, 104, 175, 52)
        drawing.text(x + 87, 122, "its two magazines")
        drawing.blocks(x + 8, 133, full[0], 5, 12)
        drawing.blocks(x + 93, 133, full[1], 5, 12)
    drawing.arrow(55, 220, 160, "both empty:\ntake a batch", "take")
    drawing.arrow(330, 160, 220, "both full:\ngive a batch", "give", left=True)
    drawing.box(10, 224, 380, 54)
    drawing.text(200, 242, "the store: whole batches, under a lock")
    for number in range(4):
        drawing.blocks(32 + number * 88, 254, 5 if number < 3 else 0, 5, 12)
    return drawing


def block() -> Drawing:
    """Draw a suspended coroutine: what lies where, and what a switch has to load."""
    drawing = Drawing("a block: data stack, record, C stack, guard", 290)
    drawing.text(20, 18, "high addresses", "small", "start")
    for y, height, words in (
        (26, 36, "data stack: frames of Python"),
        (64, 36, "record: where to go on"),
        (102, 36, "C stack: frames of C functions"),
        (142, 76, "the rest of the C stack"),
        (222, 40, "guard: no access"),
    ):
        drawing.box(20, y, 240, height)
        drawing.text(140, y + height / 2 + 4.5, words)
    drawing.text(140, 202, "never touched: takes no memory", "small")
    drawing.text(20, 280, "low addresses", "small", "start")
    drawing.parts.append('<path class="take" d="M266 26 H272 V138 H266"/>')
    drawing.text(278, 79, "one page:", "small take", "start")
    drawing.text(278, 93, "all that is used", "small take", "start")
    return drawing


PICTURES: dict[str, Callable[[], Drawing]] = {
    draw.__name__: draw for draw in (none, mutex, release, magazine, block)
}


class Picture(SphinxDirective):
    """Shows one of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        svg = PICTURES[self.arguments[0]]().svg()
        return [nodes.raw("", svg, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
