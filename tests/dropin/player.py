"""Plays programs on one of the two greenlets: the child process of __main__.py.

    python tests/dropin/player.py greenlet    the real one
    python tests/dropin/player.py copool      copool's in its place

Reads programs, each the text of a Python module as a JSON string on a line of its own,
and answers each with a line, the JSON list of what was noted while it ran. A program
calls what `Stage` gives it; these names are explained there.
"""

from __future__ import annotations

import contextvars
import functools
import gc
import importlib
import json
import re
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from typing import Any

ADDRESS = re.compile(r"0x[0-9a-f]+")
VANISHED = "all references have vanished"
SLOTS = 5
MOST_MADE = 30  # greenlets of a program
MOST_THROWN = 6  # exits for one that catches them, at the end


class Boom(Exception):
    pass


class Stage:
    """What a program can use, and what it has done so far."""

    def __init__(self, api: Any, plant: str) -> None:
        self.api = api
        self.plant = plant
        self.notes: list[Any] = []
        self.cut = False
        self.made: list[weakref.ref[Any]] = []
        self.var = contextvars.ContextVar("var", default=0)
        api.getcurrent().thread = threading.current_thread().name
        self.names: dict[str, Any] = {
            "Boom": Boom,
            "GreenletExit": api.GreenletExit,
            "error": api.error,
            "getcurrent": api.getcurrent,
            "settrace": api.settrace,
            "copy_context": contextvars.copy_context,
            "Context": contextvars.Context,
            "main": api.getcurrent(),
            "g": [None] * SLOTS,  # greenlets by number
            "w": [None] * SLOTS,  # weak references
            "var": self.var,
            "make": self.make,
            "note": self.note,
            "state": self.state,
            "family": self.family,
            "context": self.context,
            "watch": self.watch,
            "seen": self.seen,
            "set_parent": self.set_parent,
            "thread": self.thread,
            "tracer": self.tracer,
            "bad_tracer": self.bad_tracer,
            "handled": lambda: show(sys.exc_info()[1]),
        }

    # --- what is noted ---

    def say(self, *words: Any) -> None:
        # Asked first: to answer, greenlet may end what another thread has dropped.
        name = name_of(self.api.getcurrent())
        if not self.cut:
            self.notes.append([name, *map(show, words)])

    def note(self, what: str, call: Callable[[], Any]) -> None:
        """Do it and note what it returns or raises."""
        try:
            value = call()
        except BaseException as error:
            if self.is_dropped(error):
                self.api.getcurrent().is_dropped = True
            self.say(what, "raises", show(error))
        else:
            self.say(what, "=", value)

    def state(self, x: Any) -> Any:
        """What can be asked of a greenlet.

        Not of another thread's: greenlet may not have noticed yet that it has ended.
        """
        if getattr(x, "thread", None) != threading.current_thread().name:
            return f"dead={x.dead}" if name_of(x) == "main" else "of another thread"
        run = outcome(lambda: x.run and "a function")
        frame = x.gr_frame if x is not self.api.getcurrent() else None
        return (
            f"dead={x.dead} bool={bool(x)} run={run} frame={frame is not None}"
            f" {ADDRESS.sub('…', repr(x))}"
        )

    def family(self, x: Any) -> list[str]:
        """The greenlet and its parents."""
        names = []
        while x is not None:
            names.append(name_of(x))
            x = x.parent
        return names

    def context(self, x: Any) -> str:
        """What is in the greenlet's context."""
        context = x.gr_context
        return "None" if context is None else f"var {context.get(self.var)}"

    def seen(self, ref: Any) -> Any:
        """What the weak reference refers to."""
        return ref and ref()

    def is_dropped(self, error: BaseException | None) -> bool:
        """Whether the error is the exit of the running one, which has been dropped."""
        while error is not None and VANISHED not in str(error):
            error = error.__context__
        return error is not None

    # --- what is done ---

    def make(self, body: Any, kind: str = "plain", parent: Any = None) -> Any:
        """A greenlet that runs the body; None if there are enough."""
        if len(self.made) == MOST_MADE:
            return None

        def run(*args: Any, **kwargs: Any) -> Any:
            self.begins(args, kwargs)
            del args, kwargs  # an exit holds this frame
            return self.perform(body)

        def method(x: Any, *args: Any, **kwargs: Any) -> Any:
            self.begins(args, kwargs)
            del x, args, kwargs
            return self.perform(body)

        if kind == "late":
            x = self.api.greenlet()
            x.run = run
        elif kind == "method":
            x = self.subclass(run=method)()
        elif kind == "deleted":
            x = self.subclass(__del__=lambda x: self.say("__del__", name_of(x)))(run)
        elif kind == "empty":
            x = self.api.greenlet()
        else:
            x = self.api.greenlet(run) if parent is None else None
        if x is None:
            x = self.api.greenlet(run, parent)
        elif parent is not None:
            x.parent = parent
        x.name = f"G{len(self.made)}"
        x.thread = threading.current_thread().name
        self.made.append(weakref.ref(x))
        return x

    def subclass(self, **members: Any) -> Any:
        return type("Sub", (self.api.greenlet,), members)

    def begins(self, args: Any, kwargs: Any) -> None:
        self.api.getcurrent().began = True
        self.say("begins", args, kwargs)

    def perform(self, body: Any) -> Any:
        # What the body holds is dropped here: an exit holds the body's frame.
        held: list[Any] = []
        try:
            return body(held)
        except self.api.GreenletExit:
            self.exits(self.api.getcurrent())
            raise
        finally:
            held.clear()
            self.say("ends")

    def exits(self, x: Any) -> None:
        """An exit starts no parent that has not begun, so far as is compared.

        greenlet starts it without arguments, see docs/greenlet.md.
        """
        x = x.parent
        while x is not None and x.dead:
            x = x.parent
        if x is not None and x.parent is not None and not hasattr(x, "began"):
            self.cut = True

    def unraisable(self, report: sys.UnraisableHookArgs) -> None:
        """Whoever is told: copool tells the one that has raised it."""
        if not self.cut:
            self.notes.append(["unraisable", show(report.exc_value)])

    def outlives(self) -> None:
        """One that is dropped and catches the exit is given up, each in its way."""
        if not self.cut:
            self.notes.append(["it did not die"])
        self.cut = True

    def throw(self, x: Any, *args: Any) -> Any:
        if not x and is_exit(self.api, args):
            self.exits(x)
        try:
            return x.throw(*args)
        finally:
            del x, args  # the traceback of what is thrown leads here

    def set_parent(self, x: Any, parent: Any) -> None:
        """One that is dropped comes back here, whatever its parent becomes."""
        if x is self.api.getcurrent() and (
            hasattr(x, "is_dropped") or self.is_dropped(sys.exc_info()[1])
        ):
            self.cut = True
        x.parent = parent

    def watch(self, x: Any) -> Any:
        """A weak reference whose end is noted."""
        if x is None:
            return None
        name = name_of(x)
        return weakref.ref(x, lambda ref: self.say("gone", name))

    def tracer(self, event: str, args: Any) -> None:
        self.say("trace", event, args)
        if self.plant == "trace" and event == "throw":
            self.say("planted")

    def bad_tracer(self, event: str, args: Any) -> None:
        self.say("bad trace", event, args)
        raise Boom("traced")

    def thread(self, body: Any) -> None:
        """Have a thread do it to the end."""

        def work() -> None:
            here = self.api.getcurrent()
            here.name, here.thread = "main of thread", threading.current_thread().name
            del here
            self.note("thread", lambda: body([]))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        # greenlet forgets the thread a little later, in the main thread.
        while (
            threading.current_thread() is threading.main_thread()
            and self.api._greenlet.get_pending_cleanup_count()
        ):
            time.sleep(0)

    def finish(self) -> None:
        """End what is suspended in this thread."""
        self.api.settrace(None)
        for ref in self.made:
            for _ in range(MOST_THROWN):
                x = ref()
                if not x or x.thread != threading.current_thread().name:
                    break
                self.note("end", functools.partial(self.throw, x))
        del x

    def play(self, text: str) -> list[Any]:
        self.names["throw"] = self.throw
        try:
            exec(compile(text, "program", "exec"), self.names)
            self.note("main", lambda: self.names["body0"]([]))
        except BaseException:
            self.say("broken", traceback.format_exc())
        self.finish()
        for name in ("g", "w"):
            self.names[name][:] = [None] * SLOTS
        left = [x.name for ref in self.made if (x := ref()) is not None]
        x = None
        self.say("left", left)
        return self.notes


