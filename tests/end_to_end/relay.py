"""A bad way to the broker: passes TCP on, in the way it is told on standard input.

    python -m tests.end_to_end.relay --to HOST:PORT NAME=PORT...

A line `NAME MODE VALUE` sets the mode of one route, until the next:

    pass        as it comes
    delay S     everything S seconds later, give or take a third
    loss P      a part P of the pieces late, as TCP makes of lost segments: 0.2 s and doubling
    throttle B  B bytes a second
    stall       nothing passes, nothing ends: a broker that accepts and never answers
    reset       every connection is reset, at once and as soon as it comes
    half-open   connections that are there lose their other end without knowing; new ones pass
    portal      a captive portal: whatever is asked, the answer is 302

`names answer 1` lets the name server speak, which until then hears and says nothing. It ends with
its standard input.
"""

import argparse
import asyncio
import random
import socket
import struct
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PORTAL = (
    b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/login\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
#: A piece of a stream, smaller than what a loaded publisher sends at once.
PIECE = 4096


@dataclass(eq=False)
class Pair:
    """A connection to us, and ours to the broker."""

    near: StreamWriter
    far: StreamWriter
    #: The far end is gone, and the near one does not know.
    half: bool = False


class Route:
    """One part's way to the broker."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._pairs: set[Pair] = set()
        self._mode = "pass"
        self._value = 0.0

    def set(self, mode: str, value: float) -> None:
        self._mode, self._value = mode, value
        for pair in list(self._pairs):
            if mode in ("reset", "portal"):
                _reset(pair.near)
            if mode in ("reset", "portal", "half-open"):
                pair.half = True
                pair.far.transport.abort()

    async def serve(self, reader: StreamReader, near: StreamWriter) -> None:
        try:
            if self._mode == "portal":
                await reader.read(1)
                near.write(PORTAL)
            elif self._mode == "reset":
                _reset(near)
            else:
                await self._join(reader, near)
        except OSError:
            pass  # Whoever it was that left: both sides are done.
        finally:
            near.close()

    async def _join(self, near_reader: StreamReader, near: StreamWriter) -> None:
        far_reader, far = await asyncio.wait_for(asyncio.open_connection(*self._to), 10)
        pair = Pair(near, far)
        self._pairs.add(pair)
        ways = [self._pass_on(near_reader, far, pair), self._pass_on(far_reader, near, pair)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            while pair.half and await near_reader.read(PIECE):
                pass
        finally:
            self._pairs.discard(pair)
            far.close()

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter, pair: Pair) -> None:
        """What *reader* gives, to *writer*, until one of them ends."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        reading = asyncio.ensure_future(self._read(reader, pieces))
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(due - _now())
                while self._mode == "stall":
                    await asyncio.sleep(0.02)
                if not piece or pair.half:
                    return
                if self._mode == "throttle":
                    await asyncio.sleep(len(piece) / self._value)
                writer.write(piece)
                await writer.drain()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self, reader: StreamReader, pieces: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        due, piece = 0.0, b"first"
        while piece:
            try:
                piece = await reader.read(PIECE)
            except OSError:
                piece = b""
            # Never before the one that went before.
            due = max(due, _now() + self._delay_s())
            await pieces.put((due, piece))

    def _delay_s(self) -> float:
        if self._mode == "delay":
            return self._value * random.uniform(0.67, 1.33)
        delay_s = 0.0
        if self._mode == "loss":
            while random.random() < self._value and delay_s < 3:
                delay_s = max(0.2, delay_s * 2)
        return delay_s


class NameServer(asyncio.DatagramProtocol):
    """Says nothing; then, that every name is at *address*."""

    def __init__(self, address: str) -> None:
        self.answers = False
        self._address = bytes(map(int, address.split(".")))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        if not self.answers:
            return
        end = data.index(b"\0", 12) + 5
        question = data[12:end]
        # Of type A there is one; of others, such as AAAA, none.
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + self._address
        records = [record] if question[-4:-2] == b"\0\1" else []
        head = data[:2] + b"\x81\x80\0\1" + bytes([0, len(records)]) + bytes(4)
        self._transport.sendto(head + question + b"".join(records), addr)


async def relay(options: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    host, _, port = options.to.partition(":")
    routes = {}
    for name, own_port in _pairs_in(options.routes):
        routes[name] = Route(host, int(port))
        await asyncio.start_server(routes[name].serve, options.listen, own_port)
    names = NameServer(options.listen)
    if options.names:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: names, (options.listen, 53)
        )
    orders = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    print("ready", flush=True)
    while order := (await orders.readline()).decode().split():
        name, mode, value = order
        if name == "names":
            names.answers = mode == "answer"
        else:
            routes[name].set(mode, float(value))


def _pairs_in(routes: list[str]) -> Iterator[tuple[str, int]]:
    for route in routes:
        name, _, port = route.partition("=")
        yield name, int(port)


def _reset(writer: StreamWriter) -> None:
    """End a connection with RST, as a router does that has lost its table."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _now() -> float:
    return asyncio.get_running_loop().time()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--names", action="store_true", help="be a name server too")
    parser.add_argument("routes", nargs="+", metavar="NAME=PORT")
    with suppress(KeyboardInterrupt):
        asyncio.run(relay(parser.parse_args()))


if __name__ == "__main__":
    main()
