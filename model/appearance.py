"""What the decoder of a photo network knows of faces before it has seen one: the face model's own statistics."""

from dataclasses import dataclass

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.programs import command
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis, texel_mixture
from prnet.geometry.uv_layout import UVLayout
from prnet.model.face_space import FaceSpace, face_space


@dataclass(frozen=True)
class AlbedoSpace:
    """The albedo of faces as mean + coefficients @ basis on the n texels of a `FaceSpace`, sRGB in 0 to 1. A
    coefficient of 1 is one standard deviation."""

    mean: np.ndarray  # (n, 3) float32
    basis: np.ndarray  # (A, n, 3) float32


def prior_face_space(model: FaceModel, basis: MapBasis, layout: UVLayout) -> FaceSpace:
    """The face space of a face model's own mean and standard deviations, where there are no fits to take them from."""
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation]).astype(np.float64)
    corners = np.diag(deviations * np.sqrt(len(deviations)))  # their mean is 0, their covariance diag(deviations ** 2)
    return face_space(model, basis, layout, np.concatenate([corners, -corners]), hull=True)


def albedo_space(model: FaceModel, space: FaceSpace) -> AlbedoSpace:
    """Raises UserError where the face model has no texture basis."""
    if model.texture is None:
        raise UserError(
            f"the face model ({model.source}) has no texture basis, from which albedo is predicted; "
            f"let {command('build-face-model')} learn one (`learn_texture`)"
        )
    at_texels = texel_mixture(model, space.size)[space.texels]
    components = np.moveaxis(model.texture.basis * model.texture.deviation, 2, 0)
    return AlbedoSpace(
        mean=(at_texels @ model.mean_texture).astype(np.float32),
        basis=np.stack([at_texels @ component for component in components]).astype(np.float32),
    )
