"""Vertices of all images in one `.npy` file while an evaluation runs: they may be more than memory holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError


class VertexFile:
    """A `.npy` file (N, V, 3) float32, written row by row; a memory map would crash where the disk is full.

    resume : keep what an earlier run wrote. The folder is made. Raises UserError where it cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], resume: bool):
        self.path = path
        self._row_shape = shape[1:]
        with self._complaints():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "r+b" if resume else "wb", buffering=0)  # noqa: SIM115
        try:
            with self._complaints():
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(self._file, header)
                self._start = self._file.tell()
                self._file.truncate(self._start + 4 * int(np.prod(shape)))
        except UserError:
            self._file.close()
            raise

    def __enter__(self) -> "VertexFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, index: int, vertices: np.ndarray | float) -> None:
        """Write one row. vertices : (V, 3), or one number for all."""
        row = np.array(np.broadcast_to(vertices, self._row_shape), dtype="<f4")
        rest = row.data.cast("B")
        with self._complaints():
            self._file.seek(self._start + index * len(rest))
            while rest:
                rest = rest[self._file.write(rest) :]

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot be written: {error.strerror}; make room, or choose another place"
            raise UserError(f"{self.path}: {reason}") from None
