"""sys.setrecursionlimit() accepts as low a limit with copool as without it."""

import pytest

pytestmark = pytest.mark.isolated

LEAST_LIMIT = """
import sys
{}
before = sys.getrecursionlimit()
for limit in range(1, before):
    try:
        sys.setrecursionlimit(limit)
    except RecursionError:
        continue
    sys.setrecursionlimit(before)
    print(limit)
    break
"""


def test_limit_may_be_as_low_as_without_copool(python):
    without, with_it = (
        python(LEAST_LIMIT.format(first)) for first in ("", "import copool._core")
    )
    assert (with_it.code, with_it.errors) == (0, "")
    assert with_it.lines == without.lines
