"""Photos decoded within a budget of bytes, known from their headers before anything is decoded."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import (  # these two formats too: where one that it may read is not loaded, Pillow loads all that it has
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)
from PIL.TiffImagePlugin import TiffImageFile

from prnet.formats.photo_parts import require_few_parts

ORIENTATION = 0x0112
"""EXIF's tag."""

STRIP_PIXELS, STRIP_BYTES = 1 << 20, 24 << 20
"""What is converted at once, and what that takes on the way."""

NARROW_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes per pixel of Pillow's images; those of other modes have 4."""

JPEG_BYTES, WEBP_BYTES = 2, 12
"""Per pixel, beside the image: JPEG's coefficients of each band, where its scans are many; libwebp's two canvases, and
the one that it hands over."""

TILE_WIDTH, TILE_HEIGHT, STRIP_HEIGHT, SAMPLES, BITS = 322, 323, 278, 277, 258
"""TIFF's tags."""


class TooLarge(Exception):
    """A photo has more pixels, or takes more memory, than it may; `str()` says how large it may be."""


class NoPhoto(Exception):
    """The bytes are of no format that is read."""


@dataclass(frozen=True)
class Room:
    """What a photo may take."""

    pixels: int
    bytes: int  # while it is decoded, beside its file


def decode_photo(data: bytes, formats: Sequence[str], room: Room) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file's bytes, turned upright as its EXIF orientation says.

    Grey becomes RGB, 16 bits become 8, transparent parts are laid on white; of an animation the first frame is taken.
    formats : Pillow's names of those that are read. Raises `TooLarge`, `NoPhoto`, `TooManyParts`, and whatever a
    damaged file leads Pillow to.
    """
    require_few_parts(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about files; what it cannot read ends in an exception
        try:
            image = Image.open(io.BytesIO(data), formats=tuple(formats))
        except UnidentifiedImageError:
            raise NoPhoto from None
        except Image.DecompressionBombError:
            raise TooLarge(f"more than {room.pixels // 1_000_000} megapixels") from None
        with image:
            require_room(image, room)
            return rgb_array(image)


def require_room(image: Image.Image, room: Room) -> None:
    """Raise `TooLarge` where decoding an opened image would take more than it may."""
    pixels, needed = image.width * image.height, bytes_needed(image)
    if pixels > room.pixels:
        raise TooLarge(f"more than {room.pixels // 1_000_000} megapixels")
    if needed > room.bytes:
        kind = f"{pixels / 1e6:.1f} megapixels of {image.format} ({image.mode})"
        raise TooLarge(f"{kind} take {needed >> 20} MiB to decode, more than {room.bytes >> 20}")


def bytes_needed(image: Image.Image) -> int:
    """Memory that decoding an opened image takes at most, beside its file: what `tests/test_photo_decoder.py` measures
    lies below, for each format, mode and depth."""
    pixels, own, bands = image.width * image.height, NARROW_MODES.get(image.mode, 4), len(image.getbands())
    decoder = 0
    if image.format in ("JPEG", "MPO"):
        decoder = pixels * JPEG_BYTES * bands
    elif image.format == "WEBP":
        decoder = pixels * WEBP_BYTES
    elif isinstance(image, TiffImageFile):
        decoder = _tiff_buffer(image, bands)
    return pixels * own + max(pixels * 3, decoder) + STRIP_BYTES


def _tiff_buffer(image: TiffImageFile, bands: int) -> int:
    """What libtiff takes for a tile or a strip, which may be larger than the image."""
    tags = image.tag_v2
    area = int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_HEIGHT, 0))
    area = area or image.width * min(int(tags.get(STRIP_HEIGHT, image.height)), image.height)
    each = max(max(tags.get(BITS, (1,))) * int(tags.get(SAMPLES, 1)) / 8, 4)
    return int(area * (each + (JPEG_BYTES * bands if image.info.get("compression") == "jpeg" else 0)))


def rgb_array(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an opened image, upright. Strip by strip: beside the image there is one array only."""
    orientation = image.getexif().get(ORIENTATION, 1)
    image.load()
    width, height = image.size
    brightest, rows = _brightest(image), max(STRIP_PIXELS // width, 1)
    if rows >= height and orientation not in range(2, 9):
        return _rgb(image, brightest)
    upright = np.empty((width, height, 3) if orientation in (5, 6, 7, 8) else (height, width, 3), np.uint8)
    stored = _as_stored(upright, orientation)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip.info = image.info
        stored[top : top + rows] = _rgb(strip, brightest)
    return upright


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The view of an upright photo that has the rows and columns of its file (EXIF 2.3, tag 0112)."""
    views = {
        2: lambda: upright[:, ::-1],
        3: lambda: upright[::-1, ::-1],
        4: lambda: upright[::-1],
        5: lambda: upright.transpose(1, 0, 2),
        6: lambda: np.rot90(upright),
        7: lambda: upright[::-1, ::-1].transpose(1, 0, 2),
        8: lambda: np.rot90(upright, -1),
    }
    return views.get(orientation, lambda: upright)()


def _brightest(image: Image.Image) -> float:
    """What white is in an image of more than 8 bits."""
    if image.mode.startswith("I"):
        bits = max(image.tag_v2.get(BITS, (16,))) if isinstance(image, TiffImageFile) else 16
        return float((1 << min(bits, 16)) - 1)
    return max(float(np.nan_to_num(image.getextrema()[1])), 1.0) if image.mode == "F" else 255.0


def _rgb(image: Image.Image, brightest: float) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
        return np.repeat(np.rint(np.clip(grey / brightest, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
