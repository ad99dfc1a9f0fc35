"""Encoded photos: verified from end to end, and decoded the same way everywhere."""

import io

import cv2
import numpy as np

from prnet.common.errors import OutOfMemory, UserError
from prnet.formats.photo_parts import require_few_parts

MAX_IMAGE_SIDE, MAX_IMAGE_PIXELS = 1 << 13, 1 << 25
"""Photos that claim more are refused before they are decoded."""


def check_image(content: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels of an encoded JPEG or PNG, whatever its file's suffix.

    Raises UserError, which calls the photo `name`, unless all of it is there and decodes to colour or grey. OpenCV
    would fill the missing part of a truncated JPEG with grey and say nothing.
    """
    from PIL import ImageFile, JpegImagePlugin, PngImagePlugin

    if content[:3] == b"\xff\xd8\xff":
        open_image: type[ImageFile.ImageFile] = JpegImagePlugin.JpegImageFile
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        open_image = PngImagePlugin.PngImageFile
    else:
        raise UserError(f"{name}: is not a JPEG or PNG")
    try:
        require_few_parts(content)
        image = open_image(io.BytesIO(content))
        width, height = image.size
        if max(width, height) > MAX_IMAGE_SIDE or width * height > MAX_IMAGE_PIXELS:
            raise UserError(f"{name}: claims {width} x {height} pixels, more than are read; make it smaller")
        if image.mode == "CMYK":
            raise UserError(f"{name}: is a CMYK image; save it as RGB")
        image.draft("L", (1, 1))  # an eighth of the size: the whole stream is read, little of it is computed
        image.load()
    except UserError:
        raise
    except MemoryError:
        raise OutOfMemory(f"{name}: takes more memory than there is; make it smaller") from None
    except Exception as error:  # a damaged image leads its reader to exceptions of many kinds
        raise UserError(f"{name}: is damaged or cut short: {error or type(error).__name__}") from None
    return height, width


def decode_image(content: bytes | memoryview, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an encoded photo, as stored: an orientation tag is not applied, since fits ignore it."""
    return _decoded(content, name, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def decode_grey(content: bytes | memoryview, name: str) -> np.ndarray:
    """(H, W) uint8 of an encoded grey picture."""
    return _decoded(content, name, cv2.IMREAD_GRAYSCALE)


def _decoded(content: bytes | memoryview, name: str, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if len(content) else None
    if image is None:
        raise UserError(f"{name}: cannot be decoded")
    return image
