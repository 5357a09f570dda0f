"""The pool's policies lose no block and hand none out twice; C counts as the model."""

import importlib.util
import os
import queue
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

import copool
from copool import Coroutine, _core, yield_
from copool.commands.model.explore import explore
from copool.commands.model.policies import (
    LOAD,
    LOCK,
    POLICIES,
    RMW,
    Local,
    MagazinePolicy,
    ReleasePolicy,
    Violation,
)

_models = Path(__file__).parents[3] / "models" / "check.py"
_spec = importlib.util.spec_from_file_location("check", _models)
check = importlib.util.module_from_spec(_spec)
sys.modules["check"] = check
_spec.loader.exec_module(check)

CROSSING = (
    ["get", "get", "put", "put", "exit"],
    ["get", "put", "trim"],
)


@pytest.mark.parametrize("cap", [3, 4, 8], ids="{} blocks".format)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_every_interleaving_keeps_every_block(policy, cap):
    """With magazines of one block in no thread, in one and in both."""
    walk = explore(
        lambda: policy(batch=1, max_blocks=cap, max_idle=2), [CROSSING[0], CROSSING[1]]
    )
    assert walk.ends > 1


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_every_interleaving_at_the_cap_keeps_every_block(policy):
    assert explore(lambda: policy(batch=1, max_blocks=2), [["get", "put"]] * 3).ends > 1


def test_threads_keep_at_most_half_of_the_cap():
    pool = MagazinePolicy(batch=64, max_blocks=1000)
    threads = [Local(index) for index in range(50)]
    for me in threads:
        taken = [done(pool.get(me)) for _ in range(200)]
        for block in taken:
            done(pool.put(me, block))
    sizes = [me.batch for me in threads]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[1], sizes[-1]) == (62, 47, 0)
    assert 2 * sum(sizes) == 500
    assert 300 < pool.out - pool.live - pool.idle_shared <= 500


class PopOnePolicy(ReleasePolicy):
    """A wrong one: pops a single block of the shared list (the ABA problem)."""

    name = "pop one"

    def steal(self, me):
        """Swap the head for its successor, which may be another one by then."""
        yield LOAD
        head = self.release_pool
        while head is not None:
            after = head.next
            yield RMW
            if self.release_pool is head:
                self.release_pool = after
                self.release_pool_size -= 1
                head.next = None
                me.alloc_pool = head
                return
            head = self.release_pool


def test_popping_one_hands_out_a_block_that_is_in_use():
    programs = (["get"] * 3 + ["put"] * 3, ["get", "get", "put", "get"], ["get", "get"])
    explore(lambda: ReleasePolicy(batch=1, max_blocks=2), [["get", "put"]] * 2)
    with pytest.raises(Violation, match=r"IN_USE, (in a list|but handed out twice)"):
        explore(lambda: PopOnePolicy(batch=1, max_blocks=3), programs)


class ForgetfulPolicy(MagazinePolicy):
    def drain(self, me):
        yield from self.store_give(me, me.loaded)
        me.previous.take()


class LocklessPolicy(MagazinePolicy):
    def store_take(self, me, most):
        batch = self.warm[-1] if self.warm else None
        yield LOCK
        self.warm = [each for each in self.warm if each is not batch]
        return batch


class DeadlockPolicy(MagazinePolicy):
    def pool_unlock(self):
        return
        yield


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (ForgetfulPolicy, "blocks lost"),
        (LocklessPolicy, "handed out twice|moved from|counted|lost"),
        (DeadlockPolicy, "wait for good"),
    ],
)
def test_exploring_finds_what_is_wrong(wrong, text):
    programs = [["get", "get", "put", "put", "exit", "get", "put", "exit"]] * 2
    with pytest.raises(Violation, match=text):
        explore(lambda: wrong(batch=1, max_blocks=8), programs)


# --- beside the C pool -------------------------------------------------------


class Worker:
    """A thread that does what it is told, one order at a time."""

    def __init__(self):
        self.orders, self.answers = queue.SimpleQueue(), queue.SimpleQueue()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()
        self.started = []
        self.local = Local(0)

    def work(self):
        for order in iter(self.orders.get, None):
            self.answers.put(order())

    def do(self, order):
        self.orders.put(order)
        return self.answers.get()

    def end(self):
        self.orders.put(None)
        self.thread.join()
        # From 3.13 on that is all; before, the thread may still be about to end.
        while os.path.exists(f"/proc/self/task/{self.thread.native_id}"):
            os.sched_yield()


