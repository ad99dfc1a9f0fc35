"""From stored samples to (image, target) arrays: decode, crop, augment, and one matrix product for all maps.

What is drawn for a sample depends on the seed, the epoch, the sample's place in the data set and, where an epoch has it
several times, on which of them it is, and on nothing else.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.common.sides import other_side
from prnet.configure.config import TARGET_SCALE, Augmentation
from prnet.generating.augmentation import change_looks, draw_crop, tone_table
from prnet.generating.dataset import Dataset
from prnet.geometry.crop import compose, crop_image, lift_transform, transform_points
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, place_map, position_maps
from prnet.geometry.uv_layout import resample_map

MIRRORED_LANDMARKS = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""Of each landmark the one that takes its place in a mirrored photo."""


def make_batch(
    dataset: Dataset,
    indices: np.ndarray,
    *,
    basis: MapBasis | None,
    size: int,
    augmentation: Augmentation,
    texture: np.ndarray,
    seed: int,
    epoch: int,
    repeats: np.ndarray | None = None,
    scores: Sequence[str] = (),
    landmarks: bool = False,
) -> tuple[np.ndarray, np.ndarray | dict[str, np.ndarray]]:
    """Images and targets of some samples of a data set.

    basis : the face model on a grid of side `size`; needed where the data set stores fits (`Dataset.stores_fits`).
    texture : what occluding patches are cut from (`augmentation.noise_texture`). repeats : how often the epoch has had
    each sample before, by default never.
    Returns images (B, size, size, 3) float32 in 0 to 1 and targets, position maps / (size x 1.1), of the same shape.
    With `scores`, names of some of the data set's, or `landmarks` the targets are a dictionary: the `maps`, those
    `scores` (B, M), and the `landmarks` (B, 68, 2) that came with the photos, in the maps' unit; NaN where not known.
    """
    images, crops, mirrored = draw_crops(
        dataset,
        indices,
        size=size,
        augmentation=augmentation,
        texture=texture,
        seed=seed,
        epoch=epoch,
        repeats=repeats,
    )
    unit = size * TARGET_SCALE
    transforms = np.array([lift_transform(crop) for crop in crops]) / unit
    if basis is not None:
        coefficients, poses = dataset.fits(indices)
        to_photo = fit_to_pixels(poses, dataset.image_heights[indices])
        targets = position_maps(basis, coefficients, compose(transforms, to_photo))
    else:
        targets = np.stack([_stored_map(dataset.map(index), size) for index in indices])
        for target, transform in zip(targets, transforms, strict=True):
            place_map(target, transform)
    for target, mirror in zip(targets, mirrored, strict=True):
        if mirror:
            target[:] = target[:, ::-1].copy()
    if not scores and not landmarks:
        return images, targets
    beside = {"maps": targets}
    if scores:
        beside["scores"] = _scores(dataset, indices, mirrored, scores)
    if landmarks:
        points = moved_landmarks(dataset.landmarks[indices][..., :2], crops, mirrored)
        beside["landmarks"] = (points / unit).astype(np.float32)
    return images, beside


def moved_landmarks(landmarks: np.ndarray, transforms: np.ndarray, mirrored: list[bool]) -> np.ndarray:
    """Landmarks (B, 68, 2) of photos in their crops, named anew where a crop is mirrored. transforms : (B, 2, 3)."""
    points = np.stack([transform_points(*each) for each in zip(transforms, landmarks, strict=True)])
    points[mirrored] = points[mirrored][:, MIRRORED_LANDMARKS]
    return points


def _scores(dataset: Dataset, indices: np.ndarray, mirrored: list[bool], names: Sequence[str]) -> np.ndarray:
    """Scores by name; in a mirrored sample the right eye's are the left one's."""
    if dataset.scores is None:
        raise UserError(f"{dataset.path}: holds no scores; build it with `scores`")
    rows = dataset.scores[indices]
    own, other = (
        rows[:, [dataset.score_names.index(name) for name in which]]
        for which in (names, [other_side(name, names) for name in names])
    )
    return np.where(np.array(mirrored)[:, None], other, own)


def draw_crops(
    dataset: Dataset,
    indices: np.ndarray,
    *,
    size: int,
    augmentation: Augmentation,
    texture: np.ndarray,
    seed: int,
    epoch: int,
    repeats: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    """Augmented crops (B, size, size, 3) float32 in 0 to 1 of some samples, the transforms (B, 2, 3) from the stored
    images to them, and which of them are mirrored. The others as in `make_batch`."""
    images = np.empty((len(indices), size, size, 3), dtype=np.float32)
    crops, mirrored = [], []
    repeats = np.zeros(len(indices), int) if repeats is None else repeats
    for image, index, repeat in zip(images, indices, repeats, strict=True):
        random = np.random.default_rng([seed, epoch, index, repeat])
        mirror = bool(random.random() < augmentation.mirror)
        transform = draw_crop(random, augmentation, dataset.box(index), size, mirror)
        reflect = augmentation.reflection > 0 and random.random() < augmentation.reflection
        crop = crop_image(_bytes(dataset.image(index)), transform, size, reflect=reflect)
        crop = change_looks(crop, random, augmentation, texture)
        cv2.LUT(crop, tone_table(random, augmentation), dst=image)
        crops.append(transform)
        mirrored.append(mirror)
    return images, np.array(crops), mirrored


def _bytes(image: np.ndarray) -> np.ndarray:
    """uint8 of a stored image; one stored as floats in 0 to 1 was made of bytes, so nothing is lost."""
    return image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)


def _stored_map(position_map: np.ndarray, size: int) -> np.ndarray:
    return position_map.astype(np.float32) if position_map.shape[0] == size else resample_map(position_map, size)
