"""zstandard: compresses with a dictionary, and reads files of Python's from C."""

import io

import zstandard
from hosts import pause

DISTRIBUTION = "zstandard"
LINES = [
    b"line %d of copool with %d\n" % (n * 7919 % 997, n % 7) for n in range(20_000)
]


def small():
    return zstandard.decompress(zstandard.compress(b"copool" * 50))


def heavy():
    dictionary = zstandard.train_dictionary(4096, LINES[:3000])
    compressor = zstandard.ZstdCompressor(level=19, dict_data=dictionary)
    data = compressor.compress(b"".join(LINES))
    opener = zstandard.ZstdDecompressor(dict_data=dictionary)
    threaded = zstandard.ZstdCompressor(level=3, threads=2).compress(b"".join(LINES))
    return [opener.decompress(data) == b"".join(LINES), len(data), len(threaded)]


class _File(io.BytesIO):
    def read(self, size=-1):
        pause()
        return super().read(min(size, 999))

    def write(self, data):
        pause()
        return super().write(data)


def callback(number):
    text, written = b"%d" % number * 5000, _File()
    zstandard.ZstdCompressor().copy_stream(_File(text), written)
    with zstandard.ZstdDecompressor().stream_reader(
        _File(written.getvalue())
    ) as reader:
        return reader.read(9999) == text


def exception():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            pause()
            raise LookupError("from below the compressor")

    zstandard.ZstdCompressor().copy_stream(Failing(), io.BytesIO())
