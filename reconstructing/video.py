"""Faces in videos, frame by frame: boxes tracked from the previous result, detection where a face is lost."""

from dataclasses import dataclass, field

import numpy as np

from prnet.geometry.crop import Box
from prnet.model.parameters import FaceParameters
from prnet.reconstructing.face import HARDLY_A_FACE, Face, place_face
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.smoothing import OneEuroFilter
from prnet.reconstructing.video_files import DEFAULT_RATE

CHECK_EVERY = 25
"""Frames between two runs of the detector while faces are tracked: new faces are found and false tracks ended."""

SAME_FACE = 0.5
"""Two boxes hold the same face if their centres are closer than this share of the larger side."""

MAX_SHIFT, MAX_GROWTH = 0.4, 1.4
"""A track is lost where from one frame to the next its box moves by more than this share of its side, grows or shrinks
by more than this factor; where its mesh is hardly a face; or where its box's centre leaves the frame."""


@dataclass
class Track:
    """One face over time."""

    number: int
    box: Box
    filter: OneEuroFilter | None = field(default_factory=OneEuroFilter)
    parameter_filter: OneEuroFilter = field(default_factory=OneEuroFilter)


class FaceTracker:
    """Faces of successive frames. smooth : filter position maps and parameters against jitter."""

    def __init__(self, reconstructor: FaceReconstructor, *, smooth: bool = False, rate: float = DEFAULT_RATE):
        self._reconstructor = reconstructor
        self._smooth = smooth
        self._rate = rate
        self._tracks: list[Track] = []
        self._numbers = 0
        self._until_check = 0

    def __call__(self, frame: np.ndarray) -> list[tuple[int, Face]]:
        """Track numbers and faces of the next frame, (H, W, 3) uint8 RGB."""
        detected = self._until_check == 0
        if detected:
            self._detect(frame)
        found = self._reconstruct(frame)
        if len(found) < len(self._tracks) and not detected:
            self._tracks = [track for track, _ in found]
            self._detect(frame)
            found = self._reconstruct(frame)
        self._tracks = [track for track, _ in found]
        self._until_check = self._until_check - 1 if self._tracks else 0
        faces = [(track, self._smoothed(track, face)) for track, face in found]
        for track, face in faces:
            track.box = face.tracked_box
        return [(track.number, face) for track, face in faces]

    def _detect(self, frame: np.ndarray) -> None:
        boxes = self._reconstructor.detect(frame)
        kept = [track for track in self._tracks if any(_same_face(track.box, box) for box in boxes)]
        new = [box for box in boxes if not any(_same_face(track.box, box) for track in kept)]
        self._tracks = kept + [self._new_track(box) for box in new]
        self._until_check = CHECK_EVERY

    def _new_track(self, box: Box) -> Track:
        self._numbers += 1
        return Track(self._numbers - 1, box, OneEuroFilter() if self._smooth else None)

    def _reconstruct(self, frame: np.ndarray) -> list[tuple[Track, Face]]:
        faces = self._reconstructor.reconstruct(frame, [track.box for track in self._tracks])
        return [(t, face) for t, face in zip(self._tracks, faces, strict=True) if not is_lost(face, *frame.shape[:2])]

    def _smoothed(self, track: Track, face: Face) -> Face:
        if track.filter is None:
            return face
        smooth_map = track.filter(face.position_map, 1 / self._rate, track.box.side)
        return place_face(smooth_map, face.box, face.to_crop, face.grid, self._smoothed_parameters(track, face))

    def _smoothed_parameters(self, track: Track, face: Face) -> FaceParameters | None:
        if face.parameters is None:
            return None
        return face.parameters.smoothed(lambda numbers: track.parameter_filter(numbers, 1 / self._rate))


def is_lost(face: Face, height: int, width: int) -> bool:
    """Whether a face found at the box of the frame before is none: it jumped, lost its shape or left the frame."""
    before, after = face.box, face.tracked_box
    if not np.isfinite(face.landmarks).all() or after.side <= 0:
        return True
    shift = np.abs(after.centre - before.centre).max() / before.side
    growth = max(after.side / before.side, before.side / after.side)
    outside = (after.centre < 0).any() or (after.centre >= (width, height)).any()
    return bool(shift > MAX_SHIFT or growth > MAX_GROWTH or outside or face.misfit > HARDLY_A_FACE)


def _same_face(one: Box, other: Box) -> bool:
    return bool(np.linalg.norm(one.centre - other.centre) < SAME_FACE * max(one.side, other.side))


def jitter(landmarks: np.ndarray) -> float:
    """How much landmarks (F, 68, 2 or more) of a still face tremble, in per cent of its side.

    The root mean squared distance between successive frames in x and y, over the mean side of the landmarks' box.
    """
    step = np.diff(landmarks[..., :2], axis=0)
    side = np.ptp(landmarks[..., :2], axis=1).mean()
    return float(100 * np.sqrt(np.mean(np.sum(step**2, axis=-1))) / side)
