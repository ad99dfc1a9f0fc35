import keras
import numpy as np
import pytest
from keras import ops

from prnet.common.errors import UserError
from prnet.configure.config import LossTerms
from prnet.geometry.uv_layout import UVLayout, landmark_stencil, sample_landmarks, weight_mask
from prnet.model.compilation import MapTraining
from prnet.model.losses import (
    FaceLoss,
    MapLoss,
    aperture_error,
    edge_length_error,
    known_landmark_error,
    landmark_error,
    map_loss,
    normal_error,
    weighted_root_mean_squared_error,
)
from prnet.model.metrics import LandmarkNME

TRUTH = np.zeros((2, 2, 2, 3), dtype=np.float32)
PREDICTION = np.zeros((2, 2, 2, 3), dtype=np.float32)
PREDICTION[0, 0, 0] = (1, 2, 2)  # |P - T|^2 = 9 at weight 16
PREDICTION[1, 1, 1] = (0, 3, 4)  # |P - T|^2 = 25 at weight 4
WEIGHTS = np.array([[16, 3], [0, 4]], dtype=np.float32)  # sum 23


@pytest.fixture
def layout() -> UVLayout:
    random = np.random.default_rng(3)
    return UVLayout(
        landmark_uv=random.uniform(0.05, 0.95, (68, 2)).astype(np.float32),
        region_weights=np.full((256, 256), 3, dtype=np.float32),
        canonical_map=np.zeros((256, 256, 3), dtype=np.float32),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", (9 / 12 + 25 / 12) / 2),
        ("wtmse", (16 * 9 / 23 + 4 * 25 / 23) / 2),
        ("wtrmse", (np.sqrt(16 * 9 / 23) + np.sqrt(4 * 25 / 23)) / 2),
        ("wtmae", (16 * 5 / 23 + 4 * 7 / 23) / 2),
    ],
)
def test_losses_by_hand(name, expected):
    loss = MapLoss(name, WEIGHTS)
    assert float(loss(TRUTH, PREDICTION)) == pytest.approx(expected, rel=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(TRUTH, PREDICTION)) == pytest.approx(expected, rel=1e-6)


def test_wtrmse_by_hand_with_its_gradient():
    """Squared distances whose weighted means are the squares of 3 and 5, so that no root need be trusted.

    16 x 9 + 1 x 81 = 225 = 25 x 9 and 4 x 121 + 1 x 141 = 625 = 25 x 25, where 25 is the sum of the weights. The root
    is taken of each image: (3 + 5) / 2 = 4, where the root of the mean of both would be 4.12. The gradient of one
    channel is W (P - T) / (sum of W x root), halved by the batch of two.
    """
    import tensorflow as tf

    weights = np.array([[16, 4], [4, 1]], dtype=np.float32)
    truth = np.full((2, 2, 2, 3), 7, dtype=np.float32)
    distance = np.zeros((2, 2, 2, 3), dtype=np.float32)
    distance[0, 0, 0], distance[0, 1, 1] = (1, 2, 2), (8, 4, 1)  # 9 and 81
    distance[1, 0, 1], distance[1, 1, 1] = (9, 6, 2), (10, 5, 4)  # 121 and 141
    prediction = tf.Variable(truth - distance)
    with tf.GradientTape() as tape:
        loss = MapLoss("wtrmse", weights)(truth, prediction)
    assert float(loss) == pytest.approx(4, abs=1e-6)
    gradient = tape.gradient(loss, prediction).numpy()
    np.testing.assert_allclose(gradient[0, 0, 0], [-16 / 150, -32 / 150, -32 / 150], rtol=1e-5)
    np.testing.assert_allclose(gradient[1, 1, 1], [-10 / 250, -5 / 250, -4 / 250], rtol=1e-5)
    np.testing.assert_array_equal(gradient[0, 0, 1], 0)


def test_texels_without_weight_do_not_count():
    prediction = TRUTH.copy()
    prediction[:, 1, 0] = 100
    assert float(MapLoss("wtmse", WEIGHTS)(TRUTH, prediction)) == 0
    assert float(MapLoss("mse")(TRUTH, prediction)) > 0


def test_the_root_has_a_gradient_at_a_perfect_map():
    import tensorflow as tf

    prediction = tf.Variable(TRUTH)
    with tf.GradientTape() as tape:
        loss = ops.sum(weighted_root_mean_squared_error(TRUTH, prediction, WEIGHTS))
    assert np.isfinite(tape.gradient(loss, prediction).numpy()).all()


def test_the_weights_are_the_layouts(layout):
    loss = map_loss("wtmse", layout, 128)
    np.testing.assert_array_equal(loss.weights, weight_mask(layout, 128))
    assert set(np.unique(loss.weights)) == {3, 16}


def test_an_unknown_loss_is_named():
    with pytest.raises(UserError, match="unknown loss 'l1'"):
        MapLoss("l1")


def test_nme_agrees_with_numpy(layout):
    random = np.random.default_rng(0)
    truth, prediction = random.uniform(0, 1, (2, 5, 64, 64, 3)).astype(np.float32)
    metric = LandmarkNME(layout, 64)
    metric.update_state(truth[:3], prediction[:3])
    metric.update_state(truth[3:], prediction[3:])  # batches of unequal size: the mean is over images

    true_points = sample_landmarks(truth, layout)[..., :2]
    error = np.linalg.norm(sample_landmarks(prediction, layout)[..., :2] - true_points, axis=-1).mean(axis=-1)
    side = np.sqrt(np.prod(true_points.max(axis=1) - true_points.min(axis=1), axis=-1))
    assert float(metric.result()) == pytest.approx(100 * np.mean(error / side), rel=1e-5)


