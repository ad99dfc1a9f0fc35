"""A texture map for a face mesh that has none: the mesh flattened onto the unit square without a fold.

Convention: space has x to the image's right and y up; u runs to the right and v up, 0 to 1; triangles and boundary
loops are counter-clockwise as seen from outside.

Each inner vertex lies in the weighted mean of its neighbours, u_i = sum_j w_ij u_j / sum_j w_ij, the outer boundary on
the square: one sparse linear system. With positive weights and a convex boundary no triangle can fold (Tutte 1963).
"""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from prnet.geometry.mesh import boundary_edges, boundary_loops


def tutte_embedding(
    vertices: np.ndarray, triangles: np.ndarray, rounds: int = 0, importance: np.ndarray | None = None
) -> np.ndarray:
    """Flatten a face mesh onto the unit square (Tutte 1963, with the mean-value weights of Floater 2003).

    vertices : (V, 3), x to the image's right, y up. triangles : (T, 3), counter-clockwise as seen from outside, a
    disk that may have holes. rounds : of relaxation that give small parts in relief (lips, eyelids) the room on the
    square that their surface asks for (Yoshizawa, Belyaev and Seidel 2004). importance : (V,), by which factor a
    part's surface counts in that; 1 where absent. Returns (V, 2) float64 in 0 to 1, u to the image's right, v up.

    The outer boundary lies on the square's edge by arc length, each half of it (left and right of the mid-plane) on
    its half of the edge, so a symmetric mesh has a symmetric embedding. A hole is closed by a fan around the mean of
    its rim. All weights are positive and the square is convex, so no triangle is flipped. A mesh that is no such disk
    is a `ValueError`.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    starts = boundary_edges(triangles)[:, 0]
    if len(starts) == 0 or len(np.unique(starts)) != len(starts):
        raise ValueError("the mesh has no boundary, or one that touches itself")
    outer, *holes = boundary_loops(triangles, vertices)
    centres = np.array([vertices[rim].mean(axis=0) for rim in holes]).reshape(-1, 3)
    fans = [
        np.column_stack([np.roll(rim, -1), rim, np.full(len(rim), len(vertices) + number)])
        for number, rim in enumerate(holes)
    ]
    closed_vertices = np.concatenate([vertices, centres])
    closed_triangles = np.concatenate([triangles, *fans])

    weights = _mean_value_weights(closed_vertices, closed_triangles)
    _check_disk(weights, closed_triangles)
    edge = _square_by_arc_length(vertices[outer])
    uv = _solve(weights, outer, edge)
    demand = np.ones(len(closed_vertices))
    if importance is not None:
        demand[: len(vertices)] = importance
    for _ in range(rounds):
        stretch = demand * _stretch(closed_vertices, closed_triangles, uv)
        weights = (weights @ sparse.diags_array(1 / stretch)).tocsr()
        uv = _solve(weights, outer, edge)
    return np.clip(uv[: len(vertices)], 0.0, 1.0)


def _solve(weights: sparse.csr_array, outer: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The vertices (V, 2), each inner one in the weighted mean of its neighbours, the outer ones at `edge`."""
    uv = np.empty((weights.shape[0], 2))
    uv[outer] = edge
    inner = np.setdiff1d(np.arange(len(uv)), outer)
    sums = sparse.diags_array(weights[inner].sum(axis=1))
    uv[inner] = splu((sums - weights[inner][:, inner]).tocsc()).solve(weights[inner][:, outer] @ uv[outer])
    return uv


