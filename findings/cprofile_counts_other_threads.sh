#!/usr/bin/env bash
# From CPython 3.12 on cProfile counts what all threads do, as if it were one stack.
#
# Guess: as ever, a profile is of the thread that enables it; what others do meanwhile
# is not in it, or at most their time is.
# Seen: the calls of a thread that was started by nobody's profile are counted, and a
# function of one thread stands as caller of a function of another, which it never
# calls. Own times add up to more than has passed. Up to 3.11 the guess is right: there
# a thread has its own profile function, while the monitoring that is used since belongs
# to the interpreter. CPython 3.11.7, 3.12.1, 3.13.0, 3.14.10 and 3.15.2.
#
# So cumulative times and callers in the profile of any program with threads are wrong.
set -euo pipefail

program=$(mktemp)
trap 'rm -f "$program"' EXIT
cat >"$program" <<'PYTHON'
import cProfile
import pstats
import sys
import threading
import time


def busy(leaf):
    end = time.perf_counter() + 0.4
    while time.perf_counter() < end:
        leaf()


def of_main():
    return sum(range(200))


def of_the_other():
    return sum(range(200))


sys.setswitchinterval(1e-3)
other = threading.Thread(target=busy, args=(of_the_other,))
profile = cProfile.Profile()
other.start()
profile.enable()
busy(of_main)
profile.disable()
other.join()

counts, callers = {}, {}
for (_, _, name), (_, calls, _, _, of) in pstats.Stats(profile).stats.items():
    counts[name] = calls
    callers[name] = {caller for _, _, caller in of}
foreign = "of_the_other" in counts
crossed = "of_main" in callers.get("of_the_other", ()) or "of_the_other" in callers["of_main"]
print(
    f"CPython {sys.version.split()[0]}:",
    f"calls of the other thread are {'counted' if foreign else 'not counted'},",
    f"a caller is {'one that never calls it' if crossed else 'who called'}",
)
new = sys.version_info >= (3, 12)
sys.exit((foreign, crossed) != (new, new))
PYTHON

found=0
for python in python3.1{1..5} "$HOME"/.pyenv/versions/3.1[1-5].*/bin/python; do
    "$python" --version >/dev/null 2>&1 || continue
    found=1
    "$python" "$program"
done
((found)) || {
    echo 'needs CPython 3.11 or later' >&2
    exit 1
}
