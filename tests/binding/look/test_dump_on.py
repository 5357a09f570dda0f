"""A signal gets a whole dump, from a process that is in the middle of anything.

Each line of JSON that a script has asked for must be a dump that makes sense.
"""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.isolated

PRELUDE = """
import asyncio, ctypes, gc, json, os, random, re, signal, sys, threading, time
import copool, copool.aio
from copool import Coroutine, yield_
from copool._core import _greenlet_names
from copool.aio import await_, run_sync
greenlet, getcurrent = (_greenlet_names()[n] for n in ("greenlet", "getcurrent"))

def leaf():
    yield_()

def top():
    leaf()

def suspend(n, **options):
    made = []
    for _ in range(n):
        made.append(Coroutine(top, **options))
        made[-1].enter()
    return made

def send(number=signal.SIGQUIT):
    os.kill(os.getpid(), number)

def later(seconds, function):
    thread = threading.Timer(seconds, function)
    thread.start()
    return thread
"""


def dumps(text):
    """Those in it, each checked for what all of them have."""
    found = [json.loads(line) for line in text.split("\n") if line.startswith("{")]
    for dump in found:
        assert dump["version"] == 1
        shown = sum(group["count"] for group in dump["groups"])
        assert shown + dump["left_out"]["chains"] == dump["chains"]
        for group in dump["groups"]:
            assert group["kind"] in ("coroutine", "greenlet", "awaited", "thread")
            assert group["state"] in ("running", "waiting", "suspended")
            for place in group["stack"]:
                assert place["function"].isprintable()
                assert place["file"].isprintable()
                assert place["line"] is None or place["line"] > 0
    return found


def functions(group):
    return [
        place["function"].rpartition(".")[2]
        for place in group["stack"]
        if place["file"] in ("<string>", "<script>")
    ]


def group_of(dump, *stack):
    (found,) = (g for g in dump["groups"] if functions(g) == list(stack))
    return found


def count_of(dump, *stack):
    return sum(g["count"] for g in dump["groups"] if functions(g) == list(stack))


# --- the text -----------------------------------------------------------------

WHOLE = r"""copool: 7 chains in 1 thread of process \d+, at TIME UTC

3 × coroutine, suspended, in MainThread \(\d+\)
  names: worker
  made by suspend \(<string>:\d+\)
  leaf \(<string>:10\)
  top \(<string>:13\)

1 × coroutine 'reader', running, in MainThread \(\d+\), entered by MODULE
  made by MODULE
  send \(<string>:23\)
  body \(<string>:\d+\)

1 × thread, waiting, in MainThread \(\d+\)
  MODULE

… and 2 chains in 2 more groups
"""
WHOLE = WHOLE.replace("TIME", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
WHOLE = WHOLE.replace("MODULE", r"<module> \(<string>:\d+\)")


def test_text(python):
    done = python(
        PRELUDE
        + """
copool.note(makers=True)
copool.dump_on(signal.SIGQUIT, limit=3)
kept = suspend(3, name="worker")
main = getcurrent()
one = greenlet(lambda: main.switch())
two = greenlet(lambda: main.switch())
one.switch(), two.switch()
def body():
    send()
Coroutine(body, name="reader").enter()
one.switch(), two.switch()
"""
    )
    assert (done.code, done.lines) == (0, [])
    assert re.fullmatch(WHOLE, done.errors), done.errors


def test_text_is_the_same_as_that_of_dump(python):
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGQUIT)
kept = suspend(3, name="wörker\\n\\udc80")
def body():
    send()
    copool.dump()
Coroutine(body).enter()
""",
        env={"PYTHONIOENCODING": "utf-8"},
    )
    errors = re.sub(r"  send .*\n", "", done.errors)  # where the signal came
    first, second = errors.split("copool: ")[1:]
    assert re.sub(r"at .*|string>:\d+", "", first) == re.sub(
        r"at .*|string>:\d+", "", second
    )
    assert r"names: wörker\n\udc80" + "\n" in first


# --- processes that are stuck -------------------------------------------------

# What happens, and the stack of what runs.
STUCK = {
    "in C, with the GIL": (
        """
