"""pysimdjson: parses with vector instructions and keeps a parser's buffers."""

import simdjson

DISTRIBUTION = "pysimdjson"


def small():
    return simdjson.loads('{"a": [1, 2.5, null, true, "é"]}')


def heavy():
    parser = simdjson.Parser()
    text = b"[" * 900 + b"]" * 900
    wide = b"[" + b",".join(b'{"n": %d}' % n for n in range(20_000)) + b"]"
    depth, inner = 1, simdjson.loads(text)
    while inner:
        depth, inner = depth + 1, inner[0]
    return [depth, parser.parse(wide).at_pointer("/777/n"), simdjson.loads(wide)[-1]]


def exception():
    simdjson.loads("[1, 2")
