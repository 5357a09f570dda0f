"""Signals may arrive inside coroutines at any time, and their handlers do anything.

A handler in Python runs on the stack of whoever runs, between any two steps.
"""

import signal

import pytest

pytestmark = [pytest.mark.isolated, pytest.mark.alone]

PRELUDE = """
import faulthandler, gc, json, os, signal, sys, threading, time
import copool
from copool import Coroutine, yield_
from copool.aio import await_, run_sync
from copool._core import _greenlet_names, check
greenlet, getcurrent = (_greenlet_names()[n] for n in ("greenlet", "getcurrent"))

class Alarm(Exception):
    pass

def storm(handler, work, count=300):
    \"\"\"Does the work again and again until the handler was called so often.\"\"\"
    calls = 0
    over = False
    def counting(number, frame):
        nonlocal calls
        if over:
            return
        calls += 1
        try:
            handler()
        finally:
            if not over:
                signal.setitimer(signal.ITIMER_REAL, 1e-4)
    signal.signal(signal.SIGALRM, counting)
    signal.setitimer(signal.ITIMER_REAL, 1e-4)
    while calls < count:
        work()
    over = True
    signal.setitimer(signal.ITIMER_REAL, 0)

def numbers(n):
    for i in range(n):
        yield_(i)

def is_whole():
    gc.collect()
    copool.trim()
    return copool.stats().live, check()
"""

# Script, what it prints.
STORMS = {
    "the handler runs coroutines of its own": (
        """
def handler():
    assert list(Coroutine(lambda: numbers(3))) == [0, 1, 2]
def work():
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
storm(handler, work)
print(*is_whole())
""",
        ["0 True"],
    ),
    "the handler enters and leaves one suspended": (
        """
kept = []
def handler():
    if copool.current() is not counter:
        kept.append(counter.enter())
def count():
    n = 0
    while True:
        yield_(n)
        n += 1
counter = Coroutine(count)
def work():
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
storm(handler, work)
print(kept == list(range(len(kept))), len(kept) >= 300, counter.state)
counter.close()
print(*is_whole())
""",
        ["True True suspended", "0 True"],
    ),
    "the handler yields": (
        """
def handler():
    if copool.in_coroutine():
        yield_("alarm")
        seen.append(1)
def work():
    co = Coroutine(lambda: numbers(50))
    values = list(co)
    alarms.extend(v for v in values if v == "alarm")
    assert [v for v in values if v != "alarm"] == list(range(50))
seen, alarms = [], []
storm(handler, work)
print(len(seen) == len(alarms) > 0)
print(*is_whole())
""",
        ["True", "0 True"],
    ),
    "the handler switches to another greenlet": (
        """
def handler():
    if getcurrent() is not hub:
        hub.switch()
def turns():
    while True:
        turn.append(1)
        hub.parent.switch()
def count():
    n = 0
    for i in range(200):
        n += i
    return n
def work():
    # Whoever is interrupted goes on when it is switched to next.
    g = greenlet(count)
    result = g.switch()
    while not g.dead:
        result = g.switch()
    assert result == sum(range(200))
main = getcurrent()
turn = []
hub = greenlet(turns)
storm(handler, work)
print(len(turn) >= 1)
hub.throw()
print(*is_whole())
""",
        ["True", "0 True"],
    ),
    "the handler raises, anywhere": (
        """
def handler():
    global expected
    if expected:
        expected = False
        raise Alarm
def nested(n):
    try:
        if n:
            Coroutine(nested).enter(n - 1)
        else:
            list(Coroutine(lambda: numbers(50)))
    finally:
        levels.append(n)
def work():
    global expected
    try:
        expected = True
        nested(3)
        expected = False
    except Alarm:
        caught.append(1)
expected = False
caught, levels = [], []
storm(handler, work)
print(len(caught) > 100, {levels.count(n) > 100 for n in range(4)})
print(*is_whole())
""",
        ["True {True}", "0 True"],
    ),
    "the handler throws into one suspended": (
        """
def patient():
    while True:
        try:
            yield_()
        except Alarm:
            caught.append(1)
def handler():
    if waiting.state == "suspended":
        waiting.throw(Alarm)
caught = []
waiting = Coroutine(patient)
waiting.enter()
def work():
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
storm(handler, work)
print(len(caught) >= 300, waiting.state)
waiting.close()
print(*is_whole())
""",
        ["True suspended", "0 True"],
    ),
    "the handler drops and collects": (
        """
class Cycle:
    def __init__(self, co):
        self.me, self.co = self, co
def handler():
    co = Coroutine(yield_)
    co.enter()
    Cycle(co)
    kept.clear()
    gc.collect()
def work():
    kept.clear()
    kept.extend(Coroutine(yield_) for _ in range(10))
    for co in list(kept):
        co.enter()
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
kept = []
storm(handler, work, 100)
kept.clear()
print(*is_whole())
""",
        ["0 True"],
    ),
    "the handler is deep": (
        """
def descend(n):
    return sorted([n], key=lambda _: descend(n - 1) if n else 0)
def endless(_=None):
    return sorted([0], key=endless)
def handler():
    descend(12)
    json.loads("[" * 100 + "]" * 100)
    try:
        endless()
    except RecursionError:
        deep.append(1)
def work():
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
deep = []
storm(handler, work, 30)
print(len(deep) >= 30)
print(*is_whole())
""",
        ["True", "0 True"],
    ),
    "below calls that are awaited": (
        """
class Step:
    def __await__(self):
        return (yield 1)
def handler():
    list(run_sync(await_, Step()))
def calls():
    return [await_(Step()) for _ in range(20)]
def work():
    assert sum(run_sync(calls)) == 20
storm(handler, work)
print(*is_whole())
""",
        ["0 True"],
    ),
    "with threads that use coroutines": (
        """
stop = False
def busy():
    while not stop:
        assert list(Coroutine(lambda: numbers(50))) == list(range(50))
    copool.trim()
def handler():
    assert list(Coroutine(lambda: numbers(3))) == [0, 1, 2]
def work():
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
sys.setswitchinterval(1e-4)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads: thread.start()
storm(handler, work)
stop = True
for thread in threads: thread.join()
print(*is_whole())
""",
        ["0 True"],
    ),
    "while processes are forked": (
        """
def handler():
    assert list(Coroutine(lambda: numbers(3))) == [0, 1, 2]
def forks():
    pid = os.fork()
    if not pid:
        ok = list(Coroutine(lambda: numbers(5))) == list(range(5)) and check()
        os._exit(0 if ok else 1)
    return os.waitpid(pid, 0)[1]
def work():
    statuses.append(Coroutine(forks).enter())
statuses = []
storm(handler, work, 100)
print(set(statuses))
print(*is_whole())
""",
        ["{0}", "0 True"],
    ),
}