def body():
    re.match("(a*)*b", "a" * 24)
Coroutine(body).enter()
""",
        ["body"],
    ),
    "in a deadlock with itself": (
        """
lock = threading.Lock()
def body():
    with lock:
        lock.acquire(timeout=1)
Coroutine(body).enter()
""",
        ["body"],
    ),
    "in a loop of Python": (
        """
def body():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass
Coroutine(body).enter()
""",
        ["body"],
    ),
    "in a finalizer": (
        """
class Dies:
    def __del__(self):
        time.sleep(1)
def body():
    Dies()
Coroutine(body).enter()
""",
        ["__del__", "body"],
    ),
    "in a finalizer that the collector calls": (
        """
class Dies:
    def __del__(self):
        time.sleep(1)
def body():
    one = Dies()
    one.self = one
    del one
    gc.collect()
Coroutine(body).enter()
""",
        ["__del__", "body"],
    ),
    "in a finally block of what is unwound": (
        """
def ends():
    try:
        yield_()
    finally:
        time.sleep(1)
def body():
    Coroutine(ends).enter()
Coroutine(body).enter()
""",
        ["ends"],
    ),
    "in an event loop": (
        """
async def main():
    await asyncio.sleep(1)
copool.aio.run(main())
""",
        None,
    ),
}


@pytest.mark.parametrize("name", STUCK)
def test_stuck(python, name):
    """The signal comes from another process, while a second thread waits."""
    code, stack = STUCK[name]
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGQUIT, format="json")
kept = suspend(20)
if os.fork() == 0:
    time.sleep(0.5)
    os.kill(os.getppid(), signal.SIGQUIT)
    os._exit(0)
"""
        + code
    )
    assert done.code == 0
    (dump,) = dumps(done.errors)
    assert group_of(dump, "leaf", "top")["count"] == 20
    if stack:
        assert group_of(dump, *stack)["state"] == "running"
    else:
        (task,) = (g for g in dump["groups"] if g["kind"] == "awaited")
        assert (task["names"], functions(task)) == (["Task-1"], ["main"])
    assert dump["unread"] == 0


def test_threads_in_a_deadlock(python):
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGQUIT, format="json")
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(3)
def first():
    with a:
        both.wait()
        b.acquire(timeout=1)
def second():
    with b:
        both.wait()
        a.acquire(timeout=1)
for function in (first, second):
    threading.Thread(target=lambda f=function: Coroutine(f).enter()).start()
both.wait()
time.sleep(0.2)
send()
"""
    )
    (dump,) = dumps(done.errors)
    for function in ("first", "second"):
        assert group_of(dump, function)["state"] == "running"


def test_dump_in_a_finalizer_and_in_a_handler(python):
    """That is dump(), which makes a string."""
    done = python(
        PRELUDE
        + """
kept = suspend(5)
class Dies:
    def __del__(self):
        copool.dump(format="json")
def body():
    Dies()
    one = Dies()
    one.self = one
    del one
    gc.collect()
Coroutine(body).enter()
signal.signal(signal.SIGUSR1, lambda *_: copool.dump(format="json"))
def handled():
    send(signal.SIGUSR1)
Coroutine(handled).enter()
"""
    )
    assert done.code == 0
    first, second, third = dumps(done.errors)
    for dump in (first, second):
        assert group_of(dump, "__del__", "body")["state"] == "running"
    assert (
        functions(next(g for g in third["groups"] if g["state"] == "running"))[-1]
        == "handled"
    )


def test_lines_without_columns(python):
    """The table of lines has another form then."""
    code = "".join(f"{chr(10) * (n % 7 * 50)}    yield_()\n" for n in range(30))
    done = python(
        PRELUDE
        + f"""
exec({"def body():" + chr(10) + code!r})
co = Coroutine(body)
co.enter()
while not co.done:
    print(co.frame.f_lineno)
    copool.dump(format="json")
    co.enter()
