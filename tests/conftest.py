"""What all tests share: the pool must be whole after each of them."""

import gc

import pytest

import copool
from copool import _core


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
