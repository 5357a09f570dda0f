#!/usr/bin/env bash
# The same loop takes 5 % more instructions when one more object is alive.
#
# Guess: instructions are counted because they do not depend on what else there is.
# With a fixed hash seed, a loop that makes and drops an object takes as many per
# turn whatever lives beside it; at most a hash table's collision would differ.
# Seen: CPython 3.11.2 (Debian) under callgrind takes 1,439 instructions per turn with
# 30 of the numbers from 0 to 31 of other objects of that size alive, 1,455 with one of
# them, and 1,517 with another one. Its allocator has 31 blocks of 512 bytes in a pool.
# Where what comes and goes is the last of a pool, each turn takes the pool out of a
# list and puts it back.
#
# It matters to who compares counts: what else is alive hangs on the length of a
# path, on an import, on an option. One count in thirty steps by some percent, each
# time in the same way, and so looks like a change of the program's.
set -euo pipefail

python=/usr/bin/python3
version=$("$python" -c 'import platform; print(platform.python_version())')
[[ $version == 3.11.2 ]] || { echo "needs Debian's Python 3.11.2, not $version" >&2; exit 2; }
command -v valgrind >/dev/null || { echo "needs valgrind" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >loop.py <<'P'
import sys

alive, turns = map(int, sys.argv[1:])
size = 512 - sys.getsizeof(b"")
kept = [bytes(size) for _ in range(alive)]
for _ in range(turns):
    bytes(size)
P

# Instructions of a run with so many alive and so many turns.
count() {
    PYTHONHASHSEED=0 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$python" -S loop.py "$1" "$2" 2>&1 | awk '/Collected/ { print $NF }'
}

for alive in $(seq 0 31); do
    few=$(count "$alive" 1000)
    many=$(count "$alive" 11000)
    echo "$alive $(((many - few) / 10000))"
done >counts

sort -k2,2n counts | awk '{ print $2 }' | uniq --count |
    awk '{ print $1 " of 32 numbers of objects alive: " $2 " instructions per turn" }'
awk '{ print $2 }' counts | sort -n | uniq --count >kinds
read -r often usual <<<"$(head -1 kinds)"
read -r seldom more <<<"$(tail -1 kinds)"
((often >= 28 && seldom <= 3 && more > usual * 104 / 100)) || {
    echo "CHANGED: no longer one number in thirty with some percent more"
    exit 1
}
