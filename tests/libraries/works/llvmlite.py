"""llvmlite: LLVM's parser, passes and code generator."""

import ctypes

import llvmlite.binding as llvm
from hosts import pause

DISTRIBUTION = "llvmlite"
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def _engine(text):
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _call(engine, *args):
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(args))
    return kind(engine.get_function_address("f"))(*args)


def small():
    return _call(
        _engine("define i64 @f(i64 %a) {\n %r = mul i64 %a, 3\n ret i64 %r\n}"), 5
    )


def heavy():
    lines = ["%v0 = add i64 %a, 1"]
    for n in range(1, 3000):
        operation = ("mul", "xor", "sub")[n % 3]
        lines.append(f"%v{n} = {operation} i64 %v{n - 1}, %v{n // 2}")
    body = "\n".join(lines)
    return _call(
        _engine(f"define i64 @f(i64 %a) {{\n{body}\nret i64 %v2999\n}}"), 12345
    )


def callback(number):
    """Compiled code that calls Python by its address, three times."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    stop = kind(lambda value: pause() or value * 2 + number)
    address = ctypes.cast(stop, ctypes.c_void_p).value
    text = f"""define i64 @f(i64 %a) {{
      %p = inttoptr i64 {address} to ptr
      %x = call i64 %p(i64 %a)
      %y = call i64 %p(i64 %x)
      %z = call i64 %p(i64 %y)
      ret i64 %z
    }}"""
    return _call(_engine(text), number + 1)


def exception():
    llvm.parse_assembly("define i64 @f( {")
