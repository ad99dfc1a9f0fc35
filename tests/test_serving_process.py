"""`serve_model.py` as a person starts it."""

import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from skimage.data import astronaut

from prnet.common.errors import UserError
from prnet.common.progress import Poster
from prnet.formats.face_model_file import save_face_model
from prnet.reconstructing.reconstructor import FaceReconstructor
from tests.helpers.serving_process import running, started
from tests.helpers.serving_stand_in import image_file, mean_face_reconstructor

ROOT = Path(__file__).resolve().parents[1]


def test_one_command_serves_and_a_signal_ends_it(sample_model, tmp_path):
    mean_face_reconstructor(sample_model, tmp_path)
    save_face_model(sample_model, tmp_path / "face_model.hdf5")
    files = ["--model", tmp_path / "mean.keras", "--facemodel", tmp_path / "face_model.hdf5"]
    with started(*files, "--detector", "none") as address:
        assert httpx.get(f"{address}/health").json() == {
            "status": "ready",
            "image_size": 128,
            "face_model": True,
            "crops": 0,
            "waiting": 0,
        }
        photo = image_file(np.zeros((80, 80, 3), dtype=np.uint8))
        assert len(httpx.post(f"{address}/v1/reconstructions", files={"photo": photo}).json()["faces"]) == 1
        poster = Poster(address)
        poster.post("/publish/epoch/end/", {"run": "here", "epoch": 1})
        assert not poster.warned
        assert httpx.get(f"{address}/v1/runs").json()["runs"][0]["name"] == "here"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGHUP"])
def test_a_signal_lets_requests_be_answered(sample_model, tmp_path, ending):
    if signal.getsignal(getattr(signal, ending)) == signal.SIG_IGN:
        pytest.skip(f"{ending} is ignored here, as under nohup, and so by servers that are started from here")
    mean_face_reconstructor(sample_model, tmp_path)
    files = ["--model", tmp_path / "mean.keras", "--facemodel", "none.hdf5", "--detector", "none"]
    with running(*files) as (process, address):
        body = b'{"imageMatList": []}' + b" " * 65536  # so much that its rest may take 16 s
        head = f"POST /evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20) as connection:
            connection.sendall(head.encode() + body[:-1])
            httpx.get(f"{address}/health")  # answered after the server has seen the post begin
            process.send_signal(getattr(signal, ending))
            time.sleep(0.3)
            connection.sendall(body[-1:])
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.large
def test_mirrored_serves_the_mean_with_the_mirrored_photo():
    crop = astronaut()[20:180, 145:305]
    with started("--mirrored", "--detector", "none") as address:
        answer = httpx.post(
            f"{address}/v1/reconstructions", files={"photo": image_file(crop, "PNG")}, timeout=60
        ).json()
    served = np.array(answer["faces"][0]["landmarks"])
    once, both = (
        FaceReconstructor(detector="none", mirrored=mirrored).reconstruct(crop)[0].landmarks
        for mirrored in (False, True)
    )
    np.testing.assert_allclose(served, both, atol=0.01)
    assert np.abs(served - once).max() > 0.5


def test_a_taken_port_and_a_missing_model_are_one_line(tmp_path):
    from prnet.commands import serve_model

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UserError, match=rf"127.0.0.1:{port}: cannot listen there: .*; give another"):
            serve_model.main(["--model", "none.keras", "--port", port])
    with pytest.raises(UserError, match="none.keras: no such model file"):
        serve_model.main(["--model", "none.keras", "--port", "0"])


def test_a_face_model_of_another_layout_only_refuses_fits(sample_model, tmp_path):
    from dataclasses import replace

    from prnet.serving.server import _face_model

    reconstructor = mean_face_reconstructor(sample_model, tmp_path)
    other = replace(sample_model, uv=np.float32(sample_model.uv * 0.9))
    save_face_model(other, tmp_path / "other.hdf5")
    model, missing = _face_model(str(tmp_path / "other.hdf5"), reconstructor)
    assert model is None
    assert "UV layout is not the network's" in missing
