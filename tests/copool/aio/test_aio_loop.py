"""In anywhere mode a plain function below any task waits for what a task could await.

On asyncio's loop and uvloop; run_sync() there and on trio.
"""

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import io
import logging
import re
import signal
import subprocess
import sys
import threading
import types
import warnings

import anyio
import pytest
import trio
import trio.testing
import uvloop

import copool
from copool import Coroutine, CoroutineError
from copool.aio import (
    asyncify,
    await_,
    can_await,
    enter,
    function,
    install,
    installed,
    iterate,
    new_event_loop,
    run_sync,
    uninstall,
)

# Other tests in this process use greenlet's own greenlets; below these tasks is none.
install = functools.partial(install, foreign_greenlets=True)
new_event_loop = functools.partial(new_event_loop, foreign_greenlets=True)
run_anywhere = functools.partial(copool.aio.run, foreign_greenlets=True)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="tasks are never eager before 3.12"
)


@pytest.fixture(params=LOOPS)
def new_loop(request):
    return LOOPS[request.param]


@pytest.fixture
def run(new_loop):
    return functools.partial(run_anywhere, loop_factory=new_loop)


@pytest.fixture
def plain_run(new_loop):
    """What run() is measured by: the same loop without anything installed."""

    def plain_run(main, **options):
        with asyncio.Runner(loop_factory=new_loop, **options) as runner:
            return runner.run(main)

    return plain_run


class Step:
    """Lets the loop run once."""

    def __await__(self):
        yield


async def later(value=None):
    await Step()
    return value


async def soon(value=None):
    """Waits for a future that the loop is about to settle."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(lambda: future.done() or future.set_result(value))
    return await future


def wait(value=None):
    """A plain function that waits."""
    return await_(later(value))


# --- below any async def ---


def test_it_waits_below_a_task_at_any_depth(run):
    async def main():
        return [wait(1), await child(), [i async for i in generator()], deep(50)]

    async def child():
        return wait(2)

    async def generator():
        yield wait(3)
        yield await later(wait(4))

    def deep(n):
        return deep(n - 1) if n else wait(5)

    assert run(main()) == [1, 2, [3, 4], 5]


def test_other_tasks_run_meanwhile(run):
    async def main():
        async def count(name):
            for i in range(3):
                wait()
                log.append((name, i))

        await asyncio.gather(count("a"), count("b"))

    log = []
    run(main())
    assert log == [(name, i) for i in range(3) for name in "ab"]


def test_a_wait_takes_as_many_turns_of_the_loop_as_a_plain_await(run):
    async def main():
        async def turns(work):
            seen = 0

            def count():
                nonlocal seen, handle
                seen += 1
                handle = loop.call_soon(count)

            loop = asyncio.get_running_loop()
            handle = loop.call_soon(count)
            await work()
            handle.cancel()
            return seen

        async def plainly():
            await later()
            await soon()

        async def below():
            await_(later())
            await_(soon())

        return await turns(plainly), await turns(below)

    plain, ours = run(main())
    assert plain == ours > 0


def test_a_callback_of_the_loop_has_no_task(run):
    async def main():
        def callback():
            future.set_result(can_await())

        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(callback)
        return can_await(), await_(future), await asyncio.to_thread(can_await)

    assert run(main()) == (True, False, False)


def test_ten_thousand_tasks_wait_at_once(run):
    async def main():
        def below(i):
            await_(event.wait())
            return i

        async def task(i):
            return below(i)

        event = asyncio.Event()
        tasks = [asyncio.create_task(task(i)) for i in range(10_000)]
        await later()
        await later()
        live = copool.stats().live
        event.set()
        return live, await asyncio.gather(*tasks)

    before = copool.stats().live
    live, results = run(main())
    assert live >= before + 10_000
    assert results == [*range(10_000)]
    copool.trim()


# --- which tasks ---


def test_a_factory_that_the_loop_has_goes_on_making_the_tasks(run):
    class OwnTask(asyncio.Task):
        pass

    def factory(loop, coro, **options):
        made.append(coro.__qualname__)
        return OwnTask(coro, loop=loop, **options)

    async def main():
        loop = asyncio.get_running_loop()
        uninstall()
        loop.set_task_factory(factory)
        install()
        context = contextvars.copy_context()
        var.set("elsewhere")
        task = loop.create_task(child(), name="named", context=context)
        return type(task), task.get_name(), await task

    async def child():
        return var.get(), wait(7)

    var = contextvars.ContextVar("var", default="unset")
    made = []
    assert run(main()) == (OwnTask, "named", ("unset", 7))
    assert made[0] == child.__qualname__


def test_a_factory_that_is_set_later_takes_the_place(run):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro, **o: asyncio.Task(coro, loop=loop))
        assert not installed()
        assert not await loop.create_task(child())
        install()
        assert await loop.create_task(child())

    async def child():
        return can_await()

    run(main())


@needs_eager_tasks
@pytest.mark.parametrize("how", ["by hand", "by a factory", "a bridge"])
def test_an_eager_task_inside_a_step_does_not_stop_that_in_the_middle(how):
    async def waits():
        try:
            return await_(asyncio.sleep(0, "waited"))
        except CoroutineError as error:
            return "inside a step of another one" in str(error)

    async def main():
        loop = asyncio.get_running_loop()
        await_(asyncio.sleep(0))
        if how == "by a factory":
            loop.set_task_factory(asyncio.eager_task_factory)
            task = loop.create_task(waits())
        else:
            coroutine = waits() if how == "by hand" else copool.aio.bridge(waits())
            task = asyncio.Task(coroutine, loop=loop, eager_start=True)
        # A context of one's own is no task of one's own.
        own = contextvars.copy_context().run(await_, asyncio.sleep(0, "own"))
        return await task, own, asyncio.current_task() is me

    async def outer():
        nonlocal me
        me = asyncio.current_task()
        return await main()

    me = None
    expected = "waited" if how == "a bridge" else True
    assert run_anywhere(outer()) == (expected, "own", True)
    assert asyncio.run(run_sync(lambda: await_(outer()))) == (expected, "own", True)


def enter_own(fn):
    return Coroutine(fn).enter()


def enter_shared(fn):
    return Coroutine(fn, context="shared").enter()


@needs_eager_tasks
@pytest.mark.parametrize("around", [lambda fn: fn(), enter_own, enter_shared])
@pytest.mark.parametrize("inside", [lambda fn: fn(), enter_own, enter_shared])
def test_nor_where_coroutines_are_around_it_or_in_it(around, inside):
    async def waits():
        try:
            return inside(lambda: await_(asyncio.sleep(0, "waited")))
        except CoroutineError as error:
            return "inside a step of another one" in str(error)

    async def main():
        loop = asyncio.get_running_loop()
        var.set("main")
        own = around(lambda: inside(lambda: await_(asyncio.sleep(0, "own"))))
        task = around(lambda: asyncio.Task(waits(), loop=loop, eager_start=True))
        return await task, own

    var = contextvars.ContextVar("var")
    assert run_anywhere(main()) == (True, "own")


@needs_eager_tasks
def test_eager_tasks_wait_when_they_were_there_first(run):
    async def main():
        async def ready():
            return asyncio.current_task()

        async def waits():
            log.append("begun")
            tasks = [asyncio.current_task(), wait() or asyncio.current_task()]
            inner = asyncio.create_task(ready())
            assert inner.done()
            tasks.append(asyncio.current_task())
            return tasks

        uninstall()
        asyncio.get_running_loop().set_task_factory(eager)
        install()
        task = asyncio.create_task(ready())
        assert task.done()
        assert task.result() is task
        tasks = [asyncio.create_task(waits()) for _ in range(3)]
        log.append("made")
        assert not any(task.done() for task in tasks)
        assert await asyncio.gather(*tasks) == [[task] * 3 for task in tasks]
        assert asyncio.current_task() is main_task
        # From a plain function, while its own task is below await_().
        assert eager_below() == "done"

    def eager(loop, coro, *, name=None, context=None, eager_start=True):
        # uvloop gives asyncio's own on 3.13.0 more than that takes.
        return asyncio.eager_task_factory(loop, coro, name=name, context=context)

    def eager_below():
        task = asyncio.current_task()
        child = asyncio.create_task(asyncio.sleep(0, "done"))
        assert asyncio.current_task() is task
        return await_(child)

    async def outer():
        nonlocal main_task
        main_task = asyncio.current_task()
        await main()

    log, main_task = [], None
    run(outer())
    assert log == ["begun"] * 3 + ["made"]


def test_tasks_have_the_class_and_the_names_that_they_have_without_it(run, plain_run):
    async def main():
        async def child():
            return asyncio.current_task().get_name()

        tasks = [asyncio.create_task(child()) for _ in range(2)]
        named = asyncio.create_task(child(), name="named")
        async with asyncio.TaskGroup() as group:
            tasks.append(group.create_task(child()))
        assert await named == "named"
        named.set_name(5)
        names = [task.get_name() for task in tasks]
        assert names == [await task for task in tasks]
        assert all(isinstance(task, asyncio.Task) for task in tasks)
        numbers = [int(name.removeprefix("Task-")) for name in names]
        return type(named).__name__, named.get_name(), numbers[1] - numbers[0]

    assert run(main()) == plain_run(main()) == ("Task", "5", 1)


WITHOUT_C = """
import sys
sys.modules["_asyncio"] = None
import asyncio, copool.aio

