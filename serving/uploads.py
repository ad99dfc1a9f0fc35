"""Untrusted files: checked by their headers before anything is decoded, so that no small one costs much."""

import base64
import binascii

import numpy as np

from prnet.formats.mat_files import ArraysTooLarge, NotMatlab, read_mat_arrays
from prnet.formats.photo_decoder import NoPhoto, Room, TooLarge, decode_photo
from prnet.serving.limits import Limits
from prnet.serving.problems import RETRY_AFTER, Problem

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are taken."""


def decode_base64(text: str, name: str) -> bytes:
    """The bytes of a file in JSON. Raises `Problem` 400."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, f"{name}: not base64") from None


def read_photo(data: bytes, name: str, limits: Limits) -> np.ndarray:
    """A photo (H, W, 3) uint8 RGB, upright. Raises `Problem` 413, 415, 422 or 503."""
    try:
        return decode_photo(data, IMAGE_FORMATS, Room(limits.photo_pixels, limits.photo_bytes))
    except TooLarge as error:
        raise Problem(413, f"{name}: {error}; reduce it first") from None
    except NoPhoto:
        kinds = ", ".join(IMAGE_FORMATS)
        raise Problem(415, f"{name}: not an image that is taken here; send one of {kinds}") from None
    except MemoryError:
        raise Problem(503, f"{name}: the server has no memory for it; try again in a moment", RETRY_AFTER) from None
    except Exception as error:  # a damaged image leads its reader to exceptions of many kinds
        reason = str(error) if str(error).isprintable() else ""
        reason = reason[:200] or type(error).__name__
        raise Problem(422, f"{name}: damaged or cut short ({reason}); copy or export it again") from None


def read_mat(data: bytes, wanted: tuple[str, ...], name: str, limits: Limits) -> dict[str, np.ndarray]:
    """Those of the wanted arrays of real numbers that a .mat file of version 4 to 7 holds, as stored.

    Cells, structs, objects and functions are never opened. Raises `Problem` 413, 415 or 422.
    """
    try:
        arrays = read_mat_arrays(data, limits.mat_bytes)
    except NotMatlab as error:
        raise Problem(415, f"{name}: {error}") from None
    except ArraysTooLarge as error:
        raise Problem(413, f"{name}: {error}") from None
    except ValueError as error:
        raise Problem(422, f"{name}: {error}") from None
    found = {variable: arrays[variable] for variable in wanted if variable in arrays}
    for variable, array in found.items():
        if not np.isfinite(array).all():
            raise Problem(422, f"{name}: {variable} holds values that are not finite numbers")
    return found
