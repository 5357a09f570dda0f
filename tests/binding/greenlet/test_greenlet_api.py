"""Extension modules made for greenlet find its C API in the capsule, and it works."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from copool._core import _greenlet_names

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent

PyCapsule_GetPointer = ctypes.pythonapi.PyCapsule_GetPointer
PyCapsule_GetPointer.restype = ctypes.c_void_p
PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

TABLE = ctypes.cast(
    PyCapsule_GetPointer(api._C_API, b"greenlet._C_API"),
    ctypes.POINTER(ctypes.c_void_p * 12),
).contents

obj, NULL = ctypes.c_void_p, None


def entry(index, result, *arguments):
    function = ctypes.PYFUNCTYPE(result, *arguments)(TABLE[index])
    return lambda *given: function(
        *(id(x) if expected is obj and x is not NULL else x
          for expected, x in zip(arguments, given, strict=True))
    )  # fmt: skip


new = entry(3, ctypes.py_object, obj, obj)
get_current = entry(4, ctypes.py_object)
throw = entry(5, ctypes.py_object, obj, obj, obj, obj)
switch = entry(6, ctypes.py_object, obj, obj, obj)
set_parent = entry(7, ctypes.c_int, obj, obj)
is_main = entry(8, ctypes.c_int, obj)
is_started = entry(9, ctypes.c_int, obj)
is_active = entry(10, ctypes.c_int, obj)
get_parent = entry(11, ctypes.py_object, obj)


def test_the_first_entries_are_objects():
    assert TABLE[0] == id(greenlet)
    assert TABLE[1] == id(api.error)
    assert TABLE[2] == id(api.GreenletExit)


def test_new_and_switch():
    g = new(lambda *a, **k: (a, k), NULL)
    assert type(g) is greenlet
    assert g.parent is getcurrent()
    assert switch(g, (1, 2), {"x": 3}) == ((1, 2), {"x": 3})
    assert switch(new(lambda: 5, NULL), NULL, NULL) == 5
    assert switch(new(lambda **k: k, NULL), NULL, {"x": 3}) == {"x": 3}
    assert switch(new(lambda *a: a, NULL), (4,), {}) == (4,)


@pytest.mark.parametrize("parent", [NULL, greenlet()])
def test_new_without_a_callable_has_no_run(parent):
    g = new(NULL, parent)
    assert g.parent is (getcurrent() if parent is NULL else parent)
    assert not hasattr(g, "run")
    with pytest.raises(AttributeError, match="run"):
        g.switch()


def test_get_current_and_get_parent():
    main = get_current()
    assert main is getcurrent()
    g = greenlet(lambda: (get_current(), get_parent(get_current())))
    assert g.switch() == (g, main)


def test_questions():
    main = getcurrent()
    g = greenlet(lambda: main.switch())
    answers = [(is_main(g), is_started(g), is_active(g))]
    g.switch()
    answers.append((is_main(g), is_started(g), is_active(g)))
    g.switch()
    answers.append((is_main(g), is_started(g), is_active(g)))
    assert answers == [(0, 0, 0), (0, 1, 1), (0, 1, 0)]
    assert (is_main(main), is_started(main), is_active(main)) == (1, 1, 1)


def test_throw():
    main = getcurrent()
    g = greenlet(lambda: main.switch())
    g.switch()
    with pytest.raises(KeyError, match="x"):
        throw(g, KeyError, "x", NULL)
    assert g.dead
    with pytest.raises(TypeError, match="exceptions must be classes"):
        throw(main, 5, NULL, NULL)


def test_set_parent():
    g, other = greenlet(), greenlet()
    assert set_parent(g, other) == 0
    assert g.parent is other
    with pytest.raises(ValueError, match="cyclic"):
        set_parent(other, g)


@pytest.mark.parametrize("wrong", [5, "greenlet", object(), NULL])
def test_what_is_no_greenlet_is_refused(wrong):
    error = SystemError if wrong is NULL else TypeError
    calls = [
        lambda: switch(wrong, NULL, NULL),
        lambda: throw(wrong, KeyError, NULL, NULL),
        lambda: set_parent(wrong, getcurrent()),
        lambda: is_main(wrong),
        lambda: is_started(wrong),
        lambda: is_active(wrong),
        lambda: get_parent(wrong),
    ]
    for call in calls:
        with pytest.raises((error, TypeError)):
            call()
    with pytest.raises((error, TypeError)):
        set_parent(greenlet(), wrong)


def test_wrong_arguments_are_refused():
    g = greenlet(int)
    for args, kwargs in (([1], NULL), (NULL, [1]), ((), 5)):
        with pytest.raises((SystemError, TypeError)):
            switch(g, args, kwargs)
    assert not g.dead


def test_no_reference_is_lost_or_kept():
    value = object()
    before = sys.getrefcount(value)
    main = getcurrent()

    def body(*args, **kwargs):
        while True:
            main.switch(value)

    g = greenlet(body)
    for _ in range(10):
        switch(g, (value,), {"x": value})
        switch(g, (value, value), NULL)
    del g
    assert sys.getrefcount(value) == before
    references = sys.getrefcount(main)
    for _ in range(10):
        get_current()
        get_parent(greenlet())
    assert sys.getrefcount(main) == references
