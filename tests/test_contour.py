"""The rims of meshes as smooth contours, and holes closed by membranes."""

import numpy as np
import pytest
from scipy import ndimage

from prnet.geometry.contour import OUTER_WIDTH, closed_holes, smooth_rim
from prnet.geometry.mesh import boundary_edges
from prnet.geometry.uv_layout import grid_triangles

SIZE = 128


@pytest.fixture(scope="module")
def mask():
    """A disc with a notch, a spike and two holes, one of them touching the rim by a corner of a texel."""
    row, column = np.mgrid[:SIZE, :SIZE] - 64.0
    disc = row**2 + column**2 < 50**2
    disc &= (row - 10) ** 2 + column**2 > 9**2
    disc[60:63, 105:116] = False
    disc[20, 12:18] = True
    disc[62:66, 14:16] = False
    return disc


def places(mask):
    return np.argwhere(mask)[:, ::-1].astype(float)


def turns(rim_vertices):
    """How sharply an outline of points bends, in degrees, at each point."""
    step = np.diff(np.concatenate([rim_vertices, rim_vertices[:2]]), axis=0)
    angle = np.arctan2(step[:, 1], step[:, 0])
    return np.abs(np.degrees(np.angle(np.exp(1j * np.diff(angle)))))


def test_rows_sum_to_one_and_the_inside_stays(mask):
    mix = smooth_rim(mask)
    np.testing.assert_allclose(mix(np.ones(mask.sum())), 1, atol=1e-9)
    far = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask] > 10  # a rim texel's width more
    np.testing.assert_array_equal(mix(places(mask))[far], places(mask)[far])


def test_a_staircase_becomes_smooth():
    row, column = np.mgrid[:SIZE, :SIZE] - 64.0
    disc = row**2 + column**2 < 50**2
    moved, rim = smooth_rim(disc)(places(disc)), rim_of(disc)
    assert turns(places(disc)[rim]).max() >= 45
    assert turns(moved[rim]).max() < 6
    assert np.ptp(np.linalg.norm(moved[rim] - 64, axis=1)) < 0.7


def rim_of(mask):
    """The vertices of the one outline of a mask, one after the other."""
    following = dict(boundary_edges(grid_triangles(mask)).tolist())
    rim = [next(iter(following))]
    while following[rim[-1]] != rim[0]:
        rim.append(following[rim[-1]])
    return rim


def test_the_mean_along_the_rim_is_a_gaussian_of_the_stated_width():
    row, column = np.mgrid[:SIZE, :SIZE] - 64.0
    disc = row**2 + column**2 < 50**2
    rim = rim_of(disc)
    weights = smooth_rim(disc)(np.eye(disc.sum())[:, rim])[rim[100]]
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    assert np.sqrt(weights @ (np.arange(len(rim)) - 100.0) ** 2) == pytest.approx(OUTER_WIDTH, rel=0.1)


def test_no_triangle_is_turned_over(mask):
    x, y = np.moveaxis(smooth_rim(mask)(places(mask))[grid_triangles(mask)], -1, 0)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    assert (area < 0).mean() > 0.999


def test_a_hole_is_closed_by_the_membrane_over_its_rim(mask):
    close = closed_holes(mask)
    filled = ndimage.binary_fill_holes(mask)
    np.testing.assert_allclose(close(np.ones(mask.sum())), 1, atol=1e-9)
    plane = places(filled) @ (0.3, -0.7) + 5  # a linear function is harmonic
    np.testing.assert_allclose(close(plane[mask[filled]]), plane, atol=1e-9)
    hill = close(places(mask)[:, 0] ** 2)
    assert hill.max() <= (places(mask)[:, 0] ** 2).max()


def test_a_mask_without_holes_is_itself():
    mask = np.zeros((32, 32), dtype=bool)
    mask[4:28, 6:20] = True
    np.testing.assert_array_equal(closed_holes(mask)(places(mask)), places(mask))
