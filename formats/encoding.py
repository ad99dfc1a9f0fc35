"""Pictures to the bytes of image files. OpenCV's channel order, BGR, is nowhere else seen."""

import cv2
import numpy as np


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG of a picture (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8 or uint16: nothing is lost."""
    return _encode(".png", picture, [])


def encode_jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """A JPEG of a picture (H, W, 3) RGB or (H, W) grey, uint8. quality : 0 to 100."""
    return _encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(suffix: str, picture: np.ndarray, parameters: list[int]) -> bytes:
    if picture.ndim == 3:
        picture = picture[..., [2, 1, 0, 3][: picture.shape[2]]]
    encoded = cv2.imencode(suffix, picture, parameters)[1]
    return encoded.tobytes()
