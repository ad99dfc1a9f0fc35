"""The latest reconstructions, kept in memory for a while so that the links in their answers work."""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from prnet.serving.engine import Photo
from prnet.serving.limits import Limits
from prnet.serving.problems import Problem


@dataclass(frozen=True)
class Result:
    """A photo as it was sent, for the colours of its meshes, and its faces."""

    data: bytes
    photo: Photo
    stem: str  # what its files are called after

    @property
    def size(self) -> int:
        """Bytes: a face keeps what downloads work out of its map, which is 0.8 of the map's size."""
        return len(self.data) + sum(2 * face.position_map.nbytes for face in self.photo.faces)


class ResultStore:
    """What is kept; the oldest give way when there is too much."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._bytes = 0

    def keep(self, result: Result) -> str:
        """An identifier that cannot be guessed, under which `find` returns the result for a while."""
        identifier = secrets.token_urlsafe(12)
        self._kept[identifier] = result
        self._bytes += result.size
        while len(self._kept) > self._limits.kept_results or self._bytes > self._limits.kept_bytes:
            self._forget(next(iter(self._kept)))
        asyncio.get_running_loop().call_later(self._limits.kept_seconds, self._forget, identifier)
        return identifier

    def _forget(self, identifier: str) -> None:
        if identifier in self._kept:
            self._bytes -= self._kept.pop(identifier).size

    def find(self, identifier: str, number: int) -> Result:
        """Raises `Problem` 404 if there is no such face, or none any more."""
        result = self._kept.get(identifier)
        if result is None or not 0 <= number < len(result.photo.faces):
            raise Problem(404, "no such face is kept, or none any more; send the photo again")
        return result
