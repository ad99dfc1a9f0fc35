"""The crop: where points go, and that image and points go to the same place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prnet.geometry.crop import (
    Box,
    compose,
    crop_image,
    crop_transform,
    invert_transform,
    landmark_box,
    lift_transform,
    transform_points,
    transform_scale,
)

BOX = Box(centre=np.array([100.0, 60.0]), side=40.0)


def apply(transform, *points):
    return transform_points(transform, np.array(points, dtype=np.float64))


def test_a_box_has_the_middle_of_the_extremes_and_the_mean_side():
    landmarks = np.array([[10, 20, 5], [30, 80, 900], [12, 21, -900], [11, 22, 0]], dtype=np.float32)
    box = landmark_box(landmarks)
    np.testing.assert_allclose(box.centre, [20, 50])
    assert box.side == 40
    assert landmark_box(landmarks[:, :2]).side == 40


def test_the_squares_edges_go_to_the_first_and_last_pixel():
    transform = crop_transform(BOX, 256, margin=1.5)  # a square of side 60 about (100, 60)
    np.testing.assert_allclose(apply(transform, [70, 30], [130, 90], [130, 30]), [[0, 0], [255, 255], [255, 0]])


def test_the_default_margin_is_one_and_a_half():
    np.testing.assert_allclose(crop_transform(BOX, 128), crop_transform(BOX, 128, margin=1.5))


def test_a_positive_angle_turns_x_towards_y():
    transform = crop_transform(BOX, 101, margin=2.5, angle=np.pi / 2)
    np.testing.assert_allclose(apply(transform, [100, 60], [110, 60], [100, 70]), [[50, 50], [50, 60], [40, 50]])


def test_an_angle_is_in_radians():
    transform = crop_transform(BOX, 101, margin=2.5, angle=np.deg2rad(30))
    np.testing.assert_allclose(apply(transform, [110, 60]), [[50 + 10 * np.sqrt(0.75), 55]])


def test_scale_and_shift_act_in_the_crop():
    transform = crop_transform(BOX, 101, margin=2.5, scale=2.0, shift=(3.0, -7.0))
    np.testing.assert_allclose(apply(transform, [100, 60], [110, 65]), [[53, 43], [73, 53]])


def test_a_mirrored_crop_is_the_crop_with_x_reflected():
    landmarks = np.random.default_rng(0).uniform(70, 130, (68, 3))
    plain, mirrored = (crop_transform(BOX, 256, mirror=mirror) for mirror in (False, True))
    expected = transform_points(plain, landmarks) * (-1, 1, 1) + (255, 0, 0)
    np.testing.assert_allclose(transform_points(mirrored, landmarks), expected)


def test_the_mirror_comes_before_rotation_and_shift():
    transform = crop_transform(BOX, 101, margin=2.5, angle=np.pi / 2, shift=(1.0, 2.0), mirror=True)
    np.testing.assert_allclose(apply(transform, [110, 60]), [[51, 42]])


@given(st.floats(-4, 4), st.floats(0.2, 5), st.tuples(st.floats(-99, 99), st.floats(-99, 99)), st.booleans())
def test_a_crop_and_its_inverse_return_every_point(angle, scale, shift, mirror):
    transform = crop_transform(BOX, 256, angle=angle, scale=scale, shift=shift, mirror=mirror)
    points = np.random.default_rng(0).uniform(-50, 500, (20, 3))
    there = transform_points(transform, points)
    back = transform_points(invert_transform(transform), there)
    np.testing.assert_allclose(back, points, atol=1e-8)
    assert transform_scale(transform) == pytest.approx(scale * 255 / 60)
    distance = np.linalg.norm(there[0, :2] - there[1, :2]) / np.linalg.norm(points[0, :2] - points[1, :2])
    assert transform_scale(transform) == pytest.approx(distance)


def test_depth_scales_like_the_image_and_keeps_its_sign_even_mirrored():
    for mirror in (False, True):
        transform = crop_transform(BOX, 121, margin=1.5, angle=0.3, mirror=mirror)  # two crop pixels for one
        np.testing.assert_allclose(apply(transform, [0, 0, 5], [0, 0, -3])[:, 2], [10, -6])


def test_points_keep_their_type_and_the_original_stays():
    points = np.ones((3, 2), dtype=np.float32)
    assert transform_points(crop_transform(BOX, 256), points).dtype == np.float32
    np.testing.assert_array_equal(points, 1)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_lifted_transform_does_the_same(mirror):
    transform = crop_transform(BOX, 256, angle=0.4, scale=0.8, shift=(5, 6), mirror=mirror)
    lifted = lift_transform(transform)
    points = np.random.default_rng(1).uniform(0, 200, (10, 3))
    np.testing.assert_allclose(points @ lifted[:, :3].T + lifted[:, 3], transform_points(transform, points))


def test_composing_is_doing_one_after_the_other():
    first = crop_transform(BOX, 256, angle=0.4, scale=0.8)
    second = crop_transform(Box(np.array([128.0, 90.0]), 150.0), 128, angle=-1.0, mirror=True)
    points = np.random.default_rng(2).uniform(0, 200, (10, 2))
    expected = transform_points(second, transform_points(first, points))
    np.testing.assert_allclose(transform_points(compose(second, first), points), expected)
    lifted = compose(lift_transform(second), lift_transform(first))
    np.testing.assert_allclose(lifted, lift_transform(compose(second, first)), atol=1e-12)


def coordinate_image(height, width):
    """Red holds each pixel's column, green its row."""
    row, column = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([column, row, np.ones_like(row)], axis=-1)


