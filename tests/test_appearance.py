"""Albedo and light of reconstructed faces, and the files that tell them."""

import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from prnet.common.errors import UserError
from prnet.geometry.face_model import TextureBasis
from prnet.geometry.harmonics import harmonics
from prnet.geometry.position_map import layout_of_model, map_basis
from prnet.model.appearance import albedo_space, prior_face_space
from prnet.model.networks import build_network
from prnet.model.parameters import camera_place
from prnet.model.saved_network import save_network
from prnet.reconstructing.appearance import appearance_of, codes_mat, draw_lit, light_from, lit_colours
from prnet.reconstructing.outputs import reconstruct_inputs
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import OutputSettings

SIZE = 128


@pytest.fixture(scope="module")
def network_file(sample_model, tmp_path_factory):
    """A photo network that was never trained: it sees the mean face in every crop, under even light."""
    basis = np.random.default_rng(0).normal(scale=0.003, size=(*sample_model.mean.shape, 3)).astype(np.float32)
    model = replace(sample_model, texture=TextureBasis(basis, np.ones(3, np.float32)))
    layout = layout_of_model(model)
    space = prior_face_space(model, map_basis(model, SIZE), layout)
    network = build_network("photonet", SIZE, space=space, albedos=albedo_space(model, space))
    path = tmp_path_factory.mktemp("network") / "photonet.keras"
    save_network(network, layout, path)
    return path


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 6, 3)).astype(np.uint8), (200, 160))


@pytest.fixture(scope="module")
def reconstructor(network_file):
    return FaceReconstructor(network_file, detector="none")


@pytest.fixture(scope="module")
def face(reconstructor, photo):
    return reconstructor.reconstruct(photo, [(60, 40, 80, 80)])[0]


def test_even_light_shows_the_albedo(face):
    albedo = appearance_of(face).albedo[face.grid.mask]
    even = np.zeros((9, 3))
    even[0] = 1 / harmonics(np.array([0.0, 0, 1]))[0]
    np.testing.assert_allclose(lit_colours(face, even), albedo, atol=1e-6)


def test_light_from_the_right_lights_what_looks_to_the_right(face):
    colours, even = (lit_colours(face, light_from(direction)) for direction in ((1, 0, 0), (0, 0, 1)))
    right = face.normals[:, 0] > 0.5
    left = face.normals[:, 0] < -0.5
    assert (colours[right].mean() - even[right].mean()) > 0.1
    assert (colours[left].mean() - even[left].mean()) < -0.1
    up, down = (lit_colours(face, light_from((0, sign, 0))) for sign in (1, -1))
    above = face.normals[:, 1] < -0.5  # in the photo y points down
    assert up[above].mean() > 1.5 * down[above].mean()


def test_the_lit_face_lies_over_its_photo(face, photo):
    drawn = draw_lit(face, photo)
    changed = (drawn != photo).any(axis=-1)
    left, top, width, height = face.bounding_box
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 0.5 * width * height
    assert columns.min() >= left - 1
    assert rows.max() <= top + height + 1


def test_files_are_written_and_named_in_the_json_file(reconstructor, photo, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    assert not reconstruct_inputs(reconstructor, [tmp_path / "photo.png"], tmp_path / "out", OutputSettings())
    [entry] = json.loads((tmp_path / "out" / "photo.json").read_text())["faces"]
    for name in ("albedo", "lit", "relit", "codes"):
        assert (tmp_path / "out" / entry["files"][name]).stat().st_size > 0
    assert np.shape(entry["light"]) == (9, 3)
    np.testing.assert_allclose(entry["light"][0], 0.8, atol=1e-3)


def test_the_mat_file_has_deep3ds_fields(face):
    fields = loadmat(io.BytesIO(codes_mat(face)))
    shapes = {name: fields[name].shape for name in ("id", "exp", "tex", "angle", "gamma", "trans", "lm68")}
    assert shapes == {
        "id": (1, 32),
        "exp": (1, 16),
        "tex": (1, 3),
        "angle": (1, 3),
        "gamma": (1, 27),
        "trans": (1, 3),
        "lm68": (1, 68, 2),
    }
    for name in ("id", "exp", "tex", "angle", "gamma"):
        np.testing.assert_allclose(fields[name], 0, atol=1e-5)  # an untrained network's
    assert fields["lm68"][0, 8, 1] < fields["lm68"][0, 27, 1]  # y up: the chin below the nose


def test_the_camera_sees_the_face_where_it_is():
    """Projected by Deep3D's camera, focal length 1015, centre 111.5 of 224 pixels, at distance 10."""
    pose = np.zeros((1, 4, 3))
    pose[0, :3] = 0.3 * np.eye(3)
    pose[0, 3] = (0.5, -0.4, 0)  # target units, y up
    x, y, z = camera_place(pose)[0]
    seen = 1015 / (10 - z) * np.array([x, -y]) + 111.5
    np.testing.assert_allclose(seen, np.array([0.5, 0.4]) * 1.1 * 224, rtol=1e-5)
    np.testing.assert_allclose(1015 / (10 - z), 0.3 * 1.1 * 224, rtol=1e-5)  # pixels a unit


def test_other_networks_have_no_appearance():
    reconstructor = FaceReconstructor(detector="none")
    face = reconstructor.reconstruct(np.zeros((64, 64, 3), np.uint8), [(10, 10, 40, 40)])[0]
    with pytest.raises(UserError, match="says nothing of albedo and light"):
        appearance_of(face)
