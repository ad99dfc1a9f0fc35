"""What the decoder of a morphable network knows of faces: statistics of its training set, fixed before it trains."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.spatial import ConvexHull

from prnet.configure.config import MAP_SIZE, TARGET_SCALE
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis, frontal_map
from prnet.geometry.uv_layout import UVLayout, face_mask, landmark_stencil, resample_map, sample_landmarks
from prnet.model.parameters import ParameterNames

RAW_SIZE = 32
"""Side of the raw map, which the projection reads pose and coefficients off."""

RIDGE = 0.02
"""Of the mean variance of a component, added to each when a raw map is explained by them."""


@dataclass(frozen=True)
class FaceSpace:
    """The faces of a training set as mean + coefficients @ basis, on the n texels of the face and their neighbours.

    Lengths in units of the mean face's largest coordinate about its centroid, x right, y up, z to the viewer. A
    coefficient of 1 is one standard deviation; identity comes before expression.
    """

    mean: np.ndarray  # (n, 3) float32
    basis: np.ndarray  # (K, n, 3) float32
    texels: np.ndarray  # (n,) int32, flat, where on the map the n texels are
    nearest: np.ndarray  # (S * S,) int32, the one of the n texels whose place each texel of the map takes
    raw_texels: np.ndarray  # (RAW_SIZE ** 2,) int32, flat texels of the map at which the raw map lies
    raw_face: np.ndarray  # (RAW_SIZE ** 2,) bool, those on the face
    raw_start: np.ndarray  # (RAW_SIZE ** 2, 3) float32, the mean face, frontal, in target units (y down)
    canonical_map: np.ndarray  # (256, 256, 3) float32, the mean face, frontal, in its reference crop
    identity_count: int
    names: tuple[str, ...]  # (K - identity_count,) of the expressions
    expression_mean: (
        np.ndarray
    )  # (K - identity_count,) float32: an expression's value is mean + deviation x coefficient
    expression_deviation: np.ndarray
    scores: tuple[str, ...] = ()  # what the network reads off the photo beside the surface

    @property
    def parameter_names(self) -> ParameterNames:
        return ParameterNames(
            self.identity_count, self.names, self.expression_mean, self.expression_deviation, self.scores
        )

    @property
    def size(self) -> int:
        return int(np.sqrt(len(self.nearest)))


def face_space(
    model: FaceModel,
    basis: MapBasis,
    layout: UVLayout,
    coefficients: np.ndarray,
    identities: int | None = None,
    *,
    hull: bool = False,
) -> FaceSpace:
    """Statistics of a training set's maps. coefficients : (N, K) of its fits, identity, then expression.

    Identity components are the principal components of the maps without their expression, by falling variance, the
    first `identities` of them. Expression components are the directions in which the maps change with each
    coefficient of the fits, so that they keep their names. hull : keep the corners of the mean map's convex hull too,
    among which the least z of a turned map is found.
    """
    size, count = basis.size, model.shape_basis.shape[2]
    mask, kept = face_mask(layout, size), kept_texels(layout, size)
    coefficients = np.asarray(coefficients, dtype=np.float64)
    mean_coefficients = coefficients.mean(axis=0)
    rows = basis.rows.reshape(len(basis.rows), size * size, 3)
    full_mean = np.tensordot(np.concatenate([[1.0], mean_coefficients]), rows, axes=1)
    if hull:
        kept.ravel()[ConvexHull(full_mean).vertices] = True
    texels = np.flatnonzero(kept)
    on_face = mask.ravel()[texels]
    centre = full_mean[mask.ravel()].mean(axis=0)
    unit = np.abs(full_mean[mask.ravel()] - centre).max()
    mean = (full_mean[texels] - centre) / unit

    shapes = rows[1:, texels] / unit
    mixing = _principal_components(coefficients[:, :count], shapes[:count][:, on_face])[:identities]
    deviation = np.maximum(coefficients[:, count:].std(axis=0), 1e-6)
    components = np.concatenate(
        [np.tensordot(mixing, shapes[:count], axes=1), deviation[:, None, None] * shapes[count:]]
    )

    full_mean = full_mean.reshape(size, size, 3)
    raw_texels = raw_map_texels(size)
    landmarks = sample_landmarks(full_mean, layout)
    start = frontal_map(full_mean, landmarks) / (size * TARGET_SCALE)
    expressions = coefficients[:, count:]
    return FaceSpace(
        mean=mean.astype(np.float32),
        basis=components.astype(np.float32),
        texels=texels.astype(np.int32),
        nearest=nearest_kept(kept),
        raw_texels=raw_texels,
        raw_face=mask.ravel()[raw_texels],
        raw_start=start.reshape(-1, 3)[raw_texels].astype(np.float32),
        canonical_map=frontal_map(resample_map(full_mean, MAP_SIZE), landmarks),
        identity_count=len(mixing),
        names=tuple(getattr(model, "expression_names", ()) or (f"expression{n:02d}" for n in range(len(deviation)))),
        expression_mean=expressions.mean(axis=0).astype(np.float32),
        expression_deviation=deviation.astype(np.float32),
    )


def kept_texels(layout: UVLayout, size: int) -> np.ndarray:
    """The texels (size, size) bool that a face space knows: those of the face, and what is read beside them."""
    kept = binary_dilation(face_mask(layout, size), iterations=1)
    kept.ravel()[landmark_stencil(layout, size)[0].ravel()] = True
    return kept


def nearest_kept(kept: np.ndarray) -> np.ndarray:
    """Which of the n kept texels (S, S) bool lies nearest to each texel of the map: (S * S,) int32 in 0 to n - 1."""
    nearest = distance_transform_edt(~kept, return_distances=False, return_indices=True)
    index = np.cumsum(kept.ravel()) - 1
    return index.reshape(kept.shape)[tuple(nearest)].ravel().astype(np.int32)


def raw_map_texels(size: int) -> np.ndarray:
    """The flat texels (RAW_SIZE ** 2,) int32 of a map of side `size` at which the raw map lies."""
    at = np.rint(np.linspace(0, size - 1, RAW_SIZE)).astype(np.int32)
    return (at[:, None] * size + at).ravel()


def _principal_components(coefficients: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Mixtures (k, S) of the shapes: principal components of the faces that coefficients (N, S) make of them, each of
    one standard deviation, by falling variance. Components without variance are left out."""
    covariance = np.cov(coefficients, rowvar=False).reshape(len(shapes), len(shapes))
    variances, axes = np.linalg.eigh(covariance)
    whitened = axes * np.sqrt(np.maximum(variances, 0.0))  # coefficients of the model for independent unit ones
    flat = whitened.T @ shapes.reshape(len(shapes), -1)
    strengths, turn = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(strengths)[::-1]
    order = order[strengths[order] > 1e-9 * max(strengths.max(), 1e-30)]
    return (whitened @ turn[:, order]).T
