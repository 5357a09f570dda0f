"""watch() tells who holds a thread, and never of who waits."""

import asyncio
import ctypes
import gc
import itertools
import logging
import queue
import sys
import threading
import time

import pytest

import copool
import copool.aio
from copool import Coroutine, Counts, _core, yield_

pytestmark = pytest.mark.alone

LONG = 0.3
TIMEOUT = 60


class Holds:
    """What a watch has told; those that are waited for come within a minute."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def next(self):
        return self.queue.get(timeout=TIMEOUT)

    def rest(self):
        found = []
        while not self.queue.empty():
            found.append(self.queue.get())
        return found


@pytest.fixture
def holds():
    """A watch for 20 ms."""
    holds = Holds()
    with copool.watch(callback=holds.queue.put):
        yield holds


@pytest.fixture
def patient():
    """One that a busy machine does not make tell of what it should not."""
    holds = Holds()
    with copool.watch(0.2, callback=holds.queue.put):
        yield holds


def block(seconds=LONG):
    time.sleep(seconds)


def middle(seconds=LONG):
    block(seconds)


def names(frames):
    return [frame.name for frame in frames]


# --- what is told ---------------------------------------------------------------------


def test_coroutine_that_sleeps_is_told_of_and_then_its_end(holds):
    begun = time.monotonic()
    Coroutine(middle, name="sleeper").enter()
    took = time.monotonic() - begun
    first, last = holds.next(), holds.next()
    assert (first.kind, first.name, first.inside) == ("coroutine", "sleeper", ())
    assert (first.over, last.over) == (False, True)
    assert 0.02 <= first.seconds <= last.seconds <= took
    assert last.seconds > LONG - 0.1
    assert (first.thread, first.ident) == ("MainThread", threading.get_ident())
    assert names(first.frames) == ["middle", "block"]
    assert first.frames[-1].line == "time.sleep(seconds)"
    assert first.frames == last.frames
    assert names(first.callers)[-1] == (
        "test_coroutine_that_sleeps_is_told_of_and_then_its_end"
    )


def test_text_is_that_of_a_traceback(holds):
    Coroutine(middle, name="sleeper").enter()
    first, last = holds.next(), holds.next()
    callers, _, own = first.text.partition("\n  -- has entered --\n")
    assert callers.endswith('Coroutine(middle, name="sleeper").enter()')
    line = block.__code__.co_firstlineno + 1
    assert own.splitlines()[-2:] == [
        f'  File "{__file__}", line {line}, in block',
        "    time.sleep(seconds)",
    ]
    begin = "coroutine 'sleeper' holds thread 'MainThread' for "
    assert str(first) == f"{begin}{first.seconds:.3f} s:\n{first.text}"
    assert str(last) == (
        f"coroutine 'sleeper' has held thread 'MainThread' for {last.seconds:.3f} s "
        "and lets others go on"
    )


def test_each_stay_is_told_of_by_itself(holds):
    def twice():
        block()
        yield_()
        block()

    co = Coroutine(twice)
    co.enter()
    co.enter()
    found = [holds.next() for _ in range(4)]
    assert [hold.over for hold in found] == [False, True, False, True]
    assert {hold.name for hold in found} == {twice.__qualname__}


def test_who_computes_holds_it_too(holds):
    def compute():
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            pass

    Coroutine(compute).enter()
    assert names(holds.next().frames) == [compute.__qualname__]


def test_those_that_it_was_entered_from_are_named(holds):
    inner = Coroutine(block, name="inner")
    Coroutine(lambda: inner.enter(), name="outer").enter()
    hold = holds.next()
    assert (hold.name, hold.inside) == ("inner", ("coroutine 'outer'",))
    assert "<lambda>" in names(hold.callers)[-1]


def test_line_is_found_of_what_has_kept_the_gil(holds):
    sleep = ctypes.PyDLL(None).usleep

    def keep():
        yield_()
        sleep(int(LONG * 1e6))
        yield_()

    co = Coroutine(keep)
    gc.disable()  # else a collection's callback may be the first to let go of it
    try:
        for _ in range(3):
            co.enter()
    finally:
        gc.enable()
    hold = holds.next()
    assert hold.seconds > LONG - 0.1
    assert hold.frames[-1].line == "sleep(int(LONG * 1e6))"


def test_what_keeps_the_gil_is_noticed_while_another_is_told_of():
    """The time of the second is known though the first one's callback lasts."""
    told = queue.SimpleQueue()

    def slow(hold):
        told.put(hold)
        time.sleep(0.1)

    sleep = ctypes.PyDLL(None).usleep
    with copool.watch(callback=slow):
        Coroutine(block, name="first").enter()
        Coroutine(lambda: sleep(int(LONG * 1e6)), name="second").enter()
        found = [told.get(timeout=TIMEOUT) for _ in range(4)]
    last = {hold.name: hold.seconds for hold in found if hold.over}
    assert sorted(last) == ["first", "second"]
    assert last["second"] > LONG - 0.1


