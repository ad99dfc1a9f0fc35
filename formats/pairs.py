"""Photos and their fits in a folder or a zip archive, read in place: `NAME.jpg` beside `NAME.mat`."""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prnet.common.errors import InputLost, UserError
from prnet.common.files import require_plain
from prnet.formats.fit_files import MAX_FIT_BYTES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
FIT_SUFFIX = ".mat"
MAX_IMAGE_BYTES = 1 << 26
SKIPPED_FOLDERS = ("code", "landmarks", "truth", "__macosx")
"""Folders of the published archives (in lower case) that hold no pairs; hidden files are skipped with them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A photo and its fit."""

    source: "PairSource"
    stem: str  # path within the source without suffix: 300W_LP/AFW_Flip/AFW_134212_1_0
    image_suffix: str
    fit_suffix: str

    @property
    def name(self) -> str:
        """File name without suffix: AFW_134212_1_0."""
        return self.stem.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Innermost folder: AFW_Flip; for a file at the top, the name of the source itself."""
        return self.stem.rpartition("/")[0].rpartition("/")[2] or self.source.path.stem

    @property
    def image_file(self) -> str:
        """What errors call the photo."""
        return f"{self.source.path}/{self.stem}{self.image_suffix}"

    @property
    def fit_file(self) -> str:
        """What errors call the fit."""
        return f"{self.source.path}/{self.stem}{self.fit_suffix}"

    def image_size(self) -> int:
        """Bytes of the encoded photo; 0 where it cannot be found any more."""
        return self.source.size(self.stem + self.image_suffix)

    def image_bytes(self) -> bytes:
        """The encoded photo. Raises UserError where it cannot be read."""
        return self.source.read(self.stem + self.image_suffix, MAX_IMAGE_BYTES)

    def fit_bytes(self) -> bytes:
        """The `.mat` file. Raises UserError where it cannot be read."""
        return self.source.read(self.stem + self.fit_suffix, MAX_FIT_BYTES)


class PairSource:
    """The pairs of a folder or zip archive in the order of their names, read by any thread; nothing is extracted.

    path : the folder or archive. pairs : list of Pair. photos : the files of all photos, with a fit or without.
    left_out : a line for each file that belongs to no pair.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            self._files: _Folder | _Archive = _Folder(self.path)
        elif self.path.is_file():
            self._files = _Archive(self.path)
        else:
            raise UserError(f"{path}: no such folder or zip archive")
        self.left_out = self._files.left_out
        self.pairs = self._pair_up()

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __enter__(self) -> "PairSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def all_photos(self) -> list[Pair]:
        """Every photo, as a pair whose fit nobody asks for."""
        return [Pair(self, *os.path.splitext(photo), FIT_SUFFIX) for photo in self.photos]

    def close(self) -> None:
        self._files.close()

    def size(self, file: str) -> int:
        """Bytes in one file; 0 where it cannot be found any more."""
        try:
            return self._files.size(file)
        except (OSError, UserError):
            return 0

    def read(self, file: str, limit: int) -> bytes:
        """Bytes of one file. Raises UserError where it is longer than `limit` bytes or cannot be read.

        Raises InputLost where the whole folder is not there any more, or the archive not all of it.
        """
        try:
            if self._files.size(file) > limit:
                raise UserError(f"{self.path}/{file}: is longer than {limit:,} bytes")
            return self._files.read(file)
        except UserError:
            raise
        except Exception as error:  # a damaged archive leads its reader to exceptions of many kinds
            if self._files.is_lost():
                raise InputLost(f"{self.path}: is gone, or was cut short, while it was read; put it back") from None
            raise UserError(f"{self.path}/{file}: cannot be read: {error or type(error).__name__}") from None

    def _pair_up(self) -> list[Pair]:
        images: dict[str, str] = {}
        fits: dict[str, str] = {}
        for file in sorted(self._files.names):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() not in (*IMAGE_SUFFIXES, FIT_SUFFIX):
                self.left_out.append(f"{self.path}/{file}: neither a photo ({', '.join(IMAGE_SUFFIXES)}) nor a .mat")
            elif stem in (known := fits if suffix.lower() == FIT_SUFFIX else images):
                self.left_out.append(f"{self.path}/{file}: {stem}{known[stem]} is used in its place")
            else:
                known[stem] = suffix
        self.photos = [stem + suffix for stem, suffix in images.items()]
        self.left_out += [f"{self.path}/{stem}{images[stem]}: has no .mat" for stem in sorted(images.keys() - fits)]
        self.left_out += [f"{self.path}/{stem}{fits[stem]}: has no photo" for stem in sorted(fits.keys() - images)]
        return [Pair(self, stem, suffix, fits[stem]) for stem, suffix in images.items() if stem in fits]


