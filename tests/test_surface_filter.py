"""The filter of rough surfaces: what it smooths and what it leaves, and which networks have it."""

from dataclasses import replace

import numpy as np
import pytest

from prnet.geometry.crop import Box
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.surface_filter import smooth_map
from prnet.geometry.uv_layout import sample_landmarks
from prnet.model.saved_network import save_network
from prnet.reconstructing.reconstructor import FILTER_WIDTH, FaceReconstructor
from prnet.reconstructing.video import FaceTracker
from prnet.serving.fits import FitMeshes
from tests.helpers.perfect_network import constant_network, mean_face_map

SIZE = 128
BOX = Box(np.array([64.0, 64.0]), 60.0)


@pytest.fixture(scope="module")
def layout(sample_model):
    return layout_of_model(sample_model)


@pytest.fixture(scope="module")
def rough_map(layout):
    """The mean face with every other texel four pixels nearer and to the right."""
    other = np.indices((SIZE, SIZE)).sum(axis=0)[..., None] % 2
    return (mean_face_map(layout, SIZE) + other * np.array([4, 0, 4])).astype(np.float32)


@pytest.fixture(scope="module")
def rough_network(layout, rough_map, tmp_path_factory):
    path = tmp_path_factory.mktemp("rough") / "rough.keras"
    save_network(constant_network(rough_map), layout, path)
    return path


def disc(radius: int) -> np.ndarray:
    row, column = np.indices((SIZE, SIZE)) - SIZE / 2
    return row**2 + column**2 < radius**2


def test_a_plane_stays_a_plane_and_nothing_comes_from_off_the_face():
    row, column = np.indices((SIZE, SIZE)).astype(np.float32)
    plane = np.stack([column, row, 0.3 * column - 0.2 * row + 7], axis=-1)
    mask = disc(40)
    plane[~mask] = 1e4
    smooth = smooth_map(plane, mask, 1.5)
    np.testing.assert_array_equal(smooth[~mask], plane[~mask])
    np.testing.assert_allclose(smooth[disc(30)], plane[disc(30)], atol=1e-3)
    assert np.abs(smooth - plane).max() < 1.5  # at the rim by less than the width


def test_noise_is_damped_by_what_a_gaussian_takes():
    """The variance of a mean by Gaussian weights of width s is 1 / (4 pi s^2) of that of white noise."""
    noise = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    smooth = smooth_map(noise, disc(60), 1.5)
    assert smooth[disc(50)].std() == pytest.approx(1 / np.sqrt(4 * np.pi * 1.5**2), rel=0.05)


@pytest.mark.parametrize("runtime", ["keras", "onnx"])
def test_the_mesh_of_a_rough_network_is_smooth_and_its_landmarks_are_its_own(rough_network, rough_map, layout, runtime):
    if runtime == "onnx":
        pytest.importorskip("tf2onnx", reason="ONNX needs onnx, tf2onnx and onnxruntime")
        pytest.importorskip("onnxruntime", reason="ONNX needs onnx, tf2onnx and onnxruntime")
        from prnet.exporting.export import export_network
        from prnet.model.saved_network import load_network

        export_network(*load_network(rough_network), rough_network.with_suffix(".onnx"), "onnx", source=rough_network)
    photo = np.zeros((SIZE, SIZE, 3), np.uint8)
    face, plain = (
        FaceReconstructor(rough_network, "none", runtime=runtime, surface_filter=wanted).reconstruct(photo, [BOX])[0]
        for wanted in (True, False)
    )
    np.testing.assert_array_equal(face.landmarks, plain.landmarks)
    np.testing.assert_array_equal(face.landmarks, sample_landmarks(face.position_map, layout))
    np.testing.assert_array_equal(face.position_map, plain.position_map)
    assert face.pose.matrix.tolist() == plain.pose.matrix.tolist()
    np.testing.assert_array_equal(plain.vertices, plain.position_map[plain.grid.mask])

    def waves(vertices):
        """How far neighbours in a row differ beyond what the ones beside them do."""
        depth = np.full((SIZE, SIZE), np.nan)
        depth[face.grid.mask] = vertices[:, 2]
        return np.nanmedian(np.abs(np.diff(depth, 2, axis=1)))

    assert waves(face.vertices) < waves(plain.vertices) / 10


def test_in_a_video_the_mesh_is_smooth_and_landmarks_are_the_networks(rough_network):
    reconstructor = FaceReconstructor(rough_network, "none")
    tracker = FaceTracker(reconstructor, smooth=True)
    for _ in range(2):
        [(_, face)] = tracker(np.zeros((SIZE, SIZE, 3), np.uint8))
    np.testing.assert_array_equal(face.landmarks, sample_landmarks(face.position_map, face.grid.layout))
    assert np.abs(face.vertices - face.position_map[face.grid.mask]).max() > 0.1


def test_a_face_model_as_decoder_and_fits_need_no_filter(shipped, sample_model):
    assert not shipped.runtime.free_surface
    assert shipped.grid.filter_width == 0
    filtered = replace(shipped.grid, filter_width=FILTER_WIDTH)
    assert FitMeshes(sample_model, filtered)._grid.filter_width == 0


def test_colours_are_those_at_the_vertices_of_the_mesh(rough_network):
    from prnet.reconstructing.texture import vertex_colours

    photo = np.repeat(np.indices((SIZE, SIZE))[1][..., None], 3, axis=2).astype(np.uint8)  # as bright as x
    face = FaceReconstructor(rough_network, "none").reconstruct(photo, [BOX])[0]
    x = face.vertices[:, 0]
    assert np.abs(face.position_map[face.grid.mask][:, 0] - x).max() > 1.2
    inside = (x > 1) & (x < SIZE - 2)
    np.testing.assert_allclose(vertex_colours(face, photo)[inside, 0], x[inside], atol=0.6)