def test_greenlet_is_named_and_shown():
    greenlets = _core._greenlet_names()
    told = Holds()
    with copool.watch(callback=told.queue.put):
        greenlets["greenlet"](middle).switch()
        hold, end = told.next(), told.next()
    assert (hold.kind, hold.name) == ("greenlet", "middle")
    assert names(hold.frames) == ["middle", "block"]
    assert (hold.callers, end.over) == ((), True)


def test_greenlet_whose_callers_are_shown_has_its_own_calls(holds):
    """Others' calls are no part of it, not even a loop's that has switched to it."""
    greenlet = _core._greenlet_names()["greenlet"]

    async def main():
        greenlet(middle).switch()

    _core._hang_greenlets(True)
    try:
        asyncio.run(main())
    finally:
        _core._hang_greenlets(False)
    hold = holds.next()
    assert names(hold.frames) == ["middle", "block"]
    assert names(hold.callers)[-1] == main.__qualname__


def test_coroutine_in_a_greenlet(holds):
    greenlets = _core._greenlet_names()
    greenlets["greenlet"](lambda: Coroutine(block).enter()).switch()
    hold = holds.next()
    assert (hold.kind, hold.name) == ("coroutine", "block")
    assert len(hold.inside) == 1
    assert hold.inside[0].startswith("greenlet ")


def test_task_that_holds_the_loop_has_its_name(holds):
    async def main():
        await asyncio.create_task(work(), name="worker 7")

    async def work():
        await asyncio.sleep(0)
        block()

    copool.aio.run(main(), foreign_greenlets=True)
    hold = holds.next()
    assert (hold.kind, hold.name) == ("task", "worker 7")
    assert names(hold.frames) == [work.__qualname__, "block"]
    assert "BaseEventLoop._run_once" in names(hold.callers)


def test_coroutine_in_a_task(holds):
    async def main():
        Coroutine(block, name="inner").enter()

    copool.aio.run(main(), foreign_greenlets=True)
    hold = holds.next()
    assert (hold.name, len(hold.inside)) == ("inner", 1)
    assert hold.inside[0].startswith("task 'Task-")


def test_call_below_await_from_anywhere(holds):
    async def main():
        await copool.aio.run_sync(block)

    asyncio.run(main())
    assert names(holds.next().frames) == ["block"]


def test_call_on_the_thread_s_own_stack_holds_it(holds):
    Coroutine(lambda: copool.on_thread_stack(block), name="below").enter()
    hold = holds.next()
    assert (hold.name, names(hold.frames)[-1]) == ("below", "block")


