"""Photos from files and bytes: RGB uint8, upright, up to a size that is checked before anything is decoded."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from prnet.common.errors import UserError

MAX_PIXELS = 100_000_000
"""Photos with more are refused: 100 megapixels take 0.3 GB decoded."""

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read. It goes by content: unasked it would run Ghostscript on `photo.jpg`."""

IMAGE_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def read_image(path) -> np.ndarray:
    """A photo from a file, (H, W, 3) uint8 RGB. Raises `UserError` where it cannot be read.

    >>> image = prnet.read_image("photo.jpg")
    >>> image.shape, image.dtype
    ((512, 512, 3), dtype('uint8'))
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such image file")
    return decode_image(path.read_bytes(), str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """A photo from the bytes of its file, (H, W, 3) uint8 RGB, turned upright as its EXIF orientation says.

    Grey becomes RGB, 16 bits become 8, transparent parts are laid on white; of an animation the first frame is taken.
    name : what errors call it. Raises `UserError` for anything that is no whole image, or larger than `MAX_PIXELS`.
    """
    too_large = f"{name}: larger than {MAX_PIXELS // 1_000_000} megapixels; reduce it first"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UserError(too_large)
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)
    except Image.DecompressionBombError:
        raise UserError(too_large) from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: not an image that can be read; convert it to JPEG or PNG") from None
    except UserError:
        raise
    except Exception as error:  # a damaged image leads its reader to exceptions of many kinds
        reason = error or type(error).__name__
        raise UserError(f"{name}: damaged or cut short ({reason}); copy or export it again") from None


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float32)
        brightest = 65535.0 if image.mode.startswith("I") else max(float(grey.max()), 1.0)
        return np.repeat(np.rint(np.clip(grey / brightest, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
