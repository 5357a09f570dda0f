"""A greenlet that is dropped, or whose thread or process ends, ends in order.

Also where greenlet leaks or crashes, or leaves `finally` blocks out.
"""

import os
import sys

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.asserted]

PRELUDE = """
import ctypes, gc, os, queue, sys, threading, time, warnings, weakref
warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
import copool
from types import SimpleNamespace
from copool._core import _greenlet_names
api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def body(name="g"):
    try:
        getcurrent().parent.switch()
    finally:
        say("finally", name, threading.get_ident() in owners)

owners = set()

def own(fn):
    def work():
        owners.add(threading.get_ident())
        fn()
    return threading.Thread(target=work)

def find():
    # The greenlet that exists besides the main one, or None.
    all = (o for o in gc.get_objects() if isinstance(o, greenlet))
    return next((g for g in all if g.parent), None)

def run(fn):
    thread = own(fn)
    thread.start()
    thread.join()
"""

SCRIPTS = {
    "a thread ends with suspended ones that others still refer to": (
        """
kept = []
def work():
    for i in range(2):
        g = greenlet(body)
        g.switch(i)
        kept.append(g)
run(work)
say([g.dead for g in kept], [g.gr_frame for g in kept], copool.stats().live)
try:
    kept[0].switch()
except api.error as error:
    say(error)
""",
        [
            "[True, True] [None, None] 0",
            "cannot switch to a different thread (which happens to have exited)",
        ],
    ),
    "a thread ends with one that nobody refers to but its frames": (
        """
def held():
    me = getcurrent()
    body()
def work():
    greenlet(held).switch()
run(work)
gc.collect()
say(copool.stats().live, api.get_total_main_greenlets())
""",
        ["0 0"],
    ),
    "a thread ends with one that only threading.local() refers to": (
        """
local = threading.local()
def first_local():
    local.g = None
    begin()
def first_copool():
    getcurrent()
    begin()
def begin():
    local.g = greenlet(body)
    local.g.switch()
    refs.append(weakref.ref(local.g))
refs = []
run(first_local)
run(first_copool)
say([ref() for ref in refs], copool.stats().live)
""",
        ["[None, None] 0"],
    ),
    "a coroutine's finally at the end of a thread switches to greenlets": (
        """
def using():
    try:
        copool.yield_()
    finally:
        say(g[0].switch("old"), greenlet(lambda x: x + 1).switch(1))
g = []
def work():
    main = getcurrent()
    def old():
        while True:
            main.switch(main.switch())
    g.append(greenlet(old))
    g[0].switch()
    g.append(copool.Coroutine(using))
    g[1].enter()
run(work)
say(g[0].dead, g[1].state, copool.stats().live)
""",
        ["old 2", "True finished 0"],
    ),
    "a coroutine's end drops one that has entered another when a thread ends": (
        """
def enters():
    entered.append(copool.Coroutine(body))
    entered[0].enter()
def has():
    g = greenlet(enters)
    g.switch()
    try:
        copool.yield_()
    finally:
        del g
        gc.collect()
        with open(os.devnull, "w") as null:
            copool.dump(null)
        say(entered[0].state, entered[0].frame)
entered, kept = [], []
def work():
    kept.append(copool.Coroutine(has))
    kept[0].enter()
run(work)
say(kept[0].state, copool.stats().live)
""",
        ["finished None", "finished 0"],
    ),
    "what one held when its thread ended": (
        """
class Held:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        freed.append(self.name)
def calls(held, then):
    deeper(Held("deeper"), then)
def deeper(held, then):
    then()
def generates(held):
    yield
    stop()
    yield
def through_a_generator():
    held = Held("list")
    for _ in generates(Held("generator")):
        pass
def through_c():
    held = Held("max")
    max([0], key=lambda _: calls(Held("key"), stop))
def through_a_class():
    class Made:
        def __init__(self, held):
            stop()
    Made(Held("__init__"))
def after_an_exception():
    try:
        raise KeyError(Held("exception"))
    except KeyError:
        stop()
def inside_a_coroutine():
    held = Held("entering")
    copool.Coroutine(lambda: calls(Held("entered"), stop)).enter()
def deep(n):
    deep(n - 1) if n else calls(Held("deep"), stop)
def in_finalizer():
    class Stops:
        def __del__(self):
            held = Held("__del__")
            stop()
    Stops()
def stop():
    getcurrent().parent.switch()
def work():
    for fn in (through_a_generator, through_c, through_a_class, after_an_exception,
               inside_a_coroutine, lambda: deep(5000), in_finalizer):
        kept.append(greenlet(fn))
        kept[-1].switch()
    kept.append(greenlet(calls))
    kept[-1].switch(Held("argument"), stop)
sys.setrecursionlimit(10000)
freed, kept = [], []
run(work)
say(*sorted(freed))
say({g.dead for g in kept}, copool.stats().live, copool._core.check())
""",
        [
            "__del__ argument deep deeper deeper deeper deeper entered entering "
            "exception generator key list max",
            "{True} 0 True",
        ],
    ),
    "frames that somebody has outlive it": (
        """
def outer(word):
    inner(word * 2)
def inner(word):
    frames.append(sys._getframe())
    try:
        raise KeyError(word)
    except KeyError as error:
        kept = error
    errors.append(kept)
    next(generate(word))
def generate(word):
    frames.append(sys._getframe())
    copool.Coroutine(entered).enter(word)
    yield
def entered(word):
    frames.append(sys._getframe())
    getcurrent().parent.switch()
frames, errors = [], []
def work():
    g = greenlet(outer)
    g.switch("a")
    frames.append(g)
run(work)
g = frames.pop()
blank = [bytes(1000) for _ in range(1000)]
gc.collect()
for frame in frames:
    while frame:
        say(frame.f_code.co_name, frame.f_lineno > 0, frame.f_locals["word"])
        frame = frame.f_back
say(errors[0].__traceback__.tb_frame is frames[0], copool.stats().live)
frames.clear()
errors.clear()
del frame
gc.collect()
say(g.dead, copool._core.check())
""",
        [
            *["inner True aa", "outer True a"],
            *["generate True aa", "inner True aa", "outer True a"],
            *["entered True aa", "True 0", "True True"],
        ],
    ),
    "what is freed at a thread's end finds greenlets dead and may make others": (
        """
class Asks:
    def __init__(self, n):
        self.n = n
    def __del__(self):
        say(self.n, [g.dead for g in kept], greenlet(lambda: 5).switch())
        if self.n:
            kept.append(greenlet(holds))
            kept[-1].switch(Asks(self.n - 1))
        co = copool.Coroutine(body)
        co.enter()
def body():
    try:
        copool.yield_()
    finally:
        say("finally")
def holds(asks):
    getcurrent().parent.switch()
kept = []
def work():
    for n in 0, 1:
        kept.append(greenlet(holds))
        kept[-1].switch(Asks(n))
run(work)
say([g.dead for g in kept], copool.stats().live)
""",
        [
            *["0 [True, True] 5", "finally"],
            *["1 [True, True] 5", "finally"],
            *["0 [True, True, True] 5", "finally"],
            "[True, True, True] 0",
        ],
    ),
    "dropped in another thread, ended at the owner's next use": (
        """
g = [greenlet(body)]
g[0].switch()
ref = weakref.ref(g[0])
run(g.clear)
say("dropped", ref() is not None)
getcurrent()
say(ref(), copool.stats().live)
""",
        ["dropped True", "finally g False", "None 0"],
    ),
    "dropped in another thread, ended at the owner's end": (
        """
to, back = queue.SimpleQueue(), queue.SimpleQueue()
def work():
    g = greenlet(body)
    g.switch()
    back.put([g])
    del g
    to.get()
thread = own(work)
thread.start()
box = back.get()
box.clear()
gc.collect()
say("dropped")
to.put(None)
thread.join()
say(copool.stats().live)
""",
        ["dropped", "0"],
    ),
    "a cycle dropped in another thread": (
        """
def work(box):
    g = greenlet(body)
    g.me = g
    g.switch()
    box.append(g)
    del g
    gate.wait()
    getcurrent()
box = []
gate = threading.Event()
gc.disable()
thread = own(lambda: work(box))
thread.start()
while not box: time.sleep(0.001)
box.clear()
gc.collect()
say("collected")
gate.set()
thread.join()
gc.collect()
say(copool.stats().live)
""",
        ["collected", "finally g True", "0"],
    ),
    "one that survives and took its parent for a child": (
        """
def body():
    try:
        main.switch()
    except api.GreenletExit:
        parent.parent = getcurrent()
        kept.append(getcurrent())
        main.switch()
main = getcurrent()
kept = []
parent = greenlet()
g = greenlet(body, parent)
g.switch()
del g
greenlet().parent = parent  # walks the parents
say(parent.parent is kept[0], kept[0].parent is main)
kept.pop().throw()
""",
        ["True True"],
    ),
    "exit with suspended ones leaves them": (
        """
import atexit
kept = [greenlet(body) for i in range(3)]
for g in kept: g.switch()
five = greenlet(lambda: 5)
atexit.register(lambda: say("atexit", getcurrent() is main, five.switch()))
main = getcurrent()
""",
        ["atexit True 5"],
    ),
    "exit inside one": (
        """
def inside():
    import atexit
    atexit.register(lambda: say("atexit"))
    other = greenlet(body)
    other.switch()
    sys.exit(3)
greenlet(inside).switch()
""",
        ["finally g False", "atexit"],
        3,
    ),
    "the process ends inside one": (
        """
def inside():
    kept.append(greenlet(body))
    kept[0].switch()
    def more():
        say("exiting")
        ctypes.pythonapi.Py_Exit(4)
    greenlet(more).switch()
kept = []
greenlet(inside).switch()
""",
        ["exiting"],
        4,
    ),
    "_exit inside one": (
        "greenlet(lambda: os._exit(5)).switch()",
        [],
        5,
    ),
    "a daemon thread inside one at exit": (
        """
gate = threading.Event()
def inside():
    gate.set()
    threading.Event().wait()
threading.Thread(target=lambda: greenlet(inside).switch(), daemon=True).start()
gate.wait()
say("end")
""",
        ["end"],
    ),
    "fork in and beside them": (
        """
def forked():
    pid = os.fork()
    getcurrent().parent.switch(pid)
    return "end"
idle = greenlet(body)
idle.switch("idle")
g = greenlet(forked)
pid = g.switch()
if pid == 0:
    say("child", g.switch(), idle.dead)
    idle = None
    say(copool.stats().live)
    os._exit(7)
_, status = os.waitpid(pid, 0)
say("parent", os.waitstatus_to_exitcode(status), g.switch())
idle = None
""",
        [
            "child end False",
            "finally idle False",
            "0",
            "parent 7 end",
            "finally idle False",
        ],
    ),
    "fork while another thread has suspended ones": (
        """
gate, there = threading.Event(), threading.Event()
kept = []
def work():
    g = greenlet(body)
    g.switch()
    kept.append(g)
    kept.append(getcurrent())
    there.set()
    gate.wait()
thread = own(work)
thread.start()
there.wait()
pid = os.fork()
if pid == 0:
    say([g.dead for g in kept], greenlet(lambda: 5).switch())
    try:
        kept[0].switch()
    except api.error as error:
        say(error)
    kept.clear()
    gc.collect()
    os._exit(0)
os.waitpid(pid, 0)
gate.set()
thread.join()
""",
        [
            "[True, True] 5",
            "cannot switch to a different thread (which happens to have exited)",
        ],
    ),
    "fork in a thread inside one": (
        """
def inside():
    pid = os.fork()
    if pid == 0:
        say("child", greenlet(lambda: 5).switch(), getcurrent().parent.dead)
        os._exit(0)
    os.waitpid(pid, 0)
    say("parent")
run(lambda: greenlet(inside).switch())
""",
        ["child 5 False", "parent"],
    ),
    "finalizers that ask for the current greenlet at the end": (
        """
class Asks:
    def __del__(self, getcurrent=getcurrent, say=say):
        try:
            getcurrent()
        except RuntimeError as error:
            say(error)
gc.disable()
a = Asks()
a.me = a
del a
""",
        ["greenlet is being finalized"],
    ),
    "one that ignores its end is leaked with a warning": (
        """
def stubborn():
    while True:
        try:
            getcurrent().parent.switch()
        except api.GreenletExit:
            pass
g = greenlet(stubborn)
g.switch()
ref = weakref.ref(g)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    del g
say(len(caught), "did not kill <greenlet.greenlet object" in str(caught[0].message))
say(ref(), copool.stats().live)
class Sub(greenlet): pass
g = Sub(stubborn)
g.switch()
before = sys.getrefcount(Sub)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    del g
say(len(caught), sys.getrefcount(Sub) - before)
""",
        ["1 True", "None 1", "1 -1"],
    ),
    "one that ignores its end gets it once, whatever its class": (
        """
def stubborn():
    while True:
        try:
            getcurrent().parent.switch()
        except api.GreenletExit:
            say("no", type(getcurrent()).__name__)
class Sub(greenlet): pass
class Slots(greenlet): __slots__ = ("a",)
class Deleted(greenlet):
    def __del__(self): say("__del__")
warnings.showwarning = lambda *args: say("warned")
for type_ in greenlet, Sub, Slots, Deleted:
    g = type_(stubborn)
    g.switch()
    del g
say(copool.stats().live)
""",
        [
            *["no greenlet", "warned", "no Sub", "warned", "no Slots", "warned"],
            *["__del__", "no Deleted", "warned", "4"],
        ],
    ),
    "one that is dropped in another thread and ignores its end gets it once": (
        """
def stubborn():
    while True:
        try:
            getcurrent().parent.switch()
        except api.GreenletExit:
            say("no")
warnings.showwarning = lambda *args: say("warned")
g = [greenlet(stubborn)]
g[0].switch()
run(g.clear)
getcurrent().switch()
say(copool.stats().live)
""",
        ["no", "warned", "1"],
    ),
    "a subclass with __del__ is ended": (
        """
class Sub(greenlet):
    def __del__(self): say("__del__", self.dead)
before = sys.getrefcount(Sub)
g = Sub(body)
g.switch()
del g
say(copool.stats().live, sys.getrefcount(Sub) - before)
""",
        ["__del__ False", "finally g False", "0 0"],
    ),
    "a subclass with __del__ is dropped in another thread": (
        """
class Sub(greenlet):
    def __del__(self): say("__del__", self.dead)
g = [Sub(body)]
g[0].switch()
run(g.clear)
say("dropped")
getcurrent().switch()
say(copool.stats().live)
""",
        ["__del__ False", "dropped", "finally g False", "0"],
    ),
    "a subclass with __del__ that saves it": (
        """
class Sub(greenlet):
    def __del__(self): saved.append(self)
saved = []
g = Sub(body)
g.switch()
del g
say("saved", saved[0].dead)
saved.clear()
say(copool.stats().live)
""",
        ["saved False", "finally g False", "0"],
    ),
    "the warning that one ignores its end lets it end": (
        """
def stubborn():
    try:
        getcurrent().parent.switch()
    except api.GreenletExit:
        getcurrent().parent.switch()
def show(*args):
    ref().switch()
    say(ref().dead)
warnings.showwarning = show
g = greenlet(stubborn)
g.switch()
ref = weakref.ref(g)
del g
say(ref(), copool.stats().live)
""",
        ["True", "None 0"],
    ),
    "the warning that one ignores its end saves it": (
        """
def stubborn():
    try:
        getcurrent().parent.switch()
    except api.GreenletExit:
        getcurrent().parent.switch()
class Sub(greenlet): pass
warnings.showwarning = lambda *args: saved.append(ref())
saved = []
for type_ in greenlet, Sub:
    g = type_(stubborn)
    g.switch()
    ref = weakref.ref(g)
    del g
    others = [greenlet(int) for _ in range(5)]
    say(type(saved[0]).__name__, sys.getrefcount(saved[0]), saved[0].dead)
    saved.pop().switch()
    say(ref(), copool.stats().live)
""",
        ["greenlet 2 False", "None 0", "Sub 2 False", "None 0"],
    ),
    "the error that the warning becomes saves it": (
        """
def stubborn():
    try:
        getcurrent().parent.switch()
    except api.GreenletExit:
        getcurrent().parent.switch()
warnings.simplefilter("error")
sys.unraisablehook = lambda args: saved.append(args.object)
saved = []
g = greenlet(stubborn)
g.switch()
del g
others = [greenlet(int) for _ in range(5)]
say(sys.getrefcount(saved[0]), saved[0].dead)
saved.pop().switch()
say(copool.stats().live)
""",
        ["2 False", "0"],
    ),
    "garbage that ignores its end is left as it is": (
        """
gc.disable()
class Sub(greenlet): pass
def make(type_):
    def helper():
        return len([])
    def stubborn(helper):
        while True:
            try:
                getcurrent().parent.switch()
            except api.GreenletExit:
                say(type(getcurrent()).__name__, helper(), getcurrent().attribute)
    g = helper.g = type_(stubborn)
    g.me, g.attribute = [g], 5
    g.switch(helper)
for type_ in greenlet, Sub:
    make(type_)
    gc.collect()
    gc.collect()
    say(find().me == [find()], copool.stats().live)
    try:
        find().throw(KeyError)
    except KeyError:
        pass
    gc.collect()
    say(find(), copool.stats().live)
""",
        ["greenlet 0 5", "True 1", "None 0", "Sub 0 5", "True 1", "None 0"],
    ),
    "garbage of a class that was made for it ignores its end": (
        """
gc.disable()
def make():
    def helper():
        return len([])
    class Sub(greenlet):
        __slots__ = ("me",)
        def method(self):
            return helper()
    def stubborn():
        while True:
            try:
                getcurrent().parent.switch()
            except api.GreenletExit:
                say(getcurrent().method())
    g = Sub.g = Sub(stubborn)
    g.me = [g]
    g.switch()
make()
gc.collect()
gc.collect()
say(find().me == [find()], copool.stats().live)
try:
    find().throw(KeyError)
except KeyError:
    pass
gc.collect()
say(find(), copool.stats().live)
""",
        ["0", "True 1", "None 0"],
    ),
    "a subclass with __del__ in a cycle with its frames is left as it is": (
        """
gc.disable()
class Sub(greenlet):
    def __del__(self): say("__del__")
def make():
    def helper():
        return len([])
    def body(helper):
        try:
            getcurrent().parent.switch()
        finally:
            say("finally", helper())
    g = helper.g = Sub(body)
    g.me = [g]
    g.switch(helper)
make()
gc.collect()
gc.collect()
say(find().me == [find()], copool.stats().live)
find().switch()
gc.collect()
say(find(), copool.stats().live)
""",
        ["True 1", "finally 0", "__del__", "None 0"],
    ),
    "pending garbage is found and started": (
        """
gc.disable()
class Finds:
    def __del__(self): found.append(self.g)
found = []
def body(helper):
    try:
        getcurrent().parent.switch()
    finally:
        say("finally", helper())
def make():
    def helper():
        return len([])
    finds = Finds()
    finds.g = greenlet(body)
    finds.me = finds
    return helper
helper = make()
gc.collect()
g = helper.g = found.pop()
g.switch(helper)
del g, helper
gc.collect()
say(find().dead)
find().switch()
say(find(), copool.stats().live)
""",
        ["False", "finally 0", "None 0"],
    ),
    "pending garbage is started by other garbage's end": (
        """
gc.disable()
class Starts:
    def __del__(self): self.g.switch(self.helper)
def body(helper):
    try:
        getcurrent().parent.switch()
    finally:
        say("finally", helper())
def make():
    def helper():
        return len([])
    g = helper.g = greenlet(body)
    starts = Starts()
    starts.g, starts.helper, helper.starts = g, helper, starts
make()
gc.collect()
gc.collect()
find().switch()
gc.collect()
say(find(), copool.stats().live)
""",
        ["finally 0", "None 0"],
    ),
    "many threads, many greenlets": (
        """
def work():
    def child(n):
        for i in range(n):
            getcurrent().parent.switch(i)
    gs = [greenlet(child) for _ in range(50)]
    total = sum(g.switch(5) for g in gs)
    for g in gs[::2]:
        while not g.dead: g.switch()
    results.append(total)
results = []
for _ in range(20):
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
gc.collect()
say(len(results), sum(results), copool.stats().live)
say(api.get_total_main_greenlets() <= 1)
""",
        ["160 0 0", "True"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("malloc", ["default", "debug"])
def test_the_end(python, name, malloc):
    script, lines, *code = SCRIPTS[name]
    env = os.environ | {"PYTHONMALLOC": malloc, "PYTHONFAULTHANDLER": "1"}
    done = python(PRELUDE + script, env=env)
    expected = code[0] if code else 0
    assert (done.lines, done.code, done.errors) == (lines, expected, "")


# A call stack of a tool that follows calls and returns, as coverage does: it is
# right only if each greenlet has a trace function of its own.
FOLLOW = """
wrong = []

class Follower:
    def __init__(self):
        self.stack = []

    def __call__(self, frame, event, arg):
        if event == "call":
            self.stack.append(frame)
        elif self.stack[-1:] != [frame]:
            wrong.append((event, frame.f_code.co_name, frame.f_lineno))
        elif event == "return":
            self.stack.pop()
        return self

def begin(frame, event, arg):
    follower = Follower()
    sys.settrace(follower)
    return follower(frame, event, arg)

def work(n):
    for i in range(n):
        main.switch()
        helper()

def helper():
    main.switch()
    return 1

def drive():
    gs = [greenlet(work) for _ in range(3)]
    for g in gs: g.switch(3)
    while gs:
        gs = [g for g in gs if not g.dead]
        for g in gs: g.switch()

def coroutines():
    def co(n):
        for i in range(n):
            copool.yield_(i)
            step()
    def step():
        copool.yield_()
    cos = [copool.Coroutine(co) for _ in range(3)]
    for co in cos: co.enter(2)
    while cos:
        cos = [co for co in cos if not co.done]
        for co in cos: co.enter()

main = getcurrent()
threading.settrace(begin)
sys.settrace(begin)
drive()
coroutines()
sys.settrace(None)
threading.settrace(None)
say("wrong", wrong)
"""


def test_each_has_the_trace_function_that_threads_would_get(python):
    done = python(PRELUDE + FOLLOW)
    assert (done.lines, done.errors) == (["wrong []"], "")


def test_without_one_for_threads_the_trace_function_is_shared(python):
    done = python(
        PRELUDE
        + """
seen = []
def trace(frame, event, arg):
    seen.append(frame.f_code.co_name)
def child():
    inner()
    main.switch()
    sys.settrace(None)
    main.switch()
    inner()
def inner(): pass
def outer(): pass
main = getcurrent()
g = greenlet(child)
sys.settrace(trace)
g.switch()
outer()
g.switch()
outer()
g.switch()
say(seen, sys.gettrace())
"""
    )
    assert (done.lines, done.errors) == (["['child', 'inner', 'outer'] None"], "")


def test_a_trace_function_that_switches_is_not_called_where_it_switches_to(python):
    done = python(
        PRELUDE
        + """
seen = []
def trace(frame, event, arg):
    seen.append(frame.f_code.co_name)
    if frame.f_code.co_name == "outer":
        running.switch()
        greenlet(begun).switch()
def begun(): inner()
def run():
    main.switch()
    inner()
    main.switch()
    inner()
def inner(): pass
def outer(): pass
main = getcurrent()
running = greenlet(run)
running.switch()
sys.settrace(trace)
outer()
running.switch()
sys.settrace(None)
say(seen)
"""
    )
    assert (done.lines, done.errors) == (["['outer', 'inner']"], "")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it needs no trace function")
def test_coverage_is_right_without_being_told_of_greenlets(lines_missed):
    program = """\
from types import SimpleNamespace
from copool._core import _greenlet_names
api = SimpleNamespace(**_greenlet_names())
import helper

def work(n):
    for i in range(n):
        main.switch()
        helper.odd(main) if i % 2 else helper.even(main)

def never():
    return 1

main = api.getcurrent()
gs = [api.greenlet(work) for _ in range(4)]
for g in gs:
    g.switch(3)
while not all(g.dead for g in gs):
    for g in gs:
        g.switch()
"""
    helper = """\
def odd(main):
    main.switch()
    if main is None:
        return 5
    return 1

def even(main):
    main.switch()
    return 2
"""
    missed = lines_missed(program=program, helper=helper)
    assert missed == {"program": [12], "helper": [4]}


def test_no_memory_is_lost_in_steady_use(python):
    done = python(
        PRELUDE
        + """
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
def use():
    main = getcurrent()
    class Sub(greenlet): pass
    for i in range(2000):
        g = greenlet(lambda *a, **k: main.switch(*a, **k))
        g.switch(i, x=[i])
        if i % 3: g.switch()
        h = Sub(body_quiet, g)
        h.switch()
        try: h.throw(KeyError)
        except KeyError: pass
def body_quiet():
    getcurrent().parent.switch()
for _ in range(3):
    use()
    run(use)
gc.collect()
before = resident()
for _ in range(10):
    use()
    run(use)
gc.collect()
say(resident() - before < 1 << 20, copool.stats().live)
"""
    )
    assert (done.lines, done.errors) == (["True 0"], "")


GEVENT = """
import contextvars, sys
import gevent, gevent.monkey
if {patched}:
    gevent.monkey.patch_all()
    import contextvars  # greenlet-local ones of gevent's
var = contextvars.ContextVar("var")

def generate():
    token = var.set(1)
    try:
        yield
    finally:
        var.reset(token)
        print("reset", flush=True)

def work():
    held = generate()
    next(held)
    gevent.sleep(10)

sys.unraisablehook = lambda report: print("unraisable", report.exc_value, flush=True)
g = gevent.spawn(work)
gevent.sleep(0)
g.kill()
print(type(g.value).__name__, flush=True)
del g
gevent.killall([gevent.spawn(work), gevent.spawn(work)])  # before they have begun
group = [gevent.spawn(work), gevent.spawn(work)]
gevent.sleep(0)
gevent.killall(group)
del group
print("end", flush=True)
"""


@pytest.mark.parametrize("patched", [False, True])
def test_what_gevent_kills_drops_its_frames_in_its_context(patched, python):
    pytest.importorskip("gevent", reason="gevent is not there for this Python")
    done = python(
        GEVENT.format(patched=patched), env={**os.environ, "COPOOL_GREENLET": "1"}
    )
    assert (done.code, done.errors) == (0, "")
    assert done.lines == ["reset", "GreenletExit", "reset", "reset", "end"]
