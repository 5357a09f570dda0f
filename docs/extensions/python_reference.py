"""The reference of Python's names: `public` finds what there is to say of each.

    ```{api} copool.yield_
    ```

describes a name, with its members if it has any. A public name that no page describes,
or that is not described whole, fails the build.
"""

import re
import textwrap

import public
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)

PARAMETER = re.compile(r"^(\w+): ")


class Api(SphinxDirective):
    """Describes a public name."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Parse what `public` says of it, as a page."""
        module, _, name = self.arguments[0].rpartition(".")
        found = public.names(module)[name]
        self.env.note_dependency(str(found.path))
        for line in found.lacks():
            log.warning("%s.%s", module, line, location=self.get_location())
        described = getattr(self.env, "copool_described", set())
        self.env.copool_described = described | {self.arguments[0]}
        text = "\n".join([*_directive(module, found, ""), ""])
        node = nodes.Element()
        self.state.nested_parse(text.splitlines(), self.content_offset, node)
        return node.children


def _directive(module: str, found: public.Name, inside: str) -> list[str]:
    """Return the lines that describe it, and its members."""
    name = f"{inside}.{found.name}" if inside else found.name
    typed = found.kind in ("property", "attribute")
    kind = "class" if found.kind == "record" else found.kind
    fence = "`" * (6 if inside else 9)
    signature = "" if typed or found.kind == "exception" else found.signature
    lines = [f"{fence}{{py:{kind}}} {name}{signature}", f":module: {module}"]
    if typed:
        lines.append(f":type: {found.signature}")
    lines.append("")
    if found.kind == "exception":
        bases = found.signature.strip("()").split(", ")
        lines += [f"Bases: {', '.join(f'`{base}`' for base in bases)}", ""]
    lines += _page(module, inside or found.name, found.doc)
    for member in found.members:
        lines += ["", *_directive(module, member, name)]
    return [*lines, fence]


def _page(module: str, owner: str, doc: str) -> list[str]:
    """Return a docstring as a page: examples, lists of parameters, and links."""
    lines = []
    for block in re.split(r"\n\s*\n", doc):
        if block.lstrip().startswith(">>> "):
            lines += ["", "```pycon", *textwrap.dedent(block).splitlines(), "```", ""]
            continue
        linked = _linked(module, owner, block).splitlines()
        if PARAMETER.match(block):
            linked = [PARAMETER.sub(r"- *\1*: ", line) for line in linked]
        lines += [*linked, ""]
    return lines


def _linked(module: str, owner: str, text: str) -> str:
    """Let code that is a public name lead to it, and a page that is named to that."""

    def link(code: re.Match[str]) -> str:
        target = _target(module, owner, code[1].removesuffix("()"))
        return f"{{py:obj}}`{code[1]} <{target}>`" if target else code[0]

    text = re.sub(r"`([\w.]+(?:\(\))?)`", link, text)
    return re.sub(r"\bdocs/([\w-]+)\.md\b", r"[\1](/\1.md)", text)


def _target(module: str, owner: str, name: str) -> str | None:
    """Return what a name means in the text of another one, if that is public.

    A member comes before a function of the same name, and what is in the module
    itself before what is elsewhere.
    """
    if _has_member(module, owner, name):
        return f"{module}.{owner}.{name}"
    if name not in public.names(module):
        owners = [
            kind for kind in public.names(module) if _has_member(module, kind, name)
        ]
        if owners:
            return f"{module}.{owners[0]}.{name}" if len(owners) == 1 else None
    for other in (module, *public.MODULES):
        short = name.removeprefix(other + ".")
        if short in public.names(other):
            return f"{other}.{short}"
        kind, _, member = short.partition(".")
        if kind in public.names(other) and _has_member(other, kind, member):
            return f"{other}.{short}"
    return None


def _has_member(module: str, owner: str, name: str) -> bool:
    return any(name == member.name for member in public.names(module)[owner].members)


def check_all_are_described(app: Sphinx, env: object) -> None:
    """Warn of public names that no page describes."""
    described = getattr(env, "copool_described", set())
    for module in public.MODULES:
        for name in public.names(module):
            if f"{module}.{name}" not in described:
                log.warning("no page describes %s.%s", module, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have Sphinx use it."""
    app.add_directive("api", Api)
    app.connect("env-check-consistency", check_all_are_described)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
