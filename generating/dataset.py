"""The data set file: HDF5 that any tool opens, and a class that reads single samples of it quickly, from any thread.

A sample is a row of every set. Attributes of the file: `format`, `format_version`, `data_mode`, `model_identity`,
`layout_identity`, `identity`.

| set | type and shape | what it is |
| --- | --- | --- |
| `names`, `folders` | (N,) UTF-8 | file name without suffix; the folder that it lay in |
| `groups` | (N,) int32 | samples of one photo and face share a number |
| `validation` | (N,) bool | held out of training to select the best model |
| `yaws` | (N,) float32 | degrees |
| `boxes` | (N, 3) float32 | what crops are made from: centre x, centre y, side, pixels of the stored image |
| `image_heights`, `image_widths` | (N,) int32 | pixels of the stored image |
| `landmarks` | (N, 68, 3) float32 | `pt3d_68` in 0-based pixels of the stored image; NaN: not known |
| `images` | (N, 256, 256, 3) | data modes 0 to 3: RGB, uint8 or floats in 0 to 1 |
| `images` | (bytes,) uint8 | data modes 4 to 6: encoded, sample i is `images[offsets[i]:offsets[i + 1]]` |
| `offsets`, `checksums` | (N + 1,) int64, (N,) uint32 | data modes 4 to 6: where an image lies; its CRC-32 |
| `maps` | (N, 256, 256, 3) | data modes 0 to 4: position map in pixels of the stored image |
| `coefficients`, `poses` | (N, K) float32, (N, 7) float64 | data mode 5: identity, then expression; `Pose_Para` |
| `scores`, `score_names` | (N, M) float32, (M,) UTF-8 | expressions that a teacher saw, 0 to 1, NaN: not known |
| `skin`, `skin_offsets` | (bytes,) uint8, (N + 1,) int64 | built with `skin`: how surely each pixel is skin, as PNG |
| `coefficients_checksums` | (N,) uint32 | CRC-32 of each row of that set; likewise for `maps`, `images`, `landmarks` |

`landmarks` and `scores` are absent where no sample has any; in data mode 6 landmarks are the photo's own. Data modes 0
to 3 store the reference crop. The other sets carry HDF5's own checksum, so that no flipped bit goes unnoticed. (Files
of older builds have neither it nor the sets of CRC-32s.)
"""

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.configure.programs import command
from prnet.formats.hdf5_attributes import as_text
from prnet.formats.hdf5_sets import own_item
from prnet.formats.image_files import decode_grey, decode_image
from prnet.geometry.crop import Box

FORMAT = "position map data set"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Storage:
    """What a data mode stores: the types of image and map, None for the encoded image; and whether fits."""

    image: str | None
    label: str | None = None
    fit: bool = False


DATA_MODES = (
    Storage("uint8", "float32"),
    Storage("float32", "float32"),
    Storage("float64", "float64"),
    Storage("float32", "float16"),
    Storage(None, "float16"),
    Storage(None, fit=True),
    Storage(None),
)
LANDMARKS_ALONE = 6
"""The data mode of photos with landmarks and nothing else."""

_PICTURE = (MAP_SIZE, MAP_SIZE, 3)


class StoredRows:
    """A set that stays in the file: rows are read as they are asked for, by any thread, without HDF5's global lock.

    `rows[i]` is one row, `rows[array or slice]` several, as NumPy arrays. Raises UserError where one does not have the
    checksum that was stored with it.
    """

    def __init__(self, file: "_SharedFile", dataset: h5py.Dataset, checksums: np.ndarray | None = None):
        self._name, self._checksums = dataset.name.lstrip("/"), checksums
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._file = file
        self._chunk_bytes, self._addresses = _chunk_addresses(dataset, file.size)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(index, (int, np.integer)):
            return self.read(range(len(self))[index], 1)[0]
        indices = np.arange(len(self))[index]
        return np.concatenate([self.read(row, 1) for row in indices]) if len(indices) else self.read(0, 0)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.read(0, len(self)).astype(dtype or self.dtype, copy=False)

    def read(self, start: int, count: int) -> np.ndarray:
        """`count` rows from row `start` on."""
        result = np.empty((count, *self.shape[1:]), dtype=self.dtype)
        target = result.reshape(-1).view(np.uint8).data
        position, done = start * self._row_bytes, 0
        while done < len(target):
            chunk, offset = divmod(position + done, self._chunk_bytes)
            piece = target[done : done + self._chunk_bytes - offset]
            self._file.read_into(piece, int(self._addresses[chunk]) + offset)
            done += len(piece)
        if self._checksums is not None:
            damaged = np.flatnonzero(row_checksums(result) != self._checksums[start : start + count])
            if len(damaged):
                self._file.complain(f"row {start + damaged[0]} of the set {self._name} is damaged; build it again")
        return result


