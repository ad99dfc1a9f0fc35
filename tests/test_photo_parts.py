"""Photos of ordinary size in so many parts that reading them would take seconds to hours."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from prnet.common.errors import UserError
from prnet.formats.image_files import check_image
from prnet.formats.photos import decode_image

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
SECONDS = 1.0
"""Of processor time; what is refused takes a hundredth, what was read before took 5 s and more."""


def saved(kind: str, **options) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(PIXELS).save(file, kind, **options)
        return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*before: bytes) -> bytes:
    whole = saved("JPEG")
    return whole[:2] + b"".join(before) + whole[2:]


def jpeg_in_scans(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG whose later scans say of long runs of blocks that nothing changes (ITU-T T.81, G.1.2)."""
    blocks = -(-width // 8) * -(-height // 8)
    head = segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    one_code = bytes([1] + [0] * 15)
    head += segment(0xC4, b"\x00" + one_code + b"\x00") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    runs = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + head + first + (segment(0xDA, b"\x01\x01\x00\x01\x3f\x10") + runs) * scans + b"\xff\xd9"


def png(*before: bytes, after: bytes = b"") -> bytes:
    whole = saved("PNG")
    return whole[:33] + b"".join(before) + whole[33:-12] + after + whole[-12:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(strips: int, order: str = "<") -> bytes:
    """Two grey pixels, said to lie in so many strips."""
    tags = [(256, 4, 1, 1), (257, 4, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 3, strips, 122)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + b"".join(struct.pack(order + "HHII", *tag) for tag in tags) + bytes(4) + bytes([9, 0]) * strips


def bmp_by_run_lengths(width: int, height: int) -> bytes:
    rows = b"\1\0\0\0" * height
    head = struct.pack(
        "<IHHIIiiHHIIiiII", 1078 + len(rows), 0, 0, 1078, 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0
    )
    return b"BM" + head + bytes(1024) + rows


PROFILE = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20)))
SLOW = {
    "JPEG of 400 scans": jpeg_in_scans(5000, 5000, 400),
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
    "BMP by run lengths": bmp_by_run_lengths(20_000, 2_000),
    "plain PPM of many comments": b"P3\n100 100\n255\n" + b"#\n" * 300_000 + b"1 " * 30_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_photos_of_too_many_parts_are_refused_at_once(name):
    readers = [decode_image] + [check_image] * name.startswith(("JPEG", "PNG"))
    for read in readers:
        start = time.process_time()
        with pytest.raises(UserError, match="more than|run lengths"):
            read(SLOW[name], "photo")
        assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(saved("JPEG", progressive=True, icc_profile=bytes(200_000), comment=b"c"), id="progressive"),
        pytest.param(jpeg(segment(0xE1, b"Exif\0\0" + bytes(12)), *[segment(0xFE, b"c")] * 900), id="comments"),
        pytest.param(jpeg(b"\xff\xff\xff"), id="fill"),
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
