"""Connections that say nothing, little or too much, and the client that is served beside them."""

import resource
import socket
import struct
import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress

import httpx
import numpy as np
import pytest

from prnet.serving.application import build_application
from prnet.serving.limits import Limits
from prnet.serving.origins import network_of
from tests.helpers.serving_stand_in import image_file, listening

MANY = 600
PHOTO = image_file(np.full((64, 64, 3), 90, dtype=np.uint8))
HEAD = b"POST /v1/reconstructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
PROMISED = HEAD + b"Content-Length: 1000\r\n\r\n--x\r\n"


@pytest.fixture(scope="module", autouse=True)
def _enough_descriptors():
    """Both ends of all connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * MANY), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(address: str, source: str = "127.0.0.1") -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))


@contextmanager
def crowd(address: str, said: bytes, count: int = MANY):
    """Connections that say something and then nothing."""
    with ExitStack() as open_ones:
        connections = [open_ones.enter_context(connect(address)) for _ in range(count)]
        for connection in connections:
            try_to_send(connection, said)
        yield connections


def try_to_send(connection: socket.socket, said: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(said)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    answer = b""
    try:
        while piece := connection.recv(1 << 16):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize(
    ("said", "source"),
    [
        pytest.param(b"", "127.0.0.1", id="idle"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: loc", "127.0.0.1", id="half a head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "127.0.0.1", id="answered and kept"),
        pytest.param(PROMISED, "127.0.0.2", id="half a body, from another address"),
    ],
)
def test_600_connections_do_not_keep_others_out(mean_reconstructor, said, source):
    app = build_application(mean_reconstructor)
    with listening(app) as address:
        transport = httpx.HTTPTransport(local_address=source)
        with crowd(address, said) as connections, httpx.Client(transport=transport, timeout=10) as client:
            if said.endswith(b"\r\n\r\n"):
                connections[-1].recv(1 << 16)  # by then all are answered, and only kept
            start = time.monotonic()
            for _ in range(10):
                assert client.get(f"{address}/health").status_code == 200
                answer = client.post(f"{address}/v1/reconstructions", files={"photo": PHOTO})
                assert answer.status_code == 200, answer.text
            assert time.monotonic() - start < 20


def test_a_crowd_that_comes_again_and_again_keeps_nobody_out(mean_reconstructor):
    over = threading.Event()

    def attack(address):
        connections = deque()
        while not over.is_set():
            connections.append(connect(address))
            time.sleep(0.002)
            if len(connections) > MANY:
                connections.popleft().close()
        for connection in connections:
            connection.close()

    with listening(build_application(mean_reconstructor)) as address:
        attackers = [threading.Thread(target=attack, args=(address,)) for _ in range(2)]
        for attacker in attackers:
            attacker.start()
        try:
            time.sleep(0.5)
            with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"), timeout=10) as client:
                for _ in range(8):
                    assert client.get(f"{address}/health", headers={"Connection": "close"}).status_code == 200
        finally:
            over.set()
            for attacker in attackers:
                attacker.join()


@pytest.fixture(scope="module")
def hasty(mean_reconstructor):
    """The address of a server that waits for half a second."""
    limits = Limits(head_seconds=0.5)
    with listening(build_application(mean_reconstructor, limits=limits), limits) as address:
        yield address


@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: local", 408, id="half a head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, id="nothing more"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET", 408, id="half of a second head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1", 200, id="half a body"),
    ],
)
def test_who_says_nothing_more_is_left_soon(hasty, said, status):
    start = time.monotonic()
    with connect(hasty) as connection:
        connection.sendall(said)
        answer = received(connection)
    assert 0.4 < time.monotonic() - start < 10
    assert answer.rpartition(b"HTTP/1.1 ")[2][:3] == (b"%d" % status if status else b"")


def test_a_head_that_comes_byte_by_byte_has_a_deadline(hasty):
    start = time.monotonic()
    with connect(hasty) as connection:
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 1000:
            try_to_send(connection, bytes([byte]))
            time.sleep(0.02)
            if time.monotonic() - start > 3:
                break
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"too slowly" in answer


def test_an_address_with_all_its_connections_in_use_is_told_so(mean_reconstructor, monkeypatch):
    began, go = threading.Event(), threading.Event()
    predict = mean_reconstructor.predict_faces

    def held(crops):
        began.set()
        assert go.wait(60)
        return predict(crops)

    monkeypatch.setattr(mean_reconstructor, "predict_faces", held)
    limits = Limits(connections_per_client=3)
    with listening(build_application(mean_reconstructor, limits=limits), limits) as address:
        answers = []
        post = lambda: answers.append(httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, timeout=60))  # noqa: E731
        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert began.wait(20)
        deadline = time.monotonic() + 20
        while (refused := httpx.get(f"{address}/health")).status_code == 200:
            assert time.monotonic() < deadline
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert "3 connections" in refused.json()["detail"]
        go.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        assert httpx.get(f"{address}/health").status_code == 200


async def large_answers(scope, receive, send):
    """32 MiB to whoever asks: more than the system takes over from the server."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (32 << 20))]})
    pieces = 1 if scope["path"] == "/whole" else 64
    for number in range(pieces):
        piece = bytes((32 << 20) // pieces)
        await send({"type": "http.response.body", "body": piece, "more_body": number < pieces - 1})


@pytest.mark.parametrize("path", ["whole", pytest.param("pieces", marks=pytest.mark.large)])
def test_who_does_not_read_is_left_and_who_reads_slowly_is_not(path):
    limits = Limits(stall_seconds=3.0)
    with listening(large_answers, limits) as address, connect(address) as idle, connect(address) as slow:
        for connection in (idle, slow):
            connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        slowly = 0
        for _ in range(60):
            slowly += len(slow.recv(1 << 16))
            time.sleep(0.1)
        assert len(received(idle)) < 32 << 20
        assert slowly + len(received(slow)) > 32 << 20


def test_answers_that_nobody_reads_are_bounded_together():
    limits, over = Limits(unsent_bytes=100 << 20), []

    async def answers(scope, receive, send):
        await large_answers(scope, receive, send)
        over.append(scope["type"])  # of a request: once its answer is read, or dropped

    with listening(answers, limits) as address, ExitStack() as stack:
        connections = [stack.enter_context(connect(address)) for _ in range(6)]
        for connection in connections:
            connection.sendall(b"GET /whole HTTP/1.1\r\nHost: localhost\r\n\r\nGET")
        deadline = time.monotonic() + 20
        while over.count("http") < 2:
            assert time.monotonic() < deadline, "none is dropped"
            time.sleep(0.05)
        sizes = [len(received_for(connection, 32 << 20)) for connection in connections]
    assert 2 <= sum(size > 32 << 20 for size in sizes) <= 4, sizes


def received_for(connection: socket.socket, size: int) -> bytes:
    """What comes until the other side closes, or at least that much."""
    answer = b""
    try:
        while len(answer) <= size and (piece := connection.recv(1 << 20)):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ", 400, id="a head without end"),
        pytest.param(HEAD + b"Content-Length: 99999999999\r\n\r\n", 413, id="a body that is too large"),
        pytest.param(
            HEAD.replace(b"localhost", b"elsewhere") + b"Content-Length: 9999999\r\n\r\n", 421, id="misdirected"
        ),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, id="no chunk"),
    ],
)
def test_who_goes_on_sending_still_gets_the_whole_answer(hasty, head, status):
    """To close on unread input resets the connection, and the answer may be lost with it."""
    for _ in range(20):
        with connect(hasty) as connection:
            connection.sendall(head)
            try_to_send(connection, b"b" * (8 << 20))
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:300]
        assert answer.endswith(b"}")


