"""Where the face is, from what a user provides: a rectangle, landmarks, or a 300W-LP fit."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import read_text
from prnet.configure.config import LANDMARK_COUNT
from prnet.formats.number_files import read_numbers
from prnet.formats.photos import read_image
from prnet.geometry.crop import Box, landmark_box
from prnet.geometry.five_points import crop_box
from prnet.geometry.pose import fitted_landmarks
from prnet.reconstructing.detection import box_of_rectangle

MAX_SIDE = 10
"""Times the photo's longer side that the box of a face may measure."""


def known_boxes(
    rectangle, landmark_file, fit_file, face_model_file, inputs: Sequence[Path], crop: str = "box"
) -> list[Box] | None:
    """The box that one of rectangle (x, y, width, height in pixels), landmark_file and fit_file gives; None for none.

    face_model_file : for a fit without `pt3d_68`. crop : of `configure.config.CROPS`, what landmarks give. Raises
    `UserError` for more than one input, or a face that is none.
    """
    named = {"box": rectangle, "landmarks": landmark_file, "fit": fit_file}
    name, given = next(((name, value) for name, value in named.items() if value is not None), ("", None))
    if given is None:
        return None
    if len(inputs) != 1:
        raise UserError(f"`{name}`: says where the face is in one photo, but {len(inputs)} inputs are given")
    if rectangle is not None:
        x, y, width, height = rectangle
        if not (width > 0 and height > 0 and np.isfinite(rectangle).all()):
            raise UserError(f"`box`: width and height must be above 0, not {width:g} and {height:g}")
        return [box_of_rectangle(x, y, width, height)]
    landmarks = (
        read_landmarks(landmark_file)
        if landmark_file is not None
        else fit_landmarks(fit_file, face_model_file, inputs[0])
    )
    if landmark_box(landmarks).side <= 0:
        raise UserError(f"{given}: all landmarks coincide; give the 68 landmarks of a face")
    return [crop_box(landmarks, crop)]


def require_near(box: Box, height: int, width: int, name: str) -> None:
    """Raise `UserError`, which calls the photo `name`, unless the box given for its face is at it and no giant."""
    away = np.abs(box.centre - np.array([width - 1, height - 1]) / 2) - np.array([width, height]) / 2
    if not (1 <= box.side <= MAX_SIDE * max(height, width) and (away < box.side).all()):
        raise UserError(
            f"{name}: has {width} x {height} pixels, and no face in a square of {box.side:.3g} around "
            f"x {box.centre[0]:.3g}, y {box.centre[1]:.3g}; give its place in this photo"
        )


def read_landmarks(path) -> np.ndarray:
    """68 landmarks (68, 2 or 3) in 0-based pixels from a text file or a `.npy` file. Raises `UserError`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such landmark file")
    if path.suffix.lower() == ".npy":
        landmarks = read_numbers(path)
    else:
        text = read_text(path, "replace")
        try:
            with warnings.catch_warnings(action="ignore"):  # of an empty file
                landmarks = np.loadtxt(io.StringIO(text), ndmin=2, max_rows=LANDMARK_COUNT + 1)
        except Exception as error:  # what is no table leads to exceptions of many kinds
            raise UserError(f"{path}: not landmarks ({error}); give 68 lines of x y") from None
    if landmarks.shape not in ((LANDMARK_COUNT, 2), (LANDMARK_COUNT, 3)) or not np.isfinite(landmarks).all():
        raise UserError(f"{path}: holds an array of shape {landmarks.shape}; give 68 lines of x y, all finite")
    return landmarks


def fit_landmarks(fit_file, face_model_file, image_file) -> np.ndarray:
    """The 68 landmarks (68, 3) in 0-based pixels of a 300W-LP fit: its `pt3d_68`, else the face model's landmarks."""
    from prnet.formats.face_model_file import load_face_model
    from prnet.formats.fit_files import read_fit, require_model

    fit = read_fit(fit_file)
    if fit.landmarks is not None:
        return fit.landmarks
    if not Path(face_model_file).is_file():
        raise UserError(f"{fit_file}: has no pt3d_68; give the face model it was fitted with by `face_model`")
    model = load_face_model(face_model_file)
    require_model(fit, model, str(fit_file))
    return fitted_landmarks(model, fit.coefficients, fit.pose, read_image(image_file).shape[0])
