"""Colours of a face from its photo: at vertices, and unrolled into the UV square, with what the camera could see."""

import cv2
import numpy as np

from prnet.geometry.crop import transform_points
from prnet.geometry.rasterise import rasterise
from prnet.geometry.uv_layout import resample_map
from prnet.reconstructing.face import Face

HIDDEN_DEPTH = 0.02
"""A vertex this share of the crop's side or more behind the surface in front of it is hidden."""


def sample_photo(image: np.ndarray, position_map: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 3) uint8 of a photo at a map's x and y, bilinear; beyond its edge the nearest pixel.

    Where neighbours in the map are two or more of the photo's pixels apart, the photo is averaged down first, so that
    nothing aliases.
    """
    # cv2.remap takes sources up to 32,766 pixels a side: only the part that the map covers is handed over.
    height, width = image.shape[:2]
    low = np.clip(np.floor(position_map[..., :2].min(axis=(0, 1))) - 1, 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(position_map[..., :2].max(axis=(0, 1))) + 2, low + 1, (width, height)).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    step = int((high - low).max() / max(position_map.shape[:2]))
    if step >= 2:
        columns, rows = np.maximum((high - low) // step, 1).tolist()
        part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    place = (position_map[..., :2] - low + 0.5) * (np.array(part.shape[1::-1]) / (high - low)) - 0.5
    place = place.astype(np.float32)
    # OpenCV's stubs do not know that the second map may be left out.
    return cv2.remap(part, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def vertex_colours(face: Face, image: np.ndarray) -> np.ndarray:
    """Colours of a face's vertices, (N, 3) uint8. image : the photo, (H, W, 3) uint8 RGB."""
    return sample_photo(image, face.position_map)[face.grid.mask]


def uv_texture(face: Face, image: np.ndarray, size: int = 256) -> np.ndarray:
    """The photo unrolled onto a UV square of side `size`, (size, size, 3) uint8."""
    return sample_photo(image, resample_map(face.position_map, size))


def visible_vertices(face: Face) -> np.ndarray:
    """Which vertices the camera sees, (N,) bool: turned towards it, and in front in the z-buffer of the crop."""
    size = face.grid.size
    place = transform_points(face.to_crop, face.vertices)
    depth = rasterise(place, face.triangles, size, size).depth
    nearest = np.rint(place[:, :2]).astype(int)
    inside = ((nearest >= 0) & (nearest < size)).all(axis=1)
    column, row = np.clip(nearest, 0, size - 1).T
    in_front = place[:, 2] >= depth[row, column] - HIDDEN_DEPTH * size
    return (face.normals[:, 2] > 0) & (in_front | ~inside)


def visibility_mask(face: Face, size: int = 256) -> np.ndarray:
    """Which texels of the UV square the camera sees, (size, size) bool; False off the face."""
    visible = np.zeros(face.grid.mask.shape, dtype=np.uint8)
    visible[face.grid.mask] = visible_vertices(face)
    return cv2.resize(visible, (size, size), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
