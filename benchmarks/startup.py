"""How much later a program begins when copool stands in for greenlet.

    python benchmarks/startup.py [ROUNDS]

in an environment with copool and greenlet. Each round starts every process once, in
turn; printed are medians over the rounds, and medians of the differences to the
process that the row is compared with.
"""

import os
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

PYTHON = sys.executable
COPOOL = str(Path(PYTHON).with_name("copool"))
EMPTY = "pass\n"
IMPORT = """
import time
begin = time.perf_counter()
import greenlet
print(time.perf_counter() - begin)
"""


def wall(command: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"{command} ended with the status {status}")
    return time.perf_counter() - begin


def told(command: list[str], environment: dict[str, str]) -> float:
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    os.waitpid(pid, 0)
    return float(text)


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else 200
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COPOOL_GREENLET", "PYTHONPATH")
    }
    inherit = os.path.join(
        *find_spec("copool.greenlet").submodule_search_locations, "_inherit"
    )
    with tempfile.TemporaryDirectory() as folder:
        empty, imports = (os.path.join(folder, name) for name in ("empty", "imports"))
        Path(empty).write_text(EMPTY)
        Path(imports).write_text(IMPORT)
        rows = [
            ("python", wall, [PYTHON, empty], plain, 0),
            ("copool run", wall, [COPOOL, "run", empty], plain, 0),
            (
                "python -m copool run",
                wall,
                [PYTHON, "-m", "copool", "run", empty],
                plain,
                0,
            ),
            (
                "child, by PYTHONPATH",
                wall,
                [PYTHON, empty],
                plain | {"PYTHONPATH": inherit},
                0,
            ),
            (
                "child, by copool.pth",
                wall,
                [PYTHON, empty],
                plain | {"COPOOL_GREENLET": "1"},
                0,
            ),
            ("import of greenlet", told, [PYTHON, imports], plain, 5),
            ("the same in copool run", told, [COPOOL, "run", imports], plain, 5),
        ]
        series: list[list[float]] = [[] for _ in rows]
        for turn in range(rounds + 1):
            for taken, (_, measure, command, environment, _) in zip(
                series, rows, strict=True
            ):
                value = measure(command, environment)
                if turn:
                    taken.append(value * 1e3)
    for taken, (name, _, _, _, base) in zip(series, rows, strict=True):
        more = statistics.median(
            a - b for a, b in zip(taken, series[base], strict=True)
        )
        print(f"{name:<24}{statistics.median(taken):7.2f} ms {more:+7.2f} ms")


if __name__ == "__main__":
    main()
