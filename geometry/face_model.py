"""The linear face model (3DMM): a mean, identity and expression bases, and what is known of its vertices."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class MediaPipePoints:
    """The 468 points of MediaPipe's face mesh as mixtures of a face model's vertices."""

    vertices: np.ndarray  # (468, 3) int32
    weights: np.ndarray  # (468, 3) float32, rows sum to 1
    distance: np.ndarray  # (468,) float32, model units: how far MediaPipe's own mesh lies from the place found
    shift: np.ndarray  # (468, 3) float32, model units: where on photos the points lie beside that place, on average


@dataclass(frozen=True)
class TextureBasis:
    """How the albedo of faces varies: mean_texture + basis @ coefficients, sRGB in 0 to 1."""

    basis: np.ndarray  # (V, 3, A) float32
    deviation: np.ndarray  # (A,) float32, standard deviations of the coefficients


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
    landmark_vertices: np.ndarray  # (68, M) int32, iBUG order: each landmark is a mixture of M vertices
    landmark_weights: np.ndarray  # (68, M) float32, rows sum to 1
    uv: np.ndarray  # (V, 2) float32 in 0 to 1: u to the image's right, v up
    mean_texture: np.ndarray  # (V, 3) float32 RGB in 0 to 1
    region_weights: np.ndarray  # (256, 256) float32 on the UV grid: 0 off the face, 3 face, 4 eyes, nose, mouth
    source: str
    licence: str
    expression_names: tuple[str, ...] = ()  # of the E components in ARKit's spelling, or none
    mediapipe: "MediaPipePoints | None" = None  # where MediaPipe's points lie on this face, if known
    texture: "TextureBasis | None" = None  # of the albedo, if known

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
            *([self.landmark_weights] if self.landmark_vertices.shape[1] > 1 else []),
        ):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def coefficient_count(self) -> int:
        return self.shape_basis.shape[2] + self.expression_basis.shape[2]


def face_vertices(model: FaceModel, coefficients: np.ndarray, subset: slice | np.ndarray = slice(None)) -> np.ndarray:
    """Vertices (n, 3) float32 in model units of one face.

    coefficients : (S + E,) identity, then expression. subset : which vertices.
    """
    count = model.shape_basis.shape[2]
    coefficients = np.asarray(coefficients, dtype=np.float32)
    identity, expression = coefficients[:count], coefficients[count:]
    return model.mean[subset] + model.shape_basis[subset] @ identity + model.expression_basis[subset] @ expression


def mixture(values: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values of mixtures of vertices. values : (V, ...), vertices and weights : (n, M). Returns (n, ...)."""
    if vertices.shape[1] == 1:
        return values[vertices[:, 0]]
    return np.einsum("nm,nm...->n...", weights, values[vertices], optimize=True)


def at_landmarks(model: FaceModel, values: np.ndarray) -> np.ndarray:
    """Values (68, ...) at the landmarks of values (V, ...) at the vertices: places, basis or UV coordinates."""
    return mixture(values, model.landmark_vertices, model.landmark_weights)


def face_landmarks(model: FaceModel, coefficients: np.ndarray) -> np.ndarray:
    """The 68 landmarks (68, 3) float32 of one face in model units. coefficients : as in `face_vertices`."""
    used, place = np.unique(model.landmark_vertices, return_inverse=True)
    vertices = place.reshape(model.landmark_vertices.shape)
    return mixture(face_vertices(model, coefficients, used), vertices, model.landmark_weights)


def landmark_model(model: FaceModel) -> FaceModel:
    """The face model whose 68 vertices are the landmarks of `model`, without triangles."""
    return replace(
        model,
        mean=at_landmarks(model, model.mean),
        shape_basis=at_landmarks(model, model.shape_basis),
        expression_basis=at_landmarks(model, model.expression_basis),
        triangles=np.empty((0, 3), np.int32),
        landmark_vertices=np.arange(len(model.landmark_vertices), dtype=np.int32)[:, None],
        landmark_weights=np.ones((len(model.landmark_vertices), 1), np.float32),
        uv=at_landmarks(model, model.uv),
        mean_texture=at_landmarks(model, model.mean_texture),
        mediapipe=None,
        texture=None,
    )
