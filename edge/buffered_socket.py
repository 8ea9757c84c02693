"""A socket that reads and writes by the buffer: the system is asked once for all that has come in,
and once for all that goes out, however many packets that is.

What came in is looked at by the packet. One that is for another reader, as paho is, is put on offer
and read from there with `recv`.
"""

import socket
import ssl
import threading
from contextlib import suppress

from edge.packets import MOST_BYTES, packet_end

#: So much is asked of the system at a time.
READ_BYTES = 262_144
#: With so much to send it is not waited for more.
WRITE_BYTES = 32_768
#: So much is held at the most, of what the other side is too slow to take.
HELD_BYTES = 1_048_576

# What says "not now" of a socket that does not block.
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Room(threading.local):
    """Where a thread lets the system put what has come in, before it is taken from there.

    One piece of memory for all calls: a new one each time costs more than what is read. And one for
    all sockets of a thread: simulated units are thousands.
    """

    def __init__(self) -> None:
        self.bytes = memoryview(bytearray(READ_BYTES))


_ROOM = _Room()


class BufferedSocket:
    """A connected socket, plain or TLS, that never blocks. For one thread.

    `fill` and `flush` alone speak to the system. That the connection has ended, or failed while
    something was sent, counts once all that had come in is read: the other side may have said why.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = bytearray()
        self._at = 0
        self._out = bytearray()
        self._offer = b""
        self._whole = (0, 0)
        #: Whether nothing more comes.
        self.ended = False
        #: The alert of TLS with which the other side has ended it; "" where there was none.
        self.alert = ""

    @property
    def has_output(self) -> bool:
        """Whether something waits for a `flush`."""
        return bool(self._out)

    @property
    def has_input(self) -> bool:
        """Whether there may be something to read without waiting for it."""
        # TLS may hold bytes that the system has already handed over.
        held = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
        return self.ended or bool(held)

    def fill(self) -> bool:
        """Take what has come in, as far as one call of the system gives it; False if nothing."""
        room = _ROOM.bytes
        try:
            size = self._sock.recv_into(room)
        except _NOT_NOW:
            return False
        except OSError as err:
            # Whoever ends a connection by TLS says why, as of a certificate that has ended.
            self.alert = err.reason or "" if isinstance(err, ssl.SSLError) else ""
            size = 0
        if not size:
            self.ended = True
            return False
        del self._in[: self._at]
        self._at = 0
        self._in += room[:size]
        return True

    def next_packet(self, most_bytes: int = MOST_BYTES) -> tuple[int, bytes] | None:
        """The next packet of MQTT, its first byte and its body; None while none is complete.

        One of more than *most_bytes* is not waited for: READ_BYTES more are held at the most.
        Raises BadPacket.
        """
        found = packet_end(self._in, self._at, most_bytes)
        if found is None:
            return None
        start, end = found
        self._whole = (self._at, end)
        first, body = self._in[self._at], bytes(memoryview(self._in)[start:end])
        self._at = end
        return first, body

    def offer_packet(self) -> None:
        """Let `recv` give the packet that `next_packet` gave last."""
        start, end = self._whole
        self._offer = bytes(self._in[start:end])

    def recv(self, size: int) -> bytes:
        """At most *size* bytes of what is on offer; b"" at the end of the connection.

        Raises BlockingIOError if nothing is on offer.
        """
        if not self._offer and not self.ended:
            raise BlockingIOError
        data, self._offer = self._offer[:size], self._offer[size:]
        return data

    def send(self, data: bytes | bytearray) -> int:
        """Take all of *data* to be sent by the next `flush`.

        Raises BlockingIOError, with nothing taken, when too much waits already.
        """
        if len(self._out) >= WRITE_BYTES:
            self.flush()
        if len(self._out) >= HELD_BYTES:
            raise BlockingIOError
        self._out += data
        return len(data)

    def flush(self) -> None:
        """Hand to the system what it takes of what waits."""
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except _NOT_NOW:
            pass
        except OSError:
            # Nobody is left to take it. What still comes in may say why, and then ends.
            self._out.clear()

    def fileno(self) -> int:
        """The system's number of the socket, as for a select."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """It never blocks: whoever uses it waits with a select."""
        self._sock.setblocking(False)

    def close(self) -> None:
        """Send what can be sent at once, and close."""
        with suppress(OSError, ValueError):
            self.flush()
        self._sock.close()
