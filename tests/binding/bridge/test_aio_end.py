"""What a loop, a thread or a process leaves suspended is closed; tools still see it."""

import sys

import pytest

pytestmark = pytest.mark.isolated

PRELUDE = """
import asyncio, atexit, gc, os, sys, threading, warnings
import copool
from copool.aio import await_, run, run_sync

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Step:
    def __await__(self):
        yield

def waits(name="call", step=None):
    try:
        await_(step or Step())
    finally:
        say("finally", name, type(sys.exception()).__name__)

async def task(name="task"):
    waits(name, asyncio.Event().wait())
"""

ENDLESS = """
refused = []
def endless():
    while True:
        try:
            await_(Step())
        except KeyError:
            return
        except BaseException as error:
            refused.append(error)
"""

# Script, exit status, what it prints, what it writes to stderr.
ENDS = {
    "the process, with a suspended call": (
        "b = run_sync(waits); b.send(None)",
        0,
        ["finally call GeneratorExit"],
        "",
    ),
    "the process, with a parked stack": ("run_sync(int).close()", 0, [], ""),
    "the loop, with suspended tasks": (
        """
async def main():
    global kept
    kept = [asyncio.create_task(task()) for i in range(2)]
    await asyncio.sleep(0)
    say("end")
run(main())
""",
        0,
        ["end", "finally task CancelledError", "finally task CancelledError"],
        "",
    ),
    "the loop, which drops tasks when it is closed": (
        """
loop = asyncio.new_event_loop()
copool.aio.install(loop)
t = loop.create_task(task())
loop.run_until_complete(asyncio.sleep(0))
loop.close()
say("closed")
t._log_destroy_pending = False
del t
gc.collect()
say("end")
""",
        0,
        ["closed", "finally task GeneratorExit", "end"],
        "",
    ),
    "the process, with a loop that was closed over its tasks": (
        """
loop = asyncio.new_event_loop()
copool.aio.install(loop)
t = loop.create_task(task())
loop.run_until_complete(asyncio.sleep(0))
loop.close()
t._log_destroy_pending = False
""",
        0,
        ["finally task GeneratorExit"],
        "",
    ),
    "the task, by sys.exit()": (
        """
async def main():
    t = asyncio.create_task(task())
    await asyncio.sleep(0)
    await run_sync(sys.exit, 3)
run(main())
""",
        3,
        ["finally task CancelledError"],
        "",
    ),
    "the process, by os._exit()": (
        "b = run_sync(waits); b.send(None)\\nrun_sync(os._exit, 4).send(None)",
        4,
        [],
        "",
    ),
    "a thread, with its own loop": (
        """
def work():
    b = run_sync(waits, "left over")
    b.send(None)
    async def main():
        t = asyncio.create_task(task())
        await asyncio.sleep(0)
        kept.append(b)
    run(main())
kept = []
t = threading.Thread(target=work)
t.start()
t.join()
say("joined", copool.stats().live)
""",
        0,
        ["finally task CancelledError", "finally left over GeneratorExit", "joined 0"],
        "",
    ),
    "the child of a fork, which goes on below the call": (
        """
def forks():
    await_(Step())
    pid = os.fork()
    await_(Step())
    if pid:
        os.waitpid(pid, 0)
    say("parent" if pid else "child")
b = run_sync(forks)
list(b)
""",
        0,
        ["child", "parent"],
        "",
    ),
    "the child of a fork, whose other thread had calls": (
        """
ready, go = threading.Event(), threading.Event()
def work():
    global b
    b = run_sync(waits)
    b.send(None)
    ready.set()
    go.wait()
t = threading.Thread(target=work)
t.start()
ready.wait()
warnings.simplefilter("ignore")
pid = os.fork()
if not pid:
    try:
        b.send(None)
    except RuntimeError as error:
        say("child:", "cannot reuse" in str(error))
    list(run_sync(int))
    say("child ends")
    os._exit(0)
os.waitpid(pid, 0)
go.set()
t.join()
""",
        0,
        ["child: True", "child ends", "finally call GeneratorExit"],
        "",
    ),
    "an error while the process ends": (
        """
def bad():
    try:
        await_(Step())
    finally:
        raise KeyError("x")
b = run_sync(bad); b.send(None)
""",
        0,
        [],
        "KeyError: 'x'",
    ),
    "nothing, since it waits while it is closed": (
        """
def stubborn():
    try:
        await_(Step())
    finally:
        try:
            await_(Step())
        finally:
            say("really")
b = run_sync(stubborn); b.send(None)
""",
        0,
        ["really"],
        "is being closed",
    ),
    "a call that catches everything and waits again, which goes on": (
        ENDLESS
        + """
b = run_sync(endless); b.send(None)
try:
    b.close()
except RuntimeError as error:
    say(len(refused), "ignored GeneratorExit" in str(error))
say(b.send(None), len(refused), b.send(None))
try:
    b.throw(KeyError)
except StopIteration:
    say("ended")
""",
        0,
        ["101 True", "None 101 None", "ended"],
        "",
    ),
    "the process, with such a call": (
        ENDLESS + "b = run_sync(endless); b.send(None)",
        0,
        [],
        "ignored GeneratorExit",
    ),
    "a thread, with such a call": (
        ENDLESS
        + """
def work():
    kept.append(run_sync(endless))
    kept[0].send(None)
kept = []
sys.unraisablehook = lambda unraisable: say(type(unraisable.exc_value).__name__)
t = threading.Thread(target=work)
t.start()
t.join()
say(len(refused), copool.stats().live)
""",
        0,
        ["RuntimeError", "101 0"],
        "",
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_ends_closes_its_calls(python, what):
    script, code, lines, errors = ENDS[what]
    done = python(PRELUDE + script.replace("\\n", "\n"))
    assert (done.lines, done.code) == (lines, code), done.errors
    assert errors in done.errors
    assert bool(errors) == bool(done.errors), done.errors


def test_a_hundred_thousand_tasks_wait_at_once(python):
    done = python(
        PRELUDE
        + """
async def one(i):
    await asyncio.sleep(0)
    return await_(gate) + i

async def main():
    global gate
    gate = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(one(i)) for i in range(100_000)]
    while copool.stats().live < 100_000:
        await asyncio.sleep(0)
    gate.set_result(1)
    return sum(await asyncio.gather(*tasks))

say(run(main()) == 100_000 + sum(range(100_000)))
"""
    )
    assert done.lines == ["True"], done.errors


REAL = """
import asyncio, sys
import copool.aio
from copool.aio import await_, run_sync
import greenlet
if copool.greenlet.installed():
    raise ImportError("the real greenlet is needed")
"""


@pytest.fixture
def real_greenlet():
    pytest.importorskip("greenlet")


@pytest.mark.usefixtures("real_greenlet")
def test_await_in_a_greenlet_of_another_library_is_refused(python):
    done = python(
        REAL
        + """
def waits():
    try:
        await_(asyncio.sleep(0))
    except copool.CoroutineError as error:
        return "another library" in str(error)

def fn():
    def generator():
        yield await_(asyncio.sleep(0, 1))
    return greenlet.greenlet(waits).switch(), list(generator())

print(asyncio.run(run_sync(fn)))
"""
    )
    assert (done.lines, done.errors) == (["(True, [1])"], "")


@pytest.mark.usefixtures("real_greenlet")
def test_thread_stack_is_refused_in_a_greenlet_of_another_library(python):
    done = python(
        REAL
        + """
from copool import Coroutine, on_thread_stack

def child():
    return greenlet.getcurrent().parent.switch(1)

def refused():
    try:
        on_thread_stack(child)
    except copool.CoroutineError as error:
        return "another library" in str(error)

def own():
    g = greenlet.greenlet(child)
    return g.switch(), g.switch(2)

def fn():
    return greenlet.greenlet(refused).switch(), on_thread_stack(own)

print(Coroutine(fn).enter())
print(greenlet.greenlet(Coroutine(lambda: on_thread_stack(own)).enter).switch())
"""
    )
    assert (done.lines, done.errors) == (["(True, (1, 2))", "(1, 2)"], "")


@pytest.mark.usefixtures("real_greenlet")
def test_anywhere_mode_refuses_greenlets_of_another_library(python):
    done = python(
        REAL
        + """
async def main(): await_(asyncio.sleep(0))
async def inside():
    try:
        copool.aio.install()
    except RuntimeError as error:
        print(greenlet.__file__.replace("__init__", "_greenlet")[:-3] in str(error)
              or greenlet.__file__ in str(error), "copool run" in str(error))
asyncio.run(inside())
co = main()
try:
    copool.aio.run(co)
except RuntimeError:
    co.close()
print(copool.aio.run(main(), foreign_greenlets=True))
made = []
def make():
    made.append(asyncio.new_event_loop())
    return made[-1]
try:
    copool.aio.new_event_loop(make)
except RuntimeError as error:
    print("copool run" in str(error), made)
with asyncio.Runner(
    loop_factory=lambda: copool.aio.new_event_loop(make, foreign_greenlets=True)
) as runner:
    print(runner.run(main()), runner.get_loop() is made.pop())
"""
    )
    assert (done.lines, done.errors) == (
        ["True True", "None", "True []", "None True"],
        "",
    )


@pytest.mark.usefixtures("real_greenlet")
def test_anywhere_mode_gives_those_who_import_greenlet_copools(python):
    done = python(
        """
import asyncio, copool.aio, copool.greenlet
from copool.aio import await_

async def main():
    import greenlet
    def child():
        parent = greenlet.getcurrent().parent
        return [parent.switch(i) for i in range(2)]
    g = greenlet.greenlet(child)
    first = g.switch()
    await asyncio.sleep(0)
    await_(asyncio.sleep(0))
    return copool.greenlet.installed(), first, g.switch("a"), g.switch("b")

print(copool.aio.run(main()))
"""
    )
    assert (done.lines, done.errors) == (["(True, 0, 1, ['a', 'b'])"], "")


# A tool that follows calls and returns, as coverage does, is right only if what is
# on a stack of its own has a trace function of its own.
FOLLOW = """
wrong, followers = [], 0

class Follower:
    def __init__(self):
        global followers
        followers += 1
        self.stack = []

    def __call__(self, frame, event, arg):
        if event == "call":
            self.stack.append(frame)
        elif self.stack[-1:] != [frame]:
            wrong.append((event, frame.f_code.co_name, frame.f_lineno))
        elif event == "return":
            self.stack.pop()
        return self

def begin(frame, event, arg):
    follower = Follower()
    sys.settrace(follower)
    return follower(frame, event, arg)

def deep(n):
    if n:
        return deep(n - 1)
    await_(asyncio.sleep(0))
    return n

async def one():
    for i in range(50):
        await asyncio.sleep(0)
        deep(3)
        await run_sync(deep, 2)

async def main():
    await asyncio.gather(*(one() for _ in range(3)))
"""


def test_each_stack_has_the_trace_function_that_threads_would_get(python):
    done = python(
        PRELUDE
        + FOLLOW
        + """
threading.settrace(begin)
sys.settrace(begin)
run(main())
sys.settrace(None)
threading.settrace(None)
say("wrong", wrong, followers < 12)
"""
    )
    assert (done.lines, done.errors) == (["wrong [] True"], "")


def test_a_parked_stack_does_not_keep_the_trace_function_of_before(python):
    done = python(
        PRELUDE
        + """
def make(log):
    def trace(frame, event, arg):
        log.append(frame.f_code.co_name)
    return trace

def traced(): pass

first, second, third = [], [], []
for log, for_threads in ((first, True), (second, True), (third, False)):
    threading.settrace(make(log) if for_threads else None)
    sys.settrace(make(log))
    list(run_sync(traced))
    sys.settrace(None)
threading.settrace(None)
list(run_sync(traced))
say(*(log.count("traced") for log in (first, second, third)))
"""
    )
    assert (done.lines, done.errors) == (["1 1 1"], "")


def test_a_parked_stack_gets_a_trace_function_again(python):
    done = python(
        PRELUDE
        + """
def hook(frame, event, arg):
    if frame.f_code is call.__code__:
        say("hook")
        sys.settrace(lambda *_: None)

def call(): pass

def other(frame, event, arg): pass

threading.settrace(hook)
for trace in (other, None, other):
    sys.settrace(trace)
    list(run_sync(call))
    sys.settrace(None)
threading.settrace(None)
"""
    )
    assert (done.lines, done.errors) == (["hook", "hook"], "")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it needs no trace function")
def test_coverage_is_right(lines_missed):
    program = """\
import asyncio
import helper
from copool.aio import run

async def work(n):
    for i in range(n):
        await asyncio.sleep(0)
        helper.odd() if i % 2 else helper.even()

def never():
    return 1

async def main():
    await asyncio.gather(*(work(4) for _ in range(4)))

run(main())
"""
    helper = """\
import asyncio
from copool.aio import await_

def odd():
    if await_(asyncio.sleep(0)):
        return 5
    return 1

def even():
    await_(asyncio.sleep(0))
    return 2
"""
    missed = lines_missed(program=program, helper=helper)
    assert missed == {"program": [11], "helper": [6]}
