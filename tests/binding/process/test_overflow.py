"""C code that runs into a stack's guard is named, with the remedy, before SIGSEGV."""

import os
import re
import shutil
import signal
import subprocess

import pytest

pytestmark = pytest.mark.isolated

PRELUDE = """
import asyncio, ctypes, faulthandler, functools, os, signal, sys, threading
import copool

def nest(depth):
    # The C library recurses, and counts nothing.
    libc.regcomp(ctypes.create_string_buffer(64), b"(" * depth, 1)

def overflow():
    nest(1_000_000)
    print("never")

libc = ctypes.CDLL(None)

def first():
    copool.Coroutine(int).enter()
"""

TRACEBACK = "Fatal Python error: Segmentation fault"

FACES = {
    "coroutine": ("copool.Coroutine(overflow).enter()", "copool.Coroutine", "overflow"),
    "coroutine that goes on": (
        "co = copool.Coroutine(lambda: (copool.yield_(), overflow()))\n"
        "co.enter(); first(); co.enter()",
        "copool.Coroutine",
        "<lambda>",
    ),
    "coroutine in a coroutine": (
        "def outer(): copool.Coroutine(overflow).enter()\n"
        "copool.Coroutine(outer).enter()",
        "copool.Coroutine",
        "overflow",
    ),
    "coroutine around a coroutine": (
        "def outer(): first(); overflow()\ncopool.Coroutine(outer).enter()",
        "copool.Coroutine",
        "outer",
    ),
    "function in C": (
        "copool.Coroutine(functools.reduce).enter(lambda *_: overflow(), [1, 2])",
        "copool.Coroutine",
        "reduce",
    ),
    "method": (
        "class Walker:\n"
        "    def walk(self): overflow()\n"
        "copool.Coroutine(Walker().walk).enter()",
        "copool.Coroutine",
        "Walker.walk",
    ),
    "class": (
        "class Walker:\n"
        "    def __init__(self): overflow()\n"
        "copool.Coroutine(Walker).enter()",
        "copool.Coroutine",
        "Walker",
    ),
    "other callable": (
        "copool.Coroutine(functools.partial(overflow)).enter()",
        "copool.Coroutine",
        "a functools.partial",
    ),
    "name that is not ASCII": (
        "overflow.__qualname__ = 'größe_☃_🧵\\n'\ncopool.Coroutine(overflow).enter()",
        "copool.Coroutine",
        "größe_☃_🧵?",
    ),
    "long name": (
        "overflow.__qualname__ = 'x' * 100_000\ncopool.Coroutine(overflow).enter()",
        "copool.Coroutine",
        "x" * 200,
    ),
    "thread": (
        "t = threading.Thread(target=lambda: copool.Coroutine(overflow).enter())\n"
        "t.start(); t.join()",
        "copool.Coroutine",
        "overflow",
    ),
    "greenlet": (
        "import copool.greenlet; copool.greenlet.install()\n"
        "import greenlet; greenlet.greenlet(overflow).switch()",
        "greenlet.greenlet",
        "overflow",
    ),
    "greenlet of a subclass": (
        "import copool.greenlet; copool.greenlet.install()\n"
        "import greenlet\n"
        "class Walker(greenlet.greenlet):\n"
        "    def run(self): overflow()\n"
        "Walker().switch()",
        "Walker",
        "Walker.run",
    ),
    "greenlet started by one that ends": (
        "import copool.greenlet; copool.greenlet.install()\n"
        "from greenlet import greenlet\n"
        "greenlet(int, greenlet(lambda x: overflow())).switch()",
        "greenlet.greenlet",
        "<lambda>",
    ),
    "bridge of a function": (
        "import copool.aio\n"
        "async def main(): await copool.aio.run_sync(overflow)\n"
        "asyncio.run(main())",
        "copool.aio.Bridge",
        "overflow",
    ),
    "bridge of a coroutine": (
        "import copool.aio\nasync def main(): overflow()\ncopool.aio.run(main())",
        "copool.aio.Bridge",
        "main",
    ),
}


def message(errors):
    """Returns the type and the name that the message has, and the sizes."""
    found = re.search(
        r"^copool: stack overflow in <(.*) of (.*), running, at 0x[0-9a-f]+>\n"
        r"copool: C code .* (\d+) bytes of its stack; give it more with "
        r"copool\.configure\(stack_size=(\d+)\) or COPOOL_STACK_SIZE=\4$",
        errors,
        re.MULTILINE,
    )
    return found and (found[1], found[2], int(found[3]), int(found[4]))


def died(done):
    return (done.code, done.lines) == (-signal.SIGSEGV, [])


@pytest.mark.parametrize("face", FACES)
def test_names_the_face_and_what_it_calls(python, face):
    script, type_name, name = FACES[face]
    done = python(PRELUDE + script, options=["-X", "faulthandler", "-X", "utf8"])
    assert died(done), done.errors
    assert message(done.errors)[:2] == (type_name, name)
    assert "by copool.on_thread_stack()\n" in done.errors
    assert done.errors.index("copool:") < done.errors.index(TRACEBACK)


