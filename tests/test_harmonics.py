"""Light as spherical harmonics: the published constants, what a light does, mirrored light."""

import math

import numpy as np
from scipy.special import sph_harm_y

from prnet.geometry.harmonics import AMBIENT, harmonics, mirrored_light
from prnet.model.light import light_of_coefficients, shading


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_they_are_spherical_harmonics_times_a_constant_for_each_band():
    """SciPy's complex functions as the outside truth: each band spans the same space, scaled by pi, 2 pi / sqrt 3 and
    2 pi / sqrt 8."""
    normals = unit_vectors(200)
    found = harmonics(normals)
    polar, azimuth = np.arccos(normals[:, 2]), np.arctan2(normals[:, 1], normals[:, 0])
    for band, columns, constant in ((0, [0], math.pi), (1, [1, 2, 3], 3.6276), (2, [4, 5, 6, 7, 8], 2.2214)):
        theirs = np.abs([sph_harm_y(band, order, polar, azimuth) for order in range(-band, band + 1)]) ** 2
        power = np.square(found[:, columns] / constant).sum(axis=1)
        np.testing.assert_allclose(power, theirs.sum(axis=0), rtol=1e-4)


def test_by_hand_at_the_normal_that_faces_the_camera():
    values = harmonics(np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(values[:4], [0.5 * math.sqrt(math.pi), 0, math.sqrt(math.pi), 0], atol=1e-12)
    np.testing.assert_allclose(values[6], 2 * math.pi / math.sqrt(8) * 1.0925484 / math.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(values[[4, 5, 7, 8]], 0, atol=1e-12)


def test_no_coefficients_are_even_white_light():
    light = np.asarray(light_of_coefficients(np.zeros((1, 27), np.float32)))
    lit = np.asarray(shading(unit_vectors(5)[None].astype(np.float32), light))
    np.testing.assert_allclose(lit, AMBIENT * math.pi / math.sqrt(4 * math.pi), rtol=1e-6)


def test_coefficients_are_nine_for_red_then_green_then_blue():
    light = np.asarray(light_of_coefficients(np.arange(27, dtype=np.float32)[None]))[0]
    np.testing.assert_allclose(light[1:, 0], np.arange(1, 9))
    np.testing.assert_allclose(light[0], [0.8, 9.8, 18.8], rtol=1e-6)


def test_a_mirrored_face_under_mirrored_light_looks_the_same():
    normals, light = unit_vectors(20), np.random.default_rng(1).normal(size=(9, 3))
    np.testing.assert_allclose(harmonics(normals * (-1, 1, 1)) @ mirrored_light(light), harmonics(normals) @ light)
