"""msgspec: decodes into classes, and calls hooks for types that it doesn't know."""

import msgspec
from hosts import pause

DISTRIBUTION = "msgspec"


class Node(msgspec.Struct):
    value: int
    below: "Node | None" = None


def small():
    return msgspec.to_builtins(msgspec.json.decode(b'{"value": 3}', type=Node))


def heavy():
    text = b'{"value":1,"below":' * 150 + b"null" + b"}" * 150
    node = msgspec.json.decode(text, type=Node)
    packed = msgspec.msgpack.encode(node)
    again = msgspec.msgpack.decode(packed, type=Node)
    many = [Node(i, Node(i + 1)) for i in range(20_000)]
    decoded = msgspec.json.decode(msgspec.json.encode(many), type=list[Node])
    return [msgspec.json.encode(again) == text, len(packed), decoded == many]


def callback(number):
    def hook(kind, value):
        pause()
        return complex(value, number)

    encoded = msgspec.json.encode(
        [1j, 2j], enc_hook=lambda v: pause() or v.imag + number
    )
    decoded = msgspec.json.decode(b"[1, 2, 3]", type=list[complex], dec_hook=hook)
    return [encoded, decoded]


def exception():
    msgspec.json.decode(b'[{"value": 1, "below": {"value": "x"}}]', type=list[Node])