""",
        options=["-X", "no_debug_ranges"],
    )
    found = dumps(done.errors)
    assert [
        str(group["stack"][0]["line"])
        for dump in found
        for group in dump["groups"]
        if functions(group) == ["body"]
    ] == done.lines
    assert len(done.lines) == 30


# --- storms -------------------------------------------------------------------

# What goes on meanwhile.
STORMS = {
    "coroutines": """
def deep(n):
    if n:
        return deep(n - 1)
    for _ in range(20):
        yield_()
def work():
    some = [Coroutine(deep) for n in range(10)]
    for n, co in enumerate(some):
        co.enter(n)
    for co in some[::2]:
        for _ in co:
            pass
""",
    "greenlets": """
def deep(n, back):
    if n:
        return deep(n - 1, back)
    for _ in range(20):
        back.switch()
def work():
    some = [greenlet(deep) for n in range(10)]
    for n, g in enumerate(some):
        g.switch(n, getcurrent())
    for g in some[::2]:
        while not g.dead:
            g.switch()
""",
    "tasks": """
def below(n):
    for _ in range(20):
        await_(asyncio.sleep(0))
async def inner():
    await asyncio.sleep(0)
async def deep(n):
    for _ in range(5):
        await inner()
    below(n)
async def main():
    await asyncio.gather(*(asyncio.create_task(deep(n)) for n in range(10)))
def work():
    copool.aio.run(main())
""",
    "blocks that are given back": """
copool.configure(max_idle=0, batch=1)
def deep(n):
    if n:
        return deep(n - 1)
    yield_()
def work():
    some = [Coroutine(deep) for n in range(300)]
    for n, co in enumerate(some):
        co.enter(n % 30)
    some.clear()
    copool.trim()
""",
}

# In the same thread, at a time that nobody chooses; or in another one, while this one
# changes what is read.
WHERE = {
    "in its thread": """
rng = random.Random(5)
for _ in range(100):
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 1e-3))
    while signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        work()
""",
    "in another thread": """
def sends():
    global done
    # Signals that it can't take as fast as they are sent become one.
    for sent in range(20000):
        signal.pthread_kill(other.ident, signal.SIGALRM)
        time.sleep(2e-3)
        if sent >= 200 and seen() >= 10:
            break
    done = True
def seen():
    with open(out) as file:
        return sum(line.startswith("{") for line in file)
def sleeps():
    while not done:
        time.sleep(0.05)
done = False
other = threading.Thread(target=sleeps)
sender = threading.Thread(target=sends)
other.start()
sys.setswitchinterval(1e-4)
sender.start()
while not done:
    work()
sender.join()
other.join()
""",
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", STORMS)
def test_storm(python, tmp_path, name, where):
    done = python(
        PRELUDE
        + f"""
out = {str(tmp_path / "out")!r}
with open(out, "w") as file:
    copool.dump_on(signal.SIGALRM, file, format="json")
kept = suspend(3)
"""
        + STORMS[name]
        + WHERE[where]
        + "copool.dump_off(signal.SIGALRM)\ndel kept\ngc.collect()\ncopool.trim()\n"
        + "print(copool.stats().live, copool._core.check())"
    )
    assert (done.code, done.errors, done.lines) == (0, "", ["0 True"])
    found = dumps((tmp_path / "out").read_text())
    assert len(found) == 100 if where == "in its thread" else len(found) >= 10
    whole = [dump for dump in found if count_of(dump, "leaf", "top") == 3]
    assert len(whole) > len(found) / 2
    if where == "in its thread":
        assert whole == found
    for dump in found:
        assert count_of(dump, "leaf", "top") <= 3
        if where == "in its thread":
            assert dump["unread"] == 0
            running = [g for g in dump["groups"] if g["state"] == "running"]
            assert [g["count"] for g in running] == [1]
            assert not {"deep", "<module>"} <= {*functions(running[0])}
            if name == "coroutines":  # which enter no others
                kinds = {(g["kind"], g["state"]) for g in dump["groups"]}
                assert ("coroutine", "waiting") not in kinds


def test_fork_from_another_thread(python, tmp_path):
    """The child has no dump that is under way, and can make its own."""
    done = python(
        PRELUDE
        + f"""
