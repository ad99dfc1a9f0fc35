"""Rigid and similarity alignment of point sets: Procrustes by known correspondences, and iterative closest points.

Convention: points are rows of (N, 3) arrays, in any unit and any right- or left-handed axes that both sets share; a
transform (3, 4) acts on columns and takes the source to the target.
"""

from dataclasses import dataclass

import numpy as np

from prnet.geometry.crop import compose
from prnet.geometry.transforms import apply_transform

PLANE_SAMPLE, PLANE_STEPS, PLANE_NEIGHBOURS = 500, 20, 12
"""First stage of ICP: source points it works on, the most steps, target points that make a plane."""

POINT_SAMPLE, POINT_STEPS = 2000, 100
"""Second stage of ICP: source points it works on, the most steps."""

STEP_TOLERANCE = 1e-4
"""A stage of ICP ends when a step moves no point by more than this share of the target's size."""


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
    linear = align_directions(target.T @ from_mean / spread, scale=scale)
    return np.column_stack([linear, target_mean - linear @ source_mean])


def align_directions(covariance: np.ndarray, *, scale: bool = True) -> np.ndarray:
    """The linear part (3, 3) of `align`, from the sum of target_i source_i^T over that of |source_i|^2 (3, 3), source
    about its mean."""
    left, strength, right = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    return (left * signs) @ right * (strength @ signs if scale else 1.0)


@dataclass(frozen=True)
class Registration:
    """What iterative closest points found."""

    transform: np.ndarray  # (3, 4) float64, source to target
    nearest: np.ndarray  # (N,) int, the target point nearest to each moved source point
    distances: np.ndarray  # (N,) float64, to that point
    converged: bool  # False where the limit of steps ended it


def iterative_closest_point(source: np.ndarray, target: np.ndarray, *, scale: bool = False) -> Registration:
    """Align two surfaces, given as dense points, whose correspondences are not known.

    source : (N, 3), target : (M, 3). Rigid, or with `scale` a similarity; never a mirror image.

    Start: the two centroids coincide, unturned (and with `scale` the sizes agree). Then `PLANE_STEPS` point-to-plane
    steps at most, on `PLANE_SAMPLE` source points (Chen and Medioni, Image and Vision Computing 10(3), 1992), which
    bring home turns of 60 degrees and do not stick to the target's grid of points. Then `POINT_STEPS` point-to-point
    steps at most, on `POINT_SAMPLE` source points against all target points (Besl and McKay, PAMI 14(2), 1992). The
    sampled points are evenly spaced in the array's order. Stop: a step that moves none of them by more than
    `STEP_TOLERANCE` x the target's size, its root mean squared distance from its centroid. Raises ValueError for points
    that are not finite, or that all coincide.
    """
    from scipy.spatial import cKDTree

    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_size, target_size = (
        np.sqrt(np.mean(np.sum(offsets**2, axis=-1))) for offsets in (source - source_mean, target - target_mean)
    )
    if not (0 < source_size < np.inf and 0 < target_size < np.inf):
        raise ValueError("iterative_closest_point needs finite points that do not all coincide")
    tree = cKDTree(target, leafsize=32)
    tolerance = STEP_TOLERANCE * target_size
    linear = np.eye(3) * (target_size / source_size if scale else 1.0)
    transform = np.column_stack([linear, target_mean - linear @ source_mean])

    points, nearest = _evenly_spaced(source, PLANE_SAMPLE), range(1, min(PLANE_NEIGHBOURS, len(target)) + 1)
    for _ in range(PLANE_STEPS):
        moved = apply_transform(transform, points)
        step = _step_to_planes(moved, target[tree.query(moved, k=nearest)[1]], scale)
        transform = compose(step, transform)
        if _largest_move(step, moved) <= tolerance:
            break

    points = _evenly_spaced(source, POINT_SAMPLE)
    converged = False
    for _ in range(POINT_STEPS):
        moved = apply_transform(transform, points)
        step = align(moved, target[tree.query(moved)[1]], scale=scale)
        transform = compose(step, transform)
        converged = _largest_move(step, moved) <= tolerance
        if converged:
            break
    distances, nearest = tree.query(apply_transform(transform, source))
    return Registration(transform, nearest, distances, converged)


def _evenly_spaced(points: np.ndarray, count: int) -> np.ndarray:
    return points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)]


def _largest_move(transform: np.ndarray, points: np.ndarray) -> float:
    return np.linalg.norm(apply_transform(transform, points) - points, axis=-1).max()


def _step_to_planes(points: np.ndarray, neighbours: np.ndarray, scale: bool) -> np.ndarray:
    """The small motion (3, 4) that brings points (N, 3) nearest to the planes through their neighbours (N, K, 3)."""
    from scipy.spatial.transform import Rotation

    around = neighbours - neighbours.mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, 0]
    gap = np.einsum("ni,ni->n", neighbours[:, 0] - points, normals)
    middle = points.mean(axis=0)
    arm = points - middle
    columns = [np.cross(arm, normals), normals]
    if scale:
        columns.append(np.einsum("ni,ni->n", arm, normals)[:, None])
    motion = np.linalg.lstsq(np.concatenate(columns, axis=1), gap)[0]
    linear = Rotation.from_rotvec(motion[:3]).as_matrix()
    if scale:
        linear *= np.exp(motion[6])
    return np.column_stack([linear, middle + motion[3:6] - linear @ middle])