def done(steps):
    """Do all steps of an operation of the model."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def entered():
    co = Coroutine(yield_)
    try:
        co.enter()
    except copool.PoolExhausted:
        return None
    return co


ORDERS = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 2),
        strategies.sampled_from(["get", "get", "get", "put", "put", "trim", "exit"]),
        strategies.integers(1, 9),
    ),
    max_size=25,
)


def counts_of_c():
    stats = copool.stats()
    names = ("created", "reused", "live", "idle_shared", "peak", "contended")
    return [*(getattr(stats, name) for name in names), stats.idle_local]


def counts_of(pool):
    idle_local = pool.out - pool.live - pool.idle_shared
    found = [pool.created, pool.reused, pool.live, pool.idle_shared, pool.peak]
    return [*found, pool.contended, idle_local]


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=15, deadline=None)
@given(
    orders=ORDERS,
    batch=strategies.integers(1, 3),
    max_idle=strategies.integers(0, 9),
    cap=strategies.sampled_from([1, 4, 9, 32, 64, 1000]),
)
def test_c_pool_counts_like_the_model(policy, orders, batch, max_idle, cap):
    before = _core.options()
    copool.configure(policy=policy, batch=batch, max_blocks=cap, max_idle=max_idle)
    pool = POLICIES[policy](batch=batch, max_blocks=cap, max_idle=max_idle)
    begun = time.monotonic()
    workers = [Worker() for _ in range(3)]
    try:
        for index, action, n in orders:
            worker = workers[index]
            if action == "get":
                for _ in range(n):
                    block = done(pool.get(worker.local))
                    co = worker.do(entered)
                    assert (co is None) == (block is None)
                    if co is not None:
                        worker.started.append((co, block))
            elif action == "put":
                while worker.started and n:
                    co, block = worker.started.pop(0)
                    done(pool.put(worker.local, block))
                    worker.do(co.enter)
                    n -= 1
            elif action == "trim":
                trimmed = worker.do(copool.trim), done(pool.trim(worker.local))
            elif not worker.started:
                worker.end()
                done(pool.drain(worker.local))
                workers[index] = Worker()
            counted = counts_of_c()
            assert _core.check()
            # The model knows no time: the pool gives back what is idle for longer.
            if policy == "magazine" and time.monotonic() - begun > 0.2:
                break
            assert counted == counts_of(pool)
            if action == "trim":
                assert trimmed[0] == trimmed[1]
    finally:
        for worker in workers:
            for co, _ in worker.started:
                worker.do(co.close)
            worker.end()
        copool.configure(**before)


# --- what spin says of its models ---------------------------------------------

WHOLE = """Full statespace search for:
State-vector 56 byte, depth reached 517, errors: 0
     1234 states, stored
pan: elapsed time 1.5 seconds
"""
FAILED = """pan:1: assertion violated (place[alloc_pool]==3) (at depth 138)
Warning: Search not completed
State-vector 56 byte, depth reached 138, errors: 1
     1234 states, stored
pan: elapsed time 0.5 seconds
"""
HOLDS = check.Run("release", "")
TWICE = check.Run("release", "", fails="place[alloc_pool]==3")


@pytest.mark.parametrize(
    ("run", "text", "complaint"),
    [
        (HOLDS, WHOLE, ""),
        (HOLDS, "error: max search depth too small\n" + WHOLE, "cut short"),
        (HOLDS, "pan: out of memory\n" + WHOLE, "cut short"),
        (HOLDS, FAILED, "place[alloc_pool]==3"),
        (TWICE, FAILED, ""),
        (TWICE, WHOLE, "all holds"),
        (TWICE, FAILED.replace("alloc_pool", "after"), "but: place[after]==3"),
        (
            TWICE,
            FAILED.replace("assertion violated (place[alloc_pool]==3)", "invalid end"),
            "but: invalid end",
        ),
    ],
)
def test_only_the_expected_verdict_of_spin_passes(run, text, complaint):
    found = check.complaint(run, check.read_verdict(text))
    assert (found == "") == (complaint == "")
    assert complaint in found
