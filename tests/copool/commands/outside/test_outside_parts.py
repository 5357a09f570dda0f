"""`copool ps` and `copool dump` refuse what they can't read, and never guess.

These are their parts, without a process to read.
"""

import contextlib
import doctest
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copool.commands.outside import objects, report, summary, table
from copool.commands.outside.elf import Elf, ElfError
from copool.commands.outside.frames import Window
from copool.commands.outside.memory import Mapping, Memory, OutsideError, copies_of_core
from copool.commands.outside.model import Chain, Scene, Thread
from copool.commands.outside.objects import Code
from copool.commands.outside.process import _OF_PYTHON


@pytest.mark.parametrize("module", [report, summary, table])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("path", "is_python"),
    [
        ("/usr/bin/python3.12", True),
        ("/usr/lib/libpython3.13.so.1.0", True),
        ("/opt/x/_json.cpython-312-x86_64-linux-gnu.so", True),
        ("/opt/x.cpython-312/lib.so", False),
        ("/opt/python3/lib.so", False),
    ],
)
def test_a_process_is_a_python_by_the_name_of_a_file(path, is_python):
    assert bool(_OF_PYTHON.search(path)) == is_python


def function(count=0):
    total = count + 1
    for i in range(3):
        total += sum(j + 1 for j in range(i))
    try:
        raise ValueError(
            "x",
        )
    except ValueError as error:
        total += len(error.args)
    return lambda: total


@pytest.mark.parametrize(
    "code",
    [
        function.__code__,
        function().__code__,
        random.Random.sample.__code__,
        doctest.testmod.__code__,
        doctest.__loader__.get_code("doctest"),
    ],
)
def test_lines_are_those_that_python_knows(code):
    found = Code("f", "file", 0, 0, code.co_linetable, code.co_firstlineno)
    wrong = [
        (at, line, found.line(at))
        for start, end, line in code.co_lines()
        for at in range(start, end, 2)
        if found.line(at) != (line or 0)
    ]
    assert wrong == []
    assert found.line(-2) == code.co_firstlineno


@given(st.binary(max_size=200), st.integers(-5, 1000))
def test_a_table_of_lines_may_be_anything(data, at):
    assert isinstance(Code("f", "file", 0, 0, data, 1).line(at), int)


@given(st.binary(max_size=300), st.booleans())
def test_a_file_may_be_anything(data, has_head):
    if has_head:
        data = b"\x7fELF\x02\x01" + data
    with contextlib.suppress(ElfError):
        elf = Elf(io.BytesIO(data))
        assert elf.address_of(".copool") is None
        for segment in elf.segments():
            assert len(list(elf.notes(segment))) <= len(data)


def mapping(start, offset, path="/lib/copool/_core.cpython-312-x86_64-linux-gnu.so"):
    return Mapping(start, start + 0x1000, offset, False, path)


def test_files_of_other_projects_are_no_copies():
    memory = Pieces({})
    memory.mappings = lambda: [mapping(0x1000, 0, "/lib/other/_core.so")]
    assert [*table.tables(memory)] == []
    memory.mappings = lambda: [mapping(0x1000, 0)]
    with pytest.raises(OutsideError, match=r"which has no section \.copool"):
        next(table.tables(memory))


def test_a_file_that_is_loaded_twice_is_two_copies():
    every = [
        mapping(0x9000, 0),
        mapping(0xA000, 0x1000),
        mapping(0x1000, 0),
        mapping(0x2000, 0x1000),
        mapping(0x5000, 0, "/lib/other/__core.so"),
        mapping(0x6000, 0, "/lib/copool/_source.so"),
        mapping(0x7000, 0, "/other/copool/_core.abi3.so"),
    ]
    starts = [[each.start for each in copy] for copy in copies_of_core(every)]
    assert starts == [[0x1000, 0x2000], [0x7000], [0x9000, 0xA000]]


def chain(kind="coroutine", state="suspended", lines=(), **fields):
    return Chain(kind, state, fields.pop("thread", None), tuple(lines), **fields)


