"""The UV grid: where texels lie, how landmarks are read from maps, how texels join into a mesh."""

import hashlib

import numpy as np
import pytest

from prnet.geometry.mesh import vertex_normals
from prnet.geometry.uv_layout import (
    UVLayout,
    face_mask,
    grid_triangles,
    landmark_stencil,
    landmark_texels,
    mirror_maps,
    resample_map,
    sample_landmarks,
    texel_coordinates,
    weight_mask,
)


@pytest.fixture
def layout():
    """Random landmarks; the face is the grid's inner part."""
    regions = np.zeros((256, 256), dtype=np.float32)
    regions[20:200, 30:226] = 3
    regions[80:120, 60:196] = 4
    landmark_uv = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2)).astype(np.float32)
    return UVLayout(landmark_uv, regions, np.zeros((256, 256, 3), dtype=np.float32))


def linear_map(size):
    """A map whose x is the column and y the row of each texel, and z their mixture."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows, 2 * columns - rows], axis=-1)


def test_u_runs_along_columns_and_v_up_from_the_last_row():
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.25, 0.5]])
    expected = [[0, 255], [255, 255], [0, 0], [255, 0], [63.75, 127.5]]
    np.testing.assert_allclose(texel_coordinates(corners, 256), expected)


@pytest.mark.parametrize("size", [128, 256])
def test_landmarks_of_a_linear_map_are_exact(layout, size):
    place = texel_coordinates(layout.landmark_uv.astype(np.float64), size)
    landmarks = sample_landmarks(np.stack([linear_map(size), 2 * linear_map(size)]), layout)
    np.testing.assert_allclose(landmarks[0, :, :2], place, atol=1e-3)
    np.testing.assert_allclose(landmarks[1, :, 2], 2 * (2 * place[:, 0] - place[:, 1]), atol=1e-2)


def test_landmarks_on_the_grid_edge_are_read_from_within(layout):
    edge = UVLayout(np.array([[0.0, 0.0], [1.0, 1.0]]), layout.region_weights, layout.canonical_map)
    np.testing.assert_allclose(sample_landmarks(linear_map(128), edge)[:, :2], [[0, 127], [127, 0]])
    texels, weights = landmark_stencil(edge, 128)
    assert texels.min() >= 0
    assert texels.max() < 128 * 128
    np.testing.assert_allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize("size", [128, 256])
def test_weights_are_16_at_landmarks_and_the_region_elsewhere(layout, size):
    weights = weight_mask(layout, size)
    assert set(np.unique(weights)) == {0, 3, 4, 16}
    column, row = landmark_texels(layout, size).T
    assert np.all(weights[row, column] == 16)
    assert np.count_nonzero(weights == 16) == len(set(zip(column, row, strict=True)))
    assert face_mask(layout, size).mean() == pytest.approx(180 * 196 / 256**2, abs=0.01)


def test_grid_triangles_cover_the_mask_once_and_face_outwards():
    mask = np.zeros((6, 7), dtype=bool)
    mask[1:5, 2:6] = True
    triangles = grid_triangles(mask)
    assert len(triangles) == 2 * 3 * 3
    columns, rows = np.nonzero(mask)[1], np.nonzero(mask)[0]
    y_up = np.stack([columns, -rows, np.zeros_like(rows)], axis=-1).astype(np.float32)
    np.testing.assert_allclose(vertex_normals(y_up, triangles), np.tile([0, 0, 1], (mask.sum(), 1)), atol=1e-6)
    corners = y_up[triangles][..., :2]
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.det(sides) / 2
    assert areas.sum() == pytest.approx(9)


def test_resampling_keeps_values_at_equal_uv():
    half = resample_map(linear_map(256), 128)
    np.testing.assert_allclose(half, linear_map(128) * (255 / 127), atol=2e-3)


def test_mirroring_reverses_columns_reflects_x_and_undoes_itself():
    maps = np.random.default_rng(1).uniform(0, 128, (2, 128, 128, 3)).astype(np.float32)
    mirrored = mirror_maps(maps, 128)
    np.testing.assert_allclose(mirrored[0, 5, 3], maps[0, 5, 124] * (-1, 1, 1) + (127, 0, 0), rtol=1e-6)
    np.testing.assert_allclose(mirror_maps(mirrored, 128), maps, atol=1e-4)


def test_the_identity_follows_the_meaning_of_the_texels(layout):
    moved = UVLayout(layout.landmark_uv + 0.01, layout.region_weights, layout.canonical_map)
    posed = UVLayout(layout.landmark_uv, layout.region_weights, layout.canonical_map + 1)
    assert moved.identity != layout.identity
    assert posed.identity == layout.identity


def test_the_identity_survives_the_rounding_of_another_processor(layout):
    """The golden case is tests/test_ict.py: the shipped network's layout was computed on another machine."""
    rounded = UVLayout(layout.landmark_uv + np.float32(2e-7), layout.region_weights, layout.canonical_map)
    assert not np.array_equal(rounded.landmark_uv, layout.landmark_uv)
    assert rounded.identity == layout.identity
    assert rounded.has_identity(layout.identity)


def test_a_layout_knows_its_hash_in_older_data_sets(layout):
    parts = (layout.landmark_uv, layout.region_weights)
    older = hashlib.sha256(b"".join(np.ascontiguousarray(part, dtype=np.float32) for part in parts)).hexdigest()[:16]
    assert older != layout.identity
    assert layout.has_identity(older)
    assert not layout.has_identity("0" * 16)
