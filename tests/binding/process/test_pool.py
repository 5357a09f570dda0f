"""The pool keeps to its settings, and its statistics count what there is."""

import dataclasses
import os
import subprocess
import sys
import threading

import pytest

import copool
from copool import Coroutine, PoolExhausted, _core, yield_

POLICIES = ["none", "mutex", "release", "magazine"]
MOST = sys.maxsize


def started(n):
    coroutines = [Coroutine(yield_) for _ in range(n)]
    for co in coroutines:
        co.enter()
    return coroutines


def finish(coroutines):
    for co in coroutines:
        co.enter()


@pytest.mark.parametrize("policy", POLICIES)
def test_counts_under_every_policy(settings, policy):
    copool.configure(policy=policy, batch=2, max_blocks=1000)
    seen = []
    for n in (1, 50, 7):
        coroutines = started(n)
        stats = copool.stats()
        seen.append((stats.live, _core.check()))
        finish(coroutines)
        seen.append((copool.stats().live, _core.check()))
    stats = copool.stats()
    assert seen == [(1, True), (0, True), (50, True), (0, True), (7, True), (0, True)]
    assert (stats.policy, stats.created, stats.live_retired) == (policy, 58, 0)
    assert (stats.reused > 0) == (policy != "none")
    copool.trim()
    stats = copool.stats()
    assert (stats.idle_local, stats.idle_shared, stats.slabs) == (0, 0, 0)
    assert _core.check()


def test_statistics_are_frozen_and_complete():
    stats = copool.stats()
    names = {field.name for field in dataclasses.fields(stats)}
    assert {*_core.stats(), "chains"} == names
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.live = 0


def test_every_mapped_block_is_live_idle_or_vacant(settings):
    copool.configure(batch=4, max_blocks=1000)
    coroutines = started(100)
    finish(coroutines[:60])
    stats = copool.stats()
    assert stats.live == 40
    assert (
        stats.peak <= stats.live + stats.idle_local + stats.idle_shared + stats.vacant
    )
    assert stats.mapped_bytes >= 100 * stats.stack_size
    finish(coroutines[60:])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", "mutex"),
        ("batch", 3),
        ("stack_size", 2 << 20),
        ("max_blocks", 77),
        ("max_idle", 5),
        ("guard", "none"),
        ("guard", "mprotect"),
        ("guard_size", 4096),
        ("guard_size", 64 << 20),
    ],
)
def test_each_option_is_taken(settings, name, value):
    copool.configure(**{name: value})
    assert _core.options() == settings | {name: value}
    in_force = getattr(copool.stats(), name)
    assert in_force >= value if name == "stack_size" else in_force == value
    assert list(Coroutine(lambda: yield_(1))) == [1]


def test_guards_are_of_a_mebibyte_unless_set(settings):
    assert settings["guard_size"] == copool.stats().guard_size == 1 << 20
    copool.configure(guard_size=1)
    assert copool.stats().guard_size == os.sysconf("SC_PAGE_SIZE")


def test_no_guard_has_no_size(settings):
    copool.configure(guard="none")
    assert (_core.options()["guard_size"], copool.stats().guard_size) == (1 << 20, 0)
    copool.configure(guard_size=0)
    with pytest.raises(ValueError, match="guard_size may be 0 for guard='none' only"):
        copool.configure(guard="auto")
    assert (copool.stats().guard, copool.stats().guard_size) == ("none", 0)


