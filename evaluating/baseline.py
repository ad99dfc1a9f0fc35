"""The score of a method that ignores the photo: a row of every table."""

from collections.abc import Iterator

import numpy as np

from prnet.configure.config import MAP_SIZE
from prnet.evaluating.nme import nme, residuals_from_origins
from prnet.evaluating.protocols import Summary, summarise
from prnet.evaluating.results import Results
from prnet.evaluating.scoring import Column
from prnet.evaluating.types import Kind
from prnet.geometry.crop import Box, crop_transform, invert_transform, transform_points

CONSTANT = "constant mean map"
"""What the method is called that says the same of every crop."""


def constant_errors(results: Results) -> dict[Column, np.ndarray]:
    """Errors (N,) of the sparse types of the constant mean map, NaN where an image's box is not known."""
    columns = [column for column in results.columns if column.type.kind is Kind.SPARSE]
    restored = constant_landmarks(results)
    known = np.isfinite(restored[:, 0, 0])
    if not columns or not known.any():
        return {}
    truth = np.nan_to_num(results.true_landmarks[known])
    residuals = residuals_from_origins(restored[known], truth, results.origin.protocol.depth_origin)
    errors = {}
    for column in columns:
        errors[column] = np.full(len(results.names), np.nan)
        errors[column][known] = nme(residuals[..., : column.type.dimensions], results.normalisers[known])
    return errors


def constant_landmarks(results: Results) -> np.ndarray:
    """Landmarks (N, 68, 3) of the constant mean map in the photos, NaN where an image's box is not known.

    They are the mean of the true ones in the reference crops of these very images, which is what the mean of their
    true position maps holds: no other constant does better in squared error, a training set's mean among them.
    """
    landmarks = np.full(results.true_landmarks.shape, np.nan)
    known = np.isfinite(results.boxes).all(axis=1) & np.isfinite(results.normalisers)
    if not known.any():
        return landmarks
    truth = np.nan_to_num(results.true_landmarks[known])
    crops = [crop_transform(Box(box[:2], box[2]), MAP_SIZE) for box in results.boxes[known]]
    inside = np.stack([transform_points(crop, points) for crop, points in zip(crops, truth, strict=True)])
    inside[..., 2] -= inside[..., 2].mean(axis=1, keepdims=True)
    constant = inside.mean(axis=0)
    restored = np.stack([transform_points(invert_transform(crop), constant) for crop in crops])
    restored[..., 2] += truth[..., 2].mean(axis=1, keepdims=True)
    landmarks[known] = restored
    return landmarks


def constant_summaries(results: Results) -> Iterator[tuple[Column, Summary]]:
    """The numbers of the constant mean map over the images whose boxes are known, for each sparse type."""
    for column, errors in constant_errors(results).items():
        known = np.isfinite(errors)
        yield column, summarise(errors[known], results.yaw[known])