def test_each_thread_is_watched(holds):
    def work(number):
        Coroutine(block, name=f"co {number}").enter()

    threads = [
        threading.Thread(target=work, args=(i,), name=f"thread {i}") for i in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [holds.next() for _ in range(10)]
    begun = sorted((hold.name, hold.thread) for hold in found if not hold.over)
    assert begun == [(f"co {i}", f"thread {i}") for i in range(5)]


def test_deep_recursion_shows_the_innermost_calls(holds):
    def down(depth):
        if depth:
            down(depth - 1)
        else:
            block()

    def deep():
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(5000)
        try:
            down(2000)
        finally:
            sys.setrecursionlimit(before)

    Coroutine(deep).enter()
    hold = holds.next()
    assert len(hold.frames) == 1000
    assert names(hold.frames)[-2:] == [down.__qualname__, "block"]


def test_name_that_raises_does_not_matter(holds):
    class Odd:
        def __call__(self):
            block()

        def __getattr__(self, name):
            raise OSError(name)

    Coroutine(Odd()).enter()
    assert holds.next().name == "Coroutine"


# --- what is not ----------------------------------------------------------------------


def test_thread_s_own_calls_are_not_told_of(patient):
    co = Coroutine(yield_)
    co.enter()  # it is known now
    block(2 * LONG)
    co.close()
    Coroutine(block, name="after").enter(2 * LONG)
    assert patient.next().name == "after"


def test_those_that_wait_and_those_that_switch_are_not_told_of(patient):
    def busy(end):
        while time.monotonic() < end:
            yield_()

    co = Coroutine(busy)
    co.enter(time.monotonic() + 2 * LONG)
    for _ in co:
        pass
    Coroutine(block, name="after").enter(2 * LONG)
    assert patient.next().name == "after"


def test_loop_that_is_idle_is_not_told_of(patient):
    async def main():
        await asyncio.sleep(2 * LONG)

    copool.aio.run(main(), foreign_greenlets=True)
    asyncio.run(main())
    Coroutine(block, name="after").enter(2 * LONG)
    assert patient.next().name == "after"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_loop_inside_a_coroutine_or_greenlet_is_not_told_of(loop, patient):
    """To its thread it is what another loop is outside."""

    async def main():
        await asyncio.sleep(2 * LONG)

    module = pytest.importorskip(loop)  # not in the coroutine, which that would hold

    def work():
        with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
            runner.run(main())

    Coroutine(work).enter()
    _core._greenlet_names()["greenlet"](work).switch()
    Coroutine(block, name="after").enter(2 * LONG)
    assert patient.next().name == "after"


# --- the watch ------------------------------------------------------------------------


def test_it_ends_with_stop_and_with_the_block():
    told = Holds()
    watch = copool.watch(callback=told.queue.put)
    watch.stop()
    watch.stop()
    with copool.watch(callback=told.queue.put) as inside:
        assert isinstance(inside, copool.Watch)
    Coroutine(block).enter()
    assert told.rest() == []


def test_two_of_them_do_not_mind_each_other():
    """Each coroutine holds the thread until the one, or the other, has told."""
    short, long = Holds(), Holds()
    with (
        copool.watch(0.01, callback=short.queue.put),
        copool.watch(0.2, callback=long.queue.put),
    ):
        first = [Coroutine(short.next).enter(), short.next()]
        second = [Coroutine(long.next).enter(), long.next()]
    assert second[0].seconds >= 0.2
    for told in (first + short.rest(), second + long.rest()):
        assert [hold.over for hold in told] == ([False, True] * len(told))[: len(told)]


def test_callback_that_stops_it_is_the_last_one():
    told = []
    done = threading.Event()

    def callback(hold):
        told.append(hold)
        watch.stop()
        done.set()

    watch = copool.watch(callback=callback)
    Coroutine(block).enter()
    assert done.wait(TIMEOUT)
    Coroutine(block).enter()
    watch.stop()
    assert [hold.over for hold in told] == [False]


def test_stop_waits_for_the_callback():
    begun, order = threading.Event(), []

    def callback(hold):
        begun.set()
        time.sleep(0.2)
        order.append("told")

    watch = copool.watch(callback=callback)
    Coroutine(block).enter()
    assert begun.wait(TIMEOUT)
    watch.stop()
    order.append("stopped")
    assert order[0] == "told"
    assert order[-1] == "stopped"


def test_callback_that_raises_is_reported_and_the_watch_goes_on(monkeypatch):
    failures, told = queue.SimpleQueue(), Holds()
    monkeypatch.setattr(sys, "unraisablehook", lambda info: failures.put(info.exc_type))

    def callback(hold):
        told.queue.put(hold)
        if hold.name == "bad":
            raise LookupError

    with copool.watch(callback=callback):
        Coroutine(block, name="bad").enter()
        assert failures.get(timeout=TIMEOUT) is LookupError
        Coroutine(block, name="good").enter()
        found = [told.next() for _ in range(3)]
    assert [(hold.name, hold.over) for hold in found] == [
        ("bad", False),
        ("good", False),
        ("good", True),
    ]


def test_callback_may_use_coroutines(holds):
    seen = queue.SimpleQueue()
    with copool.watch(callback=lambda hold: seen.put(list(Coroutine(yield_)))):
        Coroutine(block).enter()
        assert seen.get(timeout=TIMEOUT) == [None]


def test_log_has_a_warning_with_the_hold(caplog):
    with copool.watch():
        Coroutine(block, name="sleeper").enter()
        end = time.monotonic() + TIMEOUT
        while len(caplog.records) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    first, last = caplog.records
    assert (first.name, first.levelno) == ("copool", logging.WARNING)
    assert first.getMessage() == str(first.hold)
    assert (first.hold.over, last.hold.over) == (False, True)


def test_logger_is_the_one_given_and_comes_with_a_callback():
    records, told = Holds(), Holds()
    logger = logging.Logger("other")
    logger.handle = records.queue.put
    with copool.watch(logger=logger, callback=told.queue.put):
        Coroutine(block).enter()
        assert records.next().hold == told.next()


def test_short_stays_are_not_told_of(patient):
    for _ in range(20):
        Coroutine(block).enter(0.03)
    Coroutine(block, name="after").enter(2 * LONG)
    assert patient.next().name == "after"


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["0.02"], {}, TypeError, "seconds must be a number, not str"),
        ([True], {}, TypeError, "seconds must be a number, not bool"),
        ([0], {}, ValueError, "seconds must be from 0.001 to 86400, not 0"),
        ([-1.0], {}, ValueError, "seconds must be from 0.001 to 86400, not -1.0"),
        ([float("nan")], {}, ValueError, "not nan"),
        ([float("inf")], {}, ValueError, "not inf"),
        ([], {"callback": 1}, TypeError, "callback must be a callable, not int"),
        ([], {"logger": "copool"}, TypeError, "must be a logging.Logger, not str"),
    ],
)
def test_arguments_that_cannot_be(arguments, options, error, message):
    with pytest.raises(error, match=message):
        copool.watch(*arguments, **options)


