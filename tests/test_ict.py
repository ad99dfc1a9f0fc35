"""ICT-FaceKit as a face model: `prnet.formats.ict` on the repository beside the checkout."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from prnet.commands import build_face_model
from prnet.common.errors import UserError
from prnet.formats.face_model_file import load_face_model, save_face_model
from prnet.formats.ict import arkit_name, read_ict_model
from prnet.geometry.face_model import at_landmarks, face_landmarks, face_vertices, landmark_model
from prnet.geometry.mesh import boundary_loops, vertex_normals
from prnet.geometry.position_map import layout_of_model, map_basis, shape_maps
from prnet.geometry.uv_layout import face_mask, grid_triangles, landmark_stencil, sample_landmarks
from prnet.model.saved_network import load_network
from prnet.reconstructing.expressions import arkit_expressions
from prnet.reconstructing.settings import MODEL_PATH

EXPRESSIONS = 53


@pytest.fixture(scope="module")
def archive(shared_data):
    return shared_data / "ict" / "ICT-FaceKit.zip"


@pytest.fixture(scope="module")
def model(archive):
    return read_ict_model(archive, identity_count=60)


def moved(model, **amounts):
    """Coefficients (K,) of the mean person with these expressions."""
    coefficients = np.zeros(model.coefficient_count, np.float32)
    for name, amount in amounts.items():
        coefficients[model.shape_basis.shape[2] + model.expression_names.index(name)] = amount
    return coefficients


def gap(landmarks):
    """Distance between the inner lips, of (68, 3) landmarks."""
    return np.linalg.norm(landmarks[61:64].mean(axis=0) - landmarks[65:68].mean(axis=0))


def test_the_face_is_a_disk_with_three_holes(model):
    assert model.mean.shape == (9409, 3)
    assert [len(loop) for loop in boundary_loops(model.triangles, model.mean)] == [204, 74, 42, 42]
    assert vertex_normals(model.mean, model.triangles)[:, 2].mean() > 0.3
    left_eye, right_eye, nose, chin = at_landmarks(model, model.mean)[[36, 45, 30, 8]]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert nose[2] > left_eye[2]
    assert chin[1] < nose[1] < left_eye[1]


def test_components_are_named_and_counted(model):
    assert model.shape_basis.shape[2] == 60
    assert model.expression_basis.shape[2] == len(model.expression_names) == EXPRESSIONS
    assert {"browDownLeft", "browInnerUpRight", "jawOpen", "cheekPuffLeft"} < set(model.expression_names)
    assert "tongueOut" not in model.expression_names
    assert "Copyright (c) 2020 USC Institute for Creative Technologies" in model.licence
    assert (arkit_name("eyeBlink_L"), arkit_name("jawLeft")) == ("eyeBlinkLeft", "jawLeft")


def test_exactly_arkits_52_names_are_given_where_they_are_asked_for(model):
    values = np.arange(EXPRESSIONS) / 100
    by_name = dict(zip(model.expression_names, values, strict=True))
    arkit = arkit_expressions(by_name)
    assert len(arkit) == 52
    assert {"browInnerUp", "cheekPuff", "tongueOut", "jawOpen", "mouthLeft", "mouthRight"} < set(arkit)
    assert arkit["browInnerUp"] == pytest.approx((by_name["browInnerUpLeft"] + by_name["browInnerUpRight"]) / 2)
    assert arkit["browDownLeft"] == by_name["browDownLeft"]
    assert arkit["tongueOut"] == 0


def test_expressions_do_what_their_names_say(model):
    rest = face_landmarks(model, moved(model))
    assert gap(face_landmarks(model, moved(model, jawOpen=1))) > 8 * gap(rest)
    blink = face_landmarks(model, moved(model, eyeBlinkLeft=1))
    assert np.linalg.norm(blink[43] - blink[47]) < 0.5 * np.linalg.norm(rest[43] - rest[47])
    np.testing.assert_allclose(blink[36:42], rest[36:42], atol=0.05)


def test_landmarks_of_a_face_are_mixtures_of_its_vertices(model):
    coefficients = np.random.default_rng(0).normal(size=model.coefficient_count).astype(np.float32) / 3
    expected = at_landmarks(model, face_vertices(model, coefficients))
    np.testing.assert_allclose(face_landmarks(model, coefficients), expected, atol=1e-4)
    small = landmark_model(model)
    np.testing.assert_allclose(face_vertices(small, coefficients), expected, atol=1e-4)


def test_the_layout_is_unfolded_and_the_same_on_both_sides(model):
    a, b, c = np.moveaxis(model.uv[model.triangles].astype(np.float64), 1, 0)
    assert ((b - a)[:, 0] * (c - a)[:, 1] > (b - a)[:, 1] * (c - a)[:, 0]).mean() > 0.9999
    mirror = np.abs(model.mean[:, None, :2] * (-1, 1) - model.mean[None, ::10, :2]).sum(axis=-1).argmin(axis=0)
    twins = np.abs(model.mean[mirror] * (-1, 1, 1) - model.mean[::10]).max(axis=1) < 0.01
    assert twins.mean() > 0.9
    np.testing.assert_allclose((model.uv[mirror] * (-1, 1) + (1, 0))[twins], model.uv[::10][twins], atol=1e-3)
    mask = face_mask(layout_of_model(model), 128)
    np.testing.assert_array_equal(mask, mask[:, ::-1])


def test_the_shipped_network_can_be_trained_on_with_it(model):
    """Its layout was computed from the same model, on another machine, whose last bits were others."""
    _, layout = load_network(MODEL_PATH)
    assert layout.identity == layout_of_model(model).identity


@pytest.mark.parametrize("size", [128, 256])
def test_holes_belong_to_no_mask_and_no_triangle(model, size):
    layout = layout_of_model(model)
    mask = face_mask(layout, size)
    assert label(~mask, np.ones((3, 3)))[1] == 4  # around the face, mouth, two eyes
    used = np.zeros(np.count_nonzero(mask), bool)
    used[grid_triangles(mask)] = True
    assert used.mean() > 0.999
    lips = model.uv[boundary_loops(model.triangles, model.mean)[1]].mean(axis=0)
    column, row = np.rint([lips[0] * (size - 1), (1 - lips[1]) * (size - 1)]).astype(int)
    assert not mask[row, column]
    texels, shares = landmark_stencil(layout, size)
    assert mask.ravel()[texels[shares > 1e-6]].all()


def test_texels_in_a_hole_lie_between_its_rims(model):
    basis = map_basis(model, 128)
    texels = shape_maps(basis, moved(model, jawOpen=1)[None])[0]
    landmarks = face_landmarks(model, moved(model, jawOpen=1))
    layout = layout_of_model(model)
    row, column = np.nonzero(~face_mask(layout, 128))
    inside = (np.abs(column - 63.5) < 3) & (row > 40) & (row < 100)
    middle = texels[row[inside], column[inside]]
    assert (middle[:, 1] < landmarks[62, 1] + 0.5).all()
    assert (middle[:, 1] > landmarks[66, 1] - 0.5).all()


def test_landmarks_read_from_maps_are_near_those_of_the_vertices(model):
    random = np.random.default_rng(0)
    coefficients = np.column_stack([random.normal(size=(8, 60)), random.random((8, EXPRESSIONS)) ** 4]).astype(
        np.float32
    )
    read = sample_landmarks(shape_maps(map_basis(model, 128), coefficients), layout_of_model(model))
    true = np.array([face_landmarks(model, face) for face in coefficients])
    side = np.sqrt(np.ptp(true[..., :2], axis=1).prod(axis=-1))
    assert (np.linalg.norm(read - true, axis=-1).mean(axis=-1) / side).max() < 0.012


def test_the_head_has_its_own_outline(archive):
    model = read_ict_model(archive, 1, "head")
    assert model.mean.shape == (11248, 3)
    assert len(boundary_loops(model.triangles, model.mean)[0]) == 54
    assert face_mask(layout_of_model(model), 128).mean() > 0.95


def test_the_script_makes_a_file(archive, tmp_path, capsys):
    build_face_model.main(["--ict", str(archive), "--identity", "5", "--output", str(tmp_path / "model.hdf5")])
    assert "5 identity and 53 expression components" in capsys.readouterr().out
    loaded = load_face_model(tmp_path / "model.hdf5")
    assert loaded.expression_names[0] == "browDownLeft"
    assert loaded.mediapipe.vertices.shape == (468, 3)
    save_face_model(replace(loaded, mediapipe=None), tmp_path / "other.hdf5")
    assert load_face_model(tmp_path / "other.hdf5").identity == loaded.identity


def test_folder_and_zip_are_one(archive, tmp_path):
    with zipfile.ZipFile(archive) as source:
        source.extractall(tmp_path)
    assert read_ict_model(tmp_path, 2).identity == read_ict_model(archive, 2).identity


def damaged(archive, path, name, content):
    """The archive with one file replaced, or left out where the content is None; of two identities."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            if entry.endswith(name):
                if content is not None:
                    target.writestr(entry, content(source.read(entry).decode()))
            elif "identity" not in entry or entry.endswith(("000.obj", "001.obj")):
                target.writestr(entry, source.read(entry))
    return path


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("generic_neutral_mesh.obj", None, "holds no generic_neutral_mesh.obj"),
        ("identity001.obj", None, "lacks ICT-FaceKit/FaceXModel/identity001.obj"),
        ("LICENSE", None, "lacks ICT-FaceKit/LICENSE"),
        ("jawOpen.obj", lambda text: text[: len(text) // 2], "jawOpen.obj has no 9,409 vertices"),
        (
            "jawOpen.obj",
            lambda text: re.sub(r"\nv \S+", "\nv nan", text, count=1),
            "jawOpen.obj holds NaN",
        ),
        ("vertex_indices.json", lambda text: "{}", "lists no expressions"),
        ("vertex_indices.json", lambda text: json.dumps({"expressions": ["wink"]}), "lacks ICT-FaceKit.*wink.obj"),
        ("generic_neutral_mesh.obj", lambda text: text.replace("\nf ", "\ng "), "has no polygons"),
        ("generic_neutral_mesh.obj", lambda text: text + "\nf \n", "has no polygons"),
        (
            "generic_neutral_mesh.obj",
            lambda text: text[: text.index("\nf ", text.index("\nf ") + 100_000)],
            "cannot be flattened",
        ),
    ],
)
def test_damaged_repositories_are_named(archive, tmp_path, name, content, complaint):
    path = damaged(archive, tmp_path / "ict.zip", name, content)
    with pytest.raises(UserError, match=complaint) as error:
        read_ict_model(path, 2)
    assert str(error.value).startswith(str(path))


