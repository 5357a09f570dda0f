"""A greenlet shows of itself what greenlet's would, and lets the same be set."""

import contextvars
import copy
import pickle
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest

from copool._core import _greenlet_names

api = SimpleNamespace(**_greenlet_names())
greenlet, getcurrent = api.greenlet, api.getcurrent


def suspended():
    main = getcurrent()
    g = greenlet(lambda: main.switch())
    g.switch()
    return g


def in_thread(fn):
    """Returns what fn returns in another thread."""
    box = []
    thread = threading.Thread(target=lambda: box.append(fn()))
    thread.start()
    thread.join()
    return box[0]


def test_the_type_has_the_layout_that_extensions_expect():
    assert greenlet.__basicsize__ == object.__basicsize__ + 24
    assert greenlet.__weakrefoffset__ == object.__basicsize__
    assert greenlet.__dictoffset__ == object.__basicsize__ + 8
    assert (greenlet.__module__, greenlet.__qualname__) == ("greenlet", "greenlet")
    with pytest.raises(TypeError, match="immutable"):
        greenlet.attribute = 1


def test_the_type_has_copies_of_the_functions():
    for name in ("getcurrent", "settrace", "gettrace", "error", "GreenletExit"):
        assert getattr(greenlet, name) is getattr(api, name)


def test_state():
    g = greenlet(lambda: main.switch())
    main = getcurrent()
    states = [(bool(g), g.dead)]
    g.switch()
    states.append((bool(g), g.dead))
    g.switch()
    states.append((bool(g), g.dead))
    assert states == [(False, False), (True, False), (False, True)]
    assert (bool(main), main.dead) == (True, False)


def test_repr_names_the_state():
    main = getcurrent()
    g = greenlet(lambda: main.switch(repr(getcurrent()), repr(main)))
    assert repr(main).endswith(" current active started main>")
    assert repr(g).endswith(" pending>")
    inside, outside = g.switch()
    assert inside.endswith(" current active started>")
    assert outside.endswith(" suspended active started main>")
    assert repr(g).endswith(" suspended active started>")
    g.switch()
    assert repr(g).endswith(" dead>")
    assert repr(type("Sub", (greenlet,), {})()).startswith("<Sub object at 0x")


def test_repr_of_a_thread_s_greenlets_when_it_has_ended():
    main = in_thread(getcurrent)
    assert main.dead
    assert not main
    assert main.parent is None
    assert repr(main).endswith(" (thread exited) dead>")


def test_parent_is_who_made_it_or_what_is_given():
    main = getcurrent()
    assert main.parent is None
    g = greenlet(lambda: (greenlet().parent, greenlet(parent=main).parent))
    assert g.parent is main
    assert g.switch() == (g, main)
    assert greenlet(None, None).parent is main
    assert greenlet.__new__(greenlet, 1, 2, 3).parent is main


def test_a_parent_may_be_set_until_and_while_it_runs():
    main = getcurrent()
    other = greenlet(lambda x: ("other", x))
    g = greenlet(lambda: main.switch())
    g.switch()
    g.parent = other
    assert g.switch(1) == ("other", 1)


@pytest.mark.parametrize("parent", [None, 1, "42"])
def test_a_parent_must_be_a_greenlet(parent):
    name = type(parent).__name__
    for g in (greenlet(), suspended()):
        with pytest.raises(
            TypeError, match=f"Expected any type of greenlet, not {name}"
        ):
            g.parent = parent


def test_parents_must_not_form_a_cycle():
    a, b, c = greenlet(), greenlet(), greenlet()
    a.parent, b.parent = b, c
    for g in (a, b, c):
        with pytest.raises(ValueError, match="cyclic parent chain"):
            c.parent = g


def test_a_main_greenlet_has_neither_parent_nor_run():
    main = getcurrent()
    with pytest.raises(AttributeError, match="parent of a main greenlet"):
        main.parent = greenlet()
    for do in (lambda: main.run, lambda: setattr(main, "run", 1)):
        with pytest.raises(AttributeError, match="Main greenlets do not have a run"):
            do()
    with pytest.raises(AttributeError, match="Main greenlets"):
        main.__init__(int)


