"""regex: recursive patterns, and replacements by a function."""

import regex
from hosts import pause

DISTRIBUTION = "regex"


def small():
    return regex.findall(r"\p{Lu}\w+", "One two Three vier Ähre")


def heavy():
    balanced = regex.compile(r"\((?:[^()]++|(?R))*\)")
    text = "(" * 300 + "x" + ")" * 300
    return [
        balanced.fullmatch(text).span(),
        len(regex.findall(r"(?:copool){e<=2}", "copol capool cppool " * 500)),
        regex.sub(r"(\w+) (\w+)", r"\2 \1", "ab cd " * 5000)[:50],
        regex.split(r"(?<=[.;])\s*", "a. b; c." * 1000)[-5:],
    ]


def callback(number):
    return [
        regex.sub(r"\d", lambda m: pause() or str(int(m[0]) * (number + 1)), "1a2b3c"),
        regex.subn(r"(?i)[aeiou]", lambda m: pause() or f"<{m[0]}{number}>", "Copool"),
    ]


def exception():
    def fail(match):
        pause()
        raise LookupError(f"from below sub: {match[0]}")

    regex.sub(r"\d", fail, "a1")