@pytest.mark.parametrize("what", STORMS)
def test_signals_at_any_time(python, what):
    script, lines = STORMS[what]
    done = python(PRELUDE + script)
    assert (done.lines, done.code, done.errors) == (lines, 0, "")


def test_an_interrupt_unwinds_each_level_and_ends_the_process(python):
    done = python(
        PRELUDE
        + """
def level(n):
    try:
        if n:
            Coroutine(level).enter(n - 1)
        else:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
    finally:
        print(n, type(sys.exception()).__name__, flush=True)
co = Coroutine(yield_)
co.enter()
level(3)
"""
    )
    assert done.lines == [f"{n} KeyboardInterrupt" for n in range(4)]
    assert done.code == -signal.SIGINT
    assert done.errors.endswith("KeyboardInterrupt\n")


def test_an_interrupt_while_one_is_dropped_is_reported(python):
    """There is nobody to raise it to: as in any finalizer."""
    done = python(
        PRELUDE
        + """
def body():
    try:
        yield_()
    finally:
        signal.raise_signal(signal.SIGINT)
        print("never")
co = Coroutine(body)
co.enter()
del co
print("goes on", *is_whole())
"""
    )
    assert (done.code, done.lines) == (0, ["goes on 0 True"])
    assert "KeyboardInterrupt" in done.errors


def test_handlers_in_c_run_on_the_stack_of_a_coroutine(python):
    """faulthandler's, which walk what runs, at moments that nobody chose."""
    done = python(
        PRELUDE
        + """
dump = open(os.devnull, "w")
faulthandler.register(signal.SIGUSR1, file=dump, all_threads=True)
pid = os.getpid()
stop = False
def shoot():
    while not stop:
        os.kill(pid, signal.SIGUSR1)
thread = threading.Thread(target=shoot)
thread.start()
end = time.monotonic() + 1
rounds = 0
while time.monotonic() < end:
    assert list(Coroutine(lambda: numbers(50))) == list(range(50))
    rounds += 1
stop = True
thread.join()
faulthandler.unregister(signal.SIGUSR1)
dump.close()
print(rounds > 10, *is_whole())
"""
    )
    assert (done.lines, done.code, done.errors) == (["True 0 True"], 0, "")


def test_a_watchdog_shows_the_chain_that_runs(python):
    done = python(
        PRELUDE
        + """
def innermost():
    faulthandler.dump_traceback_later(0.05, exit=True)
    while True:
        pass
def outer():
    Coroutine(innermost).enter()
Coroutine(outer).enter()
"""
    )
    assert done.code == 1
    assert "Timeout" in done.errors
    assert "in innermost" in done.errors
