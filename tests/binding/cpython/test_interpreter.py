"""An interpreter that copool does not know is refused; on others nothing is put off."""

import subprocess
import sys
import threading
import weakref

import pytest

import copool
from copool import Coroutine, _core, yield_

DEEP = 100_000


@pytest.mark.parametrize("version", [0x030A0000, 0x03100000, 0x04000000])
def test_another_version_is_refused(version):
    major, minor = version >> 24, version >> 16 & 0xFF
    ours = "{}.{}".format(*sys.version_info)
    match = rf"can't run on this CPython {major}\.{minor}\.0: it was built .* {ours}$"
    with pytest.raises(ImportError, match=match):
        _core._know(version, False)


def test_this_version_is_known():
    _core._know(sys.hexversion, False)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is nothing to find")
def test_an_interpreter_that_hides_its_limits_is_refused():
    with pytest.raises(ImportError, match="limits of the stack can't be found out"):
        _core._know(sys.hexversion, True)
    # And is as before.
    with pytest.raises(RecursionError):
        sorts()


def sorts(_=None):
    return sorted([1], key=sorts)


class Nest(list):
    """A list that can be referred to weakly."""


def frees():
    """Whether what is not referred to any more is freed at once."""
    inner = Nest()
    alive = weakref.ref(inner)
    for _ in range(DEEP):
        inner = [inner]
    assert alive() is not None
    inner = None
    return alive() is None


class TestFreeing:
    """CPython puts it off when it thinks that there is no stack left for it."""

    def test_deep_containers_are_freed_in_a_coroutine(self):
        assert frees()
        assert Coroutine(frees).enter()

    def test_when_it_goes_on(self):
        def body():
            while True:
                yield_(frees())

        co, other = Coroutine(body), Coroutine(body)
        assert [co.enter(), other.enter(), co.enter(), other.enter()] == [True] * 4
        assert frees()

    def test_in_a_thread_and_nested(self):
        results = []

        def outer():
            results.append(Coroutine(frees).enter())
            results.append(frees())

        thread = threading.Thread(target=lambda: Coroutine(outer).enter())
        thread.start()
        thread.join()
        assert results == [True, True]

    def test_in_the_smallest_stack(self, settings):
        with pytest.raises(ValueError, match="CPython needs at least") as caught:
            copool.configure(stack_size=1)
        copool.configure(stack_size=int(str(caught.value).split()[-1]))
        assert Coroutine(frees).enter()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="no limits are to be wrong")
def test_a_face_that_is_not_freed_yet_is_not_unwound():
    """On the stack of a library that does not set the limits nothing is freed."""
    script = """
import copool, ctypes
from copool import Coroutine, _core, yield_
api = ctypes.pythonapi
api.PyThreadState_Get.restype = ctypes.c_void_p
state = ctypes.c_void_p(api.PyThreadState_Get())
co = Coroutine(yield_)
co.enter()
set_limits = api.PyUnstable_ThreadState_SetStackProtection
set_limits(state, ctypes.c_void_p(2**50), ctypes.c_size_t(2**20))
del co
_core._unwind_all()
print(copool.stats().live)
api.PyUnstable_ThreadState_ResetStackProtection(state)
freed = [[]]
del freed
print(copool.stats().live)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n0\n"), done.stderr


IN_A_COROUTINE = """
from copool import Coroutine, yield_

def innermost():
    print("ready", flush=True)
    input()

def middle(_):
    return innermost()

def outermost():
    yield_()
    return sorted([1], key=middle)

co = Coroutine(outermost)
co.enter()
co.enter()
"""


@pytest.mark.skipif(sys.version_info < (3, 15), reason="new in 3.15")
def test_a_profiler_in_another_process_sees_a_whole_chain():
    """It takes a chain for torn that does not end in the thread's base frame."""
    unwinder = pytest.importorskip("_remote_debugging").RemoteUnwinder
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_COROUTINE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "ready\n"
        try:
            interpreters = unwinder(child.pid).get_stack_trace()
        except PermissionError as error:
            pytest.skip(f"no process may look into another: {error}")
        finally:
            child.communicate("\n")
    frames = interpreters[0].threads[0].frame_info
    assert [frame.funcname for frame in frames] == [
        "innermost",
        "middle",
        "outermost",
        "enter",
        "<module>",
    ]
