"""How often each sample is drawn: rare faces (open mouths, closed eyes, profiles) more often than they occur."""

from collections.abc import Sequence

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import EYELID_PAIRS, INNER_LIP_PAIRS, OUTER_EYE_CORNERS
from prnet.generating.dataset import Dataset
from prnet.geometry.face_model import FaceModel, at_landmarks

BINS = 20
MAX_WEIGHT = 8.0
"""Of a sample, beside a mean of about 1: what is rarer still is not repeated more often."""


def sampling_weights(dataset: Dataset, model: FaceModel, balance: float) -> np.ndarray:
    """Weights (N,) to draw samples with. balance : 0, all alike, to 1, evenly in what is rarest about each.

    Gap, aperture (both over the distance of the outer eye corners, in 3D) and |yaw| are counted in bins; a sample's
    weight is the even share of a bin over the share of its own, the greatest of the three. Raises UserError where the
    data set holds no fits.
    """
    if balance == 0:
        return np.ones(len(dataset))
    if dataset.coefficients is None:
        raise UserError(f"{dataset.path}: holds no fits to balance expressions by; build it in data mode 5")
    coefficients = np.asarray(dataset.coefficients)
    opened = (openness(model, coefficients, pairs) for pairs in (INNER_LIP_PAIRS, EYELID_PAIRS))
    rarest = np.max([rarity(measure) for measure in (*opened, np.abs(dataset.yaw))], axis=0)
    return (1 - balance) + balance * rarest


def openness(model: FaceModel, coefficients: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Mean 3D distance of pairs of landmarks over that of the outer eye corners, (N,). coefficients : (N, K)."""
    landmarks = _landmarks(model, coefficients)
    return _distance(landmarks, pairs) / _distance(landmarks, (OUTER_EYE_CORNERS,))


def _landmarks(model: FaceModel, coefficients: np.ndarray) -> np.ndarray:
    """(N, 68, 3) in model units."""
    basis = np.concatenate(
        [at_landmarks(model, model.shape_basis), at_landmarks(model, model.expression_basis)], axis=2
    )
    return np.einsum("lck,nk->nlc", basis, coefficients, optimize=True) + at_landmarks(model, model.mean)


def _distance(landmarks: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    first, second = np.transpose(pairs)
    return np.linalg.norm(landmarks[:, first] - landmarks[:, second], axis=-1).mean(axis=1)


def rarity(measure: np.ndarray) -> np.ndarray:
    """Even share of a bin over the share of each value's own, (N,), at most `MAX_WEIGHT`."""
    low, high = np.percentile(measure, (0.5, 99.5))
    place = np.clip((measure - low) / max(high - low, 1e-12) * BINS, 0, BINS - 1).astype(int)
    share = np.bincount(place, minlength=BINS) / len(measure)
    return np.minimum(1 / (BINS * share[place]), MAX_WEIGHT)
