"""Random programs over greenlet's API, on the real one and on copool's, side by side.

    python tests/dropin                     3,000 programs: `make dropin`
    python tests/dropin --seed 7 --count 1  that one
    python tests/dropin --show --seed 7     print it, with what comes of it

What they note must agree, in the same order: values and exceptions, states, `finally`
blocks, contexts, parents, weak references, what becomes of what is dropped, threads.
Seeds give programs (author.py), which are played in two processes (player.py). One of
which the notes differ (compare.py) is made smaller (shrink.py) and printed.

What may differ is what docs/greenlet.md names. Some of that the programs can't come to:
the collector is off. Messages may go on where greenlet's end. What follows is not
compared once an exit starts a parent that has not begun, or one that is dropped sets
its own parent, or does not die.
"""

import argparse
import sys
import time

from author import Program, from_seed, to_text
from compare import Difference, Pair
from shrink import shrink


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/dropin",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first program")
    parser.add_argument("--count", type=int, default=3000, help="of programs")
    parser.add_argument("--show", action="store_true", help="print one program")
    parser.add_argument("--all", action="store_true", help="go on after a difference")
    # To show that what is different is found.
    parser.add_argument("--plant", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(pair: Pair, seed: int, first: Difference) -> None:
    def differs_so(program: Program) -> bool:
        found = pair.difference(program)
        return found is not None and found.kind == first.kind

    program = shrink(from_seed(seed), differs_so)
    print(f"\nThe smallest program made from seed {seed} that differs so:\n")
    print(to_text(program))
    found = pair.difference(program)
    print(found.text if found else "It does not always.", flush=True)


def main() -> int:
    options = parse()
    if options.show:
        print(to_text(from_seed(options.seed)))
        options.count = 1
    begin = time.monotonic()
    pair = Pair.start(options.plant)
    different = 0
    for seed in range(options.seed, options.seed + options.count):
        if seed % 500 == 0:
            print(f"dropin: at seed {seed}", flush=True)
        if difference := pair.difference(from_seed(seed)):
            different += 1
            report(pair, seed, difference)
            if not options.all:
                break
    pair.close()
    if not different:
        took = time.monotonic() - begin
        print(f"dropin: {options.count} programs agree, in {took:.0f} s", end="")
        print(f", {pair.faults} up to a fault of greenlet's" * bool(pair.faults))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