def below():
    return copool.aio.await_(asyncio.sleep(0, asyncio.current_task().get_name()))

async def child():
    return below()

async def main():
    tasks = [asyncio.create_task(child()), asyncio.create_task(child(), name="named")]
    assert isinstance(tasks[0], asyncio.tasks._PyTask)
    return await asyncio.gather(*tasks)

print(*copool.aio.run(main()))
"""


def test_tasks_that_are_written_in_python_have_their_names_and_wait():
    command = [sys.executable, "-c", WITHOUT_C]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Task-2 named\n", "")


def test_what_is_no_coroutine_is_refused_with_the_same_words(run, plain_run):
    async def main():
        errors = []
        for thing in (5, later, asyncio.get_running_loop().create_future()):
            with pytest.raises(TypeError) as raised:
                asyncio.get_running_loop().create_task(thing)
            errors.append(re.sub("0x[0-9a-f]+", "", str(raised.value)))
        return errors

    assert run(main()) == plain_run(main())


# --- cancellation, timeouts, groups ---


def chain(log, depth, call, *, swallow):
    """Calls `depth` deep, each of which waits before, after and at its end.

    With `call` every second one is a plain function, else all are asynchronous.
    """

    async def asynchronous(n):
        log.append(("enter", n))
        try:
            await later()
            if n:
                await (call(plain, n - 1) if call else asynchronous(n - 1))
            await soon()
        except asyncio.CancelledError:
            log.append(("cancelled", n))
            if n == swallow:
                return
            raise
        finally:
            await soon()
            log.append(("leave", n))

    def plain(n):
        log.append(("enter", n))
        try:
            await_(later())
            if n:
                await_(asynchronous(n - 1))
            await_(soon())
        except asyncio.CancelledError:
            log.append(("cancelled", n))
            if n == swallow:
                return
            raise
        finally:
            await_(soon())
            log.append(("leave", n))

    return asynchronous(depth)


async def call_directly(fn, *args):
    fn(*args)


@pytest.mark.parametrize("swallow", [None, 0, 1, 2])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("call", [call_directly, run_sync])
def test_cancelling_after_each_step_does_what_it_does_without(
    run, plain_run, call, twice, swallow
):
    async def cancel_after(steps, call):
        log = []
        task = asyncio.create_task(chain(log, 3, call, swallow=swallow))
        for i in range(steps):
            await later()
            log.append(i)
        in_time = task.cancel("first")
        if twice:
            await later()
            log.append(("second cancel", task.cancel("second")))
        try:
            await task
        except asyncio.CancelledError as error:
            log.append(str(error))
        return in_time, log

    on = run if call is call_directly else plain_run
    steps, in_time = 0, True
    while in_time:
        in_time, expected = plain_run(cancel_after(steps, None))
        assert on(cancel_after(steps, call)) == (in_time, expected)
        steps += 1
    assert steps > 12


def test_a_timeout_ends_what_waits_below(run):
    async def main():
        def below():
            try:
                await_(asyncio.Event().wait())
            except asyncio.CancelledError:
                log.append(wait("in the handler"))
                raise

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                below()
        with pytest.raises(TimeoutError), enter(asyncio.timeout(0)):
            below()
        with pytest.raises(TimeoutError):
            await_(asyncio.wait_for(asyncio.Event().wait(), 0.001))
        async with asyncio.timeout(60):
            wait()
        assert not asyncio.current_task().cancelling()

    log = []
    run(main())
    assert log == ["in the handler"] * 2


def test_a_task_group_cancels_what_waits_below(run):
    async def main():
        async def waits(name):
            try:
                await_(asyncio.Event().wait())
            finally:
                log.append((name, type(sys.exception())))

        async def fails():
            wait()
            raise KeyError("first")

        def below():
            with enter(asyncio.TaskGroup()) as group:
                for name in "ab":
                    group.create_task(waits(name))
                group.create_task(fails())

        try:
            below()
        except* KeyError as caught:
            log.append(len(caught.exceptions))

    log = []
    run(main())
    assert sorted(log[:2]) == [(name, asyncio.CancelledError) for name in "ab"]
    assert log[2:] == [1]


def test_a_shield_lets_what_is_below_finish(run):
    async def main():
        async def shielded():
            return await_(future)

        async def waits():
            await_(asyncio.shield(inner))

        future = asyncio.get_running_loop().create_future()
        inner = asyncio.create_task(shielded())
        outer = asyncio.create_task(waits())
        await later()
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert not inner.done()
        future.set_result("finished")
        return await inner

    assert run(main()) == "finished"


# --- contexts ---


def test_context_variables_are_those_of_a_plain_await(run):
    async def main():
        async def set_and_wait(value):
            var.set(value)
            await later()
            var.set(value + "!")

        def below(value):
            await_(set_and_wait(value))
            return var.get()

        async def task(value):
            seen = [var.get()]
            seen.append(below(value))
            await set_and_wait(value + "+")
            seen.append(var.get())
            return seen

        var.set("main")
        results = await asyncio.gather(task("a"), task("b"))
        assert results == [["main", f"{x}!", f"{x}+!"] for x in "ab"]
        assert below("c") == "c!"
        return var.get()

    var = contextvars.ContextVar("var", default="unset")
    assert run(main()) == "c!"
    assert var.get() == "unset"


def test_a_context_that_is_entered_below_stays_entered_while_it_waits(run):
    async def main():
        def inside(value):
            var.set(value)
            wait()
            assert var.get() == value
            wait(var.set(value + "!"))
            return var.get()

        async def task(value):
            context = contextvars.copy_context()
            result = context.run(inside, value)
            return result, context[var], var.get()

        async def trespass():
            with pytest.raises(RuntimeError, match="already entered"):
                shared.run(int)

        var.set("main")
        results = await asyncio.gather(task("a"), task("b"))
        assert results == [(f"{x}!", f"{x}!", "main") for x in "ab"]
        shared = contextvars.copy_context()
        other = asyncio.create_task(trespass())
        shared.run(inside, "shared")
        await other
        return shared.run(var.get)

    var = contextvars.ContextVar("var")
    assert run(main()) == "shared!"


def test_the_current_task_is_the_one_whose_step_it_is(run):
    async def main():
        def below():
            seen = [asyncio.current_task()]
            wait()
            seen.append(asyncio.current_task())
            seen += iterate(generator())
            return seen

        async def generator():
            wait()
            yield asyncio.current_task()

        async def task():
            return below()

        tasks = [asyncio.create_task(task()) for _ in range(5)]
        for task, seen in zip(tasks, await asyncio.gather(*tasks), strict=True):
            assert seen == [task] * 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


# --- debug mode ---


def test_debug_mode_names_the_slow_steps_as_without_it(caplog):
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 0
        await later()

    def messages(run):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"):
            run(main(), debug=True)
        secret = "Task-[0-9]+|0x[0-9a-f]+|[0-9.]+ seconds"
        return [re.sub(secret, "", record.getMessage()) for record in caplog.records]

    slow = messages(run_anywhere)
    assert slow == messages(asyncio.run)
    assert "main() running at " in slow[0]
    assert " created at " in slow[0]


def test_the_source_of_a_task_ends_where_it_was_made(run, plain_run):
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            tasks = [
                asyncio.create_task(later()),
                loop.create_task(later()),
                asyncio.ensure_future(later()),
                group.create_task(later()),
            ]
        sources = []
        for task in tasks:
            frames = [(f.filename, f.name, f.line) for f in task._source_traceback]
            own = max(i for i, frame in enumerate(frames) if frame[0] == __file__)
            sources.append(frames[own:])
        return sources

    sources = run(main(), debug=True)
    assert sources == plain_run(main(), debug=True)
    assert sources[1] == [(__file__, "main", "loop.create_task(later()),")]


def test_the_source_of_a_task_ends_in_the_factory_that_made_it(run):
    def factory(loop, coro, **options):
        return asyncio.Task(coro, loop=loop, **options)

    async def main():
        uninstall()
        asyncio.get_running_loop().set_task_factory(factory)
        install()
        task = asyncio.create_task(later())
        await task
        files = {frame.filename for frame in task._source_traceback}
        return task._source_traceback[-1].name, "aio/_loop.py" in str(files)

    assert run(main(), debug=True) == ("factory", False)


def test_a_task_shows_itself_as_without_it(run, plain_run):
    async def main():
        async def child():
            await later()

        task = asyncio.create_task(child())
        seen = [repr(task)]
        await later()
        seen.append(repr(task))
        await task
        return [re.sub("Task-[0-9]+|0x[0-9a-f]+", "", text) for text in seen]

    assert run(main()) == plain_run(main())


def test_the_stack_of_a_task_shows_the_plain_functions_it_waits_in(run):
    async def main():
        def outer():
            inner()

        def inner():
            await_(event.wait())

        async def child():
            outer()

        event = asyncio.Event()
        task = asyncio.create_task(child())
        await later()
        await later()
        names = [frame.f_code.co_name for frame in task.get_stack()]
        printed = io.StringIO()
        task.print_stack(file=printed)
        event.set()
        await task
        return names, re.findall("line [0-9]+, in (.*)", printed.getvalue())

    names = ["child", "outer", "inner"]
    assert run(main()) == (names, names)


needs_call_graphs = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="call graphs are new in 3.14"
)


def graph(task):
    """Return the call graph of a task, but for what no two runs have alike."""
    return re.sub("Task-[0-9]+|id=0x[0-9a-f]+", "", asyncio.format_call_graph(task))


def calls(task):
    """Return the functions in its own stack."""
    return re.findall(r"in (.*)\(\)", graph(task).split("+ Awaited by")[0])


@needs_call_graphs
def test_the_call_graph_of_a_plain_await_is_as_without_it(run, plain_run):
    async def waiter():
        await middle()

    async def middle():
        await event.wait()

    async def outer():
        async with asyncio.TaskGroup() as group:
            group.create_task(waiter(), name="of a group")
            await asyncio.gather(waiter(), middle())

    async def blocks():
        graphs.append(graph(None))
        graphs.append(graph(asyncio.current_task()))

    async def main():
        nonlocal event
        event = asyncio.Event()
        created = asyncio.create_task(waiter())
        graphs.append(graph(created))
        tasks = [created, asyncio.create_task(outer())]
        await later()
        graphs.extend(map(graph, asyncio.all_tasks() - {asyncio.current_task()}))
        await asyncio.create_task(blocks())
        event.set()
        await asyncio.gather(*tasks)
        graphs.append(graph(created))

    event, graphs = None, []
    run(main())
    mine = sorted(graphs)
    graphs.clear()
    plain_run(main())
    assert mine == sorted(graphs)


@needs_call_graphs
def test_the_call_graph_of_a_chain_shows_all_its_calls(run):
    async def main():
        def outer():
            sorted([1], key=lambda _: inner())

        def inner():
            await_(event.wait())

        async def child():
            outer()

        async def waits():
            await task

        async def calls_function():
            await run_sync(outer)

        event = asyncio.Event()
        task = asyncio.create_task(child())
        others = [asyncio.create_task(waits()), asyncio.create_task(calls_function())]
        await later()
        await later()
        seen = [calls(task), calls(others[1]), "waits()" in graph(task)]
        captured = asyncio.capture_call_graph(task)
        seen.append([entry.frame.f_code.co_name for entry in captured.call_stack])
        seen.append(len(asyncio.capture_call_graph(task, limit=2).call_stack))
        event.set()
        await asyncio.gather(task, *others)
        return seen

    where = "test_the_call_graph_of_a_chain_shows_all_its_calls.<locals>.main.<locals>."
    below = [f"{where}inner", f"{where}outer.<locals>.<lambda>", f"{where}outer"]
    assert run(main()) == [
        ["async Event.wait", *below, f"async {where}child"],
        ["async Event.wait", *below, f"async {where}calls_function"],
        True,
        ["wait", "inner", "<lambda>", "outer", "child"],
        2,
    ]


@needs_call_graphs
def test_the_call_graph_of_a_task_that_runs_ends_with_it(run):
    async def main():
        def outer():
            inner()

        def inner():
            await_(later())
            seen.append(calls(None))

        seen = []
        outer()
        return seen

    where = "test_the_call_graph_of_a_task_that_runs_ends_with_it.<locals>.main"
    assert run(main()) == [
        [
            *("graph", "calls"),
            *(f"{where}.<locals>.inner", f"{where}.<locals>.outer"),
            f"async {where}",
        ]
    ]


# --- the end ---


def test_a_dropped_generator_is_closed_by_a_task_that_waits(run):
    async def main():
        closed = asyncio.Event()
        async for _ in generator(closed):
            break
        log.append("dropped")
        await closed.wait()

    async def generator(closed):
        try:
            yield
        finally:
            log.append(wait("closed"))
            closed.set()

    log = []
    run(main())
    assert log == ["dropped", "closed"]


def test_the_end_of_the_loop_closes_generators_that_wait(run):
    async def main():
        nonlocal kept
        kept = generator()
        return await anext(kept)

    async def generator():
        try:
            yield wait("first")
        finally:
            log.append(wait("closed"))

    kept, log = None, []
    assert run(main()) == "first"
    assert log == ["closed"]


def test_the_end_of_run_cancels_what_waits_and_lets_it_wait(run):
    async def main():
        async def task():
            try:
                await_(asyncio.Event().wait())
            finally:
                log.append(wait(type(sys.exception())))

        nonlocal kept
        kept = asyncio.create_task(task())
        await later()
        await later()

    kept, log = None, []
    run(main())
    assert log == [asyncio.CancelledError]


def test_what_waits_when_the_loop_is_closed_runs_its_finally_blocks(new_loop):
    async def task(name):
        try:
            await_(asyncio.Event().wait())
        finally:
            log.append((name, type(sys.exception())))
            with pytest.raises(CoroutineError, match="being closed"):
                wait()

    async def step():
        await later()
        await later()

    log = []
    loop = new_loop()
    install(loop)
    tasks = [loop.create_task(task(name)) for name in "ab"]
    loop.run_until_complete(step())
    loop.close()
    assert not log
    for pending in tasks:
        pending._log_destroy_pending = False
    del pending
    while tasks:
        tasks.pop()
        gc.collect()
    assert log == [(name, GeneratorExit) for name in "ba"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_error_that_ends_the_program_comes_out_of_run(run, error):
    async def main():
        async def waits():
            try:
                await_(asyncio.Event().wait())
            finally:
                log.append("other")

        nonlocal kept
        kept = asyncio.create_task(waits())
        await later()
        below()

    def below():
        try:
            await_(fails())
        except error:
            log.append("below")
            raise

    async def fails():
        await later()
        raise error("end")

    kept, log = None, []
    with pytest.raises(error, match="end"):
        run(main())
    assert log == ["below", "other"]


def test_ctrl_c_cancels_the_main_task_below_await(run):
    async def main():
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await_(asyncio.Event().wait())
        finally:
            log.append(wait(type(sys.exception())))

    log = []
    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert log == [asyncio.CancelledError]


# --- misuse ---


def test_a_future_of_another_loop_is_refused(run, plain_run, new_loop):
    async def main(task):
        with pytest.raises(RuntimeError, match="a different loop") as raised:
            await task(other.create_future())
        assert await later("goes on") == "goes on"
        return re.sub("Task-[0-9]+|0x[0-9a-f]+|:[0-9]+>", "", str(raised.value))

    async def waits(future):
        await future

    async def waits_below(future):
        await_(future)

    with contextlib.closing(new_loop()) as other:
        assert run(main(waits_below)) == plain_run(main(waits))


@pytest.mark.parametrize("value", [5, "text", ()])
def test_an_awaitable_that_yields_what_the_loop_does_not_know_fails(run, value):
    class Odd:
        def __await__(self):
            try:
                yield value
            finally:
                log.append("closed")

    async def main():
        with pytest.raises(RuntimeError, match=re.escape(f"got bad yield: {value!r}")):
            await_(Odd())
        return wait("goes on")

    log = []
    assert run(main()) == "goes on"
    assert log == ["closed"]


def test_a_task_cannot_wait_for_itself(run):
    async def main():
        with pytest.raises(RuntimeError, match="cannot await on itself"):
            await_(asyncio.current_task())
        return wait("goes on")

    assert run(main()) == "goes on"


def test_run_inside_a_running_loop_names_the_remedy(run):
    async def main():
        with pytest.raises(RuntimeError, match=r"copool\.aio\.install\(\)"):
            run_anywhere(coroutine)
        return "goes on"

    coroutine = later()
    assert run(main()) == "goes on"
    coroutine.close()  # it was left as it is


def test_install_works_from_the_next_task_on(plain_run):
    async def main():
        assert not installed()
        install()
        factory = asyncio.get_running_loop().get_task_factory()
        install()
        assert asyncio.get_running_loop().get_task_factory() is factory
        assert installed()
        with pytest.raises(CoroutineError, match="no task can wait"):
            wait()
        task = asyncio.create_task(child())
        await later()
        uninstall()
        assert not installed()
        uninstall()
        assert asyncio.get_running_loop().get_task_factory() is None
        assert await task == "goes on"
        return await asyncio.create_task(cannot())

    async def child():
        return wait("goes on")

    async def cannot():
        return can_await()

    assert plain_run(main()) is False


def test_uninstall_gives_back_the_factory_that_was_there(new_loop):
    def factory(loop, coro, **options):
        return asyncio.Task(coro, loop=loop, **options)

    with contextlib.closing(new_loop()) as loop:
        loop.set_task_factory(factory)
        install(loop)
        assert installed(loop)
        uninstall(loop)
        assert loop.get_task_factory() is factory
        uninstall(loop)
        assert loop.get_task_factory() is factory


def by_runner(main, loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def by_anyio(main, loop_factory):
    return anyio.run(main, backend_options={"loop_factory": loop_factory})


@pytest.mark.parametrize("run_by", [by_runner, by_anyio])
def test_a_loop_from_the_factory_waits_below_the_tasks_of_whoever_runs_it(
    run_by, new_loop
):
    async def main():
        loop = asyncio.get_running_loop()
        return wait("below"), await asyncio.create_task(child()), type(loop)

    async def child():
        return wait("below a child")

    with contextlib.closing(new_loop()) as loop:
        kind = type(loop)
    factory = functools.partial(new_event_loop, new_loop)
    assert run_by(main, factory) == ("below", "below a child", kind)
    with pytest.raises(CoroutineError, match="no task can wait"):
        run_by(main, new_loop)


def test_the_factory_makes_loops_of_asyncio_unless_told_otherwise():
    with (
        contextlib.closing(asyncio.new_event_loop()) as usual,
        contextlib.closing(new_event_loop()) as loop,
        contextlib.closing(new_event_loop()) as another,
    ):
        assert type(loop) is type(usual)
        assert loop is not another
        assert installed(loop)


@pytest.mark.parametrize("function", [install, installed, uninstall])
def test_without_a_loop_there_has_to_be_a_running_one(function):
    with pytest.raises(RuntimeError, match="no running event loop"):
        function()


def test_loops_of_two_threads_are_strangers(new_loop):
    def work(name):
        async def main():
            for _ in range(20):
                wait()
                barrier.wait()
            return threading.get_ident()

        idents[name] = run_anywhere(main(), loop_factory=new_loop)

    idents, barrier = {}, threading.Barrier(2)
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert idents == {name: t.ident for name, t in zip("ab", threads, strict=True)}


# --- run_sync() as a coroutine ---


def test_asyncio_takes_what_run_sync_returns_for_a_coroutine(plain_run):
    async def main():
        results = await asyncio.gather(run_sync(wait, 1), run_sync(wait, value=2))
        task = asyncio.create_task(run_sync(wait, 3), name="named")
        results += [await task, await asyncio.wait_for(run_sync(wait, 4), 60)]
        results += [await asyncio.ensure_future(run_sync(wait, 5))]
        results += [await asyncio.shield(run_sync(wait, 6))]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run_sync(await_, asyncio.Event().wait()), 0.001)
        async with asyncio.TaskGroup() as group:
            results.append(group.create_task(run_sync(wait, 7)))
        return [r.result() if isinstance(r, asyncio.Task) else r for r in results]

    assert plain_run(main()) == [1, 2, 3, 4, 5, 6, 7]


def test_asyncio_run_takes_it_too():
    assert asyncio.run(run_sync(wait, 5)) == 5


def test_another_thread_hands_it_to_the_loop(plain_run):
    async def main():
        loop = asyncio.get_running_loop()

        def submit():
            return asyncio.run_coroutine_threadsafe(run_sync(wait, 5), loop).result(60)

        return await asyncio.to_thread(submit)

    assert plain_run(main()) == 5


def test_a_task_shows_a_call_in_each_state_as_a_coroutine(plain_run):
    async def coroutine():
        states.append(repr(asyncio.current_task()))
        await event.wait()

    def call():
        states.append(repr(asyncio.current_task()))
        await_(event.wait())

    async def main(make):
        nonlocal event
        event = asyncio.Event()
        task = asyncio.create_task(make(), name="named")
        states.append(repr(task))
        await asyncio.sleep(0.01)
        states.append(repr(task))
        event.set()
        await task
        states.append(repr(task))

    def told(fn, make):
        nonlocal states
        fn.__name__ = fn.__qualname__ = "fn"
        begin = fn.__code__.co_firstlineno
        states = []
        plain_run(main(make))
        lines = [
            re.sub(r":(\d+)", lambda n: f":+{int(n[1]) - begin}", s) for s in states
        ]
        # In debug mode they also say where the task was made.
        places = r" wait_for=.*|at 0x[0-9a-f]+| created at [^ >]+"
        return [re.sub(places, "", line) for line in lines]

    states, event = [], None
    assert told(call, lambda: run_sync(call)) == told(coroutine, coroutine)


def test_debug_mode_says_where_a_call_was_made_that_is_not_awaited():
    async def main():
        run_sync(wait)

    with pytest.warns(RuntimeWarning, match="never awaited") as caught:
        asyncio.run(main(), debug=True)
    lines = str(caught[0].message).splitlines()
    assert lines[1] == "Coroutine created at (most recent call last)"
    assert [lines[-2].endswith(", in main"), lines[-1].strip()] == [
        True,
        "run_sync(wait)",
    ]


def test_inspect_knows_its_state(plain_run):
    call = run_sync(lambda: below())

    async def main():
        states = []
        asyncio.get_running_loop().call_soon(
            lambda: states.append(inspect.getcoroutinestate(call))
        )
        states += [await call, inspect.getcoroutinestate(call)]
        assert inspect.isawaitable(call)
        assert asyncio.iscoroutine(call)
        return states

    def below():
        wait()
        return inspect.getcoroutinestate(call)

    assert plain_run(main()) == [
        inspect.CORO_SUSPENDED,
        inspect.CORO_RUNNING,
        inspect.CORO_CLOSED,
    ]


# --- asyncify ---


@asyncify
def add(a, b=1):
    """Add, later."""
    return wait(a) + b


class Thing:
    def __init__(self, value):
        self.value = value

    @function
    def get(self, more=0):
        return wait(self.value + more)

    @classmethod
    @function
    def make(cls, value):
        return cls(wait(value))

    @staticmethod
    @function
    def double(value):
        return wait(value) * 2


def test_functions_and_methods_become_asynchronous(plain_run):
    async def main():
        thing = await Thing.make(5)
        assert [await add(1), await add(1, b=5), await asyncify(wait)(7)] == [2, 6, 7]
        return await thing.get(), await thing.get(more=1), await Thing.double(3)

    assert plain_run(main()) == (5, 6, 6)


def test_what_asyncify_makes_counts_as_a_coroutine_function():
    # The other is deprecated from 3.14 on.
    ask = (inspect if sys.version_info >= (3, 12) else asyncio).iscoroutinefunction
    assert ask(add)
    assert ask(Thing(1).get)
    assert not ask(wait)
    assert (add.__name__, add.__doc__) == ("add", "Add, later.")
    assert str(inspect.signature(add)) == "(a, b=1)"


def test_an_asynchronous_function_runs_nothing_before_the_await(plain_run):
    async def main():
        call = asyncify(log.append)(1)
        assert log == []
        await call
        with pytest.raises(KeyError, match="from below"):
            await asyncify(fails)()

    def fails():
        wait()
        raise KeyError("from below")

    log = []
    plain_run(main())
    assert log == [1]


@pytest.mark.parametrize("thing", [None, 5, "text"])
def test_asyncify_wants_a_callable(thing):
    with pytest.raises(TypeError, match=f"not {type(thing).__name__}"):
        asyncify(thing)


# --- iterate and enter ---


async def numbers(log, n=3):
    try:
        for i in range(n):
            await later()
            yield i
        if n < 0:
            raise KeyError("from the generator")
    finally:
        await later()
        log.append("closed")


def test_iterate_gives_the_items_and_the_end(run):
    async def main():
        assert [*iterate(numbers(log))] == [0, 1, 2]
        with pytest.raises(TypeError, match="int"):
            next(iterate(5))
        with pytest.raises(KeyError, match="from the generator"):
            list(iterate(numbers(log, -1)))

    log = []
    run(main())
    assert log == ["closed"] * 2


def test_iterate_does_not_close_what_is_left_over(run):
    async def main():
        items = numbers(log)
        for i in iterate(items):
            if i == 1:
                break
        assert log == []
        assert [*iterate(items)] == [2]
        with enter(contextlib.aclosing(numbers(log))) as closing:
            next(iterate(closing))
            log.append("left")
        return "main"

    log = []
    assert run(main()) == "main"
    assert log == ["closed", "left", "closed"]


def test_iterate_may_be_entered_by_several_tasks_in_turn(run):
    async def main():
        async def take():
            return next(shared)

        async with contextlib.aclosing(numbers([], 100)) as items:
            shared = iterate(items)
            return [await asyncio.create_task(take()) for _ in range(5)]

    assert run(main()) == [0, 1, 2, 3, 4]


class Manager:
    def __init__(self, log, *, suppress=False, fail=""):
        self.log, self.suppress, self.fail = log, suppress, fail

    async def __aenter__(self):
        await later()
        self.log.append("enter")
        if self.fail == "enter":
            raise KeyError("enter")
        return self

    async def __aexit__(self, kind, value, traceback):
        await later()
        self.log.append((kind, value and value.args, traceback is not None))
        if self.fail == "exit":
            raise KeyError("exit")
        return self.suppress


def test_enter_does_what_an_asynchronous_with_does(run):
    async def main():
        with enter(Manager(log)) as manager:
            assert isinstance(manager, Manager)
        with enter(Manager(log, suppress=True)):
            raise ValueError("suppressed")
        with pytest.raises(ValueError, match="through"), enter(Manager(log)):
            raise ValueError("through")
        with pytest.raises(KeyError, match="enter"), enter(Manager(log, fail="enter")):
            pytest.fail("it was entered")
        with pytest.raises(KeyError, match="exit"), enter(Manager(log, fail="exit")):
            pass

    log = []
    run(main())
    assert log == [
        "enter",
        (None, None, False),
        "enter",
        (ValueError, ("suppressed",), True),
        "enter",
        (ValueError, ("through",), True),
        "enter",
        "enter",
        (None, None, False),
    ]


@pytest.mark.parametrize("thing", [None, 5, contextlib.nullcontext])
def test_enter_wants_an_asynchronous_context_manager(thing):
    with pytest.raises(TypeError, match="asynchronous context manager"):
        enter(thing)


def test_a_lock_that_is_entered_below_keeps_others_out(run):
    async def main():
        async def task(name):
            with enter(lock):
                log.append(name)
                wait()
                log.append(name)

        lock = asyncio.Lock()
        await asyncio.gather(task("a"), task("b"))

    log = []
    run(main())
    assert log == ["a", "a", "b", "b"]


# --- trio and anyio ---


def test_trio_waits_below_run_sync():
    async def main():
        def below(seconds):
            await_(trio.sleep(seconds))
            return seconds

        async def task(seconds):
            log.append(await run_sync(below, seconds))

        async with trio.open_nursery() as nursery:
            for seconds in (3, 1, 2):
                nursery.start_soon(task, seconds)
        return trio.current_time()

    log = []
    clock = trio.testing.MockClock(autojump_threshold=0)
    begin = clock.current_time()
    assert trio.run(main, clock=clock) - begin == 3
    assert log == [1, 2, 3]


def test_trio_takes_what_asyncify_makes_for_a_coroutine_function():
    def below(seconds):
        await_(trio.sleep(seconds))
        log.append(seconds)
        return seconds

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asyncify(below), 2)
            nursery.start_soon(run_sync, below, 1)
        task = trio.lowlevel.spawn_system_task(asyncify(below), 5)
        frames = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
        await trio.sleep(1)
        return frames, [frame.f_code.co_name for frame, _ in task.iter_await_frames()]

    log = []
    clock = trio.testing.MockClock(autojump_threshold=0)
    before, waiting = trio.run(main, clock=clock)
    assert before == ["below"]
    assert waiting[:2] == ["below", "sleep"]
    assert trio.run(asyncify(below), 3, clock=clock) == 3
    assert log == [1, 2, 3]


def test_trio_cancels_what_waits_below():
    async def main():
        def below():
            try:
                await_(trio.sleep_forever())
            except trio.Cancelled:
                with enter_scope(shield=True):
                    await_(trio.sleep(1))
                log.append("cleaned up")
                raise

        def enter_scope(**options):
            return trio.CancelScope(**options)

        with trio.move_on_after(5) as scope:
            await run_sync(below)
        log.append(scope.cancelled_caught)
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await run_sync(below)
        # The scope may be below, too.
        await run_sync(inside)

    def inside():
        with trio.move_on_after(1) as scope:
            await_(trio.sleep(2))
        log.append(scope.cancelled_caught)

    log = []
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert log == ["cleaned up", True, "cleaned up", True]


def test_trio_cancels_at_each_step():
    async def main(last, call):
        async def pause():
            nonlocal steps
            steps += 1
            if steps == last:
                scope.cancel()
            await trio.lowlevel.checkpoint()

        async def asynchronous(n):
            try:
                await pause()
                if n:
                    await (call(plain, n - 1) if call else asynchronous(n - 1))
                await pause()
            finally:
                log.append((n, type(sys.exception())))

        def plain(n):
            try:
                await_(pause())
                if n:
                    await_(asynchronous(n - 1))
                await_(pause())
            finally:
                log.append((n, type(sys.exception())))

        log, steps = [], 0
        with trio.CancelScope() as scope:
            await asynchronous(3)
        return scope.cancelled_caught, log

    last, cancelled = 0, True
    while cancelled:
        last += 1
        cancelled, log = trio.run(main, last, None)
        assert trio.run(main, last, run_sync) == (cancelled, log)
    assert last == 9


@pytest.fixture(params=["asyncio", "asyncio on uvloop", "trio"])
def anyio_run(request):
    backend, _, uv = request.param.partition(" on ")
    options = {"use_uvloop": bool(uv)} if backend == "asyncio" else {}
    return functools.partial(anyio.run, backend=backend, backend_options=options)


def test_anyio_waits_below_run_sync(anyio_run):
    async def main():
        def below(i):
            with enter(lock):
                await_(anyio.sleep(0))
            await_(event.wait())
            return i

        async def task(i):
            results.append(await run_sync(below, i))

        lock, event = anyio.Lock(), anyio.Event()
        async with anyio.create_task_group() as group:
            for i in range(20):
                group.start_soon(task, i)
            await anyio.wait_all_tasks_blocked()
            assert results == []
            event.set()

    results = []
    anyio_run(main)
    assert sorted(results) == [*range(20)]


def test_anyio_takes_what_asyncify_makes_for_a_coroutine_function(anyio_run):
    def below(i):
        await_(anyio.sleep(0))
        return results.append(i)

    def starts(*, task_status):
        task_status.started(await_(anyio.sleep(0)))
        await_(anyio.sleep(0))
        results.append("after")

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(asyncify(below), 1)
            group.start_soon(run_sync, below, 2)
            assert await group.start(asyncify(starts)) is None

    results = []
    anyio_run(main)
    assert sorted(results, key=str) == [1, 2, "after"]
    anyio_run(asyncify(below), 3)
    assert results[-1] == 3


def test_anyio_cancels_what_waits_below(anyio_run):
    async def main():
        def below(name):
            try:
                await_(anyio.sleep_forever())
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await_(anyio.sleep(0))
                log.append(name)
                raise

        def timeout():
            with anyio.move_on_after(0.001) as scope:
                await_(anyio.sleep_forever())
            return scope.cancelled_caught

        with anyio.move_on_after(0.001) as scope:
            await run_sync(below, "timeout")
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(0.001):
            await run_sync(below, "fail")
        assert await run_sync(timeout)
        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, below, "group")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    log = []
    anyio_run(main)
    assert log == ["timeout", "fail", "group"]


def test_anyio_works_in_anywhere_mode(run):
    async def main():
        def below(name):
            try:
                await_(anyio.sleep_forever())
            finally:
                log.append(name)

        async def task(name, *, task_status=anyio.TASK_STATUS_IGNORED):
            task_status.started(name)
            below(name)

        with anyio.move_on_after(0.001):
            below("timeout")
        async with anyio.create_task_group() as group:
            log.append(await_(group.start(task, "started")))
            group.start_soon(task, "soon")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        return await_(anyio.to_thread.run_sync(threading.current_thread))

    log = []
    assert run(main()) is not threading.current_thread()
    assert log[:2] == ["timeout", "started"]
    assert sorted(log[2:]) == ["soon", "started"]


# --- generators of the old kind, awaited below ---


def test_an_awaitable_in_c_can_be_awaited_below(run):
    async def main():
        def below(future):
            return await_(future)

        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        results = [below(future), below(asyncio.create_task(later("task")))]
        failed = loop.create_future()
        failed.set_exception(KeyError("failed"))
        with pytest.raises(KeyError, match="failed"):
            below(failed)
        results.append(below(types.coroutine(lambda: (yield from later_generator()))()))
        return results

    def later_generator():
        yield
        return "generator"

    assert run(main()) == ["future", "task", "generator"]


def test_no_warning_is_left_behind(run, unraisable):
    async def main():
        wait()
        await later()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
        gc.collect()
    assert not unraisable  # as a warning is that is raised where something is freed
