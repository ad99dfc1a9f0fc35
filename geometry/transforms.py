"""Affine transforms of space, as arrays M (3, 4) that act on columns: x' = M[:, :3] x + M[:, 3]."""

import numpy as np

FLIP_Y = np.array([1.0, -1.0, 1.0], dtype=np.float32)
"""Turns y down, as in pixels, to y up, as in a face model, and back: factors of points (..., 3)."""


def apply_transform(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move points (..., 3) by a (3, 4) transform. In pixels x is right, y down, z to the camera."""
    return points @ transform[:, :3].T + transform[:, 3]
