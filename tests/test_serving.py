"""Both APIs over a real socket, around a network whose answer is known."""

import asyncio
import base64
import io
import json
import os
import threading
import tracemalloc
import zipfile
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.io import loadmat, savemat

from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE
from prnet.geometry.crop import crop_transform, invert_transform, landmark_box, transform_points
from prnet.geometry.face_model import face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.uv_layout import resample_map, sample_landmarks
from prnet.reconstructing.detection import box_of_rectangle
from prnet.serving.application import build_application
from prnet.serving.limits import Limits
from tests.helpers.serving_stand_in import SIZE, image_file, listening

HEIGHT, WIDTH = 240, 320
RECTANGLE = (90.0, 50.0, 100.0, 110.0)
BOX = ",".join(map(str, RECTANGLE))
ANOTHER_BATCH = 0.01
"""How far two answers for one photo may differ, in pixels or as a share of white: a busy server puts their faces into
other batches, which changes the last bits, and so now and then a colour by a step."""


@pytest.fixture(scope="module")
def client(mean_reconstructor, sample_model):
    app = build_application(
        mean_reconstructor, face_model=sample_model, limits=Limits(kept_results=3, body_bytes=4 << 20)
    )
    with listening(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    random = np.random.default_rng(0)
    return image_file(random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), "PNG")


@pytest.fixture(scope="module")
def fit(sample_model) -> bytes:
    """The mean face, looking at the camera, in the photo."""
    scale = 120 / np.ptp(sample_model.mean[:, 1])
    with io.BytesIO() as file:
        savemat(
            file,
            {
                "Shape_Para": np.zeros((sample_model.shape_basis.shape[2], 1)),
                "Exp_Para": np.zeros((sample_model.expression_basis.shape[2], 1)),
                "Pose_Para": np.array([[0, 0, 0, 150.0, 130.0, 0, scale]]),
            },
        )
        return file.getvalue()


def post_photo(client, photo, **options):
    return client.post("/v1/reconstructions", files={"photo": ("face.png", photo)}, **options)


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read_mesh(text: str) -> dict:
    return loadmat(io.BytesIO(base64.b64decode(text)))


# The modern API


def test_landmarks_are_the_networks_in_pixels_of_the_photo(client, photo, mean_reconstructor):
    answer = post_photo(client, photo, data={"box": BOX})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["image"] == {"width": WIDTH, "height": HEIGHT}
    to_crop = crop_transform(box_of_rectangle(*RECTANGLE), SIZE)
    layout = mean_reconstructor.layout
    in_crop = sample_landmarks(resample_map(layout.canonical_map, SIZE), layout) * (SIZE - 1) / (MAP_SIZE - 1)
    expected = transform_points(invert_transform(to_crop), in_crop.astype(np.float64))
    face = body["faces"][0]
    np.testing.assert_allclose(np.array(face["landmarks"]), expected, atol=0.01)
    assert abs(face["pose"]["yaw"]) < 0.1
    assert np.array(face["pose"]["matrix"]).shape == (3, 4)
    assert face["crop"]["side"] == pytest.approx(1.5 * box_of_rectangle(*RECTANGLE).side, abs=0.01)


def test_every_format_by_query_by_accept_and_by_link(client, photo, mean_reconstructor):
    vertices = np.count_nonzero(mean_reconstructor.grid.mask)
    links = post_photo(client, photo, data={"box": BOX}).json()["faces"][0]["links"]
    for media_type, form in [
        ("model/gltf-binary", "glb"),
        ("application/x-ply", "ply"),
        ("model/obj", "obj"),
        ("application/x-matlab-data", "mat"),
    ]:
        answers = [
            post_photo(client, photo, data={"box": BOX}, params={"format": form}),
            post_photo(client, photo, data={"box": BOX}, headers={"Accept": f"text/plain, {media_type};q=0.9"}),
            client.get(links[form]),
        ]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            assert "attachment" in answer.headers["content-disposition"]
        content = answers[-1].content
        if form == "mat":
            assert loadmat(io.BytesIO(content))["vertices"].shape == (vertices, 3)
        elif form == "obj":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert sorted(archive.namelist()) == [
                    "face_face1.mtl",
                    "face_face1.obj",
                    "face_face1_texture.png",
                ]
        else:
            mesh = trimesh.load(io.BytesIO(content), file_type=form, force="mesh", process=False)
            assert len(mesh.vertices) == vertices
    assert client.get(links["json"]).json()["links"] == links


