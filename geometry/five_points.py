"""Five points of a face, and the crops that networks of other projects are aligned by.

Points are eye centres (the image's left one first), nose tip and mouth corners, (5, 2) pixels, x right, y down.
"""

import numpy as np

from prnet.configure.config import CROP_MARGIN
from prnet.geometry.crop import Box, landmark_box

RECOGNITION_SIDE = 112
RECOGNITION_POINTS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the five points lie in the crop of face recognition networks (ArcFace, Deng et al., CVPR 2019)."""

DEEP3D_SIDE = 224
DEEP3D_SCALE = 102.0
DEEP3D_POINTS = np.array(
    [
        (-0.31148657, 0.29036078, 0.13377953),
        (0.30979887, 0.28972036, 0.13179526),
        (0.0032535, -0.04617932, 0.55244243),
        (-0.25216928, -0.38133916, 0.22405732),
        (0.2484662, -0.38128236, 0.22235769),
    ]
)
"""The five points of Deep3DFaceReconstruction's mean face, x right, y up, z to the camera, in its units of a
decimetre; a crop is scaled so that they span `DEEP3D_SCALE` pixels a unit."""


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """The five points (..., 5, 2) of the 68 landmarks (..., 68, 2 or 3)."""
    points = landmarks[..., :2]
    eyes = [points[..., start : start + 6, :].mean(axis=-2) for start in (36, 42)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that takes points (N, 2) nearest to others, by least squares, without mirroring."""
    start, end = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    centred = start - start.mean()
    turn = np.vdot(centred, end) / np.vdot(centred, centred)
    shift = end.mean() - turn * start.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def recognition_transform(points: np.ndarray, side: int) -> np.ndarray:
    """The similarity (2, 3) from a photo to the aligned crop of a recognition network. points : (5, 2)."""
    return similarity(points, (RECOGNITION_POINTS + 0.5) * side / RECOGNITION_SIDE - 0.5)


def deep3d_transform(points: np.ndarray, side: int = DEEP3D_SIDE) -> np.ndarray:
    """Scale and translation (2, 3) from a photo to Deep3DFaceReconstruction's crop, never turned. points : (5, 2).

    A weak-perspective camera is fitted to the mean face's five points (equations linear in its eight numbers); where
    it puts the face's origin goes to the crop's middle, its scale to `DEEP3D_SCALE`.
    """
    design = np.column_stack([DEEP3D_POINTS, np.ones(5)])
    upright = points * (1, -1)
    rows = np.linalg.lstsq(design, upright, rcond=None)[0].T  # (2, 4)
    scale = np.linalg.norm(rows[:, :3], axis=1).mean()
    zoom = DEEP3D_SCALE * side / DEEP3D_SIDE / scale
    origin = rows[:, 3] * (1, -1)
    return np.column_stack([zoom * np.eye(2), (side - 1) / 2 - zoom * origin])


def crop_box(landmarks: np.ndarray, crop: str) -> Box:
    """The box that crops of a face are made from. landmarks : (68, 2 or 3). crop : of `configure.config.CROPS`."""
    return landmark_box(landmarks) if crop == "box" else deep3d_box(five_points(landmarks))


def deep3d_box(points: np.ndarray) -> Box:
    """The box whose crop (`prnet.geometry.crop.crop_transform`) is Deep3DFaceReconstruction's. points : (5, 2)."""
    transform = deep3d_transform(points)
    zoom = transform[0, 0]
    middle = (DEEP3D_SIDE - 1) / 2
    return Box(centre=(middle - transform[:, 2]) / zoom, side=float((DEEP3D_SIDE - 1) / (CROP_MARGIN * zoom)))
