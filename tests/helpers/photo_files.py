"""Files of small photos, of many parts each as their formats have them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def saved(kind: str, **options) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(PIXELS).save(file, kind, **options)
        return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*before: bytes) -> bytes:
    whole = saved("JPEG")
    return whole[:2] + b"".join(before) + whole[2:]


def jpeg_in_scans(width: int, height: int, scans: int, before_each: bytes = b"") -> bytes:
    """A grey progressive JPEG whose later scans say of long runs of blocks that nothing changes (ITU-T T.81, G.1.2)."""
    blocks = -(-width // 8) * -(-height // 8)
    head = segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    one_code = bytes([1] + [0] * 15)
    head += segment(0xC4, b"\x00" + one_code + b"\x00") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    runs = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return (
        b"\xff\xd8"
        + head
        + first
        + (before_each + segment(0xDA, b"\x01\x01\x00\x01\x3f\x10") + runs) * scans
        + b"\xff\xd9"
    )


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


def run_length_bmp(width: int, height: int) -> bytes:
    rows = b"\1\0\0\0" * height
    head = struct.pack(
        "<IHHIIiiHHIIiiII", 1078 + len(rows), 0, 0, 1078, 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0
    )
    return b"BM" + head + bytes(1024) + rows
