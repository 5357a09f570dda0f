"""memray attributes what is allocated to the right calls, and does not crash."""

import os
import subprocess
import sys
import time
from collections import Counter

import pytest

pytestmark = pytest.mark.isolated

memray = pytest.importorskip("memray")

# Blocks that stay, of a size that nothing else has, in chains that take turns.
WORK = """
SIZE = 54_321
kept = []
def a_alloc(): kept.append(bytearray(SIZE))
def b_alloc(): kept.append(bytearray(SIZE))
def m_alloc(): kept.append(bytearray(SIZE))
def a_deep(depth):
    if depth:
        return a_deep(depth - 1)
    sorted([0], key=a_key)
def b_deep(depth):
    if depth:
        return b_deep(depth - 1)
    sorted([0], key=b_key)
def a_key(_): a_alloc(); stop(); a_alloc()
def b_key(_): stop(); b_alloc()
def a_top():
    for i in range(TURNS): a_deep(i % 7)
def b_top():
    for i in range(TURNS): b_deep(i % 5)
def a_last(): a_alloc()
TURNS = 20
def main():
    a, b = make(a_top), make(b_top)
    for _ in range(TURNS + 1):
        a(); m_alloc(); b()
    make(a_last)()
"""

COROUTINES = """
import copool
stop = copool.yield_
def make(fn):
    return copool.Coroutine(fn).enter
"""
GREENLETS = """
import greenlet
stop = greenlet.getcurrent().switch
def make(fn):
    return greenlet.greenlet(fn).switch
"""
CHAINS = """
import copool.aio
class Pause:
    def __await__(self):
        yield
def stop():
    copool.aio.await_(Pause())
def make(fn):
    chain = copool.aio.run_sync(fn)
    def drive():
        try:
            chain.send(None)
        except StopIteration:
            pass
    return drive
"""

A = "a_top > a_deep > a_key > a_alloc"
B = "b_top > b_deep > b_key > b_alloc"
TRUTH = {A: 40, B: 20, "a_last > a_alloc": 1}
MAIN = {"main > m_alloc": 21}
# Frames of who enters a coroutine follow its own; those of a greenlet end with it.
ENTERED = {f"main > {chain}": count for chain, count in TRUTH.items()} | MAIN
DRIVEN = {f"main > drive > {chain}": count for chain, count in TRUTH.items()} | MAIN
SWITCHED = TRUTH | MAIN

NAMES = {"main", "drive", "a_top", "b_top", "a_deep", "b_deep", "a_key", "b_key"}
NAMES |= {"a_last", "a_alloc", "b_alloc", "m_alloc"}


def chains(file):
    """Count the blocks by who called whom, recursion left out."""
    found = Counter()
    for record in memray.FileReader(file).get_allocation_records():
        if record.size < 54_321 or record.size > 54_400 or not record.n_allocations:
            continue
        names = [name for name, *_ in reversed(record.stack_trace()) if name in NAMES]
        alone = [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]
        found[" > ".join(alone)] += 1
    return dict(found)


def is_its_own(line):
    """Whether memray says that without a reason that is ours."""
    return (
        not line
        or line.startswith("Memray WARNING: Correcting symbol for")
        or line.startswith("⚠ Memray support for Greenlet is experimental")
        or line.startswith("Please report any issues at https://github.com/bloom")
    )


def run(*arguments, **more):
    env = os.environ | {"PYTHONMALLOC": "malloc"} | more
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env=env,
    )
    errors = [line for line in done.stderr.splitlines() if not is_its_own(line)]
    assert (done.returncode, errors) == (0, [])


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "out.bin")


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return str(path)

    return write


UNDER_MEMRAY = ("-m", "memray", "run", "-q", "-o")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(COROUTINES, ENTERED), (CHAINS, DRIVEN)],
    ids=["coroutines", "chains"],
)
def test_memray_runs_the_program(script, output, kind, expected):
    run(*UNDER_MEMRAY, output, script(kind + WORK + "main()"))
    assert chains(output) == expected


def test_memray_runs_the_program_on_greenlets(script, output):
    program = script(GREENLETS + WORK + "main()")
    run("-m", "copool", "run", *UNDER_MEMRAY, output, program)
    assert chains(output) == SWITCHED


def test_address_space_is_not_memory(script, output):
    # The first coroutine has that of many stacks reserved: hundreds of megabytes.
    run(*UNDER_MEMRAY, output, script(COROUTINES + WORK + "main()"))
    records = memray.FileReader(output).get_high_watermark_allocation_records()
    assert sum(record.size for record in records) < 50_000_000


