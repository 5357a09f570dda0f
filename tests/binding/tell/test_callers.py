"""Who entered a coroutine follows its frames while it runs, and only then."""

import asyncio
import faulthandler
import gc
import inspect
import io
import logging
import random
import subprocess
import sys
import tempfile
import threading
import traceback
import tracemalloc
import warnings

import pytest

import copool.aio
import copool.greenlet
from copool import Coroutine, yield_


def functions(frame):
    names = []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def own(frames):
    """The part of them that is this file's."""
    end = next(i for i, name in enumerate(frames) if name.startswith("test_"))
    return frames[: end + 1]


def here():
    return own(functions(sys._getframe(1)))


def test_what_looks_at_frames_sees_the_whole_chain():
    seen = {}

    def leaf():
        seen["inspect"] = own([info.function for info in inspect.stack()])
        seen["traceback"] = own(
            [entry.name for entry in reversed(traceback.extract_stack())]
        )
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=False)
            file.seek(0)
            lines = file.read().splitlines()[1:]
        seen["faulthandler"] = own([line.rpartition(" in ")[2] for line in lines])
        current = sys._current_frames()[threading.get_ident()]
        seen["current"] = own(functions(current))

    def top():
        sorted([1], key=lambda _: leaf())

    def drive():
        Coroutine(top).enter()

    drive()
    chain = ["leaf", "<lambda>", "top", "drive", here()[0]]
    assert seen["inspect"] == seen["traceback"] == seen["current"] == chain
    # It shows the frame at the boundary, which has nothing but a name.
    assert seen["faulthandler"] == [*chain[:3], "enter", *chain[3:]]


def test_warnings_and_logging_find_the_caller():
    def body():
        warnings.warn("from below", stacklevel=3)
        logging.getLogger("below").warning("from below", stacklevel=3)

    def drive():
        Coroutine(body).enter()

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(filename)s %(funcName)s"))
    logger = logging.getLogger("below")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            drive()
    finally:
        logger.removeHandler(handler)
    lines, first = inspect.getsourcelines(sys._getframe().f_code)
    call = first + lines.index("            drive()\n")
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, call)]
    assert stream.getvalue() == f"{__file__.rpartition('/')[2]} {here()[0]}\n"


def test_tracemalloc_goes_on_in_the_caller():
    kept = []

    def body():
        kept.append(bytearray(100_003))
        yield_()
        kept.append(bytearray(100_003))

    def first(co):
        co.enter()

    def second(co):
        co.enter()

    tracemalloc.start(25)
    try:
        co = Coroutine(body)
        first(co)
        second(co)
        traces = [tracemalloc.get_object_traceback(each) for each in kept]
    finally:
        tracemalloc.stop()
    by = [inspect.getsourcelines(entered)[1] + 1 for entered in (first, second)]
    assert [trace[-2].lineno for trace in traces] == by


def test_a_suspended_one_shows_its_own_frames_only():
    def inner():
        yield_(functions(sys._getframe()))
        return functions(sys._getframe())

    def outer():
        return inner()

    co = Coroutine(outer)
    assert own(co.enter()) == ["inner", "outer", here()[0]]
    frame = co.frame
    assert functions(frame) == ["inner", "outer"]
    assert inspect.getouterframes(frame)[-1].function == "outer"
    gc.collect()
    assert own(co.enter()) == ["inner", "outer", here()[0]]


def test_one_that_waits_is_followed_by_who_entered_it():
    def inner():
        return functions(first.frame), functions(second.frame)

    def outer():
        return second.enter()

    first, second = Coroutine(outer), Coroutine(inner)
    outer_frames, inner_frames = first.enter()
    assert own(outer_frames) == ["outer", here()[0]]
    assert own(inner_frames) == ["inner", "outer", here()[0]]


def test_the_frame_of_one_without_frames_is_not_its_callers():
    def look():
        return waits.frame, co.frame

    co = Coroutine(look)
    waits = Coroutine(co.enter)
    nothing, frame = waits.enter()
    assert nothing is None
    assert frame.f_code.co_name == "look"


def test_an_exception_keeps_the_frames_that_it_came_through():
    def fails():
        raise ZeroDivisionError

    def body():
        try:
            fails()
        except ZeroDivisionError as error:
            return error.__traceback__.tb_next.tb_frame

    frame = Coroutine(body).enter()
    gc.collect()
    assert own(functions(frame)) == ["fails", "body", here()[0]]


def test_the_caller_may_be_gone_when_a_frame_is_asked():
    def body():
        yield_()
        yield_()

    def drive(co):
        big = bytearray(1000)
        co.enter()
        del big

    co = Coroutine(body)
    for _ in range(3):
        drive(co)
        gc.collect()
        if not co.done:
            assert functions(co.frame) == ["body"]
    assert co.done


