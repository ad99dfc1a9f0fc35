"""Videos read frame by frame, and written: H.264 with the sound where FFmpeg is installed, else MPEG-4 Part 2."""

import logging
import math
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from prnet.common.errors import UserError, printable

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"))

DEFAULT_RATE = 25.0
"""Frames per second where a video does not say."""

QUALITY = "18"
"""x264's constant rate factor: lower is better; from 18 on the eye sees no loss."""

ADVICE = "for H.264 with sound: pip install 'prnet[video]'"

CLOSING = 120.0
"""Seconds that the encoder may take for what it still holds when the last frame is written."""


@dataclass(frozen=True)
class Video:
    """An open video."""

    frames: Iterator[np.ndarray]  # (H, W, 3) uint8 RGB each
    rate: float  # frames per second
    frame_count: int  # as the file promises, of the part that is asked for; 0 where it does not say
    first: int = 0  # number of the first frame, from the file's begin


@contextmanager
def open_video(path, start: float = 0.0, end: float | None = None):
    """Open a video file as a `Video`. Raises `UserError` where it cannot be read.

    start, end : seconds; frames before and from there on are left out.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such video file")
    if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise UserError(f"{path}: `start` {start:g} and `end` {end} are seconds, the end after the start")
    _require_utf8(path)
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UserError(f"{path}: not a video that can be read, or cut short; convert it to MP4")
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else DEFAULT_RATE
        count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        first, last = _frame_at(start, rate), count if end is None else _frame_at(end, rate)
        promised = max(min(last, count) - first, 0) if count else 0
        yield Video(_frames(capture, first, None if end is None else last), rate, promised, first)
    finally:
        capture.release()


def _frame_at(seconds: float, rate: float) -> int:
    """The first frame that is shown at this time or after it."""
    return int(np.ceil(seconds * rate - 1e-6))


def _frames(capture, first: int, last: int | None) -> Iterator[np.ndarray]:
    """Frames from the first on, all read one after the other: few containers can be entered at an exact frame."""
    number = 0
    while last is None or number < last:
        if number < first:
            if not capture.grab():
                return
        else:
            read, frame = capture.read()
            if not read:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        number += 1


def require_frames(path, read: int) -> None:
    """Raise `UserError` where a video gave none."""
    if read == 0:
        raise UserError(f"{path}: holds no frame that can be read; convert it to MP4, or start earlier")


def require_whole(path, video: Video, read: int, written) -> None:
    """Raise `UserError`, which says where the result is, where a video gave fewer frames than its file promises."""
    if read < video.frame_count:
        raise UserError(f"{path}: cut short, {read} of {video.frame_count} frames; these are in {written}")


class VideoFile:
    """An MP4 file that frames (H, W, 3) uint8 RGB of one size go into.

    With FFmpeg (the package imageio-ffmpeg) it is H.264 with yuv420p, which browsers play, and has the sound of
    `sound`, a video, between `start` and `end` seconds, and a comment in its metadata. Without, it is MPEG-4 Part 2
    without both; the log says so.
    """

    def __init__(self, path, rate: float, sound=None, start: float = 0.0, end: float | None = None, comment=None):
        _require_utf8(path)
        self._path, self._rate, self._sound, self._part, self._comment = path, rate, sound, (start, end), comment
        self._writer: _Encoder | _OpenCvWriter | None = None

    def __enter__(self):
        return self

    def write(self, frame: np.ndarray) -> None:
        if self._writer is None:
            self._writer = self._open(*frame.shape[:2])
        self._writer.write(frame)

    def _open(self, height: int, width: int):
        ffmpeg = find_ffmpeg()
        if ffmpeg is not None:
            heard = self._sound is not None and _has_sound(ffmpeg, self._sound)
            sound = _part_of(self._sound, *self._part) if heard else []
            return _Encoder(ffmpeg, self._path, self._rate, height, width, sound, self._comment)
        name = printable(str(self._sound or self._path))
        logger.info(f"{name}: written without sound, as MPEG-4 Part 2, which browsers do not play; {ADVICE}")
        return _OpenCvWriter(self._path, self._rate, height, width)

    def __exit__(self, kind, *_):
        if self._writer is not None:
            self._writer.close(failed=kind is not None)


def find_ffmpeg() -> str | None:
    """FFmpeg of the package imageio-ffmpeg; None where that is not installed."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


def _has_sound(ffmpeg: str, path) -> bool:
    """Whether FFmpeg finds sound in a file that it can read."""
    first = ["-map", "0:a:0", "-t", "0.1", "-f", "null", "-"]
    probe = subprocess.run([ffmpeg, "-nostdin", "-v", "quiet", "-i", _as_file(path), *first], check=False)
    return probe.returncode == 0


def _part_of(path, start: float, end: float | None) -> list[str]:
    """FFmpeg's options for a part of a file as its input."""
    length = [] if end is None else ["-t", f"{end - start:.6f}"]
    return ["-ss", f"{start:.6f}", *length, "-i", _as_file(path)]


class _OpenCvWriter:
    def __init__(self, path, rate: float, height: int, width: int):
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), code, rate, (width, height))
        if not self._writer.isOpened():
            raise UserError(f"{path}: cannot be written as an MP4 video")

    def write(self, frame: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self, failed: bool) -> None:
        self._writer.release()


class _Encoder:
    """FFmpeg as a process that raw frames are piped into."""

    def __init__(self, ffmpeg: str, path, rate: float, height: int, width: int, sound: list[str], comment: str | None):
        self._path = path
        self._remarks = tempfile.TemporaryFile()  # noqa: SIM115
        frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:.6f}", "-i", "-"]
        mapped = ["-map", "0:v", *(["-map", "1:a:0", "-c:a", "aac"] if sound else [])]
        picture = ["-c:v", "libx264", "-crf", QUALITY, "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        said = [] if comment is None else ["-metadata", f"comment={comment}", "-metadata", f"description={comment}"]
        even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]  # yuv420p has no odd sides
        self._process = subprocess.Popen(
            [ffmpeg, "-nostdin", "-y", "-loglevel", "error", *frames, *sound, *mapped, *picture, *even, *said]
            + ["-movflags", "+faststart", "-f", "mp4", _as_file(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._remarks,
        )

    def write(self, frame: np.ndarray) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            raise self._error() from None

    def close(self, failed: bool) -> None:
        if failed:
            self._process.kill()
        try:
            self._process.communicate(timeout=CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._remarks:
            if self._process.returncode and not failed:
                raise self._error()

    def _error(self) -> UserError:
        self._remarks.seek(0)
        lines = self._remarks.read().decode(errors="replace").strip().splitlines() or ["it stopped"]
        return UserError(f"{self._path}: cannot be encoded: {printable(lines[-1])}")


def _as_file(path) -> str:
    """A name that FFmpeg takes for neither an option nor an address."""
    return f"file:{Path(path).absolute()}"


def _require_utf8(path) -> None:
    """OpenCV crashes at other names."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: the name is not UTF-8, which videos need; rename it") from None
