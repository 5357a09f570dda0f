"""copool.profile() finds the calls, callers and times that there were.

By a clock of our own.
"""

import asyncio
import cProfile
import io
import pstats
import sys
import threading

import pytest

import copool
import copool.aio
from copool import Coroutine, _core, yield_

names = _core._greenlet_names()
ticks = 0


class Clock:
    """A chain's clock, by which a second passes at each call of tick()."""

    def __init__(self):
        self.ran, self.started = 0, None

    def __call__(self):
        return self.ran + (0 if self.started is None else ticks - self.started)

    def start(self):
        if self.started is None:
            self.started = ticks

    def stop(self):
        self.ran, self.started = self(), None


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch):
    monkeypatch.setattr(_core, "_Clock", Clock)


def tick(n):
    global ticks
    ticks += n * 1_000_000_000


def rounded(row):
    """Return (calls, own seconds, seconds in all)."""
    return (row[1], round(row[2], 6), round(row[3], 6))


def figures(profiler, *wanted):
    """Return figures of functions by their names."""
    rows = {label[2]: row for label, row in profiler.stats.items()}
    return {name: rounded(rows[name]) for name in wanted}


def callers(profiler, function):
    """Return figures of its calls by the names of the callers."""
    row = next(row for label, row in profiler.stats.items() if label[2] == function)
    return {label[2]: rounded(calls) for label, calls in row[4].items()}


def seconds(profiler):
    """Return the sum of the times that all functions took themselves."""
    return round(sum(row[2] for row in profiler.stats.values()), 6)


ENTER = "<method 'enter' of 'copool.Coroutine' objects>"


# A does three seconds a turn, B one, main one, at some depth.


def a_work():
    tick(3)


def b_work():
    tick(1)


def m_work():
    tick(1)


def a_deep(stop, depth):
    if depth:
        return a_deep(stop, depth - 1)
    a_work()
    return stop()


def b_deep(stop):
    sorted([0], key=lambda _: (b_work(), stop())[0])


def a_step(stop):
    a_deep(stop, 2)


def a_top(stop, turns):
    for _ in range(turns):
        a_step(stop)


def b_top(stop, turns):
    for _ in range(turns):
        b_deep(stop)


def turn(enter_a, enter_b):
    enter_a()
    m_work()
    enter_b()


def run(enter_a, enter_b, turns):
    for _ in range(turns):
        turn(enter_a, enter_b)


def starts(co, *args):
    """Return what enters a coroutine: the first time with arguments."""
    return lambda: co.enter(*args) if co.state == "created" else co.enter()


def test_coroutines_that_take_turns():
    a, b = Coroutine(a_top), Coroutine(b_top)
    with copool.profile() as profiler:
        run(starts(a, yield_, 10), starts(b, yield_, 10), 10)
    a.close()
    b.close()
    assert figures(profiler, "run", "turn", "a_top", "a_step", "a_deep", "a_work") == {
        "run": (1, 0, 50),
        "turn": (10, 0, 50),
        "a_top": (1, 0, 30),
        "a_step": (10, 0, 30),
        "a_deep": (30, 0, 30),
        "a_work": (10, 0, 30),
    }
    assert figures(profiler, "b_top", "b_deep", "b_work", "m_work", ENTER) == {
        "b_top": (1, 0, 10),
        "b_deep": (10, 0, 10),
        "b_work": (10, 0, 10),
        "m_work": (10, 0, 10),
        ENTER: (20, 0, 40),
    }
    assert callers(profiler, "m_work") == {"turn": (10, 0, 10)}
    assert callers(profiler, "a_top") == {ENTER: (10, 0, 30)}
    assert callers(profiler, "a_step") == {"a_top": (10, 0, 30)}
    assert seconds(profiler) == 50


def test_cprofile_has_other_figures():
    # Else there would be no need for this.
    a, b = Coroutine(a_top), Coroutine(b_top)
    with cProfile.Profile(lambda: ticks, 1e-9) as profiler:
        run(starts(a, yield_, 10), starts(b, yield_, 10), 10)
    a.close()
    b.close()
    profiler.create_stats()
    assert figures(profiler, "m_work") == {"m_work": (10, 0, 10)}
    assert figures(profiler, "a_top")["a_top"] != (1, 0, 30)


def test_greenlets_that_take_turns():
    main = names["getcurrent"]()
    a, b = names["greenlet"](a_top), names["greenlet"](b_top)

    def enter(g):
        first = (main.switch, 10)
        return lambda: g.switch() if g else g.switch(*first)

    with copool.profile() as profiler:
        run(enter(a), enter(b), 10)
    assert figures(profiler, "run", "turn", "a_top", "a_step", "b_top", "m_work") == {
        "run": (1, 0, 10),
        "turn": (10, 0, 10),
        "a_top": (1, 0, 30),
        "a_step": (10, 0, 30),
        "b_top": (1, 0, 10),
        "m_work": (10, 0, 10),
    }
    assert callers(profiler, "m_work") == {"turn": (10, 0, 10)}
    assert callers(profiler, "a_top") == {}
    assert seconds(profiler) == 50


