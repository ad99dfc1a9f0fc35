"""Triangulation of the sample face: dense where the features are, exact along their curves, the same on both sides.

The half x >= 0 of a flat domain is filled with points and triangulated once (Delaunay); the other half is its mirror.
"""

import numpy as np
from scipy.spatial import Delaunay, cKDTree


def scatter_points(curves: list[np.ndarray], spacing_at, levels: tuple[float, ...], outline) -> np.ndarray:
    """Points of the half domain: the curves' own, then triangular lattices wherever a level's spacing is wanted.

    curves : (n, 2) arrays, kept exactly; a point too near to one of an earlier curve is dropped. spacing_at : (n, 2) to
    (n,) wanted spacing. levels : the lattices' spacings, rising. outline : (left, right, bottom, top), left = 0 being
    the mid-plane. Returns (N, 2).
    """
    points = np.empty((0, 2))
    for curve in curves:
        curve = evenly(curve, spacing_at)
        points = np.concatenate([points, _far_from(points, curve, 0.55 * spacing_at(curve))])
    left, right, bottom, top = outline
    for level, coarser in zip(levels, [*levels[1:], np.inf], strict=True):
        row_height = level * np.sqrt(3) / 2
        column, row = np.meshgrid(np.arange(left, right, level), np.arange(bottom, top, row_height))
        column[1::2] += level / 2
        lattice = np.column_stack([column.ravel(), row.ravel()])
        inside = (lattice[:, 0] > 0.5 * level) & (lattice[:, 0] < right - 0.4 * level)
        inside &= (lattice[:, 1] > bottom + 0.4 * level) & (lattice[:, 1] < top - 0.4 * level)
        lattice = lattice[inside]
        wanted = spacing_at(lattice)
        lattice = lattice[(wanted >= level) & (wanted < coarser)]
        points = np.concatenate([points, _far_from(points, lattice, 0.7 * level)])
    return points


def evenly(curve: np.ndarray, spacing_at) -> np.ndarray:
    """Points along a polyline (n, 2), ends included, as far apart as the spacing there."""
    if len(curve) < 3:
        return curve
    step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    steps = np.concatenate([[0], np.cumsum(step / spacing_at((curve[1:] + curve[:-1]) / 2))])
    wanted = np.linspace(0, steps[-1], max(round(steps[-1]), 1) + 1)
    return np.column_stack([np.interp(wanted, steps, curve[:, axis]) for axis in (0, 1)])


def _far_from(accepted, candidates, distance):
    """The candidates that lie at least `distance` from every accepted point."""
    if not len(accepted):
        return candidates
    return candidates[cKDTree(accepted).query(candidates)[0] >= distance]


def triangulate(points: np.ndarray, is_hole) -> np.ndarray:
    """Delaunay triangles (T, 3) of the half domain, counter-clockwise, without those whose centre is in the hole."""
    triangles = Delaunay(points).simplices.astype(np.int32)
    corners = points[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    longest = np.square(corners - np.roll(corners, 1, axis=1)).sum(axis=-1).max(axis=1)
    solid = np.abs(area) > 1e-3 * longest
    return triangles[solid & ~is_hole(corners.mean(axis=1))]


def mirror_pairs(on_midline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a half mesh becomes a whole one.

    on_midline : (N,) bool. Returns `twin` (N,), the number in the whole mesh of each half vertex's mirror image (its
    own on the mid-plane), and `mirror` (V,), the same for every vertex of the whole mesh. Half vertices come first.
    """
    count = len(on_midline)
    twin = np.arange(count)
    twin[~on_midline] = count + np.arange(np.count_nonzero(~on_midline))
    mirror = np.empty(count + np.count_nonzero(~on_midline), dtype=np.int32)
    mirror[:count] = twin
    mirror[twin] = np.arange(count)
    return twin.astype(np.int32), mirror


def mirrored_triangles(triangles: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """Both halves' triangles, all counter-clockwise."""
    return np.concatenate([triangles, twin[triangles][:, ::-1]]).astype(np.int32)


def mirrored_values(half: np.ndarray, on_midline: np.ndarray, sign: float = 1.0) -> np.ndarray:
    """Vectors (N, 3) of the half mesh on the whole one (V, 3).

    sign 1 mirrors them in x; -1 gives the opposite of the mirror image, for components that are not symmetric. On the
    mid-plane only what both sides agree on remains.
    """
    reflection = sign * np.array([-1.0, 1.0, 1.0])
    own = np.where(on_midline[:, None], half * (reflection > 0), half)
    return np.concatenate([own, (half * reflection)[~on_midline]])