class Dataset:
    """An open data set of N samples. Use it as a context manager, or `close()` it.

    data_mode : 0 to 6. model_identity, layout_identity : of the face model that it was built with. identity : hash of
    all samples. names, folders : lists of str. groups (N,) int32, validation (N,) bool, yaw (N,) float32 degrees,
    boxes (N, 3) float32 centre x, centre y and mean side, landmarks (N, 68, 3) float32 or NaN, image_heights and
    image_widths (N,) int32; lengths in pixels of the stored image. In data mode 5, coefficients (N, K) float32
    (`StoredRows`) and poses (N, 7) float64; both None otherwise. scores (N, M) float32 by score_names, or None.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = _SharedFile(self.path)
        try:
            with h5py.File(self.path, "r") as file:
                self._read(file)
        except UserError:
            self.close()
            raise
        except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
            self.close()
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: is no data set, or damaged or cut short ({reason}); build it again") from None

    def _read(self, file: h5py.File) -> None:
        if as_text(file.attrs.get("format")) != FORMAT:
            raise UserError(f"{self.path}: is not a data set; build one with {command('build-dataset')}")
        version = int(file.attrs["format_version"])
        if version != FORMAT_VERSION:
            raise UserError(
                f"{self.path}: is of format version {version}, this program reads {FORMAT_VERSION}; build it again"
            )
        self.data_mode = int(file.attrs["data_mode"])
        if not 0 <= self.data_mode < len(DATA_MODES):
            raise UserError(f"{self.path}: is of data mode {self.data_mode}; there are 0 to {len(DATA_MODES) - 1}")
        storage = DATA_MODES[self.data_mode]
        self.model_identity = as_text(file.attrs["model_identity"])
        self.layout_identity = as_text(file.attrs["layout_identity"])
        self.identity = as_text(file.attrs["identity"])

        count = self._set(file, "validation", "bool", (None,)).shape[0]
        if count == 0:
            raise UserError(f"{self.path}: holds no samples; build it again")
        self.validation = self._array(file, "validation", "bool", (count,))
        self.names = self._texts(file, "names", count)
        self.folders = self._texts(file, "folders", count)
        self.groups = self._array(file, "groups", "int32", (count,))
        self.yaw = self._array(file, "yaws", "float32", (count,))
        self.boxes = self._array(file, "boxes", "float32", (count, 3))
        self.image_heights = self._array(file, "image_heights", "int32", (count,))
        self.image_widths = self._array(file, "image_widths", "int32", (count,))
        self._require(self.boxes[:, 2] > 0, "boxes")
        self._require(self.image_heights > 0, "image_heights")
        self._require(self.image_widths > 0, "image_widths")
        self.scores: np.ndarray | None = None
        self.score_names: tuple[str, ...] = ()
        if self._has(file, "scores"):
            self.scores = self._array(file, "scores", "float32", (count, None))
            self.score_names = tuple(self._texts(file, "score_names", self.scores.shape[1]))
        self._landmarks = self.coefficients = self.poses = self._maps = self._offsets = self._skin = None
        if self._has(file, "landmarks"):
            self._landmarks = self._rows(file, "landmarks", "float32", (count, LANDMARK_COUNT, 3))
        if storage.image:
            self._images = self._rows(file, "images", storage.image, (count, *_PICTURE))
        else:
            self._images = self._rows(file, "images", "uint8", (None,))
            self._offsets = self._array(file, "offsets", "int64", (count + 1,))
            self._checksums = self._array(file, "checksums", "uint32", (count,))
            self._require(np.diff(self._offsets) > 0, "offsets")
            self._require((self._offsets >= 0) & (self._offsets <= len(self._images)), "offsets")
        if self._has(file, "skin"):
            self._skin = self._rows(file, "skin", "uint8", (None,))
            self._skin_offsets = self._array(file, "skin_offsets", "int64", (count + 1,))
            self._require(np.diff(self._skin_offsets) > 0, "skin_offsets")
            self._require(self._skin_offsets <= len(self._skin), "skin_offsets")
        if storage.label:
            self._maps = self._rows(file, "maps", storage.label, (count, *_PICTURE))
        if storage.fit:
            self.coefficients = self._rows(file, "coefficients", "float32", (count, None))
            self.poses = self._array(file, "poses", "float64", (count, 7))
            self._require(np.isfinite(self.poses), "poses")

    def _require(self, holds: np.ndarray, name: str) -> None:
        if not holds.all():
            raise UserError(f"{self.path}: the set {name} holds impossible values; build it again")

    def _has(self, file: h5py.File, name: str) -> bool:
        return own_item(file, name, str(self.path)) is not None

    def _set(self, file: h5py.File, name: str, kind: str | np.dtype, shape: tuple) -> h5py.Dataset:
        """A set, if it is of its type and shape (None stands for any length) and all of it is in the file."""
        found = own_item(file, name, str(self.path))
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{self.path}: has no set {name}; build it again")
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, side) for wanted, side in zip(shape, found.shape, strict=True)
        )
        if found.dtype != np.dtype(kind) or not fits or found.nbytes > self._file.size:
            raise UserError(f"{self.path}: the set {name} is {found.dtype} of shape {found.shape}; build it again")
        return found

    def _array(self, file: h5py.File, name: str, kind: str | np.dtype, shape: tuple) -> np.ndarray:
        return self._set(file, name, kind, shape)[()]

    def _rows(self, file: h5py.File, name: str, kind: str, shape: tuple) -> StoredRows:
        rows, checksums = self._set(file, name, kind, shape), None
        if self._has(file, f"{name}_checksums"):
            checksums = self._array(file, f"{name}_checksums", "uint32", rows.shape[:1])
        return StoredRows(self._file, rows, checksums)

    def _texts(self, file: h5py.File, name: str, count: int) -> list[str]:
        found = own_item(file, name, str(self.path))
        kind = found.dtype if isinstance(found, h5py.Dataset) else np.dtype("S1")
        if kind.kind != "S":
            raise UserError(f"{self.path}: the set {name} is {kind}, not text; build it again")
        return [text.decode() for text in self._array(file, name, kind, (count,))]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def stores_fits(self) -> bool:
        """Whether samples are stored as fits (data mode 5), from which position maps are made."""
        return DATA_MODES[self.data_mode].fit

    def fits(self, indices: slice | Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (B, K) float32 and poses (B, 7) float64 of some samples, where the data set stores fits."""
        if self.coefficients is None or self.poses is None:
            raise UserError(f"{self.path}: is of data mode {self.data_mode}; give one with fits, of data mode 5")
        return self.coefficients[indices], self.poses[indices]

    @cached_property
    def landmarks(self) -> np.ndarray:
        """(N, 68, 3) float32: `pt3d_68` in 0-based pixels of the stored image; NaN where a sample has none."""
        if self._landmarks is None:
            return np.broadcast_to(np.float32(np.nan), (len(self), LANDMARK_COUNT, 3))
        return np.asarray(self._landmarks)

    def box(self, index: int) -> Box:
        """What a sample's crop is made from: the box of its fit's 68 landmarks (in data mode 6 of the photo's own), or
        with the builder's `crop` five-points Deep3D's square."""
        x, y, side = self.boxes[index].astype(np.float64)
        return Box(centre=np.array([x, y]), side=float(side))

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) RGB: uint8, or float32 in 0 to 1 in data modes 1 to 3.

        Raises UserError where the stored image is damaged.
        """
        if self._offsets is None:
            image = self._images[index]
            return image if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
        image = decode_image(self.encoded_image(index).data, self._called(index))
        if image.shape[:2] != (self.image_heights[index], self.image_widths[index]):
            raise UserError(f"{self._called(index)}: the image is not of its stated size; build the data set again")
        return image

    def encoded_image(self, index: int) -> np.ndarray:
        """Bytes (n,) uint8 of the JPEG or PNG file, in data modes 4 to 6."""
        if self._offsets is None:
            raise UserError(f"{self.path}: is of data mode {self.data_mode}; encoded images are in data modes 4 to 6")
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        content = self._images.read(start, stop - start)
        if zlib.crc32(content.data) != self._checksums[index]:
            raise UserError(f"{self._called(index)}: the stored image is damaged; build the data set again")
        return content

    def skin(self, index: int) -> np.ndarray | None:
        """(H, W) uint8: how surely each pixel of the stored image is skin, 255 for certain; None where it was built
        without `skin`."""
        if self._skin is None:
            return None
        start, stop = int(self._skin_offsets[index]), int(self._skin_offsets[index + 1])
        return decode_grey(self._skin.read(start, stop - start).data, f"{self._called(index)}, skin")

    def map(self, index: int) -> np.ndarray:
        """(256, 256, 3) float32 position map in pixels of the stored image, in data modes 0 to 4."""
        if self._maps is None:
            raise UserError(f"{self.path}: is of data mode {self.data_mode}; maps are in data modes 0 to 4")
        return self._maps[index].astype(np.float32, copy=False)

    def _called(self, index: int) -> str:
        return f"{self.path}: {self.folders[index]}/{self.names[index]}"

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_dataset(path: str | Path) -> Dataset:
    """Open a data set file. Raises UserError where it is not one, is of another version, or is damaged.

    >>> with prnet.open_dataset("data/train.hdf5") as dataset:
    ...     len(dataset), dataset.names[0], dataset.landmarks.shape
    (12, 'tiny_0', (12, 68, 3))
    """
    return Dataset(path)


class _SharedFile:
    """A file that several threads read at once. It need not be mapped, so that one cut short is an error, no crash."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise UserError(f"{path}: no such file; build it with {command('build-dataset')}")
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()
        self.size = path.stat().st_size

    def read_into(self, target: memoryview, address: int) -> None:
        with self._lock:
            self._file.seek(address)
            count = self._file.readinto(target)
        if count != len(target):
            raise InputLost(f"{self._path}: was cut short while in use; put the whole file back, or build it again")

    def complain(self, problem: str) -> NoReturn:
        raise UserError(f"{self._path}: {problem}")

    def close(self) -> None:
        self._file.close()


