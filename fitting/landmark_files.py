"""Landmarks of many photos from files: `.npz`, HDF5, or iBUG's `.pts`.

An `.npz` or HDF5 file holds `names` (N,), the photos' names with or without folders and suffix, and one or both of

- `landmarks68` (N, 68, 2 or 3), pixels, 0-based, x right, y down, z in pixels and larger nearer;
- `mediapipe` (N, 468 or 478, 3), what MediaPipe gives times the photo's width and height (z times its
  width), 0-based, z in pixels and **smaller** nearer.

NaN is a point that is not known. Integers are parts of a pixel by the data set's attribute `unit`, "1/16 pixel ...".
`mediapipe_found` (N,), where it is there, says which rows of `mediapipe` hold anything.
"""

import re
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import read_text, require_modest, require_plain
from prnet.configure.config import LANDMARK_COUNT, MEDIAPIPE_COUNT
from prnet.fitting.evidence import Landmarks
from prnet.formats.hdf5_sets import own_arrays

SHAPES = {
    "landmarks68": ((LANDMARK_COUNT, 2), (LANDMARK_COUNT, 3)),
    "mediapipe": ((MEDIAPIPE_COUNT, 3), (MEDIAPIPE_COUNT + 10, 3)),
}
MAX_BYTES = 1 << 32


class LandmarkFile:
    """Landmarks by photo. names : as the file has them, without suffix."""

    def __init__(self, path, names: list[str], ibug: np.ndarray | None, mediapipe: np.ndarray | None):
        self.path, self.names = path, names
        self._ibug, self._mediapipe = ibug, mediapipe
        self._rows = {name: row for row, name in enumerate(names)}
        self._short: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            self._short.setdefault(PurePosixPath(name).name, []).append(row)
        if len(self._rows) != len(names):
            twice = next(name for row, name in enumerate(names) if self._rows[name] != row)
            raise UserError(f"{path}: has the photo {twice} twice; keep one of them")

    @property
    def has_ibug(self) -> bool:
        return self._ibug is not None

    def row(self, stem: str) -> int | None:
        """Where a photo's landmarks are, by its path without suffix or by its name alone; None where there are none."""
        if stem in self._rows:
            return self._rows[stem]
        rows = self._short.get(PurePosixPath(stem).name, [])
        alike = [row for row in rows if "/" not in self.names[row] or stem.endswith(f"/{self.names[row]}")]
        return alike[0] if len(alike) == 1 else None

    def landmarks(self, row: int) -> Landmarks:
        return Landmarks(
            None if self._ibug is None else self._ibug[row], None if self._mediapipe is None else self._mediapipe[row]
        )


def read_landmark_file(path) -> LandmarkFile:
    """Read landmarks of any of the kinds; a folder is one of `.pts` files. Raises UserError that names the file."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such landmarks; give an .npz, .hdf5 or .pts file, or a folder of .pts files")
    if path.is_dir() or path.suffix == ".pts":
        return _read_pts(path)
    require_plain(path)
    arrays = _read_npz(path) if path.suffix == ".npz" else _read_hdf5(path)
    return _checked(path, arrays)


def _read_npz(path: Path) -> dict:
    try:
        with np.load(path) as file:
            require_modest(file.zip, MAX_BYTES)
            return {name: file[name] for name in ("names", *SHAPES, "mediapipe_found") if name in file}
    except Exception as error:  # a damaged archive leads its reader to exceptions of many kinds
        raise UserError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from None


def _read_hdf5(path: Path) -> dict:
    try:
        with h5py.File(path) as file:
            found = own_arrays(file, ("names", *SHAPES, "mediapipe_found"), str(path))
            if sum(data.nbytes for data in found.values()) > MAX_BYTES:
                raise UserError(f"{path}: declares more than {MAX_BYTES:,} bytes of landmarks; split it")
            return {name: _in_pixels(data, path) for name, data in found.items()}
    except UserError:
        raise
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: not a readable .npz or HDF5 file ({error})") from None


def _in_pixels(data: h5py.Dataset, path: Path) -> np.ndarray:
    """A data set's values; integers of landmarks divided as its attribute `unit` says."""
    values = data[()]
    if data.name.strip("/") not in SHAPES or values.dtype.kind not in "iu":
        return values
    unit = data.attrs.get("unit", "")
    parts = re.match(r"1/(\d+) pixel", unit.decode() if isinstance(unit, bytes) else str(unit))
    if not parts:
        raise UserError(f'{path}: {data.name} holds integers without an attribute unit such as "1/16 pixel"')
    return values.astype(np.float32) / int(parts[1])


def _checked(path: Path, arrays: dict) -> LandmarkFile:
    if "names" not in arrays or np.ndim(arrays["names"]) != 1:
        raise UserError(f"{path}: has no names (N,) of its photos; add them")
    names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in arrays["names"]]
    if not names or not arrays.keys() & SHAPES:
        raise UserError(f"{path}: holds neither landmarks68 nor mediapipe; add one of them")
    for name, shapes in SHAPES.items():
        if name in arrays:
            shape, kind = arrays[name].shape, arrays[name].dtype.kind
            if len(shape) != 3 or shape[0] != len(names) or shape[1:] not in shapes or kind not in "fiu":
                wanted = " or ".join(" x ".join(map(str, (len(names), *each))) for each in shapes)
                raise UserError(f"{path}: {name} has shape {' x '.join(map(str, shape))} and not {wanted}")
    ibug, mediapipe = arrays.get("landmarks68"), arrays.get("mediapipe")
    if ibug is not None:
        ibug = ibug.astype(np.float32)
        if ibug.shape[2] == 2:
            ibug = np.concatenate([ibug, np.full((*ibug.shape[:2], 1), np.nan, np.float32)], axis=2)
    if mediapipe is not None:
        mediapipe = mediapipe[:, :MEDIAPIPE_COUNT].astype(np.float32) * np.array([1, 1, -1], np.float32)
        found = arrays.get("mediapipe_found", np.ones(len(names), bool)).astype(bool)
        if found.shape != (len(names),):
            raise UserError(f"{path}: mediapipe_found has shape {found.shape} and not ({len(names)},)")
        mediapipe[~found] = np.nan
    return LandmarkFile(path, [_without_suffix(name) for name in names], ibug, mediapipe)


def _without_suffix(name: str) -> str:
    return re.sub(r"\.(jpe?g|png)$", "", name.replace("\\", "/").removeprefix("./"), flags=re.IGNORECASE)


def _read_pts(path: Path) -> LandmarkFile:
    files = sorted(path.rglob("*.pts")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: holds no .pts files; give a folder of them, or an .npz or HDF5 file")
    root = path if path.is_dir() else path.parent
    names = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    return LandmarkFile(path, names, np.stack([_read_one_pts(file) for file in files]), None)


def _read_one_pts(path: Path) -> np.ndarray:
    """(68, 3) float32 of iBUG's text format, which counts pixels from 1; z is NaN."""
    inside, closed, _ = read_text(path, "replace").partition("{")[2].partition("}")
    try:
        if not closed:
            raise ValueError
        values = np.array(inside.split(), dtype=np.float32).reshape(-1, 2)
    except ValueError:
        raise UserError(f"{path}: not a .pts file; give lines of x y between braces") from None
    if len(values) != LANDMARK_COUNT:
        raise UserError(f"{path}: has {len(values)} points and not {LANDMARK_COUNT}")
    return np.column_stack([values - 1, np.full(LANDMARK_COUNT, np.nan, np.float32)])
