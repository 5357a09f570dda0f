"""How a program follows from a seed.

A program is a list of bodies, the first of which is called in the main greenlet; a body
is a list of statements. A statement is a line of Python, or a block: a dictionary with
the statements of `try`, maybe of `except`, with its class, and of `finally`. If a line
begins with "?" it is an expression of which the outcome is noted. Any part of a list is
a program too. What the names mean is in player.py.
"""

import random
from typing import Any

Statement = str | dict[str, Any]
Program = list[list[Statement]]

SLOTS = 5
WEIGHTS = {
    "make": 14,
    "switch": 24,
    "up": 12,
    "throw": 12,
    "state": 6,
    "family": 3,
    "parent": 6,
    "drop": 7,
    "move": 3,
    "hold": 3,
    "watch": 3,
    "seen": 3,
    "set": 4,
    "get": 4,
    "context": 3,
    "set context": 3,
    "run in": 2,
    "run": 2,
    "raise": 2,
    "try": 9,
    "handled": 2,
    "trace": 1,
    "thread": 1,
}
THROWN = [
    "",
    "Boom",
    "Boom('a')",
    "Boom, 'b'",
    "Boom, Boom('c'), None",
    "GreenletExit",
    "GreenletExit('d')",
    "GreenletExit, 'e'",
    "error('f')",
    "5",
    "Boom, 5, 5",
]
ARGUMENTS = ["", "{v}", "{v}", "{v}, {v}", "k={v}", "{v}, k={v}", "g[{i}]"]
RAISED = ["Boom('x')", "Boom('y')", "GreenletExit('z')", "GreenletExit"]
CAUGHT = ["Boom", "GreenletExit", "BaseException"]
KINDS = ["plain", "plain", "plain", "late", "method", "deleted", "empty"]


