"""orjson: recurses in Rust up to its limits; calls a function for unknown types."""

import orjson
from hosts import pause

DISTRIBUTION = "orjson"


def small():
    return orjson.loads(orjson.dumps({"a": [1, 2.5, None, True, "é"]}))


def heavy():
    deep = []
    for _ in range(250):
        deep = [deep]
    text = orjson.dumps(deep)
    refused = []
    for document in (b"[" * 100_000, b"[" * 1025 + b"]" * 1025):
        try:
            orjson.loads(document)
        except orjson.JSONDecodeError as error:
            refused.append(str(error))
    wide = orjson.loads(orjson.dumps([{"n": i, "s": str(i)} for i in range(50_000)]))
    levels = orjson.loads(b"[" * 1000 + b"]" * 1000)
    return [
        orjson.loads(text) == deep,
        refused,
        wide[-1],
        orjson.dumps(deep),
        len(levels),
    ]


def callback(number):
    def default(value):
        pause()
        return f"{number}:{value.real}"

    return orjson.dumps([complex(n) for n in range(5)], default=default)


def exception():
    def fail(value):
        pause()
        raise LookupError("from below dumps")

    orjson.dumps([1j], default=fail)