class Listener:
    """Is told, as sys.stderr, of greenlets that were dropped and did not die."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def write(self, text: str) -> None:
        if "did not kill" in text:
            self.tell()

    def flush(self) -> None:
        pass


def is_exit(api: Any, args: tuple[Any, ...]) -> bool:
    kind = args[0] if args else api.GreenletExit
    return isinstance(kind, api.GreenletExit) or (
        isinstance(kind, type) and issubclass(kind, api.GreenletExit)
    )


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except BaseException as error:
        return type(error).__name__


def name_of(x: Any) -> str:
    return x.__dict__.get("name", "main" if x.parent is None else "unnamed")


def show(value: Any) -> Any:
    """A value as text, but an exception: its text is compared in another way."""
    if isinstance(value, BaseException):
        context = value.__context__
        return {
            "type": type(value).__name__,
            "text": ADDRESS.sub("…", str(value)),
            "context": context and type(context).__name__,
        }
    if isinstance(value, (tuple, list)):
        return [show(item) for item in value]
    if isinstance(value, dict) and "type" not in value:
        return {key: show(item) for key, item in value.items()}
    if hasattr(value, "gr_frame"):
        return f"<{name_of(value)}>"
    if value is None or isinstance(value, (int, str, dict)):
        return value
    return type(value).__name__


def main() -> None:
    provider, *more = sys.argv[1:]
    if provider == "copool":
        import copool.greenlet

        copool.greenlet.install()
    api = importlib.import_module("greenlet")
    gc.disable()
    warnings.simplefilter("always")
    for line in sys.stdin:
        stage = Stage(api, more[0] if more and provider == "copool" else "")
        sys.unraisablehook = stage.unraisable
        sys.stderr = Listener(stage.outlives)  # type: ignore[assignment]
        api.getcurrent().gr_context = contextvars.Context()
        notes = stage.play(json.loads(line))
        print(json.dumps(notes), flush=True)
        # What ends now is no part of the next one.
        stage.cut = True
        gc.collect()


if __name__ == "__main__":
    main()
