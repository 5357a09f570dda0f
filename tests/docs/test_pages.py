"""The code in the pages of docs that lie in folders: all of it runs.

A block of `python` is a program, and prints what stands in the block of `text` that
follows it. One that begins with `# name.py` is a file for the blocks of `console`,
whose commands print what stands below them; `…` stands for anything. A block of `py` is
a piece of a program, and one of `sh` is for the reader's machine: neither is run.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n*(?:^```text\n(.*?)^```$)?", re.M | re.S)
FILE = re.compile(r"# (\w+\.py)\n")
OTHERS = ("gevent", "celery", "sqlalchemy", "aiosqlite", "greenlet")
NEWER = ("concurrent.interpreters",)
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def pages():
    return sorted(DOCS.glob("*/*.md"))


def blocks(kind):
    """Return those of a kind that are no files: page, code, and what it prints."""
    found = []
    for page in pages():
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[1] != kind or FILE.match(match[2]):
                continue
            line = text[: match.start()].count("\n") + 1
            name = f"{page.relative_to(DOCS)}:{line}"
            found.append(pytest.param(page, match[2], match[3] or "", id=name))
    return found


def run(command, folder):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        timeout=100,
    )
    return done.stdout + done.stderr


def skip_if_it_needs_what_is_not_there(code):
    for name in (*OTHERS, *NEWER):
        used = re.search(rf"\b(?:import|from) {name}\b", code)
        if used and importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")


def is_as_said(said, printed):
    parts = map(re.escape, said.strip().split("…"))
    return re.fullmatch(".*".join(parts), printed.strip(), re.DOTALL)


def files_of(page):
    text = page.read_text()
    found = [m[2] for m in BLOCK.finditer(text) if m[1] == "python"]
    return {FILE.match(code)[1]: code for code in found if FILE.match(code)}


@pytest.mark.parametrize(("page", "code", "printed"), blocks("python"))
def test_program_prints_what_the_page_says(page, code, printed, tmp_path):
    skip_if_it_needs_what_is_not_there(code)
    for name, text in {**files_of(page), "program.py": code}.items():
        (tmp_path / name).write_text(text)
    found = run([sys.executable, "program.py"], tmp_path)
    assert is_as_said(printed, found), found


@pytest.mark.parametrize(("page", "code", "printed"), blocks("console"))
def test_commands_print_what_the_page_says(page, code, printed, tmp_path):
    for name, text in files_of(page).items():
        skip_if_it_needs_what_is_not_there(text)
        (tmp_path / name).write_text(text)
    assert printed == ""
    commands = "\n".join(line[2:] for line in code.splitlines() if line[:2] == "$ ")
    said = "\n".join(line for line in code.splitlines() if line[:2] != "$ ")
    found = run(["bash", "-e", "-c", commands], tmp_path)
    assert is_as_said(said, found), found


@pytest.mark.parametrize(("page", "code", "printed"), blocks("py"))
def test_piece_of_a_program_is_python(page, code, printed):
    compile(code, str(page), "exec")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_page_has_no_blocks_of_another_kind(page):
    kinds = set(re.findall(r"^```(?!\{)(\w+)$", page.read_text(), re.MULTILINE))
    assert kinds <= {"python", "py", "text", "console", "sh", "c", "toml", "ini"}


def test_files_are_run_by_a_command():
    for page in pages():
        commands = [m[2] for m in BLOCK.finditer(page.read_text()) if m[1] == "console"]
        for name in files_of(page):
            assert any(name.removesuffix(".py") in command for command in commands)
