"""ujson: recurses in C up to 1,024 levels."""

import ujson
from hosts import pause

DISTRIBUTION = "ujson"


def small():
    return ujson.loads(ujson.dumps({"a": [1, 2.5, None, True, "é"]}))


def heavy():
    text = "[" * 1000 + "]" * 1000
    wide = [{"n": n, "s": str(n)} for n in range(20_000)]
    try:
        ujson.loads("[" * 100_000)
    except ujson.JSONDecodeError as error:
        refused = str(error)
    return [ujson.dumps(ujson.loads(text)) == text, refused, ujson.dumps(wide)[-40:]]


def callback(number):
    class Value:
        def __json__(self):
            pause()
            return f'"json {number}"'

    return [
        ujson.dumps([Value(), Value()]),
        ujson.dumps([1j, 2j], default=lambda value: pause() or value.imag + number),
    ]


def exception():
    def fail(value):
        pause()
        raise LookupError("from below dumps")

    ujson.dumps([1, [1j]], default=fail)
