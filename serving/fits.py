"""Faces from fits of the face model: where a photo's face is, and the mesh that the fit describes."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from prnet.formats.fit_files import Fit, read_fit, require_model
from prnet.geometry.crop import Box, crop_transform, landmark_box
from prnet.geometry.face_model import FaceModel, face_landmarks, face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import texel_mixture
from prnet.geometry.transforms import apply_transform
from prnet.reconstructing.face import Face, FaceGrid, place_face
from prnet.serving.problems import Problem

FARTHEST = 1e6
"""No vertex of a fit or a mesh lies farther from the photo's origin, in pixels."""

SMALLEST = 1e-3
"""Side of a fit's face, in pixels, below which its crop cannot be computed."""


class FitMeshes:
    """What fits mean with one face model on the grid of one network. model : None where there is no face model, and
    then `missing` says why."""

    def __init__(self, model: FaceModel | None, grid: FaceGrid, missing: str = ""):
        self._model, self._missing = model, missing
        self._grid = replace(grid, filter_width=0.0)  # what a fit describes is smooth

    @cached_property
    def _mixture(self):
        return texel_mixture(self._require("a fit"), self._grid.size)

    def box(self, data: bytes, name: str, photo: np.ndarray) -> Box:
        """The box around a fit's 68 model landmarks in a photo (H, W, 3), or around its `pt3d_68` without a model."""
        fit = read_fit(data, name)
        if self._model is None and fit.landmarks is not None:
            return landmark_box(fit.landmarks)
        return self._box(fit, name, photo.shape[0])

    def face(self, data: bytes, name: str, image_height: int) -> Face:
        """The face that a fit describes in a photo of that height, at the texels of the network's grid."""
        fit = read_fit(data, name)
        box = self._box(fit, name, image_height)
        places = (self._mixture @ self._vertices(fit, name, image_height)).astype(np.float32)
        size = self._grid.size
        return place_face(places.reshape(size, size, 3), box, crop_transform(box, size), self._grid)

    def _box(self, fit: Fit, name: str, image_height: int) -> Box:
        box = landmark_box(self._vertices(fit, name, image_height, face_landmarks))
        if box.side < SMALLEST:
            raise Problem(422, f"{name}: the fit's face has no size")
        return box

    def _vertices(self, fit: Fit, name: str, image_height: int, points_of=face_vertices) -> np.ndarray:
        model = self._require(name)
        require_model(fit, model, name)
        with np.errstate(over="ignore", invalid="ignore"):
            shape = points_of(model, fit.coefficients)
            places = apply_transform(fit_to_pixels(fit.pose, image_height), shape)
        if not (np.abs(places) < FARTHEST).all():
            raise Problem(422, f"{name}: the fit's face lies more than {FARTHEST:g} pixels away")
        return places

    def _require(self, name: str) -> FaceModel:
        if self._model is None:
            raise Problem(501, f"{name}: {self._missing}")
        return self._model
