"""Face-model fits as 300W-LP and AFLW2000-3D store them: one small `.mat` file (MATLAB 4 to 7.2) beside each photo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import read_file
from prnet.configure.config import LANDMARK_COUNT
from prnet.formats.mat_files import read_mat_arrays
from prnet.geometry.face_model import FaceModel
from prnet.geometry.pose import one_based_to_pixels

MAX_FIT_BYTES = 1 << 18
"""Larger files are not fits (real ones have 2 to 9 kB); the limit bounds what a hostile one can claim."""

_FIELDS = ("Shape_Para", "Exp_Para", "Pose_Para")
_MAX_MAGNITUDE = 1e30


@dataclass(frozen=True)
class Fit:
    """A 3DMM fitted to one photo (Zhu et al., CVPR 2016)."""

    shape: np.ndarray  # (S,) float32, `Shape_Para`
    expression: np.ndarray  # (E,) float32, `Exp_Para`
    pose: np.ndarray  # (7,) float64, `Pose_Para`, as `prnet.geometry.pose.fit_to_pixels` takes it
    landmarks: np.ndarray | None  # (68, 3) float32 0-based pixels of the photo, from `pt3d_68`

    @property
    def coefficients(self) -> np.ndarray:
        """(S + E,) float32, as `prnet.geometry.face_model.face_vertices` takes them."""
        return np.concatenate([self.shape, self.expression])


def read_fit(source: bytes | str | Path, name: str | None = None) -> Fit:
    """Read one fit from a `.mat` file or from its bytes; `name` is what errors call it.

    Raises UserError where the file is damaged, is not of MATLAB 4 to 7.2, or lacks a field, or a field is not of its
    length, not numeric or not finite.
    """
    name = name or str(source)
    content = source if isinstance(source, bytes) else read_file(source, MAX_FIT_BYTES)
    fields = _read_fields(content, name)
    missing = [field for field in _FIELDS if field not in fields]
    if missing:
        raise UserError(f"{name}: has no {', no '.join(missing)}; give a fit in the format of 300W-LP")
    shape, expression, pose = (fields[field].ravel() for field in _FIELDS)
    if pose.size != 7:
        raise UserError(f"{name}: Pose_Para must be 7 numbers, but is {pose.size}")
    if pose[6] <= 0:
        raise UserError(f"{name}: Pose_Para ends in the scale {pose[6]:g}, which must be above 0")
    landmarks = fields.get("pt3d_68")
    if landmarks is not None:
        if landmarks.shape != (3, LANDMARK_COUNT):
            raise UserError(
                f"{name}: pt3d_68 must be 3 x {LANDMARK_COUNT}, but is {' x '.join(map(str, landmarks.shape))}"
            )
        landmarks = one_based_to_pixels(landmarks.T).astype(np.float32)
    return Fit(shape.astype(np.float32), expression.astype(np.float32), pose, landmarks)


def require_model(fit: Fit, model: FaceModel, name: str) -> None:
    """Raise UserError unless a fit has as many identity and expression components as the face model."""
    wanted = model.shape_basis.shape[2], model.expression_basis.shape[2]
    found = len(fit.shape), len(fit.expression)
    if found != wanted:
        raise UserError(
            f"{name}: has {found[0]} identity and {found[1]} expression parameters, the face model has "
            f"{wanted[0]} and {wanted[1]}; give the face model that the photos were fitted with"
        )


def _read_fields(content: bytes, name: str) -> dict[str, np.ndarray]:
    """What a fit needs and may have, as float64 arrays of sensible numbers."""
    if len(content) > MAX_FIT_BYTES:
        raise UserError(f"{name}: has {len(content):,} bytes, too many for a fit; give one .mat for each photo")
    try:
        arrays = read_mat_arrays(content)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    fields = {}
    for field in (*_FIELDS, "pt3d_68"):
        if field in arrays:
            with np.errstate(invalid="ignore"):
                fields[field] = arrays[field].astype(np.float64)
                if not (np.abs(fields[field]) < _MAX_MAGNITUDE).all():
                    raise UserError(f"{name}: {field} holds NaN, infinite or absurdly large numbers")
    return fields
