"""A texture basis learned from photos with fits: the mean albedo of faces and its principal components.

Each photo of a face that looks ahead is sampled at the places of the map's texels. Its shading, nine harmonics fitted
to the brightness against the mean albedo, is divided out; only how light varies over the face is taken for light, so
that pale and dark skin stay apart. What is left over all faces gives the mean and the components.
"""

from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from prnet.common.errors import UserError
from prnet.generating.dataset import Dataset
from prnet.geometry.face_model import FaceModel, TextureBasis
from prnet.geometry.harmonics import AMBIENT, CONSTANT, harmonics
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis, position_maps
from prnet.geometry.transforms import FLIP_Y
from prnet.geometry.uv_layout import face_mask, grid_triangles, texel_coordinates

SIZE = 128
"""Side of the maps that textures are sampled on."""

MOST_YAW = 20.0
"""Degrees beyond which a face does not look ahead."""

MOST_PHOTOS = 1500
LEAST_PHOTOS = 20
FACING = 0.3
"""Least z of the normal of a texel that is seen well; others take the mean albedo, as bright as the face."""

ROUNDS = 3
"""How often shading and mean albedo are found from each other."""

EXPOSURE = AMBIENT * CONSTANT
"""What a face sends back of its albedo under a photo network's light of zeros, and so in a photo on average."""


def learn_texture(model: FaceModel, dataset: Dataset, components: int) -> FaceModel:
    """The face model with a mean texture and a texture basis from the frontal photos of a data set with fits."""
    if not dataset.stores_fits:
        raise UserError(f"{dataset.path}: textures are sampled by fits; give a data set of data mode 5")
    frontal = np.flatnonzero(np.abs(dataset.yaw) <= MOST_YAW)
    if len(frontal) < max(LEAST_PHOTOS, components + 1):
        raise UserError(
            f"{dataset.path}: {len(frontal)} photos of faces that look ahead (yaw at most {MOST_YAW:.0f} degrees); "
            f"{components} texture components need {max(LEAST_PHOTOS, components + 1)}"
        )
    mask = face_mask(layout_of_model(model), SIZE)
    chosen = frontal[np.linspace(0, len(frontal) - 1, min(MOST_PHOTOS, len(frontal))).astype(int)]
    colours, normals = sample_textures(model, dataset, chosen, mask)
    albedos = divide_light_out(colours, normals)
    mean, basis, deviation = principal_components(albedos.reshape(len(albedos), -1), components)
    texels = np.concatenate([mean[None], basis]).reshape(-1, mask.sum(), 3)
    at_vertices = np.stack([_at_vertices(model, values, mask) for values in texels])
    length = np.linalg.norm(at_vertices[1:], axis=(1, 2))
    return replace(
        model,
        mean_texture=np.clip(at_vertices[0], 0, 1).astype(np.float32),
        texture=TextureBasis(
            basis=np.moveaxis(at_vertices[1:] / length[:, None, None], 0, 2).astype(np.float32),
            deviation=(deviation * length).astype(np.float32),
        ),
    )


def sample_textures(
    model: FaceModel, dataset: Dataset, indices: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (M, n, 3) of photos at the n texels of the face, 0 to 1, and the normals (M, n, 3) there, y up."""
    basis, triangles = map_basis(model, SIZE), grid_triangles(mask)
    colours, normals = (np.empty((len(indices), int(mask.sum()), 3), dtype=np.float32) for _ in range(2))
    for number, index in enumerate(indices):
        points = _face_points(dataset, basis, index, mask)
        place = points[None, :, :2].astype(np.float32)
        photo, border = dataset.image(index), cv2.BORDER_REPLICATE
        seen = cv2.remap(photo, place, None, cv2.INTER_LINEAR, borderMode=border)  # type: ignore[call-overload]
        colours[number] = seen[0] / 255
        normals[number] = vertex_normals(points * FLIP_Y, triangles)
    return colours, normals


def _face_points(dataset: Dataset, basis: MapBasis, index: int, mask: np.ndarray) -> np.ndarray:
    """(n, 3) pixels of the stored image."""
    coefficients, poses = dataset.fits([index])
    return position_maps(basis, coefficients, fit_to_pixels(poses, dataset.image_heights[[index]]))[0][mask]


def divide_light_out(colours: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Albedos (M, n, 3) float32 of colours and normals (M, n, 3): shading is divided out up to its mean, which is
    taken for `EXPOSURE`."""
    seen = normals[..., 2] > FACING
    albedos = np.clip(colours / EXPOSURE, 0, 1)
    for _ in range(ROUNDS):
        mean = (albedos * seen[..., None]).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)[:, None]
        albedos = np.stack([_albedo(*face, mean) for face in zip(colours, normals, seen, strict=True)])
    return albedos


def _albedo(colours: np.ndarray, normals: np.ndarray, seen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    functions, grey = harmonics(normals.astype(np.float64)), mean.mean(axis=1, keepdims=True)
    light = np.linalg.lstsq((functions * grey)[seen], colours.mean(axis=1)[seen], rcond=None)[0]
    shading = functions @ light
    shading = np.maximum(shading / shading[seen].mean(), 0.2) * EXPOSURE
    albedo = np.clip(colours / shading[:, None], 0, 1)
    tone = albedo[seen].mean(axis=0) / mean[seen].mean(axis=0)
    return np.where(seen[:, None], albedo, np.clip(mean * tone, 0, 1)).astype(np.float32)


def principal_components(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (D,), the first components (count, D) of length 1 and their standard deviations, of M rows (M, D)."""
    mean = values.mean(axis=0)
    centred = values - mean
    variances, mixtures = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    order = np.argsort(variances)[::-1][:count]
    components = mixtures[:, order].T @ centred
    lengths = np.linalg.norm(components, axis=1)
    return mean, components / lengths[:, None], lengths / np.sqrt(len(values))


def _at_vertices(model: FaceModel, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values (n, 3) of the face's texels at the vertices (V, 3), bilinear; off the face those of the nearest texel."""
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    index = (np.cumsum(mask.ravel()) - 1).reshape(mask.shape)[tuple(nearest)]
    column, row = texel_coordinates(model.uv.astype(np.float64), SIZE).T
    grid = values[index]
    return np.stack([map_coordinates(grid[..., c], [row, column], order=1, mode="nearest") for c in range(3)], axis=-1)
