"""Photos of every kind become RGB uint8, or one clear line."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from prnet.common.errors import UserError
from prnet.formats import photos as images
from prnet.formats.photos import decode_image, read_image


def encoded(array, form="PNG", **options) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(array).save(file, form, **options)
        return file.getvalue()


@pytest.fixture(scope="module")
def colours():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def test_colour_is_kept(colours):
    np.testing.assert_array_equal(decode_image(encoded(colours), "x"), colours)


def test_grey_is_repeated(colours):
    grey = colours[..., 0]
    np.testing.assert_array_equal(decode_image(encoded(grey), "x"), np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_become_eight():
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(decode_image(encoded(levels), "x")[0, :, 1], [0, 1, 128, 255])


def test_transparent_parts_are_white(colours):
    alpha = np.zeros((5, 7, 1), np.uint8)
    alpha[0] = 255
    decoded = decode_image(encoded(np.concatenate([colours, alpha], axis=2)), "x")
    np.testing.assert_array_equal(decoded[0], colours[0])
    assert (decoded[1:] == 255).all()


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, -1)])
def test_exif_orientation_is_applied(orientation, quarter_turns):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8, :8] = 255
    exif = Image.Exif()
    exif[274] = orientation
    stored = encoded(picture, "JPEG", exif=exif, quality=100)
    assert np.abs(decode_image(stored, "x").astype(int) - np.rot90(picture, quarter_turns)).max() < 30


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (24, 24)])
def test_tiny_images(shape):
    assert decode_image(encoded(np.zeros((*shape, 3), np.uint8)), "x").shape == (*shape, 3)


def test_a_palette_and_cmyk():
    red = np.zeros((4, 4, 3), np.uint8) + np.uint8([255, 0, 0])
    for mode, form in (("P", "PNG"), ("CMYK", "TIFF")):
        with io.BytesIO() as file:
            Image.fromarray(red).convert(mode).save(file, form)
            np.testing.assert_array_equal(decode_image(file.getvalue(), "x"), red)


@pytest.mark.parametrize("cut", [0, 10, 200, -20])
def test_what_is_cut_short_is_refused_in_one_line(cut):
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), "JPEG")
    with pytest.raises(UserError, match="photo.jpg: ") as error:
        decode_image(whole[:cut], "photo.jpg")
    assert "\n" not in str(error.value)


def test_text_is_no_image(tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photo")
    with pytest.raises(UserError, match=r"notes\.jpg: not an image"):
        read_image(tmp_path / "notes.jpg")


def test_a_large_photo_is_refused_by_its_header():
    header = encoded(np.zeros((1, 1), np.uint8))
    at = header.index(b"IHDR") + 4
    for width, height in ((10_001, 10_000), (60_000, 60_000)):
        body = width.to_bytes(4, "big") + height.to_bytes(4, "big") + header[at + 8 : at + 13]
        checked = body + zlib.crc32(b"IHDR" + body).to_bytes(4, "big")
        with pytest.raises(UserError, match="larger than 100 megapixels"):
            decode_image(header[:at] + checked + header[at + 17 :], "x")


def test_the_limit_itself_is_read(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 35)
    assert decode_image(encoded(np.zeros((5, 7), np.uint8)), "x").shape == (5, 7, 3)
    with pytest.raises(UserError, match="larger than"):
        decode_image(encoded(np.zeros((6, 6), np.uint8)), "x")


@pytest.mark.large
def test_a_hundred_megapixels():
    photo = encoded(np.zeros((10_000, 10_000), np.uint8))
    assert decode_image(photo, "x").shape == (10_000, 10_000, 3)
