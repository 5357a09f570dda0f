"""Runs programs on copool, in a child process, and compares with the model."""

import contextlib
import contextvars
import faulthandler
import functools
import gc
import json
import os
import re
import sys
import threading
import warnings
import weakref
from typing import Any

from author import from_seed
from model import Model, Unclear, catches, cleanup, is_polite, shares_context, to_send
from program import CALLS, KINDS, POLICIES, SLOTS, Program

import copool
from copool import Coroutine, CoroutineError, CoroutineExit, yield_
from copool._core import _greenlet_names, await_, bridge, check, run_sync

names = _greenlet_names()
greenlet, getcurrent = names["greenlet"], names["getcurrent"]
GreenletExit, greenlet_error = names["GreenletExit"], names["error"]

REFUSALS = (CoroutineError, greenlet_error, ValueError, TypeError, RuntimeError)
EXITS = (CoroutineExit, GreenletExit, GeneratorExit)
LONGEST = 30  # seconds


class Boom(Exception):
    def __init__(self, n: int) -> None:
        self.n = n


class Late(Exception):
    """Raised by `finally` in place of an exit."""


class Marker(Exception):
    """One that is being handled."""


class Step:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        return (yield self.value)


class Finalizer:
    """Uses every face when it goes."""

    def __del__(self) -> None:
        use_all_faces()


def use_all_faces() -> None:
    co = Coroutine(lambda: (yield_(1), yield_(2)))
    assert [co.enter(), co.enter()] == [1, 2]
    parent = getcurrent()
    assert greenlet(lambda x: parent.switch(x)).switch(3) == 3
    assert run_sync(lambda: await_(Step(4))).send(None) == 4


class Frame:
    def __init__(self, chain: int, kind: str, habits: int, depth: int) -> None:
        self.chain, self.kind, self.habits, self.depth = chain, kind, habits, depth
        self.catches = catches(habits)
        self.cleanup = cleanup(habits)


class Attribute:
    def __init__(self, call: Any) -> None:
        self.call = call

    def __getattr__(self, name: str) -> Any:
        return self.call()


def trace(frame: Any, event: str, arg: Any) -> Any:
    return trace


tossed: list[Any] = []
lost: list[Any] = []  # by a defect that is planted


