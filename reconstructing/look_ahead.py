"""Smoothing of tracked faces with the frames after each: no lag, at the price of a delay."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from prnet.reconstructing.face import Face, place_face

REACH = 0.2
"""Seconds to each side that a frame's faces are smoothed over."""

WIDTH = 0.08
"""Standard deviation, in seconds, of the weights of the frames around."""

Faces = list[tuple[int, Face]]


def smoothed_ahead(frames: Iterable[tuple[np.ndarray, Faces]], rate: float) -> Iterator[tuple[np.ndarray, Faces]]:
    """Frames with their numbered faces, each smoothed over the same face in the frames before and after.

    A straight line is fitted through each number of the face over time, by least squares with Gaussian weights
    (Savitzky and Golay, 1964), and read off at the frame: a face that moves steadily stays where it is, also where its
    track begins or ends.
    """
    reach = max(round(REACH * rate), 1)
    window: deque[tuple[np.ndarray, Faces]] = deque(maxlen=2 * reach + 1)
    at = 0  # the place in the window of the next frame to hand on
    for frame in frames:
        full = len(window) == window.maxlen
        window.append(frame)
        at -= full
        if len(window) - at > reach:
            yield _smoothed(window, at, rate)
            at += 1
    for place in range(at, len(window)):
        yield _smoothed(window, place, rate)


def _smoothed(window: Sequence[tuple[np.ndarray, Faces]], at: int, rate: float) -> tuple[np.ndarray, Faces]:
    frame, faces = window[at]
    return frame, [(number, _smooth_face(window, at, number, face, rate)) for number, face in faces]


def _smooth_face(window, at: int, number: int, face: Face, rate: float) -> Face:
    found = [(place, dict(faces).get(number)) for place, (_, faces) in enumerate(window)]
    places, others = zip(*((place - at, other) for place, other in found if other is not None), strict=True)
    weights = line_weights(np.array(places) / rate)
    position_map = np.tensordot(weights, [other.position_map for other in others], 1).astype(np.float32)
    parameters = face.parameters
    if parameters is not None:
        parameters = parameters.smoothed(lambda _: weights @ [other.parameters.numbers for other in others])
    return place_face(position_map, face.box, face.to_crop, face.grid, parameters)


def line_weights(seconds: np.ndarray) -> np.ndarray:
    """Weights (n,) whose product with values at these times is, at time 0, the straight line fitted to them."""
    weights = np.exp(-0.5 * (seconds / WIDTH) ** 2)
    design = np.column_stack([np.ones_like(seconds), seconds])
    return np.linalg.pinv(design * np.sqrt(weights)[:, None])[0] * np.sqrt(weights)
