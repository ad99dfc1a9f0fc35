"""A face's landmarks and vertices as tables of comma-separated values."""

import io

import numpy as np

from prnet.reconstructing.face import Face
from prnet.reconstructing.texture import vertex_colours, visible_landmarks, visible_vertices


def landmark_table(face: Face) -> bytes:
    """A row for each landmark: number from 0, x, y, z in pixels of the photo, visible 0 or 1."""
    rows = np.column_stack([np.arange(len(face.landmarks)), face.landmarks, visible_landmarks(face)])
    return csv_bytes("landmark,x,y,z,visible", rows, "%d,%.3f,%.3f,%.3f,%d")


def vertex_table(face: Face, image: np.ndarray) -> bytes:
    """A row for each vertex: number from 0, x, y, z in pixels of the photo, its colours there, visible 0 or 1."""
    colours, visible = vertex_colours(face, image), visible_vertices(face)
    rows = np.column_stack([np.arange(len(visible)), face.vertices, colours, visible])
    return csv_bytes("vertex,x,y,z,red,green,blue,visible", rows, "%d,%.3f,%.3f,%.3f,%d,%d,%d,%d")


def csv_bytes(header: str, rows: np.ndarray, form: str) -> bytes:
    """A table with a header. form : of each row, with a %-code for each of its numbers."""
    with io.StringIO() as text:
        np.savetxt(text, rows, fmt=form, header=header, comments="")
        return text.getvalue().encode()
