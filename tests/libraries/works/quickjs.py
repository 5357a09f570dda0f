"""quickjs: an interpreter in C that recurses, and that looks at the stack's depth."""

import quickjs
from hosts import pause

DISTRIBUTION = "quickjs"


def small():
    return quickjs.Context().eval("[1, 2, 3].map(x => x * 2).join()")


def heavy():
    context = quickjs.Context()
    try:
        context.eval("function f() { return f() + 1 } f()")
    except quickjs.JSException as error:
        refused = str(error).splitlines()[0]
    return [
        refused,
        context.eval("const g = n => n ? 1 + g(n - 1) : 0; g(150)"),
        context.eval("JSON.stringify([...Array(20000).keys()].sort((a, b) => b - a))"),
        context.eval("'ab'.repeat(2000).replace(/(a)(b)/g, '$2$1').length"),
        context.eval("let s = 0; for (let i = 0; i < 300000; i++) s += i % 7; s"),
    ]


def callback(number):
    context = quickjs.Context()
    context.add_callable("stop", lambda value: pause() or value * (number + 1))
    return [
        context.eval("[1, 2, 3].map(x => stop(x)).join()"),
        context.eval("[3, 1, 2].sort((a, b) => stop(a) - stop(b)).join()"),
        context.eval("'a1b2'.replace(/\\d/g, d => stop(Number(d)))"),
    ]


def exception():
    quickjs.Context().eval(
        "(function f(n) { if (!n) throw new Error('x'); f(n - 1) })(40)"
    )
