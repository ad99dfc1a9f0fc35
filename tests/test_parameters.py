"""The named parameters of a network: read off the same forward pass as the map, saved with it, and in every answer."""

import json
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import httpx
import keras
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.exporting.export import export_network
from prnet.geometry.crop import Box, crop_transform
from prnet.geometry.pose import angles_from_rotation, rotation_from_angles
from prnet.model.face_space import face_space
from prnet.model.networks import build_network, network_parameters, predict_faces, predict_maps
from prnet.model.parameters import FaceParameters, ParameterNames
from prnet.model.saved_network import PARAMETERS_ENTRY, load_network, save_network, unzip_network
from prnet.reconstructing.drawing import BAR, BARS, PANEL, TRACK, draw_bars
from prnet.reconstructing.expressions import ARKIT_NAMES, HALVED, arkit_expressions
from prnet.reconstructing.face import estimate_pose, face_grid, restore_face
from prnet.reconstructing.outputs import save_face
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import OutputSettings
from prnet.reconstructing.video import FaceTracker
from prnet.reconstructing.video_files import VideoFile
from prnet.reconstructing.video_outputs import write_video
from prnet.serving.application import build_application
from tests.helpers.perfect_network import constant_network
from tests.helpers.posed_network import posed_map, posed_network, show
from tests.helpers.serving_stand_in import image_file, listening

SIZE = 128
NAMES = (
    *("jawOpen", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "browInnerUpLeft", "browInnerUpRight"),
    *(f"expression{number}" for number in range(9)),
)
"""Of the sample model's 16 expressions; the last ones are nobody's."""

ANGLES = [(0, 0, 0), (12, -35, 20), (-20, 60, -5), (5, -85, 40), (30, 10, 170)]


@pytest.fixture(scope="module")
def space(sample_model, basis, layout, fits):
    return replace(face_space(sample_model, basis, layout, fits), names=NAMES)


@pytest.fixture(scope="module")
def path(space, layout, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "posed.keras"
    save_network(posed_network(space), layout, path)
    return path


@pytest.fixture(scope="module")
def reconstructor(path):
    return FaceReconstructor(path, "none")


@pytest.fixture(scope="module")
def smiling(space, fits):
    """Coefficients of the mean face with three expressions two deviations beyond the mean, and their values."""
    coefficients, count = fits.mean(axis=0), space.identity_count
    for number in (0, 3, 15):
        coefficients[count + number] += 2 * space.expression_deviation[number]
    return coefficients, coefficients[count:]


def photo() -> np.ndarray:
    return np.full((200, 200, 3), 128, np.uint8)


def angles_of(face) -> list[float]:
    return [face.pose.pitch, face.pose.yaw, face.pose.roll]


def same_names(one: ParameterNames, other: ParameterNames) -> bool:
    same = (one.identity_count, one.names) == (other.identity_count, other.names)
    return same and all((getattr(one, key) == getattr(other, key)).all() for key in ("mean", "deviation"))


# The file


def test_names_travel_with_the_network_in_every_form(path, space, layout, tmp_path):
    network = load_network(path)[0]
    assert same_names(network.parameter_names, space.parameter_names)
    save_network(network, layout, tmp_path / "half.keras", half=True)
    unzip_network(tmp_path / "half.keras", tmp_path / "hub")
    small = export_network(network, layout, tmp_path / "small.keras", "keras")
    folder = export_network(network, layout, tmp_path / "folder", "keras")
    for saved in (tmp_path / "half.keras", tmp_path / "hub", small, folder):
        assert same_names(load_network(saved)[0].parameter_names, space.parameter_names), saved


def test_the_hub_is_asked_for_the_names_too(path, space, tmp_path, monkeypatch):
    def snapshot_download(name, allow_patterns):
        unzip_network(path, tmp_path / "all")
        (tmp_path / name).mkdir(parents=True)
        for file in (tmp_path / "all").iterdir():
            if file.name in allow_patterns:
                file.rename(tmp_path / name / file.name)
        return tmp_path / name

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    assert same_names(load_network("hf://someone/network")[0].parameter_names, space.parameter_names)


def test_a_new_morphnet_knows_its_names_and_other_networks_have_none(space, layout, tmp_path):
    network = build_network("morphnet", SIZE, space=space)
    save_network(network, layout, tmp_path / "new.keras")
    assert same_names(load_network(tmp_path / "new.keras")[0].parameter_names, space.parameter_names)
    crops = np.zeros((1, SIZE, SIZE, 3), np.float32)
    assert network_parameters(build_network("lprnet", SIZE), crops) is None
    assert network_parameters(build_network("prnet", 256), crops) is None
    plain = constant_network(np.ones((SIZE, SIZE, 3), np.float32))
    save_network(plain, layout, tmp_path / "plain.keras")
    with zipfile.ZipFile(tmp_path / "plain.keras") as archive:
        assert PARAMETERS_ENTRY not in archive.namelist()
    maps, parameters = predict_faces(plain, crops)
    assert parameters is None
    np.testing.assert_allclose(maps, 1.0, atol=1e-5)


def test_a_file_without_names_opens_and_can_be_given_them(path, space, layout, tmp_path):
    rewrite(path, tmp_path / "old.keras", None)
    network, _ = load_network(tmp_path / "old.keras")
    assert network_parameters(network, np.zeros((1, SIZE, SIZE, 3), np.float32)) is None
    save_network(network, layout, tmp_path / "named.keras", parameters=space.parameter_names)
    assert same_names(load_network(tmp_path / "named.keras")[0].parameter_names, space.parameter_names)
    (face,) = FaceReconstructor(tmp_path / "old.keras", "none").reconstruct(photo())
    assert (face.expressions, face.identity) == (None, None)
    assert angles_of(face) == pytest.approx(
        [getattr(estimate_pose(face.position_map, face.grid), name) for name in ("pitch", "yaw", "roll")]
    )


def rewrite(source, target, names: bytes | None) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != PARAMETERS_ENTRY:
                new.writestr(name, old.read(name))
        if names is not None:
            new.writestr(PARAMETERS_ENTRY, names)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[:-9], "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: text.replace('"mean": ', '"mean": NaN, "was": ', 1), "damaged"),
        (lambda text: text.replace('"mean": ', '"mean": "high", "was": ', 1), "damaged"),
        (lambda text: text + " " * (1 << 20), "damaged"),
        (lambda text: text.replace('"identity_count": ', '"identity_count": 1'), "the names are of .* parameters, and"),
    ],
)
def test_names_that_are_damaged_or_of_another_network_are_refused(path, space, tmp_path, change, complaint):
    rewrite(path, tmp_path / "odd.keras", change(space.parameter_names.to_json()).encode())
    with pytest.raises(UserError, match=rf"odd\.keras: .*{complaint}"):
        load_network(tmp_path / "odd.keras")


