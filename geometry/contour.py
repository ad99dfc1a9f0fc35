"""The rim of a mesh of texels, which is a staircase, as a smooth contour; its holes closed."""

from dataclasses import dataclass

import cv2
import numpy as np

from prnet.geometry.mesh import boundary_edges
from prnet.geometry.uv_layout import grid_triangles

OUTER_WIDTH, HOLE_WIDTH = 9.0, 1.5
"""Standard deviations, in texels of a grid of 128, of the Gaussians along the outer rim and along those of holes."""

NEIGHBOURS_OF_TEXEL = ((-1, 0), (1, 0), (0, -1), (0, 1))

DEPTH = 8.0
"""Texels, of a grid of 128, to which a rim's shift reaches inwards; it falls with the square of the distance."""

NEIGHBOURS = 4
"""Vertices of the rim whose shifts a vertex within follows."""


@dataclass(frozen=True)
class SmoothRim:
    """A linear map of what the N vertices of a mesh of texels have (places, UV coordinates, colours): the R vertices of
    the rim move so that it is smooth, and a little the P within `DEPTH` of it; the others stay."""

    vertices: np.ndarray  # (R,) of the rim
    beside: np.ndarray  # (R, K) places in `vertices` of those that share an edge of the rim; short rows end with any
    shares: np.ndarray  # (R, K) that each of these has in their mean; 0 at the end of short rows
    steps: np.ndarray  # (R,) of a random walk along the rim: their Gaussian's variance is half of that
    near: np.ndarray  # (P,) vertices that follow the rim, its own included
    nearest: np.ndarray  # (P, NEIGHBOURS) places in `vertices`
    weights: np.ndarray  # (P, NEIGHBOURS)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (N, ...) of the vertices, mixed."""
        of_rim = values[self.vertices].reshape(len(self.vertices), -1)
        shift = self.smoothed(of_rim) - of_rim
        mixed = values.reshape(len(values), -1).astype(shift.dtype)
        for place, weights in zip(self.nearest.T, self.weights.T, strict=True):
            mixed[self.near] += weights[:, None].astype(shift.dtype) * shift[place]
        return mixed.reshape(values.shape)

    def smoothed(self, of_rim: np.ndarray) -> np.ndarray:
        """Values (R, C) of the rim's vertices averaged along it, by a Gaussian."""
        result = walked = of_rim.astype(np.result_type(of_rim, np.float32))
        shares = self.shares.astype(result.dtype)
        for step in range(1, self.steps.max(initial=0) + 1):
            mean = sum(share[:, None] * walked[place] for place, share in zip(self.beside.T, shares.T, strict=True))
            walked = (walked + mean) / 2
            result = np.where((self.steps == step)[:, None], walked, result)
        return result


@dataclass(frozen=True)
class ClosedHoles:
    """A linear map of what the N texels of a mask have to the M of the same with its holes closed: a texel within a
    hole has the mean of its neighbours, a membrane over the rim. The others are themselves."""

    hole: np.ndarray  # (H,) places among the M
    face: np.ndarray  # (N,) places among the M
    rim: np.ndarray  # (R,) places among the N
    membrane: np.ndarray  # (H, R), rows sum to 1

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (N, ...) as (M, ...)."""
        closed = np.empty((len(self.face) + len(self.hole), *values.shape[1:]), np.result_type(values, np.float32))
        closed[self.face] = values
        closed[self.hole] = np.tensordot(self.membrane, values[self.rim], 1)
        return closed


def smooth_rim(mask: np.ndarray) -> SmoothRim:
    """Of a mask (S, S) bool, whose N texels `grid_triangles` joins."""
    place = np.argwhere(mask)
    edges = boundary_edges(grid_triangles(mask))
    rim, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    both_ways = np.concatenate([ends, ends[:, ::-1]])
    depth = DEPTH * len(mask) / 128
    at_rim = np.ones_like(mask, np.uint8)
    at_rim[tuple(place[rim].T)] = 0
    near = np.flatnonzero(cv2.distanceTransform(at_rim, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[mask] < depth)
    distance, nearest = _nearest(place[near], place[rim])
    weights = 1 / np.maximum(distance, 1e-6) ** 2
    reach = np.maximum(1 - distance[:, 0] / depth, 0) ** 2
    weights *= (reach / weights.sum(axis=1))[:, None]
    beside, shares = _neighbours(both_ways, len(rim))
    return SmoothRim(rim, beside, shares, _steps(both_ways, place[rim], len(mask) / 128), near, nearest, weights)


def _neighbours(edges: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where edges (E, 2) from each of `count` vertices lead to, and the share of each: (count, K), (count, K)."""
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    degree = np.bincount(edges[:, 0], minlength=count)
    column = np.arange(len(edges)) - (np.cumsum(degree) - degree)[edges[:, 0]]
    beside, shares = np.zeros((2, count, degree.max(initial=0)))
    beside[edges[:, 0], column] = edges[:, 1]
    shares[edges[:, 0], column] = 1 / degree[edges[:, 0]]
    return beside.astype(int), shares


