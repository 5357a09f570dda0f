"""JPype: a JVM, which looks at where the stack is, so that it wants the thread's own.

What Java calls runs on that stack, too, and can't leave it.
"""

import shutil
from functools import wraps

import jpype
from hosts import Missing, pause

from copool import on_thread_stack

DISTRIBUTION = "JPype1"
ON_THREAD_STACK = True
if shutil.which("java") is None:
    raise Missing("there is no Java: apt install default-jre-headless")


def _thread_stack(fn):
    @wraps(fn)
    def call():
        return on_thread_stack(fn)

    return call


def _java(name):
    if not jpype.isJVMStarted():
        jpype.startJVM(convertStrings=True)
    return jpype.JClass(name)


@_thread_stack
def small():
    return str(_java("java.lang.String")("copool").toUpperCase())


@_thread_stack
def heavy():
    array = _java("java.util.ArrayList")()
    for number in range(5000):
        array.add(number * 7919 % 10007)
    _java("java.util.Collections").sort(array)
    mapped = _java("java.util.HashMap")()
    for number in range(1000):
        mapped.put(f"k{number}", number)
    pattern = _java("java.util.regex.Pattern").compile("(a|b)*c")
    big = _java("java.math.BigInteger")("3").pow(500)
    _java("java.lang.System").gc()
    return [
        [int(array.get(n)) for n in (0, 2500, 4999)],
        sum(int(value) for value in mapped.values()),
        bool(pattern.matcher("ab" * 500 + "c").matches()),
        str(big),
    ]


def callback(number):
    def stop(value):
        pause()
        seen.append(f"{value} {number}")

    def call():
        array = _java("java.util.ArrayList")()
        array.add("a")
        consumer = jpype.JProxy("java.util.function.Consumer", dict={"accept": stop})
        array.forEach(consumer)

    seen = []
    on_thread_stack(call)
    return seen


@_thread_stack
def exception():
    try:
        _java("java.lang.Integer").parseInt("no number")
    except _java("java.lang.NumberFormatException") as error:
        raise ValueError(str(error)) from None
