"""Parsers of the standard library: expat, json, pickle, marshal, re and compile()."""

import io
import json
import marshal
import pickle
import pyexpat
import re
import sys

from hosts import pause

NAME = "parsers, standard library"
VERSION = ".".join(map(str, sys.version_info[:3]))


def _parsed(text, handle, size=None):
    parser = pyexpat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: handle(name, attributes)
    if size is None:
        parser.Parse(text, True)
    else:
        parser.ParseFile(io.BytesIO(text))


def small():
    seen = []
    _parsed(
        b"<a><b c='1'/></a>", lambda name, attributes: seen.append((name, attributes))
    )
    return seen


class _Deep:
    def __init__(self, below):
        self.below = below


def heavy():
    seen = []
    _parsed(b"<d>" * 20_000 + b"</d>" * 20_000, lambda name, _: seen.append(name))
    deep = None
    for _ in range(120):
        deep = _Deep([deep])
    depth, again = 0, pickle.loads(pickle.dumps(deep))
    while again is not None:
        depth, again = depth + 1, again.below[0]
    code = compile("x = " + "+".join(map(str, range(900))), "text", "exec")
    names: dict[str, object] = {}
    exec(marshal.loads(marshal.dumps(code)), names)
    nested = "[" * 900 + "]" * 900
    return [
        len(seen),
        depth,
        names["x"],
        json.dumps(json.loads(nested)) == nested,
        re.fullmatch("(" * 90 + "a" + ")" * 90, "a").lastindex,
    ]


def callback(number):
    seen = []
    text = b"<r>" + b"<i/>" * 5 + b"</r>"
    _parsed(text, lambda name, _: pause() or seen.append((name, number)), size=1)
    loaded = json.loads(
        '{"a": {"b": 1}}', object_hook=lambda d: pause() or [*d, number]
    )
    replaced = re.sub("[abc]", lambda m: pause() or m[0] * (number + 1), "xaybzc")
    ordered = sorted([3, 1, 2], key=lambda n: pause() or (n * (number + 1)) % 4)
    return [seen, loaded, replaced, ordered]


def exception():
    def fail(*_):
        pause()
        raise LookupError("from below expat")

    _parsed(b"<a/>", fail)
