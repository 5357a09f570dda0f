"""Each figure of a page says what it rests on, and stands where the list says."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = next(p for p in Path(__file__).parents if (p / "pyproject.toml").is_file())

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks/figures.py").is_file(), reason="needs a checkout"
)


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests/claims"))
    monkeypatch.delitem(sys.modules, "claims", raising=False)
    return importlib.import_module("claims")


def entry(**fields):
    fields = {"page": "README.md", "says": "it is so", **fields}
    return "\n[[claim]]\n" + "".join(f"{k} = {v!r}\n" for k, v in fields.items())


def test_each_claim_stands_on_its_page_and_rests_on_something(claims):
    wrong = [
        f"{claim} {verdict}"
        for claim in claims.read()
        if (verdict := claims.standing(claim) or claims.named(claim))
    ]
    assert wrong == []


def test_each_figure_of_a_page_is_claimed(claims):
    listed = claims.read()
    for page in claims.pages():
        name = str(page.relative_to(ROOT))
        assert claims.unclaimed(name, page.read_text(), listed) == []


def test_what_is_recorded_is_what_pages_say(claims):
    recorded = [claim for claim in claims.read() if claim.kind == "recorded"]
    assert recorded
    assert [claim for claim in recorded if claims.compare(claim)] == []


def test_prose_and_each_table_with_figures_are_parts(claims):
    text = """
# One

It takes 3 ns.

| a | b |
|---|---|
| x | 12 |

## Two

No figure, but for version 3.12 and `4 ns`.

```
5 ns
```

| promise | the test that keeps it | last figure |
|---|---|---|
| x | y | 6 ns |

<!-- bench 3.12 -->
| x | 7 ns |
<!-- end -->

| c | d |
|---|---|
| y | 8.5 µs |
"""
    claim = claims.Claim("p", "takes 3 ns", "once", "")
    table = claims.Claim("p", "| x | 12 |", "once", "")
    elsewhere = claims.Claim("q", "| y | 8.5 µs |", "once", "")
    assert claims.unclaimed("p", text, []) == [
        "p, 'One': It takes 3 ns.",
        "p, 'One': | a | b | |---|---| | x | 12 |",
        "p, 'Two': | c | d | |---|---| | y | 8.5 µs |",
    ]
    assert claims.unclaimed("p", text, [claim, table, elsewhere]) == [
        "p, 'Two': | c | d | |---|---| | y | 8.5 µs |"
    ]


@pytest.mark.parametrize(
    ("said", "found", "within", "same"),
    [
        ("4,314", 4314.4, 0, True),
        ("4,314", 4315, 0, False),
        ("4,314", 4350, 0.01, True),
        ("4,314", 4360, 0.01, False),
        ("57×", 57.49, 0, True),
        ("1.2×", 1.24, 0, True),
        ("1.2×", 1.26, 0, False),
        ("−0.73", -0.73, 0, True),
        ("eleven", 11, 0, True),
        ("fifty", 49, 0, False),
    ],
)
def test_a_figure_agrees_to_its_last_digit_or_within(claims, said, found, within, same):
    assert claims.agrees(said, found, within) == same


def test_what_differs_is_told(claims, monkeypatch):
    claim = claims.Claim("p", "{3} of {4.0 KB}", "figure", "any")
    monkeypatch.setattr(claims, "measure", lambda figure: [3.0, 5.0])
    assert claims.compare(claim) == "says 4.0 KB, and it is 5"
    monkeypatch.setattr(claims, "measure", lambda figure: [3.0])
    assert claims.compare(claim) == "has 2 numbers, and 1 were found"


def test_units_of_recorded_figures_are_converted(claims, monkeypatch):
    claim = claims.Claim("p", "{4.4 KB} in {1.5 µs}", "recorded", "any")
    monkeypatch.setattr(claims, "recorded", lambda claim: ["4,378 bytes", "1,500 ns"])
    assert claims.compare(claim) is None
    monkeypatch.setattr(claims, "recorded", lambda claim: ["4,378 bytes", "1.5 ns"])
    assert claims.compare(claim) == "says 1.5 µs, and it is 1.5 ns"


@pytest.mark.parametrize(
    "fields",
    [
        {"says": "{1} thing", "once": "by hand"},
        {"figure": "libraries"},
        {"test": "tests/x.py::y", "once": "by hand"},
        {},
        {"says": "{1}", "recorded": "bench 3.13"},
    ],
    ids=["braces without figure", "figure without", "two", "none", "no cells"],
)
def test_what_is_no_claim_is_refused(claims, tmp_path, fields):
    path = tmp_path / "claims.toml"
    path.write_text(entry(**fields))
    with pytest.raises(ValueError, match="claim 1"):
        claims.read(path)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("test", "test_claims.py::test_nothing_of_that_name"),
        ("test", "test_nothing.py::test_nothing"),
        ("by", "make nothing-of-that-name"),
        ("by", "python benchmarks/nothing.py"),
        ("by", "copool nothing"),
    ],
)
def test_what_is_not_there_is_told(claims, kind, source):
    claim = claims.Claim("README.md", "copool", kind, source)
    assert claims.named(claim) == f"rests on {source}, which is not there"


def test_a_test_is_found_wherever_it_is(claims):
    here = Path(__file__).relative_to(ROOT)
    name = "test_a_test_is_found_wherever_it_is"
    assert claims.node(f"test_claims.py::{name}") == f"{here}::{name}"


def test_a_phrase_that_has_moved_is_told_with_its_page(claims):
    claim = claims.Claim(
        "docs/aio.md", "Nothing has been released: no version", "once", ""
    )
    assert claims.standing(claim) == "does not stand there"
    text = (ROOT / "docs/design.md").read_text()
    phrase = next(line for line in text.splitlines() if "Layers" in line)
    moved = claims.Claim("docs/aio.md", phrase, "once", "")
    assert claims.standing(moved).startswith("does not stand there, but on ")
