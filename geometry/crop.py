"""The square crop around a face, as one similarity transform, and the resampling that carries it out.

The same functions serve training, evaluation, reconstruction and serving.

Convention: pixels, x right, y down, 0-based, integer at a pixel's centre. A transform is a (2, 3) array that acts on
columns and takes pixels of the photo to pixels of the crop; z scales with it and keeps its sign.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from prnet.configure.config import CROP_MARGIN


@dataclass(frozen=True)
class Box:
    """A square region of a photo: centre (2,) in pixels, side in pixels."""

    centre: np.ndarray
    side: float


def landmark_box(landmarks: np.ndarray) -> Box:
    """Centre of the box around landmarks and the mean of its width and height. landmarks : (68, 2 or 3) pixels."""
    low, high = landmarks[..., :2].min(axis=-2), landmarks[..., :2].max(axis=-2)
    return Box(centre=(low + high) / 2, side=float((high - low).mean()))


def crop_transform(
    box: Box,
    size: int,
    *,
    margin: float = CROP_MARGIN,
    angle: float = 0.0,
    scale: float = 1.0,
    shift: Sequence[float] | np.ndarray = (0.0, 0.0),
    mirror: bool = False,
) -> np.ndarray:
    """Photo to crop, as one similarity (or, mirrored, a similarity after a reflection of x).

    The edges of the square of side `margin` x box.side around the box's centre go to 0 and size - 1. Then the crop
    is turned by `angle` (radians, clockwise as seen, x towards y) and scaled about its centre and moved by
    `shift` (crop pixels). `mirror` reflects x within the crop first. Returns (2, 3) float64.
    """
    zoom = (size - 1) / (margin * box.side)
    cosine, sine = np.cos(angle) * scale * zoom, np.sin(angle) * scale * zoom
    linear = np.array([[cosine, -sine], [sine, cosine]])
    if mirror:
        linear[:, 0] *= -1.0
    offset = (size - 1) / 2 + np.asarray(shift) - linear @ np.asarray(box.centre, dtype=np.float64)
    return np.column_stack([linear, offset])


def transform_scale(transform: np.ndarray) -> float:
    """Length in the crop of one pixel of the photo."""
    (a, b), (c, d) = transform[:, :2].tolist()
    return math.sqrt(abs(a * d - b * c))


def transform_points(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points of the photo in the crop: x and y by the transform, z (if there) by its scale. points : (..., 2 or 3)."""
    moved = np.empty_like(points)
    moved[..., :2] = points[..., :2] @ transform[:, :2].T + transform[:, 2]
    moved[..., 2:] = points[..., 2:] * transform_scale(transform)
    return moved


def invert_transform(transform: np.ndarray) -> np.ndarray:
    """Crop to photo: the inverse of a (2, 3) transform."""
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def lift_transform(transform: np.ndarray) -> np.ndarray:
    """The (3, 4) form of a (2, 3) transform, z scaling with it."""
    lifted = np.zeros((3, 4))
    lifted[:2, :2] = transform[:, :2]
    lifted[:2, 3] = transform[:, 2]
    lifted[2, 2] = transform_scale(transform)
    return lifted


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """First `inner`, then `outer`, both (..., n, n + 1)."""
    result = outer[..., :-1] @ inner
    result[..., -1] += outer[..., -1]
    return result


def crop_image(image: np.ndarray, transform: np.ndarray, size: int, *, reflect: bool = False) -> np.ndarray:
    """Resample a photo once into its crop: bilinear; outside the photo black or, with `reflect`, its reflection.

    image : (H, W, 3) uint8 or float32. Where the crop holds less than half the photo's resolution, the photo is
    averaged down by a whole factor first, so that nothing aliases. Returns (size, size, 3) of the same type.
    """
    factor = int(1.0 / transform_scale(transform))
    if factor >= 2:
        height, width = (max(side // factor, 1) for side in image.shape[:2])
        ratio = np.array([image.shape[1] / width, image.shape[0] / height])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        to_photo = np.column_stack([np.diag(ratio), (ratio - 1) / 2])
        transform = compose(transform, to_photo)
    border = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
