"""Input that means harm, or was damaged: each is refused with a 4xx and a reason, soon, and the server lives on."""

import base64
import gzip
import io
import json
import pickle
import re
import socket
import struct
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import httpx
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import savemat

from prnet.common.errors import UserError
from prnet.serving.application import build_application
from prnet.serving.prnet_keras import EvaluationRequest, MatRequest
from prnet.serving.server import Serving, own_names, serve
from tests.helpers.serving_stand_in import image_file, listening

SECONDS, LATEST = 2.0, 10.0
"""Until a refusal: of this process's own time, in which client and server run; and by the clock, which says little on a
busy machine."""


class Stopwatch:
    def __init__(self):
        self.started, self.worked = time.monotonic(), time.process_time()

    def require_soon(self) -> None:
        assert time.process_time() - self.worked < SECONDS
        assert time.monotonic() - self.started < LATEST


PHOTO = image_file(np.full((64, 64, 3), 90, dtype=np.uint8))


def noise(kind: str) -> bytes:
    return image_file(np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8), kind)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the server's temporary files go."""
    path = tmp_path_factory.mktemp("temporary")
    before, tempfile.tempdir = tempfile.tempdir, str(path)
    yield path
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def idle_memory() -> int:
    """Bytes that this process, which the server is in, holds before its first request; its peak counts from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(kind: str) -> int:
    """Bytes of /proc's count of this process: VmRSS, now, or VmHWM, the most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) << 10


@pytest.fixture(scope="module")
def address(sample_model, mean_reconstructor, folder, idle_memory):
    with listening(build_application(mean_reconstructor, face_model=sample_model)) as address:
        yield address


# Images