class Pause:
    def __await__(self):
        yield


def test_chains_that_are_awaited():
    def stop():
        copool.aio.await_(Pause())

    a = copool.aio.run_sync(a_top, stop, 10)
    b = copool.aio.run_sync(b_top, stop, 10)
    with copool.profile() as profiler:
        run(lambda: a.send(None), lambda: b.send(None), 10)
    a.close()
    b.close()
    assert figures(profiler, "run", "turn", "a_top", "a_step", "b_top", "m_work") == {
        "run": (1, 0, 50),
        "turn": (10, 0, 50),
        "a_top": (1, 0, 30),
        "a_step": (10, 0, 30),
        "b_top": (1, 0, 10),
        "m_work": (10, 0, 10),
    }
    assert seconds(profiler) == 50


def test_tasks_in_anywhere_mode():
    def stop():
        copool.aio.await_(asyncio.sleep(0))

    async def a_task():
        a_top(stop, 10)

    async def b_task():
        for _ in range(10):
            b_work()
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(a_task(), b_task())

    with copool.profile() as profiler:
        copool.aio.run(main(), foreign_greenlets=True)
    assert figures(profiler, "a_top", "a_step", "a_work", "b_work") == {
        "a_top": (1, 0, 30),
        "a_step": (10, 0, 30),
        "a_work": (10, 0, 30),
        "b_work": (10, 0, 10),
    }
    assert callers(profiler, "b_work") == {"b_task": (10, 0, 10)}
    assert seconds(profiler) == 40


def test_coroutines_that_enter_others():
    def inner():
        tick(1)
        yield_()
        tick(10)

    def outer():
        co = Coroutine(inner)
        co.enter()
        tick(100)
        yield_()
        co.enter()

    def main():
        co = Coroutine(outer)
        co.enter()
        tick(1000)
        co.enter()

    with copool.profile() as profiler:
        main()
    assert figures(profiler, "main", "outer", "inner") == {
        "main": (1, 0, 1111),
        "outer": (1, 0, 111),
        "inner": (1, 0, 11),
    }
    assert callers(profiler, "tick")["main"] == (1, 1000, 1000)
    assert callers(profiler, "inner") == {ENTER: (2, 0, 11)}
    assert seconds(profiler) == 1111


def test_greenlets_that_enter_coroutines():
    main = names["getcurrent"]()

    def inner():
        tick(1)
        main.switch()
        tick(2)

    def outer():
        Coroutine(inner).enter()
        tick(4)

    def drive():
        g = names["greenlet"](outer)
        g.switch()
        tick(8)
        g.switch()

    with copool.profile() as profiler:
        drive()
    assert figures(profiler, "drive", "outer", "inner") == {
        "drive": (1, 0, 8),
        "outer": (1, 0, 7),
        "inner": (1, 0, 3),
    }
    assert callers(profiler, "inner") == {ENTER: (1, 0, 3)}


def test_coroutines_by_iteration_are_called_by_the_loop():
    def numbers():
        tick(1)
        yield_(1)
        tick(1)

    def loop():
        for _ in Coroutine(numbers):
            tick(10)

    with copool.profile() as profiler:
        loop()
    assert figures(profiler, "loop", "numbers") == {
        "loop": (1, 0, 12),
        "numbers": (1, 0, 2),
    }
    assert callers(profiler, "numbers") == {"loop": (2, 0, 2)}


def test_what_raises():
    def fails():
        tick(1)
        raise KeyError

    def is_thrown_at():
        try:
            tick(1)
            yield_()
        finally:
            tick(10)

    def main():
        co = Coroutine(is_thrown_at)
        co.enter()
        with pytest.raises(KeyError):
            Coroutine(fails).enter()
        with pytest.raises(ValueError, match="thrown"):
            co.throw(ValueError("thrown"))
        tick(100)

    with copool.profile() as profiler:
        main()
    assert figures(profiler, "main", "fails", "is_thrown_at") == {
        "main": (1, 0, 112),
        "fails": (1, 0, 1),
        "is_thrown_at": (1, 0, 11),
    }


def test_what_is_suspended_at_the_end_counts_up_to_then():
    def suspended():
        tick(1)
        yield_()

    def main():
        co = Coroutine(suspended)
        co.enter()
        tick(10)
        return co

    with copool.profile() as profiler:
        co = main()
    co.close()
    assert figures(profiler, "main", "suspended") == {
        "main": (1, 0, 11),
        "suspended": (1, 0, 1),
    }


def test_what_was_suspended_at_the_beginning():
    def called():
        tick(2)

    def suspended():
        yield_()
        called()

    co = Coroutine(suspended)
    co.enter()

    def main():
        co.enter()
        tick(10)

    tick(1000)
    with copool.profile() as profiler:
        main()
    assert figures(profiler, "main", "called") == {
        "main": (1, 0, 12),
        "called": (1, 0, 2),
    }