@pytest.mark.parametrize("guard", ["auto", "mprotect"])
def test_says_how_large_the_stack_was(python, guard):
    done = python(
        f"{PRELUDE}copool.configure(guard={guard!r}, stack_size=3 << 20)\n"
        "print(copool.stats().stack_size, flush=True)\n"
        "copool.Coroutine(overflow).enter()"
    )
    size = int(done.lines[0])
    assert done.code == -signal.SIGSEGV
    assert message(done.errors)[2:] == (size, 2 * size >> 20 << 20)
    assert "on_thread_stack" not in done.errors  # a larger one may well help


# Goes to the end of the stack, which a system call finds, and calls what has as
# much on it as OpenBLAS in an LU decomposition and touches the low end only.
LEAP = """
#include <unistd.h>

static int ends[2];

static void __attribute__((noinline)) leap(void)
{
    volatile char frame[541248];

    frame[0] = 1;
}

static void __attribute__((noinline)) descend(char *low)
{
    volatile char frame[1024];

    frame[0] = 1;
    if ((char *)frame > low + 16 * 1024)
        descend(low);
    else
        leap();
    frame[0] = 2;
}

void overflow_at_once(void)
{
    char local, *low = &local;

    if (pipe(ends) != 0)
        return;
    while (write(ends[1], low, 1) == 1)
        low -= 1024;
    descend(low);
}
"""


LEAP_OPTIONS = ["-O1", "-shared", "-fPIC", "-fno-stack-clash-protection"]


