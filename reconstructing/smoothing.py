"""The one-euro filter against jitter (Casiez, Roussel and Vogel, CHI 2012): slow motion is smoothed, fast followed."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Smoothing:
    """Settings of the filter, for signals in face sides (the mean side of the box around the landmarks)."""

    least_cutoff: float = 1.0  # hertz, of a signal that rests
    speed_factor: float = 4.0  # hertz per face side and second
    speed_cutoff: float = 1.0  # hertz, of the estimate of the speed


SMOOTHING = Smoothing()


class OneEuroFilter:
    """Filters arrays of one shape, each element on its own, frame after frame (the paper's algorithm 1)."""

    def __init__(self, settings: Smoothing = SMOOTHING):
        self._settings = settings
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def __call__(self, value: np.ndarray, seconds: float, unit: float = 1.0) -> np.ndarray:
        """The filtered value. seconds : since the call before, above 0. unit : length of one face side."""
        if self._value is None or self._speed is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        settings = self._settings
        speed = (value - self._value) / np.float32(seconds * unit)
        self._speed = self._speed + (speed - self._speed) * _weight(settings.speed_cutoff, seconds)
        cutoff = settings.least_cutoff + settings.speed_factor * np.abs(self._speed)
        self._value = self._value + (value - self._value) * _weight(cutoff, seconds)
        return self._value


def _weight(cutoff, seconds: float):
    """Share of a new value in an exponential average with this cutoff in hertz (equations 4 and 5)."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))
