"""Functions of `copool` that few programs call: each loads its module by then."""

from copool._later import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import copool._follow as _follow
    import copool._profile as _profile
else:
    _follow, _profile = Later("copool._follow"), Later("copool._profile")


def follow() -> "_follow.Follow":
    """Let a tool that keeps one stack of calls follow switches, in a `with` statement.

    For viztracer, which is to be started before: `with VizTracer(), copool.follow():`.
    It then shows each call as often as its chain went on, for as long as it ran, in
    whatever thread. Needs Python 3.12 and raises RuntimeError before, or if no profiler
    is running.

    >>> import copool
    >>> with copool.follow():  # no tool has been started
    ...     pass
    Traceback (most recent call last):
    RuntimeError: ...
    """
    return _follow.Follow()


def profile() -> "_profile.Profile":
    """Return a profiler of calls that knows of switches, for a `with` statement.

    >>> import copool
    >>> with copool.profile() as profiler:
    ...     list(copool.Coroutine(lambda: copool.yield_(1)))
    [1]
    >>> profiler.print_stats("tottime")  # doctest: +SKIP

    It counts calls and measures times as `cProfile` does, with the same methods for
    what comes of it: `print_stats()`, `dump_stats()`, and what `pstats` reads. A
    coroutine and an awaited chain count as called by whoever enters them, for as long
    as they run; no time passes for them while they are suspended. A greenlet is not
    called by anybody.

    All threads are measured; on Python 3.11 the current one, and those that begin
    meanwhile. Entering it raises RuntimeError if one is running already, and
    ValueError if another profiler is.
    """
    return _profile.Profile()
