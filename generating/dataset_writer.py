"""Writes the file that `generating.dataset` describes, a buffer of samples at a time."""

import hashlib
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common.errors import UserError
from common.files import written_whole
from configure.config import LANDMARK_COUNT
from generating.dataset import DATA_MODES, FORMAT, FORMAT_VERSION

CHUNK_BYTES = 1 << 16
"""About how many bytes a chunk of a growing set has: what a small file wastes at most, set by set."""


@dataclass(frozen=True)
class Sample:
    """What is stored of one photo; lengths in pixels of the stored image."""

    name: str
    folder: str
    yaw: float  # degrees
    box: tuple[float, float, float]  # centre x, centre y, mean side
    image_height: int
    image_width: int
    landmarks: np.ndarray | None  # (68, 3)
    image: bytes | np.ndarray  # encoded, or (256, 256, 3) uint8 or in 0 to 1
    label: np.ndarray  # (256, 256, 3) map, or (K,) coefficients
    pose: np.ndarray  # (7,)


@contextmanager
def dataset_writer(path: str | Path, *, data_mode: int, model_identity: str, layout_identity: str):
    """Yield a `DatasetWriter`. The file is at `path`, complete, once the block has ended without an error.

    Raises UserError where the file cannot be written; whatever was at `path` before is then still there.
    """
    with written_whole(path) as temporary, _DutifulFile(temporary, "w+") as raw:
        try:
            with h5py.File(raw, "w", libver=("v110", "v110")) as file:
                file.attrs.update(format_version=FORMAT_VERSION, data_mode=data_mode)
                writer = DatasetWriter(file, raw, data_mode)
                writer.describe(format=FORMAT, model_identity=model_identity, layout_identity=layout_identity)
                yield writer
        finally:
            if raw.failure:
                raise UserError(f"{path}: cannot be written: {raw.failure.strerror}") from None


class _DutifulFile(io.FileIO):
    """A file that keeps failed writes to itself, in `failure`: HDF5 crashes the process when it is told of one."""

    failure: OSError | None = None

    def write(self, data) -> int:
        rest = memoryview(data).cast("B")
        with self._patience():
            while rest:
                rest = rest[super().write(rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        with self._patience():
            super().truncate(size)
        return size

    @contextmanager
    def _patience(self):
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error


class DatasetWriter:
    """Appends samples to an open file; what is a few bytes a sample is kept in memory until `finish`."""

    def __init__(self, file: h5py.File, raw: _DutifulFile, data_mode: int):
        self._file = file
        self._raw = raw
        self._storage = DATA_MODES[data_mode]
        self._digest = hashlib.sha256()
        self._landmarks = {}
        self._columns = {
            "names": [],
            "folders": [],
            "yaws": [],
            "boxes": [],
            "image_heights": [],
            "image_widths": [],
            "poses": [],
            "checksums": [],
            "image_bytes": [],
        }

    @property
    def names(self) -> list[str]:
        """Names of the samples written so far."""
        return self._columns["names"]

    @property
    def folders(self) -> list[str]:
        """Their folders."""
        return self._columns["folders"]

    def append(self, samples: list[Sample]) -> None:
        """Write samples behind those that are there."""
        columns = self._columns
        for sample in samples:
            if sample.landmarks is not None:
                self._landmarks[len(columns["names"])] = sample.landmarks
            for part in (sample.name.encode(), sample.folder.encode(), sample.pose, sample.label, sample.image):
                self._digest.update(part)
            columns["names"].append(sample.name)
            columns["folders"].append(sample.folder)
            columns["yaws"].append(sample.yaw)
            columns["boxes"].append(sample.box)
            columns["image_heights"].append(sample.image_height)
            columns["image_widths"].append(sample.image_width)
            columns["poses"].append(sample.pose)
        if self._storage.image:
            self._extend("images", np.stack([sample.image for sample in samples]))
        else:
            columns["checksums"] += [zlib.crc32(sample.image) for sample in samples]
            columns["image_bytes"] += [len(sample.image) for sample in samples]
            self._extend("images", np.frombuffer(b"".join(sample.image for sample in samples), np.uint8))
        self._extend("maps" if self._storage.label else "coefficients", np.stack([sample.label for sample in samples]))

    def finish(self, groups: np.ndarray, validation: np.ndarray) -> None:
        """Write the rest. groups : (N,) int. validation : (N,) bool."""
        columns = self._columns
        for name in ("names", "folders"):
            encoded = np.array([text.encode() for text in columns[name]])
            self._file.create_dataset(name, data=encoded.astype(h5py.string_dtype("utf-8", encoded.dtype.itemsize)))
        for name, kind in (
            ("yaws", "float32"),
            ("boxes", "float32"),
            ("image_heights", "int32"),
            ("image_widths", "int32"),
        ):
            self._file.create_dataset(name, data=np.array(columns[name], dtype=kind))
        if not self._storage.image:
            offsets = np.concatenate([[0], np.cumsum(columns["image_bytes"])]).astype(np.int64)
            self._file.create_dataset("offsets", data=offsets)
            self._file.create_dataset("checksums", data=np.array(columns["checksums"], dtype=np.uint32))
        if not self._storage.label:
            self._file.create_dataset("poses", data=np.array(columns["poses"], dtype=np.float64))
        if self._landmarks:
            landmarks = np.full((len(self.names), LANDMARK_COUNT, 3), np.nan, dtype=np.float32)
            landmarks[list(self._landmarks)] = list(self._landmarks.values())
            self._file.create_dataset("landmarks", data=landmarks)
        self._file.create_dataset("groups", data=np.asarray(groups, dtype=np.int32))
        self._file.create_dataset("validation", data=np.asarray(validation, dtype=bool))
        self._digest.update(np.asarray(validation, dtype=bool).tobytes())
        self.describe(identity=self._digest.hexdigest()[:16])

    def describe(self, **texts: str) -> None:
        """Write attributes as text of fixed length, which HDF5 keeps beside the checksum of its header."""
        self._file.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()})

    def _extend(self, name: str, rows: np.ndarray) -> None:
        """Append rows to a set, which is made with the first ones."""
        if name not in self._file:
            self._file.create_dataset(
                name,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                chunks=(max(CHUNK_BYTES // rows[0].nbytes, 1), *rows.shape[1:]),
                dtype=rows.dtype,
            )
        stored = self._file[name]
        start = stored.shape[0]
        stored.resize(start + len(rows), axis=0)
        stored[start:] = rows
        if self._raw.failure:
            raise self._raw.failure
