"""Mouths and eyes: what opening, slope, correlation and error are, by hand, and what the tables show of them."""

import numpy as np
import pytest

from prnet.evaluating.nme import root_box_area
from prnet.evaluating.openings import Agreement, agreement, landmark_agreements, opening


def faces(gaps, apertures=4.0):
    """Landmarks (N, 68, 3) in a box of 100 x 64, whose root is 80, with lips and lids so many pixels apart."""
    landmarks = np.zeros((len(gaps), 68, 3))
    landmarks[:, 8:, :2] = 50, 32
    landmarks[:, 1, :2] = 100, 64
    landmarks[:, (61, 62, 63), 1] -= np.asarray(gaps, dtype=float)[:, None]
    landmarks[:, (37, 38, 43, 44), 1] -= np.broadcast_to(apertures, len(gaps))[:, None]
    landmarks[..., 2] = np.random.default_rng(0).normal(0, 50, landmarks.shape[:2])
    return landmarks


def test_openings_are_2d_distances_in_per_cent_of_the_box():
    landmarks = faces([8.0, 0.0])
    size = root_box_area(landmarks)
    np.testing.assert_allclose(size, 80)
    np.testing.assert_allclose(opening(landmarks, "mouth", size), [10, 0])
    np.testing.assert_allclose(opening(landmarks, "eyes", size), [5, 5])


def test_the_mean_over_the_pairs_is_of_distances():
    landmarks = faces([0.0])
    landmarks[:, 61, :2] += 3, 4
    assert opening(landmarks, "mouth", 100.0)[0] == pytest.approx(5 / 3)


def test_slope_is_of_predicted_against_true():
    truth = np.array([0.0, 1.0, 2.0, 5.0])
    found = agreement(0.5 * truth + 1, truth)
    assert (found.slope, found.correlation) == (pytest.approx(0.5), pytest.approx(1))
    assert found.error == pytest.approx(np.mean([1, 0.5, 0, 1.5]))
    random = np.random.default_rng(1)
    predicted, truth = random.normal(0, 1, (2, 50))
    found = agreement(predicted, truth)
    assert found.slope == pytest.approx(np.polyfit(truth, predicted, 1)[0])
    assert found.correlation == pytest.approx(np.corrcoef(truth, predicted)[0, 1])


def test_a_mouth_that_stays_shut_has_slope_0_and_no_correlation():
    found = landmark_agreements(faces([2.0] * 4), faces([2.0, 4.0, 8.0, 10.0]))["mouth"]
    assert found.slope == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.correlation)
    assert found.text == "0.00 / - / 5.00"


def test_images_without_a_result_do_not_count():
    predicted, truth = faces([1.0, 2.0, 3.0]), faces([1.0, 2.0, 4.0])
    predicted[0] = np.nan
    found = landmark_agreements(predicted, truth)["mouth"]
    assert found.error == pytest.approx(100 / 80 / 2)
    assert landmark_agreements(np.full_like(truth, np.nan), truth)["eyes"].text == ""
    assert agreement(np.array([np.nan]), np.array([1.0])).text == Agreement(np.nan, np.nan, np.nan).text


def test_landmarks_in_2d_are_enough():
    predicted, truth = faces([1.0, 3.0]), faces([2.0, 6.0])
    flat, whole = (landmark_agreements(predicted[..., :d], truth[..., :d])["mouth"] for d in (2, 3))
    assert (flat.slope, flat.error) == (pytest.approx(whole.slope), pytest.approx(whole.error))