# --- numbers --------------------------------------------------------------------------


def chains():
    return copool.stats().chains


def test_coroutines_are_counted_by_state():
    before = chains().coroutines
    seen = []

    def inner():
        seen.append(chains().coroutines)
        yield_()

    suspended = [Coroutine(yield_) for _ in range(3)]
    for co in suspended:
        co.enter()
    inside = Coroutine(inner)
    Coroutine(inside.enter).enter()
    assert seen == [Counts(before.running + 1, before.waiting + 1, 3)]
    assert chains().coroutines == Counts(before.running, before.waiting, 4)
    for co in [*suspended, inside]:
        co.close()
    assert chains().coroutines == before


def test_greenlets_are_counted_by_state_without_main_ones():
    names = _core._greenlet_names()
    main = names["getcurrent"]()
    before = chains().greenlets
    seen = []

    def body():
        seen.append(chains().greenlets)
        Coroutine(lambda: seen.append(chains().greenlets)).enter()
        main.switch()

    greenlets = [names["greenlet"](body) for _ in range(2)]
    for greenlet in greenlets:
        greenlet.switch()
    assert seen == [Counts(1, 0, 0), Counts(0, 1, 0), Counts(1, 0, 1), Counts(0, 1, 1)]
    assert chains().greenlets == Counts(0, 0, 2)
    for greenlet in greenlets:
        greenlet.switch()
    assert chains().greenlets == before


def test_coroutine_that_a_suspended_greenlet_has_entered_waits_with_it():
    names = _core._greenlet_names()
    main = names["getcurrent"]()
    co = Coroutine(main.switch)
    greenlet = names["greenlet"](co.enter)
    greenlet.switch()
    assert (co.state, chains().coroutines) == ("waiting", Counts(0, 1, 0))
    assert chains().greenlets == Counts(0, 0, 1)
    greenlet.switch()


def test_awaited_chains_are_counted_with_a_stack_and_without():
    seen = []

    async def plain(event):
        await event.wait()

    async def deep(event):
        copool.aio.await_(event.wait())

    async def main():
        event = asyncio.Event()
        tasks = [asyncio.create_task(each(event)) for each in (plain, plain, deep)]
        await asyncio.sleep(0)
        seen.append(chains().awaited)
        Coroutine(lambda: seen.append(chains().awaited)).enter()
        event.set()
        await asyncio.gather(*tasks)

    copool.aio.run(main(), foreign_greenlets=True)
    assert seen == [Counts(1, 0, 3), Counts(0, 1, 3)]
    assert chains().awaited == Counts(0, 0, 0)


def test_switches_of_threads_that_have_ended_count():
    def work(round_trips):
        co = Coroutine(lambda: [yield_() for _ in range(round_trips - 1)])
        for _ in range(round_trips):
            co.enter()

    copool.trim()
    before = chains().switches
    for round_trips in (5, 7, 11):
        thread = threading.Thread(target=work, args=(round_trips,))
        thread.start()
        thread.join()
    assert chains().switches - before == 2 * (5 + 7 + 11)


def test_oldest_is_the_longest_suspended_while_times_are_noted():
    _core._note(False, True)
    try:
        assert chains().oldest is None
        first, second = Coroutine(yield_), Coroutine(yield_)
        begun = time.monotonic()
        first.enter()
        time.sleep(0.02)
        second.enter()
        oldest = chains().oldest
        assert 0.02 <= oldest <= time.monotonic() - begun
        first.close()
        assert chains().oldest < oldest
        second.close()
        assert chains().oldest is None
    finally:
        _core._note(False, False)


def test_oldest_is_none_while_times_are_not_noted():
    co = Coroutine(yield_)
    co.enter()
    assert chains().oldest is None
    co.close()


def test_many_are_counted_fast():
    coroutines = [Coroutine(yield_) for _ in range(10_000)]
    for co in coroutines:
        co.enter()
    times = []
    for _ in range(10):
        begun = time.thread_time()
        assert chains().coroutines.suspended == 10_000
        times.append(time.thread_time() - begun)
    for co in itertools.chain(coroutines):
        co.close()
    assert min(times) < 0.02
