"""The metric of training: NME of the 68 landmarks, read off the maps."""

import keras
from keras import ops

from prnet.geometry.uv_layout import UVLayout, landmark_stencil


def landmark_nme(truth, prediction, texels, weights):
    """`normalised_error` of the 68 landmarks of maps in 2D, (B,).

    truth, prediction : (B, S, S, 3) in any common unit. texels, weights : (68, 4), `landmark_stencil`'s.
    """
    return normalised_error(*(landmarks_of_maps(maps, texels, weights)[..., :2] for maps in (truth, prediction)))


def normalised_error(truth, prediction):
    """Normalised mean error of landmarks (B, 68, 2), in per cent, (B,).

    Mean distance over the square root of the area of the box around the true landmarks (AFLW2000-3D's protocol).
    """
    error = ops.mean(ops.norm(prediction - truth, axis=-1), axis=-1)
    width_height = ops.max(truth, axis=1) - ops.min(truth, axis=1)
    return 100.0 * error / ops.sqrt(ops.prod(width_height, axis=-1))


def landmarks_of_maps(maps, texels, weights):
    """The 68 landmarks (B, 68, 3) of maps (B, S, S, 3), bilinear. texels, weights : (68, 4), `landmark_stencil`'s."""
    size = maps.shape[1]
    flat = ops.reshape(maps, (-1, size * size, 3))
    corners = ops.reshape(ops.take(flat, texels.ravel(), axis=1), (-1, *texels.shape, 3))
    return ops.sum(corners * weights[..., None], axis=2)


class LandmarkNME(keras.metrics.MeanMetricWrapper):
    """`landmark_nme` averaged over images."""

    def __init__(self, layout: UVLayout, size: int):
        texels, weights = landmark_stencil(layout, size)
        super().__init__(landmark_nme, name="nme", texels=texels, weights=weights)
