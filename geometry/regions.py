"""Where face, eyes, nose and mouth lie on the UV grid, from nothing but the landmarks' places on it."""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import ConvexHull

from prnet.configure.config import FACE_WEIGHT, FEATURE_WEIGHT, MAP_SIZE
from prnet.geometry.uv_layout import texel_coordinates

_JAW, _BROWS, _NOSE, _EYES, _LIPS = slice(2, 15), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 60)


def derive_region_weights(landmark_uv: np.ndarray) -> np.ndarray:
    """The loss weights of the UV grid's regions, in the likeness of PRNet's own masks (PRNet, section 3.2).

    landmark_uv : (68, 2) in 0 to 1, u to the image's right, v up, iBUG order. Returns (256, 256) float32: 3 on the
    face, which ends a little below the jaw and short of the grid's edge, 4 around eyes, nose and mouth within it, and
    0 on neck and ears. Margins are in parts of the distance between the outer corners of the eyes.
    """
    points = texel_coordinates(np.asarray(landmark_uv, dtype=np.float64), MAP_SIZE)
    unit = float(np.linalg.norm(points[45] - points[36]))

    left, top, right = 0.05 * unit, 0.05 * unit, MAP_SIZE - 1 - 0.05 * unit
    left_ear, right_ear = points[[1, 15], 1] * 0.7 + points[[0, 16], 1] * 0.3
    corners = [(left, top), (left, left_ear), (right, right_ear), (right, top)]
    face = _within(np.concatenate([corners, points[_JAW] + (0, 0.08 * unit)]), 0)

    eye_line = points[_EYES, 1].mean()
    below_eyes = points[_BROWS] * (1, -0.8) + (0, 1.8 * eye_line)
    mouth = points[_LIPS].mean(axis=0)
    wide_lips = mouth + (points[_LIPS] - mouth) * (1.4, 1.0)
    features = (
        _within(np.concatenate([points[_BROWS], below_eyes]), 0.06 * unit)
        | _within(points[_NOSE], 0.13 * unit)
        | _within(wide_lips, 0.09 * unit)
    )
    return np.where(face, np.where(features, FEATURE_WEIGHT, FACE_WEIGHT), 0).astype(np.float32)


def _within(points: np.ndarray, margin: float) -> np.ndarray:
    """Texels at most `margin` texels from the convex hull of (column, row) points: (256, 256) bool."""
    row, column = np.mgrid[:MAP_SIZE, :MAP_SIZE]
    beyond = np.max([x * column + y * row + offset for x, y, offset in ConvexHull(points).equations], axis=0)
    return distance_transform_edt(beyond > 1e-9) <= margin
