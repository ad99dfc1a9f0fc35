"""The linear face model (3DMM): a mean, identity and expression bases, and what is known of its vertices."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class FaceModel:
    """A 3D morphable model with V vertices (Blanz and Vetter 1999; Paysan et al. 2009).

    A face is mean + shape_basis @ shape + expression_basis @ expression, in model units, x to the image's right when
    the face looks at the camera, y up, z to the camera. The coefficients are those of 300W-LP's `Shape_Para` and
    `Exp_Para`: not divided by the standard deviations.
    """

    mean: np.ndarray  # (V, 3) float32, shapeMU + expMU
    shape_basis: np.ndarray  # (V, 3, S) float32
    expression_basis: np.ndarray  # (V, 3, E) float32
    shape_deviation: np.ndarray  # (S,) float32, standard deviations of the coefficients
    expression_deviation: np.ndarray  # (E,) float32
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise as seen from outside
    landmark_vertices: np.ndarray  # (68,) int32, iBUG order
    uv: np.ndarray  # (V, 2) float32 in 0 to 1: u to the image's right, v up
    mean_texture: np.ndarray  # (V, 3) float32 RGB in 0 to 1
    region_weights: np.ndarray  # (256, 256) float32 on the UV grid: 0 off the face, 3 face, 4 eyes, nose, mouth
    source: str
    licence: str

    @cached_property
    def identity(self) -> str:
        """Hash of every array that shapes a position map: a dataset made for one model is refused with another."""
        digest = hashlib.sha256()
        for array in (
            self.mean,
            self.shape_basis,
            self.expression_basis,
            self.uv,
            self.triangles,
            self.landmark_vertices,
        ):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def coefficient_count(self) -> int:
        return self.shape_basis.shape[2] + self.expression_basis.shape[2]


def face_vertices(model: FaceModel, coefficients: np.ndarray, subset=slice(None)) -> np.ndarray:
    """Vertices (n, 3) float32 in model units of one face.

    coefficients : (S + E,) identity, then expression. subset : which vertices, for instance `landmark_vertices`.
    """
    count = model.shape_basis.shape[2]
    coefficients = np.asarray(coefficients, dtype=np.float32)
    identity, expression = coefficients[:count], coefficients[count:]
    return model.mean[subset] + model.shape_basis[subset] @ identity + model.expression_basis[subset] @ expression