def _stretch(vertices: np.ndarray, triangles: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(V,): length on the surface over length on the square, rms over directions and over the triangles around."""
    (a, b, c), (p, q, r) = (np.moveaxis(points[triangles], 1, 0) for points in (vertices, uv))
    twice_area = (q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]
    u = (a * (q - r)[:, 1:] + b * (r - p)[:, 1:] + c * (p - q)[:, 1:]) / twice_area[:, None]
    v = (a * (r - q)[:, :1] + b * (p - r)[:, :1] + c * (q - p)[:, :1]) / twice_area[:, None]
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    squares = ((u**2).sum(axis=1) + (v**2).sum(axis=1)) / 2

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(triangles.ravel(), np.repeat(values, 3), minlength=len(vertices))

    return np.sqrt(sums(surface * squares) / sums(surface))


def _mean_value_weights(vertices: np.ndarray, triangles: np.ndarray) -> sparse.csr_array:
    """(V, V): for the edge from i to j the tangents of half the two angles beside it at i, over its length."""
    rows, columns, values = [], [], []
    for corner in range(3):
        here, after, before = (triangles[:, (corner + step) % 3] for step in range(3))
        to_after, to_before = vertices[after] - vertices[here], vertices[before] - vertices[here]
        sine = np.linalg.norm(np.cross(to_after, to_before), axis=1)
        if not sine.min() > 0:
            raise ValueError("the mesh has triangles without an area")
        # An edge has a triangle on each side. This corner's angle is half of what both its edges get: duplicates of a
        # place in a sparse array add up, which sums the tangents of the two angles beside an edge.
        half_tangent = np.tan(np.arctan2(sine, (to_after * to_before).sum(axis=1)) / 2)
        rows += [here, here]
        columns += [after, before]
        values += [half_tangent / np.linalg.norm(side, axis=1) for side in (to_after, to_before)]
    places = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), places), (len(vertices), len(vertices)))


def _check_disk(weights: sparse.csr_array, triangles: np.ndarray) -> None:
    """Raise a `ValueError` unless the mesh is connected, without loose vertices, and of Euler characteristic 1."""
    # Vertices - edges + triangles is 2 for a closed surface, 1 less for each boundary: 1 is a disk, its holes closed.
    pieces = connected_components(weights, directed=False, return_labels=False)
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])), axis=0
    )
    if pieces != 1 or weights.shape[0] - len(edges) + len(triangles) != 1:
        raise ValueError("the mesh is not one piece with one outer boundary")


def _square_by_arc_length(loop: np.ndarray) -> np.ndarray:
    """Places (n, 2) of a closed boundary on the unit square's edge.

    loop : (n, 3) in counter-clockwise order. Its highest crossing of the mid-plane goes to (0.5, 1), its lowest to
    (0.5, 0), and the arcs between them are spread evenly over the left and the right half of the edge.
    """
    following = np.roll(loop, -1, axis=0)
    length = np.linalg.norm(following - loop, axis=1)
    start = np.concatenate([[0.0], np.cumsum(length)])
    around = start[-1]

    # Where the boundary crosses the mid-plane, x halfway between its extremes, by linear interpolation along the edge.
    side, side_following = (points[:, 0] - (loop[:, 0].min() + loop[:, 0].max()) / 2 for points in (loop, following))
    crossing = np.flatnonzero((side >= 0) != (side_following >= 0))
    share = side[crossing] / (side[crossing] - side_following[crossing])
    height = loop[crossing, 1] + share * (following[crossing, 1] - loop[crossing, 1])
    at = start[crossing] + share * length[crossing]
    top, bottom = at[height.argmax()], at[height.argmin()]

    # Arc length from the top, counter-clockwise: down the left half of the face, then up the right. It is mapped to the
    # way along the square's edge, 4 long, of which each half takes 2, whatever the halves' lengths.
    down = (bottom - top) % around
    travelled = np.interp((start[:-1] - top) % around, [0, down, around], [0, 2, 4])
    corners = [0, 0.5, 1.5, 2.5, 3.5, 4]
    u = np.interp(travelled, corners, [0.5, 0, 0, 1, 1, 0.5])
    v = np.interp(travelled, corners, [1, 1, 0, 0, 1, 1])
    return np.column_stack([u, v])
