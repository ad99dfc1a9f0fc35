"""One face against the ground truth: errors of every type under a protocol."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from prnet.evaluating.nme import (
    ALIGNMENTS,
    aligned_residuals,
    box_diagonal,
    distances,
    landmark_distance,
    nme,
    residuals_from_origins,
    root_box_area,
)
from prnet.evaluating.protocols import Protocol
from prnet.evaluating.types import EvaluationType, Kind


@dataclass(frozen=True)
class Truth:
    """The ground truth of one photo, in its pixels. The mesh is None where only landmarks are known."""

    landmarks: np.ndarray  # (68, 2 or 3)
    mesh: np.ndarray | None = None  # (65536, 3) all texels of the position map, least z 0
    mesh_landmarks: np.ndarray | None = None  # (68, 3) the landmarks that the map itself holds
    grid_landmarks: np.ndarray | None = None  # (68, 3) the same of the map on the network's grid


@dataclass(frozen=True)
class Prediction:
    """What a method says of one photo, in its pixels."""

    landmarks: np.ndarray  # (68, 2 or 3)
    vertices: np.ndarray | None = None  # (V, 3) the texels of the face mask, row by row


@dataclass(frozen=True)
class Failure:
    """Why an image has no result."""

    reason: str


@dataclass(frozen=True)
class Column:
    """One error of an image: a type and, for a reconstruction, how it is aligned (one of `nme.ALIGNMENTS`)."""

    type: EvaluationType
    alignment: str | None = None

    @property
    def title(self) -> str:
        return f"{self.type.title}, {self.alignment}" if self.alignment else self.type.title


def columns_of(types: Iterable[int]) -> tuple[Column, ...]:
    """The errors that types (or their numbers) ask for, in order: one each, of a reconstruction one an alignment."""
    columns: list[Column] = []
    for each in map(EvaluationType, sorted(set(types))):
        is_reconstruction = each.kind is Kind.RECONSTRUCTION
        columns += [Column(each, way) for way in ALIGNMENTS] if is_reconstruction else [Column(each)]
    return tuple(columns)


@dataclass(frozen=True)
class Score:
    """Errors of one image in per cent."""

    errors: np.ndarray  # (C,) float64, one for each column
    landmark_errors: np.ndarray  # (68,) float64, in 2D
    vertex_errors: np.ndarray | None  # (V,) float64, in 3D, where a dense type was asked for
    map_errors: np.ndarray  # (2,) float64, 2D and 3D: the true map's grid landmarks against the true ones; else NaN


def score(
    prediction: Prediction, truth: Truth, face: np.ndarray | None, columns: Sequence[Column], protocol: Protocol
) -> Score:
    """Errors of one image.

    face : (V,) int, the texels of the face mask in row-major order. columns : of `columns_of`. All but the sparse
    types need it, the truth's mesh and the prediction's vertices.
    """
    sparse = _sparse_residuals(prediction, truth, protocol)
    divisor = sparse_normaliser(truth, protocol)
    residuals: dict[tuple[Kind, str | None], np.ndarray] = {(Kind.SPARSE, None): sparse}
    divisors, vertex_errors = {Kind.SPARSE: divisor}, None
    kinds = {column.type.kind for column in columns}
    if kinds - {Kind.SPARSE}:
        predicted, true_vertices, mesh_landmarks = _meshes(prediction, truth, face)
    if Kind.DENSE in kinds:
        dense = residuals_from_origins(predicted, true_vertices, protocol.depth_origin)
        residuals[Kind.DENSE, None] = dense
        divisors[Kind.DENSE] = dense_normaliser(truth, true_vertices, protocol)
        vertex_errors = 100.0 * distances(dense) / divisors[Kind.DENSE]
    if Kind.RECONSTRUCTION in kinds:
        divisors[Kind.RECONSTRUCTION] = float(landmark_distance(mesh_landmarks, protocol.eye_corners))
        for way in {column.alignment for column in columns if column.alignment}:
            residuals[Kind.RECONSTRUCTION, way] = aligned_residuals(predicted, true_vertices, way)
    return Score(
        errors=np.array([_error_of(column, residuals, divisors) for column in columns]),
        landmark_errors=100.0 * distances(sparse[:, :2]) / divisor,
        vertex_errors=vertex_errors,
        map_errors=_map_errors(truth, protocol),
    )


def _error_of(column: Column, residuals: dict, divisors: dict) -> float:
    kind = column.type.kind
    return float(nme(residuals[kind, column.alignment][:, : column.type.dimensions], divisors[kind]))


def _sparse_residuals(prediction: Prediction, truth: Truth, protocol: Protocol) -> np.ndarray:
    """(68, 3), or (68, 2) where one of the two has no depth."""
    shared = min(prediction.landmarks.shape[1], truth.landmarks.shape[1])
    return residuals_from_origins(prediction.landmarks[:, :shared], truth.landmarks[:, :shared], protocol.depth_origin)


def _meshes(prediction: Prediction, truth: Truth, face: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and true vertices (V, 3), and the true map's landmarks (68, 3)."""
    if prediction.vertices is None or truth.mesh is None or truth.mesh_landmarks is None or face is None:
        raise ValueError("dense errors need vertices, predicted and true, and the texels that they are")
    return prediction.vertices, truth.mesh[face], truth.mesh_landmarks


def sparse_normaliser(truth: Truth, protocol: Protocol) -> float:
    """d of the sparse types, in pixels."""
    return _normaliser(truth.landmarks, truth, protocol)


def dense_normaliser(truth: Truth, true_vertices: np.ndarray, protocol: Protocol) -> float:
    """d of the dense types, in pixels."""
    return _normaliser(true_vertices, truth, protocol)


def _normaliser(points: np.ndarray, truth: Truth, protocol: Protocol) -> float:
    if protocol.normaliser == "landmark box":
        return float(root_box_area(points))
    if truth.mesh is None:
        raise ValueError("the diagonal of the true mesh needs the true mesh")
    return float(box_diagonal(truth.mesh))


def _map_errors(truth: Truth, protocol: Protocol) -> np.ndarray:
    """What the position map itself costs the sparse types."""
    errors = np.full(2, np.nan)
    if truth.grid_landmarks is not None:
        coordinates = truth.landmarks.shape[1]
        residuals = residuals_from_origins(
            truth.grid_landmarks[:, :coordinates], truth.landmarks, protocol.depth_origin
        )
        divisor = sparse_normaliser(truth, protocol)
        for row, dimensions in enumerate(range(2, coordinates + 1)):
            errors[row] = nme(residuals[:, :dimensions], divisor)
    return errors
