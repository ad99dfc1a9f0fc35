"""Light as nine spherical harmonics a colour (`prnet.geometry.harmonics`), in Keras operations."""

import numpy as np
from keras import ops

from prnet.geometry.harmonics import AMBIENT, COUNT, harmonic_terms


def shading(normals, light):
    """What each surface point sends back of its albedo. normals : (B, N, 3), light : (B, 9, 3). Returns (B, N, 3)."""
    terms = harmonic_terms(*(normals[..., axis] for axis in range(3)))
    return ops.matmul(ops.stack(terms, axis=-1), light)


def light_of_coefficients(coefficients):
    """A light (B, 9, 3) from free coefficients (B, 27), nine a colour, about even white light."""
    colours = ops.transpose(ops.reshape(coefficients, (-1, 3, COUNT)), (0, 2, 1))
    even = np.zeros((1, COUNT, 1), dtype=np.float32)
    even[:, 0] = AMBIENT
    return ops.add(colours, even)
