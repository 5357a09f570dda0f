from collections.abc import Awaitable, Callable, Iterator
from collections.abc import Coroutine as _Coroutine
from contextvars import Context
from types import CodeType, FrameType, GenericAlias
from typing import Any, Generic, Literal, NoReturn, ParamSpec, Self, TypeAlias, final

from typing_extensions import TypeVar

__version__: str

class CoroutineError(RuntimeError):
    """Wrong use of a coroutine; the message says what to do instead.

    >>> import copool
    >>> try:
    ...     copool.yield_()
    ... except copool.CoroutineError as error:
    ...     print(str(error).partition(":")[0])
    yield_() outside a coroutine
    """

class CoroutineExit(BaseException):
    """Unwinds a coroutine that is closed or dropped: its `finally` blocks run.

    `except Exception` lets it pass, as it should: a coroutine that catches it and
    yields again can't be closed.

    >>> import copool
    >>> def body():
    ...     try:
    ...         copool.yield_()
    ...     except copool.CoroutineExit:
    ...         print("unwound")
    ...         raise
    >>> co = copool.Coroutine(body)
    >>> co.enter()
    >>> co.close()
    unwound
    """

class PoolExhausted(MemoryError):
    """There is no stack left for another coroutine: a limit was met, or memory is full.

    The message names the limit, its value and how to raise it. The coroutine stays as
    it was, to be entered when another one has finished.

    >>> import copool
    >>> before = copool.stats().max_blocks
    >>> copool.configure(max_blocks=1)
    >>> def body():
    ...     copool.Coroutine(copool.yield_).enter()
    >>> try:
    ...     copool.Coroutine(body).enter()
    ... except copool.PoolExhausted:
    ...     print("one was all")
    one was all
    >>> copool.configure(max_blocks=before)
    """

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Y = TypeVar("_Y", default=Any)

_State: TypeAlias = Literal["created", "running", "waiting", "suspended", "finished"]

@final
class Coroutine(Generic[_Y]):
    """A call of `fn` that can stop, at any depth of calls, and go on later.

    Making one calls nothing and takes no stack; the first `enter()` does. It is an
    iterator, too: `for value in co` enters it for each value that it yields.
    `Coroutine[T]` is one that yields a T, for type checkers.

    fn: what it will call, with the arguments of the first `enter()`.
    context: the context variables that it runs with. By default a copy of those of who
        first enters it, made then; with a `contextvars.Context` that one itself; with
        "shared" those of who first enters it, so that what it sets is seen there.
    name: what it is called in messages and dumps; the name of `fn` unless given.

    Raises TypeError for what can't be called and for another context. It may be made in
    any thread, and stays in the one that first enters it. Dropping a suspended one ends
    it as `close()` does, in its own thread.

    >>> import copool
    >>> def countdown(n):
    ...     while n:
    ...         copool.yield_(n)
    ...         n -= 1
    ...     return "lift-off"
    >>> co = copool.Coroutine(countdown)
    >>> co.enter(2), co.enter(), co.enter()
    (2, 1, 'lift-off')
    >>> co.done
    True
    """

    def __new__(
        cls,
        fn: Callable[..., Any],
        /,
        *,
        context: Context | Literal["shared"] | None = None,
        name: str | None = None,
    ) -> Self: ...
    name: str | None
    """What it is called in messages and dumps. It may be set to another one."""

    def enter(self, *args: Any) -> _Y:
        """Run it until it yields or returns; return what it gave.

        The arguments of the first call go to its function. A later one takes one at
        most, which `yield_()` returns inside.

        Raises what the function raises; then it has finished. Raises `CoroutineError`
        if it is running, waits for one that it entered, has finished, or was first
        entered in another thread; `PoolExhausted` if there is no stack for it, and
        nothing has happened then; TypeError for too many arguments.

        >>> import copool
        >>> co = copool.Coroutine(lambda first: copool.yield_(first + 1) * 2)
        >>> co.enter(1), co.enter(21)
        (2, 42)
        """
    def throw(self, exc: BaseException | type[BaseException], /) -> _Y:
        """Raise an exception where it is suspended; else like `enter()`.

        One that has not begun runs nothing: it has finished then, and the exception is
        raised here. Raises what comes out of it, what `enter()` raises, and TypeError
        for what is no exception.

        >>> import copool
        >>> def body():
        ...     try:
        ...         copool.yield_()
        ...     except KeyError:
        ...         return "caught"
        >>> co = copool.Coroutine(body)
        >>> co.enter()
        >>> co.throw(KeyError)
        'caught'
        """
    def close(self) -> Any:
        """End it by raising `CoroutineExit` where it is suspended.

        Returns what it returns. One that has finished, or has not begun, returns None.
        Raises what the coroutine raises instead of letting the exit pass,
        `CoroutineError` if it yields again, is running, or belongs to another thread.

        >>> import copool
        >>> co = copool.Coroutine(copool.yield_)
        >>> co.enter()
        >>> co.close()
        >>> co.state
        'finished'
        """
    def __iter__(self) -> Iterator[_Y]: ...
    def __next__(self) -> _Y: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def state(self) -> _State:
        """Where it is: created, running, waiting, suspended or finished.

        One that waits has entered another one, and goes on when that yields or ends.
        """

    @property
    def done(self) -> bool:
        """Whether it has finished."""
    @property
    def caller(self) -> Coroutine[Any] | None:
        """The coroutine that entered it, or None.

        So while it is not entered, and if it was entered outside coroutines.
        """

    @property
    def frame(self) -> FrameType | None:
        """Its innermost frame, or None if it has none.

        While it runs, its frames are followed by those of who entered it.
        """