def _steps(edges: np.ndarray, place: np.ndarray, unit: float) -> np.ndarray:
    """Steps of the walk along each vertex's rim (R,). A step to either side with a quarter's chance each adds half a
    texel to the variance. edges : (E, 2), both ways. place : (R, 2)."""
    rim = _components(edges[:, 0], edges[:, 1], len(place))
    outer = max(np.unique(rim), key=lambda number: np.ptp(place[rim == number], axis=0).sum())
    width = np.where(rim == outer, OUTER_WIDTH, HOLE_WIDTH) * unit
    return np.maximum(np.rint(2 * width**2), 1).astype(int)


def closed_holes(mask: np.ndarray) -> ClosedHoles:
    """Of a mask (S, S) bool."""
    filled = without_holes(mask)
    row, column = np.nonzero(filled)
    index = np.full(mask.shape, -1)
    index[filled] = np.arange(len(row))
    hole, face = np.flatnonzero(~mask[filled]), np.flatnonzero(mask[filled])
    beside = np.stack([index[row[hole] + y, column[hole] + x] for y, x in NEIGHBOURS_OF_TEXEL], axis=1)
    at = np.broadcast_to(np.arange(len(hole))[:, None], beside.shape)
    within = np.isin(beside, hole)
    rim = np.unique(beside[~within])
    equations, known = np.eye(len(hole)), np.zeros((len(hole), len(rim)))
    np.add.at(equations, (at[within], np.searchsorted(hole, beside[within])), -0.25)
    np.add.at(known, (at[~within], np.searchsorted(rim, beside[~within])), 0.25)
    return ClosedHoles(hole, face, np.searchsorted(face, rim), np.linalg.solve(equations, known))


def without_holes(mask: np.ndarray) -> np.ndarray:
    """A mask (S, S) with what it encloses."""
    outside = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return outside[1:-1, 1:-1] != 2


def _nearest(places: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (P, `NEIGHBOURS`), the least first, from places (P, 2) to the nearest of others (R, 2), and which."""
    places, others = places.astype(np.float32), others.astype(np.float32)  # whole numbers: exact
    squared = np.sum(places**2, axis=1)[:, None] + np.sum(others**2, axis=1) - 2 * places @ others.T
    found, distance = np.empty((2, len(places), NEIGHBOURS))
    every = np.arange(len(places))
    for column in range(NEIGHBOURS):
        nearest = squared.argmin(axis=1)
        found[:, column], distance[:, column] = nearest, np.sqrt(squared[every, nearest])
        squared[every, nearest] = np.inf
    return distance, found.astype(int)


def _components(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """For each of `count` vertices the least that edges (E,), (E,) both ways join it with."""
    least, before = np.arange(count), np.full(count, -1)
    while (least != before).any():
        before = least.copy()
        np.minimum.at(least, first, before[second])
        least = least[least]
    return least
