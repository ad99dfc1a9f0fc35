"""The rim of a mesh of texels, which is a staircase, as a smooth contour."""

import cv2
import numpy as np
from scipy import sparse

from prnet.geometry.mesh import boundary_edges
from prnet.geometry.uv_layout import grid_triangles

OUTER_WIDTH, HOLE_WIDTH = 9.0, 1.5
"""Standard deviations, in texels of a grid of 128, of the Gaussians along the outer rim and along those of holes."""

NEIGHBOURS_OF_TEXEL = ((-1, 0), (1, 0), (0, -1), (0, 1))

DEPTH = 8.0
"""Texels, of a grid of 128, to which a rim's shift reaches inwards; it falls with the square of the distance."""

NEIGHBOURS = 4
"""Vertices of the rim whose shifts a vertex within follows."""

LEAST_WEIGHT = 1e-6
"""Smaller weights are left out."""


def contour_mixture(mask: np.ndarray) -> sparse.csr_array:
    """How the vertices of a mesh of texels mix so that its rim is smooth: (N, N), rows sum to 1.

    mask : (S, S) bool, N texels, joined by `grid_triangles`. The product with anything that vertices have (places, UV
    coordinates, colours) moves the vertices of the rim, and a little those within `DEPTH` of it; the others stay.
    """
    follow, shift, rim = contour_shift(mask)
    of_rim = sparse.csr_array((np.ones(len(rim)), (np.arange(len(rim)), rim)), (len(rim), mask.sum()))
    mixture = sparse.eye_array(mask.sum(), format="csr") + follow @ shift @ of_rim
    mixture.data[np.abs(mixture.data) < LEAST_WEIGHT] = 0
    mixture.eliminate_zeros()
    return sparse.csr_array(mixture / mixture.sum(axis=1)[:, None])


def contour_shift(mask: np.ndarray) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
    """What `contour_mixture` adds to the vertices, in its parts: follow (N, R), shift (R, R), and the R vertices of the
    rim; x becomes x + follow @ (shift @ x[rim])."""
    place = np.argwhere(mask)
    edges = boundary_edges(grid_triangles(mask))
    rim, ends = np.unique(edges, return_inverse=True)
    following = sparse.csr_array((np.ones(len(edges)), ends.reshape(-1, 2).T), (len(rim), len(rim)))
    shift = _smoothed(following + following.T, place[rim], len(mask) / 128) - np.eye(len(rim))
    depth = DEPTH * len(mask) / 128
    at_rim = np.ones_like(mask, np.uint8)
    at_rim[tuple(place[rim].T)] = 0
    near = np.flatnonzero(cv2.distanceTransform(at_rim, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[mask] < depth)
    distance, nearest = _nearest(place[near], place[rim])
    weights = 1 / np.maximum(distance, 1e-6) ** 2
    reach = np.maximum(1 - distance[:, 0] / depth, 0) ** 2
    weights *= (reach / weights.sum(axis=1))[:, None]
    follow = sparse.csr_array((weights.ravel(), (np.repeat(near, NEIGHBOURS), nearest.ravel())), (len(place), len(rim)))
    follow.eliminate_zeros()
    shift[np.abs(shift) < LEAST_WEIGHT] = 0
    shift[np.diag_indices(len(rim))] -= shift.sum(axis=1)
    return follow, sparse.csr_array(shift), rim


def hole_mixture(mask: np.ndarray) -> sparse.csr_array:
    """How the texels of a mask with its holes closed mix those of the mask (S, S): (M, N), rows sum to 1.

    A texel within a hole has the mean of its neighbours: a membrane over the rim. The others are themselves.
    """
    filled = without_holes(mask)
    row, column = np.nonzero(filled)
    index = np.full(mask.shape, -1)
    index[filled] = np.arange(len(row))
    hole, face = np.flatnonzero(~mask[filled]), np.flatnonzero(mask[filled])
    mixture = sparse.eye_array(len(face), format="csr")
    if len(hole) == 0:
        return mixture
    beside = np.stack([index[row[hole] + y, column[hole] + x] for y, x in NEIGHBOURS_OF_TEXEL], axis=1)
    at = np.broadcast_to(np.arange(len(hole))[:, None], beside.shape)
    within = np.isin(beside, hole)
    rim = np.unique(beside[~within])
    equations, known = np.eye(len(hole)), np.zeros((len(hole), len(rim)))
    np.add.at(equations, (at[within], np.searchsorted(hole, beside[within])), -0.25)
    np.add.at(known, (at[~within], np.searchsorted(rim, beside[~within])), 0.25)
    solved = np.linalg.solve(equations, known)
    places = np.nonzero(solved)
    columns = np.searchsorted(face, rim)[places[1]]
    of_hole = sparse.csr_array((solved[places], (places[0], columns)), (len(hole), len(face)))
    return sparse.vstack([mixture, of_hole], format="csr")[np.argsort(np.concatenate([face, hole]))]


def without_holes(mask: np.ndarray) -> np.ndarray:
    """A mask (S, S) with what it encloses."""
    outside = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return outside[1:-1, 1:-1] != 2


def _nearest(places: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (P, `NEIGHBOURS`), the least first, from places (P, 2) to the nearest of others (R, 2), and which."""
    places, others = places.astype(np.float32), others.astype(np.float32)  # whole numbers: exact
    squared = np.sum(places**2, axis=1)[:, None] + np.sum(others**2, axis=1) - 2 * places @ others.T
    found = np.argpartition(squared, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    squared = np.take_along_axis(squared, found, axis=1)
    order = np.argsort(squared, axis=1)
    return np.sqrt(np.take_along_axis(squared, order, axis=1)), np.take_along_axis(found, order, axis=1)


def _smoothed(joined: sparse.csr_array, place: np.ndarray, unit: float) -> np.ndarray:
    """A Gaussian along the rims (R, R): steps of a random walk, whose variance grows by half a texel each."""
    step = (_identity(place) + joined / joined.sum(axis=1)[:, None]).toarray().astype(np.float32) / 2
    first, second = joined.nonzero()
    rim = _components(first, second, len(place))
    outer = max(np.unique(rim), key=lambda number: np.ptp(place[rim == number], axis=0).sum())
    result = np.eye(len(place), dtype=np.float32)
    for number in np.unique(rim):
        width = (OUTER_WIDTH if number == outer else HOLE_WIDTH) * unit
        at = np.ix_(rim == number, rim == number)
        result[at] = np.linalg.matrix_power(step[at], max(round(2 * width**2), 1))
    return result


def _components(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """For each of `count` vertices the least that edges (E,), (E,) both ways join it with."""
    least, before = np.arange(count), np.full(count, -1)
    while (least != before).any():
        before = least.copy()
        np.minimum.at(least, first, before[second])
        least = least[least]
    return least


def _identity(rows: np.ndarray) -> sparse.csr_array:
    return sparse.eye_array(len(rows), format="csr")
