"""Photos as Python programs hold them: a path, a picture of Pillow's or an array becomes one kind of array."""

import os

import numpy as np
from PIL import Image, ImageOps

from prnet.common.errors import UserError
from prnet.formats.photos import read_image

Photo = str | os.PathLike | Image.Image | np.ndarray
"""What is taken for a photo."""

ROUNDING = 1e-3
"""How far resampled colours may leave 0 to 1."""


def as_photo(photo: Photo) -> np.ndarray:
    """A photo as (H, W, 3) uint8 RGB; an array that is one already is returned itself.

    photo : the path of a file; a Pillow image, turned upright as its EXIF orientation says; or an array, (H, W) grey,
    (H, W, 3) RGB or (H, W, 4) RGB with opacity, which is laid on white: uint8, or floats in 0 to 1. Raises `UserError`
    for anything else, floats in 0 to 255 among it.
    """
    if isinstance(photo, (str, os.PathLike)):
        return read_image(photo)
    if isinstance(photo, Image.Image):
        return _of_picture(ImageOps.exif_transpose(photo))
    return _of_array(np.asarray(photo))


def _of_picture(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):
        return _of_array(np.asarray(picture, np.float32) / 65535)
    if picture.mode == "F":
        return _of_array(np.asarray(picture))
    return _of_array(np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB")))


def _of_array(photo: np.ndarray) -> np.ndarray:
    if photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] not in (1, 3, 4)) or photo.size == 0:
        raise UserError(f"a photo is an array (H, W, 3) of RGB, not one of shape {photo.shape}")
    if photo.dtype.kind == "f":
        _require_unit(photo)
    elif photo.dtype != np.uint8:
        raise UserError(f"a photo is an array of uint8, or of floats in 0 to 1, not of {photo.dtype}; convert it")
    if photo.ndim == 2:
        photo = photo[..., None]
    if photo.shape[2] == 4:
        photo = _on_white(photo)
    if photo.dtype != np.uint8:
        photo = np.rint(np.clip(photo, 0, 1) * 255).astype(np.uint8)
    return photo if photo.shape[2] == 3 else np.repeat(photo, 3, axis=2)


def _require_unit(photo: np.ndarray) -> None:
    low, high = float(photo.min()), float(photo.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise UserError(
            f"a photo of floats holds 0 to 1, but this one {low:.4g} to {high:.4g}; "
            "divide it by 255, or convert it to uint8"
        )


def _on_white(photo: np.ndarray) -> np.ndarray:
    unit = photo.astype(np.float32) / (255 if photo.dtype == np.uint8 else 1)
    return unit[..., :3] * unit[..., 3:] + (1 - unit[..., 3:])
