"""Adds the commands of copool to gdb: to be read with gdb's `source`.

A copy lies beside the library copool._core, with its name and `-gdb.py` behind it:
gdb reads that by itself when it sees the library, where that is allowed.
"""

import importlib
import importlib.util
import os
import sys


def _load() -> None:
    folder = os.path.dirname(os.path.realpath(__file__))
    if os.path.basename(folder) != "gdb":
        folder = os.path.join(folder, "commands", "gdb")
    # This runs as gdb's __main__: what it makes is a package of its own.
    spec = importlib.util.spec_from_file_location(
        "copool_gdb",
        os.path.join(folder, "__init__.py"),
        submodule_search_locations=[folder],
    )
    assert spec
    assert spec.loader
    # Another copool's, perhaps, of a program debugged before.
    for name in [name for name in sys.modules if name.startswith("copool_gdb")]:
        del sys.modules[name]
    package = importlib.util.module_from_spec(spec)
    sys.modules["copool_gdb"] = package
    spec.loader.exec_module(package)
    importlib.import_module("copool_gdb.commands").register()


_load()
del _load
