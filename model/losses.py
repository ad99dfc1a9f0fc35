"""Losses of position maps: functions that return one value an image, and the Keras classes around them.

P and T are predicted and ground truth maps (B, S, S, 3) in target units, W is the weight mask (S, S). The paper prints
the norm of `wtmse` unsquared (equation 1); its text, and those who followed, say weighted mean squared error.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from prnet.common.errors import UserError
from prnet.configure.config import EYELID_PAIRS, INNER_LIP_PAIRS, LossTerms
from prnet.geometry.uv_layout import UVLayout, face_mask, landmark_stencil, weight_mask
from prnet.model.metrics import landmarks_of_maps

LID_AND_LIP_PAIRS = (
    *(*EYELID_PAIRS, (36, 39), (42, 45)),
    *(*INNER_LIP_PAIRS, (51, 57), (48, 54), (60, 64)),
)
"""Landmarks (0-based) whose distances say how far eyes and mouth are open: height and width of each."""


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


FUNCTIONS: dict[str, Callable] = {
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


def landmark_error(truth, prediction):
    """Mean 2D distance of landmarks. truth, prediction : (B, 68, 3). Returns (B,)."""
    return ops.mean(_length((prediction - truth)[..., :2]), axis=-1)


def known_landmark_error(truth, prediction):
    """Mean 2D distance of landmarks over those that are known. truth : (B, 68, 2), NaN where not. prediction :
    (B, 68, 3). Returns a scalar."""
    known = ops.logical_not(ops.any(ops.isnan(truth), axis=-1))
    distance = _length(prediction[..., :2] - ops.where(known[..., None], truth, 0.0))
    return ops.sum(ops.where(known, distance, 0.0)) / ops.maximum(ops.sum(ops.cast(known, "float32")), 1.0)


def aperture_error(truth, prediction):
    """Mean difference of the vectors between the pairs of `LID_AND_LIP_PAIRS`, x, y and z summed. Returns (B,).

    A difference of two points does not feel where the whole face was put, whose error would drown it
    (the relative losses of DECA, Feng et al. 2021, and EMOCA, Danecek et al. 2022). truth, prediction : (B, 68, 3).
    """
    first, second = (list(ends) for ends in zip(*LID_AND_LIP_PAIRS, strict=True))
    residual = prediction - truth
    difference = ops.take(residual, first, axis=1) - ops.take(residual, second, axis=1)
    return ops.mean(ops.sum(ops.abs(difference), axis=-1), axis=-1)


def score_error(truth, prediction):
    """Mean squared difference of scores over those that are known. truth : (B, M), NaN where not. Returns a scalar."""
    known = ops.logical_not(ops.isnan(truth))
    difference = ops.where(known, prediction - ops.where(known, truth, 0.0), 0.0)
    return ops.sum(ops.square(difference)) / ops.maximum(ops.sum(ops.cast(known, "float32")), 1.0)


def edge_length_error(truth, prediction, mask):
    """Mean difference in length of the edges between neighbouring texels of the face (SADRNet, Ruan et al. 2021).

    mask : (S, S), 1 on the face. Returns (B,).
    """
    total = 0.0
    for shift in ((1, 0), (0, 1)):
        (true_edge, both), (edge, _) = (_edges(maps, mask, shift) for maps in (truth, prediction))
        total += ops.sum(both * ops.abs(_length(edge) - _length(true_edge)), axis=(1, 2)) / ops.sum(both)
    return total / 2


def normal_error(truth, prediction, mask):
    """Mean absolute cosine of predicted edges with ground truth normals, 0 in a perfect map (SADRNet). Returns (B,)."""
    right, both_right = _edges(truth, mask, (0, 1))
    down, both_down = _edges(truth, mask, (1, 0))
    normals = ops.cross(right[:, :-1], down[:, :, :-1])
    normals = normals / _length(normals)[..., None]
    total = 0.0
    for shift, both in (((0, 1), both_right[:-1]), ((1, 0), both_down[:, :-1])):
        edge = _edges(prediction, mask, shift)[0]
        edge = edge[:, :-1] if shift == (0, 1) else edge[:, :, :-1]
        cosine = ops.abs(ops.sum(edge * normals, axis=-1)) / _length(edge)
        total += ops.sum(both * cosine, axis=(1, 2)) / ops.sum(both)
    return total / 2


def _edges(maps, mask, shift):
    """Vectors from each texel to its neighbour below or to the right, and 1 where both are of the face."""
    down, right = shift
    height, width = mask.shape
    edge = maps[:, down:, right:] - maps[:, : height - down, : width - right]
    return edge, mask[down:, right:] * mask[: height - down, : width - right]


def _length(vectors):
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + 1e-12)


class FaceLoss(keras.losses.Loss):
    """A map loss and the terms that are added to it, each times its weight in `terms`."""

    def __init__(self, map_loss: MapLoss, terms: LossTerms, layout: UVLayout, size: int):
        super().__init__(name=map_loss.name, reduction="mean_with_sample_weight")
        self.map_loss, self.terms = map_loss, terms
        self.stencil = landmark_stencil(layout, size)
        self.mask = face_mask(layout, size).astype(np.float32)

    def call(self, y_true, y_pred):
        total, terms = self.map_loss.call(y_true, y_pred), self.terms
        if terms.landmarks or terms.apertures:
            true_points, points = (landmarks_of_maps(maps, *self.stencil) for maps in (y_true, y_pred))
            total += terms.landmarks * landmark_error(true_points, points)
            total += terms.apertures * aperture_error(true_points, points)
        if terms.edges:
            total += terms.edges * edge_length_error(y_true, y_pred, self.mask)
        if terms.normals:
            total += terms.normals * normal_error(y_true, y_pred, self.mask)
        return total