with open({str(tmp_path / "out")!r}, "a") as file:
    copool.dump_on(signal.SIGALRM, file, format="json")
codes = []
def forks():
    kept = suspend(300)
    for _ in range(40):
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.kill(os.getpid(), signal.SIGALRM)
            os._exit(7)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread = threading.Thread(target=forks)
thread.start()
while thread.is_alive():
    if signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
    for _ in range(1000):
        Coroutine(int).enter()
signal.setitimer(signal.ITIMER_REAL, 0)
print(os.getpid())
print(set(codes), len(codes))
""",
        before=["env", "PYTHONWARNINGS=ignore"],
    )
    parent, codes = done.lines
    assert (done.code, codes) == (0, "{7} 40")
    found = dumps((tmp_path / "out").read_text())
    assert len({dump["pid"] for dump in found}) == 41
    for dump in found:
        if dump["pid"] != int(parent):
            assert count_of(dump, "leaf", "top") == 300


# --- interpreters -------------------------------------------------------------


def test_interpreters(python):
    done = python(
        PRELUDE
        + """
try:
    import _interpreters as interpreters
    create = interpreters.create
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)
read, write = os.pipe()
code = f'''
import copool, os, time
def inside():
    copool.yield_()
some = [copool.Coroutine(inside, name="sub") for _ in range(4)]
for co in some:
    co.enter()
os.write({write}, b"x")
time.sleep(1)
'''
copool.dump_on(signal.SIGQUIT, format="json")
kept = suspend(2)
thread = threading.Thread(target=lambda: interpreters.run_string(create(), code))
thread.start()
os.read(read, 1)
send()
copool.dump(format="json")
thread.join()
"""
    )
    assert done.code == 0
    both = dumps(done.errors)
    assert len(both) == 2
    for dump in both:
        assert group_of(dump, "leaf", "top")["count"] == 2
        found = group_of(dump, "inside")
        assert (found["count"], found["names"]) == (4, ["sub"])
        assert len(dump["threads"]) == 2


# --- memory that can't be read ------------------------------------------------

# A filter that refuses a system call, as sandboxes do.
REFUSE = """
import platform, struct
def refuse(call):
    lines = [(0x20, 0, 0, 0), (0x15, 0, 1, call)]
    lines += [(0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("HBBI", *line) for line in lines)
    program = ctypes.create_string_buffer(program)
    class Fprog(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("lines", ctypes.c_void_p)]
    fprog = Fprog(len(lines), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) == 0
process_vm_readv = {"x86_64": 310, "aarch64": 270}[platform.machine()]
"""


@pytest.mark.parametrize("files", ["file of memory", "none"])
def test_where_the_call_is_refused(python, files):
    done = python(
        PRELUDE
        + REFUSE
        + f"""
kept = suspend(50)
refuse(process_vm_readv)
if {files == "none"}:
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
copool.dump_on(signal.SIGQUIT, format="json")
send()
copool.dump(format="json")
"""
    )
    assert done.code == 0
    both = dumps(done.errors)
    assert len(both) == 2
    for dump in both:
        assert group_of(dump, "leaf", "top")["count"] == 50


def test_what_is_linked_in_a_circle(python):
    """And leads into nowhere: what others change may look so for a while."""
    done = python(
        PRELUDE
        + """
kept = suspend(3)
size = ctypes.sizeof(ctypes.c_void_p)
def word(address):
    return ctypes.c_size_t.from_address(address)
strands = [word(id(co) + 3 * size).value for co in kept]
(at,) = (i for i in range(0, 2000, size) if word(strands[2] + i).value == strands[1]
         and word(strands[1] + i).value == strands[0])
assert word(strands[0] + at).value == 0
for wrong in (strands[2], strands[0], 8, 1 << 60, (1 << 64) - 8, id(kept)):
    word(strands[0] + at).value = wrong
    copool.dump(format="json")
word(strands[0] + at).value = 0
"""
    )
    assert done.code == 0
    found = dumps(done.errors)
    assert [group_of(d, "leaf", "top")["count"] for d in found] == [3] * 6
    assert [d["unread"] for d in found] == [1] * 6


# --- files --------------------------------------------------------------------


def test_file_is_kept_open(python, tmp_path):
    done = python(
        PRELUDE
        + f"""
file = open({str(tmp_path / "out")!r}, "w")
copool.dump_on(signal.SIGQUIT, file, format="json")
file.close()
send()
copool.dump_on(signal.SIGQUIT, os.open({str(tmp_path / "two")!r}, 577))
send()
before = len(os.listdir("/proc/self/fd"))
copool.dump_off(signal.SIGQUIT)
print(before - len(os.listdir("/proc/self/fd")))
"""
    )
    assert (done.code, done.errors, done.lines) == (0, "", ["1"])
    assert len(dumps((tmp_path / "out").read_text())) == 1
    assert (tmp_path / "two").read_text().startswith("copool: ")


def test_pipe_that_nobody_reads(python):
    """It does not block, and is not waited for any longer."""
    done = python(
        PRELUDE
        + """
read, write = os.pipe()
os.set_blocking(write, False)
kept = []
for n in range(3000):
    exec("\\n" * n + "def one():\\n yield_()")
    kept.append(Coroutine(one))
    kept[-1].enter()
copool.dump_on(signal.SIGQUIT, write, format="json")
before = time.monotonic()
send()
print(1.9 < time.monotonic() - before < 10)
"""
    )
    assert (done.code, done.lines) == (0, ["True"])


def test_closed_standard_error(python):
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGQUIT)
os.close(2)
send()
print("goes on")
"""
    )
    assert (done.code, done.lines, done.errors) == (0, ["goes on"], "")


