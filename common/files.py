"""Files: written atomically, so that one appears under its name complete or not at all; read where they can end."""

import errno
import glob
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prnet.common.errors import UserError

MAX_TEXT = 1 << 24
"""Bytes of a text that is read: landmarks, lists."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; on success it takes the place of `path`.

    On any error the temporary file is removed and an older file at `path` stays as it was; where it cannot be written,
    UserError names `path`. The folder is made.
    """
    path = Path(path)
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path.parent}: is a file, and no folder to write to; choose another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        too_long = error.errno == errno.ENAMETOOLONG
        advice = "give a shorter name" if too_long else "make room, or choose another place"
        raise UserError(f"{path}: cannot be written: {error.strerror or error}; {advice}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_left_behind(*paths: str | Path) -> None:
    """Remove the temporary files that killed writers of these paths left; no writer of them may be at work."""
    for path in map(Path, paths):
        for temporary in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
            temporary.unlink(missing_ok=True)


def require_plain(path: str | Path, limit: int | None = None) -> None:
    """Raise UserError for a pipe or a device, which may never end, and for a file of more than `limit` bytes."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is not a plain file")
    if limit is not None and status.st_size > limit:
        raise UserError(f"{path}: is longer than {limit:,} bytes")


def read_file(path: str | Path, limit: int) -> bytes:
    """The bytes of a file. Raises UserError as `require_plain` does, before anything is read."""
    require_plain(path, limit)
    with open(path, "rb") as file:
        return file.read(limit)


def read_text(path: str | Path, errors: str = "strict") -> str:
    """The text of a file of at most 16 MB, in UTF-8. Raises UserError as `require_plain` does, and for another text."""
    try:
        return read_file(path, MAX_TEXT).decode("utf-8-sig", errors)
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8") from None


def require_modest(archive: zipfile.ZipFile, most: int) -> None:
    """Raise ValueError for an archive that unpacks to more than `most` bytes."""
    if sum(entry.file_size for entry in archive.infolist()) > most:
        raise ValueError(f"unpacks to more than {most:,} bytes")


def plain_name(name: str) -> str:
    """A file's name with `_` for what is no text in one line: line breaks, and bytes that are not UTF-8."""
    return "".join(character if character.isprintable() else "_" for character in name)