def row_checksums(rows: np.ndarray) -> list[int]:
    """CRC-32 of each row of an array."""
    return [zlib.crc32(row) for row in np.ascontiguousarray(rows)]


def _chunk_addresses(dataset: h5py.Dataset, file_size: int) -> tuple[int, np.ndarray]:
    """Bytes of a chunk and where in the file each lies, for a set whose chunks are whole, uncompressed rows."""
    if dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"the set {dataset.name} is compressed")
    if dataset.chunks is None:
        chunk_bytes, addresses = dataset.nbytes, np.array([dataset.id.get_offset() or -1])
    elif dataset.chunks[1:] != dataset.shape[1:]:
        raise ValueError(f"the set {dataset.name} is in chunks of parts of rows")
    else:
        chunk_bytes = int(np.prod(dataset.chunks, dtype=np.int64)) * dataset.dtype.itemsize
        addresses = np.full(-(-dataset.shape[0] // dataset.chunks[0]), -1, dtype=np.int64)

        def note(chunk: Any) -> None:
            addresses[chunk.chunk_offset[0] // dataset.chunks[0]] = chunk.byte_offset

        dataset.id.chunk_iter(note)
    if ((addresses < 0) | (addresses + chunk_bytes > file_size)).any():
        raise ValueError(f"parts of the set {dataset.name} are missing")
    return chunk_bytes, addresses
