"""Atomic writes: a file appears under its name complete, or not at all."""

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prnet.common.errors import UserError


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


def plain_name(name: str) -> str:
    """A file's name with `_` for what is no text in one line: line breaks, and bytes that are not UTF-8."""
    return "".join(character if character.isprintable() else "_" for character in name)
