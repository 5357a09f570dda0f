"""asyncio's own tools show another process in anywhere mode as they show a plain loop.

Of tasks in a plain await they must show what they show on a plain loop, and of chains
that wait in await_() all calls from the task's coroutine to what is awaited.
"""

import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

if sys.version_info >= (3, 14):
    from asyncio.tools import build_task_table, get_all_awaited_by

new_tools = sys.version_info >= (3, 15, 2) or (3, 14, 10) <= sys.version_info < (3, 15)
pytestmark = [
    pytest.mark.isolated,
    pytest.mark.alone,
    pytest.mark.skipif(
        not new_tools, reason="needs the tools of CPython 3.14.10 and 3.15.2"
    ),
]

BEGIN = """
import asyncio, ctypes, sys, time, uvloop, copool.aio
from copool.aio import await_, install, run_sync

mode, kind = sys.argv[1:]

def run(main):
    factory = uvloop.new_event_loop if kind == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        if kind == "eager":
            runner.get_loop().set_task_factory(asyncio.eager_task_factory)
        if mode == "anywhere":
            install(runner.get_loop())
        runner.run(main)

def ready():
    # Who is not our parent may look into this process, too.
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    print("ready", flush=True)
"""

PLAIN = """
async def middle():
    await event.wait()

async def waiter():
    await middle()

async def awaits_a_task():
    await asyncio.create_task(waiter(), name="inner")

async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(waiter(), name="of a group")
        tasks.create_task(middle(), name="of a group, too")

async def gathers():
    await asyncio.gather(waiter(), middle(), event.wait())

async def generator():
    await middle()
    yield

async def iterates():
    async for _ in generator():
        pass

async def waits_for_long():
    async with asyncio.timeout(100):
        await asyncio.shield(waiter())

async def goes_on(n=0):
    for _ in range(3):
        await asyncio.sleep(0)
    await (goes_on(n - 1) if n else middle())
"""

IDLE = f"""{PLAIN}
async def main():
    global event
    event = asyncio.Event()
    kinds = (
        waiter, awaits_a_task, group, gathers, iterates, waits_for_long,
        lambda: goes_on(5),
    )
    tasks = [asyncio.create_task(make(), name=str(n)) for n, make in enumerate(kinds)]
    await asyncio.sleep(0.1)
    dropped = asyncio.create_task(waiter(), name="cancelled")
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.1, ready)
    await asyncio.sleep(100)

run(main())
"""

BUSY = f"""{PLAIN}
def key(_):
    ready()
    time.sleep(100)

def blocks():
    sorted([1], key=key)

async def calls():
    blocks()

async def blocker():
    await asyncio.sleep(0)
    begins = asyncio.create_task(waiter(), name="not begun")
    await calls()

async def main():
    global event
    event = asyncio.Event()
    waits = asyncio.create_task(waiter(), name="waits")
    await asyncio.sleep(0.01)
    await asyncio.create_task(blocker(), name="blocker")

run(main())
"""


@pytest.fixture
def program(tmp_path):
    """Runs a program until it is ready, and then until the block is left."""

    @contextmanager
    def program(script, mode="anywhere", kind="asyncio"):
        path = tmp_path / "program.py"
        path.write_text(BEGIN + script)
        with subprocess.Popen(
            [sys.executable, path, mode, kind], stdout=subprocess.PIPE, text=True
        ) as child:
            try:
                assert child.stdout.readline() == "ready\n"
                yield child
            finally:
                child.kill()

    return program


