"""A file for h5py to write to on a disk that may be full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prnet.common.errors import UserError


class PatientFile(io.FileIO):
    """A new file that keeps failed writes to itself until it is asked: HDF5 crashes the process when told of one.

    Use it between `written_whole` and h5py; leaving the block raises UserError, which calls the file `name`, if a
    write failed:

        with written_whole(path) as temporary, PatientFile(temporary, path) as raw, h5py.File(raw, "w") as file:
    """

    def __init__(self, path: Path, name: str | Path):
        super().__init__(path, "w+")
        self._called = name
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        with self._patience():
            rest = content
            while rest:
                rest = rest[super().write(rest) :]
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        with self._patience():
            super().truncate(size)
        return size

    def complain(self) -> None:
        """Raise UserError if a write has failed."""
        if self._failure:
            raise UserError(f"{self._called}: cannot be written: {self._failure.strerror}") from None

    def __exit__(self, *_) -> None:
        self.close()
        self.complain()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error
