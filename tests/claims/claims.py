"""What the pages say, and what each of it rests on: docs/claims.toml.

A claim is a phrase that stands on a page, and one of

  figure     a figure of benchmarks/figures.py with its arguments. The numbers in braces
             in the phrase are compared with it, in order, to `within` of their size
             (none: to the last digit that the page has)
  recorded   a recorded table, as "bench 3.13"; `cells` has, for each number in braces,
             how the table's title begins, a row and a column
  test       a test that keeps it, by its file's name and its own
  by         the command that makes it, where that takes long or needs a quiet machine
  once       how it was measured, where no command for it is kept

`python` is the versions that it is of. What is `long` is left out of a quick run.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "docs/claims.toml"
KINDS = ("figure", "recorded", "test", "by", "once")
VERSION = ".".join(map(str, sys.version_info[:2]))

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
RECORDED = re.compile(r"<!-- (\w+ 3\.\d+) -->(.*?)<!-- end -->", re.DOTALL)
UNIT = r"ns|µs|ms|s|bytes|KB|KiB|MB|MiB|GB|GiB|%|×|times"
FIGURE = re.compile(rf"(?<![\w.`=])\d[\d,.]*(?:[  ](?:{UNIT})|[×%])(?!\w)")
CELL = re.compile(r"\| [−+<≤]?\d[\d,.]* ?(?=\|)")
BRACES = re.compile(r"\{([^}]*)\}")
# A table of which each row names what keeps it.
KEPT = "the test that keeps it"


@dataclass(frozen=True)
class Claim:
    """A phrase of a page, and what it rests on."""

    page: str
    says: str
    kind: str
    source: str
    within: float = 0.0
    cells: tuple[tuple[str, str, str], ...] = ()
    python: tuple[str, ...] = ()
    long: bool = False

    @property
    def phrase(self) -> str:
        """As it stands on the page."""
        return flat(BRACES.sub(r"\1", self.says))

    @property
    def is_of_this_python(self) -> bool:
        """Whether the version that runs is among those that it is of."""
        return VERSION in self.python

    @property
    def numbers(self) -> list[str]:
        """Those in braces."""
        return BRACES.findall(self.says)

    def __str__(self) -> str:
        short = self.phrase if len(self.phrase) < 72 else self.phrase[:70] + "…"
        return f"{self.page}: {short!r}"


def flat(text: str) -> str:
    """Return a text as if it were one line."""
    return " ".join(text.split())


def read(path: Path = LIST) -> list[Claim]:
    """Return the claims of a list; raises ValueError where one is none."""
    claims = []
    for number, entry in enumerate(tomllib.loads(path.read_text())["claim"], start=1):
        kinds = [kind for kind in KINDS if kind in entry]
        if len(kinds) != 1:
            raise ValueError(f"claim {number} has {kinds or 'nothing'} to rest on")
        source = entry.pop(kinds[0])
        for name in ("cells", "python"):
            if name in entry:
                entry[name] = tuple(map(_frozen, entry[name]))
        claim = Claim(kind=kinds[0], source=source, **entry)
        if bool(claim.numbers) != (claim.kind in ("figure", "recorded")):
            raise ValueError(f"claim {number}: braces are for what is compared")
        if claim.kind == "recorded" and len(claim.cells) != len(claim.numbers):
            raise ValueError(f"claim {number}: a cell for each number")
        claims.append(claim)
    return claims


def _frozen(value: str | list[str]) -> str | tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else value


# --- pages ------------------------------------------------------------------


def pages() -> list[Path]:
    """Return the pages whose figures are asked for."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the heading and the text of what bears figures: prose, and each table.

    Recorded tables are left out, which commands have written; so are code and tables
    that say themselves what keeps them.
    """
    text = FENCE.sub("", RECORDED.sub("", text))
    for heading, section in _sections(text):
        prose, tables = [], []
        for block in re.split(r"\n\s*\n", section):
            lines = block.splitlines()
            rows = [line for line in lines if line.lstrip().startswith("|")]
            prose += [line for line in lines if not line.lstrip().startswith("|")]
            if rows and KEPT not in rows[0]:
                tables.append("\n".join(rows))
        if FIGURE.search("\n".join(prose)):
            yield heading, "\n".join(prose)
        for table in tables:
            if FIGURE.search(table) or CELL.search(table):
                yield heading, table


def _sections(text: str) -> Iterator[tuple[str, str]]:
    pieces = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    yield "", pieces[0]
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def unclaimed(page: str, text: str, claims: list[Claim]) -> list[str]:
    """Return the parts of a page, by heading and beginning, without a claim."""
    phrases = [claim.phrase for claim in claims if claim.page == page]
    return [
        f"{page}, {heading!r}: {flat(part)[:80]}"
        for heading, part in parts(text)
        if not any(phrase in flat(part) for phrase in phrases)
    ]


# --- what no longer holds ---------------------------------------------------


def standing(claim: Claim) -> str | None:
    """Say what is wrong with where a claim stands, if anything is."""
    page = ROOT / claim.page
    if page.is_file() and claim.phrase in flat(page.read_text()):
        return None
    others = [
        str(path.relative_to(ROOT))
        for path in pages()
        if claim.phrase in flat(path.read_text())
    ]
    return f"does not stand there{', but on ' * bool(others)}{' and '.join(others)}"


def named(claim: Claim) -> str | None:
    """Say what a claim names that is not there, if anything is."""
    source = claim.source
    lacks = False
    if claim.kind == "test":
        lacks = node(source) is None
    elif claim.kind == "by" and (target := re.match(r"make ([\w-]+)", source)):
        name = target[1].removeprefix("test-")
        lacks = not re.search(rf"(^|[\s-]){name}[\s:)]", text_of("Makefile"))
    elif claim.kind == "by" and (file := re.match(r"(?:python )?(\S+\.py)", source)):
        lacks = not text_of(file[1])
    elif claim.kind == "by":
        lacks = not re.match(r"copool (bench|simulate)\b", source)
    return f"rests on {source}, which is not there" if lacks else None


def node(test: str) -> str | None:
    """Return the node of pytest for a test, by the end of its file's path and its name.

    So that the list need not follow when files of tests are moved.
    """
    file, _, name = test.partition("::")
    found = [
        path
        for path in sorted((ROOT / "tests").rglob(file))
        if re.search(rf"^ *def {name}\(", path.read_text(), re.MULTILINE)
    ]
    return f"{found[0].relative_to(ROOT)}::{name}" if len(found) == 1 else None


def text_of(name: str) -> str:
    """Return the text of a file of the project, which is empty if there is none."""
    path = ROOT / name
    return path.read_text() if path.is_file() else ""


# As far as pages have them.
WORDS = {"eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "fifty": 50.0}


def number(text: str) -> float:
    """Return the number of a text such as 4,314, −0.73, "217 KiB" or eleven."""
    if text in WORDS:
        return WORDS[text]
    return float(
        re.search(r"[−-]?\d[\d,]*\.?\d*", text)[0].replace(",", "").replace("−", "-")
    )


def agrees(said: str, found: float, within: float) -> bool:
    """Whether what a page says is what was found, to its last digit or within."""
    value = number(said)
    decimals = re.search(r"\.(\d+)", said)
    half = 0.5 * 10 ** -(len(decimals[1]) if decimals else 0)
    return abs(value - found) <= max(half * 1.001, within * abs(value))


def compare(claim: Claim) -> str | None:
    """Say which numbers of a claim are not those that are found, if any are."""
    found = recorded(claim) if claim.kind == "recorded" else measure(claim.source)
    if len(found) != len(claim.numbers):
        return f"has {len(claim.numbers)} numbers, and {len(found)} were found"
    wrong = []
    for said, cell in zip(claim.numbers, found, strict=True):
        value = number(cell) * scale(said, cell) if isinstance(cell, str) else cell
        if not agrees(said, value, claim.within):
            shown = cell if isinstance(cell, str) else f"{cell:,.10g}"
            wrong.append(f"says {said}, and it is {shown}")
    return "; ".join(wrong) or None


@cache
def measure(figure: str) -> list[float | str]:
    """Return a figure of benchmarks/figures.py, of a process of its own."""
    name, *arguments = figure.split()
    if name == "tests":
        arguments[0] = node(arguments[0]) or arguments[0]
    command = [sys.executable, str(ROOT / "benchmarks/figures.py"), name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{figure}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def recorded(claim: Claim) -> list[str]:
    """Return the cells of a recorded table that a claim names, as they stand."""
    tables = dict(RECORDED.findall((ROOT / "docs/benchmarks.md").read_text()))
    cells = []
    for title, row, column in claim.cells:
        table = tables[claim.source].split(f"**{title}", 1)[1].split("\n\n")[1]
        head, _, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in table.strip().splitlines()
        )
        at = row.split(" / ")
        (found,) = [r for r in rows if r[: len(at)] == at]
        cells.append(found[head.index(column)])
    return cells


NANO = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
BYTES = {"bytes": 1, "KB": 1e3, "KiB": 1024}


def scale(said: str, cell: str) -> float:
    """Return what turns the unit of a cell into that of a text, which may have none."""
    for units in (NANO, BYTES):
        names = [re.search(rf"\b({'|'.join(units)})$", t.strip()) for t in (said, cell)]
        if all(names):
            return units[names[1][1]] / units[names[0][1]]
    return 1


def run_tests(nodes: list[str]) -> dict[str, str]:
    """Run tests; return those that do not pass, with what became of them."""
    if not nodes:
        return {}
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *nodes], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(FAILED|ERROR) ([^\s\[]+)", done.stdout, re.MULTILINE)
    bad = {node: outcome.lower() for outcome, node in found}
    if done.returncode not in (0, 1) and not bad:
        raise RuntimeError(f"pytest: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return bad


def installed() -> str:
    """Return the version of copool that is measured."""
    return importlib.metadata.version("copool")
