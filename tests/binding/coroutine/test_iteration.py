"""A coroutine is an iterator over what it yields."""

import itertools

import pytest

from copool import Coroutine, CoroutineError, yield_


def count(n):
    for i in range(n):
        yield_(i)


def test_for_loop():
    assert list(Coroutine(lambda: count(4))) == [0, 1, 2, 3]


def test_is_its_own_iterator():
    co = Coroutine(lambda: count(2))
    assert (iter(co) is co, list(zip(co, co, strict=True))) == (True, [(0, 1)])


def test_ends_for_good():
    co = Coroutine(lambda: count(1))
    assert [list(co), list(co), next(co, "end")] == [[0], [], "end"]


def test_none_is_a_value():
    def body():
        yield_()
        yield_(None)

    assert list(Coroutine(body)) == [None, None]


@pytest.mark.parametrize("result", [None, 7, (1, 2), KeyError("x"), StopIteration(3)])
def test_result_is_the_value_of_stop_iteration(result):
    co = Coroutine(lambda: result)
    with pytest.raises(StopIteration) as caught:
        next(co)
    assert caught.value.value is result


def test_yield_from_delivers_the_result():
    def generator():
        return (yield from Coroutine(lambda: (yield_(1), "result")[1]))

    g = generator()
    assert next(g) == 1
    with pytest.raises(StopIteration) as caught:
        next(g)
    assert caught.value.value == "result"


def test_stop_iteration_inside_becomes_a_runtime_error():
    stop = StopIteration("hidden")

    def body():
        yield_(1)
        raise stop

    co = Coroutine(body)
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as caught:
        list(co)
    error = caught.value
    assert (error.__cause__ is stop, error.__context__ is stop) == (True, True)
    names = [entry.name for entry in caught.traceback]
    assert names == ["test_stop_iteration_inside_becomes_a_runtime_error"]
    assert stop.__traceback__.tb_frame.f_code.co_name == "body"


def test_stop_iteration_passes_through_enter():
    co = Coroutine(lambda: next(iter(())))
    with pytest.raises(StopIteration):
        co.enter()


def test_other_exceptions_pass():
    co = Coroutine(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(co)
    assert next(co, "end") == "end"


def test_of_the_running_one_is_refused():
    co = Coroutine(lambda: next(co))
    with pytest.raises(CoroutineError, match="it is running already"):
        next(co)


def test_into_c_consumers():
    def numbers():
        return Coroutine(lambda: count(5))

    assert [
        sum(numbers()),
        max(numbers()),
        sorted(numbers(), reverse=True),
        list(itertools.islice(numbers(), 2)),
        dict(zip("abcde", numbers(), strict=True)),
    ] == [10, 4, [4, 3, 2, 1, 0], [0, 1], {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}]
