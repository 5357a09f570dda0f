#!/usr/bin/env bash
# A datagram that is received into a buffer which ends at a guard is lost.
#
# Guess: recv() fails with EFAULT, as read() from a pipe does, and the message is
# still there for the next call, with a buffer that is large enough.
# Seen: recv() fails with EFAULT and the message is gone. A pipe and a stream lose
# nothing. Linux 6.18, with a guard region (Linux 6.13 and later) and with a
# protected page alike.
#
# It matters to whoever reads into memory on a stack near its end: the fault that
# would tell of an overflow does not come, since it is the kernel that writes.
set -euo pipefail

python3 - <<'PYTHON'
import ctypes
import errno
import mmap
import os
import socket
import sys

PAGE = mmap.PAGESIZE
GUARD_INSTALL, PROT_NONE = 102, 0
libc = ctypes.CDLL(None, use_errno=True)
libc.read.restype = ctypes.c_ssize_t


def buffer_at_a_guard(kind):
    """Eight bytes that may be written, right below what may not."""
    pages = mmap.mmap(-1, 2 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    end = ctypes.c_void_p(base + PAGE)
    if kind == "guard region":
        refused = libc.madvise(end, ctypes.c_size_t(PAGE), GUARD_INSTALL)
    else:
        refused = libc.mprotect(end, ctypes.c_size_t(PAGE), PROT_NONE)
    return None if refused else (pages, base + PAGE - 8)


def receive(fd, kind):
    made = buffer_at_a_guard(kind)
    if made is None:
        return None
    got = libc.read(fd, ctypes.c_void_p(made[1]), ctypes.c_size_t(64))
    return "EFAULT" if got < 0 and ctypes.get_errno() == errno.EFAULT else got


def left(fd):
    os.set_blocking(fd, False)
    try:
        return len(os.read(fd, 64))
    except BlockingIOError:
        return 0


def channels():
    yield "datagram", [s.detach() for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
    yield "stream", [s.detach() for s in socket.socketpair()]
    yield "pipe", list(reversed(os.pipe()))


expected = {"datagram": ("EFAULT", 0), "stream": ("EFAULT", 64), "pipe": ("EFAULT", 64)}
changed = False
print("Linux", os.uname().release)
for kind in "guard region", "protected page":
    for name, (writer, reader) in channels():
        os.write(writer, bytes(64))
        got = receive(reader, kind)
        if got is None:
            print(f"{kind}: this kernel has none")
            break
        seen = got, left(reader)
        print(f"{kind}, {name}: read() gives {seen[0]}, then {seen[1]} bytes are left")
        changed |= seen != expected[name]
sys.exit(changed)
PYTHON
