"""Coroutines of several threads do not disturb each other."""

import queue
import threading

import copool
from copool import Coroutine, CoroutineError, _core, yield_


def in_thread(fn, *args):
    """What it returns or the exception it raises."""
    result = []

    def work():
        try:
            result.append(fn(*args))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result[0]


def test_unstarted_may_be_entered_anywhere():
    co = Coroutine(lambda value: (threading.get_ident(), value))
    ident, value = in_thread(co.enter, 5)
    assert (ident != threading.get_ident(), value) == (True, 5)


def test_started_stays_on_its_thread():
    co = Coroutine(yield_)
    co.enter()
    assert isinstance(in_thread(co.enter), CoroutineError)
    assert co.enter(3) == 3


def test_each_thread_has_its_own_current():
    def body():
        return in_thread(copool.current), copool.current() is co

    co = Coroutine(body)
    assert co.enter() == (None, True)


def test_threads_take_turns_inside_coroutines():
    """Each switches while the others do; all see their own values."""
    rounds = 300

    def body(start):
        value = start
        for _ in range(rounds):
            value = yield_(value) + 1
        return value

    def work(start):
        coroutines = [Coroutine(body) for _ in range(5)]
        values = [co.enter(start + i) for i, co in enumerate(coroutines)]
        for _ in range(rounds):
            values = [co.enter(v) for co, v in zip(coroutines, values, strict=True)]
        results.put((start, values))

    results = queue.SimpleQueue()
    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = dict(results.get() for _ in threads)
    assert found == {
        1000 * n: [1000 * n + i + rounds for i in range(5)] for n in range(6)
    }


def test_dropped_by_another_thread_is_unwound_by_its_own():
    order = []

    def body():
        try:
            yield_()
        finally:
            order.append(threading.get_ident())

    cos = [Coroutine(body)]
    cos[0].enter()
    in_thread(cos.clear)
    order.append("dropped")
    Coroutine(int).enter()
    assert order == ["dropped", threading.get_ident()]


def test_dropped_by_another_thread_while_its_own_runs_coroutines():
    to, back = queue.SimpleQueue(), queue.SimpleQueue()
    order = []

    def body():
        try:
            yield_()
        finally:
            order.append(threading.get_ident())

    def work():
        for _ in range(100):
            co = Coroutine(body)
            co.enter()
            to.put([co])
            del co
            back.get()
            list(Coroutine(lambda: yield_()))
        order.append(threading.get_ident())

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(100):
        to.get().clear()
        back.put(None)
    thread.join()
    assert order == [order[-1]] * 101


def test_a_lock_held_across_a_switch():
    lock = threading.RLock()

    def body():
        with lock:
            yield_("held")

    co = Coroutine(body)
    seen = [co.enter(), in_thread(lock.acquire, False)]
    co.enter()
    seen.append(in_thread(lock.acquire, False))
    assert seen == ["held", False, True]


def test_thread_locals_belong_to_the_thread():
    local = threading.local()
    local.value = "main"

    def body():
        yield_(local.value)
        local.value = "changed"

    co = Coroutine(body)
    assert [co.enter(), co.enter(), local.value] == ["main", None, "changed"]


def test_blocks_of_finished_threads_come_back():
    def work():
        coroutines = [Coroutine(yield_) for _ in range(50)]
        for co in coroutines:
            co.enter()
        for co in coroutines:
            co.enter()

    in_thread(work)
    before = copool.stats().peak
    for _ in range(20):
        in_thread(work)
    assert (copool.stats().peak - before < 100, _core.check()) == (True, True)
