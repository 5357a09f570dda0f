"""The API answers as a small model in pure Python does, whatever is called when.

The body of every coroutine does what it is sent: a command comes in by enter() and
its answer goes out. The model knows what each must answer.
"""

import gc

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

import copool
from copool import Coroutine, CoroutineError, CoroutineExit, PoolExhausted, _core

CAP = 12


class Model:
    """What is known of one coroutine."""

    def __init__(self):
        self.state = "created"
        self.pool = None
        self.depth = 0
        self.cyclic = False
        self.through_c = False
        self.log = []


class Body:
    """Obeys ("yield", v), ("call",), ("return", v), ("raise", e), ("cycle",)."""

    def __init__(self, log):
        self.log = log
        self.kept = []

    def __call__(self, command):
        return self.obey(command, 0)

    def obey(self, command, depth):
        try:
            while True:
                kind, *rest = command
                if kind == "yield":
                    command = copool.yield_(("yielded", rest[0], depth))
                elif kind == "call":
                    command = ("return", self.obey(("yield", "called"), depth + 1))
                    return command[1]
                elif kind == "sort":
                    results, sorting = [], ("yield", "sorting")
                    sorted(
                        [1], key=lambda _: results.append(self.obey(sorting, depth + 1))
                    )
                    return results[0]
                elif kind == "cycle":
                    self.kept.append(copool.current())
                    command = copool.yield_(("cycle", depth))
                elif kind == "return":
                    return ("returned", rest[0])
                else:
                    raise rest[0]
        except CoroutineExit:
            self.log.append(("exit", depth))
            raise


class Machine(RuleBasedStateMachine):
    everything = Bundle("everything")

    @initialize(
        policy=strategies.sampled_from(["none", "mutex", "release", "magazine"])
    )
    def begin(self, policy):
        self.before = _core.options()
        self.live = {}
        gc.collect()
        copool.configure(policy=policy, batch=2, max_blocks=CAP)
        self.others = self.count()
        self.generation = 0

    def count(self):
        stats = copool.stats()
        return stats.live + stats.live_retired

    def started(self):
        return [m for _, m in self.live.values() if m.state == "suspended"]

    def is_full(self):
        in_pool = [m for m in self.started() if m.pool == self.generation]
        return len(in_pool) >= CAP

    @rule(target=everything)
    def create(self):
        model = Model()
        co = Coroutine(Body(model.log))
        key = object()
        self.live[key] = (co, model)
        return key

    def send(self, key, command, answer, ends):
        """Enters with a command; returns what came out."""
        co, model = self.live[key]
        if model.state == "finished":
            try:
                co.enter(command)
            except CoroutineError:
                return
            raise AssertionError("entered a finished coroutine")
        if model.state == "created" and self.is_full():
            try:
                co.enter(command)
            except PoolExhausted:
                return
            raise AssertionError("more coroutines than blocks")
        if model.state == "created":
            model.pool = self.generation
        result = co.enter(command)
        if ends:
            model.state = "finished"
        else:
            model.state = "suspended"
        assert result == answer(model), (result, answer(model))

    @rule(key=everything, value=strategies.integers())
    def enter(self, key, value):
        self.send(
            key,
            ("yield", value),
            lambda model: ("yielded", value, model.depth),
            ends=False,
        )

    @rule(key=everything, kind=strategies.sampled_from(["call", "sort"]))
    def deepen(self, key, kind):
        model = self.live[key][1]
        if model.state == "finished" or (model.state == "created" and self.is_full()):
            return
        if kind == "sort":
            # What C functions hold is not seen by the collector.
            if model.cyclic:
                return
            model.through_c = True
        model.depth += 1
        text = "called" if kind == "call" else "sorting"
        self.send(
            key, (kind,), lambda model: ("yielded", text, model.depth), ends=False
        )

    @rule(key=everything, value=strategies.integers())
    def finish(self, key, value):
        self.send(key, ("return", value), lambda model: ("returned", value), ends=True)

    @rule(key=everything)
    def make_a_cycle(self, key):
        model = self.live[key][1]
        if model.through_c:
            return
        model.cyclic = True
        self.send(key, ("cycle",), lambda model: ("cycle", model.depth), ends=False)

    @rule(key=everything)
    def raise_inside(self, key):
        co, model = self.live[key]
        if model.state == "suspended":
            with pytest.raises(LookupError):
                co.enter(("raise", LookupError()))
            model.state = "finished"

    @rule(key=everything)
    def throw(self, key):
        co, model = self.live[key]
        with pytest.raises(LookupError):
            co.throw(LookupError)
        model.state = "finished"

    @rule(key=everything)
    def close(self, key):
        co, model = self.live[key]
        expected = list(model.log)
        if model.state == "suspended":
            expected += [("exit", depth) for depth in range(model.depth, -1, -1)]
        assert co.close() is None
        model.state = "finished"
        assert model.log == expected

    @rule(key=consumes(everything))
    def drop(self, key):
        co, model = self.live.pop(key)
        expected = list(model.log)
        if model.state == "suspended":
            expected += [("exit", depth) for depth in range(model.depth, -1, -1)]
        del co
        gc.collect()
        assert model.log == expected

    @rule()
    def collect(self):
        gc.collect()

    @rule(batch=strategies.integers(1, 8))
    def configure(self, batch):
        copool.configure(batch=batch)
        self.generation += 1

    @rule()
    def trim(self):
        copool.trim()

    @invariant()
    def states_agree(self):
        if hasattr(self, "live"):
            for co, model in self.live.values():
                assert co.state == model.state
                assert co.done == (model.state == "finished")
                assert (co.frame is not None) == (model.state == "suspended")

    @invariant()
    def counts_agree(self):
        if hasattr(self, "live"):
            assert self.count() - self.others == len(self.started())
            assert _core.check()

    def teardown(self):
        if hasattr(self, "live"):
            self.live.clear()
            gc.collect()
            copool.configure(**self.before)


TestModel = Machine.TestCase
TestModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, print_blob=True
)
