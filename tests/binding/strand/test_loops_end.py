"""No event loop is set going again where a thread or the process ends.

It would wait in C code that nothing interrupts. These catch every exception.
"""

import pytest

pytestmark = pytest.mark.isolated

PRELUDE = """
import os, select, sys, threading, time, warnings
import copool
import copool.greenlet
copool.greenlet.install()
from copool.aio import await_, run_sync
from greenlet import getcurrent, greenlet

HOURS = 3 * 3600
warnings.simplefilter("ignore", ResourceWarning)  # of loops that nobody closes

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def joins(fn):
    thread = threading.Thread(target=fn, daemon=True)
    thread.start()
    thread.join(10)
    if thread.is_alive():
        say(fn.__name__, "hangs")
        os._exit(1)
    say(fn.__name__, copool.stats().live)

def goes_on(step):
    main = getcurrent()
    def loop():
        while True:
            try:
                main.switch(getcurrent())
            except BaseException:
                pass
            step()
    return greenlet(loop).switch()
"""

# What lets a loop begin and leaves it suspended: it returns the greenlet.
LOOPS = {
    "one that polls": """
def begin():
    return goes_on(lambda: select.poll().poll(HOURS * 1000))
""",
    "one that sleeps": """
def begin():
    return goes_on(lambda: time.sleep(HOURS))
""",
    "one that waits for a lock": """
def begin():
    lock = threading.Lock()
    lock.acquire()
    return goes_on(lock.acquire)
""",
    "one that spins": """
def begin():
    return goes_on(spin)
def spin():
    while True:
        pass
""",
    "one that switches": """
def begin():
    return goes_on(lambda: None)
""",
    "one that starts others": """
def begin():
    return goes_on(lambda: kept.append(begin()))
""",
    "gevent's": """
import gevent
def begin():
    gevent.spawn(gevent.sleep, HOURS)
    gevent.sleep(0.001)
    return gevent.get_hub()
""",
    "eventlet's": """
warnings.simplefilter("ignore")
import eventlet, eventlet.hubs
def begin():
    eventlet.spawn_after(HOURS, int)
    eventlet.sleep(0.001)
    return eventlet.hubs.get_hub().greenlet
""",
    "asyncio's": """
import asyncio
def begin():
    main = getcurrent()
    loop = asyncio.new_event_loop()
    loop.call_soon(main.switch, None)
    g = greenlet(loop.run_forever)
    g.switch()
    asyncio.events._set_running_loop(None)
    return g
""",
}

SCRIPT = """
kept, local = [], threading.local()

def referred_to():
    kept.append(begin())

def in_a_cycle():
    g = begin()
    getcurrent().me = [g, getcurrent()]

def in_a_local():
    local.g = begin()
    local.g = [local.g]

def in_a_coroutine():
    def holds():
        g = begin()
        copool.yield_()
    co = copool.Coroutine(holds)
    co.enter()
    kept.append(co)

def in_a_call():
    def holds():
        g = begin()
        await_(Step())
    b = run_sync(holds)
    b.send(None)
    kept.append(b)

class Step:
    def __await__(self):
        yield

def dropped_elsewhere():
    box = [begin()]
    other = threading.Thread(target=box.clear)
    other.start()
    other.join()

places = [referred_to, in_a_cycle, in_a_local, in_a_coroutine, in_a_call,
          dropped_elsewhere]
for place in places:
    joins(place)
for place in places[:-1]:
    place()
say("exits")
"""
EXPECTED = [
    *["referred_to 0", "in_a_cycle 0", "in_a_local 0", "in_a_coroutine 0"],
    *["in_a_call 0", "dropped_elsewhere 0", "exits"],
]


@pytest.mark.parametrize("name", LOOPS)
def test_is_not_set_going_again(python, name):
    if name.endswith("'s"):
        pytest.importorskip(name.removesuffix("'s"))
    done = python(PRELUDE + LOOPS[name] + SCRIPT, timeout=30)
    assert (done.lines, done.code, done.errors) == (EXPECTED, 0, "")
