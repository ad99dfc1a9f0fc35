"""What is written for a video: the video with its faces drawn over it, their tracks as numbers, and an animation."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write, require_plain
from prnet.common.ordered import made_ahead
from prnet.configure.config import LANDMARK_COUNT
from prnet.reconstructing.animation import TrackRecord, animation_bytes
from prnet.reconstructing.drawing import draw_overlay
from prnet.reconstructing.face import Face
from prnet.reconstructing.look_ahead import Faces, smoothed_ahead
from prnet.reconstructing.settings import ON_BLACK, OutputSettings
from prnet.reconstructing.tables import csv_bytes
from prnet.reconstructing.video import FaceTracker
from prnet.reconstructing.video_files import Video, VideoFile, open_video, require_frames, require_whole

AHEAD = 4
"""Frames whose faces are found while those of others are drawn."""


@dataclass
class Tracks:
    """Numbers of all faces of a video, one entry for each face in each frame."""

    source: str  # the video's place
    rate: float  # frames per second
    first: int = 0  # number of the first frame in the file
    frames: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    angles: list[tuple[float, float, float]] = field(default_factory=list)
    expressions: list[dict[str, float] | None] = field(default_factory=list)
    moving: dict[int, TrackRecord] = field(default_factory=dict)

    def add(self, place: int, number: int, face: Face, frame: np.ndarray) -> None:
        """Take one face in. place : of its frame, (H, W, 3), after the first; number : of the face."""
        self.frames.append(self.first + place)
        self.numbers.append(number)
        self.landmarks.append(face.landmarks)
        self.angles.append((face.pose.pitch, face.pose.yaw, face.pose.roll))
        self.expressions.append(face.expressions)
        if face.parameters is not None and face.grid.shapes is not None:
            self.moving.setdefault(number, TrackRecord()).add(place / self.rate, face, frame)

    def npz_bytes(self) -> bytes:
        """Arrays of one row for each entry."""
        with io.BytesIO() as file:
            np.savez_compressed(
                file,
                frame=np.array(self.frames, np.int32),
                track=np.array(self.numbers, np.int32),
                landmarks=np.array(self.landmarks, np.float32).reshape(-1, LANDMARK_COUNT, 3),
                angles=np.array(self.angles, np.float32).reshape(-1, 3),
                rate=self.rate,
                source=self.source,
                **self._expression_arrays(),  # type: ignore[arg-type]  # NumPy's stubs know of no other names
            )
            return file.getvalue()

    def csv_bytes(self) -> bytes:
        """A table with a row for each entry: frame, seconds, track, angles, landmarks, expressions."""
        known = self._expression_arrays()
        columns = ["frame", "seconds", "track", "pitch", "yaw", "roll"]
        columns += [f"{axis}{number}" for number in range(LANDMARK_COUNT) for axis in "xyz"]
        columns += list(known.get("expression_names", ()))
        count = len(self.frames)
        rows = np.column_stack(
            [
                np.array(self.frames),
                np.array(self.frames) / self.rate,
                np.array(self.numbers),
                np.array(self.angles).reshape(-1, 3),
                np.array(self.landmarks).reshape(count, 3 * LANDMARK_COUNT),
                known.get("expressions", np.zeros((count, 0))),
            ]
        )
        return csv_bytes(",".join(columns), rows, ",".join(["%d", "%.4f", "%d", *["%.3f"] * (len(columns) - 3)]))

    def _expression_arrays(self) -> dict[str, np.ndarray]:
        """One row for each entry, and the columns' names; nothing where the network does not say."""
        known = [values for values in self.expressions if values]
        if not known:
            return {}
        return {
            "expressions": np.array([list(values.values()) for values in known], np.float32),
            "expression_names": np.array(list(known[0])),
        }


def write_video(reconstructor, path: Path, folder: Path, stem: str, settings: OutputSettings, boxes=None) -> str:
    """Write a video with its faces drawn over it, and their landmarks and poses. Returns a line of what was found."""
    if boxes is not None:
        raise UserError(f"{path}: boxes, landmarks and fits are for photos; a video's faces are detected and tracked")
    source, read = str(path.resolve()), 0
    _require_same_video(folder / f"{stem}_tracks.npz", None if settings.overwrite else source)
    with (
        open_video(path, settings.start, settings.end) as video,
        atomic_write(folder / f"{stem}_{settings.overlay}.mp4") as temporary,
    ):
        tracks = Tracks(source, video.rate, video.first)
        with VideoFile(temporary, video.rate, path, settings.start, settings.end) as result:
            tracked = made_ahead(_tracked(reconstructor, video, settings), AHEAD)
            for read, (frame, faces) in enumerate(_with_progress(tracked, video), 1):
                picture = np.zeros_like(frame) if settings.overlay in ON_BLACK else frame
                for number, face in faces:
                    picture = draw_overlay(picture, face, settings.overlay)
                    tracks.add(read - 1, number, face, frame)
                result.write(picture)
        require_frames(path, read)
        contents = {"_tracks.npz": tracks.npz_bytes(), "_tracks.csv": tracks.csv_bytes()}
        if tracks.moving:
            contents["_animated.glb"] = animation_bytes(tracks.moving)
        for ending, content in contents.items():
            with atomic_write(folder / f"{stem}{ending}") as file:
                file.write_bytes(content)
    if not tracks.numbers:
        raise UserError(f"{path}: no face found in {read} frames")
    require_whole(path, video, read, f"{folder / stem}*")
    found = f"{len(set(tracks.numbers))} face(s) in {len(set(tracks.frames))} of {read} frames"
    return f"{path}: {found}, {folder / stem}*"


def _require_same_video(tracks: Path, source: str | None) -> None:
    """Raise `UserError` where these tracks are no tracks, or, unless the source is None, of a video elsewhere."""
    if not tracks.exists():
        return
    try:
        require_plain(tracks)
        with np.load(tracks) as earlier:
            other = str(earlier["source"]) if "source" in earlier else source
            known = "landmarks" in earlier
    except Exception:  # a damaged file leads its reader to exceptions of many kinds
        known = False
    if not known:
        raise UserError(f"{tracks}: was not written by this program; choose another `output_folder`")
    if source and other != source:
        raise UserError(f"{source}: {tracks} is of {other}; choose another `output_folder`, or `overwrite`")


def _tracked(reconstructor, video: Video, settings: OutputSettings) -> Iterator[tuple[np.ndarray, Faces]]:
    """Frames with their numbered faces, smoothed as is asked for."""
    track = FaceTracker(reconstructor, smooth=settings.smooth, rate=video.rate)
    found = ((frame, track(frame)) for frame in video.frames)
    return smoothed_ahead(found, video.rate) if settings.look_ahead else found


def _with_progress(frames: Iterable, video: Video) -> Iterable:
    """A bar on standard error, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(frames, total=video.frame_count or None, unit="frame", disable=None, leave=False)
