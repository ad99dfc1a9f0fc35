"""Distances from points to a triangle surface, exact, without a spatial index beyond SciPy's.

Convention: points are rows of (N, 3) arrays in any unit and axes that points and surface share.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

_PAIRS_AT_ONCE = 1 << 18
_FIRST_CANDIDATES = 16
_LARGE = 4.0
_MOST_PIECES = 1 << 17
"""Triangles that reach this many times as far as most are cut, as long as that makes no more pieces."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh that is asked for nearest points. Triangles without area do not count."""

    vertices: np.ndarray  # (V, 3) float64
    triangles: np.ndarray  # (T, 3) int

    @cached_property
    def _corners(self) -> np.ndarray:
        corners = self.vertices[self.triangles].astype(np.float64)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        return _evened(corners[area > 0])

    @cached_property
    def _centroids(self) -> cKDTree:
        return cKDTree(self._corners.mean(axis=1))

    @cached_property
    def _reach(self) -> float:
        return float(_reaches(self._corners).max())

    def nearly_nearest(self, points: np.ndarray) -> np.ndarray:
        """As `nearest` of the 16 triangles whose centroids are nearest: much faster, and in meshes of even triangles
        hardly ever another point."""
        if not len(self._corners):
            raise ValueError("a surface needs a triangle with an area")
        return self._nearest_of(points, min(_FIRST_CANDIDATES, len(self._corners)))[0]

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The nearest points (N, 3) of the surface. Raises ValueError for a surface without area.

        Triangles are tried in the order of their centroids' distance. No triangle beyond the last one tried can be
        nearer than that distance less the largest triangle's reach; points for which this is not enough are tried
        again with four times as many.
        """
        if not len(self._corners):
            raise ValueError("a surface needs a triangle with an area")
        points = np.asarray(points, dtype=np.float64)
        found, count = np.empty_like(points), min(_FIRST_CANDIDATES, len(self._corners))
        open_rows = np.arange(len(points))
        while len(open_rows):
            step, unfinished = max(_PAIRS_AT_ONCE // count, 1), []
            for start in range(0, len(open_rows), step):
                rows = open_rows[start : start + step]
                found[rows], certain = self._nearest_of(points[rows], count)
                unfinished.append(rows[~certain])
            open_rows, count = np.concatenate(unfinished), min(4 * count, len(self._corners))
        return found

    def _nearest_of(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest points on the `count` triangles that come first, and whether no other can be nearer."""
        apart, chosen = self._centroids.query(points, k=np.arange(1, count + 1))
        places = nearest_on_triangles(points[:, None], self._corners[chosen])
        squared = np.sum((places - points[:, None]) ** 2, axis=-1)
        best = squared.argmin(axis=1)
        rows = np.arange(len(points))
        certain = np.sqrt(squared[rows, best]) <= apart[:, -1] - self._reach
        return places[rows, best], certain | (count == len(self._corners))


def _reaches(corners: np.ndarray) -> np.ndarray:
    """How far each triangle extends from its centroid."""
    return np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=-1).max(axis=1)


def _evened(corners: np.ndarray) -> np.ndarray:
    """The same surface with its largest triangles cut in four, again and again: how many triangles `nearest` has to try
    depends on the largest."""
    limit, room = _LARGE * np.median(_reaches(corners)) if len(corners) else 0.0, len(corners) + _MOST_PIECES
    while (large := _reaches(corners) > limit).any() and len(corners) + 3 * large.sum() <= room:
        a, b, c = np.moveaxis(corners[large], 1, 0)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        pieces = [np.stack(piece, axis=1) for piece in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        corners = np.concatenate([corners[~large], *pieces])
    return corners


def nearest_on_triangles(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The point of each triangle that is nearest to a point. points : (..., 3), corners : (..., 3, 3). (..., 3).

    Inside, the foot of the perpendicular; else the nearest point of the three edges.
    """
    a, b, c = np.moveaxis(corners, -2, 0)
    normal = np.cross(b - a, c - a)
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    foot = points - np.sum((points - a) * normal, axis=-1, keepdims=True) * normal
    sides = [np.sum(np.cross(q - p, foot - p) * normal, axis=-1) for p, q in ((a, b), (b, c), (c, a))]
    inside = np.all(np.stack(sides) >= 0, axis=0)
    edges = np.stack([_nearest_on_segments(points, p, q) for p, q in ((a, b), (b, c), (c, a))])
    best = np.sum((edges - points) ** 2, axis=-1).argmin(axis=0)
    on_edge = np.take_along_axis(edges, best[None, ..., None], axis=0)[0]
    return np.where(inside[..., None], foot, on_edge)


def _nearest_on_segments(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = end - start
    share = np.sum((points - start) * along, axis=-1) / np.sum(along**2, axis=-1)
    return start + np.clip(share, 0, 1)[..., None] * along
