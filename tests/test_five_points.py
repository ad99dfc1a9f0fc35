"""Alignment by five points."""

import numpy as np

from prnet.geometry.crop import crop_transform, landmark_box, transform_points
from prnet.geometry.five_points import (
    DEEP3D_POINTS,
    RECOGNITION_POINTS,
    crop_box,
    deep3d_transform,
    five_points,
    recognition_transform,
    similarity,
)


def test_a_similarity_is_found_again():
    random = np.random.default_rng(0)
    source = random.normal(size=(5, 2))
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    found = similarity(source, source @ turn.T + (3, -2))
    np.testing.assert_allclose(found, np.column_stack([turn, (3, -2)]), atol=1e-12)


def test_five_points_are_eyes_nose_and_mouth():
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48] = (1, 0), (3, 0)
    landmarks[30], landmarks[48], landmarks[54] = (2, 2), (1, 4), (3, 4)
    np.testing.assert_array_equal(five_points(landmarks), [(1, 0), (3, 0), (2, 2), (1, 4), (3, 4)])


def test_the_recognition_crop_puts_them_where_arcface_does():
    moved = RECOGNITION_POINTS * 3 + (20, 40)
    found = transform_points(recognition_transform(moved, 112), moved)
    np.testing.assert_allclose(found, RECOGNITION_POINTS, atol=1e-9)
    half = transform_points(recognition_transform(moved, 56), moved)
    np.testing.assert_allclose(half, (RECOGNITION_POINTS + 0.5) / 2 - 0.5, atol=1e-9)


def test_deep3ds_crop_has_102_pixels_a_unit_and_the_face_in_its_middle():
    """The mean face's own points, frontal, 40 pixels a unit, its origin at (90, 70)."""
    points = DEEP3D_POINTS[:, :2] * (40, -40) + (90, 70)
    found = deep3d_transform(points)
    np.testing.assert_allclose(found[:, :2], np.eye(2) * 102 / 40, atol=1e-9)
    np.testing.assert_allclose(transform_points(found, np.array([90.0, 70.0])), [111.5, 111.5], atol=1e-9)


def test_deep3ds_crop_is_that_of_a_box():
    landmarks = np.random.default_rng(0).uniform(20, 90, (68, 3))
    box = crop_box(landmarks, "five-points")
    np.testing.assert_allclose(crop_transform(box, 224), deep3d_transform(five_points(landmarks)), atol=1e-9)
    assert crop_box(landmarks, "box").side == landmark_box(landmarks).side
