"""One run at a time in one place: a lock that is released when its process ends, however it ends."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from prnet.common.errors import UserError

logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(path: str | Path, refusal: str) -> Iterator[bool]:
    """Hold the lock file `path`, made for it (with its folder) and removed afterwards.

    Raises UserError: `refusal` where another run holds it, and one that names the folder where that cannot be written.
    Yields whether nobody else is at work here: a file system without locks cannot tell, and a warning says so.
    """
    path = Path(path)
    file, certain = _opened(path, refusal)
    try:
        yield certain
    finally:
        with suppress(OSError):  # Windows removes no open file; an empty one that stays is free for the next
            path.unlink()
        file.close()


def _opened(path: Path, refusal: str) -> tuple[IO, bool]:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path.parent}: cannot be written: {error.strerror}; choose another folder") from None
        try:
            _lock(file)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                file.close()
                raise UserError(refusal) from None
            logger.warning("%s: %s; see to it that no second run works there", path, error.strerror)
            return file, False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file, True
        file.close()  # its last holder has just removed it


def _lock(file: IO) -> None:
    """Lock an open file or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
