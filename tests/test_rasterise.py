"""The z-buffer against what is known by heart and against scikit-image's polygons."""

import numpy as np
import pytest
from skimage.draw import polygon2mask

from prnet.geometry.rasterise import interpolate, rasterise, render
from prnet.geometry.uv_layout import grid_triangles

TOWARDS_US = np.array([[0, 2, 1]])
"""Of the corner (1, 1), one to its right and one below it: counter-clockwise as seen, y down."""


def corner(depth=0.0):
    return np.array([[1, 1, depth], [4, 1, depth], [1, 4, depth]])


def test_a_triangle_covers_the_pixel_centres_in_it_and_on_its_edges():
    raster = rasterise(corner(), TOWARDS_US, 6, 7)
    expected = np.zeros((6, 7), dtype=bool)
    for row, columns in ((1, (1, 2, 3, 4)), (2, (1, 2, 3)), (3, (1, 2)), (4, (1,))):
        expected[row, columns] = True
    np.testing.assert_array_equal(raster.triangle == 0, expected)
    np.testing.assert_array_equal(raster.triangle == -1, ~expected)
    np.testing.assert_array_equal(np.isneginf(raster.depth), ~expected)
    assert not raster.barycentric[~expected].any()


def test_barycentric_weights_belong_to_the_triangles_corners():
    raster = rasterise(corner(), TOWARDS_US, 6, 6)
    np.testing.assert_allclose(raster.barycentric[1, 1], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(raster.barycentric[4, 1], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(raster.barycentric[1, 4], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(raster.barycentric[2, 1], [2 / 3, 1 / 3, 0], atol=1e-6)


def test_interpolated_coordinates_are_the_pixels_own():
    random = np.random.default_rng(0)
    vertices = random.uniform(-10, 50, (300, 3))
    triangles = random.integers(0, 300, (200, 3))
    raster = rasterise(vertices, triangles, 30, 40, two_sided=True)
    seen = raster.triangle >= 0
    assert seen.mean() > 0.9
    row, column = np.nonzero(seen)
    values = interpolate(raster, triangles, vertices)[seen]
    np.testing.assert_allclose(values[:, 0], column, atol=2e-2)
    np.testing.assert_allclose(values[:, 1], row, atol=2e-2)
    np.testing.assert_allclose(values[:, 2], raster.depth[seen], atol=2e-2)


def test_the_nearer_triangle_is_seen_whatever_the_order():
    vertices = np.concatenate([corner(depth=1), corner(depth=5), corner(depth=-5)])
    for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        triangles = np.concatenate([TOWARDS_US + 3 * number for number in order])
        raster = rasterise(vertices, triangles, 6, 6)
        assert set(np.unique(raster.triangle)) == {-1, order.index(1)}
        assert set(np.unique(raster.depth[raster.triangle >= 0])) == {5}


def test_crossing_triangles_hide_each_other_by_depth_at_the_pixel():
    left_near = np.array([[0, 0, 8], [0, 20, 8], [8, 0, 0], [8, 20, 0]])
    flat = left_near * (1, 1, 0) + (0, 0, 4)
    triangles = np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6], [6, 5, 7]])
    raster = rasterise(np.concatenate([left_near, flat]), triangles, 21, 9)
    assert np.all(raster.triangle[:, :4] < 2)
    assert np.all(raster.triangle[:, 5:] >= 2)


def test_triangles_that_face_away_are_left_out_unless_two_sided():
    assert (rasterise(corner(), TOWARDS_US, 6, 6).triangle == 0).any()
    assert not (rasterise(corner(), TOWARDS_US[:, ::-1], 6, 6).triangle == 0).any()
    assert (rasterise(corner(), TOWARDS_US[:, ::-1], 6, 6, two_sided=True).triangle == 0).any()


def test_a_closed_sheet_has_no_seams_at_any_place():
    random = np.random.default_rng(1)
    row, column = np.mgrid[:12, :12]
    triangles = grid_triangles(np.ones((12, 12), dtype=bool))
    for _ in range(20):
        sheet = np.stack([column * 5.0, row * 5.0, 0 * row], axis=-1)
        sheet[1:-1, 1:-1, :2] += random.uniform(-2.0, 2.0, (10, 10, 2))
        raster = rasterise(sheet.reshape(-1, 3) - (1.37, 2.0, 0), triangles, 50, 50)
        assert (raster.triangle >= 0).all()


def test_coverage_agrees_with_scikit_image():
    random = np.random.default_rng(2)
    for _ in range(50):
        triangle = np.column_stack([random.uniform(-20, 60, (3, 2)), np.zeros(3)])
        ours = rasterise(triangle, np.array([[0, 1, 2]]), 32, 40, two_sided=True).triangle == 0
        theirs = polygon2mask((32, 40), triangle[:, 1::-1])
        assert np.count_nonzero(ours != theirs) <= 1


@pytest.mark.parametrize("shift", [(1e4, 0), (0, -1e4), (45.0, 0)])
def test_what_lies_beyond_the_picture_is_not_drawn(shift):
    vertices = corner() + (*shift, 0)
    assert not (rasterise(vertices, TOWARDS_US, 6, 6).triangle >= 0).any()


def test_a_triangle_larger_than_the_picture_fills_it():
    vertices = np.array([[-1000, -1000, 3], [-1000, 3000, 3], [3000, -1000, 3]])
    raster = rasterise(vertices, np.array([[0, 1, 2]]), 20, 30)
    assert (raster.triangle == 0).all()
    np.testing.assert_allclose(raster.depth, 3, rtol=1e-5)


def test_places_beyond_any_whole_number_are_beyond_the_picture():
    far = corner() * (1e12, 1, 1)
    assert (rasterise(far - (9e12, 0, 0), TOWARDS_US, 6, 6).triangle == -1).all()
    assert (rasterise(far + (9e12, 0, 0), TOWARDS_US, 6, 6).triangle == -1).all()


def test_triangles_without_an_area_draw_nothing():
    vertices = np.array([[1, 1, 0], [3, 3, 0], [5, 5, 0], [2, 2, 0]])
    raster = rasterise(vertices, np.array([[0, 1, 2], [3, 3, 3]]), 8, 8, two_sided=True)
    assert (raster.triangle == -1).all()


@pytest.mark.parametrize(("dtype", "colour"), [(np.uint8, 200), (np.float32, 0.7)])
def test_a_mesh_is_drawn_over_its_background(dtype, colour):
    background = np.full((6, 7, 3), 3, dtype)
    picture = render(corner(), TOWARDS_US, np.full((3, 3), colour), background)
    assert picture.dtype == dtype
    seen = rasterise(corner(), TOWARDS_US, 6, 7).triangle == 0
    np.testing.assert_allclose(picture[seen], colour, rtol=1e-6)
    np.testing.assert_array_equal(picture[~seen], 3)
    np.testing.assert_array_equal(background, 3)


def test_colours_are_rounded_and_blend_between_corners():
    colours = np.array([[0, 0, 0], [99, 0, 0], [0, 0, 100]])
    picture = render(corner(), TOWARDS_US, colours, np.zeros((6, 6, 3), np.uint8))
    np.testing.assert_array_equal(picture[1, 2], [33, 0, 0])
    np.testing.assert_array_equal(picture[2, 1], [0, 0, 33])
    np.testing.assert_array_equal(picture[3, 1], [0, 0, 67])