def test_what_is_left_out_stays(settings):
    copool.configure(policy="mutex", batch=5)
    copool.configure(max_blocks=500)
    copool.configure()
    stats = copool.stats()
    assert (stats.policy, stats.batch, stats.max_blocks) == ("mutex", 5, 500)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (
            {"policy": "best"},
            ValueError,
            "no pool policy 'best': choose 'none', 'mutex', 'release' or 'magazine'",
        ),
        ({"policy": ""}, ValueError, "no pool policy ''"),
        ({"policy": 3}, TypeError, "policy must be a str, not int"),
        ({"policy": "none\0"}, ValueError, "embedded null character"),
        (
            {"guard": "wall"},
            ValueError,
            "no guard 'wall': choose 'auto', 'madvise', 'mprotect' or 'none'",
        ),
        ({"guard": b"none"}, TypeError, "guard must be a str, not bytes"),
        ({"batch": 0}, ValueError, "batch must be from 1 to 4096, not 0"),
        ({"batch": -1}, ValueError, "batch must be from 1 to 4096, not -1"),
        ({"batch": 4097}, ValueError, "batch must be from 1 to 4096, not 4097"),
        (
            {"batch": 1 << 63},
            ValueError,
            f"batch must be from 1 to 4096, not {1 << 63}",
        ),
        ({"batch": 1.5}, TypeError, "batch must be an int, not float"),
        ({"batch": True}, TypeError, "batch must be an int, not bool"),
        ({"max_blocks": 0}, ValueError, f"max_blocks must be from 1 to {MOST}, not 0"),
        (
            {"max_blocks": 2**70},
            ValueError,
            f"max_blocks must be from 1 to {MOST}, not {2**70}",
        ),
        ({"max_idle": -1}, ValueError, f"max_idle must be from 0 to {MOST}, not -1"),
        ({"max_idle": False}, TypeError, "max_idle must be an int, not bool"),
        (
            {"guard_size": 0},
            ValueError,
            "guard_size may be 0 for guard='none' only: with guard='auto' it is the "
            "bytes of each guard",
        ),
        *(
            (
                {"guard_size": n},
                ValueError,
                f"guard_size must be from 0 to 67108864, not {n}",
            )
            for n in (-1, (64 << 20) + 1, 1 << 40, 1 << 80)
        ),
        ({"guard_size": "1 MiB"}, TypeError, "guard_size must be an int, not str"),
        ({"guard_size": True}, TypeError, "guard_size must be an int, not bool"),
        ({"stack_size": 0}, ValueError, "a stack_size of 0 bytes is too small"),
        ({"stack_size": 64 << 10}, ValueError, "CPython needs at least"),
        *(
            (
                {"stack_size": n},
                ValueError,
                f"stack_size must not be negative, but is {n}",
            )
            for n in (-1, -(1 << 40), -(1 << 80))
        ),
        *(
            (
                {"stack_size": n},
                ValueError,
                f"stack_size may be at most 1 GiB (1073741824), not {n}",
            )
            for n in ((1 << 30) + 1, 1 << 40, 1 << 63, 1 << 80)
        ),
        ({"stack_size": "1 MiB"}, TypeError, "stack_size must be an int, not str"),
        ({"stack_size": True}, TypeError, "stack_size must be an int, not bool"),
        (
            {"overflow_report": "no"},
            TypeError,
            "overflow_report must be a bool, not str",
        ),
        ({"overflow_report": 2}, TypeError, "overflow_report must be a bool, not int"),
    ],
)
def test_bad_option_changes_nothing(settings, options, kind, text):
    before = copool.stats()
    with pytest.raises(kind) as caught:
        copool.configure(**{"batch": 7} | options)
    assert text in str(caught.value)
    assert (_core.options(), copool.stats()) == (settings, before)


def test_numbers_of_other_types_that_are_whole_are_taken(settings):
    class Number:
        def __index__(self):
            return 9

    copool.configure(batch=Number())
    assert copool.stats().batch == 9


def test_the_most_that_is_allowed_is_taken(settings):
    copool.configure(stack_size=1 << 30, batch=4096, max_idle=sys.maxsize, max_blocks=1)
    assert _core.options()["stack_size"] == 1 << 30


def test_positional_and_unknown_options_are_refused():
    with pytest.raises(TypeError):
        copool.configure("mutex")
    with pytest.raises(TypeError):
        copool.configure(size=1)


def test_live_ones_keep_their_pool(settings):
    coroutines = started(3)
    copool.configure(batch=2)
    first = copool.stats()
    coroutines += started(2)
    copool.configure(batch=3)
    second = copool.stats()
    assert [(s.live, s.live_retired) for s in (first, second)] == [(0, 3), (0, 5)]
    finish(coroutines[:4])
    assert (copool.stats().live_retired, _core.check()) == (1, True)
    finish(coroutines[4:])
    assert (copool.stats().live_retired, _core.check()) == (0, True)


def test_configure_inside_a_coroutine_on_the_old_pool(settings):
    def body():
        copool.configure(batch=2)
        yield_(copool.stats().live_retired)
        copool.configure(batch=3)
        copool.trim()
        return list(Coroutine(lambda: yield_("new")))

    co = Coroutine(body)
    assert [co.enter(), co.enter(), copool.stats().live_retired] == [1, ["new"], 0]


def test_trim_gives_back_what_is_idle(settings):
    copool.configure(batch=8)
    finish(started(100))
    idle = copool.stats().idle_local + copool.stats().idle_shared
    assert idle > 0
    assert copool.trim() == idle
    assert copool.trim() == 0
    kept = started(1)
    copool.trim()
    finish(kept)
    assert _core.check()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cap", [1, 2, 33])
def test_cap_is_exact_and_the_pool_recovers(settings, policy, cap):
    copool.configure(policy=policy, max_blocks=cap)
    for _ in range(3):
        coroutines = started(cap)
        one_more = Coroutine(yield_)
        with pytest.raises(PoolExhausted, match=f"all {cap} blocks are in use"):
            one_more.enter()
        assert (one_more.state, copool.stats().live) == ("created", cap)
        finish(coroutines[:1])
        finish([*coroutines[1:], *([one_more] if not one_more.enter() else [])])
        assert (copool.stats().live, _core.check()) == (0, True)


