"""A face together with its photo: what a program gets back, and a notebook shows."""

from dataclasses import dataclass, fields

import numpy as np

from prnet.formats.encoding import encode_png
from prnet.reconstructing.drawing import draw_sheet
from prnet.reconstructing.face import Face


@dataclass(frozen=True, repr=False, eq=False)
class PhotoFace(Face):
    """A `Face` that holds on to its photo.

    >>> face = prnet.reconstruct("photo.jpg")[0]
    >>> face.sheet().shape, face.sheet().dtype  # also what a notebook shows of it
    ((712, 2004, 3), dtype('uint8'))
    """

    photo: np.ndarray  # (H, W, 3) uint8 RGB

    def sheet(self) -> np.ndarray:
        """One picture of all that is known of the face, (., ., 3) uint8 RGB."""
        return draw_sheet(self, self.photo)

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet())


def in_photo(face: Face, photo: np.ndarray) -> PhotoFace:
    """The face with its photo, (H, W, 3) uint8 RGB."""
    return PhotoFace(**{field.name: getattr(face, field.name) for field in fields(Face)}, photo=photo)
