"""The surface that a batch of position maps holds: its normals, what the camera sees of it, how large it looks.

Maps are (B, S, S, 3) in pixels of the crop, x right, y down, z larger nearer, and smooth: neighbouring texels are
neighbours on the face, in UV layouts whose columns run to the image's right and rows down.
"""

from keras import ops

CELL_TEXELS = 2.0
"""Side of a cell of the depth buffer over the mean distance of texels that fill the crop: wider than they lie apart."""

DEPTH_TOLERANCE = 0.03
"""How far behind the nearest texel of its cell one may lie and be seen, of the crop's side, on a level surface; a
surface that falls away does so within a cell too."""

STEEPEST = 8.0
"""Pixels of depth a pixel, beyond which no more is allowed for the fall."""


def map_normals(maps):
    """Unit normals (B, S, S, 3), outwards, with **y up**, from the differences of neighbouring texels."""
    return _unit(_facing(maps))


def pixel_areas(maps):
    """Pixels that each texel covers (B, S, S), 0 where it faces away. No gradient flows through it."""
    return ops.stop_gradient(ops.maximum(_facing(maps)[..., 2], 0.0))


def visible_texels(maps, face, side: int):
    """1 where a texel faces the camera and nothing lies before it, else 0, (B, S, S). No gradient flows through it.

    face : (S, S) bool, the texels that can hide others. side : of the crop in pixels. Each texel writes its depth into
    a buffer of coarse cells, where the nearest stays.
    """
    cells = int(maps.shape[1] / CELL_TEXELS)
    place = ops.stop_gradient(maps)
    column, row = (
        ops.clip(ops.cast(ops.floor(place[..., axis] * (cells / side)), "int32"), 0, cells - 1) for axis in (0, 1)
    )
    image = ops.reshape(ops.arange(ops.shape(maps)[0]), (-1, 1, 1))
    cell = ops.cast(image, "int32") * (cells * cells) + row * cells + column
    depth = ops.where(face, place[..., 2], -float("inf"))
    count = ops.shape(maps)[0] * cells * cells
    nearest = ops.segment_max(ops.reshape(depth, (-1,)), ops.reshape(cell, (-1,)), num_segments=count)
    before = ops.reshape(ops.take(nearest, ops.reshape(cell, (-1,))), ops.shape(cell))
    x, y, z = ops.unstack(_facing(place), 3, axis=-1)
    fall = ops.minimum((ops.abs(x) + ops.abs(y)) / ops.maximum(z, 1e-6), STEEPEST) * (side / cells)
    return ops.cast((place[..., 2] >= before - DEPTH_TOLERANCE * side - fall) & (z > 0), "float32")


def _facing(maps):
    """Normals (B, S, S, 3), y up, as long as the area of a texel in square pixels."""
    down, right = _central(maps, 1), _central(maps, 2)
    x, y, z = (down[..., a] * right[..., b] - down[..., b] * right[..., a] for a, b in ((1, 2), (2, 0), (0, 1)))
    return ops.stack([-x, y, -z], axis=-1)


def _central(maps, axis: int):
    """Half the difference of the next and the previous texel along an axis; at the border of the next and itself."""
    if axis == 2:
        following = ops.concatenate([maps[:, :, 1:], maps[:, :, -1:]], axis=2)
        previous = ops.concatenate([maps[:, :, :1], maps[:, :, :-1]], axis=2)
    else:
        following = ops.concatenate([maps[:, 1:], maps[:, -1:]], axis=1)
        previous = ops.concatenate([maps[:, :1], maps[:, :-1]], axis=1)
    return (following - previous) / 2


def _unit(vectors):
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)
