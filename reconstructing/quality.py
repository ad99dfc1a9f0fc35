"""How far a face can be trusted, judged without ground truth: by its size, sharpness and place in the photo, and by how
usual the shape is that the network found. The bounds were chosen on photos with known landmarks (docs/serving.md).
`serving/static/quality.js` does the same in a browser."""

from dataclasses import dataclass

import cv2
import numpy as np

from prnet.configure.config import CROP_MARGIN
from prnet.reconstructing.face import Face

CROP_SIDE = 128
"""Side in pixels to which a crop is brought before its sharpness is measured."""

BOUNDS = {
    "misfit": (0.09, 0.2),
    "identity": (1.6, 5.0),
    "shift": (0.06, 0.25),
    "inside": (0.98, 0.4),
    "sharpness": (0.15, 0.03),
    "side": (32.0, 8.0),
    "yaw": (55.0, 100.0),
}
"""For each measure where full trust ends, and where none is left."""

DOUBTS = {
    "unusual": "The shape is unusual: part of the face may be covered, or this may be no face.",
    "inside": "Part of the face lies outside the photo; that part is guessed.",
    "sharpness": "The face is blurred: mouth and eyes cannot be trusted.",
    "side": "The face is small: mouth and eyes cannot be trusted.",
    "yaw": "The face is turned far: its hidden half and the pose are less certain.",
}
"""What is said when a measure leaves less than `DOUBTED` of the trust."""

DOUBTED = 0.7


@dataclass(frozen=True)
class Quality:
    confidence: float  # 0 to 1
    doubts: list[str]  # what lowers it


def judge(face: Face, crop: np.ndarray, width: int, height: int) -> Quality:
    """crop : what the network saw, (S, S, 3) float32 in 0 to 1. width, height : of the photo."""
    measures = {name: trust(name, value) for name, value in _measures(face, crop, width, height).items()}
    unusual = min(measures.pop(name, 1.0) for name in ("misfit", "identity", "shift"))
    shares = {"unusual": unusual, **measures}
    return Quality(
        confidence=round(float(np.prod(list(shares.values()))), 3),
        doubts=[DOUBTS[name] for name, share in shares.items() if share < DOUBTED],
    )


def trust(name: str, value: float) -> float:
    """The share of trust that a measure leaves, 1 to 0 between its bounds."""
    full, none = BOUNDS[name]
    return float(np.clip((value - none) / (full - none), 0.0, 1.0))


def _measures(face: Face, crop: np.ndarray, width: int, height: int) -> dict[str, float]:
    found, (x, y, _) = face.tracked_box, face.vertices.T
    measures = {
        "misfit": face.misfit,
        "shift": float(np.hypot(*(found.centre - face.box.centre)) / face.box.side),
        "inside": float(np.mean((x >= 0) & (x < width) & (y >= 0) & (y < height))),
        "sharpness": sharpness(crop),
        "side": found.side,
        "yaw": abs(face.pose.yaw),
    }
    if face.identity is not None:
        measures["identity"] = float(np.sqrt(np.mean(np.square(face.identity))))
    return measures


def sharpness(crop: np.ndarray) -> float:
    """Standard deviation of the Laplacian over that of the brightness, within the landmarks' box of a crop."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    if len(grey) != CROP_SIDE:
        grey = cv2.resize(grey, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)
    edge = round(CROP_SIDE * (1 - 1 / CROP_MARGIN) / 2)
    grey = grey[edge:-edge, edge:-edge]
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(float(grey.std()), 1e-6))
