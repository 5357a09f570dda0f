"""Modules that annotations name and few programs need."""

import sys


class Later:
    """Stands for a module, which is imported when an attribute of it is asked for.

    So `typing.get_type_hints()` finds what it looks for in the globals of a function.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):  # who looks through a module wants none
            raise AttributeError(attribute)
        __import__(self._name)
        found: object = getattr(sys.modules[self._name], attribute)
        return found
