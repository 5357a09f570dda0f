"""The memory of a live process, which is neither stopped nor changed.

Both ways to read it need the permission that a debugger needs to attach. One may be
forbidden where the other is not: a filter of system calls knows the first only, and
/proc may be hidden.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import time as clock
from collections.abc import Callable
from typing import BinaryIO

from copool.commands.outside.memory import (
    BadAddress,
    Gone,
    Mapping,
    Memory,
    OutsideError,
)

try:
    import ctypes
except ImportError:  # A Python can be built without.
    _libc = None
else:
    _libc = ctypes.CDLL(None, use_errno=True)

    class _Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


_AT_ONCE = 1 << 20
_PTRACE_SCOPE = "/proc/sys/kernel/yama/ptrace_scope"
_CAP_SYS_PTRACE = 19
_MAPPING = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ (\d+) +(/.*)", re.ASCII
)
_Read = Callable[[int, int], bytes]

# A file by which a process looks like a Python, in any folder.
_OF_PYTHON = re.compile(r"/((lib)?python|[^/]*\.cpython-3)[^/]*$")


class Process(Memory):
    """A process of this machine, as far as we may read it.

    Raises OutsideError if there is none, or if something is not allowed.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.name = f"process {pid}"
        self._began = self._birth()
        maps = self._text("maps")
        if not maps:
            raise OutsideError(
                f"{self.name} has no memory: it is a part of the kernel,"
                " or it has ended and waits for its parent to notice"
            )
        self._mappings = [*map(_mapping, _MAPPING.findall(maps))]
        probe = int(maps.partition("-")[0], 16)
        self._read = self._by_call(probe) or self._by_file()

    def command(self) -> str:
        """Return what the process is called."""
        return self._text("comm").strip()

    def own_pid(self) -> int:
        """Return what the process itself takes for its number, in a container."""
        found = re.search(r"^NSpid:.*?(\d+)$", self._text("status"), re.MULTILINE)
        return int(found[1]) if found else self.pid

    def is_python(self) -> bool:
        """Whether it looks like one, by the files that it has mapped."""
        return any(_OF_PYTHON.search(each.path) for each in self._mappings)

    def mappings(self) -> list[Mapping]:
        """Return those of files when it was first looked at."""
        return self._mappings

    def open_file(self, mapping: Mapping) -> BinaryIO | None:
        """Open what is mapped, even if it is deleted, where that is allowed.

        By its name, as the process sees it, only if the same file bears that still.
        """
        piece = f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}"
        with contextlib.suppress(OSError):
            return open(piece, "rb")
        with contextlib.suppress(OSError, ValueError):
            file = open(f"/proc/{self.pid}/root{mapping.path}", "rb")  # noqa: SIM115
            if os.fstat(file.fileno()).st_ino == mapping.inode:
                return file
            file.close()
        return None

    def read_some(self, address: int, size: int) -> bytes:
        """Return what is there; raises Gone if the process has ended."""
        return self._read(address, min(size, _AT_ONCE))

    def seconds_since(self, time: int) -> float:
        """Return the age: it has the same clock as we."""
        return max(clock.monotonic_ns() - time, 0) / 1e9

    def seconds_of_day(self) -> float:
        """Return the time."""
        return clock.time()

    def check_alive(self) -> None:
        """Raise Gone if it has ended meanwhile, or has become another program."""
        try:
            alive = self._birth() == self._began
        except OutsideError:
            alive = False
        if not alive:
            raise self._gone()

    def _gone(self) -> Gone:
        return Gone(f"{self.name} has ended while it was read")

    def _birth(self) -> str:
        """Return its starting time, by which it differs from others of its number."""
        fields = self._text("stat").rpartition(")")[2].split()
        if not fields or fields[0] in "ZX":
            raise OutsideError(f"{self.name} has ended")
        return fields[19]

    def _text(self, file: str) -> str:
        try:
            with open(
                f"/proc/{self.pid}/{file}", encoding="utf-8", errors="surrogateescape"
            ) as opened:
                return opened.read()
        except (FileNotFoundError, ProcessLookupError):
            raise OutsideError(f"there is no process {self.pid}") from None
        except PermissionError:
            raise OutsideError(self._denied()) from None

    def _by_call(self, probe: int) -> _Read | None:
        """Return what reads by process_vm_readv(); None where that is forbidden."""
        if _libc is None or not hasattr(_libc, "process_vm_readv"):
            return None
        call, pid = _libc.process_vm_readv, ctypes.c_int(self.pid)
        buffer = bytearray(_AT_ONCE)
        view = memoryview(buffer)
        here = _Piece(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), 0)
        there = _Piece()
        at_here, at_there = ctypes.byref(here), ctypes.byref(there)
        one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)

        def read(address: int, size: int) -> bytes:
            here.size = there.size = size
            there.base = address
            got: int = call(pid, at_here, one, at_there, one, none)
            if got > 0:
                return bytes(view[:got])
            if ctypes.get_errno() == errno.ESRCH:
                raise self._gone()
            raise BadAddress

        with contextlib.suppress(BadAddress):
            return read if read(probe, 1) else None
        return None if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else read

    def _by_file(self) -> _Read:
        try:
            file = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise OutsideError(self._denied()) from None
        except OSError:
            raise self._gone() from None
        self._file = os.fdopen(file, "rb", buffering=0)

        def read(address: int, size: int) -> bytes:
            try:
                found = os.pread(file, size, address)
            except (OSError, OverflowError):
                raise BadAddress from None
            if not found:  # it has no memory any more
                raise self._gone()
            return found

        return read

    def _denied(self) -> str:
        """Say which permission is missing, and how to have it."""
        return f"{self.name} may not be read by this user: {self._why_denied()}"

    def _why_denied(self) -> str:
        scope = _first_line(_PTRACE_SCOPE)
        says = f"{_PTRACE_SCOPE} is {scope}" if scope else ""
        owner, mine = os.stat(f"/proc/{self.pid}").st_uid, os.geteuid()
        if mine and owner != mine:
            return (
                f"it belongs to {_user(owner)} and this is {_user(mine)}; run this as"
                " that user or as root"
                + (f" ({says})" if scope not in ("", "0") else "")
            )
        if scope == "3":
            return f"{says}, which forbids it to all until the next boot"
        if scope == "1" and mine:
            return (
                f"{says}, so that only its ancestors and root may; run this as root,"
                " or `sysctl kernel.yama.ptrace_scope=0`"
            )
        if not _has_capability(_CAP_SYS_PTRACE):
            return (
                (f"{says}; " if scope == "2" else "")
                + "CAP_SYS_PTRACE is missing; run this as root, in a container that"
                " was started with --cap-add=SYS_PTRACE"
            )
        return "a security module or a filter of system calls forbids it"


def _mapping(found: tuple[str, ...]) -> Mapping:
    start, end, rights, offset, inode, path = found
    # A line's end in a name is written in digits.
    path = path.removesuffix(" (deleted)").replace("\\012", "\n")
    return Mapping(
        int(start, 16), int(end, 16), int(offset, 16), "w" in rights, path, int(inode)
    )


def _first_line(path: str) -> str:
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return ""


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _has_capability(number: int) -> bool:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False
