"""A coroutine has the name that it was given, or that of its function."""

import gc
import weakref

import pytest

from copool import Coroutine, yield_
from copool._core import _note


def body():
    yield_()


def test_its_functions_unless_given():
    assert Coroutine(body).name == "body"
    assert Coroutine(body, name="reader").name == "reader"
    assert Coroutine(body, name=None).name == "body"
    assert Coroutine(Coroutine(body).enter).name == "Coroutine.enter"


@pytest.mark.parametrize("name", [1, b"x", body, ["x"]])
def test_only_a_str(name):
    with pytest.raises(TypeError, match=r"name must be a str, not \w+$"):
        Coroutine(body, name=name)
    co = Coroutine(body, name="reader")
    with pytest.raises(TypeError, match=r"name must be a str, not \w+$"):
        co.name = name
    with pytest.raises(TypeError, match="name must be a str, not nothing"):
        del co.name
    assert co.name == "reader"


@pytest.mark.parametrize(
    "name", ["", "žluťoučký", "\U0001f40d", "a\nb", "\ud800", "x" * 9999]
)
def test_any_str(name):
    co = Coroutine(body, name=name)
    assert co.name == name
    assert repr(name) in repr(co)
    co.enter()
    assert co.name == name
    co.close()


def test_it_can_be_changed_and_stays():
    co = Coroutine(body)
    co.name = "a"
    co.enter()
    co.name = "b"
    assert "'b' of body, suspended" in repr(co)
    co.enter()
    assert co.name == "b"
    assert repr(co).startswith("<copool.Coroutine 'b', finished, at")


def test_none_is_what_has_finished_without():
    co = Coroutine(body)
    co.close()
    assert co.name is None


def test_a_name_is_let_go_of():
    class Name(str):
        pass

    name = Name("x")
    gone = weakref.ref(name)
    co = Coroutine(body, name=name)
    del name
    assert gone() is not None
    co.name = "y"
    assert gone() is None
    del co
    # And the next one that is made in its place has none.
    assert Coroutine(body).name == "body"


def test_with_makers_noted():
    try:
        _note(True, False)
        cos = [Coroutine(body, name=name) for name in (None, "x")]
        for co in cos:
            co.enter()
            co.enter()
        assert [co.name for co in cos] == [None, "x"]
        del cos, co
    finally:
        _note(False, False)
    gc.collect()
    Coroutine(body).enter()
