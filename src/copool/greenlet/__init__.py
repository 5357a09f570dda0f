"""Stands in for the package greenlet, so that its users run on pooled coroutines.

`copool run` and the environment variable `COPOOL_GREENLET=1` switch it on from
outside. A program that does it itself calls `install()` before anything imports
greenlet:

    import copool.greenlet

    copool.greenlet.install()
    import gevent
"""

from copool._activation import install, installed

__all__ = ["install", "installed"]