def test_names_of_another_network_are_not_saved(space, layout, tmp_path):
    for network in (build_network("lprnet", SIZE), posed_network(replace(space, identity_count=3))):
        names = replace(space.parameter_names, identity_count=4)
        with pytest.raises(UserError, match=r"x\.keras: the names are of 20 parameters"):
            save_network(network, layout, tmp_path / "x.keras", parameters=names)
    assert list(tmp_path.iterdir()) == []


# What is read


def test_parameters_come_with_the_map_of_one_forward_pass(reconstructor, space, basis, smiling):
    coefficients, values = smiling
    show(reconstructor.network, space, posed_map(basis, coefficients, (10, 25, -15)))
    crops = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    maps, found = predict_faces(reconstructor.network, crops)
    np.testing.assert_allclose(maps, predict_maps(reconstructor.network, crops), atol=1e-3)
    assert found.names == NAMES
    assert found.identity.shape == (2, space.identity_count)
    layer = reconstructor.network.get_layer("coefficients")
    coded = keras.Model(reconstructor.network.input, layer.output).predict_on_batch(crops)
    np.testing.assert_allclose(found.identity, coded[:, : space.identity_count], atol=1e-5)
    assert set(np.argsort(-(found.expressions[0] - space.expression_mean) / space.expression_deviation)[:3]) == {
        0,
        3,
        15,
    }
    np.testing.assert_allclose(found.expressions[0], values, atol=1.2 * space.expression_deviation.max())
    expected = rotation_from_angles(np.radians([10, 25, -15]))
    np.testing.assert_allclose(np.swapaxes(found.rotation, 1, 2) @ expected, [np.eye(3)] * 2, atol=0.05)
    alone = network_parameters(reconstructor.network, crops[:1])
    np.testing.assert_allclose(alone.expressions[0], found.expressions[0], atol=1e-4)


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_posed_face_gives_its_angles_back(reconstructor, space, basis, layout, fits, angles, turn):
    """To a degree, from a crop that is turned itself too; scale and offset are those of the fitted mean face."""
    show(reconstructor.network, space, posed_map(basis, fits.mean(axis=0), angles, turn))
    ((crop_map, parameters),) = reconstructor.predict_faces(np.zeros((1, SIZE, SIZE, 3), np.float32))
    box, grid = Box(np.array([100.0, 90.0]), 70.0), face_grid(layout, SIZE)
    to_crop = crop_transform(box, SIZE, angle=turn)
    face = restore_face(crop_map, box, to_crop, grid, parameters)
    found = np.degrees(angles_from_rotation(face.parameters.rotation))
    assert np.abs((found - angles + 180) % 360 - 180).max() < 0.1
    turned = face.parameters.rotation * np.array([[1.0], [-1.0], [1.0]])  # rows to the photo's axes, y down
    np.testing.assert_allclose(face.pose.matrix[:, :3], face.pose.scale * turned, atol=0.02 * face.pose.scale)
    assert face.misfit < 0.03