def test_nme_of_a_shift(layout):
    column, row = np.meshgrid(np.arange(64.0), np.arange(64.0))
    truth = np.stack([column, row, 0 * row], axis=-1)[None].astype(np.float32)
    prediction = truth + np.float32([3, 4, 1000])  # 5 pixels; z does not count
    points = layout.landmark_uv * 63
    side = np.sqrt(np.prod(points.max(axis=0) - points.min(axis=0)))
    metric = LandmarkNME(layout, 64)
    metric.update_state(truth, prediction)
    assert float(metric.result()) == pytest.approx(100 * 5 / side, rel=1e-4)


def test_landmarks_are_measured_in_the_picture():
    truth, prediction = np.zeros((2, 68, 3), np.float32), np.zeros((2, 68, 3), np.float32)
    prediction[0, 5] = (3, 4, 100)
    np.testing.assert_allclose(ops.convert_to_numpy(landmark_error(truth, prediction)), [5 / 68, 0], atol=1e-5)


def test_landmarks_of_photos_count_where_they_are_known():
    truth, prediction = np.zeros((3, 68, 2), np.float32), np.zeros((3, 68, 3), np.float32)
    truth[0, 7], truth[1], truth[2, 1:] = np.nan, np.nan, np.nan
    prediction[0, 5], prediction[0, 7], prediction[1] = (3, 4, 100), (50, 0, 0), 9
    moved = keras.Variable(prediction)
    assert float(known_landmark_error(truth, moved)) == pytest.approx(5 / 68, abs=1e-5)
    assert float(known_landmark_error(np.full_like(truth, np.nan), moved)) == 0


def test_apertures_do_not_feel_where_the_face_lies():
    random = np.random.default_rng(0)
    truth = random.normal(size=(1, 68, 3)).astype(np.float32)
    moved = truth + np.array([5, -3, 2], np.float32)
    assert float(aperture_error(truth, moved)[0]) == pytest.approx(0, abs=1e-5)
    opened = moved.copy()
    opened[0, 66] += (0, 0.6, -0.2)  # the lower lip's middle: it belongs to one pair of twelve
    assert float(aperture_error(truth, opened)[0]) == pytest.approx(0.8 / 12, rel=1e-4)


def test_a_stretched_surface_has_longer_edges_and_the_same_normals():
    column, row = np.meshgrid(np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32))
    flat = np.stack([column, row, np.zeros_like(row)], axis=-1)[None]
    mask = np.ones((4, 4), np.float32)
    mask[3] = 0
    wide = flat * np.array([3, 1, 1], np.float32)
    assert float(edge_length_error(flat, wide, mask)[0]) == pytest.approx((2 + 0) / 2)
    assert float(normal_error(flat, wide, mask)[0]) == pytest.approx(0, abs=1e-5)


def test_a_slope_meets_the_normal_at_its_angle():
    """A surface that climbs 3 where it goes 4 to the right: of edges to the right 3/5 lies along the true normal."""
    column, row = np.meshgrid(np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32))
    flat = np.stack([column, row, np.zeros_like(row)], axis=-1)[None]
    slope = np.stack([column, row, 0.75 * column], axis=-1)[None]
    error = float(normal_error(flat, slope, np.ones((4, 4), np.float32))[0])
    assert error == pytest.approx((3 / 5 + 0) / 2, rel=1e-5)


@pytest.mark.parametrize("term", ["landmarks", "apertures", "edges", "normals"])
def test_every_term_counts_by_its_weight(layout, term):
    random = np.random.default_rng(1)
    truth, prediction = random.random((2, 2, 128, 128, 3), dtype=np.float32)
    plain = map_loss("wtmae", layout, 128)
    base, once, twice = (
        float(FaceLoss(plain, LossTerms(**{term: weight}), layout, 128)(truth, prediction)) for weight in (0, 1, 2)
    )
    assert base == pytest.approx(float(plain(truth, prediction)), rel=1e-5)
    assert once > base
    assert twice - once == pytest.approx(once - base, rel=1e-3)


def test_photos_landmarks_are_added_to_the_loss_of_the_maps(layout):
    truth = np.random.default_rng(2).random((2, 128, 128, 3), dtype=np.float32)
    given = sample_landmarks(truth, layout)[..., :2].astype(np.float32) + (0.3, -0.4)
    given[1] = np.nan
    crops = keras.Input((128, 128, 3))
    losses = []
    for weight in (0.0, 2.0):
        terms = LossTerms(photo_landmarks=weight)
        trained = MapTraining(keras.Model(crops, crops), terms, landmark_stencil(layout, 128))
        trained.compile(loss=FaceLoss(map_loss("wtmae", layout, 128), terms, layout, 128))
        known = {"maps": truth, "landmarks": given.astype(np.float32)}
        losses.append(float(trained.compute_loss(truth, known, (ops.convert_to_tensor(truth),))))
    assert losses == pytest.approx([0, 2 * 0.5], abs=1e-4)
