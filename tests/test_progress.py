import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

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


def test_a_record_arrives_as_json(server, capsys):
    address, posts = server
    Poster(address).post("/publish/epoch/end/", {"epoch": 3, "val_nme": 4.5})
    assert posts == [("/publish/epoch/end/", "application/json", {"epoch": 3, "val_nme": 4.5})]
    assert capsys.readouterr().err == ""


def test_a_dead_server_costs_one_line(capsys):
    poster = Poster("http://127.0.0.1:9")
    for epoch in range(3):
        poster.post("/publish/epoch/end/", {"epoch": epoch})
    assert capsys.readouterr().err.count("\n") == 1


def test_without_an_address_nothing_is_posted():
    Poster(None).post("/", {})


def test_what_serverlog_means():
    assert server_address("0", OWN) is None
    assert server_address("1", OWN) == OWN
    assert server_address("http://host:1/", OWN) == "http://host:1"
    with pytest.raises(UserError, match="--serverlog host:1: not 0, 1 or an address"):
        server_address("host:1", OWN)
