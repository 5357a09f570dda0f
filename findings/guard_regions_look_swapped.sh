#!/usr/bin/env bash
# /proc/PID/pagemap says that the pages of a guard region are swapped out.
#
# Guess: such a page has no entry at all, or the bit for guards (58) alone, since
# there is nothing in it.
# Seen: bit 58 and bit 62, "page swapped", with a made-up place in the swap, on a
# machine that has none; smaps counts no swap for it. Linux 6.18. So a tool that
# adds up bit 62 finds a megabyte of swap for each stack with a guard of that size.
set -euo pipefail

python3 - <<'PYTHON'
import ctypes
import mmap
import os
import struct
import sys

PAGE, GUARD_INSTALL = mmap.PAGESIZE, 102
GUARD, SWAPPED, PRESENT = 1 << 58, 1 << 62, 1 << 63
libc = ctypes.CDLL(None, use_errno=True)

pages = mmap.mmap(-1, 3 * PAGE)
pages[0] = 1
base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
size = ctypes.c_size_t(PAGE)
if libc.madvise(ctypes.c_void_p(base + PAGE), size, GUARD_INSTALL):
    sys.exit("this kernel has no guard regions: Linux 6.13 and later have")

with open("/proc/self/pagemap", "rb", buffering=0) as file:
    file.seek(base // PAGE * 8)
    entries = struct.unpack("3Q", file.read(24))
with open("/proc/self/smaps_rollup") as file:
    swap = next(line for line in file if line.startswith("Swap:")).split()[1]

print("Linux", os.uname().release, "smaps says", swap, "kB of swap")
seen = []
for name, entry in zip(["written", "guard", "untouched"], entries, strict=True):
    bits = {"guard": GUARD, "swapped": SWAPPED, "present": PRESENT}
    seen.append([bit for bit, mask in bits.items() if entry & mask])
    print(f"{name}: {', '.join(seen[-1]) or 'none of these bits'}")
sys.exit(seen != [["present"], ["guard", "swapped"], []])
PYTHON
