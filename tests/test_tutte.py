"""The Tutte embedding: no triangle flipped, in the square, symmetric, near the layout that PRNet uses."""

import numpy as np
import pytest

from prnet.geometry.mesh import boundary_loops
from prnet.geometry.tutte import tutte_embedding
from prnet.geometry.uv_layout import grid_triangles


def signed_areas(uv, triangles):
    first, second, third = (uv[triangles[:, corner]] for corner in range(3))
    return np.linalg.det(np.stack([second - first, third - first], axis=-2)) / 2


def dome(side, holes=()):
    """A symmetric dome of side x side vertices, x right, y up, with rectangular holes."""
    mask = np.ones((side, side), dtype=bool)
    for hole in holes:
        mask[hole] = False
    row, column = np.nonzero(mask)
    x, y = 2 * column / (side - 1) - 1, 1.3 - 2.6 * row / (side - 1)
    return np.column_stack([x, y, 1 - x**2 - 0.4 * y**2]), grid_triangles(mask)


@pytest.mark.parametrize("holes", [[], [np.s_[12, 6:15]], [np.s_[12:15, 6:15], np.s_[4, 4]]])
def test_a_dome_is_flattened_without_a_fold(holes):
    vertices, triangles = dome(21, holes)
    uv = tutte_embedding(vertices, triangles)
    assert uv.shape == (len(vertices), 2)
    assert uv.min() >= 0
    assert uv.max() <= 1
    assert signed_areas(uv, triangles).min() > 0


def test_a_flat_square_stays_as_it_is():
    """Mean-value weights reproduce linear functions (Floater 2003), so a flat mesh on the square maps to itself."""
    vertices, triangles = dome(17)
    random = np.random.default_rng(0)
    square = np.column_stack([vertices[:, 0], vertices[:, 1] / 1.3, np.zeros(len(vertices))])
    inner = (np.abs(square[:, :2]) < 0.99).all(axis=1)
    square[inner, :2] += random.uniform(-0.03, 0.03, (np.count_nonzero(inner), 2))
    np.testing.assert_allclose(tutte_embedding(5e4 * square, triangles), square[:, :2] / 2 + 0.5, atol=1e-9)


def test_u_runs_to_the_right_and_v_up():
    vertices, triangles = dome(21, [np.s_[12, 6:15]])
    u, v = tutte_embedding(vertices, triangles).T
    assert np.corrcoef(u, vertices[:, 0])[0, 1] > 0.98
    assert np.corrcoef(v, vertices[:, 1])[0, 1] > 0.98


def test_the_boundary_lies_on_the_squares_edge_in_proportion_to_its_length():
    vertices, triangles = dome(21)
    loop = boundary_loops(triangles)[0]
    uv = tutte_embedding(vertices, triangles)[loop]
    on_edge = (uv == 0) | (uv == 1)
    assert on_edge.any(axis=1).all()
    length = np.linalg.norm(np.roll(vertices[loop], -1, axis=0) - vertices[loop], axis=1)
    step = np.abs(np.roll(uv, -1, axis=0) - uv).sum(axis=1)
    np.testing.assert_allclose(step, length * 4 / length.sum(), rtol=1e-9)


def test_the_mid_plane_meets_the_middle_of_the_edges_of_a_lopsided_face():
    vertices, triangles = dome(21)
    left = vertices[:, 0] < 0
    vertices[left, 2] -= 5 * np.square(vertices[left, 0])
    uv = tutte_embedding(vertices, triangles)
    np.testing.assert_allclose(uv[[10, -11]], [[0.5, 1], [0.5, 0]], atol=1e-9)


def test_a_closed_hole_has_its_middle_within_its_rim():
    vertices, triangles = dome(21, [np.s_[12, 6:15]])
    _, rim = boundary_loops(triangles)
    uv = tutte_embedding(vertices, triangles)
    fan = np.column_stack([np.roll(rim, -1), rim, np.full(len(rim), len(uv))])
    assert signed_areas(np.vstack([uv, uv[rim].mean(axis=0)]), fan).min() > 0


def test_a_mesh_that_is_no_disk_is_refused():
    vertices, triangles = dome(21)
    count = len(vertices)
    for broken, complaint in (
        (triangles[(triangles != 200).all(axis=1)], "one piece"),
        (np.vstack([triangles, triangles + count]), "one piece"),
        (np.vstack([triangles, [[0, 30, 60]]]), "touches itself"),
        (np.vstack([triangles, triangles[:, ::-1]]), "no boundary"),
        (np.vstack([triangles, [[30, 30, 31]]]), "without an area|touches itself"),
        (np.vstack([triangles, [[count, count + 1, count + 2]]]), "one piece"),
    ):
        with pytest.raises(ValueError, match=complaint):
            tutte_embedding(np.vstack([vertices, vertices + (5, 0, 0)])[: broken.max() + 1], broken)


def test_a_triangle_without_an_area_is_refused():
    vertices, triangles = dome(21)
    vertices[200] = vertices[201]
    with pytest.raises(ValueError, match="without an area"):
        tutte_embedding(vertices, triangles)


@pytest.fixture(scope="module")
def stand_in_embedding(stand_in_model):
    return tutte_embedding(stand_in_model.mean, stand_in_model.triangles).astype(np.float32)


def test_no_triangle_of_the_stand_in_model_is_flipped(stand_in_model, stand_in_embedding):
    assert signed_areas(stand_in_embedding.astype(np.float64), stand_in_model.triangles).min() > 0
    assert stand_in_embedding.min() >= 0
    assert stand_in_embedding.max() <= 1


def test_stand_in_embedding_is_symmetric_where_the_mesh_is(shared_data, stand_in_embedding):
    from scipy.io import loadmat

    pairs = loadmat(shared_data / "bfm" / "BFM_info.mat")["model_info"][0, 0]["symlist"].astype(int) - 1
    left, right = stand_in_embedding[pairs[0]], stand_in_embedding[pairs[1]]
    assert np.linalg.norm(left - (1 - right[:, 0])[:, None] * (1, 0) - right * (0, 1), axis=1).max() < 0.02


def test_stand_in_embedding_puts_landmarks_where_prnet_does(stand_in_model, stand_in_embedding):
    landmarks = stand_in_model.landmark_vertices[:, 0]
    distance = np.linalg.norm(stand_in_embedding[landmarks] - stand_in_model.uv[landmarks], axis=1) * 255
    assert distance.mean() < 5


def test_sample_model_is_flattened_without_a_fold_and_symmetric(sample_model):
    uv = sample_model.uv.astype(np.float64)
    assert signed_areas(uv, sample_model.triangles).min() > 0
    assert uv.min() >= 0
    assert uv.max() <= 1
    from scipy.spatial import cKDTree

    distance, mirror = cKDTree(sample_model.mean).query(sample_model.mean * (-1, 1, 1))
    assert distance.max() < 1
    np.testing.assert_allclose(uv[mirror], np.column_stack([1 - uv[:, 0], uv[:, 1]]), atol=0.02)