def test_the_pose_is_the_maps_and_the_rotation_beside_it_the_networks(reconstructor, space, basis, smiling):
    """The network's rotation is in its face model's axes, the pose in those of the mean map."""
    show(reconstructor.network, space, posed_map(basis, smiling[0], (0, 20, 0)))
    (face,) = reconstructor.reconstruct(photo())
    in_crop = network_parameters(reconstructor.network, np.zeros((1, SIZE, SIZE, 3), np.float32)).rotation[0]
    np.testing.assert_allclose(face.parameters.rotation, in_crop, atol=1e-5)
    fitted = estimate_pose(face.position_map, face.grid)
    np.testing.assert_array_equal(face.pose.matrix, fitted.matrix)
    assert np.abs(rotation_from_angles(np.radians(angles_of(face))) - in_crop).max() > 1e-4


def test_mirrored_the_parameters_are_means(path, space, basis, smiling):
    """A network that sees the same whatever it is shown takes both sides for alike and the face for frontal."""
    both = FaceReconstructor(path, "none", mirrored=True)
    show(both.network, space, posed_map(basis, smiling[0], (10, 30, 20)))
    alone = network_parameters(both.network, np.zeros((1, SIZE, SIZE, 3), np.float32))[0]
    (face,) = both.reconstruct(photo())
    assert angles_of(face)[1:] == pytest.approx([0, 0], abs=0.01)
    found, before = (dict(zip(NAMES, values.expressions, strict=True)) for values in (face.parameters, alone))
    smile = (before["mouthSmileLeft"] + before["mouthSmileRight"]) / 2
    assert found["mouthSmileLeft"] == pytest.approx(smile, abs=1e-5)
    assert found["mouthLeft"] == pytest.approx((before["mouthLeft"] + before["mouthRight"]) / 2, abs=1e-5)
    assert found["jawOpen"] == pytest.approx(before["jawOpen"], abs=1e-5)
    np.testing.assert_allclose(face.identity, alone.identity, atol=1e-5)


# Where they are told


def test_a_face_has_its_expressions_and_says_them(reconstructor, space, basis, smiling, tmp_path):
    show(reconstructor.network, space, posed_map(basis, smiling[0], (0, 0, 0)))
    (face,) = reconstructor.reconstruct(photo())
    assert tuple(face.expressions) == NAMES
    raw = dict(zip(NAMES, face.parameters.expressions.tolist(), strict=True))
    assert any(not 0 <= raw[name] <= 1 for name in NAMES[:7])
    assert any(not 0 <= raw[name] <= 1 for name in NAMES[7:])
    for name in NAMES:
        clipped = min(max(raw[name], 0.0), 1.0)
        assert face.expressions[name] == (raw[name] if name.startswith("expression") else clipped)
    assert face.identity.shape == (space.identity_count,)
    save_face(face, tmp_path / "face.json")
    told = json.loads((tmp_path / "face.json").read_text())
    assert told["expressions"] == pytest.approx(face.expressions, abs=6e-4)
    assert told["identity"] == pytest.approx(face.identity.tolist(), abs=6e-4)


def test_the_sheet_shows_the_largest_expressions_last(reconstructor, space, basis, smiling):
    show(reconstructor.network, space, posed_map(basis, smiling[0], (0, 0, 0)))
    (face,) = reconstructor.reconstruct(photo())
    sheet = face.sheet()
    assert sheet.shape == (712, 12 + 6 * (PANEL + 12), 3)
    last = sheet[-12 - PANEL : -12, -2 * (PANEL + 12) : -(PANEL + 12) - 12]
    np.testing.assert_array_equal(last, draw_bars(face.expressions, PANEL)[:, : last.shape[1]])
    without = replace(face, parameters=None).sheet()
    assert without.shape == (712, 1672, 3)


def test_bars_are_as_long_as_the_values_and_sorted():
    values = {f"n{number}": number / 20 for number in range(14)}
    picture = draw_bars(values, 400)
    rows = [picture[round((number + 0.7) * 400 / BARS)] for number in range(BARS)]
    lengths = [np.count_nonzero((row == BAR).all(axis=-1)) for row in rows]
    assert lengths == pytest.approx([400 * number / 20 for number in range(13, 3, -1)], abs=2)
    assert all(((row == BAR) | (row == TRACK)).all() for row in rows)


