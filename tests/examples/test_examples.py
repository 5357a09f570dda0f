"""Each example runs as a program, and prints what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

PRINTED = {
    "callbacks.py": """\
start menu
start dish
text soup
that will do
Today: soup, then stew.
""",
    "fastapi_sqlalchemy.py": """\
  500 requests, sent at once
  500 right answers
   10 connections in use at a time, at the most
    0 of them in use at the end
    1 thread for the endpoints, the server and the client
   10 threads of aiosqlite, one for each connection
    0 other threads
 0.00 seconds
""",
    "flask_on_asyncio.py": """\
  500 requests, sent at once and answered
  500 of them in the view at the same time
    1 thread for the views, the server and the client
    4 threads of aiosqlite, one for each connection
  500 seats taken, says the file
 0.00 seconds
""",
    "same_fringe.py": """\
same shape:     True
other shape:    True
other leaf:     False
one leaf more:  False
500 levels:     True
""",
    "merge_names.py": """\
7 names, 4 of them different; most often:
       2 b
       2 c
       2 d
       1 A
3 coroutines, at most 3 of them alive, 0 on a stack used before
""",
    "turns.py": "",
    "xml_stream.py": """\
roof    12:00  21.5 degrees, with 57 of 280 bytes sent
cellar  12:00  11.0 degrees, with 116 of 280 bytes sent
roof    12:10  21.0 degrees, with 152 of 280 bytes sent
cellar  12:10  11.0 degrees, with 188 of 280 bytes sent
roof    12:20  19.5 degrees, with 234 of 280 bytes sent
cellar  12:20  11.5 degrees, with 280 of 280 bytes sent
""",
}
# What they print are figures: tests of their own look at these.
MEASURES = ["metrics.py", "million.py"]
# Run by test_debugging_page.py, which has the pages that they are for.
DEBUGGED = ["hangs.py", "leaks.py"]
# test_outside.py, of commands, runs the one and looks at it with the other.
LOOKED_AT = ["clients.py", "walk_section.py"]
# Run by tests/compat, which has Playwright.
IN_COMPAT = ["plain_playwright.py"]
ARGUMENTS = {"merge_names.py": ["sample.py"]}
MEASURED = re.compile(r"^ *\d+\.\d\d(?= seconds$)", re.MULTILINE)
SAMPLE = "class C(A):\n    def f(self): return b\n    def g(self): c(d)\n"


@pytest.mark.parametrize(
    "example", [EXAMPLES / name for name in sorted(PRINTED)], ids=lambda p: p.name
)
def test_example_prints_what_it_should(example, tmp_path):
    (tmp_path / "sample.py").write_text(SAMPLE)
    result = subprocess.run(
        [sys.executable, str(example), *ARGUMENTS.get(example.name, [])],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=100,
    )
    printed = MEASURED.sub(" 0.00", result.stdout)
    assert (result.stderr, printed) == ("", PRINTED[example.name])


def test_every_example_here_is_run():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(
        [*PRINTED, *MEASURES, *DEBUGGED, *LOOKED_AT, *IN_COMPAT]
    )


# What the blocks of code in the pages need to be there before, and what they print.
LIBRARY = """\
class Cursor:
    async def fetchone(self): print("row")
class db:
    async def execute(query, parameters): return Cursor()
keys = "ab"
"""
IN_A_FOLDER = """\
import copool, os, tempfile
def main(): copool.Coroutine(print).enter("called")
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
"""
BLOCKS = {
    "README.md": [("", "1 2\n[3, 4]\n"), ("", "a\nb\n")],
    "docs/aio.md": [(LIBRARY, "row\nrow\n")],
    "docs/debugging.md": [(IN_A_FOLDER, "called\n")],
}


def blocks_of(page):
    """Those that are not programs, with a name; test_debugging_page.py runs these."""
    text = (ROOT / page).read_text()
    return re.findall(r"```python\n(?!# \w+\.py\n)(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    ("page", "index"),
    [(page, i) for page, found in BLOCKS.items() for i in range(len(found))],
)
def test_code_in_a_page_runs(page, index):
    before, printed = BLOCKS[page][index]
    result = subprocess.run(
        [sys.executable, "-c", before + blocks_of(page)[index]],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (result.stderr, result.stdout) == ("", printed)


def test_every_page_with_code_is_known():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    names = [str(page.relative_to(ROOT)) for page in pages]
    assert {name: len(blocks_of(name)) for name in names if blocks_of(name)} == {
        name: len(found) for name, found in BLOCKS.items()
    }


def test_the_readme_prints_what_its_comments_say():
    code = blocks_of("README.md")[0]
    promised = re.findall(r"^print.*# (.*)$", code, re.MULTILINE)
    assert promised == BLOCKS["README.md"][0][1].splitlines()
