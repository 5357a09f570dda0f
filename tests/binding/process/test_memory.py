"""Coroutines cost the memory that they use, and when there is no more, it is said."""

import os
import re
import shutil
import signal

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.alone]

PAGES = """
import os, resource
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
"""

THREE_DEEP = """
import copool
from copool import Coroutine, yield_
def c(): yield_()
def b(): c()
def a(): b()
"""


def test_resident_memory_does_not_grow(python):
    done = python(
        PAGES
        + THREE_DEEP
        + """
def cycle(n):
    for _ in range(n):
        co = Coroutine(a)
        co.enter()
        co.enter()
        co = Coroutine(a)
        co.enter()
        del co
cycle(1000)
before = resident()
cycle(100_000)
print((resident() - before) // 1024)
"""
    )
    assert done.code == 0, done.errors
    assert int(done.lines[0]) < 512


def test_a_suspended_one_takes_five_kib_at_most(python):
    done = python(
        PAGES
        + THREE_DEEP
        + """
N = 20_000
warm = Coroutine(a); warm.enter(); warm.close()
cos = [Coroutine(a) for _ in range(N)]
before = resident()
for co in cos:
    co.enter()
print((resident() - before) / N)
for co in cos:
    co.enter()
""",
        env={**os.environ, "PYTHONMALLOC": "default"},
    )
    assert done.code == 0, done.errors
    assert float(done.lines[0]) <= 5 * 1024


DEEP = (
    PAGES
    + THREE_DEEP
    + """
import threading, time
N = 100
def goes_deep():
    chain = iter([1])
    for _ in range(5000):
        chain = map(int, chain)
    assert list(chain) == [1]  # takes some 600 KB of stack
    del chain
    yield_()
    return "end"
def crowd():
    cos = [Coroutine(goes_deep) for _ in range(N)]
    for co in cos:
        co.enter()
    return cos
def fell(since):
    return since - resident() > N * 500_000
before = resident()
cos = crowd()
went = resident()
print("deep", went - before > N * 500_000)
"""
)