def test_an_archive_with_a_damaged_entry_is_named(archive, tmp_path):
    content = bytearray(Path(archive).read_bytes())
    with zipfile.ZipFile(archive) as whole:
        entry = next(each for each in whole.infolist() if each.filename.endswith("generic_neutral_mesh.obj"))
    at = entry.header_offset + 30 + len(entry.filename) + 200
    content[at : at + 200] = bytes(200)
    (tmp_path / "ict.zip").write_bytes(content)
    with pytest.raises(
        UserError, match=r"ict\.zip: .*generic_neutral_mesh\.obj cannot be read \(.*; download it again"
    ):
        read_ict_model(tmp_path / "ict.zip", 2)


def test_what_is_no_repository_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder or zip"):
        read_ict_model(tmp_path / "absent")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(UserError, match="not a readable zip"):
        read_ict_model(tmp_path / "text.zip")
    with pytest.raises(UserError, match="holds no generic_neutral_mesh"):
        read_ict_model(tmp_path)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--ict", "x", "--identity", "0"], "1 to 100"),
        (["--ict", "x", "--identity", "101"], "1 to 100"),
        (["--ict", "x", "--uv", "y"], "--uv: has no meaning with --ict"),
        (["--bfm", "x", "--parts", "head"], "--parts: has no meaning with --bfm"),
        (["--sample", "--identity", "3"], "--identity: has no meaning with --sample"),
    ],
)
def test_flags_without_a_meaning_are_refused(flags, complaint):
    with pytest.raises(UserError, match=complaint):
        build_face_model.main(flags)
