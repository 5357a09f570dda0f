"""brotli: compresses in C, all at once and in parts."""

import brotli

DISTRIBUTION = "brotli"
TEXT = b"".join(b"line %d of copool\n" % (n * 7919 % 997) for n in range(20_000))


def small():
    return brotli.decompress(brotli.compress(b"copool" * 50))


def heavy():
    compressor = brotli.Compressor(quality=6)
    parts = [compressor.process(TEXT[n : n + 9999]) for n in range(0, len(TEXT), 9999)]
    data = b"".join([*parts, compressor.finish()])
    return [
        brotli.decompress(data) == TEXT,
        [
            len(brotli.compress(TEXT, quality=quality, lgwin=22))
            for quality in (1, 5, 10)
        ],
    ]


def exception():
    brotli.decompress(b"no such data")
