"""Values spread from where they are known to where they are not, smoothly (pull-push: Gortler et al., The Lumigraph,
SIGGRAPH 1996, section 3.5)."""

import cv2
import numpy as np


def spread(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values (H, W, C) float32 that agree with the given ones where the weights (H, W), 0 to 1, are 1.

    Elsewhere they come from means over ever larger neighbourhoods. All zero where no weight is above 0.
    """
    weights = weights.astype(np.float32)
    height, width = weights.shape
    known = _scaled(values, weights)
    if max(height, width) > 1:
        size = (-(-width // 2), -(-height // 2))
        share = cv2.resize(weights, size, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(known, size, interpolation=cv2.INTER_AREA).reshape(*share.shape, -1)
        mean = coarse / np.maximum(share, 1e-12)[..., None]
        beyond = spread(mean, np.minimum(4 * share, 1))
        beyond = cv2.resize(beyond, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
        known = known + _scaled(beyond, 1 - weights)
    return known


def _scaled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return values * weights[..., None]