def find_pairs(path: str | Path) -> PairSource:
    """Pairs below a folder or in a zip archive. Raises UserError where there is no such thing or it cannot be read."""
    return PairSource(path)


class _Folder:
    """Files below a folder, links to folders followed once."""

    def __init__(self, path: Path):
        self.path = path
        self.names, self.left_out = [], []
        seen = set()
        for folder, subfolders, files in os.walk(path, onerror=self._complain, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = [name for name in subfolders if not is_left_out(name)]
            inside = Path(folder).relative_to(path).as_posix()
            for name in files:
                file = name if inside == "." else f"{inside}/{name}"
                if is_left_out(file):
                    continue
                if _is_clean(file):
                    self.names.append(file)
                else:
                    self.left_out.append(f"{path}: the name {file!r} is not plain text")

    def _complain(self, error: OSError) -> None:
        self.left_out.append(f"{error.filename}: {error.strerror}")

    def size(self, name: str) -> int:
        require_plain(self.path / name)
        return (self.path / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def is_lost(self) -> bool:
        """Whether the folder is gone."""
        return not self.path.is_dir()

    def close(self) -> None:
        pass


class _Archive:
    """Files of a zip archive; entries that no archive of photos needs are left out unread."""

    def __init__(self, path: Path):
        try:
            self.archive = zipfile.ZipFile(path)
        except OSError:
            raise
        except Exception:  # a damaged archive leads its reader to exceptions of many kinds
            raise UserError(f"{path}: is not a zip archive, or is cut short; download it again") from None
        self.byte_count = self._byte_count()
        self.entries: dict[str, zipfile.ZipInfo] = {}
        self.left_out: list[str] = []
        for entry in self.archive.infolist():
            name = entry.filename.replace("\\", "/")
            if name.endswith("/") or is_left_out(name):
                continue
            complaint = self._complaint(entry, name)
            if complaint:
                self.left_out.append(f"{path}: the entry {name!r} {complaint}")
            else:
                self.entries[name] = entry
        self.names = self.entries.keys()

    def _complaint(self, entry: zipfile.ZipInfo, name: str) -> str | None:
        if not _is_clean(name):
            return "has a name that is not plain text"
        if re.match(r"/|[A-Za-z]:", name) or ".." in name.split("/"):
            return "points out of the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "is a link"
        if entry.flag_bits & 1:
            return "is encrypted"
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "is compressed by another method than deflate"
        if name in self.entries:
            return "comes twice"
        return None

    def size(self, name: str) -> int:
        return self.entries[name].file_size

    def read(self, name: str) -> bytes:
        return self.archive.read(self.entries[name])

    def is_lost(self) -> bool:
        """Whether the archive has shrunk; one removed or replaced while open is read on where the system allows it."""
        return self._byte_count() < self.byte_count

    def _byte_count(self) -> int:
        return os.fstat(self.archive.fp.fileno()).st_size if self.archive.fp else 0

    def close(self) -> None:
        self.archive.close()


def is_left_out(name: str) -> bool:
    """Whether a path is of what systems put beside files, hidden or in a folder of their own."""
    return any(part.lower() in SKIPPED_FOLDERS or (part[0] == "." and part != "..") for part in name.split("/") if part)


def _is_clean(name: str) -> bool:
    """Whether a name can be printed in one line and stored as UTF-8."""
    return name.isprintable() and 0 < len(name) < 1000
