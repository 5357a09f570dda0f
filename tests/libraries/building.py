"""Builds extension modules that are checked, once for each version of their source."""

import hashlib
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

# Beside the virtual environment's packages: it goes when they go.
BUILT = Path(sys.prefix) / "built"


def build(name: str, make: Callable[[Path], object], source: str) -> ModuleType:
    """Import the module that `make` leaves in the folder that it is given."""
    folder = BUILT / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    if not folder.exists():
        BUILT.mkdir(exist_ok=True)
        # Another process may be building it, too: whichever is first, both are right.
        made = Path(tempfile.mkdtemp(dir=BUILT))
        make(made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    path = next(folder.glob(f"{name}*.so"))
    loader = importlib.machinery.ExtensionFileLoader(name, os.fspath(path))
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")