# --- other handlers -----------------------------------------------------------


def test_chain_calls_a_handler_of_the_programs(python):
    done = python(
        PRELUDE
        + """
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", number))
copool.dump_on(signal.SIGUSR1, format="json", chain=True)
send(signal.SIGUSR1)
copool.dump_on(signal.SIGUSR1, format="json")
send(signal.SIGUSR1)
print(copool.dump_off(signal.SIGUSR1), copool.dump_off(signal.SIGUSR1))
send(signal.SIGUSR1)
"""
    )
    assert done.lines == ["handled 10", "True False", "handled 10"]
    assert len(dumps(done.errors)) == 2


def test_chain_to_the_end_of_the_process(python):
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGTERM, format="json", chain=True)
send(signal.SIGTERM)
print("not reached")
"""
    )
    assert (done.code, done.lines) == (-signal.SIGTERM, [])
    assert len(dumps(done.errors)) == 1


def test_chain_to_one_that_is_ignored(python):
    done = python(
        PRELUDE
        + """
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
copool.dump_on(signal.SIGUSR1, chain=True, format="json")
send(signal.SIGUSR1)
print("goes on")
"""
    )
    assert (done.code, done.lines) == (0, ["goes on"])
    assert len(dumps(done.errors)) == 1


def test_behind_one_that_came_later(python):
    """dump_off() leaves that where it is, and passes on what it passes on."""
    done = python(
        PRELUDE
        + """
import faulthandler
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled"))
copool.dump_on(signal.SIGUSR1, format="json")
null = open(os.devnull, "w")
faulthandler.register(signal.SIGUSR1, null, chain=True)
send(signal.SIGUSR1)
copool.dump_off(signal.SIGUSR1)
send(signal.SIGUSR1)
"""
    )
    assert done.lines == ["handled"]
    assert len(dumps(done.errors)) == 1


def test_before_one_that_it_was_before(python):
    """Neither goes round in circles."""
    done = python(
        PRELUDE
        + """
import faulthandler
null = open(os.devnull, "w")
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled"))
copool.dump_on(signal.SIGUSR1, format="json")
faulthandler.register(signal.SIGUSR1, null, chain=True)
copool.dump_on(signal.SIGUSR1, format="json", chain=True)
send(signal.SIGUSR1)
send(signal.SIGUSR1)
print("goes on")
"""
    )
    assert (done.code, done.lines) == (0, ["handled", "handled", "goes on"])
    assert len(dumps(done.errors)) == 2


def test_calls_are_not_interrupted(python):
    done = python(
        PRELUDE
        + """
