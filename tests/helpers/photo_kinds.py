"""Image files of every format, mode and depth that the server takes, and what decoding each takes:
`python -m tests.helpers.photo_kinds FILE` says bytes at the peak, and those that the header promises."""

import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

WIDTH, HEIGHT = 4000, 3000
TILE = (HEIGHT // 16 * 16 + 16, WIDTH)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
RAMP = np.tile((np.arange(WIDTH) % 251).astype(np.uint8), (HEIGHT, 1))
DEEP = {"I;16": np.uint16, "I": np.int32, "F": np.float32}


def saved(kind: str, mode: str, **options) -> bytes:
    grey = Image.fromarray(RAMP)
    if mode in DEEP:
        image = Image.fromarray(RAMP.astype(DEEP[mode]) * 200)
    else:
        image = (
            grey.convert(mode)
            if mode in ("1", "P")
            else Image.merge(mode, [grey] * len(Image.new(mode, (1, 1)).getbands()))
        )
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("JPEG", "RGB", exif=exif)


def deep_png(channels: int) -> bytes:
    return cv2.imencode(".png", np.repeat(RAMP[..., None], channels, axis=2).astype(np.uint16) * 257)[1].tobytes()


def interlaced_png(colour: int, channels: int, depth: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    sizes = [(-(-(WIDTH - x) // dx), -(-(HEIGHT - y) // dy)) for x, y, dx, dy in ADAM7]
    rows = b"".join(bytes((1 + width * channels * depth // 8) * height) for width, height in sizes)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def animated_webp(mode: str) -> bytes:
    first, second = (Image.new(mode, (WIDTH, HEIGHT), (value,) * len(mode)) for value in (1, 9))
    with io.BytesIO() as file:
        first.save(file, "WEBP", save_all=True, append_images=[second], lossless=True, method=0, quality=0)
        return file.getvalue()


def tiff(*shape: int, kind=np.uint8, **options) -> bytes:
    with io.BytesIO() as file:
        tifffile.imwrite(file, np.zeros(shape, kind), compression="zlib", **options)
        return file.getvalue()


def made(make, *arguments, **options):
    return lambda: make(*arguments, **options)


COLOUR = {"photometric": "rgb"}
CLEAR = COLOUR | {"extrasamples": ["unassalpha"]}
PHOTOS = {
    **{f"JPEG {mode}": made(saved, "JPEG", mode) for mode in ("L", "RGB", "CMYK")},
    **{f"JPEG {mode} progressive": made(saved, "JPEG", mode, progressive=True) for mode in ("L", "RGB", "CMYK")},
    "JPEG RGB 4:4:4 progressive": made(saved, "JPEG", "RGB", progressive=True, subsampling=0),
    "JPEG RGB turned": turned,
    **{f"PNG {mode}": made(saved, "PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "PNG P transparent": made(saved, "PNG", "P", transparency=3),
    "PNG L transparent": made(saved, "PNG", "L", transparency=3),
    "PNG RGB transparent": made(saved, "PNG", "RGB", transparency=(3, 3, 3)),
    **{f"PNG {channels} x 16": made(deep_png, channels) for channels in (1, 3, 4)},
    **{
        f"PNG {mode} {depth} interlaced": made(interlaced_png, colour, channels, depth)
        for mode, colour, channels in (("L", 0, 1), ("RGB", 2, 3), ("LA", 4, 2), ("RGBA", 6, 4))
        for depth in (8, 16)
    },
    **{f"WEBP {mode}": made(saved, "WEBP", mode, quality=50, method=0) for mode in ("RGB", "RGBA")},
    **{
        f"WEBP {mode} lossless": made(saved, "WEBP", mode, lossless=True, method=0, quality=0)
        for mode in ("RGB", "RGBA")
    },
    **{f"WEBP {mode} animated": made(animated_webp, mode) for mode in ("RGB", "RGBA")},
    **{f"BMP {mode}": made(saved, "BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")},
    **{
        f"TIFF {mode} {way}": made(saved, "TIFF", mode, compression=way)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F")
        for way in ("raw", "tiff_lzw")
    },
    **{f"TIFF {mode} jpeg": made(saved, "TIFF", mode, compression="jpeg") for mode in ("L", "RGB", "CMYK", "YCbCr")},
    **{
        f"TIFF {mode} {way} one strip": made(saved, "TIFF", mode, compression=way, tiffinfo={278: HEIGHT})
        for mode, way in (("L", "jpeg"), ("RGB", "jpeg"), ("YCbCr", "jpeg"), ("CMYK", "tiff_lzw"), ("F", "tiff_lzw"))
    },
    "TIFF 3 x 16 one strip": made(tiff, HEIGHT, WIDTH, 3, kind=np.uint16, rowsperstrip=HEIGHT, **COLOUR),
    "TIFF 4 x 16 one strip": made(tiff, HEIGHT, WIDTH, 4, kind=np.uint16, rowsperstrip=HEIGHT, **CLEAR),
    "TIFF 3 x 16 planes": made(tiff, 3, HEIGHT, WIDTH, kind=np.uint16, planarconfig="separate", **COLOUR),
    "TIFF RGB one tile": made(tiff, HEIGHT, WIDTH, 3, tile=TILE, **COLOUR),
    "TIFF RGBA one tile": made(tiff, HEIGHT, WIDTH, 4, tile=TILE, **CLEAR),
    "TIFF 3 x 16 one tile": made(tiff, HEIGHT, WIDTH, 3, kind=np.uint16, tile=TILE, **COLOUR),
    "TIFF of 64 x 64 in a tile of 8192 x 8192": made(tiff, 64, 64, 3, tile=(8192, 8192), **COLOUR),
}
"""By name, functions that make a file."""


def measure(path: Path) -> tuple[int, int]:
    """Bytes that this process grows by at most while it decodes a file, and those that its header promises."""
    from prnet.formats.photo_decoder import Room, bytes_needed, decode_photo
    from prnet.serving.uploads import IMAGE_FORMATS

    data, room = path.read_bytes(), Room(1 << 40, 1 << 40)
    with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
        promised = bytes_needed(image)
    with io.BytesIO() as file:
        Image.new("RGB", (9, 9)).save(file, "PNG")
        decode_photo(file.getvalue(), IMAGE_FORMATS, room)  # what decoding needs once
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    decode_photo(data, IMAGE_FORMATS, room)
    return status("VmHWM") - before, promised


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(*measure(Path(sys.argv[1])))
