#!/usr/bin/env bash
# CPython 3.15's sampling profiler drops every sample that falls into a greenlet.
#
# Guess: it shows the greenlet's functions, as py-spy does, without those that called
# switch(), which are not below it while it runs.
# Seen: of a program that is in a greenlet all the time, nearly each sample is an error,
# and the profile that is printed is of importing greenlet: it looks like a program
# that does nothing else. The walk has to end at the frame that the thread began with,
# which a greenlet's frames don't lead to. CPython 3.15.2, greenlet 3.5.6.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.15 --version >/dev/null 2>&1 || {
    echo 'needs CPython 3.15' >&2
    exit 1
}
python3.15 -m venv "$folder"
"$folder/bin/pip" --quiet --disable-pip-version-check install greenlet==3.5.6

cat >"$folder/program.py" <<'PYTHON'
import sys
import time


def busy():
    end = time.perf_counter() + 3
    while time.perf_counter() < end:
        sum(range(100))


if sys.argv[1] == "greenlet":
    from greenlet import greenlet

    greenlet(busy).switch()
else:
    busy()
PYTHON

# Prints the rate of errors in percent and the samples that have busy() in them.
profile() {
    "$folder/bin/python" -m profiling.sampling run --duration 2 --pstats \
        "$folder/program.py" "$1" 2>&1 | awk '
            /^Error rate:/ { rate = $3 }
            /\(busy\)$/ && $1 ~ "/" { split($1, n, "/"); samples += n[1] }
            END { printf "%.0f %d\n", rate, samples }'
}

python3.15 --version
status=0
for kind in plain greenlet; do
    read -r rate samples < <(profile "$kind")
    echo "$kind: $rate % of the samples are errors, $samples are in busy()"
    if [[ $kind == plain ]]; then
        ((rate < 50 && samples > 500)) || status=1
    else
        ((rate > 50 && samples == 0)) || status=1
    fi
done
exit "$status"
