"""The module `greenlet._greenlet`: what the package holds, and what its tests use."""

import copool._settings  # the environment's, before the first stack is taken
from copool._core import _greenlet_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    def __getattr__(name: str) -> Any: ...


globals().update(_greenlet_names())
del copool, _greenlet_names, TYPE_CHECKING
