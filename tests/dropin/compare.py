"""Plays a program on both greenlets, and tells where they differ."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from author import Program, to_text

PLAYER = Path(__file__).with_name("player.py")
LONGEST = 20  # seconds that a program may take

DIED = "the process ends with status"

Notes = list[Any]


@dataclass
class Player:
    """A process in which programs are played; a new one when it has died."""

    provider: str
    plant: str = ""
    process: subprocess.Popen[str] | None = None
    # Of all its processes: where the interpreter says what it dies of.
    errors: IO[str] = field(
        default_factory=lambda: tempfile.TemporaryFile("w+")  # noqa: SIM115
    )

    def send(self, text: str) -> None:
        if self.process is None or self.process.poll() is not None:
            environment = {
                k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")
            }
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    PLAYER,
                    self.provider,
                    *[self.plant] * bool(self.plant),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                env=environment,
            )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Notes:
        assert self.process
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            hangs = not selector.select(LONGEST)
        if hangs:
            self.close()
            return [["it hangs"]]
        line = self.process.stdout.readline()
        if not line:
            return [[f"{DIED} {self.close()}", self.last_error()]]
        notes: Notes = json.loads(line)
        return notes

    def last_error(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-2000:].strip()

    def close(self) -> int:
        if self.process is None:
            return 0
        assert self.process.stdin
        assert self.process.stdout
        if self.process.poll() is None and self.process.stdout.readable():
            self.process.kill()
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
        return status


def agree(real: Any, ours: Any) -> bool:
    """Whether they are the same, but that ours may say more of an error.

    And has an answer where greenlet takes a thread that has ended for another one.
    """
    if "running in a different thread" in str(real) and real != ours:
        return isinstance(ours, list) and ours[2:] == ["=", "None"]
    if isinstance(real, dict) and isinstance(ours, dict) and "type" in real:
        return (
            real["type"] == ours.get("type")
            and is_the_same_text(real["text"], ours["text"])
            and (real["context"] == ours["context"] or replaces(real, ours))
        )
    if isinstance(real, list) and isinstance(ours, list):
        return len(real) == len(ours) and all(map(agree, real, ours))
    return bool(real == ours)


def replaces(real: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether their contexts may differ.

    A parent without `run` loses its child's error, which ours has as context; an exit
    that has ended a greenlet has none here; and one of another thread's that was
    dropped ends at another moment, when another error may be handled.
    """
    if real["type"] == "GreenletExit":
        return ours["context"] is None or "references have vanished" in real["text"]
    return (real["type"], real["text"], real["context"]) == (
        "AttributeError",
        "run",
        None,
    )


def is_allowed(real: Notes, ours: Notes, n: int) -> bool:
    """Whether they may go apart there, and are not compared from then on.

    One that is dropped and does not die is given up, and if there are several that
    another thread has dropped, in any order. Where greenlet does not let go of what it
    has lost, or what an exit's traceback holds, that is gone here.
    """
    if any(note[:1] == ["it did not die"] for note in real[n:]):
        return any(note[:1] == ["it did not die"] for note in ours[n:])
    return real[n][1:2] == ["left"] and set(ours[-1][2]) < set(real[n][2])


def is_at_fault(real: Any) -> bool:
    """Whether greenlet's answer is one that it should not give.

    What was dropped in another thread is ended in the middle of a switch, of which the
    arguments are lost: it says that it returned NULL, or does not come back.
    """
    return has_died(real) or any(
        isinstance(x, dict) and "returned NULL without" in str(x.get("text"))
        for x in real
    )


def has_died(note: Any) -> bool:
    return bool(note and str(note[0]).startswith(DIED))


def is_the_same_text(real: Any, ours: Any) -> bool:
    """As docs/greenlet.md says: ours begins as greenlet's does."""
    if not isinstance(real, str) or not isinstance(ours, str):
        return bool(real == ours)
    # Which of the two messages of this kind it is depends on the moment.
    other_thread = "cannot switch to a different thread"
    if real.lower().startswith(other_thread):
        return ours.lower().startswith(other_thread)
    return ours.startswith(real.split("\n")[0].replace("green()", "greenlet()"))


def in_order(notes: Notes) -> Notes:
    """The notes with what was reported ahead of the switches next to it.

    An exception that ends one that is dropped is reported by another greenlet here: a
    switch later there, which a trace function is told of as one that throws.
    """
    ordered: Notes = []
    reported = False
    for note in notes:
        at = len(ordered)
        if is_trace(note):
            note[2] = "throw" if reported else note[2]
        else:
            reported = note[0] == "unraisable"
            while reported and at and is_trace(ordered[at - 1]):
                at -= 1
                ordered[at][2] = "throw"
        ordered.insert(at, note)
    return ordered


def is_trace(note: Any) -> bool:
    return note[1:2] in (["trace"], ["bad trace"])


@dataclass(frozen=True)
class Difference:
    """Where two parted; and how, in words that a smaller program shares."""

    text: str
    kind: tuple[str, str]


def kind_of(note: Any) -> str:
    """What was noted, without the values."""
    if not isinstance(note, list):
        return str(note)
    if len(note) < 2 or not isinstance(note[1], str):
        return str(note[0])
    if len(note) > 2 and note[2] in ("=", "raises"):
        return note[2]
    return note[1]


@dataclass
class Pair:
    """Both of them."""

    real: Player
    ours: Player
    faults: int = 0  # programs that greenlet has not played to the end

    @classmethod
    def start(cls, plant: str = "") -> "Pair":
        return cls(Player("greenlet"), Player("copool", plant))

    def difference(self, program: Program) -> Difference | None:
        """Where they part, or None."""
        text = to_text(program)
        self.real.send(text)
        self.ours.send(text)
        real, ours = in_order(self.real.receive()), in_order(self.ours.receive())
        count = max(len(real), len(ours))
        for n in range(count):
            one = real[n] if n < len(real) else "nothing"
            other = ours[n] if n < len(ours) else "nothing"
            if is_at_fault(one) and not has_died(other):
                self.faults += 1
                return None
            if not agree(one, other) or has_died(other):
                if n < len(real) and is_allowed(real, ours, n):
                    return None
                before = [*map(show, real[max(n - 8, 0) : n])]
                seen = [f"greenlet: {show(one)}", f"copool:   {show(other)}"]
                return Difference(
                    "\n".join(before + seen), (kind_of(one), kind_of(other))
                )
        return None

    def close(self) -> None:
        self.real.close()
        self.ours.close()


def show(note: Any) -> str:
    return note if isinstance(note, str) else json.dumps(note, ensure_ascii=False)