def test_a_parent_in_another_thread_is_refused_once_it_runs():
    other = in_thread(greenlet)
    assert not other.dead
    g = suspended()
    with pytest.raises(ValueError, match="parent cannot be on a different thread"):
        g.parent = other


def test_attributes_that_cannot_be_deleted():
    g = greenlet()
    for name in ("parent", "gr_context", "gr_frame", "dead"):
        with pytest.raises(AttributeError):
            delattr(g, name)


def test_run_is_gone_once_it_runs():
    main = getcurrent()
    g = greenlet(lambda: main.switch(hasattr(getcurrent(), "run")))
    assert callable(g.run)
    assert g.switch() is False
    with pytest.raises(AttributeError, match="cannot be set after the start"):
        g.run = int
    with pytest.raises(AttributeError, match="cannot be set after the start"):
        g.__init__(int)
    g.switch()
    assert not hasattr(g, "run")
    with pytest.raises(AttributeError, match="cannot be set after the start"):
        del g.run


def test_run_may_be_deleted_whether_there_is_any_or_not():
    for g in (greenlet(int), greenlet()):
        for _ in range(2):
            del g.run
            assert not hasattr(g, "run")
        g.run = int
        assert g.switch() == 0


def test_run_may_be_none():
    assert greenlet(run=None).run is None


def test_frame_of_a_suspended_one():
    main = getcurrent()

    def outer():
        return inner()

    def inner():
        main.switch()
        return main.gr_frame.f_code.co_name

    g = greenlet(outer)
    assert g.gr_frame is None
    assert getcurrent().gr_frame is None
    g.switch()
    frame = g.gr_frame
    assert frame is g.gr_frame
    names = []
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert names == ["inner", "outer"]
    assert g.switch() == "test_frame_of_a_suspended_one"
    assert g.gr_frame is None


def test_stack_saved_is_what_its_calls_take():
    main = getcurrent()
    assert main._stack_saved == 0
    shallow = greenlet(lambda: main.switch(main._stack_saved))
    deep = greenlet(lambda: sorted([0], key=lambda _: main.switch() or 0))
    assert shallow._stack_saved == 0
    assert shallow.switch() > 0
    deep.switch()
    assert 0 < shallow._stack_saved < deep._stack_saved < 100_000
    shallow.switch()
    assert shallow._stack_saved == 0


VAR = contextvars.ContextVar("VAR", default=0)


def test_contexts_are_separate_and_begin_empty():
    VAR.set(1)
    main = getcurrent()

    def body():
        seen = [getcurrent().gr_context, VAR.get()]
        VAR.set(2)
        main.switch()
        return [*seen, VAR.get()]

    g = greenlet(body)
    g.switch()
    assert VAR.get() == 1
    assert g.gr_context[VAR] == 2
    assert g.switch() == [None, 0, 2]
    assert g.gr_context[VAR] == 2


def test_a_context_may_be_set_at_any_time():
    main = getcurrent()
    before = main.gr_context
    contexts = [contextvars.Context() for _ in range(4)]
    for number, context in enumerate(contexts):
        context.run(VAR.set, number)

    def body():
        seen = [VAR.get()]
        main.switch()
        seen.append(VAR.get())
        getcurrent().gr_context = contexts[2]
        seen.append(VAR.get())
        return seen

    g = greenlet(body)
    g.gr_context = contexts[0]
    g.switch()
    g.gr_context = contexts[1]
    assert g.switch() == [0, 1, 2]
    assert g.gr_context is contexts[2]
    g.gr_context = None
    assert g.gr_context is None
    main.gr_context = contexts[3]
    assert VAR.get() == 3
    main.gr_context = before
    with pytest.raises(TypeError, match=r"contextvars\.Context or None"):
        g.gr_context = 1


def test_no_context_of_what_runs_in_another_thread():
    main = getcurrent()

    def look():
        with pytest.raises(ValueError, match="cannot get context of a greenlet that"):
            _ = main.gr_context
        with pytest.raises(ValueError, match="cannot set context of a greenlet that"):
            main.gr_context = None
        return suspended_one.gr_context

    suspended_one = suspended()
    context = suspended_one.gr_context = contextvars.Context()
    assert in_thread(look) is context


