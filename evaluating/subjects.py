"""Photos with their ground truth, read a few at a time: from a data set file, from pairs in a folder or archive, or,
without photos, from a file of landmarks.
"""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.evaluating.scoring import Failure, Truth
from prnet.formats.fit_files import read_fit, require_model
from prnet.formats.image_files import check_image, decode_image
from prnet.formats.number_files import read_numbers
from prnet.formats.pairs import Pair, PairSource
from prnet.generating.dataset import LANDMARKS_ALONE, Dataset
from prnet.geometry.crop import Box, landmark_box
from prnet.geometry.face_model import FaceModel, face_landmarks
from prnet.geometry.pose import fit_to_pixels, one_based_to_pixels
from prnet.geometry.position_map import map_basis, position_maps
from prnet.geometry.transforms import apply_transform
from prnet.geometry.uv_layout import UVLayout, resample_map, sample_landmarks

READERS = 2
"""Threads that read photos."""


@dataclass(frozen=True)
class Subject:
    """One photo and its ground truth. Where the photo cannot be read, `problem` says why and the rest is None."""

    name: str
    photo: np.ndarray | None = None  # (H, W, 3) RGB uint8, or float32 in 0 to 1
    box: Box | None = None  # of the 68 true landmarks: what the crop is cut around
    truth: Truth | None = None
    problem: str | None = None


class Subjects(ABC):
    """N photos with their ground truth.

    names : list of str. yaw : (N,) degrees. identity : hash of photos and ground truth. landmark_source : where
    true landmarks come from, for tables. landmark_dimensions : 2 or 3. has_mesh, has_photos : bool. left_out : one line
    for each photo without ground truth to be measured by.
    """

    names: list[str]
    yaw: np.ndarray
    identity: str
    landmark_source: str
    landmark_dimensions = 3
    has_mesh = False
    has_photos = True
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> list[Subject]:
        """The subjects at some indices; meshes of a batch are made together."""


def distinct_names(stems: Sequence[str]) -> list[str]:
    """Names of photos by their paths without suffix: the last part, and where several have one, such as a photo and its
    mirror image, as many folders before it as tell them apart. Where all folders are alike, later ones are numbered."""
    paths, depths = [stem.split("/") for stem in stems], [1] * len(stems)
    while True:
        names = ["/".join(path[-depth:]) for path, depth in zip(paths, depths, strict=True)]
        count = Counter(names)
        alike = [n for n, name in enumerate(names) if count[name] > 1 and depths[n] < len(paths[n])]
        if not alike:
            break
        for n in alike:
            depths[n] += 1
    taken: set[str] = set()
    for n, name in enumerate(names):
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        names[n] = name if name not in taken else next(each for each in numbered if each not in taken | count.keys())
        taken.add(names[n])
    return names


