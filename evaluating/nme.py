"""Normalised mean errors, as functions of arrays: residuals, normalisers, depth origins, alignments.

Points are (..., N, 2 or 3) pixels of the photo, x right, y down, z to the camera. Errors are per cent.
"""

import numpy as np

from prnet.geometry.alignment import align, iterative_closest_point
from prnet.geometry.transforms import apply_transform


def nme(residuals: np.ndarray, normaliser: np.ndarray | float) -> np.ndarray:
    """Normalised mean error in per cent: 100 / (N d) x sum over i of |p_i - t_i|.

    residuals : (..., N, D), p_i - t_i in the D coordinates that count. normaliser : d, pixels, (...). Returns (...).
    """
    return 100.0 * distances(residuals).mean(axis=-1) / normaliser


def distances(residuals: np.ndarray) -> np.ndarray:
    """Lengths of vectors: (..., N, D) to (..., N) float64."""
    return np.sqrt(np.einsum("...d,...d->...", residuals, residuals, dtype=np.float64))


def root_box_area(points: np.ndarray) -> np.ndarray:
    """sqrt(w h) of the upright box around points in the image: (..., N, 2 or 3) to (...)."""
    return np.sqrt(np.prod(_box_sides(points), axis=-1))


def box_diagonal(points: np.ndarray) -> np.ndarray:
    """sqrt(w^2 + h^2) of the upright box around points in the image: (..., N, 2 or 3) to (...)."""
    return np.linalg.norm(_box_sides(points), axis=-1)


def _box_sides(points: np.ndarray) -> np.ndarray:
    return np.ptp(points[..., :2], axis=-2).astype(np.float64)


def landmark_distance(landmarks: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """3D distance of two of the 68 landmarks, for instance the outer eye corners: (..., 68, 3) to (...)."""
    return np.linalg.norm(landmarks[..., pair[0], :] - landmarks[..., pair[1], :], axis=-1)


def residuals_from_origins(predicted: np.ndarray, truth: np.ndarray, origin: str) -> np.ndarray:
    """p_i - t_i with the z of prediction and ground truth each measured from its own origin.

    predicted, truth : (..., N, 2 or 3). origin : 'min', the farthest of the N points; 'mean', their mean; 'none',
    where z is 0 already.
    """
    residuals = predicted - truth
    if residuals.shape[-1] == 3 and origin != "none":
        residuals[..., 2] -= (_depth_origin(predicted, origin) - _depth_origin(truth, origin))[..., None]
    return residuals


def _depth_origin(points: np.ndarray, origin: str) -> np.ndarray:
    depth = points[..., 2]
    return {"min": depth.min(axis=-1), "mean": depth.mean(axis=-1)}[origin]


ALIGNMENTS = ("icp", "rigid", "similarity")
"""How a reconstruction is laid over the ground truth: iterative closest points, or known correspondences without and
with scale."""


def aligned_residuals(predicted: np.ndarray, truth: np.ndarray, alignment: str) -> np.ndarray:
    """What is left between a reconstruction and the ground truth after alignment, vectors (N, 3) in pixels.

    predicted, truth : (N, 3) vertices, row i the same point of the face. 'rigid' and 'similarity' are Procrustes by
    those correspondences (`geometry.alignment.align`); 'icp' is rigid (`iterative_closest_point`) and measures from
    each predicted vertex to the nearest true one, whichever that is.
    """
    if alignment == "icp":
        found = iterative_closest_point(predicted, truth)
        return apply_transform(found.transform, predicted) - truth[found.nearest]
    transform = align(predicted, truth, scale=alignment == "similarity")
    return apply_transform(transform, predicted) - truth
