"""A lit face against its photo, in Keras operations: gradients reach shape, pose, albedo and light.

Which point is seen where has no gradient, as in both public implementations of Deep3DFaceReconstruction; where it
lies, and what colour it has, do. Points are pixels of the crop, x right, y down, 0-based, integer at a pixel's centre.

Two ways to compare, the same loss: the photo is sampled at the places of the map's texels (`sample_image`), or the
face is drawn into the photo's pixels (`draw_mesh`).
"""

import numpy as np
from keras import ops

from prnet.geometry.rasterise import rasterise
from prnet.model.host import on_host


def sample_image(images, points):
    """Colours (B, N, C) of images (B, H, W, C) at points (B, N, 2), bilinear; beyond the edge as at the edge.

    The gradient with respect to a point is that of the bilinear patch that it lies in.
    """
    height, width = images.shape[1:3]
    x = ops.clip(points[..., 0], 0.0, width - 1.0)
    y = ops.clip(points[..., 1], 0.0, height - 1.0)
    left, top = (ops.stop_gradient(ops.minimum(ops.floor(v), side - 2.0)) for v, side in ((x, width), (y, height)))
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    corner = ops.cast(top * width + left, "int32")
    pixels = ops.reshape(images, (-1, height * width, images.shape[-1]))

    def at(offset: int):
        return take_rows(pixels, corner + offset)

    upper = at(0) * (1 - right_share) + at(1) * right_share
    lower = at(width) * (1 - right_share) + at(width + 1) * right_share
    return upper * (1 - lower_share) + lower * lower_share


def take_rows(values, indices):
    """values (B, M, C) at indices (B, ...) of each: (B, ..., C)."""
    batch, count = ops.shape(values)[0], values.shape[1]
    start = ops.reshape(ops.arange(batch, dtype="int32") * count, (-1, *(1 for _ in indices.shape[1:])))
    flat = ops.reshape(values, (-1, values.shape[-1]))
    return ops.take(flat, ops.cast(indices, "int32") + start, axis=0)


def seen_triangles(vertices, triangles: np.ndarray, height: int, width: int):
    """The triangle seen at each pixel of each image, -1 for none: (B, H, W) int32, by the z-buffer of
    `prnet.geometry.rasterise`. vertices : (B, V, 3) pixels. triangles : (T, 3)."""

    def draw(batch: np.ndarray) -> np.ndarray:
        return np.stack([rasterise(face, triangles, height, width).triangle for face in batch])

    return on_host(draw, vertices, (height, width))


def draw_mesh(vertices, values, triangles: np.ndarray, seen):
    """Values (B, V, C) of the vertices at the pixels where triangles are seen, 0 elsewhere: (B, H, W, C).

    vertices : (B, V, 3) pixels. seen : (B, H, W), `seen_triangles`. The barycentric weights are computed from the
    vertices once more, so that a colour's gradient reaches their places.
    """
    height, width = seen.shape[1:]
    corners = ops.take(triangles.astype(np.int32), ops.maximum(seen, 0), axis=0)
    a, b, c = (take_rows(vertices[..., :2], corners[..., corner]) for corner in range(3))
    pixel = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    to_b, to_c, to_pixel = b - a, c - a, pixel - a
    area = _cross(to_b, to_c)
    area = ops.where(ops.abs(area) > 1e-6, area, 1e-6 * ops.ones_like(area))
    second, third = _cross(to_pixel, to_c) / area, _cross(to_b, to_pixel) / area
    weights = (1 - second - third, second, third)
    drawn = sum(weights[corner][..., None] * take_rows(values, corners[..., corner]) for corner in range(3))
    return drawn * ops.cast(seen >= 0, "float32")[..., None]


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
