"""`copool run`: runs a program as python would, with copool in place of greenlet.

Until the program begins, only modules are imported that python has imported anyway,
and small ones of ours. From then on as little as can be shows that it was not
python that started it: `__main__` is a new module, and our frames are left out of
the traceback that ends the program.
"""

# What importlib.machinery has, without the time to import that.
import _frozen_importlib_external as machinery
import builtins
import os
import sys

from copool._activation import activate
from copool._source import compile_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType, TracebackType
    from typing import Any

_USAGE = "usage: copool run [--no-children] (SCRIPT | -m MODULE | -c CODE | -) [ARGS]"
_HELP = f"""{_USAGE}

Runs a Python program, as python would, with copool in place of greenlet: every
import of greenlet gives copool's, whether another one is installed or not.

  SCRIPT         a file, or a folder or zip file that has a __main__.py
  -m MODULE      a module or package
  -c CODE        a program given as text
  -              a program read from standard input

  --no-children  leave Python processes that the program starts as they are;
                 otherwise they have copool's greenlet as well
  -h, --help     show this

Options of Python's own go before: python -X dev -m copool run SCRIPT
"""

# Python comes back to its dictionary, with no reference to it, when all is over.
_started_as = sys.modules["__main__"]


def main(arguments: list[str]) -> int:
    """Run the program that the arguments name.

    Returns an exit status when it ends by itself or did not begin. What the
    program raises passes through, for Python to end the process with.
    """
    children = True
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            print(_HELP, end="")
            return 0
        if word == "--no-children":
            children = False
        elif word[:2] in ("-c", "-m"):
            if not (word[2:] or rest):
                return _misused(f"argument expected for the {word} option")
            start = _run_text if word[:2] == "-c" else _run_module
            activate(children=children)
            return _run(start, word[:2], word[2:] or rest.pop(0), rest)
        elif word.startswith("-") and word != "-":
            return _misused(
                f"unknown option {word} (one of Python's own goes before, as in: "
                f"python {word} -m copool run ...)"
            )
        else:
            start = _run_input if word == "-" else _run_file
            activate(children=children)
            return _run(start, word, word, rest)
    return _misused("a program is missing")


def _misused(what: str) -> int:
    print(f"{_USAGE}\ncopool run: {what}", file=sys.stderr)
    return 2


def _run(
    start: "Callable[[str, ModuleType], int]",
    name: str,
    program: str,
    arguments: list[str],
) -> int:
    """Let a program be the main module, under this name in sys.argv."""
    sys.argv[:] = [name, *arguments]
    module = type(sys)("__main__")
    # As in a main module that came from nowhere yet.
    module.__dict__.update(__builtins__=builtins, __loader__=sys.__spec__.loader)
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    sys.modules["__main__"] = module
    try:
        return start(program, module)
    except SystemExit:
        raise
    except BaseException:
        _leave_out_our_frames()
        raise


def _leave_out_our_frames() -> None:
    """Let the traceback that Python prints next begin in the program."""
    hook = sys.excepthook

    def show(
        kind: "type[BaseException]",
        error: BaseException,
        traceback: "TracebackType | None",
    ) -> "Any":
        sys.excepthook = hook
        while traceback and traceback.tb_frame.f_globals is not globals():
            traceback = traceback.tb_next
        while traceback and traceback.tb_frame.f_globals is globals():
            traceback = traceback.tb_next
        sys.last_traceback = traceback
        return hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show


def _run_text(text: str, module: "ModuleType") -> int:
    _set_first_folder("")
    text += "\n"
    if sys.version_info >= (3, 13):
        # So that tracebacks show its lines.
        import linecache

        lines = [line + "\n" for line in text.splitlines()]
        linecache.cache["<string>"] = (len(text), None, lines, "<string>")
    exec(text, module.__dict__)
    return 0


def _run_input(name: str, module: "ModuleType") -> int:
    _set_first_folder("")
    text = sys.stdin.buffer.read()
    _set_file(module, "<stdin>")
    exec(compile_source(text, "<stdin>"), module.__dict__)
    return 0


def _run_module(name: str, module: "ModuleType") -> int:
    _set_first_folder(os.getcwd())
    return _run_as_main(name, alter_argv=True)


def _run_file(name: str, module: "ModuleType") -> int:
    path = name
    if not os.path.isabs(name):
        path = os.getcwd() if name in ("", ".") else os.path.join(os.getcwd(), name)
    if _holds_modules(path):
        # In front of the path even where the folder of a script would not be.
        sys.path[0 : not sys.flags.safe_path] = [path]
        return _run_as_main("__main__", alter_argv=False)
    _set_first_folder(os.path.dirname(os.path.realpath(name)))
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        print(
            f"{sys.orig_argv[0]}: can't open file {path!r}: "
            f"[Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        return 2
    _set_file(module, path)
    if path.endswith(".pyc") or content.startswith(machinery.MAGIC_NUMBER):
        module.__loader__ = machinery.SourcelessFileLoader("__main__", path)
        code = _unpacked(content)
    else:
        module.__loader__ = machinery.SourceFileLoader("__main__", path)
        code = compile_source(content, path)
    exec(code, module.__dict__)
    return 0


def _set_file(module: "ModuleType", path: str) -> None:
    module.__file__ = path
    if sys.version_info < (3, 15):
        module.__dict__["__cached__"] = None


def _unpacked(content: bytes) -> "CodeType":
    import marshal

    if not content.startswith(machinery.MAGIC_NUMBER):
        raise RuntimeError("Bad magic number in .pyc file")
    code: CodeType = marshal.loads(content[16:])
    return code


def _holds_modules(path: str) -> bool:
    """Whether Python can import from there: a folder or a zip file."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _run_as_main(name: str, *, alter_argv: bool) -> int:
    import runpy

    # What python itself calls, with its words for a module that it does not find.
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]
    return 0


def _set_first_folder(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder
