"""A parser that waits for its input finds what it would find in all of it at once."""

import asyncio
import re
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from xml.sax import SAXParseException

import ijson
import xml_stream as example

from copool.aio import await_, run_sync

DOCUMENT = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<station name="Hütte"><!-- a reading: --><reading time="1">1.5</reading>\n'
    "<reading time='2'>&#45;2</reading><reading\n time = '&#51;'> 3.0 </reading\n>"
    "</station>\n"
).encode()
READINGS = [("Hütte", "1", 1.5), ("Hütte", "2", -2.0), ("Hütte", "3", 3.0)]


def run(main):
    """Like `asyncio.run()`, but does not hang."""

    async def limited():
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(limited())


@asynccontextmanager
async def link():
    """A connection on this machine: a Source at one end, what sends at the other."""
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.set_result((reader, writer)), "127.0.0.1", 0
    )
    with closing(server):
        address = server.sockets[0].getsockname()
        source = example.Source(*await asyncio.open_connection(*address))
        reader, sender = await accepted
        with closing(sender), closing(source):
            yield SimpleNamespace(source=source, sender=sender, reader=reader)


# --- what comes, and when -------------------------------------------------------------


def test_reading_comes_out_with_the_last_byte_of_its_tag():
    class Slow(example.Source):
        given = 0

        def __init__(self):
            pass

        def read(self, size=-1):
            if size == 0:  # asks whether there will be bytes or text
                return b""
            await_(asyncio.sleep(0))
            self.given += 1
            return DOCUMENT[self.given - 1 : self.given]

        def close(self):
            pass

    def record():
        source = Slow()
        return [(source.given, reading) for reading in example.readings(source)]

    async def main():
        return await run_sync(record)

    ends = [match.end() for match in re.finditer(rb"</reading\n?>", DOCUMENT)]
    assert run(main()) == list(zip(ends, READINGS, strict=True))


def test_readings_come_out_before_the_last_bytes_are_sent():
    async def main():
        readings, is_there = [], asyncio.Event()

        def record(source):
            for reading in example.readings(source):
                readings.append(reading)
                is_there.set()

        async with link() as connection:
            recording = asyncio.create_task(run_sync(record, connection.source))
            middle = DOCUMENT.index(b"</reading>") + len("</reading>")
            connection.sender.write(DOCUMENT[:middle])
            await is_there.wait()
            early = list(readings)
            connection.sender.write(DOCUMENT[middle:])
            connection.sender.close()
            await recording
        return early, readings

    assert run(main()) == (READINGS[:1], READINGS)


def test_streams_interleave():
    async def main():
        order, turns = [], {name: asyncio.Event() for name in "ab"}

        def record(name, source):
            for reading in example.readings(source):
                order.append((name, reading.time))
                turns[name].set()

        async with link() as a, link() as b, asyncio.TaskGroup() as tasks:
            connections = {"a": a, "b": b}
            for name, connection in connections.items():
                tasks.create_task(run_sync(record, name, connection.source))
            for piece in re.findall(rb".+?</reading\n?>", DOCUMENT, re.DOTALL):
                for name, connection in connections.items():
                    connection.sender.write(piece)
                    await turns[name].wait()
                    turns[name].clear()
            for connection in connections.values():
                connection.sender.write(b"</station>")
                connection.sender.close()
        return order

    assert run(main()) == [(name, time) for time in "123" for name in "ab"]


def test_many_streams_wait_in_the_middle_of_their_parsers():
    number = 100

    async def main():
        readings, is_there, go_on = [], asyncio.Semaphore(0), asyncio.Event()

        def record(source):
            for reading in example.readings(source):
                readings.append(reading)
                is_there.release()
                await_(go_on.wait())

        async def stream():
            reader = asyncio.StreamReader()
            reader.feed_data(DOCUMENT)
            reader.feed_eof()
            await run_sync(record, example.Source(reader, Writer()))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(number):
                tasks.create_task(stream())
            for _ in range(number):
                await is_there.acquire()
            early = list(readings)
            go_on.set()
        return early, readings

    early, readings = run(main())
    assert early == READINGS[:1] * number
    assert sorted(readings) == sorted(READINGS * number)


class Writer:
    def close(self):
        pass


