"""The canonical face of a network's own predictions, so that a network can be shared without its face model's mean."""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE
from prnet.generating.dataset import Dataset
from prnet.geometry.pose import rotation_from_angles
from prnet.geometry.position_map import frontal_map
from prnet.geometry.transforms import FLIP_Y
from prnet.geometry.uv_layout import UVLayout, face_mask, resample_map, sample_landmarks
from prnet.reconstructing.face import prepare_crop

FRONTAL = np.deg2rad(10.0)
"""Greatest |pitch| and |yaw| of the faces that are averaged."""

MAX_FACES = 500
BATCH = 50


def with_own_canonical_map(layout: UVLayout, network: Any, dataset: Dataset) -> UVLayout:
    """A layout whose canonical map is the mean of a network's predictions on a data set's frontal photos.

    Each predicted face is turned by the inverse of its fit's rotation, brought to one size about its centroid, and
    averaged with its mirror image. Texels off the face, which no loss reaches, take the place of the nearest one on it.
    Raises `UserError` where the data set holds no fits or no frontal photo.
    """
    from prnet.model.networks import network_image_size

    angles = dataset.fits(slice(None))[1][:, :3]
    frontal = np.flatnonzero((np.abs(angles[:, :2]) <= FRONTAL).all(axis=1))
    if len(frontal) == 0:
        raise UserError(f"{dataset.path}: holds no photo within {np.rad2deg(FRONTAL):.0f} degrees of the front")
    size = network_image_size(network)
    mask = face_mask(layout, size)
    chosen = frontal[:: -(-len(frontal) // MAX_FACES)]
    total = np.zeros((size, size, 3))
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        for face, pose in zip(_predictions(network, dataset, batch, size), angles[batch], strict=True):
            turned = (face - face[mask].mean(axis=0)) * FLIP_Y @ rotation_from_angles(pose)
            total += turned / np.sqrt(np.mean(turned[mask] ** 2))
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    symmetric = (total + total[:, ::-1] * [-1, 1, 1]).astype(np.float32)[tuple(nearest)]
    canonical_map = frontal_map(resample_map(symmetric, MAP_SIZE), sample_landmarks(symmetric, layout))
    return replace(layout, canonical_map=canonical_map)


def _predictions(network: Any, dataset: Dataset, indices: np.ndarray, size: int) -> np.ndarray:
    """Position maps (B, S, S, 3) of reference crops, in crop pixels."""
    from prnet.model.networks import predict_maps

    crops = [prepare_crop(dataset.image(index), dataset.box(index), size)[0] for index in indices]
    return predict_maps(network, np.stack(crops))
