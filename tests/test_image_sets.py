"""Several photos of one person share an identity."""

import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.model.image_sets import ahead, predict_person
from prnet.model.networks import build_network, predict_faces
from prnet.model.saved_network import load_network
from prnet.reconstructing.settings import MODEL_PATH


@pytest.fixture(scope="module")
def network():
    return load_network(MODEL_PATH)[0]


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, 128, 128, 3)).astype(np.float32)


def test_one_photo_is_what_it_is_alone(network, crops):
    maps, parameters = predict_person(network, crops[:1])
    expected, alone = predict_faces(network, crops[:1])
    np.testing.assert_allclose(maps, expected, atol=0.01)
    np.testing.assert_allclose(parameters.identity, alone.identity, atol=1e-5)


def test_all_have_the_weighted_mean_identity_and_keep_the_rest(network, crops):
    weights = np.array([1.0, 3.0, 0.0])
    maps, parameters = predict_person(network, crops, weights)
    _, alone = predict_faces(network, crops)
    shared = (alone.identity[0] + 3 * alone.identity[1]) / 4
    np.testing.assert_allclose(parameters.identity, np.tile(shared, (3, 1)), atol=1e-5)
    np.testing.assert_allclose(parameters.expressions, alone.expressions, atol=1e-5)
    np.testing.assert_allclose(parameters.rotation, alone.rotation, atol=1e-5)
    assert np.isfinite(maps).all()


def test_who_looks_ahead_counts_most():
    turned = np.array([[0.6, 0, -0.8], [0, 1, 0], [0.8, 0, 0.6], [0, 0, 0]]) * 0.3
    away = np.diag([-1.0, 1, -1])
    pose = np.stack([np.vstack([0.3 * np.eye(3), np.zeros(3)]), turned, np.vstack([away, np.zeros(3)])])
    np.testing.assert_allclose(ahead(pose), [1, 0.6, 0.05])


def test_a_network_without_identity_is_refused(crops):
    with pytest.raises(UserError, match="knows no identity"):
        predict_person(build_network("lprnet", 128), crops)
