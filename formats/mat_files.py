"""Arrays of real numbers in MATLAB files of version 4 and 5 to 7.2, from untrusted bytes.

Follows MathWorks' "MAT-File Format". SciPy's reader is compiled for speed on files that can be trusted, and damaged
ones can crash it; this one checks every length against the bytes that are there. Anything but full real arrays, plain
or in a single struct (cells, objects, text, sparse or complex ones), is passed over.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

MAX_BYTES = 1 << 20
"""All arrays of a file together may not take more: their bytes once unfolded, and `ARRAY_BYTES` for each."""

ARRAY_BYTES = 1 << 10
MAX_DIMENSIONS = 32

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT_CLASS = 2
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800
_VERSION_4_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")

_TITLE_BYTES = 116
"""Free text at the start of a MATLAB 5 file."""


class NotMatlab(ValueError):
    """The content is of another kind, or of a version that is not read."""


class ArraysTooLarge(ValueError):
    """The arrays take more than they may."""


class _Budget:
    """What the arrays of one file may still take, in bytes."""

    def __init__(self, max_bytes: int):
        self.whole = self.left = max_bytes

    def take(self, size: int = ARRAY_BYTES) -> None:
        self.left -= size
        if self.left < 0:
            raise ArraysTooLarge(f"holds arrays of more than {self.whole >> 20} MiB when decompressed, or too many")

    def unfold(self, data: memoryview, order: str) -> memoryview:
        """The matrix in a compressed element. No more is unfolded than its own tag asks for."""
        stream = zlib.decompressobj()
        kind, size = struct.unpack(f"{order}II", stream.decompress(data, 8))
        if kind != _MATRIX:
            raise ValueError("is damaged: something other than an array is compressed")
        self.take(size)
        unfolded = stream.decompress(stream.unconsumed_tail, size + 1)  # one more: then its checksum is read
        if len(unfolded) < size:
            raise ValueError("is damaged or cut short")
        return memoryview(unfolded)[:size]


def read_mat_arrays(content: bytes, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Arrays by name (`struct.field` for those of a struct), in their own type and MATLAB's shape.

    max_bytes : all arrays together may not take more. Raises `ArraysTooLarge` where they do, `NotMatlab` where the
    content is something else, and ValueError where it is damaged.
    """
    if content[:10] == b"MATLAB 7.3" or b"\x89HDF\r\n" in (content[:6], content[512:518]):
        raise NotMatlab("is a MATLAB 7.3 file, which is not read; save it with `save -v7` in MATLAB")
    budget = _Budget(max_bytes)
    try:
        named = _version_4(content, budget) if 0 in content[:4] else _version_5(memoryview(content), budget)
        arrays = {}
        for name, array in named:
            if name in arrays:
                raise ValueError(f"holds {name[:60]!r} twice")
            arrays[name] = array
    except (struct.error, zlib.error) as error:
        raise ValueError(f"is damaged or cut short ({error})") from None
    return arrays


def _version_5(content: memoryview, budget: _Budget) -> Iterator[tuple[str, np.ndarray]]:
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise NotMatlab("is not a MATLAB file")
    position = 128
    while position < len(content):
        kind, data, end = _element(content, position, order)
        position = end
        if kind == _COMPRESSED:
            data = budget.unfold(data, order)
        elif kind != _MATRIX:
            raise ValueError("is damaged: something other than an array stands between its arrays")
        yield from _matrix(data, order, budget)


def _matrix(data: memoryview, order: str, budget: _Budget, struct_field: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of a matrix, or those of the fields of a struct that is not itself a field."""
    budget.take()
    _, flags, at = _element(data, 0, order)
    (flags,) = struct.unpack_from(f"{order}I", flags)
    if flags & 0xFF not in (_STRUCT_CLASS, *_NUMERIC_CLASSES):
        return  # some of the other classes are laid out otherwise
    _, sides, at = _element(data, at, order)
    if len(sides) > 4 * MAX_DIMENSIONS:
        raise ValueError(f"is damaged: an array has more than {MAX_DIMENSIONS} dimensions")
    shape = list(struct.unpack(f"{order}{len(sides) // 4}i", sides))
    _, own_name, at = _element(data, at, order)
    name = struct_field or str(own_name, "latin-1")
    if flags & 0xFF in _NUMERIC_CLASSES and not flags & _COMPLEX:
        kind, values, _ = _element(data, at, order)
        yield name, _array(values, order, _TYPES.get(kind), shape)
    elif flags & 0xFF == _STRUCT_CLASS and math.prod(shape) == 1 and not struct_field:
        _, width, at = _element(data, at, order)
        _, fields, at = _element(data, at, order)
        (width,) = struct.unpack(f"{order}i", width)
        if width < 1:
            raise ValueError("is damaged: a struct has fields without names")
        for start in range(0, len(fields), width):
            field = str(fields[start : start + width], "latin-1").split("\0")[0]
            budget.take()
            _, inner, at = _element(data, at, order)
            if inner:
                yield from _matrix(inner, order, budget, f"{name}.{field}")


def _element(content: memoryview, position: int, order: str) -> tuple[int, memoryview, int]:
    """Type and data of the element at a position, and where the next one begins."""
    kind, size = struct.unpack_from(f"{order}II", content, position)
    if kind >> 16:
        kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
    else:
        start = position + 8
        end = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
    if start + size > min(len(content), end):
        raise ValueError("is damaged or cut short")
    return kind, content[start : start + size], end


def _version_4(content: bytes, budget: _Budget) -> Iterator[tuple[str, np.ndarray]]:
    position = 0
    while position < len(content):
        budget.take()
        order = "<" if struct.unpack_from("<I", content, position)[0] < 10000 else ">"
        code, rows, columns, is_complex, name_size = struct.unpack_from(f"{order}5I", content, position)
        thousands, kind, matrix = code // 1000, code // 10 % 10, code % 10
        if thousands > 1 or kind >= len(_VERSION_4_TYPES) or matrix > 2:
            raise ValueError("is not a MATLAB file, or damaged")
        start = position + 20 + name_size
        kind = _VERSION_4_TYPES[kind]
        position = start + rows * columns * np.dtype(kind).itemsize * (2 if is_complex else 1)
        if position > len(content):
            raise ValueError("is damaged or cut short")
        if matrix == 0 and not is_complex:
            name = content[start - name_size : start].rstrip(b"\0").decode("latin-1")
            yield name, _array(content[start:position], order, kind, [rows, columns])


def _array(values: bytes | memoryview, order: str, kind: str | None, shape: list[int]) -> np.ndarray:
    if kind is None or len(shape) < 2 or min(shape) < 0 or len(values) != math.prod(shape) * np.dtype(kind).itemsize:
        raise ValueError("is damaged: an array has no such type or shape")
    return np.frombuffer(values, order + kind).reshape(shape, order="F")


def mat_file_bytes(fields: dict[str, np.ndarray], title: str = "MATLAB 5.0 MAT-file") -> bytes:
    """A MATLAB 5 file whose header has no date, so that equal fields make equal files."""
    from scipy.io import savemat

    with io.BytesIO() as file:
        savemat(file, fields)
        return title.encode().ljust(_TITLE_BYTES) + file.getvalue()[_TITLE_BYTES:]