def test_pictures_and_an_archive_are_named_after_the_photo(client, photo):
    answer = client.post("/v1/reconstructions", files={"photo": ("Ä b/../né?.tar.png", photo)}, data={"box": [BOX] * 2})
    body = answer.json()
    for form in ("sheet", "texture"):
        answer = client.get(body["faces"][1]["links"][form])
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content), formats=["PNG"]).width >= 256
        assert f"filename*=UTF-8''n%C3%A9_.tar_face2_{form}.png" in answer.headers["content-disposition"]
    texture = answer.content
    assert Image.open(io.BytesIO(texture), formats=["PNG"]).size == (1024, 1024)
    answer = client.get(body["links"]["zip"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert archive.read("né_.tar_face2_texture.png") == texture
        assert len(set(names)) == len(names)
        glb = trimesh.load(io.BytesIO(archive.read("né_.tar_face1.glb")), file_type="glb", force="mesh", process=False)
    assert len(glb.vertices) > 1000
    for number in (1, 2):
        for end in (".glb", ".obj", ".mtl", "_texture.png", ".ply", "_sheet.png"):
            assert f"né_.tar_face{number}{end}" in names
    assert client.get("/v1/reconstructions/nothing.zip").status_code == 404


def test_a_face_is_chosen_by_its_number_and_the_header_counts_them(client, photo):
    boxes = {"box": [BOX, "10,20,60,70"]}
    faces = post_photo(client, photo, data=boxes).json()["faces"]
    for number, face in enumerate(faces):
        answer = post_photo(client, photo, data=boxes, params={"format": "ply", "face": number})
        assert answer.headers["x-face-count"] == "2"
        chosen, linked = (
            trimesh.load(io.BytesIO(content), file_type="ply", process=False).vertices
            for content in (answer.content, client.get(face["links"]["ply"]).content)
        )
        np.testing.assert_allclose(chosen, linked, atol=ANOTHER_BATCH)
    for number in (2, -1):
        answer = post_photo(client, photo, data=boxes, params={"format": "ply", "face": number})
        assert answer.status_code == 422
        assert "has 2" in answer.json()["detail"]


def test_the_description_says_problems_as_they_are_sent_and_has_examples(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["x-examples"]["curl"].startswith("curl"), (method, path)
            for status, answer in operation["responses"].items():
                if status.startswith("4"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    sent = client.post("/v1/reconstructions", files={"photo": ("a.png", b"")})
    assert str(sent.status_code) in paths["/v1/reconstructions"]["post"]["responses"]
    assert sent.headers["content-type"] == "application/problem+json"


def test_a_sharp_face_is_trusted_more_than_a_blurred_one_and_one_at_the_edge(client):
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    flat = np.full_like(noise, 128)

    def face(image, box):
        (found,) = post_photo(client, image_file(image, "PNG"), data={"box": box}).json()["faces"]
        return found

    sharp, blurred, cut = face(noise, BOX), face(flat, BOX), face(noise, "-60,50,100,110")
    assert sharp["confidence"] > 0.8
    assert sharp["doubts"] == []
    assert blurred["confidence"] == 0
    assert "blurred" in blurred["doubts"][0]
    assert cut["confidence"] < 0.7
    assert "outside" in " ".join(cut["doubts"])


def test_runs_outlive_a_restart(mean_reconstructor, tmp_path):
    path = tmp_path / "state" / "runs.json"
    event = {"run": "mine", "stage": "training", "done": 1, "total": 4, "loss": 0.5, "bad": float("nan")}
    answers = []
    for number in (1, 2):
        with listening(build_application(mean_reconstructor, runs=str(path))) as address:
            httpx.post(
                f"{address}/publish/epoch/end/",
                content=json.dumps({**event, "done": number}),
                headers={"Content-Type": "application/json"},
            )
            answers.append(httpx.get(f"{address}/v1/runs").json()["runs"])
    assert [len(runs[0]["points"]) for runs in answers] == [1, 2]
    assert answers[1][0]["points"][0] == answers[0][0]["points"][0]


def test_runs_that_could_not_be_written_are_written_later(tmp_path, caplog):
    from prnet.serving.runs import RunLog

    path = tmp_path / "folder" / "runs.json"
    path.parent.write_bytes(b"in its place")
    log = RunLog(Limits(), str(path))
    log.record({"run": "mine", "epoch": 0, "loss": 1.0})
    for _ in range(2):
        asyncio.run(log.save())
    assert [message.startswith("runs are not kept: ") for message in caplog.messages] == [True]
    path.parent.unlink()
    asyncio.run(log.save())
    assert json.loads(path.read_text())["runs"][0]["name"] == "mine"


def test_a_slow_disk_holds_up_no_answer_and_what_comes_meanwhile_is_kept(mean_reconstructor, tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow_fsync(_):
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr("os.fsync", slow_fsync)
    monkeypatch.setattr("prnet.serving.runs.SAVE_SECONDS", 0.0)
    path = tmp_path / "runs.json"
    with listening(build_application(mean_reconstructor, runs=str(path))) as address:
        for name in ("first", "second"):
            httpx.post(f"{address}/publish/epoch/end/", json={"run": name, "epoch": 0, "loss": 1.0})
            assert begun.wait(20)
        assert len(httpx.get(f"{address}/v1/runs").json()["runs"]) == 2
        go_on.set()
    assert [run["name"] for run in json.loads(path.read_text())["runs"]] == ["second", "first"]


def test_a_damaged_file_of_runs_is_kept_aside(mean_reconstructor, tmp_path, caplog):
    path = tmp_path / "runs.json"
    for number in ("", 1):
        path.write_text(damaged := f'{{"runs":[damaged{number}')
        with listening(build_application(mean_reconstructor, runs=str(path))) as address:
            assert httpx.get(f"{address}/v1/runs").json() == {"runs": []}
            httpx.post(f"{address}/publish/epoch/end/", json={"run": "new", "epoch": 0, "loss": 1.0})
        assert (tmp_path / f"runs.damaged{number}.json").read_text() == damaged
        assert json.loads(path.read_text())["runs"][0]["name"] == "new"
        assert caplog.messages[-1].startswith(f"{path}: holds no runs that can be read")
        assert "\n" not in caplog.messages[-1]


def test_what_is_no_file_of_runs_ends_the_start_and_stays(mean_reconstructor, tmp_path):
    """A device was moved away, as a damaged file is, and a pipe was waited for."""
    other, pipe = tmp_path / "network.keras", tmp_path / "pipe"
    other.write_bytes(b"PK\3\4")
    os.mkfifo(pipe)
    for path, words in ((tmp_path, "is no file"), (pipe, "is no file"), (other, "holds something else than runs")):
        with pytest.raises(UserError, match=words):
            build_application(mean_reconstructor, runs=str(path))
        assert path.exists()


def test_of_two_servers_one_keeps_its_runs_in_a_file_and_the_other_says_why_not(mean_reconstructor, tmp_path, caplog):
    """The second that saved was all that was kept."""
    path = tmp_path / "runs.json"
    with (
        listening(build_application(mean_reconstructor, runs=str(path))) as first,
        listening(build_application(mean_reconstructor, runs=str(path))) as second,
    ):
        for address, name in ((first, "mine"), (second, "other")):
            httpx.post(f"{address}/publish/epoch/end/", json={"run": name, "epoch": 0, "loss": 1.0})
    assert [run["name"] for run in json.loads(path.read_text())["runs"]] == ["mine"]
    assert "another server keeps its runs there" in caplog.text
    with listening(build_application(mean_reconstructor, runs=str(path))) as address:
        assert len(httpx.get(f"{address}/v1/runs").json()["runs"]) == 1


@pytest.mark.parametrize("stem", ["字" * 80, "😀" * 62, "é" * 100, "a" * 300])
def test_a_download_has_a_name_that_file_systems_take(client, photo, stem):
    files, box = {"photo": (f"{stem}.png", photo)}, {"box": BOX}
    answer = client.post("/v1/reconstructions?format=glb", files=files, data=box)
    assert answer.status_code == 200, answer.text
    assert stem[:10] in unquote(answer.headers["content-disposition"])


def test_several_boxes_are_several_faces_in_their_order(client, photo):
    faces = post_photo(client, photo, data={"box": ["10,10,80,80", "150,90,100,100"]}).json()["faces"]
    assert [face["crop"]["centre"][0] < WIDTH / 2 for face in faces] == [True, False]


def test_landmarks_say_where_the_face_is(client, photo):
    points = np.random.default_rng(1).uniform(60, 160, (68, 2))
    faces = post_photo(client, photo, data={"landmarks": str(points.tolist())}).json()["faces"]
    np.testing.assert_allclose(faces[0]["crop"]["centre"], landmark_box(points).centre, atol=0.01)


def test_a_photo_is_turned_upright_and_grey_becomes_colour(client):
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    upright = image_file(
        np.zeros((60, 90), dtype=np.uint8),
        "JPEG",
        exif=turned,
    )
    assert post_photo(client, upright).json()["image"] == {"width": 60, "height": 90}


def test_no_face_is_an_empty_list_and_no_mesh(client, photo, mean_reconstructor, monkeypatch):
    monkeypatch.setattr(mean_reconstructor, "detect", lambda image: [])
    assert post_photo(client, photo).json()["faces"] == []
    answer = post_photo(client, photo, params={"format": "glb"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "no face" in answer.json()["detail"]


def test_links_outlive_a_few_newer_photos_and_no_more(client, photo):
    link = post_photo(client, photo, data={"box": BOX}).json()["faces"][0]["links"]["glb"]
    for _ in range(2):
        post_photo(client, photo, data={"box": BOX})
    assert client.get(link).status_code == 200
    post_photo(client, photo, data={"box": BOX})
    assert client.get(link).status_code == 404


# PRNet-keras' API


def test_the_root_greets_programs_and_shows_people_the_page(client):
    assert list(client.get("/").json()) == ["message"]
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert "<!doctype html>" in page.text
    assert "script-src 'self' 'wasm-unsafe-eval' 'sha256-" in page.headers["content-security-policy"]


def test_predict_answers_prnet_keras_client(client, photo, mean_reconstructor):
    body = {"matType": "normal", "imageMatList": [{"rawImage": base64_text(photo), "rawMats": [""]}] * 2}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["imageMeshList"]
    assert len(answer.json()["imageMeshList"]) == 2
    face = answer.json()["imageMeshList"][1]["faceMeshList"][0]
    assert sorted(face) == ["faceBB", "rawMesh"]
    assert face["faceBB"] == [int((WIDTH - 1) / 2), int((HEIGHT - 1) / 2), WIDTH - 1]
    mesh = read_mesh(face["rawMesh"])
    count = np.count_nonzero(mean_reconstructor.grid.mask)
    for field, dtype, shape in [
        ("vertices", np.float32, (count, 3)),
        ("colors", np.float32, (count, 3)),
        ("vertex_normals", np.float32, (count, 3)),
        ("full_triangles", np.int32, (len(mean_reconstructor.grid.triangles), 3)),
        ("kptIdxs", np.int32, (1, 68)),
        ("bounding_box", np.float32, (1, 6)),
    ]:
        assert (mesh[field].dtype, mesh[field].shape) == (dtype, shape), field
    np.testing.assert_array_equal(mesh["bounding_box"][0, :3], mesh["vertices"].min(axis=0))
    assert mesh["full_triangles"].min() == 0
    assert mesh["colors"].max() <= 1


@pytest.mark.parametrize("mat_type", [None, "missing"])
def test_mat_type_may_be_absent(client, photo, mat_type):
    body = {"imageMatList": [{"rawImage": base64_text(photo), "rawMats": []}]}
    body |= {} if mat_type == "missing" else {"matType": mat_type}
    assert client.post("/predict", json=body).status_code == 200


def test_dotnet_meshes_come_columns_first(client, photo):
    images = [{"rawImage": base64_text(photo), "rawMats": [""]}]
    normal, dotnet = (
        read_mesh(
            client.post("/predict", json={"matType": kind, "imageMatList": images}).json()["imageMeshList"][0][
                "faceMeshList"
            ][0]["rawMesh"]
        )
        for kind in ("normal", "dotnet")
    )
    for field in ("vertices", "colors", "full_triangles", "vertex_normals"):
        np.testing.assert_allclose(dotnet[field], normal[field].T, atol=ANOTHER_BATCH)
        as_stored = dotnet[field].tobytes(order="F")  # a .mat file holds columns one after the other
        stored = np.frombuffer(as_stored, normal[field].dtype)
        np.testing.assert_allclose(stored, normal[field].ravel(), atol=ANOTHER_BATCH)
    np.testing.assert_array_equal(dotnet["kptIdxs"], normal["kptIdxs"])


def test_a_fit_places_the_face_and_extract_predict_and_evaluate_agree(client, photo, fit, sample_model):
    request = {"imageMatList": [{"rawImage": base64_text(photo), "rawMats": [base64_text(fit), ""]}]}
    predicted = client.post("/predict", json=request).json()["imageMeshList"][0]["faceMeshList"]
    extracted = client.post("/extract", json=request).json()["imageMeshList"][0]["faceMeshList"]
    assert extracted[1] == {"rawMesh": "", "faceBB": []}
    assert len(predicted) == 1

    pose = loadmat(io.BytesIO(fit))["Pose_Para"][0]
    to_pixels = fit_to_pixels(pose, HEIGHT)
    shape = face_vertices(sample_model, np.zeros(sample_model.coefficient_count), sample_model.landmark_vertices[:, 0])
    landmarks = shape @ to_pixels[:, :3].T + to_pixels[:, 3]
    box = landmark_box(landmarks)
    assert predicted[0]["faceBB"] == extracted[0]["faceBB"] == [*box.centre.astype(int), int(1.5 * box.side)]

    truth, prediction = (read_mesh(answer[0]["rawMesh"])["vertices"] for answer in (extracted, predicted))
    difference = prediction - truth
    difference[:, 2] -= difference[:, 2].mean()
    assert np.abs(difference).mean() < 0.01, "pixels; where the map bends, its halved texels differ a little"

    pairs = [{"rawImage": "", "rawOrgMats": [base64_text(fit)], "rawPredictMats": [predicted[0]["rawMesh"]]}]
    answer = client.post("/evaluate", json={"imageMatList": pairs}).json()
    assert max(answer["evaluationDataList"][0]["imageEvalValues"][0]["evalValues"]) < 0.002


def test_found_faces_of_all_images_together_are_limited(mean_reconstructor, photo):
    image = {"rawImage": base64_text(photo), "rawMats": []}
    app = build_application(mean_reconstructor, limits=Limits(faces=2))
    with listening(app) as address, httpx.Client(base_url=address) as client:
        statuses = [client.post("/predict", json={"imageMatList": [image] * n}).status_code for n in (2, 3)]
    assert statuses == [200, 413]


def test_evaluate_divides_by_the_diagonal_of_the_true_mesh(client, photo):
    body = {"imageMatList": [{"rawImage": base64_text(photo), "rawMats": [""]}]}
    face = client.post("/predict", json=body).json()["imageMeshList"][0]["faceMeshList"][0]
    mesh = read_mesh(face["rawMesh"])
    fields = {name: mesh[name] for name in ("vertices", "kptIdxs")}
    with io.BytesIO() as file:
        savemat(file, {**fields, "vertices": (fields["vertices"] + np.float32([3, 4, 50])).T})
        moved = base64_text(file.getvalue())
    pairs = [
        {
            "rawImage": base64_text(photo),
            "rawOrgMats": [face["rawMesh"], face["rawMesh"], ""],
            "rawPredictMats": [face["rawMesh"], moved, moved],
        },
        {"rawImage": "", "rawOrgMats": [], "rawPredictMats": []},
    ]
    answer = client.post("/evaluate", json={"imageMatList": pairs}).json()
    types = ["sparse 2D", "sparse 3D", "dense 2D", "dense 3D", "reconstruction 2D", "reconstruction 3D"]
    assert answer["evaluationTypes"] == types
    same, shifted, empty = (pair["evalValues"] for pair in answer["evaluationDataList"][0]["imageEvalValues"])
    np.testing.assert_allclose(same, 0, atol=1e-6)
    extent = np.ptp(mesh["vertices"], axis=0)
    np.testing.assert_allclose(shifted[:4], 5 / np.hypot(extent[0], extent[1]), rtol=1e-4)
    np.testing.assert_allclose(shifted[4:], 0, atol=1e-4)
    assert empty == []
    assert answer["evaluationDataList"][1] == {"imageEvalValues": []}


def test_without_a_face_model_fits_are_refused_with_501(mean_reconstructor, photo, fit):
    request = {"imageMatList": [{"rawImage": base64_text(photo), "rawMats": [base64_text(fit)]}]}
    with listening(build_application(mean_reconstructor)) as address, httpx.Client(base_url=address) as client:
        assert client.get("/health").json()["face_model"] is False
        for path in ("/extract", "/predict"):
            answer = client.post(path, json=request)
            assert answer.status_code == 501
            assert "`face_model`" in answer.json()["detail"]


# Progress


def test_keras_remote_monitor_and_json_events_are_shown(client):
    import keras

    monitor = keras.callbacks.RemoteMonitor(root=str(client.base_url).rstrip("/"))
    monitor.on_epoch_end(0, {"loss": np.float32(0.5)})
    monitor.on_epoch_end(1, {"loss": float("nan")})
    run = client.get("/v1/runs").json()["runs"][0]
    assert (run["name"], run["done"], run["total"]) == ("training", 2, None)
    assert [point["loss"] for point in run["points"]] == [0.5, None]

    event = {"run": "<b>mine</b>", "stage": "evaluation", "done": 10, "total": 40, "sparse 2D": 3.5}
    assert client.post("/publish/epoch/end/", json=event).status_code == 202
    run = client.get("/v1/runs").json()["runs"][0]
    assert (run["name"], run["stage"], run["done"], run["total"]) == ("<b>mine</b>", "evaluation", 10, 40)


def test_a_run_that_begins_again_is_a_new_one_and_long_ones_are_thinned():
    from prnet.serving.runs import RunLog

    log = RunLog(Limits(run_points=100, runs=3))
    for epoch in range(250):
        log.record({"run": "a", "epoch": epoch, "loss": 1.0})
    (run,) = json.loads(log.answer())["runs"]
    assert 50 <= len(run["points"]) <= 100
    assert run["points"][-1]["epoch"] == 249
    for _ in range(5):
        log.record({"run": "a", "epoch": 0, "loss": 1.0})
    assert [run["done"] for run in json.loads(log.answer())["runs"]] == [1, 1, 1]


@pytest.mark.parametrize("runs", [1, 2, 32])
def test_a_run_and_an_answer_take_a_megabyte_at_most(runs):
    """A run took 56 MB, the answer for two of them 64 MiB."""
    from prnet.serving.runs import RunLog

    log = RunLog(Limits())
    measures = [
        {f"{'x' * 117}{number:03}": 0.1 + number / 7 for number in range(64)},
        {f"m{n}": n / 7 for n in range(60)},
    ]
    tracemalloc.start()
    for epoch in range(2000 // runs):
        for run in range(runs):
            log.record(
                {"run": str(run), "stage": "t" * 200, **measures[run % 2], "epoch": epoch, **({} if run else {"": 1})}
            )
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 1_050_000 * runs
    answer = log.answer()
    assert len(answer) < 1_000_000
    shown = json.loads(answer)["runs"]
    assert len(shown) == runs
    assert all(len(run["points"]) >= 2 for run in shown)


def test_a_measure_that_is_not_finite_is_none_and_no_number():
    from prnet.serving.runs import RunLog

    log = RunLog(Limits())
    log.record({"epoch": 3, "done": float("nan"), "loss": float("inf"), "nme": 2.5})
    (run,) = json.loads(log.answer())["runs"]
    assert run["points"] == [{"epoch": 3.0, "done": None, "loss": None, "nme": 2.5}]
    assert run["done"] == 4


@pytest.mark.parametrize(
    "event",
    [
        '{"run": "half a character \\ud800", "stage": "\\udfff", "epoch": 1, "loss": 0.5}',
        '{"\\ud800": 1, "run": "measure"}',
        '{"run": {"\\ud800": []}, "stage": ["\\ud800"]}',
        f'{{"run": "large", "epoch": 1{"0" * 400}, "loss": -1{"0" * 400}, "done": 1{"0" * 400}, "total": 1e999}}',
        '{"run": "true", "epoch": true, "loss": null, "nme": NaN, "total": -Infinity}',
        '{"run": "names", "constructor": 1, "__proto__": 2, "toString": 3, "": 4}',
    ],
)
def test_strange_events_are_taken_and_shown(client, event):
    headers = {"Content-Type": "application/json"}
    assert client.post("/publish/epoch/end/", content=event, headers=headers).status_code == 202
    answer = client.get("/v1/runs")
    assert answer.status_code == 200
    assert len(answer.json()["runs"][0]["points"]) == 1


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;application/json", "application/jsonx", None])
def test_events_of_other_kinds_are_refused(client, kind):
    """Browsers let any page post text/plain."""
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/publish/epoch/end/", content='{"run": "theirs"}', headers=headers)
    assert answer.status_code == 415
    assert "theirs" not in client.get("/v1/runs").text


def test_openapi_describes_every_route(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/", "/predict", "/extract", "/evaluate", "/v1/reconstructions", "/health", "/v1/runs"} <= set(paths)
    assert 'src="static/docs.js"' in client.get("/docs").text
