"""A file for h5py to write to on a disk that may be full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prnet.common.errors import UserError


class DeferredErrorFile(io.FileIO):
    """A new file that keeps failed writes to itself until it is asked: HDF5 crashes the process when told of one.

    Use it between `atomic_write` and h5py; leaving the block raises UserError, which calls the file `name`, if a
    write failed:

        with atomic_write(path) as temporary, DeferredErrorFile(temporary, path) as raw, h5py.File(raw, "w") as file:
    """

    def __init__(self, path: Path, name: str | Path):
        super().__init__(path, "w+")
        self._called = name
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        with self._deferring_errors():
            rest = content
            while rest:
                rest = rest[super().write(rest) :]
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        with self._deferring_errors():
            super().truncate(size)
        return size

    def complain(self) -> None:
        """Raise UserError if a write has failed."""
        if self._failure:
            raise UserError(f"{self._called}: cannot be written: {self._failure.strerror}") from None

    def __exit__(self, *_: object) -> None:
        self.close()
        self.complain()

    @contextmanager
    def _deferring_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error
