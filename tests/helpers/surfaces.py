"""A surface like a face, and known motions of it."""

import numpy as np
from scipy.spatial.transform import Rotation


def transform_of(angles, offset, scale=1.0):
    """A similarity (3, 4) from Euler angles in degrees, an offset and a scale."""
    linear = scale * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return np.column_stack([linear, offset])


def face_surface(step=1.0):
    """A bumpy, asymmetric half ellipsoid in pixels, about the size of a face in its crop."""
    x, y = np.meshgrid(np.arange(-70, 70, step), np.arange(-90, 90, step))
    depth = 90 * np.sqrt(np.clip(1 - (x / 80) ** 2 - (y / 100) ** 2, 0, None))
    nose = 25 * np.exp(-((x / 12) ** 2 + ((y - 10) / 20) ** 2))
    cheek = 9 * np.exp(-(((x - 30) / 15) ** 2 + ((y - 35) / 12) ** 2))
    points = np.stack([x, y, depth + nose + cheek], axis=-1)
    return points[(x / 75) ** 2 + (y / 95) ** 2 < 1]
