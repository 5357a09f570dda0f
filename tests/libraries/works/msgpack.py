"""msgpack: packs and unpacks with hooks, from Cython."""

import msgpack
from hosts import pause

DISTRIBUTION = "msgpack"


def small():
    return msgpack.unpackb(msgpack.packb({"a": [1, 2.5, None, b"x"]}))


def heavy():
    deep = []
    for _ in range(400):
        deep = [deep]
    wide = [{"n": n, "s": str(n)} for n in range(20_000)]
    refused = []
    for value in (deep,):
        try:
            packed = msgpack.packb([[value] * 2] * 2)
            refused.append(len(packed))
            msgpack.unpackb(b"\x91" * 100_000 + b"\xc0")
        except (ValueError, RecursionError) as error:
            refused.append(f"{type(error).__name__}: {error}")
    return [refused, msgpack.unpackb(msgpack.packb(wide)) == wide]


def callback(number):
    packed = msgpack.packb([1j, 2j, 3j], default=lambda v: pause() or [v.imag, number])
    read = msgpack.unpackb(packed, list_hook=lambda items: pause() or tuple(items))
    pairs = msgpack.unpackb(
        msgpack.packb({"a": {"b": number}}),
        object_pairs_hook=lambda p: pause() or list(p),
    )
    return [packed, read, pairs]


def exception():
    def fail(value):
        pause()
        raise LookupError("from below packb")

    msgpack.packb([1, [1j]], default=fail)
