"""wasmtime: compiled code that counts its stack from where it was entered.

Calls that end in another order than the opposite of that in which they began are not
here: see the page.
"""

import wasmtime
from hosts import pause

DISTRIBUTION = "wasmtime"
TEXT = """(module
  (import "host" "stop" (func $stop (param i32) (result i32)))
  (func (export "add") (param i32 i32) (result i32)
    local.get 0 local.get 1 i32.add)
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                     (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $endless (export "endless") (param i32) (result i32)
    (i32.add (i32.const 1) (call $endless (local.get 0))))
  (func (export "divide") (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1)))
  (func (export "stops") (param i32) (result i32)
    (i32.add (call $stop (local.get 0)) (call $stop (i32.const 10)))))
"""


def _instance(stop=lambda value: value):
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, TEXT)
    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    imports = [wasmtime.Func(store, kind, stop)]
    exports = wasmtime.Instance(store, module, imports).exports(store)
    return lambda name, *args: exports[name](store, *args)


def small():
    return _instance()("add", 40, 2)


def heavy():
    """Also what is trapped, which takes half a megabyte of the stack."""
    call = _instance()
    traps = []
    for name, *args in (("endless", 1), ("divide", 1, 0)) * 2:
        try:
            call(name, *args)
        except wasmtime.Trap as trap:
            traps.append(str(trap.trap_code))
    return [call("fib", 25), traps]


def exception():
    def fail(value):
        pause()
        raise LookupError("from below WebAssembly")

    _instance(fail)("stops", 1)
