"""The rim of a mesh of texels, which is a staircase, as a smooth contour."""

import numpy as np
from scipy import sparse
from scipy.ndimage import binary_fill_holes
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

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
    distance, nearest = KDTree(place[rim]).query(place, k=NEIGHBOURS)
    weights = 1 / np.maximum(distance, 1e-6) ** 2
    reach = np.maximum(1 - distance[:, 0] / (DEPTH * len(mask) / 128), 0) ** 2
    weights *= (reach / weights.sum(axis=1))[:, None]
    follow = sparse.csr_array(
        (weights.ravel(), (np.repeat(np.arange(len(place)), NEIGHBOURS), nearest.ravel())), (len(place), len(rim))
    )
    follow.eliminate_zeros()
    shift[np.abs(shift) < LEAST_WEIGHT] = 0
    shift[np.diag_indices(len(rim))] -= shift.sum(axis=1)
    return follow, sparse.csr_array(shift), rim


def hole_mixture(mask: np.ndarray) -> sparse.csr_array:
    """How the texels of a mask with its holes closed mix those of the mask (S, S): (M, N), rows sum to 1.

    A texel within a hole has the mean of its neighbours: a membrane over the rim. The others are themselves.
    """
    filled = binary_fill_holes(mask)
    row, column = np.nonzero(filled)
    index = np.full(mask.shape, -1)
    index[filled] = np.arange(len(row))
    hole, face = np.flatnonzero(~mask[filled]), np.flatnonzero(mask[filled])
    beside = np.stack([index[row[hole] + y, column[hole] + x] for y, x in NEIGHBOURS_OF_TEXEL], axis=1)
    solved = np.zeros((len(hole), len(row)))
    if len(hole):
        equations = np.zeros((len(hole), len(row)))
        np.add.at(equations, (np.repeat(np.arange(len(hole)), 4), beside.ravel()), -0.25)
        equations[np.arange(len(hole)), hole] += 1
        rim = face[equations[:, face].any(axis=0)]
        solved[:, rim] = np.linalg.solve(equations[:, hole], -equations[:, rim])
    mixture = sparse.vstack([sparse.eye_array(len(face)), sparse.csr_array(solved[:, face])], format="csr")
    return mixture[np.argsort(np.concatenate([face, hole]))]


def _smoothed(joined: sparse.csr_array, place: np.ndarray, unit: float) -> np.ndarray:
    """A Gaussian along the rims (R, R): steps of a random walk, whose variance grows by half a texel each."""
    step = (_identity(place) + joined / joined.sum(axis=1)[:, None]).toarray() / 2
    count, rim = connected_components(joined, directed=False)
    outer = max(range(count), key=lambda number: np.ptp(place[rim == number], axis=0).sum())
    result = np.eye(len(place))
    for number in range(count):
        width = (OUTER_WIDTH if number == outer else HOLE_WIDTH) * unit
        at = np.ix_(rim == number, rim == number)
        result[at] = np.linalg.matrix_power(step[at], max(round(2 * width**2), 1))
    return result


def _identity(rows: np.ndarray) -> sparse.csr_array:
    return sparse.eye_array(len(rows), format="csr")