def png_claiming(width: int, height: int) -> bytes:
    """A whole, tiny PNG whose header claims any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def png_with_text_bomb() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    whole = image_file(np.zeros((8, 8, 3), dtype=np.uint8), "PNG")
    return whole[:33] + chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(80 << 20))) + whole[33:]


def zip_file() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../escape.jpg", bytes(50 << 20))
        return file.getvalue()


def tiff_with_offset_loop() -> bytes:
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIII", 1, 256, 4, 1, 10, 8)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd" width="9" height="9"/></svg>'

IMAGES = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\xff",
    "text": lambda: b"a face, I promise",
    "html": lambda: b"<!doctype html><script>alert(1)</script>",
    "svg that reads a file": lambda: SVG,
    "gif": lambda: image_file(np.zeros((20, 20), dtype=np.uint8), "GIF"),
    "pdf": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    "ico": lambda: image_file(np.zeros((16, 16, 3), dtype=np.uint8), "ICO"),
    "eps that runs a program": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%ls) (w) file\n",
    "numpy pickle": lambda: pickle.dumps(np.zeros(9)),
    "elf": lambda: b"\x7fELF" + bytes(200),
    "random bytes": lambda: np.random.default_rng(1).bytes(5000),
    "jpeg cut short": lambda: noise("JPEG")[:9000],
    "jpeg header only": lambda: noise("JPEG")[:20],
    "jpeg with its middle zeroed and end gone": lambda: noise("JPEG")[:3000] + bytes(3000),
    "png cut short": lambda: noise("PNG")[:9000],
    "png of 30,000 x 30,000": lambda: png_claiming(30_000, 30_000),
    "png of 2^31 x 2^31": lambda: png_claiming(2**31 - 1, 2**31 - 1),
    "png of 8,000 x 8,000": lambda: png_claiming(8000, 8000),
    "png of 7,000 x 7,000 without them": lambda: png_claiming(7000, 7000),
    "png of 0 x 0": lambda: png_claiming(0, 0),
    "png with a text bomb": lambda: png_with_text_bomb(),
    "gzip bomb": lambda: gzip.compress(bytes(30 << 20)),
    "zip bomb": lambda: zip_file(),
    "tiff that loops": lambda: tiff_with_offset_loop(),
    "webp header only": lambda: b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    "bmp of 2^31 lines": lambda: (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
    ),
}


# .mat files


def mat_file(**arrays) -> bytes:
    with io.BytesIO() as file:
        savemat(file, arrays)
        return file.getvalue()


def mat_of_elements(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


def iter_elements(file: bytes):
    """The elements of an uncompressed version 5 file."""
    at = 128
    while at < len(file):
        end = at + 8 + int.from_bytes(file[at + 4 : at + 8], "little")
        yield file[at:end]
        at = end


def nested_cells(depth: int) -> bytes:
    """A variable `vertices` of cells in cells."""
    levels, length = [], 0
    for level in range(depth):
        name = b"vertices" if level == depth - 1 else b""
        header = (
            struct.pack("<IIII", 6, 8, 1, 0)
            + struct.pack("<IIii", 5, 8, 1, 1)
            + struct.pack("<II", 1, len(name))
            + name
        )
        length += len(header)
        levels.append(struct.pack("<II", 14, length) + header)
        length += 8
    return b"".join(reversed(levels))


def mat_version_7_3(tmp: io.BytesIO) -> bytes:
    with h5py.File(tmp, "w") as file:
        file["vertices"] = np.zeros((3, 100))
    return b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + tmp.getvalue()


MESH = {"vertices": np.random.default_rng(3).normal(size=(200, 3)), "kptIdxs": np.arange(68)}
NAN = np.where(np.arange(600).reshape(200, 3) == 7, np.nan, MESH["vertices"])
CLAIM = struct.pack("<IIIIIIiiII", 6, 8, 6, 0, 5, 8, 2**30, 2**30, 1, 8) + b"vertices"
TYPE_100 = mat_file(**MESH).replace(struct.pack("<II", 9, 4800), struct.pack("<II", 100, 4800))  # SciPy crashed on it
FIT = {"Shape_Para": np.zeros(32), "Exp_Para": np.zeros(16), "Pose_Para": np.array([0, 0, 0, 50, 50, 0, 1e-3])}

MESHES = {
    "pickle": lambda: pickle.dumps({"vertices": [1]}),
    "version 7.3": lambda: mat_version_7_3(io.BytesIO()),
    "bare hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(600),
    "text": lambda: b"vertices = [1 2 3]",
    "numbers of type 100": lambda: TYPE_100,
    "100 arrays of 1 MiB": lambda: mat_of_elements(
        *(compressed(next(iter_elements(mat_file(**{f"a{n}": np.zeros(1 << 17)})))) for n in range(100))
    ),
    "header only": lambda: mat_of_elements(),
    "cut short": lambda: mat_file(**MESH)[:900],
    "element longer than the file": lambda: mat_of_elements(struct.pack("<II", 14, 2**32 - 8) + bytes(64)),
    "claims 2^60 numbers": lambda: mat_of_elements(struct.pack("<II", 14, len(CLAIM)) + CLAIM),
    "decompresses to 100 MiB": lambda: mat_of_elements(
        compressed(struct.pack("<II", 14, 100 << 20) + bytes(100 << 20))
    ),
    "100 MiB of zeros, compressed": lambda: mat_of_elements(compressed(bytes(100 << 20))),
    "broken deflate": lambda: mat_of_elements(struct.pack("<II", 15, 40) + bytes(40)),
    "100,000 nested cells": lambda: mat_of_elements(nested_cells(3000), nested_cells(100_000)),
    "nested cells, compressed": lambda: mat_of_elements(compressed(nested_cells(20_000))),
    "strings for numbers": lambda: mat_file(vertices=np.array(["a", "b"]), kptIdxs=np.arange(68)),
    "a struct for numbers": lambda: mat_file(vertices={"a": 1}, kptIdxs=np.arange(68)),
    "complex numbers": lambda: mat_file(vertices=MESH["vertices"] + 1j, kptIdxs=np.arange(68)),
    "NaN": lambda: mat_file(vertices=NAN, kptIdxs=np.arange(68)),
    "infinity": lambda: mat_file(vertices=np.full((200, 3), np.inf), kptIdxs=np.arange(68)),
    "1e200 pixels away": lambda: mat_file(vertices=1e200 * MESH["vertices"], kptIdxs=np.arange(68)),
    "one point": lambda: mat_file(vertices=np.zeros((200, 3)), kptIdxs=np.arange(68)),
    "flat array": lambda: mat_file(vertices=np.zeros(600), kptIdxs=np.arange(68)),
    "three vertices": lambda: mat_file(vertices=np.zeros((3, 3)), kptIdxs=np.arange(68)),
    "a million vertices": lambda: mat_file(vertices=np.zeros((1_000_000, 3), dtype=np.float32), kptIdxs=np.arange(68)),
    "landmarks beyond the mesh": lambda: mat_file(vertices=MESH["vertices"], kptIdxs=np.arange(68) + 150),
    "negative landmarks": lambda: mat_file(vertices=MESH["vertices"], kptIdxs=np.arange(68) - 1),
    "no landmarks": lambda: mat_file(vertices=MESH["vertices"]),
    "neither mesh nor fit": lambda: mat_file(x=1),
    "fit of NaN": lambda: mat_file(**{**FIT, "Pose_Para": np.full(7, np.nan)}),
    "fit without a pose": lambda: mat_file(Shape_Para=FIT["Shape_Para"], Exp_Para=FIT["Exp_Para"]),
    "fit with too many parameters": lambda: mat_file(**{**FIT, "Shape_Para": np.zeros(30_000)}),
    "fit 1e30 pixels away": lambda: mat_file(**{**FIT, "Pose_Para": np.array([0, 0, 0, 1e30, 0, 0, 1])}),
    "fit of parameters of 1e30": lambda: mat_file(**{**FIT, "Shape_Para": np.full(32, 1e30)}),
    "fit of scale 1e-300": lambda: mat_file(**{**FIT, "Pose_Para": np.array([0, 0, 0, 50, 50, 0, 1e-300])}),
    "fit of no size": lambda: mat_file(**{**FIT, "Pose_Para": np.array([0, 0, 0, 50, 50, 0, 1e-12])}),
}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def images_of(*images) -> dict:
    return {"imageMatList": [{"rawImage": text(image), "rawMats": list(mats)} for image, *mats in images]}


def pair(truth: str, prediction: str) -> dict:
    return {"imageMatList": [{"rawImage": "", "rawOrgMats": [truth], "rawPredictMats": [prediction]}]}


GOOD = text(mat_file(**MESH))
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}

REQUESTS = {
    "no body": lambda: ("/predict", {"headers": JSON}),
    "not json": lambda: ("/predict", {"content": b"{", "headers": JSON}),
    "json in no encoding": lambda: ("/predict", {"content": b'{"imageMatList": "\xff\xfe"}', "headers": JSON}),
    "json of 100,000 levels": lambda: ("/predict", {"content": b"[" * 100_000 + b"]" * 100_000, "headers": JSON}),
    "json of 10 million lists": lambda: (
        "/predict",
        {"content": b'{"imageMatList": [' + b"[]," * 10_000_000 + b"[]]}", "headers": JSON},
    ),
    "json of another kind": lambda: ("/predict", {"json": [1, 2]}),
    "numbers for text": lambda: ("/predict", {"json": {"imageMatList": [{"rawImage": 7, "rawMats": [8]}]}}),
    "no images": lambda: ("/predict", {"json": {}}),
    "unknown matType": lambda: ("/predict", {"json": {**images_of((PHOTO,)), "matType": "../../etc/passwd"}}),
    "wrong base64": lambda: ("/predict", {"json": {"imageMatList": [{"rawImage": "%%%", "rawMats": []}]}}),
    "base64 between other characters": lambda: (
        "/predict",
        {"json": {"imageMatList": [{"rawImage": f"{text(PHOTO)[:40]}!*{text(PHOTO)[40:]}", "rawMats": []}]}},
    ),
    "base64 that is not ascii": lambda: ("/predict", {"json": {"imageMatList": [{"rawImage": "é", "rawMats": []}]}}),
    "base64 without its end": lambda: ("/predict", {"json": {"imageMatList": [{"rawImage": "abcde", "rawMats": []}]}}),
    "1,000 images": lambda: ("/predict", {"json": images_of(*[(PHOTO,)] * 1000)}),
    "1,000 fits": lambda: ("/extract", {"json": images_of((PHOTO, *[text(mat_file(**FIT))] * 1000))}),
    "40 pairs": lambda: (
        "/evaluate",
        {"json": {"imageMatList": pair(GOOD, GOOD)["imageMatList"] * 40}},
    ),
    "40 faces in 20 images": lambda: (
        "/predict",
        {"json": images_of(*[(PHOTO, text(mat_file(**FIT)), text(mat_file(**FIT)))] * 20)},
    ),
    "an image as a fit": lambda: ("/extract", {"json": images_of((PHOTO, text(PHOTO)))}),
    "a fit as an image": lambda: ("/extract", {"json": images_of((mat_file(**FIT), text(mat_file(**FIT))))}),
    "pairs that do not pair": lambda: (
        "/evaluate",
        {"json": {"imageMatList": [{"rawImage": "", "rawOrgMats": [GOOD, GOOD], "rawPredictMats": [GOOD]}]}},
    ),
    "meshes of two sizes": lambda: (
        "/evaluate",
        {"json": pair(GOOD, text(mat_file(vertices=np.ones((99, 3)), kptIdxs=np.arange(68))))},
    ),
    "no photo": lambda: ("/v1/reconstructions", {"data": {"box": "1,2,3,4"}}),
    "photo as text": lambda: ("/v1/reconstructions", {"data": {"photo": "face.jpg"}}),
    "multipart without a boundary": lambda: (
        "/v1/reconstructions",
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
    ),
    "multipart cut short": lambda: (
        "/v1/reconstructions",
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nabc',
            "headers": MULTIPART,
        },
    ),
    "2,000 parts": lambda: (
        "/v1/reconstructions",
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2000 + b"--x--",
            "headers": MULTIPART,
        },
    ),
    "a part's header without end": lambda: (
        "/v1/reconstructions",
        {"content": b"--x\r\n" + b"A" * 200_000, "headers": MULTIPART},
    ),
    "unknown format": lambda: ("/v1/reconstructions?format=exe", {"files": {"photo": PHOTO}}),
    "box of words": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": "a,b,c,d"}}),
    "box of NaN": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": "nan,nan,nan,nan"}}),
    "box of infinity": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": "0,0,1e308,1e308"}}),
    "box inside out": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": "50,50,90,-40"}}),
    "box far away": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": "9e9,9e9,50,50"}}),
    "500 boxes": lambda: ("/v1/reconstructions", {"files": {"photo": PHOTO}, "data": {"box": ["1,1,50,50"] * 500}}),
    "landmarks of 100,000 levels": lambda: (
        "/v1/reconstructions",
        {"files": {"photo": PHOTO}, "data": {"landmarks": "[" * 100_000}},
    ),
    "two landmarks": lambda: (
        "/v1/reconstructions",
        {"files": {"photo": PHOTO}, "data": {"landmarks": "[[1,2],[3,4]]"}},
    ),
    "landmarks in one place": lambda: (
        "/v1/reconstructions",
        {"files": {"photo": PHOTO}, "data": {"landmarks": json.dumps([[5, 5]] * 68)}},
    ),
    "33 MiB": lambda: ("/v1/reconstructions", {"files": {"photo": bytes(33 << 20)}}),
    "an event that is no object": lambda: ("/publish/epoch/end/", {"json": [1]}),
    "an event of 100,000 levels": lambda: ("/publish/epoch/end/", {"content": b'{"a":' * 100_000, "headers": JSON}),
    "an event as text": lambda: ("/publish/epoch/end/", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
    "an event of no kind": lambda: ("/publish/epoch/end/", {"content": b"{}"}),
    "an event of 100 kB": lambda: ("/publish/epoch/end/", {"json": {"run": "x" * 100_000}}),
    "a number of 5,000 digits": lambda: (
        "/publish/epoch/end/",
        {"content": b'{"a": 1%s}' % (b"0" * 5000), "headers": JSON},
    ),
    "json as text": lambda: (
        "/evaluate",
        {"content": json.dumps(pair(GOOD, GOOD)).encode(), "headers": {"Content-Type": "text/plain"}},
    ),
    "json of no kind": lambda: ("/evaluate", {"content": json.dumps(pair(GOOD, GOOD)).encode()}),
    "an event without data": lambda: ("/publish/epoch/end/", {"data": {"x": "1"}}),
    "a form of 30 MiB of nothing": lambda: (
        "/v1/reconstructions",
        {"content": b"&" * (30 << 20), "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ),
}


def posting_photo(data: bytes):
    return "/v1/reconstructions", {"files": {"photo": ("a.jpg", data)}}


def predicting(data: bytes):
    return "/predict", {"json": images_of((data,))}


def evaluating(data: bytes):
    return "/evaluate", {"json": pair(GOOD, text(data))}


def extracting(data: bytes):
    return "/extract", {"json": images_of((PHOTO, text(data)))}


def combined(request, files: dict):
    return [(f"{request.__name__}: {name}", lambda made=made: request(made())) for name, made in files.items()]


CASES = [
    *combined(posting_photo, IMAGES),
    *combined(predicting, IMAGES),
    *combined(evaluating, MESHES),
    *combined(extracting, MESHES),
    *REQUESTS.items(),
]
"""Each a name and a function that makes its path and body."""


def refused(answer, watch: Stopwatch) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert detail
    assert "Traceback" not in detail
    watch.require_soon()


@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("made", [pytest.param(made, id=name) for name, made in CASES])
def test_a_request_that_means_harm_is_refused_with_a_reason(address, folder, made):
    path, options = made()
    watch = Stopwatch()
    answer = httpx.post(address + path, timeout=20, **options)
    refused(answer, watch)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("not json", 400, "JSON"),
        ("json of 10 million lists", 413, "values"),
        ("wrong base64", 400, "base64"),
        ("33 MiB", 413, "32 MiB"),
        ("a form of 30 MiB of nothing", 413, "64 KiB"),
        ("1,000 images", 413, "images"),
        ("posting_photo: gif", 415, "JPEG"),
        ("posting_photo: jpeg cut short", 422, "cut short"),
        ("posting_photo: png of 8,000 x 8,000", 413, "megapixels"),
        ("posting_photo: png of 30,000 x 30,000", 413, "megapixels"),
        ("box far away", 422, "box"),
        ("evaluating: version 7.3", 415, "-v7"),
        ("evaluating: text", 415, "MATLAB"),
        ("evaluating: decompresses to 100 MiB", 413, "decompressed"),
        ("evaluating: cut short", 422, "cut short"),
        ("evaluating: 100 arrays of 1 MiB", 413, "decompressed"),
        ("evaluating: numbers of type 100", 422, "no such type"),
        ("evaluating: a struct for numbers", 422, "array of numbers"),
        ("evaluating: NaN", 422, "finite"),
        ("extracting: fit with too many parameters", 422, "parameters"),
    ],
)
def test_status_and_reason_fit_the_harm(address, name, status, word):
    path, options = dict(CASES)[name]()
    answer = httpx.post(address + path, timeout=20, **options)
    assert answer.status_code == status
    assert word in answer.json()["detail"]


@pytest.mark.parametrize("kind", [MatRequest, EvaluationRequest])
def test_of_many_wrong_items_the_first_is_told(kind):
    """To tell all of them holds the server up: it is a second for as many as a request may have."""
    for wrong in (
        [7] * 1000,
        [{"rawImage": "", "rawMats": [7] * 1000, "rawOrgMats": [7] * 1000, "rawPredictMats": []}],
    ):
        with pytest.raises(ValidationError) as refusal:
            kind.model_validate({"imageMatList": wrong})
        assert refusal.value.error_count() == 1


@pytest.mark.parametrize("name", ["../../escape.jpg", "/etc/cron.d/escape", "a\0b.jpg", "C:\\escape.jpg", "x" * 5000])
def test_names_that_are_paths_name_nothing(address, folder, name):
    answer = httpx.post(f"{address}/v1/reconstructions?format=glb", files={"photo": (name, PHOTO)}, timeout=20)
    assert answer.status_code in (200, 400)
    _, _, given = answer.headers.get("content-disposition", "").partition("filename")
    assert not re.search(r"[/\\\0]|\.\.", given), given
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../serving/server.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2fserve_model.py",
        "/static/%00",
        "/v1/reconstructions/..%2f..%2f/faces/0.glb",
        "/v1/reconstructions/x/faces/-1.glb",
        "/v1/reconstructions/x/faces/99999999999999999999.glb",
        "/nothing",
    ],
)
def test_paths_lead_nowhere(address, path):
    watch = Stopwatch()
    answer = httpx.get(address + path)
    refused(answer, watch)


# Pages of other sites


FOREIGN = ["evil.example", "evil.example:20000", "localhost.evil.example", "127.0.0.1.evil.example", "a@127.0.0.1"]
FOREIGN += ["127.0.0.1/", "[::1", "", "é", "1.2.3", "localhost:port", "x" * 3000]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/v1/runs", "/", "/static/faces.js"])
def test_a_name_that_is_made_to_lead_here_reads_nothing(address, host, path):
    watch = Stopwatch()
    answer = httpx.get(address + path, headers={"Host": host.encode()})
    refused(answer, watch)
    assert answer.status_code == 421
    assert "`allowed_hosts`" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:20000", "192.168.0.7", "localhost."]
)
def test_addresses_and_localhost_lead_here(address, host):
    assert httpx.get(f"{address}/v1/runs", headers={"Host": host}).status_code == 200


ORIGINS = [
    "http://evil.example",
    "null",
    "http://127.0.0.1:1",
    "https://localhost",
    "",
    "http://",
    "file://",
    "x" * 3000,
]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("name", ["event", "photo", "json"])
def test_pages_of_other_origins_post_nothing(address, origin, name):
    path, options = {
        "event": ("/publish/epoch/end/", {"data": {"data": "{}"}}),
        "photo": posting_photo(PHOTO),
        "json": predicting(PHOTO),
    }[name]
    watch = Stopwatch()
    answer = httpx.post(address + path, headers={"Origin": origin}, timeout=20, **options)
    refused(answer, watch)
    assert answer.status_code == 403


def test_the_servers_own_pages_post(address):
    path, options = posting_photo(PHOTO)
    answer = httpx.post(address + path, headers={"Origin": address}, timeout=20, **options)
    assert answer.status_code == 200


def test_names_that_were_allowed_lead_here_and_post(mean_reconstructor):
    app = build_application(mean_reconstructor, hosts=["faces.example"])
    proxied = {"Host": "faces.example", "Origin": "https://faces.example"}
    behind = {"Origin": "https://faces.example:8443"}  # a proxy that does not pass the name on
    with listening(app) as address:
        for headers in (proxied, behind):
            answer = httpx.post(f"{address}/publish/epoch/end/", json={}, headers=headers)
            assert answer.status_code == 202, answer.text
        assert httpx.get(address, headers={"Host": "other.example"}).status_code == 421


def test_pages_of_allowed_origins_use_the_server_and_no_others(mean_reconstructor):
    app = build_application(mean_reconstructor, pages=["https://site.example"])
    path, options = posting_photo(PHOTO)
    with listening(app) as address:
        for origin in ("https://site.example", "https://SITE.example"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            answer = httpx.options(address + path, headers=asked)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == origin
            answer = httpx.post(address + path, headers={"Origin": origin}, timeout=20, **options)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert "x-face-count" in answer.headers["access-control-expose-headers"]
        refusal = httpx.post(f"{address}/predict", headers={"Origin": "https://site.example"}, content=b"{")
        assert refusal.headers["access-control-allow-origin"] == "https://site.example"
        for origin in ("http://site.example", "https://site.example:1", "https://site.example.evil", "null"):
            answer = httpx.post(address + path, headers={"Origin": origin}, timeout=20, **options)
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
            preflight = httpx.options(address + path, headers={"Origin": origin})
            assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize("origin", ["site.example", "https://site.example/page", "ftp://a", "*", ""])
def test_what_is_no_origin_is_refused_before_the_server_starts(origin):
    with pytest.raises(UserError, match="no origin"):
        serve(Serving(port=0, allowed_origins=(origin,)))


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", []),
        ("localhost", []),
        ("::1", []),
        ("0.0.0.0", ["0.0.0.0", socket.gethostname(), f"{socket.gethostname()}.local"]),
        ("a.example", ["a.example", socket.gethostname(), f"{socket.gethostname()}.local"]),
    ],
)
def test_the_machines_own_name_leads_here_where_others_reach_it(host, names):
    assert own_names(host) == names


@pytest.mark.parametrize("path", ["/v1/reconstructions", "/publish/epoch/end/"])
@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "utf-7", "rot13", "'punycode'"])
def test_texts_in_odd_charsets_are_refused_at_once(address, path, charset):
    """Punycode takes Python a time that grows with the square of the text."""
    watch, text = Stopwatch(), b"b-" + b"a" * 500_000
    body = b'--xyz\r\nContent-Disposition: form-data; name="box"\r\n\r\n' + text + b"\r\n--xyz--\r\n"
    kind = f"multipart/form-data; boundary=xyz; charset={charset}"
    answer = httpx.post(address + path, content=body, headers={"Content-Type": kind}, timeout=60)
    assert (answer.status_code, answer.json()["detail"]) == (415, "the request's charset is not read here; send UTF-8")
    watch.require_soon()


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "us-ascii", "ISO-8859-1"])
def test_texts_in_plain_charsets_are_read(address, charset):
    body = b'--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n{"epoch": 1}\r\n--xyz--\r\n'
    kind = f"multipart/form-data; boundary=xyz; charset={charset}"
    assert httpx.post(f"{address}/publish/epoch/end/", content=body, headers={"Content-Type": kind}).status_code == 202


def test_a_body_has_one_type(address):
    """Else the gate looks for the marks of one, and the application reads the other."""
    kinds = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    watch = Stopwatch()
    answer = httpx.post(f"{address}/predict", content=b"[" + b"[]," * 1_500_000 + b"[]]", headers=kinds, timeout=60)
    assert answer.status_code == 400
    assert "Content-Type more than once" in answer.json()["detail"]
    watch.require_soon()


@pytest.mark.parametrize("path", ["/", "/runs", "/docs"])
def test_pages_say_who_may_show_them_and_load_what(address, path):
    headers = httpx.get(address + path, headers={"Accept": "text/html"}).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    for directive in ("frame-ancestors", "base-uri", "form-action", "object-src"):
        assert policy[directive] == "'none'"


@pytest.mark.parametrize(
    "path", ["/", "/runs", "/docs", "/health", "/v1/runs", "/openapi.json", "/static/style.css", "/nothing", "/v1/%"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_answer_forbids_guesses_and_tells_no_referrer(address, path, method):
    headers = httpx.request(method, address + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def converse(address: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What the server says to raw bytes."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while received := connection.recv(1 << 16):
                answer += received
                if pause:
                    break
        except ConnectionResetError:
            pass
    return answer


HEAD = b"POST /v1/reconstructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
LONG = HEAD + b"Content-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "pieces", "pause"),
    [
        pytest.param(408, [LONG % 1000, *[b"a"] * 14], 0.1, id="one byte at a time"),
        pytest.param(408, [LONG % 1000], 0.0, id="a body that never comes"),
        pytest.param(413, [LONG % (200 << 20), *[bytes(1 << 20)] * 200], 0.0, id="200 MiB, announced"),
        pytest.param(
            413,
            [
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
                *[b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * 200,
                b"0\r\n\r\n",
            ],
            0.0,
            id="200 MiB in chunks",
        ),
        pytest.param(400, [b"NONSENSE\r\n\r\n"], 0.0, id="not http"),
        pytest.param(400, [HEAD + b"Content-Length: -5\r\n\r\n"], 0.0, id="negative length"),
        pytest.param(
            400, [b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * (1 << 20) + b"\r\n\r\n"], 0.0, id="1 MiB header"
        ),
    ],
)
def test_bytes_on_the_wire(address, status, pieces, pause):
    watch = Stopwatch()
    answer = converse(address, *pieces, pause=pause)
    watch.require_soon()
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:200]
    assert answer.partition(b"\r\n\r\n")[2]


def test_afterwards_the_server_lives_and_its_memory_is_bounded(address, idle_memory):
    answer = httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, timeout=20)
    assert answer.status_code == 200
    assert memory("VmHWM") < idle_memory + (2 << 30)
