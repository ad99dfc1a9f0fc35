"""Face-model fits as 300W-LP and AFLW2000-3D store them: one small `.mat` file (MATLAB 4 to 7.2) beside each photo."""

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from configure.config import LANDMARK_COUNT
from geometry.face_model import FaceModel
from geometry.pose import one_based_to_pixels

MAX_FIT_BYTES = 1 << 18
"""Larger files are not fits (real ones have 2 to 9 kB); with it the memory that a hostile one can claim is bounded."""

_FIELDS = ("Shape_Para", "Exp_Para", "Pose_Para", "pt3d_68")
_REAL_CLASSES = {
    "double",
    "single",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
}


@dataclass(frozen=True)
class Fit:
    """A 3DMM fitted to one photo (Zhu et al., CVPR 2016)."""

    shape: np.ndarray  # (S,) float32, `Shape_Para`
    expression: np.ndarray  # (E,) float32, `Exp_Para`
    pose: np.ndarray  # (7,) float64, `Pose_Para`, as `geometry.pose.fit_to_pixels` takes it
    landmarks: np.ndarray | None  # (68, 3) float32 0-based pixels of the photo, from `pt3d_68`

    @property
    def coefficients(self) -> np.ndarray:
        """(S + E,) float32, as `geometry.face_model.face_vertices` takes them."""
        return np.concatenate([self.shape, self.expression])


def read_fit(source: bytes | str | Path, name: str | None = None) -> Fit:
    """Read one fit from a `.mat` file or from its bytes; `name` is what errors call it.

    Raises UserError where the file is damaged, is not of MATLAB 4 to 7.2, or lacks a field, or a field is not of its
    length, not numeric or not finite.
    """
    name = name or str(source)
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    fields = _read_fields(content, name)
    missing = [field for field in _FIELDS[:3] if field not in fields]
    if missing:
        raise UserError(f"{name}: has no {' and no '.join(missing)}; give a fit in the format of 300W-LP")
    for field, value in fields.items():
        if not np.isfinite(value).all():
            raise UserError(f"{name}: {field} holds NaN or infinite numbers")
    shape, expression, pose = (fields[field].ravel() for field in _FIELDS[:3])
    if pose.size != 7 or pose[6] <= 0:
        raise UserError(f"{name}: Pose_Para must be 7 numbers, the last (the scale) above 0, but is {pose[:9]}")
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
    """The fields of a fit as float64 arrays, each of a size that a fit may have."""
    if len(content) > MAX_FIT_BYTES:
        raise UserError(
            f"{name}: is {len(content):,} bytes long, too long for a fit; give one `.mat` file for each photo"
        )
    if content[:10] == b"MATLAB 7.3" or content[:4] == b"\x89HDF" or content[512:516] == b"\x89HDF":
        raise UserError(f"{name}: is a MATLAB 7.3 file, which is not read; save it with `save -v7` in MATLAB")
    from scipy.io import loadmat, whosmat

    try:
        listing = whosmat(io.BytesIO(content))
        for field, count in Counter(field for field, _, _ in listing).items():
            if count > 1:
                raise UserError(f"{name}: holds {field} twice")
        for field, shape, kind in listing:
            if field in _FIELDS and (kind not in _REAL_CLASSES or np.prod(shape, dtype=float) > MAX_FIT_BYTES):
                raise UserError(f"{name}: {field} must be an array of numbers, but is {kind} of shape {shape}")
        fields = loadmat(io.BytesIO(content), variable_names=_FIELDS)
        return {field: np.asarray(fields[field], dtype=np.float64) for field in _FIELDS if field in fields}
    except UserError:
        raise
    except Exception as error:  # the reader raises whatever a damaged file leads it to
        raise UserError(f"{name}: is not a readable MATLAB file: {error or type(error).__name__}") from None
