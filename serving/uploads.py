"""Untrusted files: checked by their headers before anything is decoded, so that no small one costs much."""

import base64
import binascii
import io
import warnings
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat, whosmat

from prnet.formats.photos import decode_image
from prnet.serving.limits import Limits
from prnet.serving.problems import Problem

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are taken."""

MAT_HEADER_BYTES = 128
MAT_COMPRESSED = 15
"""The size of a version 5 header, and its type of a compressed element (MAT-File Format, chapter 1)."""

NUMERIC_CLASSES = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def decode_base64(text: str, name: str) -> bytes:
    """The bytes of a file in JSON. Raises `Problem` 400."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, f"{name}: not base64") from None


def read_photo(data: bytes, name: str, limits: Limits) -> np.ndarray:
    """A photo (H, W, 3) uint8 RGB, upright. Raises `Problem` 413 or 415, or `UserError` for a damaged one."""
    too_large = Problem(413, f"{name}: more than {limits.photo_pixels // 1_000_000} megapixels; reduce it first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
                pixels = image.width * image.height
    except Image.DecompressionBombError:
        raise too_large from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError):
        kinds = ", ".join(IMAGE_FORMATS)
        raise Problem(415, f"{name}: not an image that is taken here; send one of {kinds}") from None
    if pixels > limits.photo_pixels:
        raise too_large
    return decode_image(data, name)


def read_mat(data: bytes, wanted: tuple[str, ...], name: str, limits: Limits) -> dict[str, np.ndarray]:
    """Those of the wanted numeric arrays that a .mat file of version 5 holds, float64 or as stored.

    Cells, structs, objects and functions are never opened. Raises `Problem` 413, 415 or 422.
    """
    if data[:8] == b"\x89HDF\r\n\x1a\n" or data[:19] == b"MATLAB 7.3 MAT-file":
        raise Problem(415, f"{name}: a .mat file of version 7.3; save it with '-v7'")
    if len(data) < MAT_HEADER_BYTES or data[126:128] not in (b"IM", b"MI"):
        raise Problem(415, f"{name}: not a .mat file of version 5, 6 or 7")
    try:
        plain = _decompressed(data, name, limits)
        kinds = [(variable, kind) for variable, _, kind in whosmat(io.BytesIO(plain)) if variable in wanted]
        if any(kind not in NUMERIC_CLASSES for _, kind in kinds):
            raise Problem(422, f"{name}: an array that is needed is no plain array of numbers")
        found = loadmat(io.BytesIO(plain), variable_names=[variable for variable, _ in kinds])
    except Problem:
        raise
    except Exception as error:  # SciPy raises whatever the bytes make it trip over
        raise Problem(422, f"{name}: damaged ({type(error).__name__})") from error
    arrays = {variable: found[variable] for variable, _ in kinds}
    for variable, array in arrays.items():
        if not np.isrealobj(array) or not np.isfinite(array).all():
            raise Problem(422, f"{name}: {variable} holds values that are not finite numbers")
    return arrays


def _decompressed(data: bytes, name: str, limits: Limits) -> bytes:
    """The same file with every element inflated, its size checked on the way."""
    order = "little" if data[126:128] == b"IM" else "big"
    pieces, at, size = [data[:MAT_HEADER_BYTES]], MAT_HEADER_BYTES, MAT_HEADER_BYTES
    while at + 8 <= len(data):
        kind = int.from_bytes(data[at : at + 4], order)
        length = int.from_bytes(data[at + 4 : at + 8], order)
        element = data[at : at + 8 + length]
        if kind == MAT_COMPRESSED:
            inflate = zlib.decompressobj()
            element = inflate.decompress(element[8:], limits.mat_bytes - size + 1)
            complete = inflate.eof
        else:
            complete = len(element) == 8 + length
        size += len(element)
        if size > limits.mat_bytes:
            raise Problem(413, f"{name}: more than {limits.mat_bytes >> 20} MiB when decompressed")
        if not complete:
            raise Problem(422, f"{name}: cut short")
        pieces.append(element)
        at += 8 + length
    return b"".join(pieces)
