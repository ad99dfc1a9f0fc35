"""Where photos' landmarks come from: files, several of which may know the same photo, or a network."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.fitting.evidence import Landmarks
from prnet.fitting.landmark_files import read_landmark_file
from prnet.geometry.face_model import FaceModel


class LandmarkSource:
    """The landmarks of several files, each photo's put together. files : `landmark_files.LandmarkFile`s."""

    needs_photo = False

    def __init__(self, files: list):
        self.files = files
        self._used: list[set[int]] = [set() for _ in files]

    def landmarks(self, stem: str) -> Landmarks | None:
        ibug = mediapipe = None
        found = False
        for file, used in zip(self.files, self._used, strict=True):
            row = file.row(stem)
            if row is not None:
                used.add(row)
                found = True
                one = file.landmarks(row)
                ibug = one.ibug if ibug is None else ibug
                mediapipe = one.mediapipe if mediapipe is None else mediapipe
        return Landmarks(ibug, mediapipe) if found else None

    def require_distinct(self, stems: Iterable[str]) -> None:
        """Raise UserError where two photos, by their paths without suffix, would get the same landmarks."""
        for file in self.files:
            owners: dict[int, str] = {}
            for stem in stems:
                row = file.row(stem)
                if row is not None and owners.setdefault(row, stem) != stem:
                    both = f"both {owners[row]} and {stem}"
                    raise UserError(f"{file.path}: {file.names[row]} would be {both}; name each with its folder")

    def unused(self) -> list[str]:
        return [
            f"{file.path}: {name}"
            for file, used in zip(self.files, self._used, strict=True)
            for row, name in enumerate(file.names)
            if row not in used
        ]


class IbugLandmarks(LandmarkSource):
    """The 68 landmarks alone, of files that all hold them; else UserError."""

    def __init__(self, paths: Iterable[str | Path]):
        super().__init__([read_landmark_file(path) for path in paths])
        for file in self.files:
            if not file.has_ibug:
                raise UserError(f"{file.path}: holds no landmarks68; give files that do")

    def __call__(self, stem: str) -> np.ndarray | None:
        """(68, 3) of a photo's path without suffix, z NaN where it is not known; None where no file has them."""
        found = self.landmarks(stem)
        return None if found is None else found.ibug


def landmark_source(given: Sequence[str], face_model: FaceModel, path, model, detector: str, threads: int = 0):
    """Of the named files, or of `network`, which is a `NetworkLandmarks` of a model, a detector and threads.

    Raises UserError where the files hold MediaPipe's points alone and the face model, of `path`, does not know them.
    """
    if list(given) == ["network"]:
        from prnet.fitting.network_landmarks import NetworkLandmarks

        return NetworkLandmarks(model, detector, threads)
    if "network" in given:
        raise UserError("landmarks `network`: stands alone; leave the files out")
    files = [read_landmark_file(path) for path in given]
    if face_model.mediapipe is None and not any(file.has_ibug for file in files):
        raise UserError(
            f"{path}: does not know where MediaPipe's points lie on it, and {given[0]} has no"
            " others; give 68 landmarks, or ICT-FaceKit's face model"
        )
    return LandmarkSource(files)
