"""Batches for learning without 3D labels: crops with what is known of the photos alone, landmarks and skin."""

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import Augmentation
from prnet.generating.batches import draw_crops, moved_landmarks
from prnet.generating.dataset import Dataset
from prnet.geometry.crop import invert_transform
from prnet.geometry.face_model import FaceModel
from prnet.geometry.five_points import five_points, recognition_transform
from prnet.geometry.pose import fitted_landmarks


def photo_landmarks(dataset: Dataset, model: FaceModel) -> np.ndarray:
    """The 68 landmarks (N, 68, 2) in pixels of the stored images: those that were given with the photos, and where
    there are none, those of the fit, of which nothing else is used."""
    landmarks = dataset.landmarks[..., :2].astype(np.float64)
    missing = np.flatnonzero(~np.isfinite(landmarks).all(axis=(1, 2)))
    if len(missing):
        if not dataset.stores_fits:
            raise UserError(f"{dataset.path}: holds photos without landmarks; build it in data mode 5 or 6")
        coefficients, poses = dataset.fits(missing)
        heights = dataset.image_heights[missing]
        landmarks[missing] = [
            fitted_landmarks(model, *fit)[:, :2] for fit in zip(coefficients, poses, heights, strict=True)
        ]
    return landmarks


def make_photo_batch(
    dataset: Dataset,
    indices: np.ndarray,
    landmarks: np.ndarray,
    *,
    size: int,
    augmentation: Augmentation,
    texture: np.ndarray,
    seed: int,
    epoch: int,
    recognition_side: int | None = None,
) -> dict[str, np.ndarray]:
    """What a photo network learns from, float32.

    landmarks : (N, 68, 2) of all samples, `photo_landmarks`. Returns `image` (B, S, S, 3) in 0 to 1; `landmarks`
    (B, 68, 2) in crop sides, the pixel over S; `skin` (B, S, S, 1), how surely a pixel is skin, 1 where the data set
    does not say; and with `recognition_side`, `aligned` (B, 2, 3): pixels of an aligned crop of that side to pixels of
    the crop.
    """
    images, transforms, mirrored = draw_crops(
        dataset, indices, size=size, augmentation=augmentation, texture=texture, seed=seed, epoch=epoch
    )
    points = moved_landmarks(landmarks[indices], transforms, mirrored)
    batch = {
        "image": images,
        "landmarks": (points / size).astype(np.float32),
        "skin": np.stack([_skin(dataset, i, move, size) for i, move in zip(indices, transforms, strict=True)]),
    }
    if recognition_side is not None:
        aligned = [invert_transform(recognition_transform(five_points(face), recognition_side)) for face in points]
        batch["aligned"] = np.array(aligned, dtype=np.float32)
    return batch


def _skin(dataset: Dataset, index: int, transform: np.ndarray, size: int) -> np.ndarray:
    stored = dataset.skin(index)
    if stored is None:
        return np.ones((size, size, 1), dtype=np.float32)
    crop = cv2.warpAffine(stored, transform, (size, size), flags=cv2.INTER_LINEAR)
    return crop[..., None].astype(np.float32) / 255
