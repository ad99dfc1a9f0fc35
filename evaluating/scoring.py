"""One face against the truth: errors of every type under a protocol."""

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
from prnet.evaluating.protocols import DENSE, RECONSTRUCTION, SPARSE, TYPES, Protocol


@dataclass(frozen=True)
class Truth:
    """What is true of one photo, in its pixels. The mesh is None where only landmarks are known."""

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
class Column:
    """One error of an image: a type and, for a reconstruction, how it is aligned."""

    index: int  # into TYPES
    alignment: str | None = None

    @property
    def title(self) -> str:
        return f"{TYPES[self.index]}, {self.alignment}" if self.alignment else TYPES[self.index]

    @property
    def dimensions(self) -> int:
        return 2 if self.index % 2 == 0 else 3


def columns_of(indices) -> tuple[Column, ...]:
    """The errors that the types `indices` ask for: one each, and for a reconstruction one for each alignment."""
    columns = []
    for index in sorted(set(indices)):
        columns += [Column(index, way) for way in ALIGNMENTS] if index in RECONSTRUCTION else [Column(index)]
    return tuple(columns)


@dataclass(frozen=True)
class Score:
    """Errors of one image in per cent."""

    errors: np.ndarray  # (C,) float64, one for each column
    landmark_errors: np.ndarray  # (68,) float64, in 2D
    vertex_errors: np.ndarray | None  # (V,) float64, in 3D, where a dense type was asked for
    map_errors: np.ndarray  # (2,) float64, 2D and 3D: the true map's grid landmarks against the true ones; else NaN


def score(prediction: Prediction, truth: Truth, face: np.ndarray, columns, protocol: Protocol) -> Score:
    """Errors of one image.

    face : (V,) int, the texels of the face mask in row-major order. columns : of `columns_of`. The dense types and
    the reconstruction need the truth's mesh and the prediction's vertices.
    """
    origin = protocol.depth_origin
    indices = {column.index for column in columns}
    depth_known = prediction.landmarks.shape[1] == truth.landmarks.shape[1] == 3
    shared = 3 if depth_known else 2
    divisor = sparse_normaliser(truth, protocol)
    sparse = residuals_from_origins(prediction.landmarks[:, :shared], truth.landmarks[:, :shared], origin)
    errors = {column: nme(sparse[:, : column.dimensions], divisor) for column in columns if column.index in SPARSE}

    vertex_errors = None
    if indices & {*DENSE, *RECONSTRUCTION}:
        true_vertices = truth.mesh[face]
    if indices & set(DENSE):
        dense = residuals_from_origins(prediction.vertices, true_vertices, origin)
        divisor = dense_normaliser(truth, true_vertices, protocol)
        for column in columns:
            if column.index in DENSE:
                errors[column] = nme(dense[:, : column.dimensions], divisor)
        vertex_errors = 100.0 * distances(dense) / divisor
    if indices & set(RECONSTRUCTION):
        divisor = landmark_distance(truth.mesh_landmarks, protocol.eye_corners)
        for alignment in ALIGNMENTS:
            residuals = aligned_residuals(prediction.vertices, true_vertices, alignment)
            for column in columns:
                if column.alignment == alignment:
                    errors[column] = nme(residuals[:, : column.dimensions], divisor)
    return Score(
        errors=np.array([errors[column] for column in columns]),
        landmark_errors=100.0 * distances(sparse[:, :2]) / sparse_normaliser(truth, protocol),
        vertex_errors=vertex_errors,
        map_errors=_map_errors(truth, protocol),
    )


def sparse_normaliser(truth: Truth, protocol: Protocol) -> float:
    """d of the sparse types, in pixels."""
    return float(root_box_area(truth.landmarks) if protocol.normaliser == "landmark box" else box_diagonal(truth.mesh))


def dense_normaliser(truth: Truth, true_vertices: np.ndarray, protocol: Protocol) -> float:
    """d of the dense types, in pixels."""
    return float(root_box_area(true_vertices) if protocol.normaliser == "landmark box" else box_diagonal(truth.mesh))


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