def test_a_dict_weak_references_and_subclasses():
    class Sub(greenlet):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def run(self):
            return self.value

    g = Sub(3)
    ref = weakref.ref(g)
    assert g.__dict__ == {"value": 3}
    assert g.switch() == 3
    assert ref() is g
    del g
    assert ref() is None
    g = greenlet()
    g.__dict__ = {"a": 1}
    assert g.a == 1
    with pytest.raises(TypeError):
        del g.__dict__


def test_it_cannot_leave_its_process():
    for do in (pickle.dumps, copy.copy, copy.deepcopy):
        for g in (greenlet(), getcurrent()):
            with pytest.raises(TypeError, match=r"'greenlet\.greenlet' object"):
                do(g)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1, 2, 3), {}), ((), {"x": 1}), ((1,), {"run": 2})]
)
def test_wrong_arguments(args, kwargs):
    with pytest.raises(TypeError):
        greenlet(*args, **kwargs)


def test_wrong_objects():
    with pytest.raises(TypeError, match="not int"):
        greenlet(int, 3)
    with pytest.raises(TypeError, match="doesn't apply to a 'int' object"):
        greenlet.switch(3)
    with pytest.raises(TypeError, match="not callable"):
        greenlet(3).switch()


def test_an_abstract_class_has_no_instances():
    import abc

    class Abstract(greenlet, metaclass=abc.ABCMeta):
        @abc.abstractmethod
        def run(self): ...

    class Concrete(Abstract):
        def run(self):
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
    assert Concrete().switch() == 1


def test_a_parent_in_another_thread_is_refused_for_one_that_is_dead():
    dead = greenlet(int)
    dead.switch()

    def work():
        with pytest.raises(ValueError, match="parent cannot be on a different thread"):
            dead.parent = getcurrent()
        return True

    assert in_thread(work)
    dead.parent = greenlet()


def test_another_thread_s_greenlet_is_refused_with_both_names():
    g = suspended()
    pending = greenlet(int)

    def use():
        for target in (g, pending, g.parent):
            with pytest.raises(api.error) as caught:
                target.switch()
            message = str(caught.value)
            assert message.startswith("Cannot switch to a different thread\n")
            assert f"Current:  {getcurrent()!r}" in message
            assert f"Expected: {main!r}" in message
            assert f"{target!r} belongs to thread 'MainThread'" in message
            assert "this is thread 'worker'" in message
            assert "pass what it needs through a queue" in message
        with pytest.raises(api.error, match="Cannot switch to a different thread"):
            g.throw(KeyError)

    main = getcurrent()
    failed = []

    def work():
        try:
            use()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    assert not failed
    assert not g.dead
    assert pending.switch() == 0


def test_a_thread_that_has_ended_is_named_so():
    pending = in_thread(lambda: greenlet(int))
    for do in (pending.switch, lambda: pending.throw(KeyError), pending.parent.switch):
        with pytest.raises(api.error) as caught:
            do()
        assert str(caught.value) == (
            "cannot switch to a different thread (which happens to have exited)"
        )
        assert "make a new one in the thread" in caught.value.__notes__[0]
    pending.parent = getcurrent()
    assert pending.switch() == 0


def test_tests_may_ask_for_what_greenlet_s_own_need():
    assert api.get_total_main_greenlets() >= 1
    before = api.get_total_main_greenlets()
    in_thread(lambda: getcurrent() and None)
    assert api.get_total_main_greenlets() == before
    assert api.get_pending_cleanup_count() == 0
    assert api.get_clocks_used_doing_optional_cleanup() == 0
    api.enable_optional_cleanup(False)
    assert api.get_clocks_used_doing_optional_cleanup() is None
    api.enable_optional_cleanup(True)
    assert hasattr(api, "get_tstate_trash_delete_nesting") == (
        sys.version_info < (3, 13)
    )
    api.set_thread_local("copool test", 1)
