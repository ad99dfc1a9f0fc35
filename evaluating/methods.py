"""What is measured: a network, or the predictions of any method in a file."""

import hashlib
import typing
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.common.files import atomic_write
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.evaluating.scoring import Failure, Prediction
from prnet.evaluating.subjects import Subject, Subjects
from prnet.geometry.crop import crop_image, crop_transform, invert_transform, transform_points
from prnet.geometry.uv_layout import UVLayout, face_mask, resample_map, sample_landmarks

MAX_BYTES = 1 << 29
"""Of names, or of landmarks, in a file of predictions: a small archive can claim any size."""


class Method(typing.Protocol):
    """What `prnet.evaluating.evaluation.evaluate` measures.

    name : what tables call it. identity : hash of all that its predictions depend on. landmark_dimensions : 2 or 3.
    has_vertices : whether it predicts the texels of the face mask too.
    """

    name: str
    identity: str
    landmark_dimensions: int
    has_vertices: bool

    def require_matches(self, subjects: Subjects, layout: UVLayout | None, dense: bool) -> None:
        """Raise UserError unless it can be measured on these subjects; dense : its vertices against their maps."""

    def vertex_mask(self, layout: UVLayout | None) -> np.ndarray | None:
        """The face mask (256, 256) whose texels its vertices are; None where they are not those of one."""

    def predict(self, subjects: list[Subject]) -> list[Prediction | Failure]:
        """For each subject a prediction in the photo's pixels, or why there is none."""
        ...


class NetworkMethod:
    """A position map network on the reference crop of each photo.

    predict : (B, S, S, 3) float32 images in 0 to 1 to (B, S, S, 3) maps in crop pixels.
    """

    landmark_dimensions = 3
    has_vertices = True

    def __init__(
        self, name: str, identity: str, predict: Callable[[np.ndarray], np.ndarray], layout: UVLayout, size: int
    ):
        self.name, self.identity, self.size = name, identity, size
        self.layout = layout
        self._predict = predict
        self._face = np.flatnonzero(face_mask(layout, MAP_SIZE))

    def require_matches(self, subjects: Subjects, layout: UVLayout | None, dense: bool) -> None:
        """Raise UserError unless the network's vertices are those of the true maps, where they are compared."""
        if dense and (layout is None or layout.identity != self.layout.identity):
            raise UserError(
                f"{self.name}: was trained for another UV layout than the face model's, so their vertices do not "
                "correspond; give the face model that it was trained with as `face_model`, or only `types` 0 1"
            )

    def vertex_mask(self, layout: UVLayout | None) -> np.ndarray:
        """The face mask (256, 256) whose texels the predicted vertices are: of the network's own layout."""
        return face_mask(self.layout, MAP_SIZE)

    def predict(self, subjects: list[Subject]) -> list[Prediction | Failure]:
        """For each subject a prediction in the photo's pixels, or why there is none."""
        return [found if isinstance(found, Failure) else self._restore(*found) for found in self.predict_maps(subjects)]

    def predict_maps(self, subjects: list[Subject]) -> list[tuple[np.ndarray, np.ndarray] | Failure]:
        """For each subject the map (S, S, 3) in crop pixels and the crop (2, 3), or why there is none."""
        results: list[tuple[np.ndarray, np.ndarray] | Failure] = []
        crops, images, places = [], [], []
        for place, subject in enumerate(subjects):
            results.append(Failure(subject.problem or "has no photo"))
            if subject.photo is not None and subject.box is not None:
                crops.append(crop_transform(subject.box, self.size))
                images.append(_as_unit(crop_image(subject.photo, crops[-1], self.size)))
                places.append(place)
        maps = self._predict(np.stack(images)) if images else ()
        for place, crop, position_map in zip(places, crops, maps, strict=True):
            finite = np.isfinite(position_map).all()
            results[place] = (position_map, crop) if finite else Failure("the network's output is not finite")
        return results

    def _restore(self, position_map: np.ndarray, crop: np.ndarray) -> Prediction:
        to_photo = invert_transform(crop)
        landmarks = transform_points(to_photo, sample_landmarks(position_map, self.layout))
        if self.size != MAP_SIZE:
            position_map = resample_map(position_map, MAP_SIZE)
        return Prediction(landmarks, transform_points(to_photo, position_map.reshape(-1, 3)[self._face]))


def _as_unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image