class DatasetSubjects(Subjects):
    """The samples of a `prnet.generating.dataset.Dataset`.

    model : the face model; without it there is a mesh only where the data set stores maps. layout : the UV layout
    that says where landmarks lie on maps. size : side of the network's maps.
    """

    def __init__(self, dataset: Dataset, model: FaceModel | None, layout: UVLayout | None, size: int = MAP_SIZE):
        if model is not None and model.identity != dataset.model_identity:
            raise UserError(
                f"{dataset.path}: was built with another face model than {model.source}; give that one as `face_model`"
            )
        if dataset.data_mode == LANDMARKS_ALONE:
            raise UserError(f"{dataset.path}: holds photos and landmarks alone; evaluate on one of data modes 0 to 5")
        makes_maps = dataset.stores_fits
        has_maps = model is not None or not makes_maps
        if layout is not None and has_maps and not layout.has_identity(dataset.layout_identity):
            raise UserError(
                f"{dataset.path}: was built for another UV layout than the network's, so their maps do not "
                "correspond; build the data set with the face model that the network was trained with"
            )
        self._dataset, self._layout, self._size = dataset, layout, size
        self.names = distinct_names(list(map("/".join, zip(dataset.folders, dataset.names, strict=True))))
        self.yaw, self._landmarks = dataset.yaw.astype(np.float64), dataset.landmarks
        self._maps = _map_maker(model, layout, size) if makes_maps else None
        self.has_mesh = self._maps is not None or (layout is not None and not makes_maps)
        self.identity = _hash(dataset.identity, model.identity if model else "")
        self._truth_is_given = np.isfinite(self._landmarks).all(axis=(1, 2))
        self.landmark_source = _landmark_source(self._truth_is_given)
        if not self.has_mesh and not self._truth_is_given.all():
            raise UserError(
                f"{dataset.path}: {np.count_nonzero(~self._truth_is_given)} samples have no pt3d_68, and the landmarks "
                "of their fits need the face model; give `face_model`"
            )

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Subject]:
        with ThreadPoolExecutor(READERS) as pool:
            photos = list(pool.map(self._photo, indices))
        found: Sequence[_MapTruth | None]
        if self._maps:
            found = self._maps.make(*self._dataset.fits(indices), self._dataset.image_heights[indices])
        elif self._layout is not None and self.has_mesh:
            found = [_MapTruth(self._dataset.map(index), None, self._layout, self._size) for index in indices]
        else:
            found = [None] * len(photos)
        subjects = []
        for index, photo, of_map in zip(indices, photos, found, strict=True):
            given = self._landmarks[index] if self._truth_is_given[index] else None
            box = self._dataset.box(index)
            truth = _truth(given, of_map)
            if isinstance(photo, Failure):
                subjects.append(Subject(self.names[index], box=box, truth=truth, problem=photo.reason))
            else:
                subjects.append(Subject(self.names[index], photo, box, truth))
        return subjects

    def _photo(self, index: int) -> np.ndarray | Failure:
        try:
            return self._dataset.image(index)
        except InputLost:
            raise
        except UserError as error:
            return Failure(str(error))


class PairSubjects(Subjects):
    """The pairs of a `prnet.formats.pairs.PairSource`, read in place. Parameters as of `DatasetSubjects`.

    A pair whose fit cannot be read has no ground truth and is left out; one whose photo cannot be read is a failure.
    """

    def __init__(self, source: PairSource, model: FaceModel | None, layout: UVLayout | None, size: int = MAP_SIZE):
        self._maps = _map_maker(model, layout, size)
        self.has_mesh = self._maps is not None
        digest, left_out = hashlib.sha256(), list(source.left_out)
        self._pairs, self._fits = [], []
        for pair in source:
            try:
                content = pair.fit_bytes()
                fit = read_fit(content, pair.fit_file)
                if model is not None:
                    require_model(fit, model, pair.fit_file)
                elif fit.landmarks is None:
                    raise UserError(f"{pair.fit_file}: has no pt3d_68; give `face_model`")
            except InputLost:
                raise
            except UserError as error:
                left_out.append(str(error))
                continue
            digest.update(f"{pair.stem}\0{_photo_hash(pair)}\0".encode() + content)
            self._pairs.append(pair)
            self._fits.append(fit)
        if not self._pairs:
            raise UserError(
                f"{source.path}: no photo with a readable fit; {left_out[0] if left_out else 'it is empty'}"
            )
        self.names = distinct_names([pair.stem for pair in self._pairs])
        self.left_out = tuple(left_out)
        self.yaw = np.degrees([fit.pose[1] for fit in self._fits])
        self.identity = _hash(digest.hexdigest(), model.identity if model else "")
        self.landmark_source = _landmark_source(np.array([fit.landmarks is not None for fit in self._fits]))

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Subject]:
        with ThreadPoolExecutor(READERS) as pool:
            photos = list(pool.map(self._photo, indices))
        readable = {place: photo for place, photo in enumerate(photos) if not isinstance(photo, Failure)}
        fits = [self._fits[indices[place]] for place in readable]
        found: Sequence[_MapTruth | None] = [None] * len(fits)
        if self._maps and fits:
            found = self._maps.make(
                np.array([fit.coefficients for fit in fits]),
                np.array([fit.pose for fit in fits]),
                np.array([photo.shape[0] for photo in readable.values()]),
            )
        subjects = [
            Subject(self.names[index], problem=photo.reason if isinstance(photo, Failure) else None)
            for index, photo in zip(indices, photos, strict=True)
        ]
        for (place, photo), fit, of_map in zip(readable.items(), fits, found, strict=True):
            truth = _truth(fit.landmarks, of_map)
            box = landmark_box(of_map.model_landmarks if of_map else truth.landmarks)
            subjects[place] = Subject(self.names[indices[place]], photo, box, truth)
        return subjects

    def _photo(self, index: int) -> np.ndarray | Failure:
        pair = self._pairs[index]
        try:
            content = pair.image_bytes()
            check_image(content, pair.image_file)
            return decode_image(content, pair.image_file)
        except InputLost:
            raise
        except UserError as error:
            return Failure(str(error))


