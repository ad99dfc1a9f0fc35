"""A face model of any make, given as plain arrays in an `.npz` file, to a `FaceModel`.

`mean` (V, 3), x to the image's right, y up, z to the camera, in any unit; `triangles` (T, 3), 0-based; `shape_basis`
(V, 3, S) and `expression_basis` (V, 3, E); `landmark_vertices` (68,) in iBUG's order, or (68, M) and with them
`landmark_weights` (68, M). May be there too: `shape_deviation` (S,) and `expression_deviation` (E,), else 1;
`expression_names` (E,), with which coefficients are 0 to 1; `uv` (V, 2), else the mesh, a disk that may have holes, is
flattened; `mean_texture` (V, 3) RGB in 0 to 1; texts `source` and `licence`.
"""

from pathlib import Path

import numpy as np
from scipy.spatial import QhullError

from prnet.common.errors import UserError
from prnet.configure.config import NOSE_TIP
from prnet.formats.face_model_file import check_face_model
from prnet.geometry.face_model import FaceModel, mixture
from prnet.geometry.mesh import facing_outwards, vertex_normals
from prnet.geometry.regions import derive_region_weights
from prnet.geometry.tutte import tutte_embedding

LAYOUT_ROUNDS = 3
"""Relaxation of the UV layout (`prnet.geometry.tutte`)."""

CLAY = 0.75
_NEEDED = ("mean", "triangles", "shape_basis", "expression_basis", "landmark_vertices")


def read_array_model(path: str | Path) -> FaceModel:
    """The face model of an `.npz` file. What is missing or wrong is a `UserError` that names file and array."""
    arrays = _read(path)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise UserError(f"{path}: has no array {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}")
    try:
        model = _model(arrays, path)
    except (ValueError, IndexError, TypeError) as error:
        raise UserError(f"{path}: its arrays do not belong together ({error}); see formats/array_model.py") from error
    except QhullError:
        raise UserError(f"{path}: its landmarks lie on top of each other; give a model with 68 of them") from None
    return check_face_model(model, path)


def _read(path: str | Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as file:
            return dict(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give an .npz with the arrays of a face model") from None
    except Exception as error:  # a damaged archive leads its reader to exceptions of many kinds
        raise UserError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from None


def _model(arrays: dict[str, np.ndarray], path: str | Path) -> FaceModel:
    mean = arrays["mean"].astype(np.float32)
    bases = [arrays[name].astype(np.float32) for name in ("shape_basis", "expression_basis")]
    vertices = np.atleast_2d(arrays["landmark_vertices"].astype(np.int32).T).T
    weights = arrays.get("landmark_weights", np.ones(vertices.shape)).astype(np.float32)
    triangles = arrays["triangles"].astype(np.int32)
    triangles = facing_outwards(triangles, mixture(vertex_normals(mean, triangles), vertices, weights)[NOSE_TIP])
    uv = arrays["uv"] if "uv" in arrays else tutte_embedding(mean, triangles, LAYOUT_ROUNDS)
    uv = uv.astype(np.float32)
    return FaceModel(
        mean=mean,
        shape_basis=bases[0],
        expression_basis=bases[1],
        shape_deviation=arrays.get("shape_deviation", np.ones(bases[0].shape[2])).astype(np.float32),
        expression_deviation=arrays.get("expression_deviation", np.ones(bases[1].shape[2])).astype(np.float32),
        triangles=triangles,
        landmark_vertices=vertices,
        landmark_weights=weights,
        uv=uv,
        mean_texture=arrays.get("mean_texture", np.full(mean.shape, CLAY)).astype(np.float32),
        region_weights=derive_region_weights(mixture(uv, vertices, weights)),
        source=str(arrays.get("source", Path(path).name)),
        licence=str(arrays.get("licence", "not stated")),
        expression_names=tuple(map(str, arrays.get("expression_names", ()))),
    )