class World:
    """What the operations of one thread's list work on."""

    def __init__(self, program: Program, index: int, expected: Model) -> None:
        self.operations = program.threads[index]
        self.plant = program.plant
        self.expected = expected
        self.position = 0
        self.limit = len(self.operations)
        self.slots: list[Any] = [None] * SLOTS
        self.in_slot: list[int] = [-1] * SLOTS
        self.kinds: list[str] = []
        self.references: list[Any] = []
        self.kept: list[Any] = []
        self.log: list[list[Any]] = []
        self.ends: dict[int, list[list[Any]]] = {}
        self.variable: Any = contextvars.ContextVar("variable", default=None)
        self.threads = 1
        self.nested = 0
        self.is_child = False

    def run(self) -> None:
        try:
            self.obey(Frame(-1, "bottom", 1, 1))
            if self.is_child:
                self.end_child()
        except BaseException as error:
            if self.is_child:
                os._exit(1)
            self.log.append(["died of", repr(error)])
            raise

    def end_child(self) -> None:
        wrong = compare_logs(self, self.expected)
        if wrong:
            os.write(2, f"in the child of a fork: {wrong}\n".encode())
        os._exit(1 if wrong or not check() else 0)

    def answer(self, frame: Frame, position: int, name: str, value: Any) -> None:
        if isinstance(value, BaseException):
            value = type(value).__name__
        self.log.append([position, frame.chain, name, value])

    # --- frames ---

    def fetch(self) -> tuple[int, str, int, int]:
        if self.position >= self.limit:
            return -1, "return", 0, 0
        name, a, b = self.operations[self.position]
        self.position += 1
        return self.position - 1, name, a, b

    def caught(self, frame: Frame, error: Boom) -> None:
        self.answer(frame, -1, "caught", error.n)
        # Who threw it may still hold it, and so what it came through.
        error.__traceback__ = error.__context__ = None

    def obey(self, frame: Frame) -> Any:
        held: list[Any] = []
        thing = self.thing(frame)
        try:
            while True:
                operation = self.fetch()
                if operation[1] == "return":
                    return operation[3]
                try:
                    self.perform(frame, held, operation)
                except Boom as error:
                    if not frame.catches:
                        raise
                    self.caught(frame, error)
        except BaseException as error:
            if (value := self.passed(frame, error)) is None:
                raise
            return value
        finally:
            held.clear()
            del thing
            self.clean(frame)

    async def obey_async(self, frame: Frame) -> Any:
        held: list[Any] = []
        thing = self.thing(frame)
        try:
            while True:
                operation = self.fetch()
                if operation[1] == "return":
                    return operation[3]
                try:
                    if operation[1] == "await":
                        value = await Step(operation[3])
                        self.answer(frame, operation[0], "await", value)
                    else:
                        self.perform(frame, held, operation)
                except Boom as error:
                    if not frame.catches:
                        raise
                    self.caught(frame, error)
        except BaseException as error:
            if (value := self.passed(frame, error)) is None:
                raise
            return value
        finally:
            held.clear()
            del thing
            self.clean(frame)

    def obey_generator(self, frame: Frame) -> Any:
        yield self.obey(frame)

    def thing(self, frame: Frame) -> Any:
        if frame.cleanup == "finalizer":
            return Finalizer()
        if frame.cleanup == "cycle":
            thing = Finalizer()
            thing.me = thing  # type: ignore[attr-defined]
            return thing
        return None

    def passed(self, frame: Frame, error: BaseException) -> Any:
        if isinstance(error, Boom):
            self.answer(frame, -1, "passed", error.n)
        elif isinstance(error, EXITS):
            kind = type(error).__name__
            self.ends.setdefault(frame.chain, []).append([frame.depth, kind])
            own = frame.kind == "bottom" and type(error) is self.own_exit(frame)
            if own and frame.cleanup == "keep":
                if self.kinds[frame.chain] == "C":
                    self.kept.append(copool.current())
                elif self.kinds[frame.chain] == "G":
                    self.kept.append(getcurrent())
            if own and is_polite(frame.habits):
                return 77
            if own and frame.cleanup == "late" and self.kinds[frame.chain] != "G":
                raise Late
        return None

    def own_exit(self, frame: Frame) -> Any:
        if frame.chain < 0:
            return None
        return {"C": CoroutineExit, "G": GreenletExit}.get(
            self.kinds[frame.chain], GeneratorExit
        )

    def clean(self, frame: Frame) -> None:
        if frame.cleanup == "coroutine":
            use_all_faces()
        elif frame.cleanup == "collect":
            gc.collect()

    def bottom(self, frame: Frame, value: Any = None) -> Any:
        self.answer(frame, -1, "begin", value)
        return self.obey(frame)

    async def bottom_async(self, frame: Frame) -> Any:
        self.answer(frame, -1, "begin", None)
        return await self.obey_async(frame)

    # --- operations ---

    def perform(
        self, frame: Frame, held: list[Any], operation: tuple[int, str, int, int]
    ) -> None:
        position, name, a, b = operation
        do = getattr(self, f"do_{name}", None)
        i = a % SLOTS
        try:
            if do:
                do(frame, position, a, b)
            elif name == "raise":
                raise Boom(position)
            elif name == "hold":
                if self.slots[i] is not None:
                    held.append(self.slots[i])
            elif name == "release":
                held.clear()
        except Late:
            if name != "close":
                raise
            self.answer(frame, position, name, "late")
        except REFUSALS as error:
            self.answer(frame, position, name, error)

    def do_make(self, frame: Frame, position: int, a: int, b: int) -> None:
        kind = KINDS[a % len(KINDS)]
        number = len(self.kinds)
        self.kinds.append(kind)
        fn = functools.partial(self.bottom, Frame(number, "bottom", b, 1))
        thing: Any
        if kind == "C":
            thing = Coroutine(fn, context="shared" if shares_context(b) else None)
        elif kind == "G":
            thing = greenlet(fn)
        elif kind == "B":
            thing = run_sync(fn)
        else:
            thing = bridge(self.bottom_async(Frame(number, "bottom", b, 1)))
        self.references.append(weakref.ref(thing))
        self.in_slot[b % SLOTS] = number
        self.slots[b % SLOTS] = thing

    def do_go(self, frame: Frame, position: int, a: int, b: int) -> None:
        thing = self.slots[a % SLOTS]
        if thing is None:
            return
        kind = self.kinds[self.in_slot[a % SLOTS]]
        if kind == "C":
            value = thing.enter(b)
        elif kind == "G":
            value = thing.switch(b)
        else:
            try:
                value = thing.send(to_send(b))
            except StopIteration as stop:
                value = ["returned", stop.value]
        if self.plant == "answer" and frame.kind == "sort" and value == b:
            value = 0
        self.answer(frame, position, "go", value)

    def do_throw(self, frame: Frame, position: int, a: int, b: int) -> None:
        thing = self.slots[a % SLOTS]
        if thing is None:
            return
        try:
            value = thing.throw(Boom(position))
        except StopIteration as stop:
            value = ["returned", stop.value]
        self.answer(frame, position, "throw", value)

    def do_close(self, frame: Frame, position: int, a: int, b: int) -> None:
        thing = self.slots[a % SLOTS]
        if thing is None:
            return
        if self.plant == "leak":
            lost.append(thing)
        is_greenlet = isinstance(thing, greenlet)
        value = thing.throw() if is_greenlet else thing.close()
        self.answer(frame, position, "close", value)

    def do_yield(self, frame: Frame, position: int, a: int, b: int) -> None:
        self.answer(frame, position, "yield", yield_(b))

    def do_await(self, frame: Frame, position: int, a: int, b: int) -> None:
        self.answer(frame, position, "await", await_(Step(b)))

    def do_up(self, frame: Frame, position: int, a: int, b: int) -> None:
        if getcurrent().parent is None:
            self.answer(frame, position, "up", "no parent")
        else:
            self.answer(frame, position, "up", getcurrent().parent.switch(b))

    def do_call(self, frame: Frame, position: int, a: int, b: int) -> None:
        inner = Frame(frame.chain, CALLS[a], b, frame.depth + 1)
        kind, out = CALLS[a], []

        def call(_: Any = None) -> int:
            out.append(self.obey(inner))
            return 1

        if kind == "call":
            out.append(self.obey(inner))
        elif kind == "except":
            try:
                raise Marker(position)
            except Marker:
                out.append(self.obey(inner))
        elif kind == "context":
            contextvars.copy_context().run(call)
        elif kind == "sort":
            sorted([1], key=call)
        elif kind == "generator":
            out.append(next(self.obey_generator(inner)))
        elif kind == "map":
            list(map(call, [1]))
        elif kind == "getattr":
            assert Attribute(call).anything == 1
        elif kind == "with":
            with contextlib.suppress(KeyError):
                call()
        elif kind == "exec":
            exec("call()", {"call": call})
        elif kind == "section":
            copool.on_thread_stack(call)
        else:
            re.sub("a", lambda _: str(call()), "a")
        self.answer(frame, position, "call", out[0])

    def do_drop(self, frame: Frame, position: int, a: int, b: int) -> None:
        i = a % SLOTS
        if self.slots[i] is None:
            return
        if self.plant == "crash" and self.kinds[self.in_slot[i]] == "G":
            os.abort()
        self.slots[i] = None
        gone = self.references[self.in_slot[i]]() is None
        self.answer(frame, position, "drop", gone)

    def do_toss(self, frame: Frame, position: int, a: int, b: int) -> None:
        i = a % SLOTS
        if self.slots[i] is not None:
            tossed.append(self.slots[i])
            self.slots[i] = None

    def do_empty(self, frame: Frame, position: int, a: int, b: int) -> None:
        tossed.clear()

    def do_set(self, frame: Frame, position: int, a: int, b: int) -> None:
        self.variable.set(b)

    def do_get(self, frame: Frame, position: int, a: int, b: int) -> None:
        self.answer(frame, position, "get", self.variable.get())

    def do_handled(self, frame: Frame, position: int, a: int, b: int) -> None:
        error = sys.exception()
        value = error.args[0] if isinstance(error, Marker) else error and repr(error)
        self.answer(frame, position, "handled", value)

    def do_state(self, frame: Frame, position: int, a: int, b: int) -> None:
        thing = self.slots[a % SLOTS]
        if thing is None:
            return
        if isinstance(thing, Coroutine):
            value: Any = thing.state
        elif isinstance(thing, greenlet):
            value = [bool(thing), thing.dead]
        else:
            value = [thing.cr_running, thing.cr_suspended]
        repr(thing)
        self.answer(frame, position, "state", value)

    def do_depth(self, frame: Frame, position: int, a: int, b: int) -> None:
        def descend(n: int) -> Any:
            return sorted([n], key=lambda _: descend(n - 1)) if n else 0

        descend(10)
        self.answer(frame, position, "depth", True)

    def do_collect(self, frame: Frame, position: int, a: int, b: int) -> None:
        self.let_go()
        gc.collect()
        Coroutine(int).enter()  # ends what other threads have dropped
        self.let_go()
        gc.collect()
        self.let_go()
        dead = [n for n, ref in enumerate(self.references) if ref() is None]
        self.answer(frame, position, "collect", dead)

    def let_go(self) -> None:
        while self.kept:  # what ends by it may be kept, too
            self.kept.clear()

    def do_trim(self, frame: Frame, position: int, a: int, b: int) -> None:
        copool.trim()

    def do_configure(self, frame: Frame, position: int, a: int, b: int) -> None:
        copool.configure(
            policy=POLICIES[a % len(POLICIES)],  # type: ignore[arg-type]
            batch=1 + b % 8,
            guard="mprotect" if b > 50 else "auto",
        )

    def do_trace(self, frame: Frame, position: int, a: int, b: int) -> None:
        set_trace = [sys.settrace, sys.setprofile, names["settrace"]][a % 3]
        set_trace(trace if b % 2 else None) if a % 3 < 2 else set_trace(
            (lambda *_: None) if b % 2 else None
        )
        if a == 9:
            threading.settrace(trace if b % 4 == 1 else None)

    def do_thread(self, frame: Frame, position: int, a: int, b: int) -> None:
        if self.threads >= 20:
            return
        self.threads += 1
        self.nested += 1
        limit = self.limit
        self.limit = min(limit, self.position + b)
        values: list[Any] = []

        def work() -> None:
            values.append(self.obey(Frame(-1, "bottom", 1, 1)))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.limit = limit
        self.nested -= 1
        self.answer(frame, position, "thread", values[0])

    def do_fork(self, frame: Frame, position: int, a: int, b: int) -> None:
        if self.nested:
            return
        status = 0
        if not self.is_child:
            pid = os.fork()
            if pid:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            else:
                self.is_child = True
        self.answer(frame, position, "fork", status)


