#!/usr/bin/env bash
# gcore of gdb 13.1 leaves out all of a mapping in whose first mebibyte a page is a guard.
#
# Guess: the page that can't be read becomes zeros, and what comes after it is in the
# core, as in one that the kernel writes.
# Seen: "Memory read failed for corefile section, 1048576 bytes", and zeros for all of
# the 4 MiB, what comes before the page in them as well. It reads by the mebibyte and
# gives the mapping up at the first that has a page which can't be read, though
# /proc/PID/mem has the others; its status is 0. Debian's gdb 13.1-3, Linux 6.18. Before
# there were guard regions (MADV_GUARD_INSTALL) such a page was a mapping of its own,
# and nothing was lost.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq gdb=13.1-3 2>/dev/null || {
    echo 'needs Debian 12, for its gdb 13.1' >&2
    exit 1
}
dpkg --extract gdb_13.1-3_*.deb gdb

cat >program.py <<'PYTHON'
import ctypes
import mmap
import sys
import time

PAGE, GUARD_INSTALL = mmap.PAGESIZE, 102
libc = ctypes.CDLL(None, use_errno=True)
pages = mmap.mmap(-1, 1024 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
# Made of two halves, so that it stands nowhere else.
for at, name in ((0, b"before"), (2, b"behind")):
    pages[at * PAGE : at * PAGE + 16] = name + b"-the-guard"
if libc.madvise(ctypes.c_void_p(base + PAGE), ctypes.c_size_t(PAGE), GUARD_INSTALL):
    sys.exit("this kernel has no guard regions: Linux 6.13 and later have")
print("ready", flush=True)
time.sleep(60)
PYTHON
python3 program.py >ready &
program=$!
until [[ -s ready ]]; do sleep 0.1; done

GDB=$folder/gdb/usr/bin/gdb
status=0
"$GDB" --data-directory="$folder/gdb/usr/share/gdb" -nx -batch -p $program \
    -ex 'generate-core-file core' >log 2>&1 || status=$?
kill $program
grep -m1 'Memory read failed for corefile section, 1048576 bytes' log
"$GDB" --version | head -1
echo "status $status"
for word in before behind; do
    echo "$word the guard: $(grep -c "$word-the-guard" core || true)"
done | tee found
[[ $status == 0 && $(cat found) == $'before the guard: 0\nbehind the guard: 0' ]]
