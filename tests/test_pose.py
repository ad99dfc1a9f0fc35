"""Rotations and the step from a fit to pixels, against SciPy's rotations, hand-computed values and real landmarks."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prnet.formats.fit_files import read_fit
from prnet.geometry.face_model import face_vertices
from prnet.geometry.pose import (
    angles_from_rotation,
    fit_to_pixels,
    one_based_to_pixels,
    pixels_to_fit,
    rotation_from_angles,
)

RIGHT, UP, FORWARD = np.eye(3)
ANGLE = st.floats(-1.5, 1.5)


@pytest.mark.parametrize(
    ("angles", "vector", "turned"),
    [
        ((90, 0, 0), UP, -FORWARD),  # a positive pitch throws the head back: the forehead moves away from us,
        ((90, 0, 0), FORWARD, UP),  # the nose points up
        ((0, 90, 0), FORWARD, -RIGHT),  # a positive yaw turns the nose to the image's left
        ((0, 90, 0), RIGHT, FORWARD),
        ((0, 0, 90), UP, RIGHT),  # a positive roll turns the forehead to the image's right
        ((0, 0, 90), RIGHT, -UP),
        ((90, 90, 0), RIGHT, UP),  # yaw before pitch
        ((0, 90, 90), UP, FORWARD),  # roll before yaw
    ],
)
def test_quarter_turns(angles, vector, turned):
    np.testing.assert_allclose(rotation_from_angles(np.deg2rad(angles)) @ vector, turned, atol=1e-12)


def test_rotations_are_scipys_with_the_angles_reversed():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (4, 5, 3))
    expected = Rotation.from_euler("XYZ", -angles.reshape(-1, 3)).as_matrix()
    np.testing.assert_allclose(rotation_from_angles(angles), expected.reshape(4, 5, 3, 3), atol=1e-12)


@given(st.floats(-3, 3), st.floats(-1.57, 1.57), st.floats(-3, 3))
def test_angles_come_back_from_a_rotation(pitch, yaw, roll):
    angles = np.array([pitch, yaw, roll])
    np.testing.assert_allclose(angles_from_rotation(rotation_from_angles(angles)), angles, atol=1e-6)


@pytest.mark.parametrize("yaw", [np.pi / 2, -np.pi / 2])
def test_angles_in_full_profile_give_the_same_rotation_without_roll(yaw):
    rotation = rotation_from_angles(np.array([0.3, yaw, 0.2]))
    angles = angles_from_rotation(rotation)
    assert angles[2] == 0
    np.testing.assert_allclose(rotation_from_angles(angles), rotation, atol=1e-7)


def test_a_fit_moves_scales_and_turns_y_down():
    transform = fit_to_pixels(np.array([0, 0, 0, 30, 40, 5, 2.0]), image_height=100)
    vertex = np.array([7.0, 11.0, 13.0])
    # 1-based, y up: (30 + 14, 40 + 22, 5 + 26); 0-based, y down: x - 1, 100 - y.
    np.testing.assert_allclose(transform[:, :3] @ vertex + transform[:, 3], [43, 38, 31])


def test_a_turned_fit_against_the_formula_written_out():
    """p = s R v + t, pixel = (p.x - 1, H - p.y, p.z), with the rotation from SciPy."""
    pose = np.array([0.2, -0.5, 0.1, 120.0, 90.0, -30.0, 1e-3])
    vertices = np.random.default_rng(1).normal(0, 5e4, (50, 3))
    placed = 1e-3 * Rotation.from_euler("XYZ", [-0.2, 0.5, -0.1]).apply(vertices) + [120, 90, -30]
    transform = fit_to_pixels(pose, 240)
    expected = np.column_stack([placed[:, 0] - 1, 240 - placed[:, 1], placed[:, 2]])
    np.testing.assert_allclose(vertices @ transform[:, :3].T + transform[:, 3], expected, atol=1e-9)


@given(ANGLE, ANGLE, ANGLE, st.floats(-500, 500), st.floats(1e-4, 10), st.integers(1, 2000))
def test_a_fit_comes_back_from_its_transform(pitch, yaw, roll, shift, scale, height):
    pose = np.array([pitch, yaw, roll, shift, 2 * shift, -shift, scale])
    np.testing.assert_allclose(pixels_to_fit(fit_to_pixels(pose, height), height), pose, rtol=1e-6, atol=1e-6)


def test_matlabs_first_pixel_is_ours_at_zero_and_depth_stays():
    points = np.array([[1, 1, 1], [5, 9, 2]], dtype=np.float32)
    moved = one_based_to_pixels(points)
    np.testing.assert_array_equal(moved, [[0, 0, 1], [4, 8, 2]])
    assert moved.dtype == np.float32


def test_real_fits_reproduce_the_published_landmarks(shared_data, stand_in_model):
    """AFLW2000-3D's `pt3d_68` within the stand-in model's accuracy, and without an offset common to the images."""
    means = []
    paths = sorted((shared_data / "AFLW2000").glob("*.mat"))
    assert len(paths) == 6
    for path in paths:
        fit, height = read_fit(path), cv2.imread(str(path.with_suffix(".jpg"))).shape[0]
        transform = fit_to_pixels(fit.pose, height)
        vertices = face_vertices(stand_in_model, fit.coefficients, stand_in_model.landmark_vertices[:, 0])
        error = vertices @ transform[:, :3].T + transform[:, 3] - fit.landmarks
        assert np.sqrt(np.square(error).mean(axis=0)).max() < 2.6, path.name
        means.append(error.mean(axis=0))
    assert np.abs(np.mean(means, axis=0)).max() < 0.25
    assert np.abs(np.mean(means, axis=0))[0] < 0.15
