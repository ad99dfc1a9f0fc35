"""How far mouths and eyes open, which the mean error of 68 landmarks hardly sees: a mouth that stays shut costs it
little.
"""

from dataclasses import dataclass

import numpy as np

from prnet.configure.config import EYELID_PAIRS, INNER_LIP_PAIRS
from prnet.evaluating.nme import distances, root_box_area

PARTS = {"mouth": INNER_LIP_PAIRS, "eyes": EYELID_PAIRS}
"""The pairs of landmarks above each other whose mean distance is the gap of the lips and the aperture of the eyes."""

STATEMENT = (
    "Mouth and eyes: slope (least squares of predicted against true), correlation, mean absolute error in per cent. "
    "Gap of the mouth: mean 2D distance of landmarks 61-67, 62-66 and 63-65; aperture of the eyes: of 37-41, 38-40, "
    "43-47 and 44-46 (0-based); both in per cent of the root of the area of the box around the 68 true landmarks. Over "
    "the images with a result. Perfect is 1 / 1 / 0; a constant answer has slope 0."
)


def opening(landmarks: np.ndarray, part: str, size: np.ndarray | float) -> np.ndarray:
    """Gap of the mouth or aperture of the eyes in per cent of `size`.

    landmarks : (..., 68, 2 or 3) pixels. part : of `PARTS`. size : (...) pixels, `root_box_area` of the true
    landmarks. Returns (...).
    """
    above, below = np.array(PARTS[part]).T
    apart = landmarks[..., above, :2] - landmarks[..., below, :2]
    return 100.0 * distances(apart).mean(axis=-1) / size


@dataclass(frozen=True)
class Agreement:
    """Predicted against true openings over images; NaN where it is not defined."""

    slope: float
    correlation: float
    error: float  # mean absolute, per cent of the root of the true box

    @property
    def text(self) -> str:
        """The three as a table shows them; without an image nothing."""
        numbers = (self.slope, self.correlation, self.error)
        return "" if np.isnan(self.error) else " / ".join("-" if np.isnan(n) else f"{n:.2f}" for n in numbers)


def agreement(predicted: np.ndarray, truth: np.ndarray) -> Agreement:
    """How well openings (N,) follow the true ones (N,). An image where either is not finite does not count."""
    known = np.isfinite(predicted) & np.isfinite(truth)
    if not known.any():
        return Agreement(np.nan, np.nan, np.nan)
    error = float(np.abs(predicted[known] - truth[known]).mean())
    from_mean, true_from_mean = (values[known] - values[known].mean() for values in (predicted, truth))
    covariance, spread, true_spread = from_mean @ true_from_mean, from_mean @ from_mean, true_from_mean @ true_from_mean
    return Agreement(_ratio(covariance, true_spread), _ratio(covariance, np.sqrt(spread * true_spread)), error)


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 1e-12 else float("nan")


def landmark_openings(landmarks: np.ndarray, true_landmarks: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predicted and true openings (N,) of each part, in per cent of the roots of the true boxes.

    landmarks, true_landmarks : (N, 68, 2 or 3) pixels, NaN where an image has none.
    """
    size = root_box_area(true_landmarks)
    return {part: (opening(landmarks, part, size), opening(true_landmarks, part, size)) for part in PARTS}


def landmark_agreements(landmarks: np.ndarray, true_landmarks: np.ndarray) -> dict[str, Agreement]:
    """`agreement` of mouth and eyes. Arrays as of `landmark_openings`."""
    return {part: agreement(*pair) for part, pair in landmark_openings(landmarks, true_landmarks).items()}