def test_what_idle_threads_keep_is_not_said_to_be_in_use(settings):
    copool.configure(policy="magazine", max_blocks=100)
    there, over = threading.Barrier(2), threading.Event()

    def idle():
        finish(started(50))
        there.wait()
        over.wait()

    thread = threading.Thread(target=idle)
    thread.start()
    there.wait()
    coroutines = []
    text = r"all 100 blocks are in use \(\d+\) or kept idle by threads for their next "
    with pytest.raises(PoolExhausted, match=text) as caught:
        coroutines.extend(iter(lambda: started(1)[0], None))
    assert f"({len(coroutines)})" in str(caught.value)
    assert 50 <= len(coroutines) < 100
    finish(coroutines)
    over.set()
    thread.join()


def test_exhausted_inside_a_coroutine(settings):
    copool.configure(max_blocks=2)

    def body():
        kept = started(1)
        try:
            Coroutine(yield_).enter()
        except PoolExhausted:
            finish(kept)
            return list(Coroutine(lambda: yield_("after")))

    assert Coroutine(body).enter() == ["after"]


SHOW_OPTIONS = "import copool; print(sorted(copool._core.options().items()))"


def with_environment(code=SHOW_OPTIONS, **variables):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COPOOL_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environ | variables,
    )
    return done.returncode, done.stdout, done.stderr


def test_environment_variables():
    code, out, _ = with_environment(
        COPOOL_POLICY="release",
        COPOOL_GUARD="none",
        COPOOL_BATCH="5",
        COPOOL_STACK_SIZE=str(3 << 20),
        COPOOL_MAX_BLOCKS="99",
        COPOOL_MAX_IDLE="0",
        COPOOL_GUARD_SIZE="0",
    )
    assert code == 0
    for setting in (
        "('policy', 'release')",
        "('guard', 'none')",
        "('batch', 5)",
        f"('stack_size', {3 << 20})",
        "('max_blocks', 99)",
        "('max_idle', 0)",
        "('guard_size', 0)",
    ):
        assert setting in out


# Each of these, imported alone, takes stacks.
FIRST_STACKS = {
    "copool": "copool.Coroutine(probe).enter()",
    "copool.aio": "copool.aio.run(main())",
    "copool.greenlet": """copool.greenlet.install()
import greenlet
greenlet.greenlet(probe).switch()""",
}


@pytest.mark.parametrize("module", FIRST_STACKS)
def test_the_environment_holds_for_the_first_stack_of_each_face(module):
    code = f"""
import sys, {module}

def probe():
    print(sys.modules["copool._core"].options()["stack_size"])

async def main():
    probe()

{FIRST_STACKS[module]}"""
    _, out, err = with_environment(code, COPOOL_STACK_SIZE=str(3 << 20))
    assert out == f"{3 << 20}\n", err


def test_empty_environment_variables_count_as_unset():
    assert with_environment(COPOOL_BATCH="", COPOOL_POLICY="") == with_environment()


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("COPOOL_POLICY", "best", "ValueError: no pool policy 'best'"),
        ("COPOOL_GUARD", "dog", "ValueError: no guard 'dog'"),
        ("COPOOL_BATCH", "many", "COPOOL_BATCH must be a whole number, not 'many'"),
        ("COPOOL_BATCH", "0", "batch must be from 1 to 4096, not 0"),
        ("COPOOL_STACK_SIZE", "1M", "COPOOL_STACK_SIZE must be a whole number"),
        ("COPOOL_STACK_SIZE", "1", "a stack_size of 1 bytes is too small"),
        ("COPOOL_MAX_BLOCKS", "-3", f"max_blocks must be from 1 to {MOST}, not -3"),
        ("COPOOL_MAX_IDLE", "-1", f"max_idle must be from 0 to {MOST}, not -1"),
        ("COPOOL_GUARD_SIZE", "-1", "guard_size must be from 0 to 67108864, not -1"),
        ("COPOOL_GUARD_SIZE", "1M", "COPOOL_GUARD_SIZE must be a whole number"),
        ("COPOOL_GUARD_SIZE", "0", "guard_size may be 0 for guard='none' only"),
    ],
)
def test_bad_environment_variable(variable, value, text):
    code, out, err = with_environment(**{variable: value})
    assert (code, out) == (1, "")
    assert text in err
    assert variable in err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COPOOL_POLICY", "guard"),
        ("COPOOL_GUARD", "policy"),
        ("COPOOL_BATCH", "0"),
        ("COPOOL_STACK_SIZE", "1"),
        ("COPOOL_STACK_SIZE", str(2**70)),
        ("COPOOL_MAX_BLOCKS", str(2**70)),
        ("COPOOL_GUARD_SIZE", "-1"),
    ],
)
def test_of_several_environment_variables_the_wrong_one_is_named(variable, value):
    right = {
        "COPOOL_POLICY": "mutex",
        "COPOOL_GUARD": "none",
        "COPOOL_BATCH": "7",
        "COPOOL_STACK_SIZE": str(3 << 20),
        "COPOOL_MAX_BLOCKS": "99",
        "COPOOL_GUARD_SIZE": "8192",
        "COPOOL_OVERFLOW_REPORT": "0",
    }
    code, _, err = with_environment(**right | {variable: value})
    assert code == 1
    assert err.splitlines()[-1] == (
        f"This setting comes from the environment variable {variable}"
    )