def test_it_begins_and_ends_in_a_coroutine():
    found = []

    def called():
        tick(1)

    def inside():
        with copool.profile() as profiler:
            called()
            yield_()
            called()
        found.append(profiler)
        called()

    co = Coroutine(inside)
    co.enter()
    tick(10)
    called()
    co.enter()
    assert figures(found[0], "called") == {"called": (3, 0, 3)}


def test_it_ends_in_another_chain_than_it_began_in():
    def called():
        tick(1)

    profiler = copool.profile()

    def begins():
        profiler.__enter__()
        yield_()

    co = Coroutine(begins)
    co.enter()
    called()
    profiler.__exit__(None, None, None)
    called()
    co.close()
    assert figures(profiler, "called") == {"called": (1, 0, 1)}


def test_thousands_one_after_the_other_share_a_profiler():
    def short():
        tick(1)

    def main():
        for _ in range(1000):
            Coroutine(short).enter()

    with copool.profile() as profiler:
        main()
        count = len(profiler._chains)
    assert count == 2
    assert figures(profiler, "main", "short") == {
        "main": (1, 0, 1000),
        "short": (1000, 0, 1000),
    }


def test_threads_have_stacks_of_their_own():
    turns = threading.Semaphore(1), threading.Semaphore(0)

    def in_thread(mine, others):
        def stop():
            yield_()

        co = Coroutine(a_top)
        for _ in range(5):
            mine.acquire()
            starts(co, stop, 5)()
            others.release()
        co.close()

    threads = [
        threading.Thread(target=in_thread, args=order) for order in (turns, turns[::-1])
    ]
    with copool.profile() as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert figures(profiler, "a_step", "a_work") == {
        "a_step": (10, 0, figures(profiler, "a_step")["a_step"][2]),
        "a_work": (10, 0, figures(profiler, "a_work")["a_work"][2]),
    }
    assert set(callers(profiler, "a_step")) == {"a_top"}
    assert callers(profiler, "a_top")[ENTER][0] == 10


@pytest.mark.skipif(sys.version_info < (3, 12), reason="only those that begin then")
def test_threads_that_were_there_before():
    begin, done = threading.Event(), threading.Event()

    def called():
        tick(1)

    def in_thread():
        begin.wait()
        Coroutine(called).enter()
        done.set()

    thread = threading.Thread(target=in_thread)
    thread.start()
    with copool.profile() as profiler:
        begin.set()
        done.wait()
    thread.join()
    assert figures(profiler, "called")["called"][:2] == (1, 0)


def test_what_runs_when_a_thread_has_ended():
    ran = []

    class Last:
        def __del__(self):
            ran.append(len("last"))

    local = threading.local()

    def in_thread():
        local.last = Last()
        Coroutine(tick).enter(1)

    with copool.profile() as profiler:
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
    assert ran == [4]
    assert figures(profiler, "in_thread")["in_thread"][:2] == (1, 0)


def test_one_after_the_other():
    def called():
        tick(1)

    for _ in range(3):
        with copool.profile() as profiler:
            Coroutine(called).enter()
        assert figures(profiler, "called") == {"called": (1, 0, 1)}


def test_calls_are_those_that_cprofile_counts():
    def count(depth):
        return sum(count(depth - 1) for _ in range(3)) if depth else len("x")

    def work():
        sorted(str(i) for i in range(10))
        return count(4)

    names = ["work", "count", "<genexpr>", "<built-in method builtins.sum>"]
    names += ["<built-in method builtins.len>", "<built-in method builtins.sorted>"]
    found = []
    for profiler in (cProfile.Profile(), copool.profile()):
        with profiler:
            work()
        profiler.create_stats()
        rows = {label[2]: row[:2] for label, row in profiler.stats.items()}
        found.append({name: rows[name] for name in names})
    assert found[0] == found[1]
    assert found[1]["count"] == (1, 121)


def test_only_one_at_a_time():
    with copool.profile(), pytest.raises(RuntimeError, match="running already"):
        copool.profile().__enter__()
    with copool.profile():
        pass


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no sys.monitoring")
def test_another_profiler_is_running():
    with cProfile.Profile(), pytest.raises(ValueError, match="in use"):
        copool.profile().__enter__()
    with copool.profile():
        pass


def test_settrace_is_left_alone():
    seen = []

    def main():
        Coroutine(tick).enter(1)

    before = copool.settrace(lambda event, pair: seen.append(event))
    try:
        with copool.profile() as profiler:
            main()
    finally:
        copool.settrace(before)
    assert seen == ["switch", "switch"]
    assert figures(profiler, "tick") == {"tick": (1, 1, 1)}


def test_the_file_is_one_for_pstats(tmp_path, capsys):
    with copool.profile() as profiler:
        run(lambda: None, lambda: None, 2)
    profiler.dump_stats(tmp_path / "out")
    text = io.StringIO()
    pstats.Stats(str(tmp_path / "out"), stream=text).print_stats("m_work")
    assert "2    0.000    0.000    2.000    1.000" in text.getvalue()
    profiler.print_stats()
    assert "(m_work)" in capsys.readouterr().out