TRACKED = "\nimport memray, sys\nwith memray.Tracker(sys.argv[1]):\n    main()\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(COROUTINES, ENTERED), (GREENLETS, SWITCHED), (CHAINS, DRIVEN)],
    ids=["coroutines", "greenlets", "chains"],
)
def test_copool_is_there_before_memray(script, output, kind, expected):
    run("-m", "copool", "run", script(kind + WORK + TRACKED), output)
    assert chains(output) == expected


LATE = """
import memray, sys
def main():
    a, b = make(a_top), make(b_top)
    a(); b()
    kept.clear()
    with memray.Tracker(sys.argv[1]):
        for _ in range(TURNS):
            a(); m_alloc(); b()
        make(a_last)()
main()
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(COROUTINES, ENTERED), (GREENLETS, SWITCHED), (CHAINS, DRIVEN)],
    ids=["coroutines", "greenlets", "chains"],
)
def test_memray_begins_while_they_are_suspended(script, output, kind, expected):
    run("-m", "copool", "run", script(kind + WORK + LATE), output)
    before = {
        chain: count - 1 for chain, count in expected.items() if " > a_top" in chain
    }
    before |= {chain: 20 for chain in expected if "m_alloc" in chain}
    before |= {chain: 39 for chain in expected if "a_deep" in chain}
    assert chains(output) == expected | before


TWICE = """
import memray, sys
def main():
    a, b = make(a_top), make(b_top)
    with memray.Tracker(sys.argv[1] + ".first"):
        for _ in range(10):
            a(); b()
    a(); b()
    with memray.Tracker(sys.argv[1]):
        for _ in range(10):
            a(); m_alloc(); b()
main()
"""


def test_memray_comes_again(script, output):
    run(script(COROUTINES + WORK + TWICE), output)
    assert chains(output) == {
        f"main > {A}": 19,
        f"main > {B}": 10,
        "main > m_alloc": 10,
    }


THREADS = """
import memray, sys, threading
with memray.Tracker(sys.argv[1]):
    threads = [threading.Thread(target=main) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_chains_of_threads(script, output):
    run(script(COROUTINES + WORK + THREADS), output)
    assert chains(output) == {chain: 3 * n for chain, n in ENTERED.items()}


STRESS = """
import random
random.seed(3)
def stress(depth):
    for _ in range(random.randrange(8)):
        if depth < 12 and random.random() < 0.6:
            stress(depth + 1)
        kept.append(bytearray(random.randrange(600, 6000)))
        stop()
def main():
    chains = [make(lambda: stress(0)) for _ in range(100)]
    for _ in range(20_000):
        i = random.randrange(100)
        if random.random() < 0.05:
            chains[i] = make(lambda: stress(0))
            kept.clear()
        try:
            chains[i]()
        except RuntimeError:
            chains[i] = make(lambda: stress(0))
main()
"""


@pytest.mark.parametrize(
    "kind", [COROUTINES, GREENLETS, CHAINS], ids=["coroutines", "greenlets", "chains"]
)
def test_memray_reads_no_frame_that_is_gone(script, output, kind):
    # Where they were, the debugging allocator leaves what makes it crash.
    program = script(kind + WORK + STRESS)
    arguments = ("-m", "copool", "run", *UNDER_MEMRAY, output, program)
    # A chain that was never awaited warns.
    run(*arguments, PYTHONMALLOC="debug", PYTHONWARNINGS="ignore")


ATTACHED = """
import time
TURNS = 1_000_000
def main():
    a, b = make(a_top), make(b_top)
    print("ready", flush=True)
    while True:
        a(); m_alloc(); b()
        time.sleep(0.005)
main()
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no sys.remote_exec()")
def test_memray_is_attached(script, output):
    def memray_does(*what):
        how = (sys.executable, "-m", "memray", *what, "--method", "sys.remote_exec")
        return subprocess.run(
            [*how, str(process.pid)], capture_output=True, text=True, timeout=60
        )

    command = [sys.executable, script(COROUTINES + WORK + ATTACHED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            attached = memray_does("attach", "-o", output)
            if attached.returncode and "ermission" in attached.stderr:
                pytest.skip("a process may not be attached to here")
            assert attached.returncode == 0
            while not os.path.exists(output) or os.path.getsize(output) < 50_000:
                time.sleep(0.01)
            assert memray_does("detach").returncode == 0
        finally:
            process.kill()
    assert set(chains(output)) == {f"main > {A}", f"main > {B}", "main > m_alloc"}