LEAF, TOP = ("leaf", "app.py", 3), ("top", "app.py", 0)


def test_groups_are_in_order_and_say_what_is_different_in_them():
    threads = [Thread("main", 10, 1, 5), Thread("", 20, 2, 6), Thread("x", 30, 3, 7)]
    chains = [
        chain("thread", "waiting", [TOP], thread=threads[0]),
        chain(
            "coroutine", "running", [LEAF], thread=threads[0], entered_by=TOP, name="n"
        ),
        *(
            chain(
                lines=[LEAF, TOP],
                thread=threads[i % 3],
                name=f"{i}\n",
                made_by="a (b:1)" if i % 4 else "c (d:2)",
                age=i + 0.5,
            )
            for i in range(1200)
        ),
        chain("greenlet", lines=[LEAF] * 101, thread=threads[1]),
        chain("awaited"),
    ]
    made = report.Report(Scene(77, ("1.2.3", "3.12.1"), threads, chains, 2), 0)
    assert made.text().splitlines() == [
        "copool: 1,204 chains in 3 threads of process 77, at 1970-01-01 00:00:00 UTC",
        "",
        "1,200 × coroutine, suspended, in main (1) and 2 other threads",
        r"  names: 0\n, 1\n, 2\n, …",
        "  waits for 0 s to 1,199 s",
        "  made by a (b:1) and 300 elsewhere",
        "  leaf (app.py:3)",
        "  top (app.py:?)",
        "",
        "1 × coroutine 'n', running, in main (1), entered by top (app.py:?)",
        "  leaf (app.py:3)",
        "",
        "1 × thread, waiting, in main (1)",
        "  top (app.py:?)",
        "",
        "1 × greenlet, suspended, in a thread (2)",
        *["  leaf (app.py:3)"] * 100,
        "  …",
        "",
        "1 × awaited, suspended",
        "  (no Python code)",
        "",
        "… and 2 that changed meanwhile",
    ]
    made.limit_to(1)
    assert made.text().splitlines()[-3:] == [
        "",
        "… and 4 chains in 4 more groups",
        "… and 2 that changed meanwhile",
    ]


def test_what_is_not_old_enough_is_left_out():
    chains = [chain(lines=[LEAF], age=age) for age in (1.0, 2.0, 3.0)]
    chains += [chain(lines=[LEAF])]
    made = report.Report(Scene(77, ("", ""), [], chains), 0, older_than=2)
    assert made.text().splitlines()[1:4] == [
        "suspended for more than 2 s: 1",
        "",
        "1 × coroutine, suspended",
    ]


class Pieces(Memory):
    """Memory that consists of some pieces, for objects that a test has made."""

    name, pid = "pieces", 1

    def __init__(self, pieces):
        self._pieces = pieces

    def read_some(self, address, size):
        for start, data in self._pieces.items():
            if start <= address < start + len(data):
                return data[address - start :][:size]
        raise objects.BadAddress

    def mappings(self):
        return []

    def open_file(self, mapping):
        return None

    def seconds_since(self, time):
        return 0.0

    def seconds_of_day(self):
        return 0.0

    def check_alive(self):
        pass


def test_no_page_is_read_but_for_what_is_in_it():
    memory = Pieces({0x10000: bytes(range(256)) * 16})
    assert len(memory.read_near(0x10000, 16, 512)) == 512
    assert len(memory.read_near(0x10FC0, 16, 512)) == 64
    with pytest.raises(objects.BadAddress):
        memory.read_near(0x10FF8, 16, 512)
    wanted = []
    memory.read_some = lambda address, size: (
        wanted.append((address, size)) or bytes(size)
    )
    window = Window(memory)
    for address, size in (0x10FF0, 16), (0x10010, 80), (0x11000, 8), (0x10FFF, 2):
        window.at(address, size)
    assert wanted == [(0x10000, 0x1000), (0x11000, 0x1000), (0x10000, 0x2000)]
