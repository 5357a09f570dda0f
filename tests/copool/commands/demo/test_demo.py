"""`copool demo` shows only what it has checked: all walkers find the same names."""

import json
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import copool

pytest.importorskip("rich")
pytest.importorskip("greenlet")

from copool.commands.demo import cli, parsing, source
from copool.commands.demo.contest import Hooks, Mismatch, hold
from copool.commands.demo.merge import Merge, answer
from copool.commands.demo.walkers import COPOOL, GENERATORS, GREENLET, THREADS, Walker

KINDS = [COPOOL, GENERATORS, GREENLET, THREADS]
TREES = [("a1", ("a2", (("a3",),))), (), (("b1",),), ("c1", "c2")]

trees = st.recursive(
    st.lists(st.sampled_from("xyz"), max_size=3).map(tuple),
    lambda below: st.lists(st.sampled_from("xyz") | below, max_size=4).map(tuple),
    max_leaves=12,
)


@pytest.fixture
def folder(tmp_path):
    """A small library: two modules, a package, and a file that isn't Python."""
    (tmp_path / "one.py").write_text("def f(x):\n    return x + y\n")
    (tmp_path / "two.py").write_text("class C(A):\n    def g(self):\n        b = c\n")
    (tmp_path / "bad.py").write_text("print 'hello'\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("z = 1\n")
    return tmp_path


def flat(tree):
    return [
        name
        for part in tree
        for name in ([part] if isinstance(part, str) else flat(part))
    ]


def merged(kind, trees, crowd=100):
    merge = Merge(trees, kind.start, crowd)
    while merge.advance(1000):
        pass
    return merge.names


# --- source -------------------------------------------------------------------


def test_find_lists_sources_in_order_without_installed_packages(folder):
    for name in ("site-packages", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "other.py").write_text("")
    (folder / "notes.txt").write_text("")
    found = [str(path.relative_to(folder)) for path in source.find(folder)]
    assert found == ["bad.py", "one.py", "two.py", "package/__init__.py"]


def test_names_stand_as_deep_as_in_the_syntax_tree():
    # Return(BinOp(Name x, Call(Name y, Name z))), and a Pass without names
    text = b"def f():\n    pass\n    return x + y(z)\n"
    assert source.definitions(text) == [((("x", ("y", "z")),),)]


def test_inner_definitions_stand_before_the_outer_and_are_part_of_it():
    text = b"class A(B):\n    async def f():\n        c\n    def g(): pass\n"
    inner = (("c",),)
    assert source.definitions(text) == [inner, (), ("B", inner)]


def test_code_outside_functions_gives_nothing():
    assert source.definitions(b"a = b\nlambda: c\n") == []


@pytest.mark.parametrize("text", [b"print 1", b"\xff", b"x\0y", b"a = (" * 150])
def test_what_is_not_python_raises(text):
    with pytest.raises((SyntaxError, ValueError)):
        source.definitions(text)


# --- parsing ------------------------------------------------------------------


def test_read_gives_trees_in_the_order_of_the_files(tmp_path):
    paths = []
    for number in range(7):
        paths.append(tmp_path / f"{number}.py")
        paths[-1].write_text(f"def f(): n{number}\n")
    read = parsing.read(paths)
    assert read.definitions == [((f"n{number}",),) for number in range(7)]
    assert (read.files, read.size) == (7, sum(path.stat().st_size for path in paths))


def test_read_lists_what_cannot_be_parsed_or_read(folder):
    gone = folder / "gone.py"
    read = parsing.read([folder / "bad.py", folder / "one.py", gone])
    assert read.unparsed == [folder / "bad.py", gone]
    assert read.definitions == [((("x", "y"),),)]


def test_read_tells_how_many_files_are_done(folder):
    done = []
    parsing.read(source.find(folder), done.append)
    assert done == [1, 2, 3, 4]


def test_read_of_no_files_is_empty():
    assert parsing.read([]) == parsing.Source(0, 0, [], [])


# --- walkers and merge --------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_walkers_take_turns(kind):
    assert merged(kind, TREES) == ["a1", "b1", "c1", "a2", "c2", "a3"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_next_walker_starts_when_one_ends(kind):
    # a and the empty one are alive; then a and b; then a and c
    assert merged(kind, TREES, crowd=2) == ["a1", "a2", "b1", "a3", "c1", "c2"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_more_than_the_crowd_is_alive(kind):
    alive = deque([0])
    most = []

    def start(tree):
        step = kind.start(tree)
        alive[0] += 1
        most.append(alive[0])

        def counted():
            name = step()
            alive[0] -= name is None
            return name

        return counted

    merged(Walker(kind.name, start), TREES * 3, crowd=3)
    assert (max(most), alive[0]) == (3, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(trees, max_size=6), st.integers(1, 7))
def test_all_kinds_of_walkers_agree(trees, crowd):
    # Round-robin without any walker: whole lists of names, popped in turn.
    waiting = deque(map(flat, trees))
    alive = deque(waiting.popleft() for _ in range(min(crowd, len(waiting))))
    expected = []
    while alive:
        names = alive.popleft()
        if names:
            expected.append(names[0])
            alive.append(names[1:])
        elif waiting:
            alive.append(waiting.popleft())
    for kind in (COPOOL, GENERATORS, GREENLET):
        assert merged(kind, trees, crowd) == expected


def test_merge_knows_how_many_walkers_are_left():
    merge = Merge(TREES, COPOOL.start, 2)
    left = [merge.left]
    while merge.advance(1):
        left.append(merge.left)
    left.append(merge.left)
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (4, 0)


def test_answer_tells_orders_apart():
    one, other = answer(["a", "b", "a"]), answer(["a", "a", "b"])
    assert one.most_frequent == other.most_frequent == [("a", 2), ("b", 1)]
    assert (one.names, one.distinct) == (3, 2)
    assert one.digest != other.digest


# --- contest ------------------------------------------------------------------


def test_contest_holds_every_round_and_counts_the_names():
    contest = hold(KINDS, TREES, crowd=3, rounds=2)
    assert [score.walker for score in contest.scores] == [kind.name for kind in KINDS]
    assert [len(score.seconds) for score in contest.scores] == [2, 2, 2, 2]
    assert (contest.trees, contest.crowd, contest.answer.names) == (4, 3, 6)


def test_contest_lets_another_walker_begin_each_round():
    order = []
    hold(
        [COPOOL, GREENLET], TREES, crowd=4, rounds=2, hooks=Hooks(crowded=order.append)
    )
    assert order == [COPOOL.name, GREENLET.name, GREENLET.name, COPOOL.name]


@pytest.mark.parametrize("wrong", [lambda tree: tree[:1], lambda tree: tree[::-1]])
def test_contest_finds_a_walker_with_another_answer(wrong):
    liar = Walker("liar", lambda tree: GENERATORS.start(wrong(tree)))
    with pytest.raises(Mismatch, match="liar"):
        hold([GENERATORS, liar], TREES, crowd=4)


def test_contest_without_a_round_is_refused():
    with pytest.raises(ValueError, match="round"):
        hold(KINDS, TREES, crowd=4, rounds=0)


# --- the command --------------------------------------------------------------


def test_demo_writes_the_answer_and_the_pool_as_json(folder, tmp_path, capsys):
    live = copool.stats().live
    assert cli.main([str(folder), "--json", str(tmp_path / "out.json")]) == 0
    out = json.loads((tmp_path / "out.json").read_text())
    # f: x y; g: b c; C: A b c, in turn
    assert out["whole"]["answer"] == {
        **out["sample"]["answer"],
        "names": 7,
        "distinct": 5,
        "most_frequent": [["b", 2], ["c", 2], ["x", 1], ["A", 1], ["y", 1]],
    }
    assert out["source"]["unparsed"] == ["bad.py"]
    assert list(out["pool"]) == ["before", "in the crowd", "after"]
    assert [moment["live"] - live for moment in out["pool"].values()] == [0, 3, 0]
    assert [score["walker"] for score in out["sample"]["scores"]] == [
        "copool",
        "nested yield from",
        "greenlet",
        "threads",
    ]


def test_demo_without_a_terminal_prints_the_report_and_no_bar(folder, capsys):
    assert cli.main([str(folder), "--rounds", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for part in ("7 names", "bad.py", "nested yield from", "threads", "in the crowd"):
        assert part in printed.out


def test_demo_takes_the_standard_library_by_default():
    assert Path(json.__file__) in source.find(source.standard_library())


def test_demo_fails_when_the_answers_differ(folder, capsys, monkeypatch):
    monkeypatch.setattr(
        cli, "GREENLET", Walker("greenlet", lambda tree: GREENLET.start(tree[1:]))
    )
    assert cli.main([str(folder)]) == 1
    assert "greenlet gave" in capsys.readouterr().err


def test_demo_refuses_a_crowd_above_the_cap(folder, capsys):
    cap = copool.stats().max_blocks
    assert cli.main([str(folder), "--crowd", str(cap + 1)]) == 1
    assert "COPOOL_MAX_BLOCKS" in capsys.readouterr().err


def test_demo_needs_a_function(tmp_path, capsys):
    assert cli.main([str(tmp_path)]) == 1
    assert "no function" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["/no/such"], ["--json", "/no/f"]],
)
def test_demo_refuses_bad_arguments_at_once(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "copool demo: error:" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--crowd", "--rounds"])
@pytest.mark.parametrize("number", ["0", "x", "-1", "2.5"])
def test_demo_needs_whole_numbers_above_zero(option, number, capsys):
    with pytest.raises(SystemExit):
        cli.main([f"{option}={number}"])
    assert f"{number!r} is no whole number from 1 on" in capsys.readouterr().err