class Author:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.count = self.chance.choice((2, 3, 4, 6))
        self.length = self.chance.choice((3, 5, 8, 12))
        # Each has likes of its own.
        self.weights = [
            weight * self.chance.choice((0.2, 1, 1, 3)) for weight in WEIGHTS.values()
        ]

    def program(self) -> Program:
        bodies = [
            self.body(number, self.length * (3 if number == 0 else 1))
            for number in range(self.count)
        ]
        # So that there is somebody to switch to.
        for slot in range(self.chance.randint(1, SLOTS)):
            bodies[0].insert(slot, self.write_make(0, f"g[{slot}]"))
        return bodies

    def body(self, number: int, length: int) -> list[Statement]:
        """Its end may be another than the last line; nothing follows that."""
        statements = self.block(number, length, 0)
        end = self.chance.random()
        if end < 0.15:
            statements.append(self.write_raise())
        elif end < 0.5:
            statements.append(self.fill("return {v}"))
        return statements

    def block(self, body: int, length: int, depth: int) -> list[Statement]:
        return [
            self.statement(body, depth)
            for _ in range(self.chance.randint(1, max(length, 1)))
        ]

    def slot(self) -> str:
        return f"g[{self.chance.randrange(SLOTS)}]"

    def someone(self) -> str:
        others = ("getcurrent()", "getcurrent().parent", "main")
        return self.chance.choice((*[self.slot()] * 6, *others))

    def fill(self, text: str) -> str:
        while "{v}" in text:
            text = text.replace("{v}", str(self.chance.randrange(100)), 1)
        return text.replace("{i}", str(self.chance.randrange(SLOTS)))

    def noted(self, text: str) -> str:
        """Most often; else what it raises ends the body."""
        return f"?{text}" if self.chance.random() < 0.93 else text

    def statement(self, body: int, depth: int) -> Statement:
        name = self.chance.choices(list(WEIGHTS), self.weights)[0]
        if (name == "try" and depth == 2) or (name == "raise" and depth == 0):
            name = "switch"
        if name in ("make", "thread") and body == self.count - 1:
            name = "up"
        method = getattr(self, "write_" + name.replace(" ", "_"))
        result: Statement = (
            method(body, depth)
            if name == "try"
            else method(body)
            if name in ("make", "thread")
            else method()
        )
        return result

    def deeper(self, body: int) -> str:
        """Bodies make greenlets of later ones only, so that each program ends."""
        return f"body{self.chance.randrange(body + 1, self.count)}"

    def write_make(self, body: int, slot: str = "") -> str:
        kind = self.chance.choice(KINDS)
        parent = self.someone() if self.chance.random() < 0.3 else "None"
        return f"{slot or self.slot()} = make({self.deeper(body)}, {kind!r}, {parent})"

    def write_switch(self) -> str:
        arguments = self.fill(self.chance.choice(ARGUMENTS))
        return self.noted(f"{self.someone()}.switch({arguments})")

    def write_up(self) -> str:
        return self.noted(self.fill("getcurrent().parent.switch({v})"))

    def write_throw(self) -> str:
        arguments = self.chance.choice(THROWN)
        comma = ", " if arguments else ""
        return self.noted(f"throw({self.someone()}{comma}{arguments})")

    def write_state(self) -> str:
        return f"?state({self.someone()})"

    def write_family(self) -> str:
        return f"?family({self.someone()})"

    def write_parent(self) -> str:
        value = self.chance.choice((*[self.someone()] * 6, "None", "5"))
        return f"?set_parent({self.someone()}, {value})"

    def write_drop(self) -> str:
        return f"{self.slot()} = None"

    def write_move(self) -> str:
        return f"{self.slot()} = {self.someone()}"

    def write_hold(self) -> str:
        return self.chance.choice((f"held.append({self.slot()})", "held.clear()"))

    def write_watch(self) -> str:
        number = self.chance.randrange(SLOTS)
        return f"w[{number}] = watch(g[{number}])"

    def write_seen(self) -> str:
        return f"?seen(w[{self.chance.randrange(SLOTS)}])"

    def write_set(self) -> str:
        return self.fill("var.set({v})")

    def write_get(self) -> str:
        return "?var.get()"

    def write_context(self) -> str:
        return f"?context({self.someone()})"

    def write_set_context(self) -> str:
        value = self.chance.choice(("copy_context()", "Context()", "None", "5"))
        return f"?setattr({self.someone()}, 'gr_context', {value})"

    def write_run_in(self) -> str:
        return f"?copy_context().run({self.slot()}.switch)"

    def write_run(self) -> str:
        x = self.slot()
        return self.chance.choice(
            (f"?delattr({x}, 'run')", f"?setattr({x}, 'run', int)", f"?{x}.run and 1")
        )

    def write_raise(self) -> str:
        return f"raise {self.chance.choice(RAISED)}"

    def write_try(self, body: int, depth: int) -> Statement:
        block: dict[str, Any] = {"try": self.block(body, 3, depth + 1)}
        which = self.chance.randrange(3)
        if which != 0:
            block["class"] = self.chance.choice(CAUGHT)
            block["except"] = ["?handled()", *self.block(body, 2, depth + 1)]
        if which != 1:
            block["finally"] = ["?'finally'", *self.block(body, 2, depth + 1)]
        return block

    def write_handled(self) -> str:
        return "?handled()"

    def write_trace(self) -> str:
        return f"settrace({self.chance.choice(('tracer', 'bad_tracer', 'None'))})"

    def write_thread(self, body: int) -> str:
        return f"thread({self.deeper(body)})"


def from_seed(seed: int) -> Program:
    return Author(seed).program()


def lines_of(block: list[Statement], indent: str) -> list[str]:
    lines = []
    for statement in block:
        if isinstance(statement, str) and statement.startswith("?"):
            text = statement[1:]
            lines.append(f"{indent}note({text!r}, lambda: {text})")
        elif isinstance(statement, str):
            lines.append(indent + statement)
        else:
            for word in ("try", "except", "finally"):
                if word in statement:
                    head = f"{word} {statement['class']}" if word == "except" else word
                    lines.append(f"{indent}{head}:")
                    lines += lines_of(statement[word], indent + "    ")
    return lines or [f"{indent}pass"]


def to_text(program: Program) -> str:
    """The program as a module of Python."""
    lines = []
    for number, body in enumerate(program):
        lines += [f"def body{number}(held):", *lines_of(body, "    "), ""]
    return "\n".join(lines)
