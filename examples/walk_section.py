"""What a debugger or profiler has to do to see suspended coroutines.

It needs nothing of copool: the process says where everything is. For tools that do
the same in their own language; `copool ps` is the whole of it.

python examples/walk_section.py PID
"""

import os
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

pid = int(sys.argv[1])
memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)


def read(address: int, size: int) -> bytes:
    return os.pread(memory, size, address)


def word(address: int) -> int:
    return int.from_bytes(read(address, 8), "little")


def find_table() -> int:
    # The section is a part of what the library can write to.
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if re.search(r" rw.. .*/copool/_core\.[^/]*so", line):
            low, high = (int(number, 16) for number in line.split()[0].split("-"))
            at = read(low, high - low).find(b"copool section\0\0")
            if at >= 0:
                return low + at
    sys.exit(f"process {pid} has no copool")


def read_table(address: int) -> Iterator[tuple[str, int]]:
    _, version, count, size, name_size = struct.unpack("<16s4I", read(address, 32))
    assert version == 1, "written for another version"
    for i in range(count):
        entry = read(address + 32 + i * size, size)
        name = entry[:name_size].rstrip(b"\0").decode()
        yield name, int.from_bytes(entry[name_size : name_size + 8], "little")


table = dict(read_table(find_table()))


def text(string: int) -> str:
    # One that is all ASCII, as most names of functions are.
    length = word(string + table["str.length"])
    return read(string + table["str.text.ascii"], length).decode()


def innermost(strand: int) -> int:
    # The innermost frame of a chain that does not run.
    at = strand + table["strand.slice"]
    if "slice.frame" in table:  # from 3.13 on
        return word(at + table["slice.frame"])
    return word(word(at + table["slice.cframe"]) + table["cframe.frame"])


def functions(strand: int) -> Iterator[str]:
    frame = innermost(strand)
    while frame and frame != strand + table["strand.root"]:
        # Other owners than functions are the interpreter's own.
        if read(frame + table["frame.owner"], 1)[0] <= table["owner.object"]:
            code = word(frame + table["frame.code"]) & ~table["frame.tag"]
            yield text(word(code + table["code.qualname"]))
        frame = word(frame + table["frame.previous"])


def strands() -> Iterator[int]:
    record = word(table["records"])
    while record:
        if word(record + table["record.ts"]):  # else the thread has ended
            current = word(record + table["record.current"])
            strand = word(record + table["record.started"])
            while strand:
                # Without a face it is kept for whatever begins next.
                if strand != current and word(strand + table["strand.face"]):
                    yield strand
                strand = word(strand + table["strand.next"])
        record = word(record + table["record.next"])


stacks = Counter(" < ".join(functions(strand)) for strand in strands())
for stack, count in stacks.most_common():
    print(f"{count:,} × {stack}")
