"""Photos of every kind become RGB uint8, or one clear line."""

import io
import os
import sys
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from prnet.common.errors import UserError
from prnet.formats import photos as images
from prnet.formats.photo_decoder import Room
from prnet.formats.photos import IMAGE_FORMATS, decode_image, read_image
from tests.helpers.damaged_files import damage, examine


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
        with pytest.raises(UserError, match="more than 100 megapixels"):
            decode_image(header[:at] + checked + header[at + 17 :], "x")


def test_the_limit_itself_is_read(monkeypatch):
    monkeypatch.setattr(images, "ROOM", Room(35, 1 << 30))
    assert decode_image(encoded(np.zeros((5, 7), np.uint8)), "x").shape == (5, 7, 3)
    with pytest.raises(UserError, match="more than"):
        decode_image(encoded(np.zeros((6, 6), np.uint8)), "x")


@pytest.mark.large
def test_a_hundred_megapixels():
    photo = encoded(np.zeros((10_000, 10_000), np.uint8))
    assert decode_image(photo, "x").shape == (10_000, 10_000, 3)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n0 0 90 90 rectfill\nshowpage\n%%EOF\n"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Ghostscript is a shell script")
def test_a_photo_that_holds_postscript_starts_no_ghostscript(tmp_path, monkeypatch):
    ghostscript, started = tmp_path / "gs", tmp_path / "started"
    ghostscript.write_text(f"#!/bin/sh\ntouch {started}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    (tmp_path / "photo.jpg").write_bytes(EPS)
    with pytest.raises(UserError, match=r"photo\.jpg: not an image that can be read; convert it to JPEG or PNG$"):
        read_image(tmp_path / "photo.jpg")
    assert not started.exists()


def in_every_format(picture: Image.Image) -> dict[str, bytes]:
    """A picture in each format that Pillow can write."""
    Image.init()
    written = {}
    for form in Image.SAVE:
        with io.BytesIO() as file:
            try:
                picture.save(file, form)
            except Exception:  # a format that needs something of its own
                continue
            written[form] = file.getvalue()
    return written


def test_only_the_formats_that_are_named_are_read(colours):
    written = in_every_format(Image.fromarray(np.tile(colours, (10, 10, 1)))) | {"EPS": EPS}
    assert set(IMAGE_FORMATS) <= set(written)
    for form, content in written.items():
        if form in (*IMAGE_FORMATS, "MPO"):  # MPO is a JPEG with more behind it
            assert decode_image(content, form).shape == (50, 70, 3)
        else:
            with pytest.raises(UserError, match=f"^{form}: not an image that can be read"):
                decode_image(content, form)


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.large)])
def test_damaged_pictures_in_every_format_are_read_or_refused(tmp_path, colours, count):
    sources = [*in_every_format(Image.fromarray(np.tile(colours, (10, 10, 1)))).values(), EPS]
    for number in range(count):
        path = tmp_path / "photo.jpg"
        path.write_bytes(damage(sources[number % len(sources)], np.random.default_rng([0, number])))
        assert examine(read_image, path) is None, number
