"""`copool run` behaves as python does with the same arguments."""

import os
import py_compile
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import copool

COPOOL = Path(sysconfig.get_path("scripts"), "copool")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}

DESCRIBE = """\
'''What it says of itself.'''
import re
import sys

def describe(value):
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))

for name, value in sorted(globals().items()):
    print(name, "=", "" if callable(value) else type(value), describe(value))
print(sys.modules["__main__"].__dict__ is globals())
print(sys.argv, sys.flags)
print([folder for folder in sys.path if not folder.endswith("_inherit")])
"""


def finished(command, *, text="", cwd=None, env=ENVIRONMENT):
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def python(*arguments, options=(), **more):
    return finished([sys.executable, *options, *arguments], **more)


def ours(*arguments, options=(), **more):
    return python("-m", "copool", "run", *arguments, options=options, **more)


def installed(*arguments, **more):
    return finished([COPOOL, "run", *arguments], **more)


@pytest.fixture
def programs(tmp_path):
    """A folder with one program in every form that python takes."""
    folder = tmp_path / "folder"
    package = tmp_path / "package"
    for inside in (folder, package):
        inside.mkdir()
        (inside / "__main__.py").write_text(DESCRIBE)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text(DESCRIBE)
    (tmp_path / "script.py").write_text(DESCRIBE)
    (folder / "script").write_text(DESCRIBE)
    (tmp_path / "link.py").symlink_to("folder/script")
    py_compile.compile(folder / "script", tmp_path / "compiled.pyc")
    py_compile.compile(folder / "script", tmp_path / "compiled")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", DESCRIBE)
    return tmp_path


@pytest.mark.parametrize("options", [(), ("-P",), ("-I", "-O")], ids="".join)
@pytest.mark.parametrize(
    "program",
    [
        ["script.py"],
        ["script.py", "-x", "--help", "--", "-m", "y z", ""],
        ["./script.py"],
        ["folder/../script.py", "x"],
        ["link.py"],
        ["folder/script"],
        ["compiled.pyc", "x"],
        ["compiled"],
        ["folder", "x"],
        ["./folder/"],
        ["archive.zip", "x"],
        ["-m", "package", "-c", "--no-children"],
        ["-m", "package.part", "x"],
        ["-mscript"],
        ["-c", DESCRIBE, "-m", "x"],
        ["-c" + DESCRIBE],
        ["-", "x"],
        ["-"],
    ],
    ids=lambda program: " ".join(program)[:24],
)
def test_a_program_sees_what_it_sees_under_python(programs, program, options):
    expected = python(*program, options=options, text=DESCRIBE, cwd=programs)
    assert ours(*program, options=options, text=DESCRIBE, cwd=programs) == expected


def test_an_absolute_path_and_the_working_directory_as_a_program(programs):
    script = programs / "script.py"
    assert ours(script) == python(script)
    folder = programs / "folder"
    assert ours(".", cwd=folder) == python(".", cwd=folder)


def test_the_installed_command_does_the_same(programs):
    for program in (["script.py", "x"], ["-m", "package"], ["-c", DESCRIBE]):
        assert installed(*program, cwd=programs) == python(*program, cwd=programs)


ENDINGS = {
    "by itself": "print('out')",
    "exit": "raise SystemExit",
    "exit with a number": "import sys; sys.exit(3)",
    "exit with text": "import sys; sys.exit('what it says')",
    "exit with an object": "import sys; sys.exit([1, 2])",
    "exit below try": "try:\n    exit(4)\nfinally:\n    print('finally')",
    "without cleaning up": "import os; os._exit(5)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "error": "def f():\n    return 1 / 0\nf()",
    "error with a cause": (
        "try:\n    {}[1]\nexcept KeyError as e:\n    raise OSError('no') from e"
    ),
    "errors in a group": "raise ExceptionGroup('some', [ValueError(1), OSError(2)])",
    "error below the library": "import json\njson.loads('{')",
    "syntax error": "print('not reached')\nx = = 1",
    "syntax error in what it compiles": "compile('a b', 'other', 'exec')",
    "wrong indentation": "if True:\npass",
    "interrupt": "raise KeyboardInterrupt",
    "interrupt by a signal": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()"
    ),
    "own hook": (
        "import sys, traceback\n"
        "def hook(kind, error, tb):\n"
        "    print(kind, error, traceback.extract_tb(tb))\n"
        "    print(sys.excepthook is hook, sys.last_value is error)\n"
        "    print(sys.last_traceback is tb is error.__traceback__)\n"
        "sys.excepthook = hook\n"
        "1 / 0\n"
    ),
    "threads and callbacks, in order": (
        "import atexit, threading\n"
        "go = threading.Event()\n"
        "atexit.register(print, 'at exit')\n"
        "threading.Thread(target=lambda: print('thread', go.wait())).start()\n"
        "atexit.register(lambda: print(__name__))\n"
        "threading._register_atexit(go.set)\n"
        "print('end')\n"
        "1 / 0\n"
    ),
    "its names are cleared last": (
        "class Last:\n"
        "    def __del__(self, print=print):\n"
        "        print('deleted', __name__)\n"
        "last = Last()\n"
    ),
}