def yield_(value: Any = None, /) -> Any:
    """Stop the coroutine that runs: its `enter()` returns the value.

    Works at any depth of calls below its function, also below C code. Returns what the
    next `enter()` passes.

    Raises what `throw()` is given, `CoroutineExit` when it is closed, and
    `CoroutineError` outside a coroutine and in what `on_thread_stack()` calls. In a
    coroutine all code runs in one thread, that of who enters it.

    >>> import copool
    >>> co = copool.Coroutine(lambda: sorted("ba", key=copool.yield_))
    >>> co.enter()
    'b'
    >>> co.enter(2)
    'a'
    >>> co.enter(1)
    ['a', 'b']
    """

def on_thread_stack(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call `fn(*args, **kwargs)` on the thread's own C stack; return what it does.

    For libraries that look where the stack of the thread ends, such as a JVM. Outside a
    coroutine it is a plain call. What it calls may not yield, switch greenlets or wait
    in `await_()`, except in coroutines of its own: that raises `CoroutineError`.

    Raises what `fn` raises; TypeError for a generator function or an `async def`, whose
    calls run later; `CoroutineError` in a greenlet of another library, and in one
    interpreter below another. Nobody else in the thread goes on meanwhile.

    >>> import copool
    >>> co = copool.Coroutine(lambda: copool.on_thread_stack(max, 1, 2))
    >>> co.enter()
    2
    """

def current() -> Coroutine[Any] | None:
    """Return the coroutine that runs in this thread, or None outside one. Never raises.

    >>> import copool
    >>> copool.current() is None
    True
    >>> copool.Coroutine(lambda: copool.current().name, name="me").enter()
    'me'
    """

_Trace: TypeAlias = Callable[[str, tuple[Any, Any]], object]

def settrace(callback: _Trace | None, /) -> _Trace | None:
    """Have a function called after each switch in this thread; None for none.

    It gets the event, "switch" or "throw", and who was left and who goes on:
    coroutines, greenlets or awaited chains, None for the thread's own chain of calls.
    It is not told of switches that it makes itself. Returns the one of before.

    Raises TypeError for what can't be called. An exception in the callback ends tracing
    and is raised in who goes on.

    >>> import copool
    >>> events = []
    >>> copool.settrace(lambda event, who: events.append((event, who[1] is None)))
    >>> copool.Coroutine(int).enter()
    0
    >>> _ = copool.settrace(None)
    >>> events
    [('switch', False), ('switch', True)]
    """

def gettrace() -> _Trace | None:
    """Return what `settrace()` was last given in this thread, or None. Never raises.

    >>> import copool
    >>> copool.gettrace() is None
    True
    """

def _note(makers: bool, times: bool, /) -> None: ...
def _hang_greenlets(wanted: bool, /) -> None: ...
def _noted() -> tuple[bool, bool]: ...
def _dump(
    json: bool, limit: int | None, older_than: float, age: str | None, /
) -> str: ...
def _dump_on(
    signum: int, fd: int, json: bool, limit: int | None, chain: bool, /
) -> None: ...
def _dump_off(signum: int, /) -> bool: ...
def in_coroutine() -> bool:
    """Return whether `yield_()` has somebody to yield to, in this thread. Never raises.

    >>> import copool
    >>> copool.in_coroutine(), copool.Coroutine(copool.in_coroutine).enter()
    (False, True)
    """

@final
class Bridge(_Coroutine[Any, Any, _T]):
    """A call, or a coroutine, below which `await_()` works.

    That is what `run_sync()` and `bridge()` return. It is awaited, or made a task of,
    once. It has what a coroutine of an `async def` has, so that asyncio, trio and tools
    take it for one, and is an iterator besides. `Bridge[T]` is one whose result is a T,
    for type checkers. Raises RuntimeError where it is awaited a second time, and
    `CoroutineError` if another thread than that in which it began goes on with it.

    >>> import asyncio, copool.aio
    >>> call = copool.aio.run_sync(max, 1, 2)
    >>> asyncio.iscoroutine(call), asyncio.run(call)
    (True, 2)
    """

    __name__: str
    __qualname__: str
    def __await__(self) -> Iterator[Any]: ...  # type: ignore[override]
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any:
        """Go on with a value; return what is awaited next.

        Raises StopIteration with the result at the end, and what the call raises.
        """
    def throw(self, exc: Any, value: Any = None, traceback: Any = None, /) -> Any:
        """Raise an exception where it waits; else like `send()`.

        Raises what that does, too.
        """

    def close(self) -> None:
        """End it by raising GeneratorExit where it waits.

        Raises RuntimeError if it goes on waiting, and what it raises instead.
        """
    def __reduce__(self) -> NoReturn: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def cr_code(self) -> CodeType | None:
        """The code of the function, or of the coroutine."""
    @property
    def cr_origin(self) -> tuple[tuple[str, int, str], ...] | None:
        """Which calls it was made in, if coroutines note that, or None."""
    @property
    def cr_frame(self) -> FrameType | None:
        """The outermost frame of the call, or the coroutine's."""
    @property
    def cr_await(self) -> Any:
        """What that waits for, or None: in `await_()` the next call."""
    @property
    def cr_running(self) -> bool:
        """Whether it is running."""
    @property
    def cr_suspended(self) -> bool:
        """Whether it has begun and waits."""
    @property
    def cr_state(self) -> str:
        """As `inspect.getcoroutinestate()` says it, such as "CORO_SUSPENDED"."""

BridgeType: type[type]

@final
class Call(tuple[Any, ...]):
    @property
    def cr_frame(self) -> FrameType: ...
    @property
    def cr_await(self) -> Any: ...
    @property
    def cr_code(self) -> CodeType: ...

def await_(awaitable: Awaitable[_T], /) -> _T:
    """Wait for an awaitable in a plain function; return its result.

    Works below `run_sync()` and below every task of `run()`, at any depth of calls. The
    whole chain of calls stops, and the loop goes on meanwhile; what need not wait does
    not stop. No thread is made: all of it stays in that of the loop.

    Raises what the awaitable raises, so CancelledError if the task is cancelled. Raises
    `CoroutineError`, and closes an awaitable that has not begun, where no task can wait
    for
    it: in plain callbacks, other threads, greenlets, `atomic()`. TypeError for what
    can't be awaited.

    >>> import asyncio, copool.aio
    >>> def pause():
    ...     return copool.aio.await_(asyncio.sleep(0.001, "done"))
    >>> async def main():
    ...     return pause()
    >>> copool.aio.run(main())
    'done'
    """

def run_sync(
    fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> Bridge[_T]:
    """Return an awaitable that calls `fn`, below which `await_()` works.

    Nothing runs before it is awaited. It works on any loop, asyncio's, uvloop's, trio's
    or one of your own, and runs in that loop's thread. Raises TypeError for what can't
    be called; where it is awaited it raises what `fn` raises.

    >>> import asyncio, copool.aio
    >>> def pause():
    ...     return copool.aio.await_(asyncio.sleep(0.001, "done"))
    >>> async def main():
    ...     return await copool.aio.run_sync(pause)
    >>> asyncio.run(main())
    'done'
    """

def can_await() -> bool:
    """Return whether an `await_()` that has to wait could, here in this thread.

    Never raises.

    >>> import copool.aio
    >>> async def main():
    ...     return copool.aio.can_await()
    >>> copool.aio.can_await(), copool.aio.run(main())
    (False, True)
    """

def _hold() -> Bridge[Any] | None: ...
def _release(held: Bridge[Any] | None, /) -> None: ...
def bridge(coroutine: _Coroutine[Any, Any, _T], /) -> Bridge[_T]:
    """Return a coroutine that drives another one, below which `await_()` works.

    For tasks that the program makes itself, where the loop has no `install()`. It stays
    in the thread in which it begins. Raises TypeError for what is no coroutine; where
    it is awaited it raises what the coroutine raises.

    >>> import asyncio, copool.aio
    >>> async def main():
    ...     return copool.aio.await_(asyncio.sleep(0.001, "done"))
    >>> asyncio.run(copool.aio.bridge(main()))
    'done'
    """

def _know_tasks(task: Any, name: str, /) -> bool: ...
def _driven_by(bridge: Bridge[Any], task: Any, /) -> None: ...
def _collector(phase: str, info: dict[str, int], /) -> None: ...
def _know(version: int, lost: bool, /) -> None: ...
def trim() -> int:
    """Give idle stacks back to the system; return how many.

    Those that this thread and the shared store keep, not those of other threads. Memory
    that suspended coroutines have used once and don't use any more is given back, too.
    Never raises.

    >>> import copool
    >>> copool.Coroutine(int).enter()
    0
    >>> copool.trim() > 0, copool.stats().idle_local
    (True, 0)
    """

def configure(
    policy: str,
    guard: str,
    stack_size: int,
    batch: int,
    max_blocks: int,
    max_idle: int,
    guard_size: int,
    /,
) -> None: ...
def report_overflows(wanted: bool, /) -> bool: ...
def options() -> dict[str, Any]: ...
def stats() -> dict[str, Any]: ...
def chains() -> tuple[
    int,
    tuple[int, int, int],
    tuple[int, int, int],
    tuple[int, int, int],
    float | None,
]: ...
def check() -> bool: ...
def _unwind_all() -> None: ...
def _profiler(switched: _Trace | None, /) -> None: ...
def _relay(callbacks: tuple[Callable[..., object], ...] | None, /) -> None: ...
def _untraced(fn: Callable[[], _T], /) -> _T: ...
def _waiting() -> list[object]: ...
def _chain(face: object, /) -> tuple[object, bool, bool]: ...
def _profile_event(profiler: object, frame: FrameType, begins: bool, /) -> None: ...

@final
class _Clock:
    def __call__(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...

@final
class _Relay:
    def __new__(cls, kind: int, begin: Callable[..., object], /) -> Self: ...
    def __call__(self, *args: object) -> object: ...

def _greenlet_names() -> dict[str, Any]: ...
def _watch_start(
    seconds: float, begun: Callable[..., bool], over: Callable[[int, float], None], /
) -> object: ...
def _watch_stop(watch: object, seconds: float, /) -> bool | None: ...
def _watch_tells(watch: object, /) -> bool: ...
