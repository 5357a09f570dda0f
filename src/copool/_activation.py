"""Puts copool's `greenlet` in front of an installed one, here and in child processes.

Every process that inherits it imports this module at start-up, most of them for
nothing. So it imports what is there anyway; the rest waits until `greenlet` is
imported.
"""

# What importlib.machinery and importlib.util have, without the time to import these.
import _frozen_importlib_external as machinery
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType

VERSION = "3.5.6"
"""The version of greenlet whose interface ours has."""

_GREENLET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "greenlet")
_DROP_IN = os.path.join(_GREENLET, "_drop_in")
_INHERIT = os.path.join(_GREENLET, "_inherit")
_PACKAGE = os.path.join(_DROP_IN, "__init__.py")
_EXTENSION = os.path.join(_DROP_IN, "_greenlet.py")


def install(*, children: bool = True) -> None:
    """Let `import greenlet` give copool's, whether another one is installed or not.

    children: whether Python processes started from here do the same. Their
        environment then has `COPOOL_GREENLET=1`, and `PYTHONPATH` begins with a folder
        of copool's.

    Calling it again changes nothing. It holds for all threads. Never switches. Raises
    RuntimeError when another greenlet is already imported, and in a sub-interpreter.

    >>> import copool.greenlet
    >>> copool.greenlet.install(children=False)
    >>> import greenlet
    >>> greenlet.greenlet(max).switch(1, 2)
    2
    """
    if not in_main_interpreter():
        raise RuntimeError(
            "copool's greenlet is for the main interpreter only: call "
            "copool.greenlet.install() there, and use copool.Coroutine here"
        )
    activate(children=children)


def installed() -> bool:
    """Whether `import greenlet` gives copool's, in whatever thread. Never raises.

    >>> import copool.greenlet
    >>> copool.greenlet.install(children=False)
    >>> copool.greenlet.installed()
    True
    """
    return _finder_stands() and foreign() is None


def activate(*, children: bool) -> None:
    """Do what `install()` does, in any interpreter.

    In a sub-interpreter it is the import of greenlet that raises RuntimeError.
    """
    if another := foreign():
        raise RuntimeError(
            "another greenlet is already imported, from "
            f"{getattr(another, '__file__', None) or another!r}: call "
            "copool.greenlet.install() before anything imports greenlet, or start "
            "the program with 'copool run'"
        )
    if not _finder_stands():
        sys.meta_path.insert(0, Finder)
    if children:
        _hand_on()


def foreign() -> "ModuleType | None":
    """Return the greenlet that is imported and is not copool's, or None."""
    for name in ("greenlet", "greenlet._greenlet"):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None) or ""
        if module and os.path.dirname(file) != _DROP_IN:
            return module
    return None


def _finder_stands() -> bool:
    # By name: this module may have been dropped and imported again.
    return any(getattr(f, "__module__", None) == __name__ for f in sys.meta_path)


def _hand_on() -> None:
    folders = os.environ.get("PYTHONPATH")
    if not folders:
        os.environ["PYTHONPATH"] = _INHERIT
    elif _INHERIT not in folders.split(os.pathsep):
        os.environ["PYTHONPATH"] = _INHERIT + os.pathsep + folders
    # For children that ignore PYTHONPATH: copool.pth looks at it.
    os.environ["COPOOL_GREENLET"] = "1"
    # For children that get this very path as their PYTHONPATH.
    if _INHERIT not in sys.path:
        sys.path.append(_INHERIT)


def in_main_interpreter() -> bool:
    """Whether this is the interpreter that the process began with."""
    if sys.version_info >= (3, 12):
        from _thread import _is_main_interpreter

        return _is_main_interpreter()
    import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]

    return bool(interpreters.get_current() == interpreters.get_main())


class Finder:
    """Finds `greenlet` and `greenlet._greenlet`, and the version of the former."""

    @staticmethod
    def find_spec(
        name: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Find copool's; leave all other modules to the finders that follow."""
        if name == "greenlet":
            # What else an installed one has, such as greenlet.tests, stays there.
            return machinery.spec_from_file_location(
                name,
                _PACKAGE,
                submodule_search_locations=[_DROP_IN, *_installed_folders()],
            )
        if name == "greenlet._greenlet":
            return machinery.spec_from_file_location(name, _EXTENSION)
        return None

    @staticmethod
    def find_distributions(
        context: "DistributionFinder.Context | None" = None,
    ) -> "Iterable[Distribution]":
        """Find the metadata of greenlet when it is asked for by name."""
        if context is None or (context.name or "").lower() != "greenlet":
            return []
        from copool._metadata import DropIn

        return [DropIn(VERSION)]


def _installed_folders() -> list[str]:
    spec = machinery.PathFinder.find_spec("greenlet")
    if spec is None or not spec.has_location:
        return []
    return list(spec.submodule_search_locations or [])