@pytest.mark.parametrize("form", ["script", "-m", "-c", "-", "folder"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_as_under_python(tmp_path, form, ending):
    code = ENDINGS[ending]
    (tmp_path / "p.py").write_text(code)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "__main__.py").write_text(code)
    words = {
        "script": ["p.py"],
        "-m": ["-m", "p"],
        "-c": ["-c", code],
        "-": ["-"],
        "folder": ["f"],
    }[form]
    expected = python(*words, text=code, cwd=tmp_path)
    assert ours(*words, text=code, cwd=tmp_path) == expected
    assert installed(*words, text=code, cwd=tmp_path) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"# coding: latin-1\nprint(ascii('\xe9'), __doc__)\n",
        b"\xef\xbb\xbfprint(ascii('\xc3\xa9'))",
        b"#\r\n'''x\r\ny'''\r\nprint(repr(__doc__))\r\n",
        b"",
        b"from __future__ import annotations\nx: y = 1\nprint(__annotations__)",
    ],
    ids=["coding", "mark", "line ends", "empty", "future"],
)
def test_a_script_is_read_as_python_reads_it(tmp_path, text):
    (tmp_path / "p.py").write_bytes(text)
    assert ours("p.py", cwd=tmp_path) == python("p.py", cwd=tmp_path)


def test_a_null_byte_in_a_script_is_a_syntax_error(tmp_path):
    (tmp_path / "p.py").write_bytes(b"x = '\0'")
    status, _, errors = ours("p.py", cwd=tmp_path)
    assert (status, errors) == (
        1,
        "SyntaxError: source code cannot contain null bytes\n",
    )


@pytest.mark.parametrize("words", [["p.py"], ["-m", "p"]], ids=" ".join)
def test_an_interrupt_from_outside_ends_it_by_the_signal(tmp_path, words):
    (tmp_path / "p.py").write_text("print('ready', flush=True)\nwhile True: pass\n")
    with subprocess.Popen(
        [COPOOL, "run", *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert os.path.dirname(copool.__file__) not in errors


@pytest.mark.parametrize(
    "program",
    [
        ["missing.py"],
        ["/missing/script.py"],
        ["-m", "missing"],
        ["-m", "package"],
        ["-m", "package.missing"],
        ["-m", "failing.part"],
        ["package"],
        ["not.pyc"],
        [""],
    ],
    ids=" ".join,
)
def test_what_cannot_be_run_is_told_in_pythons_words(tmp_path, program):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "failing").mkdir()
    (tmp_path / "failing" / "__init__.py").write_text("1 / 0")
    (tmp_path / "not.pyc").write_text("not compiled at all")
    expected = python(*program, cwd=tmp_path)
    assert expected[0] != 0
    assert ours(*program, cwd=tmp_path) == expected
    assert installed(*program, cwd=tmp_path) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "a program is missing"),
        (["--no-children"], "a program is missing"),
        (["-c"], "argument expected for the -c option"),
        (["-m"], "argument expected for the -m option"),
        (["-u", "script.py"], "python -u -m copool run"),
        (["--children", "script.py"], "unknown option --children"),
    ],
)
def test_wrong_usage_is_told_on_standard_error(arguments, told):
    status, printed, errors = ours(*arguments)
    assert (status, printed) == (2, "")
    assert errors.startswith("usage: copool run ")
    assert told in errors


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_form(option):
    status, printed, errors = ours(option)
    assert (status, errors) == (0, "")
    for word in ("SCRIPT", "-m MODULE", "-c CODE", "--no-children"):
        assert word in printed


def test_help_behind_the_program_is_the_programs():
    result = ours("-c", "import sys; print(sys.argv)", "--help")
    assert result == (0, "['-c', '--help']\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("words", [["p.py"], ["-m", "p"]], ids=" ".join)
def test_multiprocessing_finds_the_program_again(tmp_path, method, words):
    (tmp_path / "p.py").write_text(
        "import multiprocessing, sys\n"
        "def work(n):\n"
        "    return n * n, sys.argv[1:]\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        print(pool.map(work, range(3)))\n"
    )
    expected = python(*words, "x", cwd=tmp_path)
    assert expected[0] == 0
    assert ours(*words, "x", cwd=tmp_path) == expected


MODULES = "import sys; print(*sorted(sys.modules))"


def modules(command, **more):
    status, printed, errors = finished(command, **more)
    assert (status, errors) == (0, "")
    # A debug build looks up that encoding for any module in C.
    return set(printed.split()) - {"encodings.ascii"}


@pytest.mark.parametrize("form", ["script", "-c"])
def test_nothing_is_imported_but_a_few_small_modules(tmp_path, form):
    (tmp_path / "p.py").write_text(MODULES)
    words = ["p.py"] if form == "script" else ["-c", MODULES]
    plain = modules([sys.executable, *words], cwd=tmp_path)
    assert modules([COPOOL, "run", *words], cwd=tmp_path) - plain == {
        "copool",
        "copool.__main__",
        "copool._activation",
        "copool._run",
        "copool._source",
    }


def test_importing_greenlet_imports_the_core_and_little_else():
    plain = modules([sys.executable, "-c", "import atexit; " + MODULES])
    loaded = modules([COPOOL, "run", "-c", "import greenlet; " + MODULES])
    assert loaded - plain == {
        "copool",
        "copool.__main__",
        "copool._activation",
        "copool._core",
        "copool._run",
        "copool._settings",
        "copool._source",
        "greenlet",
        "greenlet._greenlet",
    }