def run(program: Program) -> str | None:
    """What is wrong with its answers, or None."""
    alone = len(program.threads) == 1
    models = [
        Model(operations, alone, program.main and not i)
        for i, operations in enumerate(program.threads)
    ]
    try:
        for model in models:
            model.run()
    except Unclear:
        return None
    worlds = [World(program, i, models[i]) for i in range(len(program.threads))]
    before = gc.get_threshold()
    live = copool.stats().live + copool.stats().live_retired
    if program.threshold:
        gc.set_threshold(*program.threshold)
    first = 1 if program.main else 0
    threads = [threading.Thread(target=world.run) for world in worlds[first:]]
    for thread in threads:
        thread.start()
    if program.main:
        worlds[0].run()
        sys.settrace(None)
        sys.setprofile(None)
        names["settrace"](None)
    for thread in threads:
        thread.join()
    threading.settrace(None)
    gc.set_threshold(*before)
    for world in worlds:
        world.slots.clear()
    tossed.clear()
    if program.main:
        copool._core._unwind_all()
    for _ in range(3):
        gc.collect()
        Coroutine(int).enter()
        for world in worlds:
            world.let_go()
    return (
        first_difference(program, worlds, models)
        or leftovers(program, worlds, models, live)
        or None
    )


def compare_logs(world: World, model: Model) -> str | None:
    for n, (expected, real) in enumerate(zip(model.log, world.log, strict=False)):
        if expected != real:
            return f"answer {n}: {real} instead of {expected}"
    if len(model.log) != len(world.log):
        return f"answers: {len(world.log)} instead of {len(model.log)}"
    return None


