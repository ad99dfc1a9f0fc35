"""Photos of ordinary size in so many parts that reading them would take seconds to hours."""

import time
import zlib

import pytest

from prnet.common.errors import UserError
from prnet.formats.image_files import check_image
from prnet.formats.photos import decode_image
from tests.helpers.photo_files import chunk, jpeg, jpeg_in_scans, png, run_length_bmp, saved, segment, tiff

SECONDS = 1.0
"""Of processor time; what is refused takes a hundredth, what was read before took 5 s and more."""


PROFILE = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20)))
SLOW = {
    "JPEG of 400 scans": jpeg_in_scans(5000, 5000, 400),
    "JPEG of 400 scans, ends between": jpeg_in_scans(5000, 5000, 400, segment(0xFE, b"\xff\xd9")),
    "JPEG of many segments of Exif": jpeg(segment(0xE1, b"Exif\0\0" + bytes(12)) * 50_000),
    "JPEG of many comments": jpeg(segment(0xFE, b"") * 1_000_000),
    "JPEG of many profiles": jpeg(segment(0xE2, b"") * 1_000_000),
    "JPEG filled up": jpeg(b"\xff" * 4_000_000),
    "PNG of many profiles": png(PROFILE * 1_500),
    "PNG of many texts": png(chunk(b"tEXt", b"a\0b") * 500_000),
    "PNG with parts behind": png(after=chunk(b"abCd", b"") * 500_000),
    "PNG of empty parts": png(chunk(b"IDAT", b"") * 2_000_000),
    "TIFF of many strips": tiff(1_000_000),
    "TIFF of many strips, big-endian": tiff(1_000_000, ">"),
    "BMP, run-length encoded": run_length_bmp(20_000, 2_000),
    "plain PPM of many comments": b"P3\n100 100\n255\n" + b"#\n" * 300_000 + b"1 " * 30_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_photos_of_too_many_parts_are_refused_at_once(name):
    readers = [decode_image] + [check_image] * name.startswith(("JPEG", "PNG"))
    for read in readers:
        start = time.process_time()
        with pytest.raises(UserError, match="more than|run-length"):
            read(SLOW[name], "photo")
        assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(saved("JPEG", progressive=True, icc_profile=bytes(200_000), comment=b"c"), id="progressive"),
        pytest.param(jpeg(segment(0xE1, b"Exif\0\0" + bytes(12)), *[segment(0xFE, b"c")] * 900), id="comments"),
        pytest.param(jpeg(b"\xff\xff\xff"), id="fill"),
        pytest.param(saved("JPEG") + b"\xff\xda\0\4" * 1000, id="a film behind"),
        pytest.param(png() + bytes(100_000), id="zeros behind"),
        pytest.param(png(PROFILE, *[chunk(b"tEXt", b"a\0b")] * 900), id="texts"),
        pytest.param(png(*[chunk(b"IDAT", b"")] * 50_000), id="empty parts"),
        pytest.param(saved("TIFF", tiffinfo={270: "d" * 200_000}), id="a long description"),
        pytest.param(saved("BMP"), id="BMP"),
        pytest.param(b"P3\n# one\n8 8\n255\n" + b"1 " * 192, id="plain PPM"),
    ],
)
def test_photos_of_many_parts_are_read(content):
    decode_image(content, "photo")


def test_scans_within_the_limit_are_read():
    assert decode_image(jpeg_in_scans(800, 800, 98), "photo").shape == (800, 800, 3)
    with pytest.raises(UserError, match="more than 100 scans"):
        decode_image(jpeg_in_scans(800, 800, 100), "photo")  # and the first
