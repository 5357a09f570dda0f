"""lupa: Lua, whose C stack is counted, and LuaJIT, whose code is compiled."""

import lupa
import lupa.lua54
import lupa.luajit21
from hosts import pause

DISTRIBUTION = "lupa"
RUNTIMES = (lupa.lua54.LuaRuntime, lupa.luajit21.LuaRuntime)


def small():
    return [runtime().eval("1 + 2 .. 'x'") for runtime in RUNTIMES]


def heavy():
    answers = []
    for runtime in RUNTIMES:
        lua = runtime()
        ok, message = lua.execute(
            "local function f() return 1 + f() end return pcall(f)"
        )
        answers += [
            ok,
            "stack overflow" in message,
            lua.execute("local s = 0 for i = 1, 2000000 do s = s + i % 7 end return s"),
            lua.execute("""local t = {} for i = 1, 20000 do t[i] = i * 7919 % 10007 end
                table.sort(t, function(a, b) return a > b end)
                return t[1] .. ' ' .. t[20000]"""),
            lua.execute("return ('x'):rep(5000):gsub('x', 'yz')"),
            lua.execute("""local function g(n) return n == 0 and 'deep' or
                ('a'):gsub('a', function() return g(n - 1) end) end return (g(100))"""),
        ]
    return answers


def callback(number):
    answers = []
    for runtime in RUNTIMES:
        lua = runtime()
        lua.globals().stop = lambda value: pause() or value * (number + 1)
        answers += [
            lua.execute(
                "return select(2, pcall(function() return stop(1) + stop(2) end))"
            ),
            lua.execute("""local t = {3, 1, 2}
                table.sort(t, function(a, b) return stop(a) < stop(b) end)
                return table.concat(t, ' ')"""),
            lua.execute("""local c = coroutine.wrap(function() coroutine.yield(stop(5))
                return stop(6) end) return c() + c()"""),
        ]
    return answers


def exception():
    lua = lupa.lua54.LuaRuntime()

    def fail():
        pause()
        raise LookupError("from below Lua")

    lua.globals().fail = fail
    lua.execute("('a'):gsub('a', function() fail() end)")