copool.dump_on(signal.SIGQUIT, format="json")
read, write = os.pipe()
later(0.2, send)
later(0.4, lambda: os.write(write, b"x"))
libc = ctypes.CDLL(None)
print(libc.read(read, ctypes.create_string_buffer(1), 1))
"""
    )
    assert (done.code, done.lines) == (0, ["1"])
    assert len(dumps(done.errors)) == 1


# --- bad input ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("dump_on(signal.SIGKILL)", "ValueError: dump_on() can't have signal 9"),
        ("dump_on(signal.SIGSTOP)", "ValueError: dump_on() can't have signal 19"),
        ("dump_on(signal.SIGSEGV)", "ValueError: dump_on() can't have signal 11"),
        ("dump_on(0)", "ValueError: dump_on() can't have signal 0"),
        ("dump_on(-1)", "ValueError: dump_on() can't have signal -1"),
        ("dump_on(1000)", "ValueError: dump_on() can't have signal 1000"),
        ("dump_on(32)", "ValueError: dump_on() can't have signal 32"),
        ("dump_on('QUIT')", "TypeError: "),
        ("dump_on(signal.SIGQUIT, 99)", "OSError: [Errno 9] Bad file descriptor"),
        ("dump_on(signal.SIGQUIT, -1)", "OSError: [Errno 9] Bad file descriptor"),
        ("dump_on(signal.SIGQUIT, 'x')", "AttributeError: 'str' object has no"),
        ("dump_on(signal.SIGQUIT, limit=-1)", "ValueError: limit must be from 0"),
        ("dump_on(signal.SIGQUIT, format='x')", "ValueError: format must be 'text'"),
        ("dump_off(0)", "ValueError: dump_on() can't have signal 0"),
    ],
)
def test_bad_input(python, call, error):
    done = python(
        PRELUDE
        + f"""
before = len(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGQUIT)
try:
    copool.{call}
except Exception as e:
    print(f"{{type(e).__name__}}: {{e}}")
print(before == (len(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGQUIT)))
"""
    )
    assert done.lines[0].startswith(error)
    assert done.lines[1:] == ["True"]


# --- the environment ----------------------------------------------------------


@pytest.mark.parametrize("name", ["QUIT", "SIGQUIT", "quit"])
def test_environment(python, name):
    done = python(
        PRELUDE + 'kept = suspend(2)\nsend()\nprint("goes on")',
        env={"COPOOL_DUMP_ON": name, "COPOOL_NOTE": "times, makers"},
    )
    assert (done.code, done.lines) == (0, ["goes on"])
    assert "2 × coroutine, suspended" in done.errors
    assert "  made by suspend (<string>:" in done.errors
    assert "  waits for 0 s\n" in done.errors


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("COPOOL_DUMP_ON", "FOO", "COPOOL_DUMP_ON must be the name of a signal that"),
        ("COPOOL_DUMP_ON", "KILL", "not 'KILL'"),
        ("COPOOL_DUMP_ON", "SEGV", "not 'SEGV'"),
        ("COPOOL_NOTE", "makers,age", "COPOOL_NOTE must have makers, times or both"),
    ],
)
def test_bad_environment(python, variable, value, message):
    done = python("import copool; copool.stats()", env={variable: value})
    assert done.code == 1
    assert message in done.errors.splitlines()[-1]


def test_program_that_runs_on_the_drop_in(tmp_path):
    """It knows nothing of copool."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal\nfrom greenlet import greenlet, getcurrent\n"
        "main = getcurrent()\ndef work():\n    main.switch()\n"
        "g = greenlet(work)\ng.name = 'g'\ng.switch()\n"
        "os.kill(os.getpid(), signal.SIGQUIT)\ng.switch()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "copool", "run", program],
        capture_output=True,
        text=True,
        env=os.environ | {"COPOOL_DUMP_ON": "QUIT"},
        timeout=100,
    )
    assert done.returncode == 0
    assert "1 × greenlet 'g', suspended, in MainThread" in done.stderr
    assert f"  work ({program}:5)\n" in done.stderr