@pytest.mark.parametrize("side", [30.0, 60.0, 100.0, 190.0, 260.0, 400.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_pixels_of_the_crop_come_from_where_the_transform_says(side, mirror):
    """Enlarged and reduced, turned and mirrored: to a twentieth of a pixel of the crop, away from the photo's edge."""
    transform = crop_transform(Box(np.array([300.0, 230.0]), side), 64, angle=0.5, shift=(2, -3), mirror=mirror)
    crop = crop_image(coordinate_image(480, 640), transform, 64)
    row, column = np.mgrid[:64, :64]
    there = np.stack([column, row], axis=-1).reshape(-1, 2).astype(np.float64)
    source = transform_points(invert_transform(transform), there).reshape(64, 64, 2)
    inside = ((source > 10) & (source < (629, 469))).all(axis=-1)
    assert inside.mean() > 0.4
    error = np.abs(crop[..., :2] - source)[inside] * transform_scale(transform)
    assert error.max() < 0.05


def test_a_crop_beyond_the_photo_is_black():
    transform = crop_transform(Box(np.array([0.0, 0.0]), 40.0), 61)  # a square of side 60 about the photo's corner
    crop = crop_image(np.full((100, 100, 3), 200, np.uint8), transform, 61)
    assert crop.dtype == np.uint8
    assert not crop[:30].any()
    assert not crop[:, :30].any()
    np.testing.assert_array_equal(crop[30:, 30:], 200)


def test_a_reduced_photo_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    transform = crop_transform(Box(np.array([255.5, 255.5]), 512 / 1.5), 64)
    crop = crop_image(stripes, transform, 64)[4:-4, 4:-4].astype(float)
    assert np.abs(crop - 127.5).max() < 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_crop_keeps_the_photos_type(dtype):
    photo = np.ones((300, 20, 3), dtype)
    assert crop_image(photo, crop_transform(Box(np.array([10.0, 150.0]), 200.0), 32), 32).dtype == dtype


def test_beyond_the_photo_lies_black_or_its_reflection():
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4, 1).repeat(3, axis=2)
    transform = np.array([[1.0, 0, 2], [0, 1.0, 0]])  # the photo begins two columns into its crop
    assert crop_image(image, transform, 6)[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4]
    assert crop_image(image, transform, 6, reflect=True)[0, :, 0].tolist() == [3, 2, 1, 2, 3, 4]
