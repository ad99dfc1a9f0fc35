"""Photos from files and bytes: RGB uint8, upright, up to a size that is checked before anything is decoded."""

import os
from pathlib import Path

import numpy as np

from prnet.common.errors import OutOfMemory, UserError
from prnet.common.files import read_file
from prnet.formats.photo_decoder import NoPhoto, Room, TooLarge, decode_photo

ROOM = Room(pixels=100_000_000, bytes=1 << 31)
"""Photos that need more to be decoded are refused: 100 megapixels take 0.7 GB as JPEG or PNG."""

MAX_PHOTO_BYTES = 1 << 30

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read. It goes by content: unasked it would run Ghostscript on `photo.jpg`."""

IMAGE_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A photo from a file, (H, W, 3) uint8 RGB. Raises `UserError` where it cannot be read.

    >>> image = prnet.read_image("photo.jpg")
    >>> image.shape, image.dtype
    ((512, 512, 3), dtype('uint8'))
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder; give a photo' if Path(path).is_dir() else 'no such image file'}")
    return decode_image(read_file(path, MAX_PHOTO_BYTES), str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """A photo from the bytes of its file, (H, W, 3) uint8 RGB, upright (`photo_decoder.decode_photo`).

    name : what errors call it. Raises `UserError` for anything that is no whole image, or larger than `ROOM`, and of
    that `OutOfMemory`.
    """
    try:
        return decode_photo(data, IMAGE_FORMATS, ROOM)
    except TooLarge as error:
        raise UserError(f"{name}: {error}; reduce it first") from None
    except NoPhoto:
        raise UserError(f"{name}: not an image that can be read; convert it to JPEG or PNG") from None
    except MemoryError:
        raise OutOfMemory(f"{name}: takes more memory than there is; reduce it first") from None
    except Exception as error:  # a damaged image leads its reader to exceptions of many kinds
        reason = error or type(error).__name__
        raise UserError(f"{name}: damaged or cut short ({reason}); copy or export it again") from None
