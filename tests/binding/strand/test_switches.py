"""No Python code runs in the middle of a switch, and a switch leaves nothing behind."""

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.asserted]

PRELUDE = """
import gc, sys, threading, warnings, weakref
import copool
from copool import Coroutine, yield_
from copool.aio import await_, can_await, run_sync
from copool._core import _greenlet_names
greenlet, getcurrent = map(_greenlet_names().get, ("greenlet", "getcurrent"))

def trace(*args):
    pass

class Trace:
    def __init__(self, end):
        self.end = end
    def __call__(self, *args):
        pass
    def __del__(self):
        self.end()

class Cycle(Trace):
    def __init__(self, end):
        super().__init__(end)
        self.me = self
"""

SCRIPTS = {
    "a trace function ends by a switch that passes an exception": (
        """
def fails():
    raise KeyError
def end():
    try:
        Coroutine(fails).enter()
    except KeyError:
        print("end")
def body():
    sys.settrace(Trace(end))
    raise ValueError("of the coroutine")
sys.settrace(trace)
try:
    Coroutine(body).enter()
except ValueError as error:
    sys.settrace(None)
    print(error)
""",
        ["end", "of the coroutine"],
    ),
    "a trace function ends by a switch to a coroutine": (
        """
def end():
    print("end", Coroutine(int).enter())
def body():
    while True:
        print(yield_())
co = Coroutine(body)
sys.settrace(trace)
co.enter()
sys.settrace(Trace(end))
co.enter("value")
sys.settrace(None)
""",
        ["value", "end 0"],
    ),
    "a trace function that ends switches greenlets": (
        """
def end():
    greenlet(lambda: print("end")).switch()
def body():
    sys.settrace(Trace(end))
    return "value"
sys.settrace(trace)
value = greenlet(body).switch()
sys.settrace(None)
print(value)
""",
        ["end", "value"],
    ),
    "a trace function that ends collects garbage": (
        """
main = getcurrent()
def body():
    main.switch()
    sys.settrace(Trace(gc.collect))
for _ in range(20):
    sys.settrace(trace)
    g = greenlet(body)
    g.switch()
    g.switch()
    sys.settrace(None)
print("there")
""",
        ["there"],
    ),
    "what else ends switches before a trace function ends": (
        """
def switches(*args):
    Coroutine(int).enter()
class Body:
    def __init__(self, name):
        self.name = name
    def __call__(self):
        sys.settrace(Trace(lambda: print("end", self.name)))
    def __del__(self):
        switches()
sys.settrace(trace)
Coroutine(Body("coroutine")).enter()
greenlet(Body("greenlet")).switch()
_greenlet_names()["settrace"](switches)
greenlet(Body("traced greenlet")).switch()
_greenlet_names()["settrace"](None)
sys.settrace(None)
""",
        ["end coroutine", "end greenlet", "end traced greenlet"],
    ),
    "a trace function of a parked strand ends with it": (
        """
def body():
    sys.settrace(Trace(lambda: print("end", can_await())))
sys.settrace(trace)
for _ in run_sync(body):
    pass
sys.settrace(None)
copool.trim()
print("there")
""",
        ["end False", "there"],
    ),
    "a collection while a greenlet gets many arguments": (
        """
def body(*args):
    return len(args)
def end():
    ended.append(greenlet(int).switch())
ended = []
gc.collect()
for k in range(1, 100):
    Cycle(end)
    gc.set_threshold(k)
    assert greenlet(body).switch(*range(30)) == 30
gc.set_threshold(1000)
gc.collect()
print(len(ended))
""",
        ["99"],
    ),
    "a collection while a coroutine gets many arguments": (
        """
def body(*args):
    return args
def end():
    if copool.in_coroutine():
        yield_("end")
gc.disable()
for k in range(1, 100):
    co = Coroutine(body)
    Cycle(end)
    gc.set_threshold(k)
    gc.enable()
    value = co.enter(*([[i] for i in range(30)]))
    gc.disable()
    if value == "end":
        blank = [{i: i} for i in range(100)]
        value = co.enter()
    assert value == tuple([i] for i in range(30)), value
print("there")
""",
        ["there"],
    ),
    "a warning that ends what it is about": (
        """
def body():
    try:
        yield_()
    except copool.CoroutineExit:
        yield_()
def show(*args, **options):
    print(reference().close())
warnings.showwarning = show
co = Coroutine(body)
co.enter()
reference = weakref.ref(co)
del co
print(copool.stats().live)
""",
        ["None", "0"],
    ),
    "garbage that has not begun is entered by the end of other garbage": (
        """
class Starts:
    def __init__(self, enter):
        self.enter = enter
    def __del__(self):
        self.enter()
class Step:
    def __await__(self):
        yield
def in_a_coroutine(helper):
    try:
        yield_()
    finally:
        print("finally", helper())
def in_a_bridge(helper):
    try:
        await_(Step())
    finally:
        print("finally", helper())
def make(body):
    def helper():
        return len([])
    if body is in_a_coroutine:
        helper.co = Coroutine(body)
        def enter():
            helper.co.enter(helper)
    else:
        helper.co = run_sync(body, helper)
        def enter():
            helper.co.send(None)
    helper.starts = Starts(enter)
warnings.simplefilter("ignore")
gc.disable()
for body in (in_a_coroutine, in_a_bridge):
    make(body)
    gc.collect()
    gc.collect()
    print("begun", copool.stats().live)
    for thing in gc.get_objects():
        if isinstance(thing, Coroutine):
            thing.enter()
        elif type(thing).__name__ == "Bridge":
            thing.close()
    del thing
    gc.collect()
    copool.trim()
    print("ended", copool.stats().live)
""",
        ["begun 1", "finally 0", "ended 0"] * 2,
    ),
    "a limit that another thread raises": (
        """
def nest():
    sorted([1, 2], key=lambda _: nest())
def body():
    entered.set()
    raised.wait()
    try:
        nest()
    except RecursionError:
        print("RecursionError")
entered, raised = threading.Event(), threading.Event()
copool.configure(stack_size=6 << 20) # on a thread's it ends as in a thread
co = Coroutine(body)
thread = threading.Thread(target=co.enter)
thread.start()
entered.wait()
sys.setrecursionlimit(10**6)
raised.set()
thread.join()
print(sys.getrecursionlimit())
""",
        ["RecursionError", "1000000"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_switch(python, name):
    script, lines = SCRIPTS[name]
    done = python(PRELUDE + script)
    assert (done.code, done.errors, done.lines) == (0, "", lines)
