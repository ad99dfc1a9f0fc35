"""Region weights derived from landmarks, beside PRNet's own masks."""

import cv2
import numpy as np
import pytest

from prnet.geometry.regions import derive_region_weights
from prnet.geometry.uv_layout import texel_coordinates


def overlap(left, right):
    """Intersection over union."""
    return np.count_nonzero(left & right) / np.count_nonzero(left | right)


@pytest.fixture(scope="module")
def prnet_landmarks(shared_data):
    """PRNet's landmark texels as UV coordinates."""
    column, row = np.loadtxt(shared_data / "uv" / "uv_kpt_ind.txt")
    return np.column_stack([column, 255 - row]) / 255


def test_face_and_features_are_those_of_prnets_masks(shared_data, prnet_landmarks):
    face, features, landmarks = (
        cv2.imread(str(shared_data / "uv" / name), cv2.IMREAD_GRAYSCALE)
        for name in ("uv_face_mask.png", "uv_weight_mask.png", "uv_kpt_mask.png")
    )
    weights = derive_region_weights(prnet_landmarks)
    assert overlap(weights > 0, face > 0) > 0.97
    elsewhere = landmarks == 0
    assert overlap((weights == 4) & elsewhere, (features >= 56) & elsewhere) > 0.85


def test_weights_are_those_of_the_paper(prnet_landmarks):
    weights = derive_region_weights(prnet_landmarks)
    assert weights.shape == (256, 256)
    assert weights.dtype == np.float32
    assert set(np.unique(weights)) == {0, 3, 4}


@pytest.mark.parametrize("fixture", ["sample_model", "stand_in_model"])
def test_every_landmark_is_on_the_face_and_the_neck_is_not(fixture, request):
    model = request.getfixturevalue(fixture)
    landmark_uv = model.uv[model.landmark_vertices[:, 0]]
    weights = derive_region_weights(landmark_uv)
    column, row = np.rint(texel_coordinates(landmark_uv, 256)).astype(int).T
    assert np.all(weights[row, column] > 0)
    assert np.all(weights[row[17:], column[17:]] == 4)
    assert np.all(weights[row[5:12], column[5:12]] == 3)
    assert not weights[row[8] + 30 :].any()
    assert not weights[[0, -1]].any()
    assert not weights[:, [0, -1]].any()


def test_symmetric_landmarks_give_symmetric_regions(prnet_landmarks):
    order = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47:45:-1, 39:35:-1, 41:39:-1]
    order = np.r_[order, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1]
    symmetric = (prnet_landmarks + prnet_landmarks[order] * (-1, 1) + (1, 0)) / 2
    weights = derive_region_weights(symmetric)
    np.testing.assert_array_equal(weights, weights[:, ::-1])
