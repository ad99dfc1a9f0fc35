"""Albedo, light and what follows from them: a face as it is lit in its photo, and under another light."""

import io

import numpy as np

from prnet.common.errors import UserError
from prnet.formats.encoding import encode_png
from prnet.geometry.harmonics import COUNT, LINEAR, harmonics
from prnet.geometry.rasterise import render
from prnet.geometry.transforms import FLIP_Y
from prnet.model.parameters import Appearance
from prnet.reconstructing.face import Face

SIDE_LIGHT = 0.35
"""What light from one side adds at most, and takes away on the other, where a face is relit."""


def appearance_of(face: Face) -> Appearance:
    """What the network says of albedo and light. Raises UserError where it does not."""
    if face.parameters is None or face.parameters.appearance is None:
        raise UserError("the network says nothing of albedo and light; give one that the recipe weak trained")
    return face.parameters.appearance


def light_from(direction) -> np.ndarray:
    """White light (9, 3) that is even but for more from a direction (3,): x right, y up, z to the viewer."""
    light = np.zeros((COUNT, 3))
    light[0] = 0.9 / harmonics(np.array([0.0, 0.0, 1.0]))[0]
    x, y, z = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    light[[1, 2, 3]] = SIDE_LIGHT / LINEAR * np.array([-y, z, -x])[:, None]
    return light


def lit_colours(face: Face, light: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in 0 to 1 of the vertices under a light (9, 3)."""
    albedo = appearance_of(face).albedo[face.grid.mask]
    return np.clip(albedo * (harmonics(face.normals.astype(np.float64) * FLIP_Y) @ light), 0, 1)


def draw_lit(face: Face, image: np.ndarray, light: np.ndarray | None = None) -> np.ndarray:
    """The face over its photo (H, W, 3) uint8 RGB, lit as in the photo, or by a light (9, 3)."""
    colours = lit_colours(face, appearance_of(face).light if light is None else light)
    return render(face.vertices, face.triangles, colours * 255, image)


def albedo_picture(face: Face) -> np.ndarray:
    """The albedo on the UV grid, (S, S, 3) uint8 sRGB, black off the face."""
    albedo = np.clip(appearance_of(face).albedo, 0, 1) * face.grid.mask[..., None]
    return np.rint(albedo * 255).astype(np.uint8)


def codes_mat(face: Face) -> bytes:
    """A MATLAB file with Deep3DFaceReconstruction's fields: `id`, `exp`, `tex`, `angle`, `gamma`, `trans` (1, .), and
    `lm68` (1, 68, 2) in pixels of the crop, its y axis up as there."""
    from scipy.io import savemat

    landmarks = face.landmarks[:, :2] @ face.to_crop[:, :2].T + face.to_crop[:, 2]
    landmarks[:, 1] = face.grid.size - 1 - landmarks[:, 1]
    codes = {name: values[None] for name, values in appearance_of(face).codes.items()}
    with io.BytesIO() as file:
        savemat(file, {**codes, "lm68": landmarks[None].astype(np.float32)}, do_compression=True)
        return file.getvalue()


def appearance_files(face: Face, image: np.ndarray) -> dict[str, tuple[str, bytes]]:
    """Name, ending and content of the files that tell albedo and light; none where the network says nothing of them."""
    if face.parameters is None or face.parameters.appearance is None:
        return {}
    return {
        "albedo": ("_albedo.png", encode_png(albedo_picture(face))),
        "lit": ("_lit.png", encode_png(draw_lit(face, image))),
        "relit": ("_relit.png", encode_png(draw_lit(face, image, light_from((1.0, 0.3, 0.6))))),
        "codes": ("_codes.mat", codes_mat(face)),
    }
