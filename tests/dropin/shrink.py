"""Makes a program that fails as small as it can."""

from collections.abc import Callable, Iterator

from author import Program, Statement


def smaller_blocks(block: list[Statement]) -> Iterator[list[Statement]]:
    """Without a part, the larger ones first; then with a smaller statement."""
    size = len(block)
    while size:
        for start in range(0, len(block), size):
            yield block[:start] + block[start + size :]
        size //= 2
    for n, statement in enumerate(block):
        if isinstance(statement, dict):
            for part in ("try", "except", "finally"):
                yield block[:n] + statement.get(part, []) + block[n + 1 :]
            for changed in smaller_statements(statement):
                yield [*block[:n], changed, *block[n + 1 :]]


def smaller_statements(statement: dict[str, list[Statement]]) -> Iterator[Statement]:
    for part in ("except", "finally"):
        if part in statement and {"except", "finally"} <= statement.keys():
            yield {key: value for key, value in statement.items() if key != part}
    for part in ("try", "except", "finally"):
        for fewer in smaller_blocks(statement.get(part, [])):
            yield {**statement, part: fewer}


def smaller(program: Program) -> Iterator[Program]:
    for n, body in enumerate(program):
        for fewer in smaller_blocks(body):
            yield [*program[:n], fewer, *program[n + 1 :]]
    last = len(program) - 1
    if last > 0 and not program[last] and f"body{last}" not in str(program[:last]):
        yield program[:last]


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """The smallest that is found which fails."""
    while True:
        found = next((p for p in smaller(program) if fails(p)), None)
        if found is None:
            return program
        program = found