@pytest.mark.parametrize("answered", [False, True])
def test_bodies_in_tiny_chunks_are_refused_soon(mean_reconstructor, answered):
    """Each chunk takes h11 as long as a large one: a million were 6 s in which nobody else was served."""
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" if answered else HEAD
    with listening(build_application(mean_reconstructor)) as address, connect(address) as connection:
        start = time.process_time()
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        if answered:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        try_to_send(connection, b"1\r\nx\r\n" * 1_000_000)
        answer = received(connection)
        assert time.process_time() - start < 1.5
    assert answered or (answer.startswith(b"HTTP/1.1 400") and b"chunks are too small" in answer), answer[:300]


@pytest.mark.parametrize("length", [100, 1 << 16])
def test_bodies_in_chunks_of_some_size_are_read(hasty, length):
    pieces = (bytes(length) for _ in range((4 << 20) // length))
    answer = httpx.post(
        f"{hasty}/v1/reconstructions", content=pieces, headers={"Content-Type": "image/png"}, timeout=60
    )
    assert answer.status_code == 422, answer.text  # the whole body was read, and is no form


@pytest.mark.parametrize("said", [b"NONSENSE\r\n\r\n", PROMISED, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_clients_that_vanish_leave_no_complaint(hasty, caplog, said):
    for _ in range(50):
        with connect(hasty) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
            connection.sendall(said)
    time.sleep(0.3)
    assert httpx.get(f"{hasty}/health").status_code == 200
    assert [record.message for record in caplog.records if record.name in ("asyncio", "uvicorn.error")] == []


def test_refused_requests_take_no_place_of_others(mean_reconstructor):
    """They did while their bodies were drained: 64 of one address kept everybody out."""
    limits = Limits(requests=4, requests_per_client=2)
    with listening(build_application(mean_reconstructor, limits=limits)) as address:
        too_large = HEAD + b"Content-Length: 99999999999\r\n\r\n"
        with crowd(address, too_large, count=20):
            answer = httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, timeout=10)
    assert answer.status_code == 200


def test_networks_are_counted_as_one():
    assert network_of(("2001:db8::1", 1)) == network_of(("2001:db8::ffff:2", 1)) != network_of(("2001:db8:1::1", 1))
    assert network_of(("::ffff:10.0.0.1", 1)) == network_of(("10.0.0.1", 9)) != network_of(("10.0.0.2", 9))
