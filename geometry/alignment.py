"""Rigid and similarity alignment of point sets: Procrustes by known correspondences, and iterative closest points."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

ICP_SAMPLE = 2000
"""Points of the source that ICP iterates on, evenly spaced in the array's order."""

ICP_ITERATIONS = 100
"""The most steps that ICP takes."""

ICP_TOLERANCE = 1e-4
"""ICP stops when a step moves no sampled point by more than this share of the target's spread."""


def align(source: np.ndarray, target: np.ndarray, *, scale: bool = True) -> np.ndarray:
    """The similarity (or, without `scale`, rigid) transform with the least squared distance between paired points.

    source, target : (N, 3), row i of one belongs to row i of the other. Returns M (3, 4) float64 so that
    M[:, :3] source_i + M[:, 3] is closest to target_i. The rotation has determinant +1: a mirror image is never
    accepted, even where it would fit better (Umeyama, PAMI 13(4), 1991, equations 40 to 43). Raises ValueError for
    arrays that do not pair up, values that are not finite, or a source whose points coincide.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ValueError(f"align needs two (N, 3) arrays, got {source.shape} and {target.shape}")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    from_mean = source - source_mean
    spread = np.sum(from_mean**2)
    if not (spread > 0 and np.isfinite(spread) and np.isfinite(target_mean).all()):
        raise ValueError("align needs finite points, and source points that do not all coincide")
    left, strength, right = np.linalg.svd((target - target_mean).T @ from_mean)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    linear = (left * signs) @ right
    if scale:
        linear *= (strength @ signs) / spread
    return np.column_stack([linear, target_mean - linear @ source_mean])


def apply_transform(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move points (..., 3) by a (3, 4) transform."""
    return points @ transform[:, :3].T + transform[:, 3]


@dataclass(frozen=True)
class Registration:
    """What iterative closest points found."""

    transform: np.ndarray  # (3, 4) float64, source to target
    distances: np.ndarray  # (N,) float64, from each moved source point to its nearest target point
    iterations: int
    converged: bool  # False where the iteration limit ended it


def iterative_closest_point(
    source: np.ndarray,
    target: np.ndarray,
    *,
    scale: bool = False,
    sample: int = ICP_SAMPLE,
    iterations: int = ICP_ITERATIONS,
    tolerance: float = ICP_TOLERANCE,
) -> Registration:
    """Align two point sets whose correspondences are not known (Besl and McKay, PAMI 14(2), 1992).

    source : (N, 3), target : (M, 3). Start: the two centroids coincide, rotation none (and with `scale` the two root
    mean squared sizes agree). Each step pairs every sampled source point with the nearest of all target points and
    aligns the pairs with `align`. Stop: a step that moves no sampled point by more than `tolerance` x the root mean
    squared distance of the target from its centroid, or `iterations` steps. The turn between the sets should be
    below about 40 degrees, beyond which the nearest points of a face lead elsewhere.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    tree = cKDTree(target)
    target_mean = target.mean(axis=0)
    target_size = np.sqrt(np.mean(np.sum((target - target_mean) ** 2, axis=-1)))
    source_mean = source.mean(axis=0)
    source_size = np.sqrt(np.mean(np.sum((source - source_mean) ** 2, axis=-1)))
    linear = np.eye(3) * (target_size / source_size if scale else 1.0)
    transform = np.column_stack([linear, target_mean - linear @ source_mean])

    chosen = source[np.linspace(0, len(source) - 1, min(sample, len(source))).astype(int)]
    moved, converged, step = apply_transform(transform, chosen), False, 0
    while not converged and step < iterations:
        step += 1
        transform = align(chosen, target[tree.query(moved)[1]], scale=scale)
        before, moved = moved, apply_transform(transform, chosen)
        converged = bool(np.linalg.norm(moved - before, axis=-1).max() <= tolerance * target_size)
    distances = tree.query(apply_transform(transform, source))[0]
    return Registration(transform, distances, step, converged)
