"""Imports what was compiled against greenlet's header, where nothing may not fit.

Such modules compare the size of the type with the header's and only warn when it has
grown: then their subclasses' fields would lie over ours.
"""

import importlib
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

import greenlet
from record import Record, provider

# From greenlet's header, on 64 bits: the object's head, and three pointers.
SIZE, WEAK_REFERENCES, DICTIONARY = 40, 16, 24

RECORD = Record()


def extensions(package: str) -> list[tuple[str, bool]]:
    """The names of a package's compiled modules; whether they use greenlet's C API."""
    (folder,) = find_spec(package).submodule_search_locations
    found = []
    for path in sorted(Path(folder).rglob(f"*{EXTENSION_SUFFIXES[0]}")):
        parts = path.relative_to(folder).with_suffix("").with_suffix("").parts
        found.append(
            (".".join((package, *parts)), b"greenlet._C_API" in path.read_bytes())
        )
    return found


def check(test, act):
    RECORD.begin(test)
    try:
        act()
    except Exception as error:
        RECORD.end(test, "failed", f"{type(error).__name__}: {error}")
    else:
        RECORD.end(test, "passed")


def check_layout():
    kind = greenlet.greenlet
    layout = kind.__basicsize__, kind.__weakrefoffset__, kind.__dictoffset__
    assert layout == (SIZE, WEAK_REFERENCES, DICTIONARY), layout
    assert kind.__itemsize__ == 0


def check_subclass():
    # A subclass in C begins where the header says that greenlet ends.
    from gevent._gevent_cgreenlet import Greenlet

    assert Greenlet.__base__ is greenlet.greenlet
    assert Greenlet.__basicsize__ > SIZE
    assert Greenlet.__weakrefoffset__ == WEAK_REFERENCES


def check_users():
    assert sum(uses for _, uses in found) >= 7 + 2, found


warnings.filterwarnings("error", message=".*size changed")
found = extensions("gevent") + extensions("greenlet.tests")
check("the layout of the type is that of the header", check_layout)
check("the modules that use the C API are among them", check_users)
for name, uses in found:
    what = "with its use of the C API" if uses else "which doesn't use the C API"
    check(f"{name} imports, {what}", lambda name=name: importlib.import_module(name))
check("gevent's subclass in C has its fields behind those of greenlet", check_subclass)
RECORD.say_provider(provider())