def tool(module, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "ermission" in done.stdout + done.stderr:
        pytest.skip("no process may look into another")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def table(pid):
    """Return what `ps` prints, but for what no two processes have alike."""
    text = tool("asyncio", "ps", pid)
    return [
        re.sub(r"^\d+|0x[0-9a-f]{2,}", "*", line).split() for line in text.splitlines()
    ]


def tree(pid):
    return tool("asyncio", "pstree", pid).splitlines()


def chains(pid):
    """Return the stacks in the rows of `ps` by the names of the tasks."""
    rows = build_task_table(get_all_awaited_by(pid))
    return {row[2]: row[3].split(" -> ") for row in rows}


@pytest.mark.parametrize("kind", ["asyncio", "eager", "uvloop"])
def test_what_waits_in_a_plain_await_looks_as_on_a_plain_loop(program, kind):
    with program(IDLE, "plain", kind) as child:
        expected = table(child.pid), tree(child.pid)
        stacks = list(chains(child.pid).values())
    with program(IDLE, "anywhere", kind) as child:
        assert (table(child.pid), tree(child.pid)) == expected
    assert ["Event.wait", "middle", "waiter"] in stacks
    assert ["Event.wait", "middle", "generator", "iterates"] in stacks
    assert ["Event.wait", "middle", *["goes_on"] * 6] in stacks


def test_what_runs_and_what_has_not_begun_looks_as_on_a_plain_loop(program):
    with program(BUSY, "plain") as child:
        expected = table(child.pid), tree(child.pid), chains(child.pid)
    with program(BUSY) as child:
        assert (table(child.pid), tree(child.pid), chains(child.pid)) == expected
    assert expected[2] == {
        "Task-1": ["main"],
        "waits": ["Event.wait", "middle", "waiter"],
        "blocker": ["blocker"],
        "not begun": ["waiter"],
    }


CHAINS = """
from copool import Coroutine

def leaf():
    await_(event.wait())

def calls():
    sorted([1], key=lambda _: leaf())

async def waits():
    calls()

async def inner():
    leaf()

async def awaits_what_waits():
    await inner()

async def awaits_a_task():
    await asyncio.create_task(waits(), name="inner")

async def enters():
    Coroutine(leaf).enter()

def generator():
    leaf()
    yield

class Made:
    def __init__(self, waits=False):
        if waits:
            list(generator())

def make(waits=False):
    Made(waits)

async def makes():
    for _ in range(1000):  # until CPython calls __init__() below a frame of its own
        make()
    make(True)

async def waits_for_a_coroutine():
    await_(inner())

async def bridges():
    await run_sync(calls)

def recurses(n):
    recurses(n - 1) if n else leaf()

async def is_deep():
    recurses(50)

async def goes_on():
    for _ in range(3):
        await_(asyncio.sleep(0))
        await asyncio.sleep(0)
        recurses(1)
        calls()

async def has_waited():
    await_(asyncio.sleep(0))
    await event.wait()

async def main():
    global event
    event = asyncio.Event()
    kinds = (
        waits, awaits_what_waits, awaits_a_task, enters, makes, waits_for_a_coroutine,
        bridges, is_deep, goes_on, has_waited,
    )
    tasks = [asyncio.create_task(make(), name=make.__name__) for make in kinds]
    tasks.append(asyncio.create_task(run_sync(calls), name="of a function"))
    tasks.append(asyncio.create_task(run_sync(await_, inner()), name="no frame"))
    future = asyncio.Future()
    tasks.append(asyncio.create_task(run_sync(await_, future), name="nothing"))
    await asyncio.sleep(0.1)
    asyncio.get_running_loop().call_later(0.1, ready)
    await asyncio.sleep(100)

run(main())
"""


@pytest.mark.parametrize("kind", ["asyncio", "eager", "uvloop"])
def test_what_waits_below_a_task_shows_its_whole_chain(program, kind):
    leaf = ["Event.wait", "leaf"]
    calls = [*leaf, "calls.<locals>.<lambda>", "calls"]
    deep = ["recurses"] * 31
    with program(CHAINS, kind=kind) as child:
        assert chains(child.pid) == {
            "Task-1": ["sleep", "main"],
            "waits": [*calls, "waits"],
            "awaits_what_waits": [*leaf, "inner", "awaits_what_waits"],
            "awaits_a_task": ["awaits_a_task"],
            "inner": [*calls, "waits"],
            "enters": [*leaf, "enters"],
            "makes": [*leaf, "generator", "Made.__init__", "make", "makes"],
            "waits_for_a_coroutine": [*leaf, "inner", "waits_for_a_coroutine"],
            "bridges": [*calls, "bridges"],
            "is_deep": [*leaf, *deep, "...", "is_deep"],
            "goes_on": [*leaf, "recurses", "recurses", "goes_on"],
            "has_waited": ["Event.wait", "has_waited"],
            "of a function": calls,
            "no frame": [*leaf, "inner"],
            "nothing": [""],
        }
        shown = tree(child.pid)
    lines = [re.sub(r"^[ │├└─]*|/.*/", "", line) for line in shown]
    source = [line.strip() for line in (BEGIN + CHAINS).splitlines()]
    call, sort, wait = (
        source.index(text) + 1
        for text in (
            "calls()",
            "sorted([1], key=lambda _: leaf())",
            "await_(event.wait())",
        )
    )
    first = lines.index("(T) waits") + 1
    assert lines[first : first + 4] == [
        f"waits program.py:{call}",
        f"calls program.py:{sort}",
        f"calls.<locals>.<lambda> program.py:{sort}",
        f"leaf program.py:{wait}",
    ]


def test_a_call_that_a_plain_task_awaits_shows_its_chain(program):
    script = CHAINS.replace("bridges, is_deep, goes_on, has_waited,", "bridges,")
    only = script[: script.index("    kinds = (")] + (
        "    task = asyncio.create_task(bridges())\n"
        "    asyncio.get_running_loop().call_later(0.1, ready)\n"
        "    await task\n\n"
        "run(main())\n"
    )
    with program(only, "plain") as child:
        assert chains(child.pid)["Task-2"] == [
            *("Event.wait", "leaf", "calls.<locals>.<lambda>", "calls", "bridges")
        ]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="new in 3.15")
@pytest.mark.parametrize("mode", ["running", "all"])
def test_the_profiler_attributes_time_to_tasks_as_on_a_plain_loop(
    program, tmp_path, mode
):
    def stacks(child):
        out = tmp_path / "stacks"
        options = ["--async-aware", "--async-mode", mode, "-d", "1", "--collapsed"]
        tool("profiling.sampling", "attach", *options, "-o", out, child.pid)
        return {
            re.sub(r"^tid:\d+;| \d+$", "", line)
            for line in out.read_text().splitlines()
        }

    with program(BUSY, "plain") as child:
        expected = stacks(child)
    with program(BUSY) as child:
        assert stacks(child) == expected
    assert any("blocker" in stack for stack in expected)


CHURN = """
def leaf(n):
    await_(asyncio.sleep(0))
    return leaf(n - 1) if n else 0

async def waits(n):
    leaf(n)
    await asyncio.sleep(0)
    leaf(n // 2)

async def main():
    asyncio.get_running_loop().call_soon(ready)
    for n in range(100):
        tasks = [asyncio.create_task(waits(i % 20)) for i in range(100)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

run(main())
print("done")
"""


def test_a_process_that_is_read_while_it_goes_on_does_not_notice(program):
    from _remote_debugging import RemoteUnwinder

    seen = set()
    with program(CHURN) as child:
        while child.poll() is None:
            try:
                result = RemoteUnwinder(child.pid).get_all_awaited_by()
            except Exception:  # as of a process with plain coroutines
                continue
            for thread in result:
                for task in thread.awaited_by:
                    for stack in task.coroutine_stack:
                        seen.add(tuple(call.funcname for call in stack.call_stack))
        assert (child.wait(), child.stdout.read()) == (0, "done\n")
    assert ("sleep", "leaf", "leaf", "waits") in seen
