#!/usr/bin/env bash
# A function decorated with line_profiler raises when threads run it at the same time.
#
# Guess: times of threads that take turns are mixed up; the function still returns what
# it does without the decorator.
# Seen: with the monitoring of CPython 3.12 and later, the thread that comes out while
# another has switched the profiler off gets "ValueError: tool 2 is not in use" from the
# decorator instead of the function's value, and lines are missing from the counts.
# line_profiler 5.1.0, CPython 3.12.
#
# Each thread counts its own calls, but the tool's number is the interpreter's: the first
# thread that has none left gives it back.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python ''; do
    if [[ ! $python ]]; then
        echo 'needs CPython 3.12' >&2
        exit 1
    fi
    "$python" --version >/dev/null 2>&1 && break
done
"$python" -m venv "$folder"
"$folder/bin/pip" --quiet --disable-pip-version-check install line_profiler==5.1.0

# From a file: it looks at the source.
cat >"$folder/program.py" <<'PYTHON'
import sys
import threading
from importlib.metadata import version

from line_profiler import LineProfiler

inside = threading.Barrier(2)
returned = threading.Event()


def count(first):
    inside.wait()
    if not first:
        returned.wait(10)
    return 42


profiler = LineProfiler()
profiled = profiler(count)
results = {}


def call(first):
    try:
        results[first] = profiled(first)
    except ValueError as error:
        results[first] = repr(error)
    if first:
        returned.set()


threads = [threading.Thread(target=call, args=(first,)) for first in (True, False)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("line_profiler", version("line_profiler"), "CPython", sys.version.split()[0])
print("who returns first gets", results[True])
print("who returns last gets", results[False])
sys.exit(results != {True: 42, False: "ValueError('tool 2 is not in use')"})
PYTHON
"$folder/bin/python" "$folder/program.py"
