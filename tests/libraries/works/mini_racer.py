"""mini-racer: V8, which runs on a thread of its own."""

from py_mini_racer import MiniRacer

DISTRIBUTION = "mini-racer"


def small():
    return MiniRacer().eval("[1, 2, 3].map(x => x * 2).join()")


def heavy():
    v8 = MiniRacer()
    return [
        v8.eval("const g = n => n ? 1 + g(n - 1) : 0; g(5000)"),
        v8.eval("try { (function f() { f() })() } catch (e) { e.name }"),
        v8.eval("let s = 0; for (let i = 0; i < 3000000; i++) s += i % 7; s"),
        v8.eval("[...Array(20000).keys()].sort((a, b) => b - a)[0]"),
    ]


def exception():
    MiniRacer().eval("throw new Error('x')")
