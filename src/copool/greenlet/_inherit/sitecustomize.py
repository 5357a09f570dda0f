"""Activates copool's greenlet in a child process, when Python starts up there.

The folder of this file stands in the child's PYTHONPATH. A child may be of any version
of Python: one that the core was not built for is left alone.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _activate() -> None:
    from _imp import extension_suffixes

    package = os.path.dirname(os.path.dirname(_HERE))
    core = os.path.join(package, "_core")
    if not any(os.path.exists(core + suffix) for suffix in extension_suffixes()):
        return
    folder = os.path.dirname(package)
    if folder not in sys.path:
        # Behind all that this process finds by itself.
        sys.path.append(folder)
    from copool._activation import activate

    activate(children=True)


def _give_way() -> None:
    """Import the module that this one hides.

    Where there is none, that fails as it does without us, which Python expects.
    """
    del sys.modules[__name__]
    hiding = [i for i, at in enumerate(sys.path) if os.path.abspath(at) == _HERE]
    taken = [(i, sys.path.pop(i)) for i in reversed(hiding)]
    try:
        __import__("sitecustomize")
    finally:
        for i, folder in reversed(taken):
            sys.path.insert(i, folder)


try:
    _activate()
except Exception as _error:
    sys.stderr.write("copool did not take the place of greenlet: " + str(_error) + "\n")
finally:
    _give_way()
