"""The server's decoder: the same pixels as Pillow's own means, and memory that its header promises."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from prnet.formats.photo_decoder import Room, TooLarge, bytes_needed, decode_photo
from prnet.serving.limits import Limits
from prnet.serving.uploads import IMAGE_FORMATS
from tests.helpers.photo_kinds import PHOTOS
from tests.helpers.serving_stand_in import image_file

ROOM = Room(1 << 40, 1 << 40)
QUICK = [
    "JPEG RGB 4:4:4 progressive",
    "PNG RGBA",
    "WEBP RGBA",
    "TIFF F raw",
    "TIFF of 64 x 64 in a tile of 8192 x 8192",
]
RANDOM = np.random.default_rng(0).integers(0, 256, (33, 47, 4), dtype=np.uint8)


def as_pillow_shows(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 by Pillow's own conversions of the whole image."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=IMAGE_FORMATS))
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float32)
        brightest = 65535.0 if image.mode.startswith("I") else max(float(grey.max()), 1.0)
        return np.repeat(np.rint(np.clip(grey / brightest, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.large) for name in PHOTOS]
)
def test_decoding_takes_what_the_header_promises(tmp_path, name):
    path = tmp_path / "photo"
    path.write_bytes(PHOTOS[name]())
    command = [sys.executable, "-m", "tests.helpers.photo_kinds", str(path)]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    taken, promised = map(int, result.stdout.split())
    assert taken <= promised, f"{taken / 12e6:.2f} bytes per pixel, {promised / 12e6:.2f} promised"
    assert promised < 2 * taken + (64 << 20)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("rows", [1 << 20, 100])
def test_pixels_are_those_of_the_whole_image(monkeypatch, mode, rows):
    monkeypatch.setattr("prnet.formats.photo_decoder.STRIP_PIXELS", rows)
    colour = Image.fromarray(RANDOM)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(RANDOM[..., 0].astype(kind) * 250)
    else:
        image = colour.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else colour.convert(mode)
    with io.BytesIO() as file:
        image.save(file, "TIFF")
        data = file.getvalue()
    np.testing.assert_array_equal(decode_photo(data, IMAGE_FORMATS, ROOM), as_pillow_shows(data))


@pytest.mark.parametrize("transparency", [3, b"\x00\x80\xff"])
def test_transparent_colours_are_laid_on_white(transparency):
    with io.BytesIO() as file:
        Image.fromarray(RANDOM[..., 0] % 5).convert("P").save(file, "PNG", transparency=transparency)
        data = file.getvalue()
    np.testing.assert_array_equal(decode_photo(data, IMAGE_FORMATS, ROOM), as_pillow_shows(data))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("rows", [1 << 20, 100])
def test_a_photo_is_turned_upright(monkeypatch, orientation, rows):
    monkeypatch.setattr("prnet.formats.photo_decoder.STRIP_PIXELS", rows)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = image_file(RANDOM[..., :3], "PNG", exif=exif)
    upright = decode_photo(data, IMAGE_FORMATS, ROOM)
    assert upright.flags.c_contiguous
    np.testing.assert_array_equal(upright, as_pillow_shows(data))


def test_numbers_that_are_none_are_black():
    values = np.float32([[0.5, np.nan], [1.0, np.inf]])
    with io.BytesIO() as file:
        Image.fromarray(values).save(file, "TIFF")
        photo = decode_photo(file.getvalue(), IMAGE_FORMATS, ROOM)
    assert photo.shape == (2, 2, 3)
    assert photo[0, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "mode", "megapixels"),
    [("JPEG", "RGB", 50), ("PNG", "RGBA", 50), ("TIFF", "RGB", 50), ("WEBP", "RGBA", 31), ("JPEG", "CMYK", 42)],
)
def test_the_servers_room_is_as_its_page_says(kind, mode, megapixels):
    """docs/serving.md states the megapixels."""
    with io.BytesIO() as file:
        Image.new(mode, (64, 64)).save(file, kind)
        with Image.open(io.BytesIO(file.getvalue()), formats=IMAGE_FORMATS) as image:
            image.load()
            image._size = (1000 * megapixels, 1000)
            assert bytes_needed(image) <= Limits.photo_bytes
            image._size = (1000 * (megapixels + 2), 1000)
            assert bytes_needed(image) > Limits.photo_bytes or image.width * image.height > Limits.photo_pixels


def test_what_needs_more_room_is_refused_before_it_is_decoded():
    data = image_file(RANDOM, "WEBP")
    with pytest.raises(TooLarge, match="megapixels of WEBP"):
        decode_photo(data, IMAGE_FORMATS, Room(1 << 40, 25 << 20 >> 1))
    with pytest.raises(TooLarge, match="more than 0 megapixels"):
        decode_photo(data, IMAGE_FORMATS, Room(1000, 1 << 40))


@pytest.mark.parametrize("bits", [12, 16])
def test_white_is_white_at_any_depth(bits):
    """A row of two grey pixels, white and black, packed as TIFF 6.0 has it; 12 bits are stored in 16 by no decoder."""
    row = {12: b"\xff\xf0\x00", 16: b"\xff\xff\x00\x00"}[bits]
    tags = [(256, 4, 1, 2), (257, 4, 1, 1), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 122)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, len(row))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + row
    np.testing.assert_array_equal(decode_photo(data, IMAGE_FORMATS, ROOM), [[[255] * 3, [0] * 3]])
