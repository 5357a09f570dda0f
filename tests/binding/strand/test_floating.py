"""The floating-point unit's control belongs to the chain, its flags to the thread."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which(os.environ.get("CC", "cc"))

pytestmark = [
    pytest.mark.isolated,
    pytest.mark.skipif(not COMPILER, reason="needs a C compiler"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="is about MXCSR"),
]

PRELUDE = """
import ctypes
from copool import Coroutine, yield_
from copool.aio import await_, run_sync
from copool._core import _greenlet_names
greenlet, getcurrent = map(_greenlet_names().get, ("greenlet", "getcurrent"))
unit = ctypes.CDLL("{path}")

class Pause:
    def __await__(self):
        yield

def by_coroutine(fn):
    return Coroutine(fn).enter, yield_

def by_greenlet(fn):
    return greenlet(fn).switch, getcurrent().switch

def by_run_sync(fn):
    driven = run_sync(fn)
    def go():
        try:
            driven.send(None)
        except StopIteration:
            pass
    return go, lambda: await_(Pause())

FACES = [by_coroutine, by_greenlet, by_run_sync]
"""

SCRIPTS = {
    "control is kept, and a new chain has its starter's": """
PLAIN = unit.get_control()
CONTROLS = {
    "flush to zero": PLAIN | 0x8000,
    "denormals are zero": PLAIN | 0x40,
    "round down": PLAIN | 0x2000,
    "trap division by zero": PLAIN & ~0x200,
}
for control in CONTROLS.values():
    for face in FACES:
        def body():
            seen.append(unit.get_control())
            unit.set_control(control)
            pause()
            seen.append(unit.get_control())
        seen = []
        go, pause = face(body)
        unit.set_control(PLAIN | 0x4000)
        go()
        seen.append(unit.get_control())
        unit.set_control(PLAIN)
        go()
        seen.append(unit.get_control())
        assert seen == [PLAIN | 0x4000, PLAIN | 0x4000, control, PLAIN], (face, seen)
print("kept")
""",
    "so is what <fenv.h> sets": """
PLAIN = unit.get_control()
one, three = 1.0, 3.0
for face in FACES:
    def body():
        unit.set_rounding(1)
        pause()
        assert one / three * three > one and unit.get_control() == PLAIN | 0x4000
    go, pause = face(body)
    go()
    assert unit.get_control() == PLAIN
    go()
    assert unit.get_control() == PLAIN
print("kept")
""",
    "flags pass on as they are": """
for control in (0, 0x8000):
    for face in FACES:
        def body():
            unit.set_control(unit.get_control() | control)
            unit.clear_flags()
            unit.be_inexact()
            pause()
            assert not unit.is_inexact()
            pause()
            assert unit.is_inexact()
            unit.clear_flags()
        go, pause = face(body)
        go()
        assert unit.is_inexact()
        unit.clear_flags()
        go()
        assert not unit.is_inexact()
        unit.be_inexact()
        go()
        assert not unit.is_inexact()
print("kept")
""",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("floating") / "floating.so"
    source = Path(__file__).with_name("floating.c")
    options = ["-O1", "-shared", "-fPIC", source, "-o", path, "-lm"]
    subprocess.run([COMPILER, *options], check=True)
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_control_belongs_to_the_chain(python, library, name):
    done = python(PRELUDE.replace("{path}", str(library)) + SCRIPTS[name])
    assert (done.lines, done.code, done.errors) == (["kept"], 0, "")