def test_the_server_answers_with_them_and_describes_them(reconstructor, space, basis, smiling, sample_model):
    show(reconstructor.network, space, posed_map(basis, smiling[0], (0, 0, 0)))
    (face,) = reconstructor.reconstruct(photo())
    app = build_application(reconstructor, face_model=sample_model)
    with listening(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        answer = client.post("/v1/reconstructions", files={"photo": ("face.png", image_file(photo(), "PNG"))}).json()
        linked = client.get(answer["faces"][0]["links"]["json"]).json()
        described = client.get("/openapi.json").json()["components"]["schemas"]["FaceAnswer"]["properties"]
    for told in (answer["faces"][0], linked):
        assert told["expressions"] == pytest.approx(face.expressions, abs=6e-4)
        assert told["identity"] == pytest.approx(face.identity.tolist(), abs=6e-4)
    assert described["expressions"]["anyOf"][0]["additionalProperties"] == {"type": "number"}
    assert "in standard deviations" in described["identity"]["description"]


def test_a_video_holds_a_row_of_expressions_for_each_face(reconstructor, space, basis, smiling, tmp_path):
    show(reconstructor.network, space, posed_map(basis, smiling[0], (0, 0, 0)))
    with VideoFile(tmp_path / "clip.mp4", 25.0) as video:
        for _ in range(3):
            video.write(photo())
    write_video(reconstructor, tmp_path / "clip.mp4", tmp_path, "clip", OutputSettings(smooth=True))
    with np.load(tmp_path / "clip_tracks.npz") as tracks:
        assert tuple(tracks["expression_names"]) == NAMES
        assert tracks["expressions"].shape == (len(tracks["frame"]), len(NAMES))
        (face,) = reconstructor.reconstruct(photo())
        np.testing.assert_allclose(tracks["expressions"], [list(face.expressions.values())] * 3, atol=1e-3)


class Trembling:
    """A reconstructor whose one face turns back and forth from frame to frame, its jaw opening as it does."""

    def __init__(self, face):
        self._face, self._frame = face, 0

    def detect(self, image):
        return [self._face.box]

    def reconstruct(self, image, boxes):
        self._frame += 1
        sign, known = (-1) ** self._frame, self._face.parameters
        turned = rotation_from_angles(np.radians([0, 3.0 * sign, 0])) @ known.rotation
        return [
            replace(self._face, parameters=replace(known, expressions=known.expressions + 0.1 * sign, rotation=turned))
        ]


def test_smoothing_calms_the_parameters_too(reconstructor, space, basis, fits):
    show(reconstructor.network, space, posed_map(basis, fits.mean(axis=0), (0, 0, 0)))
    (face,) = reconstructor.reconstruct(photo())
    track = FaceTracker(Trembling(face), smooth=True, rate=25.0)
    found = [track(photo())[0][1] for _ in range(40)][20:]
    assert np.ptp([each.pose.yaw for each in found]) < 6.0 / 2
    assert np.ptp([each.parameters.expressions[0] for each in found]) < 0.2 / 2
    for each in found:
        rotation = each.parameters.rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


# ARKit's names


def test_the_52_names_are_made_of_what_the_ict_model_has():
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    assert {"eyeBlinkLeft", "jawOpen", "tongueOut", "mouthLeft", "noseSneerRight", "browInnerUp"} <= set(ARKIT_NAMES)
    halves = {f"{name}{side}" for name in HALVED for side in ("Left", "Right")}
    ict = (set(ARKIT_NAMES) - {"tongueOut", *HALVED}) | halves
    assert len(ict) == 53
    values = {name: number / 100 for number, name in enumerate(sorted(ict))}
    found = arkit_expressions(values)
    assert tuple(found) == ARKIT_NAMES
    assert found["tongueOut"] == 0.0
    assert found["browInnerUp"] == pytest.approx((values["browInnerUpLeft"] + values["browInnerUpRight"]) / 2)
    assert found["cheekPuff"] == pytest.approx((values["cheekPuffLeft"] + values["cheekPuffRight"]) / 2)
    assert found["jawOpen"] == values["jawOpen"]
    assert arkit_expressions(None) is None
    assert arkit_expressions({"jawOpen": 1.0}) is None


def test_mediapipe_spells_them_alike(shared_data):
    h5py = pytest.importorskip("h5py")
    labels = shared_data / "faces" / "labels.hdf5"
    if not labels.is_file():
        pytest.skip(f"no {labels}")
    with h5py.File(labels) as file:
        names = {name.decode() for name in file["blendshape_names"][()]}
    assert names - {"_neutral"} == set(ARKIT_NAMES) - {"tongueOut"}


def test_a_batch_is_taken_apart_face_by_face():
    batch = FaceParameters(("a",), np.arange(4.0).reshape(2, 2), np.array([[5.0], [6.0]]), np.stack([np.eye(3)] * 2))
    assert batch[1].identity.tolist() == [2.0, 3.0]
    assert batch[1].expressions.tolist() == [6.0]
    assert batch[1].rotation.shape == (3, 3)
