"""Distances to a surface: exact on triangles of any size, against brute force."""

import numpy as np
import pytest

from prnet.geometry.surface import Surface, nearest_on_triangles


def test_nearest_points_of_a_triangle_by_hand():
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]], dtype=float)
    points = np.array([[1, 1, 5], [-3, -4, 0], [2, -3, 1], [4, 4, 0], [9, -1, 2]], dtype=float)
    wanted = [[1, 1, 0], [0, 0, 0], [2, 0, 0], [2, 2, 0], [4, 0, 0]]
    np.testing.assert_allclose(nearest_on_triangles(points, corners), wanted, atol=1e-12)


def test_the_nearest_is_found_among_triangles_of_very_unequal_size():
    random = np.random.default_rng(0)
    size = 10 ** random.uniform(-1.5, 1.5, (400, 1, 1))
    corners = random.uniform(-10, 10, (400, 1, 3)) + size * random.normal(0, 1, (400, 3, 3))
    surface = Surface(corners.reshape(-1, 3), np.arange(1200).reshape(-1, 3))
    points = random.uniform(-12, 12, (300, 3))
    every = nearest_on_triangles(points[:, None], corners[None])
    wanted = np.linalg.norm(every - points[:, None], axis=-1).min(axis=1)
    found = np.linalg.norm(surface.nearest(points) - points, axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    quick = np.linalg.norm(surface.nearly_nearest(points) - points, axis=1)
    assert (quick > wanted + 1e-9).any()  # the points are hard enough to need more than the first candidates


def test_one_long_triangle_does_not_make_every_point_try_all():
    """A capped neck among a face's millimetres; what is counted is pairs of points and triangles."""
    random = np.random.default_rng(1)
    tiny = random.uniform(-30, 30, (4000, 1, 3)) + random.normal(0, 1, (4000, 3, 3))
    corners = np.concatenate([tiny, [[[-60, -60, 0], [60, -60, 0], [0, 60, 0]]]])
    points = random.uniform(-30, 30, (40, 3))
    surface = Surface(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3))
    tried, nearest_of = [], surface._nearest_of
    object.__setattr__(
        surface, "_nearest_of", lambda rows, count: tried.append(len(rows) * count) or nearest_of(rows, count)
    )
    found = surface.nearest(points)
    wanted = nearest_on_triangles(points[:, None], corners[None])
    np.testing.assert_allclose(
        np.linalg.norm(found - points, axis=1), np.linalg.norm(wanted - points[:, None], axis=-1).min(axis=1), atol=1e-9
    )
    assert sum(tried) < 0.2 * len(points) * len(corners)


def test_triangles_without_area_do_not_count():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=float)
    surface = Surface(vertices, np.array([[0, 1, 2], [3, 3, 3], [0, 0, 1]]))
    np.testing.assert_allclose(surface.nearest(np.array([[5.0, 5.0, 5.0]])), [[0.5, 0.5, 0]], atol=1e-12)
    with pytest.raises(ValueError, match="area"):
        Surface(vertices, np.array([[3, 3, 3]])).nearest(vertices)
