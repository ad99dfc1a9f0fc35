"""The UV grid that every position map shares: where landmarks lie on it, which texels are face, how they join.

A texel's column is u (S - 1) and its row (S - 1)(1 - v), for a grid of any side S. Everything that outlives the face
model, and that a saved network carries, is a `UVLayout`.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from prnet.configure.config import LANDMARK_WEIGHT, MAP_SIZE
from prnet.geometry.landmark_places import FOUND_ON_PHOTOS


@dataclass(frozen=True)
class UVLayout:
    """What a position map's texels mean."""

    landmark_uv: np.ndarray  # (68, 2) float32 in 0 to 1, iBUG order
    region_weights: np.ndarray  # (256, 256) float32: 0 off the face, 3 face, 4 eyes, nose and mouth
    canonical_map: np.ndarray  # (256, 256, 3) float32: the mean face, frontal, in its reference crop

    @cached_property
    def identity(self) -> str:
        """Hash of what the texels mean: a network and a face model must agree in it.

        To a thousandth, a quarter of a texel: computed on another processor, a layout differs in its last bits.
        """
        landmarks = np.rint(self.landmark_uv.astype(np.float64) * 1000).astype(np.int32)
        return self._hash(landmarks, np.rint(self.region_weights).astype(np.int32))

    def has_identity(self, identity: str) -> bool:
        """Whether an `identity` is this layout's, or its hash to the last bit, as older data sets hold it."""
        return identity in (
            self.identity,
            self._hash(self.landmark_uv.astype(np.float32), self.region_weights.astype(np.float32)),
        )

    @staticmethod
    def _hash(*arrays: np.ndarray) -> str:
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def texel_coordinates(uv: np.ndarray, size: int) -> np.ndarray:
    """Column and row, as real numbers, of UV coordinates (..., 2)."""
    return np.stack([uv[..., 0] * (size - 1), (1.0 - uv[..., 1]) * (size - 1)], axis=-1)


def landmark_places(layout: UVLayout) -> np.ndarray:
    """Where the 68 landmarks are read off maps: (68, 2) float64, u and v. Of ICT-FaceKit's layout, the places that were
    found on photos (`prnet.geometry.landmark_places`); of others the layout's own."""
    return FOUND_ON_PHOTOS.get(layout.identity, layout.landmark_uv).astype(np.float64)


def landmark_stencil(layout: UVLayout, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The four texels around each landmark and their bilinear weights.

    Returns flat texel indices (68, 4) int32 and weights (68, 4) float32 that sum to 1.
    """
    column, row = texel_coordinates(landmark_places(layout), size).T
    left = np.clip(np.floor(column), 0, size - 2).astype(np.int32)
    top = np.clip(np.floor(row), 0, size - 2).astype(np.int32)
    x, y = column - left, row - top
    corner = top * size + left
    texels = np.stack([corner, corner + 1, corner + size, corner + size + 1], axis=-1)
    weights = np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], axis=-1)
    return texels.astype(np.int32), weights.astype(np.float32)


def sample_landmarks(maps: np.ndarray, layout: UVLayout) -> np.ndarray:
    """The 68 landmarks of position maps, bilinear. maps : (..., S, S, 3). Returns (..., 68, 3) in the maps' unit."""
    size = maps.shape[-2]
    texels, weights = landmark_stencil(layout, size)
    corners = maps.reshape(*maps.shape[:-3], size * size, 3)[..., texels, :]
    return np.einsum("...lkc,lk->...lc", corners, weights)


def landmark_texels(layout: UVLayout, size: int) -> np.ndarray:
    """Nearest texels of the landmarks: (68, 2) int, column and row."""
    return np.rint(texel_coordinates(landmark_places(layout), size)).astype(int)


def region_weights(layout: UVLayout, size: int) -> np.ndarray:
    """The region weights on a grid of another side, by nearest texel. Returns (size, size) float32."""
    nearest = np.rint(np.arange(size) * (MAP_SIZE - 1) / (size - 1)).astype(int)
    return layout.region_weights[np.ix_(nearest, nearest)].astype(np.float32)


def face_mask(layout: UVLayout, size: int) -> np.ndarray:
    """Texels of the face, (size, size) bool: the vertices of every metric and mesh file."""
    return region_weights(layout, size) > 0


def weight_mask(layout: UVLayout, size: int) -> np.ndarray:
    """The loss weights W, (size, size) float32: 16 at landmark texels over the region weights (PRNet, section 3.2)."""
    weights = region_weights(layout, size)
    column, row = landmark_texels(layout, size).T
    weights[row, column] = LANDMARK_WEIGHT
    return weights


def grid_triangles(mask: np.ndarray) -> np.ndarray:
    """Triangles that join neighbouring texels of a mask.

    mask : (S, S) bool. Returns (T, 3) int32 indices into the mask's texels in row-major order, counter-clockwise as
    seen from outside when columns run to the image's right and rows down.
    """
    index = np.full(mask.shape, -1, dtype=np.int32)
    index[mask] = np.arange(np.count_nonzero(mask), dtype=np.int32)
    upper_left, upper_right = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    lower_left, lower_right = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate(
        [
            np.stack([upper_left, lower_left, upper_right], axis=-1),
            np.stack([upper_right, lower_left, lower_right], axis=-1),
        ]
    )
    return triangles[(triangles >= 0).all(axis=-1)]


def resample_map(position_map: np.ndarray, size: int) -> np.ndarray:
    """A position map's texels on a grid of another side, bilinear at equal UV; the values are not rescaled."""
    at = np.linspace(0, position_map.shape[0] - 1, size, dtype=np.float32)
    column, row = np.meshgrid(at, at)
    return cv2.remap(position_map.astype(np.float32), column, row, cv2.INTER_LINEAR)


def mirror_maps(maps: np.ndarray, size: int) -> np.ndarray:
    """Position maps of the mirrored images: columns reversed and x reflected within the crop.

    maps : (..., S, S, 3) in crop pixels; the layout must be symmetric about u = 0.5. Returns a new array.
    """
    mirrored = maps[..., ::-1, :].copy()
    mirrored[..., 0] = (size - 1) - mirrored[..., 0]
    return mirrored