def test_all_of_it_is_the_task_that_iterates():
    async def main():
        tasks = set()

        class Source(example.Source):
            def read(self, size=-1):
                tasks.add(asyncio.current_task())
                return super().read(size)

        reader = asyncio.StreamReader()
        reader.feed_data(DOCUMENT)
        reader.feed_eof()

        def record():
            for _ in example.readings(Source(reader, Writer())):
                tasks.add(asyncio.current_task())
                tasks.update(asyncio.all_tasks())

        await run_sync(record)
        return tasks == {asyncio.current_task()} | asyncio.all_tasks()

    assert run(main())


# --- how it ends ----------------------------------------------------------------------


async def end(document, act=lambda connection: None):
    """What comes of a stream that begins with `document`; is its source closed?"""
    readings, is_there = [], asyncio.Event()

    def record(source):
        for reading in example.readings(source):
            readings.append(reading)
            is_there.set()

    async with link() as connection:
        recording = asyncio.create_task(run_sync(record, connection.source))
        connection.recording = recording
        connection.sender.write(document)
        await is_there.wait()
        act(connection)
        await asyncio.wait([recording])
        closed = connection.source.writer.is_closing()
    error = None if recording.cancelled() else recording.exception()
    return readings, recording.cancelled(), error, closed


BEGINNING = DOCUMENT[: DOCUMENT.index(b"<reading time='2'>")]


def test_end_of_the_document_closes_the_connection():
    result = run(end(DOCUMENT, lambda connection: connection.sender.close()))
    assert result == (READINGS, False, None, True)


def test_malformed_document_raises_the_error_of_the_parser():
    readings, _, error, closed = run(end(BEGINNING + b"\n<reading time='2'></station>"))
    assert readings == READINGS[:1]
    assert isinstance(error, SAXParseException)
    assert (error.getMessage(), error.getLineNumber()) == ("mismatched tag", 4)
    assert closed


def test_document_that_breaks_off_raises_the_error_of_the_parser():
    readings, _, error, closed = run(
        end(BEGINNING, lambda connection: connection.sender.close())
    )
    assert readings == READINGS[:1]
    assert isinstance(error, SAXParseException)
    assert error.getMessage() == "no element found"
    assert closed


def test_connection_that_is_lost_raises_its_error():
    def lose(connection):
        connection.source.reader.set_exception(ConnectionResetError("lost"))

    readings, _, error, closed = run(end(BEGINNING, lose))
    assert readings == READINGS[:1]
    assert isinstance(error, ConnectionResetError)
    assert closed


def test_cancelling_closes_the_parser():
    readings, cancelled, _, closed = run(
        end(BEGINNING, lambda connection: connection.recording.cancel())
    )
    assert (readings, cancelled, closed) == (READINGS[:1], True, True)


def test_cancelling_who_iterates_closes_the_parser():
    async def main():
        is_there = asyncio.Event()

        def record(source):
            with closing(example.readings(source)) as readings:
                for _ in readings:
                    is_there.set()
                    await_(asyncio.Event().wait())

        async with link() as connection:
            recording = asyncio.create_task(run_sync(record, connection.source))
            connection.sender.write(DOCUMENT)
            await is_there.wait()
            recording.cancel()
            await asyncio.wait([recording])
            # It has left the parser, and the other end sees that.
            return recording.cancelled(), await connection.reader.read()

    assert run(main()) == (True, b"")


def test_who_stops_early_closes_the_connection():
    async def main():
        def take_one(source):
            with closing(example.readings(source)) as readings:
                return next(readings)

        async with link() as connection:
            connection.sender.write(BEGINNING)
            first = await run_sync(take_one, connection.source)
            return first, await connection.reader.read()

    assert run(main()) == (READINGS[0], b"")


# --- another parser -------------------------------------------------------------------


def test_a_json_parser_reads_from_the_same_source():
    """It has an iterator already: that `read()` waits is all it needs."""

    async def main():
        items, is_there = [], asyncio.Event()

        def record(source):
            for item in ijson.items(source, "item"):
                items.append(item)
                is_there.set()

        async with link() as connection:
            recording = asyncio.create_task(run_sync(record, connection.source))
            connection.sender.write(b'[{"a": 1}, {"a"')
            await is_there.wait()
            early = list(items)
            connection.sender.write(b": 2}]")
            connection.sender.close()
            await recording
        return early, items

    assert run(main()) == ([{"a": 1}], [{"a": 1}, {"a": 2}])
