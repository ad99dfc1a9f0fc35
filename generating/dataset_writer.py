"""Writes the file that `prnet.generating.dataset` describes, a buffer of samples at a time."""

import hashlib
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from prnet.common.files import atomic_write
from prnet.configure.config import LANDMARK_COUNT
from prnet.formats.hdf5_attributes import write_texts
from prnet.formats.hdf5_file import DeferredErrorFile
from prnet.generating.dataset import DATA_MODES, FORMAT, FORMAT_VERSION, row_checksums
from prnet.generating.split import is_mirrored

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
    label: np.ndarray  # (256, 256, 3) map, or (K,) coefficients; (0,) where only the landmarks are known
    pose: np.ndarray  # (7,); (0,) likewise
    skin: bytes | None = None  # PNG, (H, W) grey

    @property
    def byte_count(self) -> int:
        """Of image and label."""
        image_bytes = len(self.image) if isinstance(self.image, bytes) else self.image.nbytes
        return image_bytes + self.label.nbytes


def _content(part: bytes | np.ndarray) -> bytes | memoryview:
    return part if isinstance(part, bytes) else part.data


def _encoded(texts: Sequence[str]) -> np.ndarray:
    encoded = np.array([text.encode() for text in texts])
    return encoded.astype(h5py.string_dtype("utf-8", encoded.dtype.itemsize))


@contextmanager
def dataset_writer(
    path: str | Path, *, data_mode: int, model_identity: str, layout_identity: str
) -> Iterator["DatasetWriter"]:
    """Yield a `DatasetWriter`. The file is at `path`, complete, once the block has ended without an error.

    Raises UserError where the file cannot be written; whatever was at `path` before is then still there.
    """
    with (
        atomic_write(path) as temporary,
        DeferredErrorFile(temporary, path) as raw,
        h5py.File(raw, "w", libver=("v110", "v110")) as file,
    ):
        file.attrs.update(format_version=FORMAT_VERSION, data_mode=data_mode)
        write_texts(file, format=FORMAT, model_identity=model_identity, layout_identity=layout_identity)
        yield DatasetWriter(file, raw, data_mode)


class DatasetWriter:
    """Appends samples to an open file; what is a few bytes a sample waits in memory until `finish`.

    names, folders : of the samples written so far.
    """

    def __init__(self, file: h5py.File, raw: DeferredErrorFile, data_mode: int):
        self.names: list[str] = []
        self.folders: list[str] = []
        self._file = file
        self._raw = raw
        self._storage = DATA_MODES[data_mode]
        self._digest = hashlib.sha256()
        self._landmarks: dict[int, np.ndarray] = {}
        self._columns: dict[str, list[np.ndarray]] = {}

    def append(self, samples: list[Sample]) -> None:
        """Write samples behind those that are there."""
        for number, sample in enumerate(samples, start=len(self.names)):
            whole = (sample.name.encode(), sample.folder.encode(), sample.pose, sample.label, sample.image)
            beside = (np.array(sample.box), sample.landmarks, sample.skin)
            for part in (*whole, *(part for part in beside if part is not None)):
                self._digest.update(_content(part))
            if sample.landmarks is not None:
                self._landmarks[number] = sample.landmarks
        self.names += [sample.name for sample in samples]
        self.folders += [sys.intern(sample.folder) for sample in samples]
        self._keep("yaws", "float32", [sample.yaw for sample in samples])
        self._keep("boxes", "float32", [sample.box for sample in samples])
        self._keep("image_heights", "int32", [sample.image_height for sample in samples])
        self._keep("image_widths", "int32", [sample.image_width for sample in samples])
        if self._storage.image:
            self._extend_checked("images", np.stack([sample.image for sample in samples]))
        else:
            encoded = [_content(sample.image) for sample in samples]
            self._keep("checksums", "uint32", [zlib.crc32(image) for image in encoded])
            self._keep("offsets", "int64", [len(image) for image in encoded])
            self._extend("images", np.frombuffer(b"".join(encoded), np.uint8))
        skins = [sample.skin for sample in samples if sample.skin is not None]
        if skins:
            self._keep("skin_offsets", "int64", [len(skin) for skin in skins])
            self._extend("skin", np.frombuffer(b"".join(skins), np.uint8))
        labels = np.stack([sample.label for sample in samples])
        if self._storage.label:
            self._extend_checked("maps", labels)
        if self._storage.fit:
            self._extend_checked("coefficients", labels)
            self._keep("poses", "float64", [sample.pose for sample in samples])
        self._raw.complain()

    def finish(
        self,
        groups: np.ndarray,
        validation: np.ndarray,
        scores: np.ndarray | None = None,
        score_names: Sequence[str] = (),
    ) -> None:
        """Write the rest. groups : (N,) int. validation : (N,) bool. scores : (N, M), NaN where one is not known."""
        columns = {name: np.concatenate(pieces) for name, pieces in self._columns.items()}
        for name in {"offsets", "skin_offsets"} & columns.keys():
            columns[name] = np.concatenate([[0], np.cumsum(columns[name])])
        for name, texts in (("names", self.names), ("folders", self.folders)):
            columns[name] = _encoded(texts)
        if self._landmarks:
            columns["landmarks"] = np.full((len(self.names), LANDMARK_COUNT, 3), np.nan, dtype=np.float32)
            columns["landmarks"][list(self._landmarks)] = list(self._landmarks.values())
            columns["landmarks_checksums"] = np.array(row_checksums(columns["landmarks"]), dtype=np.uint32)
        if scores is not None:
            mirrored = np.array([is_mirrored(folder) for folder in self.folders])
            columns["scores"] = np.where(mirrored[:, None], np.nan, scores).astype(np.float32)
            columns["score_names"] = _encoded(score_names)
            self._digest.update(columns["scores"].tobytes())
        columns["groups"] = np.asarray(groups, dtype=np.int32)
        columns["validation"] = np.asarray(validation, dtype=bool)
        for name, column in columns.items():
            self._file.create_dataset(name, data=column, fletcher32=name != "landmarks")
        self._digest.update(columns["validation"].tobytes())
        write_texts(self._file, identity=self._digest.hexdigest()[:16])

    def _keep(self, name: str, kind: str, values: list) -> None:
        self._columns.setdefault(name, []).append(np.array(values, dtype=kind))

    def _extend_checked(self, name: str, rows: np.ndarray) -> None:
        """Append rows, and their checksums to a set of their own."""
        self._keep(f"{name}_checksums", "uint32", row_checksums(rows))
        self._extend(name, rows)

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
