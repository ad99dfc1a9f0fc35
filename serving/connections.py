"""Connections: how many there may be, how long each may wait, and how one is closed.

uvicorn's protocol waits indefinitely for a request's head and for a client that does not read, takes any number of
connections, and resets one that it closes on unread input, so that its client may lose the answer.
"""

import asyncio
import http
import json
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from prnet.serving.limits import Limits
from prnet.serving.origins import network_of
from prnet.serving.problems import RETRY_AFTER, problem_content

TICK = 0.25
"""Seconds between two looks at a connection."""

LINGER_SECONDS = 1.0
"""How long input is still read and thrown away after an answer that did not wait for it."""

SLICE = 1 << 14
"""Bytes that are read between two looks at how a body comes."""

SPARE_BYTES, SPARE_SHARE = 1 << 15, 8
"""Bytes of a request that need not be of its body, and how many of that follow for one more: what frames the chunks of
a chunked body. Each chunk takes a while, a large one no longer than one of a byte."""

LEFT_TO_THE_SYSTEM = 1 << 17
"""Bytes of an answer that the system takes over beyond those under way."""


class _Line:
    """A transport for uvicorn's protocol that counts what is written, and that can be closed in one direction."""

    def __init__(self, transport: asyncio.Transport, expects_input: Callable[[], bool]):
        self._transport, self._expects_input = transport, expects_input
        self._closed, self.written = False, 0

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._closed:
            self.written += len(data)
            self._transport.write(data)

    def close(self) -> None:
        """Close; while input is expected, in one direction first."""
        if self._expects_input():
            self.linger()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def linger(self) -> None:
        """Close for writing; what still comes is read until the client closes."""
        if not self.is_closing():
            self._closed = True
            self._transport.resume_reading()
            try:
                self._transport.write_eof()
            except OSError:  # the client has left
                self._transport.abort()


class Connection(H11Protocol):
    """uvicorn's HTTP connection, with bounds on number, time and unsent bytes; a refused client gets to read why."""

    def __init__(self, *, limits: Limits, **options):
        super().__init__(**options)
        self._limits = limits
        self._body, self._framing = 0, 0  # bytes of the request that is being read: of its body, and around it

    @property
    def _all(self) -> set["Connection"]:
        """All connections of this server, this one among them."""
        return cast(set[Connection], self.connections)

    @property
    def gives_way(self) -> bool:
        """Whether no request is being served here."""
        return self.transport.is_closing() or self.cycle is None or self.cycle.response_complete

    @property
    def unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        _tune(transport.get_extra_info("socket"))
        self._line = _Line(transport, lambda: self.conn.their_state in (h11.SEND_BODY, h11.ERROR))
        super().connection_made(cast(asyncio.Transport, self._line))
        self.address = network_of(self.client)
        self.since = self.loop.time()  # when it began to wait for a request, or to linger
        self._sent, self._flowing = 0, self.since
        self._watching = self.loop.call_later(TICK, self._watch)
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._watching.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if not self.transport.is_closing():
                self._receive(data[start : start + SLICE])

    def _receive(self, data: bytes) -> None:
        cycle, held = self.cycle, len(self.cycle.body) if self.cycle else 0
        super().data_received(data)
        if self.cycle is not cycle or self.conn.their_state is not h11.SEND_BODY:
            self._body, self._framing = 0, 0
            return
        new = len(self.cycle.body) - held
        self._body, self._framing = self._body + new, self._framing + len(data) - new
        if self._framing > SPARE_BYTES + self._body // SPARE_SHARE:
            self._refuse_chunks()

    def _refuse_chunks(self) -> None:
        if self.gives_way:  # answered before its body came
            self.drop()
        else:
            self._turn_away(400, "the request's chunks are too small; send larger ones, or its length")

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._turn_away(400, "the request is not HTTP, or its head is too long")

    def _make_room(self) -> None:
        """Close the connection that waits longest, of this address or of the one with the most, if there are too many;
        if none waits, this one."""
        crowd, limits = self._of(self.address), self._limits
        if len(crowd) > limits.connections_per_client:
            reason = 429, f"more than {limits.connections_per_client} connections at once"
        elif len(self.connections) > limits.connections:
            crowd = self._of(Counter(each.address for each in self._all).most_common(1)[0][0])
            reason = 503, "the server has as many connections as it can; try again in a moment"
        else:
            return
        waiting = [each for each in crowd if each.gives_way and each is not self]
        if waiting:
            min(waiting, key=lambda each: each.since).drop()
        else:
            self._turn_away(*reason)

    def _of(self, address: str) -> list["Connection"]:
        return [each for each in self._all if each.address == address]

    def _watch(self) -> None:
        now = self.loop.time()
        if self._is_stalled(now) or self._is_too_much():
            self.drop()
        elif self.unsent:
            self.since = now
        elif self.transport.is_closing():
            if now > self.since + LINGER_SECONDS:
                self.drop()
        elif self.gives_way and now > self.since + self._limits.head_seconds:
            self._give_up()
        self._watching = self.loop.call_later(TICK, self._watch)

    def _is_stalled(self, now: float) -> bool:
        """Whether the client has read too slowly for a while."""
        sent = self._line.written - self.unsent
        if not self.unsent or sent - self._sent >= self._limits.least_rate * TICK:
            self._flowing = now
        self._sent = sent
        return now > self._flowing + self._limits.stall_seconds

    def _is_too_much(self) -> bool:
        """Whether this connection holds the most of too many bytes."""
        if not self.unsent:
            return False
        unsent = [each.unsent for each in self._all]
        return sum(unsent) > self._limits.unsent_bytes and self.unsent == max(unsent)

    def _give_up(self) -> None:
        begun = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if begun:
            self._turn_away(408, "the request's head came too slowly")
        else:
            self.transport.close()

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _turn_away(self, status: int, detail: str) -> None:
        """Answer out of turn, unless an answer has begun, and close."""
        cycle = self.cycle
        if self.gives_way:
            self.transport.write(self._answer(status, detail))
        else:
            if not cycle.response_started:
                self.transport.write(self._answer(status, detail))
            cycle.disconnected = True
            cycle.message_event.set()
        self.since = self.loop.time()
        self._line.linger()

    def _answer(self, status: int, detail: str) -> bytes:
        content = json.dumps(problem_content(status, detail)).encode()
        headers = {"content-type": "application/problem+json", "content-length": str(len(content))}
        headers |= {"connection": "close", **(RETRY_AFTER if status in (429, 503) else {})}
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode()]
        lines += [b"%s: %s" % header for header in self.server_state.default_headers]
        lines += [f"{name}: {value}".encode() for name, value in headers.items()]
        return b"\r\n".join([*lines, b"", content])


def _tune(connection) -> None:
    """Send an answer's last piece at once (asyncio leaves that to the system here, which waits 40 ms), and leave to the
    system little more than what is under way, so that a client's progress shows."""
    with suppress(OSError):  # some systems refuse where the client has left
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LEFT_TO_THE_SYSTEM)