def _photo_hash(pair: Pair) -> str:
    """Of the encoded photo; "" where it cannot be read, which is a failure of its own."""
    try:
        return hashlib.sha256(pair.image_bytes()).hexdigest()
    except InputLost:
        raise
    except UserError:
        return ""


class LandmarkSubjects(Subjects):
    """Landmarks (N, 68, 2 or 3) alone, in the order of sorted names, to measure other methods' landmarks by."""

    has_photos = False
    landmark_source = "a file"

    def __init__(self, landmarks: np.ndarray, names: list[str]):
        self.names, self.yaw = sorted(names), np.zeros(len(names))
        self.landmark_dimensions = landmarks.shape[-1]
        self._landmarks = landmarks
        self.identity = _hash(landmarks.tobytes(), "\n".join(self.names))

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Subject]:
        return [Subject(self.names[index], truth=Truth(self._landmarks[index])) for index in indices]


class Amended(Subjects):
    """Subjects with other true landmarks (N, 68, 2 or 3), with other yaw angles (N,), or both; crops and meshes stay.

    Both are in the order of sorted names.
    """

    def __init__(self, subjects: Subjects, landmarks: np.ndarray | None, yaw: np.ndarray | None):
        self._subjects = subjects
        row = np.argsort(np.argsort(subjects.names, kind="stable"))
        self._landmarks = None if landmarks is None else landmarks[row]
        self.yaw = subjects.yaw if yaw is None else yaw[row]
        self.names, self.left_out = subjects.names, subjects.left_out
        self.has_mesh, self.has_photos = subjects.has_mesh, subjects.has_photos
        self.landmark_dimensions = subjects.landmark_dimensions if landmarks is None else landmarks.shape[-1]
        self.landmark_source = subjects.landmark_source if landmarks is None else "a file"
        self.identity = _hash(subjects.identity, *(array.tobytes() for array in (landmarks, yaw) if array is not None))

    def read(self, indices: Sequence[int] | np.ndarray) -> list[Subject]:
        found = self._subjects.read(indices)
        if self._landmarks is None:
            return found
        return [
            replace(subject, truth=subject.truth and _with_landmarks(subject.truth, self._landmarks[index]))
            for index, subject in zip(indices, found, strict=True)
        ]


class _MapMaker:
    """Position maps of fits in pixels of their photos, with their landmarks."""

    def __init__(self, model: FaceModel, layout: UVLayout, size: int):
        self._model, self._layout, self._size = model, layout, size
        self._basis = map_basis(model, MAP_SIZE)

    def make(self, coefficients: np.ndarray, poses: np.ndarray, heights: np.ndarray) -> list["_MapTruth"]:
        transforms = fit_to_pixels(poses, heights)
        maps = position_maps(self._basis, coefficients, transforms)
        found = []
        for position_map, coefficient, transform in zip(maps, coefficients, transforms, strict=True):
            vertices = face_landmarks(self._model, coefficient)
            projected = apply_transform(transform, vertices).astype(np.float32)
            found.append(_MapTruth(position_map, projected, self._layout, self._size))
        return found


