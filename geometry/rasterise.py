"""A z-buffer in NumPy: which triangle is seen at each pixel, and where in it. No display, no compiled code of ours.

Every triangle offers the pixels of its bounding box at once; triangles of similar size are worked through together,
so the cost follows the number of candidate pixels and not the number of triangles.

Convention: pixels, x right, y down, 0-based, integer at a pixel's centre; z larger is nearer. Triangles are
counter-clockwise as seen from outside. A point p of a triangle (a, b, c) is a + second (b - a) + third (c - a): its
barycentric weights are (1 - second - third, second, third), each a signed area over the triangle's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CANDIDATES_AT_ONCE = 1 << 20
"""Pixels tested together: bounds the memory, about 50 MB."""


@dataclass(frozen=True)
class Raster:
    """What a z-buffer holds: for each pixel the triangle nearest to the camera and the position in it."""

    triangle: np.ndarray  # (H, W) int32, -1 where nothing is seen
    barycentric: np.ndarray  # (H, W, 3) float32, sums to 1, 0 where nothing is seen
    depth: np.ndarray  # (H, W) float32, larger is nearer, -inf where nothing is seen


def rasterise(
    vertices: np.ndarray, triangles: np.ndarray, height: int, width: int, *, two_sided: bool = False
) -> Raster:
    """Draw a triangle mesh into a z-buffer.

    vertices : (V, 3) pixels, x right, y down, z larger nearer. triangles : (T, 3), counter-clockwise as seen from
    outside; those that face away are skipped unless `two_sided`. A pixel belongs to a triangle if its centre lies
    inside or on an edge.
    """
    vertices = np.asarray(vertices, dtype=np.float32)
    depth = np.full(height * width, -np.inf, dtype=np.float32)
    owner = np.full(height * width, -1, dtype=np.int32)
    weight_1 = np.zeros(height * width, dtype=np.float32)
    weight_2 = np.zeros(height * width, dtype=np.float32)

    x, y, z = (vertices[:, axis][triangles] for axis in range(3))  # each (T, 3)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    left = np.clip(np.ceil(x.min(axis=1)), 0, width).astype(np.int32)
    right = np.clip(np.floor(x.max(axis=1)), -1, width - 1).astype(np.int32)
    top = np.clip(np.ceil(y.min(axis=1)), 0, height).astype(np.int32)
    bottom = np.clip(np.floor(y.max(axis=1)), -1, height - 1).astype(np.int32)
    # y points down, so a triangle that is counter-clockwise to the viewer has a negative area here.
    drawable = (area != 0 if two_sided else area < 0) & (left <= right) & (top <= bottom)

    kept = np.flatnonzero(drawable)
    columns, rows = right[kept] - left[kept] + 1, bottom[kept] - top[kept] + 1
    for group in _groups_of_similar_size(columns, rows):
        wide, high = int(columns[group].max()), int(rows[group].max())
        chosen = kept[group]
        pixel_x = left[chosen, None] + np.tile(np.arange(wide, dtype=np.int32), high)
        pixel_y = top[chosen, None] + np.repeat(np.arange(high, dtype=np.int32), wide)
        from_x = pixel_x.astype(np.float32) - x[chosen, 0, None]
        from_y = pixel_y.astype(np.float32) - y[chosen, 0, None]
        x1, y1 = (x[chosen, 1] - x[chosen, 0])[:, None], (y[chosen, 1] - y[chosen, 0])[:, None]
        x2, y2 = (x[chosen, 2] - x[chosen, 0])[:, None], (y[chosen, 2] - y[chosen, 0])[:, None]
        inverse = (1.0 / area[chosen])[:, None]
        second = (from_x * y2 - from_y * x2) * inverse
        third = (from_y * x1 - from_x * y1) * inverse
        # A pixel on an edge that two triangles share belongs to both, despite rounding: no seam is left open.
        tolerance = -1e-5
        inside = (second >= tolerance) & (third >= tolerance) & (second + third <= 1 - tolerance)
        inside &= (pixel_x <= right[chosen, None]) & (pixel_y <= bottom[chosen, None])

        of_triangle, candidate = np.nonzero(inside)
        second, third = second[of_triangle, candidate], third[of_triangle, candidate]
        chosen = chosen[of_triangle]
        pixel = pixel_y[of_triangle, candidate] * width + pixel_x[of_triangle, candidate]
        near = z[chosen, 0] + second * (z[chosen, 1] - z[chosen, 0]) + third * (z[chosen, 2] - z[chosen, 0])

        # First the nearest depth of each pixel, then who has it: of equal depths the last one written.
        np.maximum.at(depth, pixel, near)
        wins = near == depth[pixel]
        owner[pixel[wins]] = chosen[wins]
        weight_1[pixel[wins]] = second[wins]
        weight_2[pixel[wins]] = third[wins]

    first = np.where(owner >= 0, 1 - weight_1 - weight_2, 0)
    return Raster(
        triangle=owner.reshape(height, width),
        barycentric=np.stack([first, weight_1, weight_2], axis=-1).astype(np.float32).reshape(height, width, 3),
        depth=depth.reshape(height, width),
    )


def _groups_of_similar_size(columns: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Which of the bounding boxes fit one common shape, in pieces of a bounded number of candidate pixels."""
    shape_class = np.ceil(np.log2(columns)).astype(int) * 32 + np.ceil(np.log2(rows)).astype(int)
    for value in np.unique(shape_class):
        members = np.flatnonzero(shape_class == value)
        per_triangle = int(columns[members].max()) * int(rows[members].max())
        step = max(_CANDIDATES_AT_ONCE // per_triangle, 1)
        for start in range(0, len(members), step):
            yield members[start : start + step]


def interpolate(raster: Raster, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Vertex values at each pixel: (V, C) to (H, W, C) float32, 0 where nothing is seen."""
    seen = np.flatnonzero(raster.triangle >= 0)
    corners, weights = triangles[raster.triangle.ravel()[seen]], raster.barycentric.reshape(-1, 3)[seen]
    values = values.astype(np.float32)
    result = np.zeros((raster.triangle.size, values.shape[1]), np.float32)
    result[seen] = sum(weights[:, corner, None] * values[corners[:, corner]] for corner in range(3))
    return result.reshape(*raster.triangle.shape, -1)


def render(
    vertices: np.ndarray, triangles: np.ndarray, colours: np.ndarray, background: np.ndarray, *, two_sided: bool = False
) -> np.ndarray:
    """A mesh with vertex colours over a background image.

    vertices : (V, 3) pixels. colours : (V, C) in the background's range. background : (H, W, C). Returns a new image
    of the background's type.
    """
    raster = rasterise(vertices, triangles, *background.shape[:2], two_sided=two_sided)
    seen = raster.triangle >= 0
    picture = interpolate(raster, triangles, colours)
    if np.issubdtype(background.dtype, np.integer):
        picture = np.rint(picture)
    return np.where(seen[..., None], picture, background).astype(background.dtype)
