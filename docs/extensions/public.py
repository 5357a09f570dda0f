"""What is public: names, with the types and docstrings that sources and stubs have.

The site's reference is made from it, and the tests look at the same.
"""

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

MODULES = ("copool", "copool.aio", "copool.greenlet")
# Made when it is asked for, since it inherits from what may not be installed.
ALSO = {"copool.aio": ("CantWait",)}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Name:
    """A public name, or a member of one."""

    name: str
    kind: str
    """A function, class, record, exception, method, property or attribute."""
    signature: str
    """Its parameters and what it returns, or its type."""
    doc: str
    members: "list[Name]" = field(default_factory=list)
    path: Path | None = None
    """Where it is described, if it is no member."""

    def lacks(self) -> list[str]:
        """Say what a reader would miss: nothing, if it is described whole."""
        wanted = {
            "function": {"what it raises", "a thread rule", "an example"},
            "class": {"what it raises", "a thread rule", "an example"},
            "record": {"a thread rule", "an example"},
            "exception": {"an example"},
            "method": {"what it raises"},
        }.get(self.kind if self.name[:2] != "__" else "", set())
        there = {
            "what it raises": re.search(r"\braise[sd]?\b", self.doc, re.IGNORECASE),
            "a thread rule": re.search(r"\bthreads?\b", self.doc),
            "an example": ">>> " in self.doc,
        }
        missing = [] if self.doc else ["a docstring"]
        if self.kind in ("property", "attribute") and not self.signature:
            missing.append("a type")
        missing += sorted(what for what in wanted if not there[what])
        found = [f"{self.name} has not {what}" for what in missing]
        return found + [line for member in self.members for line in member.lacks()]


def examples(module: str) -> Iterator[tuple[str, str]]:
    """Yield what shows examples: names, and the docstrings that have some."""
    documented = [Name(module, "module", "", importlib.import_module(module).__doc__)]
    for found in [*documented, *names(module).values()]:
        for described in [found, *found.members]:
            if ">>> " in described.doc:
                yield described.name, described.doc


@functools.cache
def names(module: str) -> dict[str, Name]:
    """Return the public names of a module of copool's."""
    there = importlib.import_module(module)
    public = [name for name in there.__all__ if not name.startswith("__")]
    return {name: _find(module, name) for name in [*public, *ALSO.get(module, ())]}


def _find(module: str, name: str) -> Name:
    path = _text_of(module)
    nodes = list(_nodes(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name == name:
            found = _describe(node)
            found.path = path
            return found
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names):
            return _find(node.module, name)
    for node in nodes:  # another name for something
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return replace(_find(module, ast.unparse(node.value)), name=name)
    raise LookupError(f"{path} has no {name}")


def _text_of(module: str) -> Path:
    """Return the file that has the types of a module: its stub, or else its source."""
    package = Path(importlib.import_module("copool").__file__).parent
    place = package.joinpath(*module.split(".")[1:])
    candidates = [place.with_suffix(".pyi"), place.with_suffix(".py")]
    return next(p for p in [*candidates, place / "__init__.py"] if p.is_file())


def _nodes(tree: ast.AST):
    """Yield what a module's text defines and imports, also for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If):
            yield from _nodes(node)


def _describe(node: "ast.FunctionDef | ast.ClassDef") -> Name:
    doc = ast.get_docstring(node) or ""
    if not isinstance(node, ast.ClassDef):
        return Name(node.name, "function", _signature(node, skip=0), doc)
    bases = [ast.unparse(base) for base in node.bases]
    if any(base.endswith(("Error", "Exception")) for base in bases):
        return Name(node.name, "exception", f"({', '.join(bases)})", doc)
    makers = [n for n in node.body if getattr(n, "name", "") in ("__new__", "__init__")]
    maker = next((n for n in makers if not _has(n, "overload")), None)
    signature = _signature(maker, skip=1, returns=False) if maker else ""
    kind = (
        "record"
        if any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        else "class"
    )
    return Name(node.name, kind, signature, doc, list(_members(node)))


def _members(node: ast.ClassDef):
    following = [*node.body[1:], None]
    for child, after in zip(node.body, following, strict=True):
        name = child.target.id if isinstance(child, ast.AnnAssign) else None
        if isinstance(child, FUNCTIONS):
            name = child.name
        if not name or (name.startswith("_") and not _is_called(child)):
            continue
        if isinstance(child, ast.AnnAssign):
            doc = after.value.value if _is_text(after) else ""
            kind, signature = "attribute", ast.unparse(child.annotation).strip("'")
        elif _has(child, "property"):
            doc = ast.get_docstring(child) or ""
            kind, signature = "property", ast.unparse(child.returns)
        else:
            doc = ast.get_docstring(child) or ""
            kind, signature = "method", _signature(child, skip=1)
        yield Name(name, kind, signature, doc.strip())


def _is_called(child: ast.AST) -> bool:
    """Whether it is a special method that has something to say."""
    name = getattr(child, "name", "")
    made = name in ("__new__", "__init__", "__call__", "__reduce__")
    return name.endswith("__") and not made and bool(ast.get_docstring(child))


def _is_text(node: "ast.AST | None") -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _has(node: ast.AST, decorator: str) -> bool:
    return any(ast.unparse(d) == decorator for d in getattr(node, "decorator_list", ()))


def _signature(node: ast.FunctionDef, skip: int, returns: bool = True) -> str:
    """Return it without its first parameters: self, or cls."""
    args = node.args
    taken = args.posonlyargs if args.posonlyargs else args.args
    del taken[:skip]
    for arg in [
        *args.posonlyargs,
        *args.args,
        *args.kwonlyargs,
        args.vararg,
        args.kwarg,
    ]:
        # Quoted since it is imported for type checkers only.
        if arg and isinstance(arg.annotation, ast.Constant):
            arg.annotation = ast.parse(arg.annotation.value, mode="eval").body
    text = f"({ast.unparse(args)})"
    if returns and node.returns:
        text += f" -> {ast.unparse(node.returns).strip(chr(39))}"
    return text