class PredictionFile:
    """Predictions in an .npz file: `names` (N,), `landmarks` (N, 68, 2 or 3) and, optional, `vertices` (N, V, 3).

    Lengths are 0-based pixels of the photo; vertices are the V texels of the face mask, row by row. They are read
    from the file image by image. NaN landmarks stand for an image without a result.
    """

    size = MAP_SIZE

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such file of predictions")
        self.name = self.path.stem
        self.identity = file_hash(self.path)
        with (
            _readable(self.path),
            open(self.path, "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            for name in ("names", "landmarks"):
                if name not in arrays:
                    raise UserError(f"{path}: has no array {name}; names and landmarks are needed")
                if arrays.zip.getinfo(f"{name}.npy").file_size > MAX_BYTES:
                    raise UserError(f"{path}: {name} takes more than {MAX_BYTES >> 20} MiB")
            names, landmarks = arrays["names"], arrays["landmarks"]
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise UserError(f"{path}: names must be a list of strings, but is {names.dtype} of shape {names.shape}")
        if (
            landmarks.shape not in [(len(names), LANDMARK_COUNT, width) for width in (2, 3)]
            or landmarks.dtype.kind not in "fiu"
        ):
            raise UserError(
                f"{path}: landmarks must be numbers of shape ({len(names)}, {LANDMARK_COUNT}, 2 or 3), but is "
                f"{landmarks.dtype} of shape {landmarks.shape}"
            )
        self.names = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
        if len(set(self.names)) < len(self.names):
            raise UserError(f"{path}: names holds a name twice")
        if not all(map(str.isprintable, self.names)):
            raise UserError(f"{path}: names holds a name that is not text in one line")
        self._rows = {name: row for row, name in enumerate(self.names)}
        self._landmarks = landmarks.astype(np.float32)
        self.landmark_dimensions = landmarks.shape[2]
        with _readable(self.path):
            self._vertices = _ArchivedRows(self.path, "vertices.npy", len(names))
        self.has_vertices = self._vertices.shape is not None

    def __enter__(self) -> "PredictionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._vertices.close()

    def require_matches(self, subjects: Subjects, layout: UVLayout | None, dense: bool) -> None:
        """Raise UserError unless the file is about these photos and its vertices, where needed, are the true maps'."""
        if not self._rows.keys() & set(subjects.names):
            example = f"{self.names[0]!r} and not {subjects.names[0]!r}" if self.names else "nothing"
            raise UserError(f"{self.path}: names none of the photos (it has {example}); names are without suffix")
        if dense and layout is not None and self.vertex_mask(layout) is None:
            wanted = (len(self.names), int(np.count_nonzero(face_mask(layout, MAP_SIZE))), 3)
            raise UserError(
                f"{self.path}: vertices must be of shape {wanted}, the texels of the face mask row by row, but is of "
                f"shape {self._vertices.shape}"
            )

    def vertex_mask(self, layout: UVLayout | None) -> np.ndarray | None:
        """The face mask (256, 256) whose texels the vertices are: the layout's, or None where they are not."""
        if layout is None or self._vertices.shape is None:
            return None
        mask = face_mask(layout, MAP_SIZE)
        return mask if np.count_nonzero(mask) == self._vertices.shape[1] else None

    def predict(self, subjects: list[Subject]) -> list[Prediction | Failure]:
        """For each subject a prediction in the photo's pixels, or why there is none."""
        return [self._of(subject.name) for subject in subjects]

    def _of(self, name: str) -> Prediction | Failure:
        row = self._rows.get(name)
        if row is None:
            return Failure(f"{self.path} has no {name}")
        vertices = self._vertices.row(row) if self.has_vertices else None
        if not np.isfinite(self._landmarks[row]).all() or not (vertices is None or np.isfinite(vertices).all()):
            return Failure(f"{self.path}: {name} is not finite")
        return Prediction(self._landmarks[row], vertices)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: is not a readable .npz file: {' '.join(str(error).split())}") from None


class _ArchivedRows:
    """Rows of one array of an .npz file, read from it one by one. shape is None where the file has no such array."""

    def __init__(self, path: Path, entry: str, count: int):
        self._path = path
        self.shape: tuple[int, ...] | None = None
        self._archive = zipfile.ZipFile(path)
        try:
            if entry in self._archive.namelist():
                self._open(entry, count)
        except BaseException:
            self._archive.close()
            raise

    def _open(self, entry: str, count: int) -> None:
        with self._archive.open(entry) as file:
            np.lib.format.read_magic(file)
            shape, in_columns, self._dtype = np.lib.format.read_array_header_1_0(file)
            self._start = file.tell()
            is_of_shape = len(shape) == 3 and (shape[0], shape[2]) == (count, 3) and shape[1] <= MAP_SIZE * MAP_SIZE
            if in_columns or self._dtype.kind != "f" or not is_of_shape:
                raise UserError(f"{self._path}: {entry[:-4]} must be floats of shape ({count}, V, 3) in C order")
            self._row_bytes = int(np.prod(shape[1:])) * self._dtype.itemsize
            if self._archive.getinfo(entry).file_size != self._start + count * self._row_bytes:
                raise UserError(f"{self._path}: {entry[:-4]} is not of its stated shape")
            while file.read(1 << 20):  # to its end, where its checksum is compared
                pass
        self._file, self.shape, self._row_shape = self._archive.open(entry), shape, shape[1:]

    def close(self) -> None:
        if self.shape is not None:
            self._file.close()
        self._archive.close()

    def row(self, index: int) -> np.ndarray:
        with _readable(self._path):
            self._file.seek(self._start + index * self._row_bytes)
            content = self._file.read(self._row_bytes)
        if len(content) != self._row_bytes:
            raise InputLost(f"{self._path}: was cut short while in use; put the whole file back")
        return np.frombuffer(content, self._dtype).reshape(self._row_shape).astype(np.float32)


def write_predictions(
    path: str | Path, names: list[str], landmarks: np.ndarray, vertices_file: str | Path | None = None
) -> None:
    """Write what `PredictionFile` reads. vertices_file : a .npy file (N, V, 3), copied without being held in memory."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for entry, array in (("names.npy", np.array(names, dtype=np.str_)), ("landmarks.npy", landmarks)):
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        if vertices_file:
            archive.write(vertices_file, "vertices.npy")


def file_hash(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
