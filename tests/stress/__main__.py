"""Random programs on copool, checked by a model: a stress that finds wrong answers too.

    python tests/stress --seconds 120        new programs until the time is up
    python tests/stress --seed 7 --count 1   that one program
    python tests/stress --replay FILE        one that was printed, or - for the input

A program is a list of operations (program.py) that follows from a seed (author.py). It
runs in a child process on copool (real.py), beside a model without any stacks
(model.py): answers, ends of what is dropped, counts of blocks and weak references must
agree, and nothing may crash or hang. One that fails is made smaller by leaving
operations out and running what is left, again and again (shrink.py); the smallest is
printed as a command that runs it. The same seed gives the same program; what threads
and the collector make of it may differ from run to run.

hypothesis makes and shrinks programs of this kind too, and test_model.py, of the type
`Coroutine`, uses it for one thread and one face. Here it would have to do without its
strength: a step of its state machines is drawn while the one before has been done in
the same process, and a crash takes it along. With whole programs sent to children
nothing is left of it but the shrinking, which are forty lines for a list of which every
part is a program; and a run for a set time, by seeds, is not what it is made for.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

from author import from_seed
from program import Program
from shrink import run_batch, shrink

BATCH = 40  # programs for one process
TRIES = 3  # for one that threads may let pass


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/stress",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, help="of the first program")
    parser.add_argument("--count", type=int, help="of programs, in place of a time")
    parser.add_argument("--malloc", default="", help="PYTHONMALLOC, such as debug")
    parser.add_argument("--replay", metavar="FILE", help="run the program in it")
    parser.add_argument("--no-shrink", action="store_true")
    # To show that the stress finds what is there.
    parser.add_argument("--plant", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(program: Program, failure: str, malloc: str) -> None:
    print(f"\nseed {program.seed} fails: {failure}\n")
    print(f"The smallest program that does, {program.size()} operations:\n")
    option = f" --malloc {malloc}" if malloc else ""
    print(f"{sys.executable} tests/stress{option} --replay - <<'END'")
    print(json.dumps(program.to_json()))
    print("END")


def fails(program: Program, malloc: str) -> str | None:
    for _ in range(TRIES):
        if found := run_batch([program.to_json()], malloc):
            return found[1]
    return None


def find_smallest(program: Program, failure: str, malloc: str) -> None:
    print(f"stress: seed {program.seed} fails, making it smaller", flush=True)
    if not fails(program, malloc):
        print("stress: not when it runs by itself", flush=True)
    else:
        program, failure = shrink(
            program,
            failure,
            malloc,
            lambda p: print(f"stress: {p.size()} operations", flush=True),
        )
    report(program, failure, malloc)


def replay(options: argparse.Namespace) -> int:
    text = (
        sys.stdin.read() if options.replay == "-" else Path(options.replay).read_text()
    )
    program = Program(**json.loads(text))
    if failure := fails(program, options.malloc):
        print(failure)
        return 1
    print("stress: it agrees with the model")
    return 0


def main() -> int:
    options = parse()
    if options.replay:
        return replay(options)
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    print(f"stress: from seed {seed}, Python {sys.version.split()[0]}", flush=True)
    end = time.monotonic() + options.seconds
    done = 0
    while time.monotonic() < end if options.count is None else done < options.count:
        size = BATCH if options.count is None else min(BATCH, options.count - done)
        seeds = range(seed + done, seed + done + size)
        requests = [{"seed": s, "plant": options.plant} for s in seeds]
        found = run_batch(requests, options.malloc)
        if found:
            program = from_seed(seeds[found[0]], options.plant)
            if options.no_shrink:
                report(program, found[1], options.malloc)
            else:
                find_smallest(program, found[1], options.malloc)
            return 1
        done += size
    print(f"stress: {done} programs agree with the model")
    return 0


if __name__ == "__main__":
    sys.exit(main())