def test_in_a_thread_and_in_one_that_was_entered_elsewhere():
    seen = []

    def body():
        seen.append(functions(sys._getframe()))
        yield_()
        seen.append(functions(sys._getframe()))

    def run():
        co = Coroutine(body)
        co.enter()
        again(co)

    def again(co):
        co.enter()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen[0][:3] == ["body", "run", "run"]
    assert seen[1][:3] == ["body", "again", "run"]
    assert seen[0][-1] == "_bootstrap"


def test_a_step_is_followed_by_the_loop():
    seen = []

    def plain():
        seen.append(functions(sys._getframe()))
        copool.aio.await_(asyncio.sleep(0))
        seen.append(functions(sys._getframe()))
        seen.append(functions(asyncio.current_task().get_coro().cr_frame or None))

    async def main():
        await asyncio.sleep(0)
        plain()

    copool.aio.run(main(), foreign_greenlets=True)
    for frames in seen[:2]:
        assert frames[:2] == ["plain", "main"]
        assert "run_forever" in own(frames)


def test_a_chain_that_waits_ends_with_its_task():
    def plain(future):
        copool.aio.await_(future)

    async def waits(future):
        plain(future)

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(waits(future))
        await asyncio.sleep(0)
        frame = task.get_stack()[-1]
        future.set_result(None)
        await task
        return functions(frame)

    assert copool.aio.run(main(), foreign_greenlets=True)[:1] == ["plain"]


def test_a_debugger_returns_to_the_caller():
    """`return` in the outermost function stops there."""
    program = (
        "from copool import Coroutine\n"
        "def body():\n"
        "    return 1\n"
        "def drive():\n"
        "    value = Coroutine(body).enter()\n"
        "    return value\n"
        "drive()\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(program)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "pdb", file.name],
            input="break 3\ncontinue\nreturn\nnext\nwhere\nquit\n",
            capture_output=True,
            text=True,
            check=False,
        )
    after = done.stdout.partition("--Return--")[2]
    assert "drive()" in after
    assert "-> return value" in after


@pytest.mark.parametrize("wanted", [False, True])
def test_greenlets_end_where_greenlets_do_unless_asked(wanted):
    program = """
import sys
import copool.greenlet
copool.greenlet.install()
import copool, greenlet

def functions():
    frame, names = sys._getframe(1), []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    print(*names)

def inner():
    functions()
    copool.yield_()
    main.switch()
    functions()

def body():
    functions()
    main.switch()
    functions()
    co = copool.Coroutine(inner)
    co.enter()
    co.enter()

def one():
    g.switch()

def two():
    one()

main = greenlet.getcurrent()
g = greenlet.greenlet(body)
two()
one()
print(g.gr_frame.f_back.f_code.co_name, g.gr_frame.f_back.f_back)
two()
print(g.dead, sys._getframe().f_back)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"COPOOL_GREENLET_CALLERS": str(int(wanted))},
        capture_output=True,
        text=True,
        check=True,
    )
    one, two = (" one <module>", " one two <module>") if wanted else ("", "")
    assert done.stdout.splitlines() == [
        f"body{two}",
        f"body{one}",
        f"inner body{one}",
        "body None",
        f"inner body{two}",
        "True None",
    ]


def test_greenlets_callers_are_a_flag():
    done = subprocess.run(
        [sys.executable, "-c", "import copool; copool.stats()"],
        env={"COPOOL_GREENLET_CALLERS": "yes"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "COPOOL_GREENLET_CALLERS must be 0 or 1, not 'yes'" in done.stderr


@pytest.mark.parametrize("seed", range(5))
def test_frames_say_what_happened(seed):
    """Coroutines enter each other at random; the frames say in which order."""
    choose = random.Random(seed)
    running, alive, looked = [], [], 0

    def look():
        nonlocal looked
        frame, found = sys._getframe(1), []
        while frame.f_code is not test.__code__:
            if frame.f_code is body.__code__:
                found.append(frame.f_locals["me"])
            frame = frame.f_back
        assert found == running[::-1]
        looked += 1

    def steps(me):
        look()
        yield
        look()

    def body(me):
        while choose.random() < 0.9:
            for _ in steps(me):
                if choose.random() < 0.5:
                    step(choose.choice(alive))
                if choose.random() < 0.5:
                    yield_()
            sorted([0], key=lambda _: look())
            yield_()

    def step(pair):
        me, co = pair
        if co.state not in ("created", "suspended"):
            return
        running.append(me)
        co.enter(me) if co.state == "created" else co.enter()
        running.pop()

    def test():
        for me in range(200):
            alive[:] = [pair for pair in alive if not pair[1].done]
            alive.append((me, Coroutine(body)))
            step(choose.choice(alive))
            if choose.random() < 0.05:
                gc.collect()
        for _, co in alive:
            co.close()

    test()
    assert looked > 200
