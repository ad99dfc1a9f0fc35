"""Losses without 3D labels, each by hand."""

import math

import numpy as np
import pytest

from prnet.configure.config import PhotoTerms
from prnet.model import photo_losses
from prnet.model.photo_losses import (
    OUTLIER,
    coefficient_prior,
    coloured_light,
    landmark_weights,
    perceptual_error,
    photometric_error,
    reflectance_variance,
    squared_landmark_error,
)


def test_photometric_is_the_mean_norm_over_colours_where_the_face_is_seen():
    photo = np.zeros((2, 3, 3), np.float32)
    rendering = np.array([[[0.03, 0.0, 0.04], [0, 0, 0], [9, 9, 9]], [[9, 9, 9]] * 3], np.float32)
    weights = np.array([[1, 3, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(photometric_error(photo, rendering, weights), [0.05 / 4, 0], atol=2e-6)


def test_what_differs_much_is_no_skin_and_counts_no_more_for_it():
    """Nine points are right; the tenth is off by 0.5 or 1. Where all are off, all count."""
    for off in (0.5, 1.0):
        rendering = np.zeros((1, 10, 3), np.float32)
        rendering[0, 0] = (0.6 * off, 0.0, 0.8 * off)
        found = photometric_error(np.zeros_like(rendering), rendering, np.ones((1, 10), np.float32), "cut")
        np.testing.assert_allclose(found, [OUTLIER / 10], atol=2e-6)
        published = photometric_error(np.zeros_like(rendering), rendering, np.ones((1, 10), np.float32))
        np.testing.assert_allclose(published, [off / 10], atol=2e-6)
        everywhere = np.repeat(rendering[:, :1], 10, axis=1)
        found = photometric_error(np.zeros_like(rendering), everywhere, np.ones((1, 10), np.float32), "cut")
        np.testing.assert_allclose(found, [off], atol=2e-6)


def test_an_overexposed_photo_may_be_of_something_brighter():
    photo = np.array([[[1.0, 0.5, 0.5]], [[1.0, 0.5, 0.5]], [[0.9, 0.5, 0.5]]], np.float32)
    rendering = photo + np.array([[[0.1, 0, 0]], [[-0.1, 0, 0]], [[0.1, 0, 0]]], np.float32)
    found = photometric_error(photo, rendering, np.ones((3, 1), np.float32), "cut")
    np.testing.assert_allclose(found, [0, 0.1, 0.1], atol=2e-6)


def test_landmarks_count_squared_pixels_and_the_inner_mouth_twenty_fold():
    truth = np.zeros((1, 68, 2), np.float32)
    for landmark, weight in ((0, 1), (28, 20), (31, 1), (60, 20), (67, 20)):
        found = truth.copy()
        found[0, landmark] = (3 / 224, 4 / 224)
        np.testing.assert_allclose(squared_landmark_error(truth, found), [25 * weight / 68], rtol=1e-5)
    assert landmark_weights().sum() == 68 + 19 * 11


def test_perceptual_is_one_minus_the_cosine():
    first, second = np.array([[1, 0], [1, 0], [1, 0]], np.float32), np.array([[5, 0], [3, 3], [-2, 0]], np.float32)
    np.testing.assert_allclose(perceptual_error(first, second), [0, 1 - math.sqrt(0.5), 2], atol=1e-6)


def test_coefficients_count_by_kind():
    one = np.ones((1, 2), np.float32)
    np.testing.assert_allclose(coefficient_prior(one, 2 * one, 3 * one), [2 + 0.8 * 8 + 0.017 * 18], rtol=1e-6)


def test_reflectance_is_the_variance_of_skin_alone():
    albedo = np.zeros((1, 1, 3, 3), np.float32)
    albedo[0, 0] = [[0.2, 0.5, 0], [0.4, 0.5, 0], [1, 1, 1]]
    np.testing.assert_allclose(reflectance_variance(albedo, np.array([[1, 1, 0]], np.float32)), [0.01], rtol=1e-5)


def test_white_light_of_any_shape_is_not_coloured():
    white = np.repeat(np.random.default_rng(0).normal(size=(1, 9, 1)), 3, axis=2).astype(np.float32)
    np.testing.assert_allclose(coloured_light(white), [0], atol=1e-12)
    red = white + np.array([0.3, 0, 0], np.float32)
    np.testing.assert_allclose(coloured_light(red), [(0.04 + 0.01 + 0.01) / 3], rtol=1e-4)


def test_weights_are_those_that_were_published():
    terms = PhotoTerms()
    assert (terms.photometric, terms.landmarks, terms.perceptual) == (1.92, 1.6e-3, 0.2)
    assert (terms.coefficients, terms.reflectance, terms.light) == (3e-4, 5, 10)
    assert (photo_losses.IDENTITY, photo_losses.EXPRESSION, photo_losses.ALBEDO) == (1, 0.8, 0.017)


@pytest.mark.parametrize("name", ["photometric_error", "squared_landmark_error"])
def test_what_is_perfect_has_a_gradient_that_is_finite(name):
    tf = pytest.importorskip("tensorflow")
    truth = tf.zeros((1, 68, 2 if name == "squared_landmark_error" else 3))
    extra = () if name == "squared_landmark_error" else (tf.ones((1, 68)),)
    with tf.GradientTape() as tape:
        tape.watch(truth)
        loss = getattr(photo_losses, name)(tf.zeros_like(truth), truth, *extra)
    assert np.isfinite(tape.gradient(loss, truth).numpy()).all()