def _map_maker(model: FaceModel | None, layout: UVLayout | None, size: int) -> _MapMaker | None:
    return None if model is None or layout is None else _MapMaker(model, layout, size)


class _MapTruth:
    """A true position map in pixels of its photo, and the landmarks that come with it."""

    def __init__(self, position_map: np.ndarray, model_landmarks: np.ndarray | None, layout: UVLayout, size: int):
        self.mesh = position_map.reshape(-1, 3)
        self.landmarks = sample_landmarks(position_map, layout)
        self.grid_landmarks = self.landmarks
        if size != MAP_SIZE:
            self.grid_landmarks = sample_landmarks(resample_map(position_map, size), layout)
        self.model_landmarks = self.landmarks if model_landmarks is None else model_landmarks


def _truth(given: np.ndarray | None, of_map: _MapTruth | None) -> Truth:
    """A ground truth whose landmarks are `given`, else the model's; one of the two there is."""
    if of_map is None:
        assert given is not None
        return Truth(given)
    truth = Truth(of_map.model_landmarks, of_map.mesh, of_map.landmarks, of_map.grid_landmarks)
    return _with_landmarks(truth, of_map.model_landmarks if given is None else given)


def _with_landmarks(truth: Truth, landmarks: np.ndarray) -> Truth:
    """The ground truth with other landmarks (68, 2 or 3).

    A position map's depth begins at its farthest texel and that of landmarks anywhere: theirs is moved so that its
    mean is that of the map's own landmarks.
    """
    landmarks = landmarks.copy()
    if truth.mesh_landmarks is not None and landmarks.shape[1] == 3:
        landmarks[:, 2] += truth.mesh_landmarks[:, 2].mean() - landmarks[:, 2].mean()
    return replace(truth, landmarks=landmarks)


def _landmark_source(is_given: np.ndarray) -> str:
    if is_given.all():
        return "pt3d_68 of each sample"
    if not is_given.any():
        return "the face model's landmarks, projected with each sample's fit (no sample has pt3d_68)"
    return (
        f"pt3d_68 of {np.count_nonzero(is_given)} samples; for the other {np.count_nonzero(~is_given)} the face "
        "model's landmarks, projected with the sample's fit"
    )


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def read_landmark_file(path: str | Path) -> np.ndarray:
    """True landmarks from a NumPy file of 1-based pixels, as 3DDFA publishes them: (N, 2 or 3, 68).

    Returns (N, 68, 2 or 3) float32, 0-based pixels. Raises UserError for anything else.
    """
    landmarks = read_numbers(path)
    if landmarks.ndim != 3 or landmarks.shape[1] not in (2, 3) or landmarks.shape[2] != LANDMARK_COUNT:
        raise UserError(f"{path}: must be of shape (N, 2 or 3, {LANDMARK_COUNT}), but is {landmarks.shape}")
    landmarks = np.ascontiguousarray(landmarks.transpose(0, 2, 1), dtype=np.float32)
    if landmarks.shape[2] == 3:
        return one_based_to_pixels(landmarks)
    return landmarks - np.float32(1)


def read_yaw_file(path: str | Path) -> np.ndarray:
    """Yaw angles (N,) in degrees from a NumPy file. Raises UserError for anything else."""
    yaw = read_numbers(path)
    if yaw.ndim != 1:
        raise UserError(f"{path}: must hold one yaw in degrees for each image, but is of shape {yaw.shape}")
    return yaw.astype(np.float64)


def require_rows(path: str | Path, rows: int, images: int) -> None:
    """Raise UserError unless a file has one row for each image."""
    if rows != images:
        raise UserError(f"{path}: has {rows:,} rows for {images:,} images; it needs one each, in the order of names")
