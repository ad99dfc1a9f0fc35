"""UV position maps of face-model fits: the face model resampled once to texels, then one matrix product a batch.

Interpolation in UV is linear and so is the face model, so a texel of the map is the same barycentric mixture of the
bases as of the vertices. No mesh is rasterised for a sample.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.ndimage import distance_transform_edt

from prnet.configure.config import MAP_SIZE
from prnet.geometry.crop import compose, crop_transform, landmark_box, lift_transform
from prnet.geometry.face_model import FaceModel, at_landmarks
from prnet.geometry.mesh import boundary_loops
from prnet.geometry.rasterise import rasterise
from prnet.geometry.uv_layout import UVLayout, texel_coordinates


@dataclass(frozen=True)
class MapBasis:
    """A face model on the texels of a grid of side `size`."""

    size: int
    rows: np.ndarray  # (1 + K, size * size * 3) float32, model units: mean, K identity then expression components


def texel_mixture(model: FaceModel, size: int) -> sparse.csr_array:
    """How each texel mixes the model's vertices: (size * size, V) float32, rows sum to 1.

    Holes of the mesh (mouth, eyes) are closed by a fan around the mean of their rim, so that texels beside the rim
    can be interpolated; whether a hole belongs to the face is for the model's `region_weights` to say. A texel that
    the mesh does not cover takes the place of the nearest one that it covers, so the covered texels are the whole grid.
    """
    count = len(model.mean)
    holes = boundary_loops(model.triangles, model.mean)[1:]
    rim_means = [
        sparse.csr_array((np.full(len(rim), 1 / len(rim)), ([0] * len(rim), rim)), (1, count)) for rim in holes
    ]
    closed = sparse.vstack([sparse.eye_array(count, format="csr"), *rim_means], format="csr")
    fans = [
        np.column_stack([np.roll(rim, -1), rim, np.full(len(rim), count + number)]) for number, rim in enumerate(holes)
    ]
    triangles = np.concatenate([model.triangles, *fans]).astype(np.int32)

    place = np.zeros((closed.shape[0], 3), dtype=np.float32)
    place[:, :2] = texel_coordinates(closed @ model.uv.astype(np.float64), size)
    raster = rasterise(place, triangles, size, size, two_sided=True)
    nearest = distance_transform_edt(raster.triangle < 0, return_distances=False, return_indices=True)
    triangle, barycentric = raster.triangle[tuple(nearest)].ravel(), raster.barycentric[tuple(nearest)].reshape(-1, 3)

    rows = np.repeat(np.arange(size * size), 3)
    on_vertices = sparse.csr_array(
        (barycentric.ravel(), (rows, triangles[triangle].ravel())), (size * size, len(place))
    )
    return (on_vertices @ closed).astype(np.float32)


def map_basis(model: FaceModel, size: int) -> MapBasis:
    """Resample a face model to the texels of a grid of side `size`. 180 MB for 228 components at 256."""
    mixture = texel_mixture(model, size)
    rows = np.empty((1 + model.coefficient_count, size * size * 3), dtype=np.float32)
    shapes = [model.mean, *np.moveaxis(model.shape_basis, 2, 0), *np.moveaxis(model.expression_basis, 2, 0)]
    for row, shape in zip(rows, shapes, strict=True):
        row[:] = (mixture @ shape).ravel()
    return MapBasis(size=size, rows=rows)


def shape_maps(basis: MapBasis, coefficients: np.ndarray) -> np.ndarray:
    """The texels' places in model units, (B, S, S, 3) float32. coefficients : (B, K) identity, then expression."""
    mixture = np.ones((len(coefficients), len(basis.rows)), dtype=np.float32)
    mixture[:, 1:] = coefficients
    return (mixture @ basis.rows).reshape(len(coefficients), basis.size, basis.size, 3)


def position_maps(basis: MapBasis, coefficients: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Position maps of a batch of fits.

    coefficients : (B, K) float32, identity then expression. transforms : (B, 3, 4), model units to crop pixels, for
    instance `compose(lift_transform(crop), fit_to_pixels(pose, height))`. Returns (B, S, S, 3) float32 crop pixels,
    each map's least z moved to 0.
    """
    maps = shape_maps(basis, coefficients)
    for position_map, transform in zip(maps, transforms, strict=True):
        place_map(position_map, transform)
    return maps


def place_map(shape_map: np.ndarray, transform: np.ndarray) -> None:
    """Move a map from model units to crop pixels in place, its least z to 0. shape_map : (S, S, 3) float32."""
    cv2.transform(shape_map, np.asarray(transform, dtype=np.float64), dst=shape_map)
    shape_map[..., 2] -= shape_map[..., 2].min()


def layout_of_model(model: FaceModel) -> UVLayout:
    """The UV layout that a face model defines, with its mean face as the canonical map."""
    shape_map = (texel_mixture(model, MAP_SIZE) @ model.mean).reshape(MAP_SIZE, MAP_SIZE, 3)
    return UVLayout(
        landmark_uv=at_landmarks(model, model.uv),
        region_weights=model.region_weights,
        canonical_map=frontal_map(shape_map, at_landmarks(model, model.mean)),
    )


def frontal_map(shape_map: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The position map of a face that looks ahead in its reference crop.

    shape_map : (S, S, 3), landmarks : (68, 3), both in any unit, x right, y up, z to the viewer. Returns
    (S, S, 3) float32 pixels of a crop of side S.
    """
    upright = np.diag([1.0, -1.0, 1.0, 1.0])[:3]
    crop = crop_transform(landmark_box(landmarks @ upright[:, :3].T), shape_map.shape[0])
    placed = shape_map.astype(np.float32)
    place_map(placed, compose(lift_transform(crop), upright))
    return placed