def first_difference(
    program: Program, worlds: list[World], models: list[Model]
) -> str | None:
    for i, (world, model) in enumerate(zip(worlds, models, strict=True)):
        if wrong := compare_logs(world, model):
            return f"thread {i}, {wrong}"
        for number in {*model.ends, *world.ends}:
            expected_end = model.ends.get(number)
            end = world.ends.get(number)
            # What is suspended in the main thread may be left as it is.
            may_be_left = number in model.perhaps or (program.main and i == 0)
            if end != expected_end and not (may_be_left and end is None):
                return f"thread {i}, end of {number}: {end} instead of {expected_end}"
    return None


def leftovers(
    program: Program, worlds: list[World], models: list[Model], before: int
) -> str | None:
    copool.trim()
    if not check():
        return "the pool's recount does not hold"
    if program.main:
        return None
    alive = {
        i: sorted(
            {n for n, ref in enumerate(world.references) if ref() is not None}
            - models[i].may_stay()
        )
        for i, world in enumerate(worlds)
    }
    if any(alive.values()):
        return f"alive: {alive}"
    live = copool.stats().live + copool.stats().live_retired
    return f"{live - before} blocks leaked" if live > before else None


def main() -> None:
    """Run the programs that the standard input tells of."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = unraisable
    for line in sys.stdin:
        request = json.loads(line)
        if "seed" in request and "threads" not in request:
            program = from_seed(request["seed"], request.get("plant", ""))
        else:
            program = Program(**request)
        print(json.dumps({"begins": program.seed}), flush=True)
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        wrong = run(program)
        faulthandler.cancel_dump_traceback_later()
        if not wrong and bad:
            wrong = f"unraisable: {bad[0]}"
        bad.clear()
        print(json.dumps({"ends": program.seed, "wrong": wrong}), flush=True)


bad: list[str] = []


def unraisable(report: Any) -> None:
    # The latter is said of garbage that the collector finds in another thread: what
    # runs in a chain is not ended until its own thread does that.
    expected = isinstance(report.exc_value, Late) or (
        isinstance(report.exc_value, ValueError)
        and "already executing" in str(report.exc_value)
    )
    if not expected:
        bad.append(f"{report.exc_value!r} in {report.object!r}")
