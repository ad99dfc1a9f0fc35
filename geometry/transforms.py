"""Affine transforms of space, as arrays M (3, 4) that act on columns: x' = M[:, :3] x + M[:, 3]."""

import numpy as np


def apply_transform(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move points (..., 3) by a (3, 4) transform. In pixels x is right, y down, z to the camera."""
    return points @ transform[:, :3].T + transform[:, 3]
