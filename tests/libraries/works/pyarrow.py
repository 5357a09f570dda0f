"""pyarrow: compute kernels, Parquet, and files of Python's that C++ reads.

What its own threads read are buffers: they may still hold a file of Python's when the
process ends, and then end it with SIGABRT, also where no coroutine has run.
"""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from hosts import pause

DISTRIBUTION = "pyarrow"


def _table():
    numbers = range(100_000)
    return pa.table({"k": [n % 11 for n in numbers], "v": [n * 0.25 for n in numbers]})


def small():
    return pc.sum(pa.array([1, 2, None])).as_py()


def heavy():
    sink = io.BytesIO()
    pq.write_table(_table(), sink, compression="zstd")
    again = pq.read_table(pa.BufferReader(sink.getvalue()))
    grouped = again.group_by("k").aggregate([("v", "sum"), ("v", "stddev")])
    read = pyarrow.csv.read_csv(pa.BufferReader(b"a,b\n" + b"1,2\n" * 50_000))
    return [
        sorted(tuple(row.values()) for row in grouped.to_pylist()),
        pc.sum(read["b"]).as_py(),
        again.sort_by([("v", "descending")]).slice(0, 3).to_pylist(),
    ]


class _File(io.BytesIO):
    """Pauses where C++ reads it."""

    def read(self, *size):
        pause()
        return super().read(*size)


def callback(number):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("n", pa.int64())])) as stream:
        for batch in range(3):
            stream.write_batch(pa.record_batch({"n": [number, batch]}))
    return pa.ipc.open_stream(_File(sink.getvalue())).read_all().to_pylist()


def exception():
    class Failing(io.BytesIO):
        def read(self, *size):
            pause()
            raise LookupError("from below the reader")

    pa.ipc.open_stream(Failing(b"x")).read_all()
