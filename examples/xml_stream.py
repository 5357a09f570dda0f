"""Parse XML while it arrives, with the parser of the standard library.

`xml.sax` is the wrong way round for asyncio, twice. It asks for its input by calling
`read()`, which it does not await: here that waits for the network with `await_()`. And
it hands over what it has found by calling back, from C code: here the callbacks yield
from a coroutine, so that a plain `for` takes one item after the other. All of that is
one task, and other tasks run while it waits.

    python examples/xml_stream.py
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple
from xml.sax.expatreader import ExpatParser
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import copool
from copool.aio import await_, run_sync


class Reading(NamedTuple):
    """What a weather station has measured."""

    station: str
    time: str
    degrees: float


class Source:
    """A connection as the file that a parser reads and closes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    def read(self, size: int = -1) -> bytes:
        return await_(self.reader.read(size))

    def close(self) -> None:
        self.writer.close()


class Parser(ExpatParser):
    """A parser that keeps nothing back."""

    def feed(self, data: Any, isFinal: bool = False) -> None:
        super().feed(data, isFinal)
        # From 2.6 on, expat lets the end of a tag wait for more than that end.
        if not isFinal and hasattr(self, "flush"):
            self.flush()


class Readings(ContentHandler):
    """Yields each reading from within the parser's call."""

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        if name == "station":
            self.station = attrs["name"]
        elif name == "reading":
            self.time = attrs["time"]
            self.text = ""

    def characters(self, content: str) -> None:
        self.text += content

    def endElement(self, name: str) -> None:
        if name == "reading":
            copool.yield_(Reading(self.station, self.time, float(self.text)))


def readings(source: Source) -> Iterator[Reading]:
    """Iterate over the readings in a stream, each as soon as it is there."""
    parser = Parser()
    parser.setContentHandler(Readings())
    return iter(copool.Coroutine(lambda: parser.parse(source)))


# --- two stations and who listens to them ---------------------------------------------

STATIONS = {
    "roof": [
        '<station name="roof"><reading time="12:00">21.5</reading>',
        '<reading time="12:10">21.0</reading>',
        '<reading time="12:20">19.5</reading></station>',
    ],
    "cellar": [
        '<station name="cellar"><reading time="12:00">11.0</reading>',
        '<reading time="12:10">11.0</reading>',
        '<reading time="12:20">11.5</reading></station>',
    ],
}


class Network:
    """Sends the stations' readings in turn, none before the last was taken."""

    def __init__(self) -> None:
        self.sent = 0
        self.total = sum(len(piece) for pieces in STATIONS.values() for piece in pieces)
        self.taken = asyncio.Semaphore(0)
        self.connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self.connections.put(writer)

    async def send(self) -> None:
        writers = [await self.connections.get() for _ in STATIONS]
        for pieces in zip(*STATIONS.values(), strict=True):
            for writer, piece in zip(writers, pieces, strict=True):
                writer.write(piece.encode())
                self.sent += len(piece)
                await self.taken.acquire()
        for writer in writers:
            writer.close()


def show(source: Source, network: Network) -> None:
    """Print what comes; an ordinary function with an ordinary loop."""
    for station, time, degrees in readings(source):
        print(
            f"{station:8}{time}{degrees:6} degrees, "
            f"with {network.sent} of {network.total} bytes sent"
        )
        network.taken.release()


async def main() -> None:
    network = Network()
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    with closing(server):
        host, port = server.sockets[0].getsockname()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(network.send())
            for _ in STATIONS:
                source = Source(*await asyncio.open_connection(host, port))
                tasks.create_task(run_sync(show, source, network))


if __name__ == "__main__":
    asyncio.run(main())
