"""Losses that need no 3D label: a photo, its 68 landmarks and a face's parameters in, one value an image out.

Those of Deep3DFaceReconstruction (Deng et al., CVPRW 2019, section 3), each to be multiplied by its weight in
`prnet.configure.config.PhotoTerms`. B images; colours 0 to 1; coefficients in standard deviations.
"""

import numpy as np
from keras import ops

from prnet.configure.config import LANDMARK_COUNT
from prnet.geometry.five_points import DEEP3D_SIDE

EMPHASIS = 20.0
EMPHASISED = (*range(28, 31), *range(60, 68))
"""Landmarks (0-based) of nose ridge and inner mouth, and how much more each of them counts."""

OUTLIER = 0.25
"""Norm of a difference of colours beyond which a point is taken for hair, glasses or gloss and pulls at nothing, where
that is twice as much as in the mean over the image: while light is far off, all points are."""

BRIGHTEST = 0.98
"""Colours above may be any brightness that the camera could not tell apart."""

IDENTITY, EXPRESSION, ALBEDO = 1.0, 0.8, 0.017
"""How much each kind of coefficient counts in the prior."""


def landmark_weights() -> np.ndarray:
    """(68,) float32: 1, and `EMPHASIS` on nose ridge and inner mouth."""
    weights = np.ones(LANDMARK_COUNT, dtype=np.float32)
    weights[list(EMPHASISED)] = EMPHASIS
    return weights


def photometric_error(photo, rendering, weights, outliers: str = "kept"):
    """Mean over points, weighted, of the norm over red, green and blue of their difference (equation 1).

    photo, rendering : (B, ..., 3). weights : (B, ...), 0 where the face is hidden or no skin; an image of zeros
    scores 0. outliers : "kept", as published, or "cut": a point counts twice the mean or `OUTLIER` at most, whichever
    is more, and where the photo is overexposed a rendering brighter still is right.
    """
    axes = tuple(range(1, len(weights.shape)))
    difference = photo - rendering
    if outliers == "cut":
        difference = ops.where(photo >= BRIGHTEST, ops.maximum(difference, 0.0), difference)
    distance = ops.sqrt(ops.sum(ops.square(difference), axis=-1) + 1e-12)
    total = ops.maximum(ops.sum(weights, axis=axes, keepdims=True), 1e-6)
    if outliers == "kept":
        return ops.sum(weights / total * distance, axis=axes)
    mean = ops.stop_gradient(ops.sum(weights * distance, axis=axes, keepdims=True) / total)
    return ops.sum(weights / total * ops.minimum(distance, ops.maximum(2 * mean, OUTLIER)), axis=axes)


def squared_landmark_error(truth, prediction):
    """Sum of weighted squared distances over 68 (equation 2). truth, prediction : (B, 68, 2) in units of the crop's
    side; the distances are counted in pixels of a crop of `DEEP3D_SIDE`."""
    squared = ops.sum(ops.square((prediction - truth) * DEEP3D_SIDE), axis=-1)
    return ops.sum(landmark_weights() * squared, axis=-1) / LANDMARK_COUNT


def perceptual_error(photo_features, rendering_features):
    """1 - cosine between two vectors of a face recognition network (equation 3), (B, D) each."""
    product = ops.sum(photo_features * rendering_features, axis=-1)
    return 1.0 - product / (_norm(photo_features) * _norm(rendering_features))


def coefficient_prior(identity, expression, albedo):
    """Sum of squared coefficients, (B, K) each: 1 of identity, 0.8 of expression, 0.017 of albedo (equation 4)."""
    parts = ((IDENTITY, identity), (EXPRESSION, expression), (ALBEDO, albedo))
    return sum(weight * ops.sum(ops.square(values), axis=-1) for weight, values in parts)


def reflectance_variance(albedo, skin):
    """Variance of the albedo over the face's skin, summed over colours (equation 5): light and shadow are not to be
    painted on. albedo : (B, s, s, 3). skin : (s, s), 1 where all should be of one colour."""
    share = (skin / np.sum(skin))[..., None]
    mean = ops.sum(albedo * share, axis=(1, 2), keepdims=True)
    return ops.sum(share * ops.square(albedo - mean), axis=(1, 2, 3))


def coloured_light(light):
    """Mean squared difference of each colour's light from the mean of the three: light is nearly white. light :
    (B, 9, 3)."""
    return ops.mean(ops.square(light - ops.mean(light, axis=-1, keepdims=True)), axis=(1, 2))


def _norm(vectors):
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1) + 1e-12)
