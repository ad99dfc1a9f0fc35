"""Scores of photos from a file, `.npz` or HDF5: how much of each expression a teacher saw, by name.

The file holds `names` (N,), the photos' names without suffix; `blendshape_names` (M,); `blendshapes` (N, M), floats in
0 to 1 or bytes in 0 to 255; and `mediapipe_found` (N,), if some rows of `blendshapes` hold nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import require_modest
from prnet.formats.hdf5_sets import own_arrays

FIELDS = ("names", "blendshape_names", "blendshapes")
FOUND = "mediapipe_found"
MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Scores by photo. names : (M,) of the scores. values : (N, M) float32 in 0 to 1, NaN where nothing is known."""

    path: Path
    names: tuple[str, ...]
    values: np.ndarray
    rows: dict[str, int]

    def of(self, photos: list[str]) -> np.ndarray:
        """Scores (n, M) of photos or of their views (`<photo>-vNN`); NaN for those that the file does not know.

        Raises UserError where it knows none of them.
        """
        rows = [self.rows.get(re.sub(r"-v\d+$", "", photo), -1) for photo in photos]
        if max(rows, default=-1) < 0:
            raise UserError(f"{self.path}: has scores of none of the photos; their names are such as {photos[0]}")
        return np.concatenate([self.values, np.full((1, len(self.names)), np.nan, np.float32)])[rows]


def read_scores(path: str | Path) -> ScoreFile:
    """Read scores. Raises UserError that names the file where it is missing, damaged or of other shapes."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such scores; give an .npz or HDF5 file with {', '.join(FIELDS)}")
    try:
        arrays = _read_npz(path) if path.suffix == ".npz" else _read_hdf5(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: not a readable .npz or HDF5 file ({error})") from None
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        raise UserError(f"{path}: has no {', no '.join(missing)}; add them")
    photos, names, values = (arrays[name] for name in FIELDS)
    if np.ndim(photos) != 1 or np.ndim(names) != 1:
        raise UserError(f"{path}: {FIELDS[0]} and {FIELDS[1]} are not lists of names; give {FIELDS} that belong")
    found = arrays.get(FOUND, np.ones(len(photos), bool))
    if values.shape != (len(photos), len(names)) or found.shape != (len(photos),) or values.dtype.kind not in "fu":
        raise UserError(f"{path}: blendshapes are {values.dtype} of shape {values.shape}; give {FIELDS} that belong")
    scores = values.astype(np.float32) / (255 if values.dtype.kind == "u" else 1)
    scores[~found.astype(bool)] = np.nan
    if ((scores < 0) | (scores > 1)).any():
        raise UserError(f"{path}: blendshapes beyond 0 to 1; give floats in 0 to 1 or bytes")
    return ScoreFile(path, _texts(names), scores, {photo: row for row, photo in enumerate(_texts(photos))})


def _texts(array: np.ndarray) -> tuple[str, ...]:
    return tuple(text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in array)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        require_modest(file.zip, MAX_BYTES)
        return {name: file[name] for name in (*FIELDS, FOUND) if name in file}


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        found = own_arrays(file, (*FIELDS, FOUND), str(path))
        if sum(data.nbytes for data in found.values()) > MAX_BYTES:
            raise UserError(f"{path}: declares more than {MAX_BYTES:,} bytes of scores; split it")
        return {name: data[()] for name, data in found.items()}
