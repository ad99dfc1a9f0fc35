"""Smoothing of position maps that are free at every texel, and so as rough as their errors are."""

import cv2
import numpy as np


def smooth_map(position_map: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    """A position map whose face is smoothed by a Gaussian over the face alone; its other texels stay.

    position_map : (S, S, 3) float32. mask : (S, S) bool, texels of the face. width : standard deviation in texels. Each
    texel becomes a mean of those of the face around it, so a plane stays a plane except at its rim.
    """
    face = mask.astype(np.float32)
    weights, sums = (
        cv2.GaussianBlur(array, (0, 0), width, borderType=cv2.BORDER_CONSTANT)
        for array in (face, position_map * face[..., None])
    )
    smooth = position_map.copy()
    smooth[mask] = sums[mask] / weights[mask][:, None]
    return smooth
