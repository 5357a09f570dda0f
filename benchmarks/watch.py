"""What `copool.watch()` costs a thread that switches all the time.

    python benchmarks/watch.py [ROUNDS]

in an environment with copool; under `taskset -c 0` for one core. Rounds with a watch
and without one take turns. Printed are medians: the time of a processor that the
watch's own threads take, and what the whole process takes more for as many switches.

On a busy machine the system may let none of our threads run for longer than the watch
waits, so that it tells of a hold. Rounds in which it does are left out, and counted.
"""

import statistics
import sys
import time

import copool

SECONDS = (0.005, 0.02, 0.1)
LENGTH = 0.5


def body() -> None:
    while True:
        copool.yield_()


def switch(count: int) -> tuple[float, float]:
    """Return the time that so many switches there and back take, and all take."""
    co = copool.Coroutine(body)
    enter = co.enter
    own, every = time.thread_time(), time.process_time()
    for _ in range(count):
        enter()
    own, every = time.thread_time() - own, time.process_time() - every
    co.close()
    return own, every


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else 21
    count = int(50_000 * LENGTH / switch(50_000)[0])
    plain, watched = [], {seconds: [] for seconds in SECONDS}
    for _ in range(rounds):
        for seconds in SECONDS:
            told: list[copool.Hold] = []
            plain.append(switch(count)[1])
            with copool.watch(seconds, callback=told.append):
                own, every = switch(count)
            if not told:
                watched[seconds].append((every / own - 1, every / plain[-1] - 1))
    print(f"{statistics.median(plain) / count * 1e9:.1f} ns a round trip without")
    for seconds, each in watched.items():
        threads, ratios = zip(*each, strict=True)
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{seconds * 1000:5g} ms: its threads {statistics.median(threads):.2%}, "
            f"in all {median:+.2%} ({low:+.2%} to {high:+.2%}), {len(each)} rounds"
        )


if __name__ == "__main__":
    main()
