"""The gate in front of the application: a request is accepted completely or refused, and dropped with its client.

A body is read into memory before the application sees it, within limits of size, time and rate, so that nothing
behind the gate waits for a client.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping

from python_multipart.multipart import parse_options_header

from prnet.serving.limits import Limits
from prnet.serving.origins import Origins, network_of
from prnet.serving.problems import PROBLEM_TYPE, RETRY_AFTER, Problem, problem_content

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Accept, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""What pages of allowed origins may ask for."""

CHARSETS = ("", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1")
"""What the texts of a form may be in. It is the client who names it, and some of Python's take quadratic time."""

COSTLY = "/v1/reconstructions/"
"""Below it each GET is work too, as a POST is: files are made when they are asked for."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app, limits: Limits, origins: Origins):
        self.app, self.limits, self.origins = app, limits, origins
        self.taken: Counter[str] = Counter()  # requests that are work and being served, by `network_of` their client
        self.buffered = 0  # bytes of bodies in memory

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
        if self.origins.allows(origin):
            send = _shared_with(origin, send)
        try:
            self._require_origin(scope)
            _require_plain_type(scope)
            if scope["method"] == "OPTIONS" and self.origins.allows(origin):
                await _answer(send, 204, PREFLIGHT, b"")
            elif scope["method"] in ("GET", "HEAD") and not scope["path"].startswith(COSTLY):
                await self.app(scope, receive, send)
            else:
                await self._take(scope, receive, send)
        except _ClientLeft:
            return
        except Problem as problem:
            await _refuse(send, problem)

    def _require_origin(self, scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if host is not None and not self.origins.serves(host):
            raise Problem(421, f"this server is not {host[:100]!r}; add it to its `allowed_hosts` if it should be")
        if (
            origin is not None
            and scope["method"] not in ("GET", "HEAD")
            and not self.origins.may_post(origin, host or "")
        ):
            raise Problem(403, f"pages of {origin[:100]!r} may not post here; see `allowed_origins`")

    async def _take(self, scope, receive, send) -> None:
        client = network_of(scope.get("client"))
        self._admit(client)
        body = bytearray()
        self.taken[client] += 1
        try:
            await self._read(scope, receive, body)
            self._require_quick_reading(scope, body)
            await self._serve(scope, receive, send, bytes(body))
        finally:
            self.buffered -= len(body)
            self.taken[client] -= 1
            self.taken += Counter()

    def _admit(self, client: str) -> None:
        if self.taken.total() >= self.limits.requests:
            raise Problem(503, "the server is busy; try again in a moment", RETRY_AFTER)
        if self.taken[client] >= self.limits.requests_per_client:
            raise Problem(429, f"more than {self.limits.requests_per_client} requests at once", RETRY_AFTER)

    def _require_quick_reading(self, scope, body: bytearray) -> None:
        """Each of JSON's values takes up to 100 bytes once it is read; files in base64 hold none of these marks. Forms
        in one line, which only events come as, are read by the byte."""
        kind = dict(scope["headers"]).get(b"content-type", b"").lower()
        if b"json" in kind and sum(map(body.count, (b"[", b"{", b","))) > self.limits.json_values:
            raise Problem(413, f"the request has more than {self.limits.json_values:,} values in its JSON")
        if b"urlencoded" in kind and len(body) > self.limits.event_bytes:
            raise Problem(413, f"the form has more than {self.limits.event_bytes >> 10} KiB; send it as multipart")

    async def _read(self, scope, receive, body: bytearray) -> None:
        limits, start = self.limits, time.monotonic()
        too_large = Problem(413, f"the request has more than {limits.body_bytes >> 20} MiB; send a smaller file")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limits.body_bytes:
            raise too_large
        more = True
        while more:
            allowed = max(limits.grace_seconds, len(body) / limits.least_rate)
            remaining = start + min(allowed, limits.body_seconds) - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(remaining, 0))
            except TimeoutError:
                raise Problem(408, "the request's body came too slowly") from None
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            body += message["body"]
            self.buffered += len(message["body"])
            if len(body) > limits.body_bytes:
                raise too_large
            if self.buffered > limits.buffered_bytes:
                raise Problem(503, "the server holds as many uploads as it can; try again in a moment", RETRY_AFTER)
            more = message.get("more_body", False)

    async def _serve(self, scope, receive, send, body: bytes) -> None:
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        left = asyncio.Event()

        async def replay():
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        serving = asyncio.ensure_future(self.app(scope, replay, send))
        watching = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                serving.cancel()
                raise _ClientLeft
            await serving
        finally:
            left.set()
            watching.cancel()
            serving.cancel()


class _ClientLeft(Exception):
    """The connection closed before the answer."""


def _shared_with(origin: str, send):
    """What lets a browser hand an answer to the page of another origin (Fetch standard, CORS protocol)."""
    shared = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"content-disposition, retry-after, x-face-count"),
        (b"vary", b"Origin"),
    ]

    async def share(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *shared]}
        await send(message)

    return share


def _require_plain_type(scope) -> None:
    """Raise `Problem` where a body's type is said twice, so that its readers may differ, or its texts are in a charset
    that is not read."""
    said = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(said) > 1:
        raise Problem(400, "the request says Content-Type more than once")
    charset = parse_options_header(said[0])[1].get(b"charset", b"") if said else b""
    if charset.decode("latin-1").strip().lower() not in CHARSETS:
        raise Problem(415, "the request's charset is not read here; send UTF-8")


async def _refuse(send, problem: Problem) -> None:
    content = json.dumps(problem_content(problem.status, problem.detail)).encode()
    headers = {"Content-Type": PROBLEM_TYPE, "Connection": "close", **(problem.headers or {})}
    await _answer(send, problem.status, headers, content)


async def _answer(send, status: int, headers: Mapping[str, str], content: bytes) -> None:
    everything = {**headers, "Content-Length": str(len(content))} if content else headers
    encoded = [(name.lower().encode(), value.encode()) for name, value in everything.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
