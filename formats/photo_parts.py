"""Photos in so many parts that reading them takes long, whatever their size: known before anything is decoded.

Pillow reads the parts of a header one by one in Python, and joins some of them in quadratic time; libjpeg goes through
the whole image for each scan of a progressive JPEG, which may take 76 bytes of the file.
"""

import re
import struct

MAX_PARTS = 1_000
"""Segments of a JPEG before its image, chunks of a PNG beside its image, comments of a plain PPM: cameras and editors
write a few dozen."""

MAX_SCANS = 100
"""Of a progressive JPEG; libjpeg's standard script has ten."""

MAX_EXIF = 16
"""Segments of a JPEG that say they hold Exif; the standard knows one."""

MAX_CHUNKS = 100_000
"""Of a PNG, its image's among them."""

MAX_NUMBERS = 100_000
"""Numbers under one tag of a TIFF, as the places of its strips are."""

MAX_TAGS = 4_096

MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Of a JPEG, within a scan's data: there a zero follows each 0xFF, or the number of a restart."""

SCAN, END = 0xDA, 0xD9
"""Markers of a JPEG: a scan begins, the image has ended."""

BYTES = (1, 2, 7)
"""TIFF's types of tags that are read as they are: bytes, text, undefined."""


class TooManyParts(ValueError):
    """A photo has more parts than it may."""


def require_few_parts(data: bytes) -> None:
    """Raise `TooManyParts` where a file's parts, not its pixels, would make it slow to read.

    Takes a few milliseconds. What is damaged, or of no kind that is known here, is left to the decoder.
    """
    for start, check in (
        (b"\xff\xd8", _check_jpeg),
        (b"\x89PNG\r\n\x1a\n", _check_png),
        ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _check_tiff),
        ((b"P1", b"P2", b"P3"), _check_plain_ppm),
        (b"BM", _check_bmp),
    ):
        if data.startswith(start):
            try:
                check(data)
            except (struct.error, IndexError):
                return


def _require(count: int, most: int, parts: str) -> None:
    if count > most:
        raise TooManyParts(f"more than {most:,} {parts}")


def _check_jpeg(data: bytes) -> None:
    place, steps, exif = 2, 0, 0
    while (marker := data[place + 1]) != SCAN:
        steps += 1
        _require(steps, MAX_PARTS, "segments before the image")
        if marker == 0xFF or data[place] != 0xFF:  # fill, or what Pillow passes over
            place += 1
            continue
        exif += marker == 0xE1 and data[place + 4 : place + 8] == b"Exif"
        _require(exif, MAX_EXIF, "segments of Exif")
        alone = marker in (0x01, *range(0xD0, 0xDA))  # markers without a length
        place = place + 2 if alone else _behind_segment(data, place)
    steps = scans = 0
    while marker != END:  # what follows is not read: phones put films there
        steps, scans = steps + 1, scans + (marker == SCAN)
        _require(scans, MAX_SCANS, "scans")
        _require(steps, MAX_PARTS, "segments between scans")
        found = MARKER.search(data, _behind_segment(data, place))
        if not found:
            return
        place, marker = found.start(), data[found.start() + 1]


def _behind_segment(data: bytes, place: int) -> int:
    """The place behind a segment whose marker is at `place`."""
    return place + 2 + max(struct.unpack_from(">H", data, place + 2)[0], 2)


def _check_png(data: bytes) -> None:
    place, chunks, others, profiles = 8, 0, 0, 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks, others, profiles = chunks + 1, others + (kind not in (b"IDAT", b"fdAT")), profiles + (kind == b"iCCP")
        _require(chunks, MAX_CHUNKS, "chunks")
        _require(others, MAX_PARTS, "chunks beside the image")
        _require(profiles, 1, "colour profile")
        place += 12 + length if kind != b"IEND" else len(data)


def _check_tiff(data: bytes) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    _require(count, MAX_TAGS, "tags")
    entry, size = order + ("HHQ" if big else "HHI"), 20 if big else 12
    for number in range(count):
        _, kind, numbers = struct.unpack_from(entry, data, place + (8 if big else 2) + number * size)
        _require(numbers if kind not in BYTES else 0, MAX_NUMBERS, "numbers under one tag")


def _check_plain_ppm(data: bytes) -> None:
    _require(data.count(b"#"), MAX_PARTS, "comments")


def _check_bmp(data: bytes) -> None:
    header, compression = struct.unpack_from("<I", data, 14)[0], struct.unpack_from("<I", data, 30)[0]
    if header >= 40 and compression in (1, 2):
        raise TooManyParts("run-length encoded, which is decoded pixel by pixel")
