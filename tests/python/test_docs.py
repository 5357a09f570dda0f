"""The examples in docstrings run."""

import doctest

import pytest

import copool
import copool._pool
import copool.aio


@pytest.mark.parametrize(
    "module", [copool, copool._pool, copool.aio], ids=lambda m: m.__name__
)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


def test_all_names_are_there():
    assert [name for name in copool.__all__ if not hasattr(copool, name)] == []
