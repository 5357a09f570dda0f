"""What all tests share: the pool must be whole after each of them."""

import gc
import signal

import pytest

import copool
from copool import _core

# What a shell runs in the background is born with this ignored, and hands that on to
# the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--collect-always",
        action="store_true",
        help="run the garbage collector at every allocation that may run it",
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """What is there before a test is left alone: to visit it takes too long."""
    if not pyfuncitem.config.getoption("--collect-always"):
        return (yield)
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 1, 1)
    try:
        return (yield)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def live_blocks() -> int:
    stats = copool.stats()
    return stats.live + stats.live_retired


@pytest.fixture(autouse=True)
def pool_stays_whole():
    """No test leaves a started coroutine behind or a count that is wrong."""
    copool.trim()  # what is parked counts as live too
    before = live_blocks()
    yield
    copool.trim()
    if live_blocks() > before:
        gc.collect()
    assert live_blocks() <= before
    assert _core.check()


@pytest.fixture
def settings():
    """The pool's settings, which are put back after the test."""
    before = _core.options()
    yield before
    copool.configure(**before)


@pytest.fixture
def collected_by_hand():
    """For tests that tell when garbage is found."""
    gc.disable()
    yield
    gc.enable()
