"""The nine spherical harmonics of bands 0 to 2, as which the light on a matt surface is told.

Convention: normals are unit vectors, x right, y up, z to the camera. A light is (9, 3): coefficients for red, green
and blue; what a point sends back is its albedo times `harmonics(normal) @ light`. The constants are those of
Deep3DFaceReconstruction (Deng et al., CVPRW 2019), after Ramamoorthi and Hanrahan (SIGGRAPH 2001); they scale a band
as a whole, and so do not change what can be lit.
"""

import math
from typing import Any

import numpy as np

COUNT = 9
AMBIENT = 0.8
"""Added to the constant coefficient of each colour, so that coefficients of 0 are even white light."""

ODD_IN_X = (3, 4, 7)
"""The functions that change sign when the face is mirrored."""

CONSTANT = math.pi / math.sqrt(4 * math.pi)
LINEAR = 2 * math.pi / math.sqrt(3) * math.sqrt(3) / math.sqrt(4 * math.pi)
SQUARE = 2 * math.pi / math.sqrt(8) * 3 * math.sqrt(5) / math.sqrt(12 * math.pi)
"""Of each band, the transfer constant times the function's own."""


def harmonic_terms(x: Any, y: Any, z: Any) -> tuple:
    """The nine functions of a normal's coordinates, arrays or tensors of one shape."""
    return (
        CONSTANT + 0 * x,
        -LINEAR * y,
        LINEAR * z,
        -LINEAR * x,
        SQUARE * x * y,
        -SQUARE * y * z,
        SQUARE / (2 * math.sqrt(3)) * (3 * z * z - 1),
        -SQUARE * x * z,
        SQUARE / 2 * (x * x - y * y),
    )


def harmonics(normals: np.ndarray) -> np.ndarray:
    """The nine functions (..., 9) at unit normals (..., 3)."""
    return np.stack(harmonic_terms(*np.moveaxis(normals, -1, 0)), axis=-1)


def mirrored_light(light: np.ndarray) -> np.ndarray:
    """The light (..., 9, 3) of the mirrored photo."""
    mirrored = np.array(light)
    mirrored[..., ODD_IN_X, :] *= -1
    return mirrored