def test_trim_gives_back_what_suspended_ones_do_not_use(python):
    done = python(
        DEEP
        + """
copool.trim()
print("given back", fell(went))
print("whole", {co.enter() for co in cos}, copool._core.check())

# By any thread, of all threads.
made, trimmed = threading.Event(), threading.Event()
def makes():
    cos = crowd()
    made.set()
    trimmed.wait()
    print("whole", {co.enter() for co in cos})
thread = threading.Thread(target=makes)
thread.start()
made.wait()
went = resident()
copool.trim()
print("given back", fell(went))
trimmed.set()
thread.join()
"""
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == [
        "deep True",
        "given back True",
        "whole {'end'} True",
        "given back True",
        "whole {'end'}",
    ]


def test_what_suspended_ones_do_not_use_is_given_back_by_time(python):
    """While others finish, as all that is given back by time."""
    done = python(
        DEEP
        + """
until = time.monotonic() + 5
while not fell(went) and time.monotonic() < until:
    for _ in range(100):
        Coroutine(int).enter()
    time.sleep(0.001)
print("given back", fell(went))
print("whole", {co.enter() for co in cos}, copool._core.check())
"""
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == ["deep True", "given back True", "whole {'end'} True"]


def test_trim_leaves_what_is_in_use(python):
    """At any depth, on the thread's own stack, and where one waits for another."""
    done = python(
        """
import copool
from copool import Coroutine, yield_
from copool._core import _greenlet_names
greenlet = _greenlet_names()["greenlet"]
def deep(n):
    if not n:
        return yield_(1)
    return sorted([n], key=lambda _: deep(n - 1)) == [n] and copool.trim() >= 0
cos = [Coroutine(deep) for _ in range(50)]
for n, co in enumerate(cos):
    co.enter(n)
copool.trim()
print({co.enter(True) for co in cos[1:]})
def hosts(n):
    if not n:
        return copool.on_thread_stack(Coroutine(trims).enter)
    return max([n], key=lambda _: hosts(n - 1))
def trims():
    return Coroutine(copool.trim).enter() + greenlet(copool.trim).switch()
print(Coroutine(hosts).enter(40), greenlet(hosts).switch(30))
print(copool._core.check())
"""
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == ["{True}", "40 30", "True"]


@pytest.fixture
def group():
    """A control group of 256 MiB: what runs a command in it."""
    with open("/proc/self/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    within = next((path for _, names, path in lines if names == "memory"), None)
    if within is None:
        pytest.skip("control groups of memory are of the second version here")
    folder = f"/sys/fs/cgroup/memory{within}/copool-{os.getpid()}"
    try:
        os.mkdir(folder)
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    with open(f"{folder}/memory.limit_in_bytes", "w") as file:
        file.write(str(256 << 20))
    yield ["sh", "-c", f'echo $$ >{folder}/cgroup.procs; exec "$@"', "sh"]
    os.rmdir(folder)


def test_the_memory_of_a_control_group_ends_in_an_exception(python, group):
    done = python(
        THREE_DEEP
        + """
cos = []
try:
    while True:
        cos.append(Coroutine(a))
        cos[-1].enter()
except copool.PoolExhausted as error:
    print(str(error).partition(":")[0])
print(copool.stats().max_blocks, len(cos) - 1)
""",
        before=group,
    )
    blocks = (256 << 20) // os.sysconf("SC_PAGE_SIZE") * 2 // 5
    assert (done.code, done.errors) == (0, "")
    assert done.lines == [f"all {blocks} blocks are in use", f"{blocks} {blocks}"]


def test_hundred_thousand_on_default_settings(python, needs):
    needs(100_000)
    done = python(
        THREE_DEEP
        + """
N = 100_000
cos = [Coroutine(a) for _ in range(N)]
for co in cos:
    co.enter()
print(copool.stats().live, copool.stats().guard)
for co in cos:
    co.enter()
print(copool.stats().live, copool._core.check(), {co.state for co in cos})
with open("/proc/self/maps") as file:
    print(len(file.readlines()) < 1000)
"""
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == ["100000 madvise", "0 True {'finished'}", "True"]


CYCLES = """
def cycles(n):
    for _ in range(n):
        co = Coroutine(a)
        co.enter()
        co.enter()
cycles(2000)
"""


def test_no_page_faults_once_warm(python):
    done = python(
        PAGES
        + THREE_DEEP
        + CYCLES
        + """
before = faults()
cycles(50_000)
print(faults() - before)
"""
    )
    assert done.code == 0, done.errors
    assert int(done.lines[0]) <= 10


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_no_system_calls_once_warm(python, tmp_path):
    log = tmp_path / "log"
    done = python(
        THREE_DEEP
        + CYCLES
        + """
import os
os.write(1, b"begin\\n")
cycles(20_000)
os.write(1, b"end\\n")
""",
        before=["strace", "-f", "-o", str(log)],
    )
    if done.code and "PTRACE" in done.errors:
        pytest.skip("tracing is not permitted here")
    assert (done.code, done.lines) == (0, ["begin", "end"])
    calls = log.read_text().splitlines()
    first = next(i for i, call in enumerate(calls) if '"begin' in call)
    last = next(i for i, call in enumerate(calls) if '"end' in call)
    assert calls[first + 1 : last] == []


def test_no_memory_for_another(python):
    done = python(
        THREE_DEEP
        + """
import resource
cos = []
copool.configure(stack_size=64 << 20)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20),) * 2)
try:
    while True:
        co = Coroutine(a)
        co.enter()
        cos.append(co)
except copool.PoolExhausted as error:
    print(error)
print(co.state, len(cos) > 2, copool._core.check())
n = len(cos)
cos.pop().close()
co.enter()
print(co.state, copool.stats().live == n, copool._core.check())
""",
    )
    assert done.code == 0, done.errors
    assert SHORTAGE["RLIMIT_AS"].fullmatch(done.lines[0])
    assert done.lines[1:] == ["created True True", "suspended True True"]


# What is said when a limit bites: its size, what is taken of it, a stack size.
SHORTAGE = {
    name: re.compile(
        r"no memory for the stack of another coroutine \(\d+ KiB of address space, "
        rf"with its guard\); {what} is (\d+) KiB, of which (\d+) are taken: let "
        r"coroutines finish, close\(\) them, choose smaller stacks with "
        r"copool\.configure\(stack_size=(\d+)\) or COPOOL_STACK_SIZE=\3, or raise it "
        rf"\({how}\)"
    )
    for name, what, how in [
        ("RLIMIT_AS", r"the limit on address space \(RLIMIT_AS\)", "ulimit -v"),
        ("RLIMIT_DATA", r"the limit on private memory \(RLIMIT_DATA\)", "ulimit -d"),
    ]
}

AS_MANY_AS_FIT = """
import resource
resource.setrlimit(resource.{limit}, ({size},) * 2)
import copool
cos = []
try:
    while True:
        co = copool.Coroutine(copool.yield_)
        co.enter()
        cos.append(co)
except copool.PoolExhausted as error:
    print(error)
print(len(cos), copool.stats().slabs, copool._core.check())
if cos:
    cos.pop().close()
    co.enter()
    co.close()
for co in cos:
    co.enter()
print(copool.stats().live)
"""


@pytest.mark.parametrize("guard", ["auto", "mprotect"])
@pytest.mark.parametrize("limit", SHORTAGE)
def test_limit_that_bites_is_named_and_what_is_advised_helps(python, limit, guard):
    size = 1 << 30
    env = os.environ | {"COPOOL_GUARD": guard, "COPOOL_STACK_SIZE": str(8 << 20)}
    script = AS_MANY_AS_FIT.format(limit=limit, size=size)
    numbers = []
    while True:
        done = python(script, env=env)
        assert (done.code, done.errors) == (0, "")
        number, _, ok = done.lines[1].split()
        assert (ok, done.lines[2]) == ("True", "0")
        numbers.append(int(number))
        if len(numbers) == 3:
            break
        found = SHORTAGE[limit].fullmatch(done.lines[0])
        assert int(found[1]) == size >> 10
        assert size >> 11 < int(found[2]) <= size >> 10
        env["COPOOL_STACK_SIZE"] = found[3]
    assert numbers[0] >= 60
    assert numbers[1] >= 1.5 * numbers[0]
    assert numbers[2] >= 1.3 * numbers[1]  # it may be the least, not a quarter


def test_slab_is_a_small_part_of_the_address_space(python):
    done = python(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2)
        import copool
        copool.configure(stack_size=8 << 20)
        copool.Coroutine(int).enter()
        print(copool.stats().mapped_bytes <= 1 << 26, len(bytearray(700 << 20)) >> 20)
        """
    )
    assert (done.code, done.lines) == (0, ["True 700"]), done.errors


def test_nothing_smaller_is_advised_than_what_can_be(python):
    """Where nothing fits the least stack is, and with that none."""
    script = """
        import re, resource
        import copool
        copool.stats()
        {}
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20),) * 2)
        co = copool.Coroutine(int)
        try:
            co.enter()
        except copool.PoolExhausted as error:
            print(re.findall(r"stack_size=(\\d+)", str(error)))
    """
    done = python(script.format(""))
    assert done.code == 0, done.errors
    (least,) = re.findall(r"\d+", done.lines[0])
    done = python(script.format(f"copool.configure(stack_size={least})"))
    assert (done.code, done.lines) == (0, ["[]"]), done.errors


def test_configure_without_memory(python):
    """A cap so tight that nothing can be mapped is found at the first enter."""
    done = python(
        THREE_DEEP
        + """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
copool.configure(stack_size=256 << 20)
try:
    Coroutine(a).enter()
except copool.PoolExhausted:
    print("exhausted")
copool.configure(stack_size=1 << 20)
Coroutine(int).enter()
print(copool._core.check())
"""
    )
    assert (done.code, done.lines) == (0, ["exhausted", "True"])


@pytest.mark.parametrize("guard", ["auto", "mprotect"])
def test_overflow_by_c_code_that_does_not_count_hits_the_guard(python, guard):
    done = python(
        f"""
        import ctypes, faulthandler
        import copool
        faulthandler.enable()
        copool.configure(guard={guard!r})
        others = [copool.Coroutine(copool.yield_) for _ in range(20)]
        for co in others:
            co.enter()
        def overflow():
            print("compiling", flush=True)
            libc.regcomp(ctypes.create_string_buffer(64), b"(" * 1_000_000, 1)
            print("never", flush=True)
        libc = ctypes.CDLL(None)
        copool.Coroutine(overflow).enter()
        """
    )
    assert (done.code, done.lines) == (-signal.SIGSEGV, ["compiling"])
    assert "in overflow" in done.errors


def test_faulthandler_shows_the_running_chain(python):
    done = python(
        """
        import faulthandler, sys
        from copool import Coroutine
        def inner():
            faulthandler.dump_traceback(sys.stdout)
        def outer():
            inner()
        Coroutine(outer).enter()
        """
    )
    assert done.code == 0
    names = [line.rsplit(" ", 1)[1] for line in done.lines if "File" in line]
    assert names == ["inner", "outer", "enter", "<module>"]


def test_deep_use_is_given_back(python):
    """Pages of a deep recursion do not stay with the pool for ever."""
    done = python(
        PAGES
        + """
import copool
copool.configure(stack_size=5 << 20)
def deep(n):
    return sorted([0], key=lambda _: deep(n - 1)) if n else [copool.yield_()]
cos = [copool.Coroutine(deep) for _ in range(300)]
before = resident()
for co in cos:
    co.enter(60)
middle = resident()
for co in cos:
    co.enter()
del cos
copool.trim()
print((middle - before) > 40 << 20, (resident() - before) < 8 << 20)
"""
    )
    assert (done.code, done.lines) == (0, ["True True"])
