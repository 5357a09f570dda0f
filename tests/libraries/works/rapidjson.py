"""python-rapidjson: reads and writes by calling functions and files."""

import io

import rapidjson
from hosts import pause

DISTRIBUTION = "python-rapidjson"


def small():
    return rapidjson.loads(rapidjson.dumps({"a": [1, 2.5, None, True, "é"]}))


def heavy():
    deep = "[" * 900 + "]" * 900
    wide = [{"n": n, "s": str(n)} for n in range(20_000)]
    schema = rapidjson.Validator('{"type": "array", "items": {"required": ["n"]}}')
    text = rapidjson.dumps(wide)
    schema(text)
    return [
        rapidjson.loads(deep) == rapidjson.loads(deep),
        rapidjson.loads(text) == wide,
    ]


class _File(io.BytesIO):
    def read(self, size=-1):
        pause()
        return super().read(min(size, 7))

    def write(self, data):
        pause()
        return super().write(data)


def callback(number):
    written = _File()
    rapidjson.dump(
        [1j, 2j], written, default=lambda v: pause() or v.imag + number, chunk_size=8
    )
    read = rapidjson.load(
        _File(b'{"a": {"b": [1, 2]}, "c": {}}'),
        object_hook=lambda d: pause() or {**d, "n": number},
        chunk_size=8,
    )
    return [written.getvalue(), read]


def exception():
    def fail(value):
        pause()
        raise LookupError("from below dumps")

    rapidjson.dumps([1, [1j]], default=fail)
