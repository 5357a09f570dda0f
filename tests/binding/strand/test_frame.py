"""A suspended coroutine's frames can be looked at, and can't be made to run."""

import contextlib
import inspect
import io
import sys
import threading
import traceback

import pytest

from copool import Coroutine, yield_


def frames(frame):
    names = []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def inner(value):
    local = value + 1
    yield_(local)
    return local


def middle(value):
    return sorted([value], key=inner)


def outer(value):
    return middle(value)


@pytest.fixture
def co():
    co = Coroutine(outer)
    co.enter(1)
    yield co
    co.close()


def test_chain_ends_with_the_function(co):
    assert frames(co.frame) == ["inner", "middle", "outer"]


def test_locals_and_line(co):
    frame = co.frame
    assert frame.f_locals == {"value": 1, "local": 2}
    assert frame.f_lineno == inner.__code__.co_firstlineno + 2
    assert frame.f_back.f_locals == {"value": 1}
    assert frame.f_globals is globals()


def test_same_frame_each_time(co):
    frame = co.frame
    assert co.frame is frame
    assert co.frame.f_back is frame.f_back


def test_is_that_of_sys_getframe():
    def body():
        yield_(sys._getframe())

    co = Coroutine(body)
    frame = co.enter()
    assert co.frame is frame
    co.close()


def test_none_before_and_after():
    co = Coroutine(lambda: None)
    before = co.frame
    co.enter()
    assert (before, co.frame) == (None, None)


def test_none_without_a_python_frame():
    co = Coroutine(yield_)
    co.enter()
    assert co.frame is None
    co.close()


def test_of_running_and_waiting():
    def inner_body():
        return frames(first.frame), frames(second.frame), frames(sys._getframe())

    def outer_body():
        return second.enter()

    first, second = Coroutine(outer_body), Coroutine(inner_body)
    below = frames(sys._getframe())
    assert first.enter() == (
        ["outer_body", *below],
        ["inner_body", "outer_body", *below],
        ["inner_body", "outer_body", *below],
    )


def test_in_a_generator():
    def generator():
        yield_()
        yield

    co = Coroutine(lambda: next(generator()))
    co.enter()
    assert frames(co.frame) == ["generator", "<lambda>"]
    co.close()


def test_print_stack_and_inspect(co):
    out = io.StringIO()
    traceback.print_stack(co.frame, file=out)
    lines = [line.strip() for line in out.getvalue().splitlines()]
    positions = [
        lines.index(line) for line in ("return middle(value)", "yield_(local)")
    ]
    assert positions == sorted(positions)
    assert [info.function for info in inspect.getouterframes(co.frame)] == [
        "inner",
        "middle",
        "outer",
    ]


def test_outlives_the_coroutine():
    co = Coroutine(outer)
    co.enter(1)
    frame = co.frame
    back = frame.f_back
    assert co.enter() == [1]
    del co
    for _ in range(10):
        Coroutine(outer).enter(5)
    assert (frame.f_locals, back.f_locals) == (
        {"value": 1, "local": 2},
        {"value": 1},
    )
    assert frames(frame) == ["inner", "middle", "outer", *frames(sys._getframe())]


def test_outlives_one_that_was_dropped():
    co = Coroutine(outer)
    co.enter(1)
    frame = co.frame
    del co
    assert frame.f_locals["local"] == 2
    assert frames(frame)[:3] == ["inner", "middle", "outer"]


def test_cannot_be_cleared(co):
    for frame in (co.frame, co.frame.f_back):
        with pytest.raises(RuntimeError, match="cannot clear"):
            frame.clear()


def test_line_cannot_be_set(co):
    with pytest.raises(ValueError, match=r"f_lineno can only be set|can't jump"):
        co.frame.f_lineno = inner.__code__.co_firstlineno + 3


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PEP 667")
def test_locals_can_be_written(co):
    co.frame.f_locals["local"] = 7
    frame = co.frame
    co.enter()
    assert frame.f_locals["local"] == 7


def test_back_changes_with_the_enterer():
    """As a generator's, its frames are followed by those of who has entered it."""
    seen = []

    def body():
        seen.append(frames(sys._getframe()))
        yield_()
        seen.append(frames(sys._getframe()))

    def deep(co):
        co.enter()

    co = Coroutine(body)
    deep(co)
    assert frames(co.frame) == ["body"]
    co.enter()
    here = frames(sys._getframe())
    assert seen == [["body", "deep", *here], ["body", *here]]


def test_current_frames_shows_the_running_chain():
    def body():
        frame = sys._current_frames()[threading.get_ident()]
        return frames(frame)

    assert Coroutine(body).enter() == ["body", *frames(sys._getframe())]


NO_FRAME = [
    (locals, ()),
    (globals, ()),
    (vars, ()),
    (dir, ()),
    (eval, ("1",)),
    (exec, ("1",)),
    (compile, ("1", "", "eval")),
    (__import__, ("os",)),
    (super, ()),
    (type, ("Made", (), {})),
    (print, ()),
    (sys._getframe, ()),
    (sys._current_frames, ()),
    (sys.exc_info, ()),
    (__build_class__, (lambda: None, "Made")),
]


@pytest.mark.skipif(
    hasattr(sys, "gettotalrefcount"),
    reason="globals() fails without an exception, at which a debug build aborts",
)
@pytest.mark.parametrize(
    ("fn", "args"), NO_FRAME, ids=[fn.__name__ for fn, _ in NO_FRAME]
)
def test_functions_that_look_for_a_frame_without_one_of_its_own(fn, args):
    """They find the enterer's, or raise as in a thread that starts with them."""
    expected = (RuntimeError, SystemError, ValueError, TypeError, KeyError)
    co = Coroutine(fn)
    with contextlib.suppress(*expected):
        co.enter(*args)
    assert co.done