@pytest.fixture(scope="module")
def leap(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("leap") / "leap.so"
    subprocess.run(
        [compiler, *LEAP_OPTIONS, "-xc", "-", "-o", path],
        input=LEAP.encode(),
        check=True,
    )
    return path


@pytest.mark.parametrize("stack_size", [None, 1 << 20, 8 << 20])
@pytest.mark.parametrize("guard", ["auto", "mprotect"])
def test_large_frame_does_not_leap_over_the_guard(python, leap, guard, stack_size):
    done = python(
        f"""{PRELUDE}
copool.configure(guard={guard!r}, stack_size={stack_size})
others = [copool.Coroutine(copool.yield_) for _ in range(20)]
for co in others:
    co.enter()
def overflow():
    ctypes.CDLL({str(leap)!r}).overflow_at_once()
    print("never", flush=True)
copool.Coroutine(overflow).enter()
"""
    )
    assert died(done), done.errors
    assert message(done.errors)[:2] == ("copool.Coroutine", "overflow")


def test_what_it_advises_helps(python):
    script = PRELUDE + "copool.Coroutine(nest).enter({})\nprint('end')"
    env = os.environ | {"COPOOL_STACK_SIZE": str(1 << 20)}
    depth = 4096
    while python(script.format(depth), env=env).code == 0:
        depth *= 2
    sizes = []
    while (done := python(script.format(depth), env=env)).code != 0:
        sizes.append(message(done.errors)[3])
        env["COPOOL_STACK_SIZE"] = str(sizes[-1])
    assert done.lines == ["end"]
    assert 1 <= len(sizes) <= 3


# --- with faulthandler ----------------------------------------------------


ENABLED = {
    "never": ("copool.Coroutine(overflow).enter()", None),
    "before the first coroutine": (
        "faulthandler.enable()\ncopool.Coroutine(overflow).enter()",
        "before",
    ),
    "after the first coroutine": (
        "first()\nfaulthandler.enable()\ncopool.Coroutine(overflow).enter()",
        "after",
    ),
    "inside": (
        "copool.Coroutine(lambda: (faulthandler.enable(), overflow())).enter()",
        "after",
    ),
    "after the first coroutine, then asked to come to the front": (
        "first()\nfaulthandler.enable()\n"
        "copool.configure(overflow_report=True)\n"
        "copool.Coroutine(overflow).enter()",
        "before",
    ),
    "and disabled": (
        "faulthandler.enable()\nfaulthandler.disable()\n"
        "copool.Coroutine(overflow).enter()",
        None,
    ),
    "after the first coroutine, then a thread": (
        "first()\nfaulthandler.enable()\n"
        "t = threading.Thread(target=lambda: copool.Coroutine(overflow).enter())\n"
        "t.start(); t.join()",
        "after",
    ),
}


@pytest.mark.parametrize("when", ENABLED)
def test_traceback_of_faulthandler(python, when):
    script, place = ENABLED[when]
    done = python(PRELUDE + script)
    assert died(done), done.errors
    assert message(done.errors)
    assert done.errors.count("copool: stack overflow") == 1
    assert done.errors.count(TRACEBACK) == (place is not None)
    if place:
        assert "in overflow" in done.errors
        ours, its = done.errors.index("copool:"), done.errors.index(TRACEBACK)
        assert place == ("before" if ours < its else "after")


# --- other faults, other handlers -----------------------------------------


OTHERS = {
    "elsewhere": "ctypes.string_at(0)",
    "in a coroutine": "copool.Coroutine(ctypes.string_at).enter(0)",
    "in the thread's own stack": "first()\noverflow()",
    "sent": "first()\nos.kill(os.getpid(), signal.SIGSEGV)",
    "sent in a coroutine": (
        "copool.Coroutine(os.kill).enter(os.getpid(), signal.SIGSEGV)"
    ),
}


@pytest.mark.parametrize("options", [[], ["-X", "faulthandler"]], ids=["", "handler"])
@pytest.mark.parametrize("what", OTHERS)
def test_other_faults_are_not_reported(python, what, options):
    done = python(PRELUDE + "first()\n" + OTHERS[what], options=options)
    assert died(done), done.errors
    assert "copool:" not in done.errors
    assert (TRACEBACK in done.errors) == bool(options)


def test_handler_in_python_gets_the_signal_that_is_sent(python):
    done = python(
        PRELUDE
        + """
signal.signal(signal.SIGSEGV, lambda *args: print("handler", args[0] == 11))
first()
for _ in range(2):
    os.kill(os.getpid(), signal.SIGSEGV)
print("end")
"""
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == ["handler True", "handler True", "end"]


def test_ignored_signal_stays_ignored(python):
    done = python(
        PRELUDE
        + """
signal.signal(signal.SIGSEGV, signal.SIG_IGN)
first()
for _ in range(2):
    os.kill(os.getpid(), signal.SIGSEGV)
print("end")
"""
    )
    assert (done.code, done.errors, done.lines) == (0, "", ["end"])


# --- when -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "handled"),
    [
        ("import copool.greenlet, copool.aio; copool.Coroutine, copool.stats()", "0"),
        ("copool.Coroutine(int).enter()", "1"),
        ("copool.aio.run_sync(int).close()", "1"),
    ],
)
def test_signals_are_left_alone_until_a_thread_uses_copool(python, use, handled):
    done = python(
        f"""
        import atexit, re
        def show():
            with open("/proc/self/status") as file:
                bits = re.search(r"^SigCgt:\\s*(\\w+)", file.read(), re.MULTILINE)[1]
            print(int(bits, 16) >> 10 & 1)
        atexit.register(show)
        import copool.aio
        show()
        {use}
        show()
        """
    )
    assert (done.code, done.lines) == (0, ["0", handled, handled])


def test_after_fork(python):
    done = python(
        PRELUDE
        + """
first()
pid = os.fork()
if not pid:
    copool.Coroutine(overflow).enter()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    )
    assert (done.code, done.lines) == (0, ["-11"])
    assert message(done.errors)[:2] == ("copool.Coroutine", "overflow")


def test_after_the_thread_has_worked_for_another_interpreter(python):
    done = python(
        PRELUDE
        + """
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=False)
def body():
    interpreter = create()
    interpreters.run_string(interpreter, "import copool; copool.Coroutine(int).enter()")
    overflow()
copool.Coroutine(body).enter()
"""
    )
    assert died(done), done.errors
    assert message(done.errors)[:2] == ("copool.Coroutine", "body")


# --- off ------------------------------------------------------------------


OFF = {
    "by the environment": ("", {"COPOOL_OVERFLOW_REPORT": "0"}),
    "by configure()": ("copool.configure(overflow_report=False)", {}),
    "by configure(), late": ("first(); copool.configure(overflow_report=False)", {}),
    "by configure(), behind faulthandler": (
        "first(); faulthandler.enable(); copool.configure(overflow_report=False)",
        {},
    ),
}


@pytest.mark.parametrize("how", OFF)
def test_no_report(python, how):
    script, variables = OFF[how]
    done = python(
        f"{PRELUDE}{script}\ncopool.Coroutine(overflow).enter()",
        env=os.environ | variables,
        options=["-X", "faulthandler"],
    )
    assert died(done), done.errors
    assert "copool:" not in done.errors
    assert TRACEBACK in done.errors


ON = {
    "in the environment": ("", {"COPOOL_OVERFLOW_REPORT": "1"}),
    "again": (
        "copool.configure(overflow_report=False)\nfirst()\n"
        "copool.configure(overflow_report=True)",
        {"COPOOL_OVERFLOW_REPORT": "0"},
    ),
}


@pytest.mark.parametrize("how", ON)
def test_report_is_switched_on(python, how):
    script, variables = ON[how]
    done = python(
        f"{PRELUDE}{script}\ncopool.Coroutine(overflow).enter()",
        env=os.environ | variables,
    )
    assert died(done)
    assert message(done.errors)


def test_environment_that_says_neither(python):
    done = python("import copool; copool.stats()", env={"COPOOL_OVERFLOW_REPORT": "x"})
    assert done.code == 1
    assert (
        "ValueError: the environment variable COPOOL_OVERFLOW_REPORT must be 0 or 1, "
        "not 'x'" in done.errors
    )
