"""Fits as a folder or zip archive in 300W-LP's layout, written atomically."""

import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.formats.image_files import decode_image
from prnet.formats.mat_files import mat_file_bytes
from prnet.geometry.pose import fit_to_pixels

ROOT = "300W_LP"
ARCHIVE = "300W-LP.zip"
JPEG_QUALITY = 95
_EPOCH = (1980, 1, 1, 0, 0, 0)


@contextmanager
def fit_archive(folder: Path):
    """Yield a function (file name, bytes) that adds to a new `300W-LP.zip` in a folder."""
    _require_new(folder / ARCHIVE)
    with atomic_write(folder / ARCHIVE) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def add(name: str, content: bytes) -> None:
            compression = zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, compression)

        yield add


@contextmanager
def fit_folder(folder: Path):
    """Yield a function (file name, bytes) that writes below a folder; `300W_LP` in it appears when all is written."""
    final, partial = folder / ROOT, folder / f".{ROOT}.{os.getpid()}.partial"
    _require_new(final)
    partial.mkdir(parents=True)

    def add(name: str, content: bytes) -> None:
        path = partial / Path(name).relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    try:
        yield add
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_new(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path}: is there already; give another folder, or remove it first")


def stem_in_set(photo: str, source: Path) -> str:
    """Where a photo goes, without suffix: `300W_LP/<folder>/<name>`; the source's name where it lies in no folder."""
    stem = os.path.splitext(photo)[0]
    stem = re.sub(r"^300W[-_]LP/", "", stem)
    return f"{ROOT}/{stem}" if "/" in stem else f"{ROOT}/{source.resolve().stem}/{stem}"


def as_jpeg(content: bytes, name: str) -> bytes:
    """The photo itself where it is a JPEG, else a JPEG of it."""
    if content[:2] == b"\xff\xd8":
        return content
    picture = cv2.cvtColor(decode_image(content, name), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def fit_file(
    identity, expression, pose, landmarks: np.ndarray, height: int, width: int, given: np.ndarray | None = None
) -> bytes:
    """A `.mat` in 300W-LP's fields. landmarks : (68, 3) model units; `pt2d` are they in 1-based pixels. given :
    (68, 3) those that were fitted, 0-based pixels, z NaN where it is not known; they become `pt3d_68`, as in
    AFLW2000-3D, an unknown z the fit's."""
    to_pixels = fit_to_pixels(pose, height)
    placed = landmarks @ to_pixels[:, :3].T + to_pixels[:, 3]
    fields = {
        "Shape_Para": identity[:, None].astype(np.float32),
        "Exp_Para": expression[:, None].astype(np.float32),
        "Pose_Para": np.asarray(pose, np.float32)[None],
        "pt2d": (placed[:, :2] + 1).T.astype(np.float32),
        "roi": np.array([[1, 1, width, height]], np.int16),
    }
    if given is not None:
        known = np.where(np.isfinite(given), given, placed)
        fields["pt3d_68"] = (known + (1, 1, 0)).T.astype(np.float32)
    return mat_file_bytes(fields)
