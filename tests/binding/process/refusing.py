"""The functions of refuse.c."""

import ctypes


def load(path, module):
    """Return the library of refuse.c, at path, for the extension module in a file."""
    library = ctypes.PyDLL(path)
    library.refuse_install.argtypes = [ctypes.c_void_p] * 2
    library.refuse_while.argtypes = [ctypes.py_object, ctypes.c_long, ctypes.c_long]
    library.refuse_while.restype = ctypes.py_object
    library.refuse_to_the_end.argtypes = [ctypes.c_void_p] + [ctypes.c_long] * 2
    library.refuse_count.restype = library.refuse_live.restype = ctypes.c_long
    with open("/proc/self/maps") as file:
        ranges = [line.split("-", 1) for line in file if module in line]
    low, high = ranges[0][0], ranges[-1][1].split()[0]
    library.refuse_install(int(low, 16), int(high, 16))
    library.refuse_learn.argtypes = [ctypes.py_object] * 2
    library.refuse_learn.restype = None
    library.refuse_learn(lambda: [0] * 1000, ([0] * n for n in (1000,)))
    return library
