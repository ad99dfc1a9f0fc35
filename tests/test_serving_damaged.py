"""Seeded streams of damaged files and bodies to every endpoint that takes a file, and of strange events: each is
answered or refused with a reason, and `serve_model.py` lives on."""

import base64
import encodings.aliases
import json
import threading

import httpx
import numpy as np
import pytest
from skimage.data import astronaut

from prnet.formats.face_model_file import save_face_model
from tests.helpers.damaged_files import damage
from tests.helpers.photo_files import chunk, jpeg_in_scans, png, run_length_bmp, tiff
from tests.helpers.serving_process import started
from tests.helpers.serving_stand_in import image_file, mean_face_reconstructor
from tests.helpers.small_faces import mat_bytes

CLIENTS = 4
MAX_SECONDS = 10.0
"""Until an answer, on a busy machine."""

FACE = astronaut()[0:224:4, 110:334:4]
PHOTOS = [image_file(FACE, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]
PHOTOS += [
    image_file(FACE, "JPEG", progressive=True),
    image_file(np.dstack([FACE, FACE[..., 0]]), "WEBP", lossless=True),
    image_file(np.dstack([FACE, FACE[..., 0]]), "PNG"),
    image_file(FACE[..., 0].astype(np.uint16) * 257, "PNG"),
    image_file(FACE, "TIFF", compression="jpeg"),
    image_file(FACE, "TIFF", compression="tiff_lzw"),
    jpeg_in_scans(400, 400, 60),
    png(*[chunk(b"tEXt", b"a\0b")] * 50),
    tiff(500),
    run_length_bmp(40, 40),
]


@pytest.fixture(scope="module")
def fits(sample_model) -> list[bytes]:
    fields = {
        "Shape_Para": np.zeros((sample_model.shape_basis.shape[2], 1)),
        "Exp_Para": np.zeros((sample_model.expression_basis.shape[2], 1)),
        "Pose_Para": np.array([[0, 0, 0, 28.0, 28.0, 0, 30 / np.ptp(sample_model.mean[:, 1])]]),
    }
    return [mat_bytes(fields), mat_bytes(fields, do_compression=True), mat_bytes(fields, format="4")]


@pytest.fixture(scope="module")
def meshes() -> list[bytes]:
    fields = {"vertices": np.random.default_rng(3).normal(size=(200, 3)), "kptIdxs": np.arange(68)}
    small = {"vertices": np.float32(fields["vertices"]), "kptIdxs": np.arange(68, dtype=np.uint8)}
    return [mat_bytes(fields), mat_bytes(fields, do_compression=True), mat_bytes(small), mat_bytes(fields, format="4")]


@pytest.fixture(scope="module")
def address(sample_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    mean_face_reconstructor(sample_model, folder)
    save_face_model(sample_model, folder / "face_model.hdf5")
    files = ["--model", folder / "mean.keras", "--facemodel", folder / "face_model.hdf5"]
    with started(*files, "--detector", "none") as address:
        yield address


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pick(random: np.random.Generator, files: list[bytes], damaged: bool) -> bytes:
    file = files[random.integers(len(files))]
    return damage(file, random) if damaged else file


def posted_photo(random, fits, meshes) -> httpx.Request:
    photo = pick(random, PHOTOS, damaged=True)
    return httpx.Request("POST", "http://x/v1/reconstructions", files={"photo": ("a.jpg", photo)})


def predicted(random, fits, meshes) -> httpx.Request:
    of_photo = random.random() < 0.6
    image = {"rawImage": text(pick(random, PHOTOS, of_photo)), "rawMats": [text(pick(random, fits, not of_photo))]}
    return httpx.Request("POST", "http://x/predict", json={"imageMatList": [image]})


def extracted(random, fits, meshes) -> httpx.Request:
    request = predicted(random, fits, meshes)
    return httpx.Request("POST", "http://x/extract", headers=request.headers, content=request.read())


def evaluated(random, fits, meshes) -> httpx.Request:
    files = [text(pick(random, meshes + fits[:1], True)), text(pick(random, meshes, random.random() < 0.3))]
    images = [{"rawImage": "", "rawOrgMats": files[:1], "rawPredictMats": files[1:]}]
    return httpx.Request("POST", "http://x/evaluate", json={"imageMatList": images})


STRANGE = ["\ud800", "__proto__", "constructor", "", "x" * 500, 10**400, -(10**4000), float("nan"), float("inf"), 1e308]
STRANGE += [5e-324, -5e-324, None, True, [], {}, ["\udfff"], {"\ud800": 1}, 0, -1, 3.5]


def reported(random, fits, meshes) -> httpx.Request:
    def some(*kinds):
        found = [value for value in STRANGE if isinstance(value, kinds)]
        return found[random.integers(len(found))]

    event = {some(str): some(object) for _ in range(random.integers(5))}
    event |= {key: some(object) for key in ("run", "stage", "done", "total", "epoch") if random.random() < 0.5}
    headers = {"Content-Type": "application/json"}
    return httpx.Request("POST", "http://x/publish/epoch/end/", content=json.dumps(event), headers=headers)


CHARSETS = sorted(set(encodings.aliases.aliases.values()))
"""All that Python knows."""


def in_some_charset(random, fits, meshes) -> httpx.Request:
    path = ("publish/epoch/end/", "v1/reconstructions")[random.integers(2)]
    head = b'--xyz\r\nContent-Disposition: form-data; name="' + random.bytes(3).hex().encode() + b'"\r\n\r\nb-'
    body = head + random.bytes(random.integers(1, 50)) + b"a" * random.integers(20_000) + b"\r\n--xyz--\r\n"
    kind = f"multipart/form-data; boundary=xyz; charset={CHARSETS[random.integers(len(CHARSETS))]}"
    return httpx.Request("POST", f"http://x/{path}", headers={"Content-Type": kind}, content=body)


def damaged_body(request: httpx.Request, random) -> httpx.Request:
    """One in ten has its body damaged as a whole, and so its JSON or its parts."""
    if random.random() > 0.1:
        return request
    headers = {"Content-Type": request.headers["content-type"]}
    return httpx.Request("POST", request.url, headers=headers, content=damage(request.read(), random))


def send(client: httpx.Client, address: str, request: httpx.Request) -> str | None:
    """What is wrong with the answer, or None."""
    headers = {"Content-Type": request.headers["content-type"]}
    try:
        answer = client.post(f"{address}{request.url.path}", content=request.read(), headers=headers)
    except httpx.HTTPError as error:
        return f"no answer: {error!r}"
    if answer.status_code == 202:
        shown = client.get(f"{address}/v1/runs")
        return None if shown.status_code == 200 and shown.json()["runs"] else f"runs: {shown.text[:200]}"
    if answer.status_code == 200:
        return None
    if not 400 <= answer.status_code < 500:
        return f"{answer.status_code} {answer.text[:200]}"
    detail = answer.json()["detail"]
    return None if detail.isprintable() and len(detail) < 400 else f"unhelpful: {detail!r}"


@pytest.mark.parametrize("make", [posted_photo, predicted, extracted, evaluated, reported, in_some_charset])
@pytest.mark.parametrize("count", [pytest.param(100, id="quick"), pytest.param(20_000, marks=pytest.mark.large)])
def test_damaged_files_end_in_an_answer(address, fits, meshes, make, count):
    problems = []

    def client(first):
        with httpx.Client(timeout=MAX_SECONDS) as client:
            for number in range(first, count, CLIENTS):
                random = np.random.default_rng([count, number])
                request = damaged_body(make(random, fits, meshes), random)
                problem = send(client, address, request)
                if problem:
                    problems.append((number, problem))

    threads = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems[:10] == []
    assert httpx.get(f"{address}/health").json()["waiting"] == 0
