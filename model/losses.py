"""Losses of position maps, as DESIGN's: functions that give one value an image, and the Keras class around them.

P and T are predicted and true maps (B, S, S, 3) in target units, W is the weight mask (S, S). The paper prints the
norm of `wtmse` unsquared (equation 1); its text, and those who followed, say weighted mean squared error.
"""

import keras
import numpy as np
from keras import ops

from prnet.common.errors import UserError
from prnet.geometry.uv_layout import UVLayout, weight_mask


def mean_squared_error(truth, prediction):
    """`mse`: mean of (P - T)^2 over texels and channels. Returns (B,)."""
    return ops.mean(ops.square(prediction - truth), axis=(1, 2, 3))


def weighted_mean_squared_error(truth, prediction, weights):
    """`wtmse`: sum of W |P - T|^2 over the sum of W, | | over channels. Returns (B,)."""
    distance = ops.sum(ops.square(prediction - truth), axis=-1)
    return ops.sum(weights * distance, axis=(1, 2)) / ops.sum(weights)


def weighted_root_mean_squared_error(truth, prediction, weights):
    """`wtrmse`: square root of each image's `wtmse`. Returns (B,). Its gradient at a perfect map is 0."""
    return ops.sqrt(ops.maximum(weighted_mean_squared_error(truth, prediction, weights), 1e-12))


def weighted_mean_absolute_error(truth, prediction, weights):
    """`wtmae`: sum of W |P - T| over the sum of W, | | the sum of the channels' distances. Returns (B,).

    x, y and z each count for themselves: where a data set's depth is poor, it does not drown the rest.
    """
    distance = ops.sum(ops.abs(prediction - truth), axis=-1)
    return ops.sum(weights * distance, axis=(1, 2)) / ops.sum(weights)


FUNCTIONS = {
    "mse": mean_squared_error,
    "wtmse": weighted_mean_squared_error,
    "wtrmse": weighted_root_mean_squared_error,
    "wtmae": weighted_mean_absolute_error,
}


@keras.saving.register_keras_serializable("position_maps")
class MapLoss(keras.losses.Loss):
    """One of `FUNCTIONS`, averaged over the batch. weights : (S, S), not used by `mse`."""

    def __init__(self, name: str, weights=None, **options):
        super().__init__(name=name, **options)
        if name not in FUNCTIONS:
            raise UserError(f"unknown loss {name!r}; choose from {', '.join(FUNCTIONS)}")
        self.weights = None if name == "mse" else np.asarray(weights, dtype=np.float32)

    def call(self, y_true, y_pred):
        extra = () if self.weights is None else (self.weights,)
        return FUNCTIONS[self.name](y_true, y_pred, *extra)

    def get_config(self):
        weights = None if self.weights is None else self.weights.tolist()
        return {**super().get_config(), "weights": weights}


def map_loss(name: str, layout: UVLayout, size: int) -> MapLoss:
    """A loss by name for maps of side `size`."""
    return MapLoss(name, weight_mask(layout, size))
