"""Stands in for the package greenlet, so that its users run on pooled coroutines.

`copool run` and the environment variable `COPOOL_GREENLET=1` switch it on from
outside. A program that does it itself calls `install()` before anything imports
greenlet:

    import copool.greenlet

    copool.greenlet.install()
    import gevent
"""

from copool._activation import install, installed

__all__ = ["install", "installed", "show_callers"]


def show_callers(wanted: bool = True) -> None:
    """Let the frames of greenlets be followed by those of who has switched to them.

    That shows whole stacks in tracebacks of threads, profilers and debuggers: a
    greenlet's, and below it those of who was left for it, of gevent's hub for example.
    With greenlet itself a greenlet's outermost frame has no `f_back`, and so it is
    here unless this is called. It holds for greenlets that begin from now on, in all
    threads, and makes each switch slower by what telling of it takes. Never raises.
    `COPOOL_GREENLET_CALLERS=1` does it from outside.

    >>> import copool.greenlet
    >>> copool.greenlet.show_callers()
    >>> copool.greenlet.show_callers(False)
    """
    # As little as can be is imported before a program begins.
    from copool._core import _hang_greenlets

    _hang_greenlets(wanted)
