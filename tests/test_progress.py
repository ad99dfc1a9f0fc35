import importlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.common.progress import Poster, server_address

OWN = "http://127.0.0.1:20000"


@pytest.fixture
def server():
    """A server that keeps (path, content type, record) of what is posted to it."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", posts
        listening.shutdown()
        thread.join()


def test_a_record_arrives_as_json(server, terminal):
    address, posts = server
    Poster(address).post("/publish/epoch/end/", {"epoch": 3, "val_nme": 4.5})
    assert posts == [("/publish/epoch/end/", "application/json", {"epoch": 3, "val_nme": 4.5})]
    assert terminal.readouterr().err == ""


def test_a_dead_server_costs_one_line(terminal):
    poster = Poster("http://127.0.0.1:9")
    for epoch in range(3):
        poster.post("/publish/epoch/end/", {"epoch": epoch})
    assert terminal.readouterr().err.count("\n") == 1


def test_without_an_address_nothing_is_posted():
    Poster(None).post("/", {})


@pytest.fixture
def dripping_server():
    """A server that sends one byte of a header every 0.2 s, for 12 s."""
    stop = threading.Event()

    def drip():
        with listening, listening.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(60):
                if stop.wait(0.2):
                    return
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        stop.set()
        thread.join()


def test_a_server_that_answers_by_the_byte_holds_up_no_run(dripping_server, terminal):
    poster, start = Poster(dripping_server), time.monotonic()
    for epoch in range(8):
        poster.post("/publish/epoch/end/", {"epoch": epoch})
    assert time.monotonic() - start < 6  # 1 s is meant; each post that waits by itself would make 8, an answer 12
    (line,) = terminal.readouterr().err.splitlines()
    assert line == f"warning: {dripping_server} does not take the log (no answer within 1 s); continuing without it"


@pytest.mark.parametrize("record", [{"nme": np.float32(3)}, {"nme": object()}, {"run": "\ud800"}, {1j: 2}])
def test_no_record_ends_a_run(server, terminal, record):
    Poster(server[0]).post("/publish/epoch/end/", record)
    assert terminal.readouterr().err.count("\n") <= 1


def test_an_answer_cannot_break_the_line(monkeypatch, terminal):
    def refuse(*_, **__):
        raise OSError("500 \x1b[31m\nsecond line")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    Poster(OWN).post("/", {})
    assert terminal.readouterr().err.count("\n") == 1


def test_what_serverlog_means():
    assert server_address("0", OWN) is None
    assert server_address("1", OWN) == OWN
    assert server_address("http://host:1/", OWN) == "http://host:1"
    with pytest.raises(UserError, match="`server` host:1: not 0, 1 or an address"):
        server_address("host:1", OWN)


BAD_ADDRESSES = [
    *("http://[::1", "http://", "http://:", "http://host:99999", "http://host:port", "http://host:0", "ftp://host"),
    *(
        "http:host",
        "//host",
        "http://a..b",
        "http://host?x=1",
        "http://host#x",
        "2",
        "-1",
        "http://ho\\st",
        "http://[1:2]",
        "http://u:word[::1]:80/p",
        "http://[::1]80",
    ),
    *("http://a b", "http://host\n", "http://h\x00st", "http://h\xe9st", "", "http://" + "a" * 64),
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_is_checked_before_anything_is_done(address):
    with pytest.raises(UserError, match="`server` .*: not 0, 1 or an address; give one such as") as caught:
        server_address(address, OWN)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("rest", ["host", "host:1/x", "[::1", "host:port", "host?token=secret", ""])
def test_passwords_are_not_printed(rest):
    for take in (lambda address: server_address(address, OWN), Poster):
        with pytest.raises(UserError, match="user names and passwords are not taken") as caught:
            take(f"http://user:secret@{rest}")
        assert "user:" not in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("count", [1000, pytest.param(30_000, marks=pytest.mark.large)])
def test_no_address_whatever_ends_a_run(monkeypatch, terminal, count):
    """Addresses with pieces put in, left out and moved: refused in one line, or posted to without an exception."""

    def refuse(*_, **__):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.delenv("http_proxy", raising=False)
    user, host = ["u", ":", "SECRET", "@"], ["[", "::1", "]", ":", "80", "/", "p"]
    odd = ["\x00", "\n", " ", "\ud800", "\xe9", "%", "#", "?", "\\", "99999", "..", "-1", "\uff0f", "\u2100", "s"]
    taken = 0
    for seed in range(count):
        random = np.random.default_rng(seed)
        whole = ["http", ":", "//", *user[: 4 * random.integers(2)], *host]
        pieces = [piece for piece in whole if random.random() < 0.8 or piece in "http://"]
        for _ in range(random.integers(3)):
            pieces.insert(random.integers(len(pieces) + 1), str(random.choice(odd)))
        refusal = None
        try:
            address = server_address("".join(pieces), OWN)
        except UserError as error:
            refusal = str(error)
        if refusal is None:
            taken += 1
            Poster(address).post("/publish/epoch/end/", {"epoch": seed})
            assert terminal.readouterr().err.count("\n") == 1
        else:
            assert refusal.isprintable()
            assert "SECRET" not in refusal or "@" not in pieces, pieces
    assert count / 100 < taken < count / 2


@pytest.mark.parametrize("script", ["train_model", "evaluate_model"])
def test_scripts_refuse_a_bad_address_first(script):
    arguments = {"train_model": ["--hdf5dir", "nowhere"], "evaluate_model": ["--predictions", "nowhere.npz"]}[script]
    with pytest.raises(UserError, match=r"`server` http://\[::1: not 0, 1 or an address"):
        importlib.import_module(script).main([*arguments, "--serverlog", "http://[::1"])
