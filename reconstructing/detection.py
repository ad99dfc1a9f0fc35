"""Faces in photos, and the rule that turns a detector's box into the box that crops are made from.

The detector is MTCNN (Zhang et al., IEEE SPL 23(10), 2016) of the package `mtcnn`, whose weights come with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.common.quiet import without_remarks
from prnet.configure.config import CROP_MARGIN
from prnet.geometry.crop import Box

CENTRE_SHIFT = (0.013, 0.168)
"""From the centre of a detector's box to that of the landmarks' box, in mean sides of the detector's box; and"""

SIDE_FACTOR = 0.92
"""the side of the landmarks' box over that of the detector's: medians over 312 faces (docs/detector_crop.md)."""

MIN_CONFIDENCE = 0.9
"""Detections below are dropped."""

SEARCH_SIDES = (160, 1024)
"""A photo is enlarged to the first where it is smaller, reduced to the second where it is larger, in pixels. The
detector's smallest face is 20 pixels."""


@dataclass(frozen=True)
class Detection:
    """One face that a detector found: the left and upper edge of its box, its size, all in pixels."""

    x: float
    y: float
    width: float
    height: float
    confidence: float  # 0 to 1

    @property
    def box(self) -> Box:
        return box_of_rectangle(self.x, self.y, self.width, self.height)


def box_of_rectangle(x: float, y: float, width: float, height: float) -> Box:
    """The box around the 68 landmarks that a detector's rectangle lets one expect, all in pixels."""
    side = (width + height) / 2
    centre = np.array([x + (width - 1) / 2, y + (height - 1) / 2]) + side * np.array(CENTRE_SHIFT)
    return Box(centre=centre, side=side * SIDE_FACTOR)


def as_box(box: Box | Sequence[float]) -> Box:
    """A box, or the one of a detector's rectangle (x, y, width, height) in pixels. Raises `UserError` for neither."""
    if isinstance(box, Box):
        return box
    rectangle = np.asarray(box, dtype=np.float64)
    if rectangle.shape != (4,) or not np.isfinite(rectangle).all() or not (rectangle[2:] > 0).all():
        raise UserError(f"a box is (x, y, width, height) in pixels, width and height above 0, not {box}")
    return box_of_rectangle(*rectangle.tolist())


def box_of_image(height: int, width: int) -> Box:
    """The box whose crop is the whole image, black beside the shorter sides."""
    centre = (np.array([width, height]) - 1) / 2
    return Box(centre=centre, side=max(width - 1, height - 1, 1) / CROP_MARGIN)


@cache
def _mtcnn():
    """The detector, loaded once for the process."""
    with without_remarks():
        from mtcnn import MTCNN

    return MTCNN()


def find_faces(image: np.ndarray) -> list[Detection]:
    """Faces of a photo, the largest first. image : (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    zoom = min(max(SEARCH_SIDES[0] / min(height, width), 1.0), SEARCH_SIDES[1] / max(height, width))
    if zoom != 1.0:
        size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    step_x, step_y = width / image.shape[1], height / image.shape[0]
    found = [
        Detection(x * step_x, y * step_y, wide * step_x, high * step_y, float(face["confidence"]))
        for face in _mtcnn().detect_faces(image)
        for x, y, wide, high in [face["box"]]
        if face["confidence"] >= MIN_CONFIDENCE and wide > 0 and high > 0
    ]
    return sorted(found, key=lambda face: face.width * face.height, reverse=True)
