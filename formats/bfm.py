"""Basel Face Model files to a `FaceModel`: face3d's `BFM.mat`, or the raw model with the files of 3DDFA.

All of them are MATLAB files with 1-based indices, coordinates flattened as x, y, z of one vertex after another, in
micrometres, x to the image's right, y up, z to the camera; colours are 0 to 255.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import QhullError

from prnet.common.errors import UserError
from prnet.common.files import read_file
from prnet.configure.config import FACE_WEIGHT, FEATURE_WEIGHT, LANDMARK_COUNT, LANDMARK_WEIGHT, MAP_SIZE, NOSE_TIP
from prnet.formats.face_model_file import check_face_model
from prnet.formats.image_files import decode_grey
from prnet.formats.mat_files import read_mat_arrays
from prnet.geometry.face_model import FaceModel, TextureBasis, at_landmarks
from prnet.geometry.mesh import facing_outwards, vertex_normals
from prnet.geometry.regions import derive_region_weights
from prnet.geometry.tutte import tutte_embedding
from prnet.geometry.uv_layout import texel_coordinates

BFM_LICENCE = (
    "Basel Face Model (University of Basel; Paysan et al., AVSS 2009), expressions of 3DDFA (Zhu et al., CVPR 2016): "
    "research use under the licence agreement of the Basel Face Model, no redistribution"
)

MAX_FILE_BYTES = 1 << 31
"""All arrays of a MATLAB file may not take more; those of face3d's `BFM.mat` with 199 components in float64 take 0.6
GB, and the file is the user's own."""


def read_face3d_model(
    path: str | Path, uv_path: str | Path | None = None, uv_data: str | Path | None = None
) -> FaceModel:
    """Face model of face3d's `BFM.mat`, a struct `model`.

    uv_path : `BFM_UV.mat`, else the mesh is flattened (`geometry.tutte`). uv_data : folder of PRNet's own masks, else
    the regions are derived from the landmarks (`geometry.regions`). Whatever is missing or wrong is a `UserError` that
    names file and field.
    """
    bfm = _MatFile(path, struct="model")
    mean = bfm.points("shapeMU")
    model = _untextured(
        mean=mean + bfm.column("expMU", rows=len(mean)),
        shape_basis=bfm.basis("shapePC", rows=len(mean)),
        shape_deviation=bfm.column("shapeEV"),
        expression_basis=bfm.basis("expPC", rows=len(mean)),
        expression_deviation=bfm.column("expEV"),
        triangles=bfm.triangles("tri", len(mean) // 3),
        landmark_vertices=bfm.landmarks("kpt_ind", len(mean) // 3),
        mean_texture=bfm.column("texMU", rows=len(mean)),
        texture=_texture(bfm, len(mean)),
        source=f"face3d {Path(path).name}",
    )
    return _with_uv(model, path, uv_path, uv_data)


def read_raw_model(
    path: str | Path,
    expression_path: str | Path,
    info_path: str | Path,
    uv_path: str | Path | None = None,
    uv_data: str | Path | None = None,
) -> FaceModel:
    """Face model of the raw `01_MorphableModel.mat` (53,490 vertices) with the expressions and the trim of 3DDFA.

    expression_path : `Model_Exp.mat` or `Model_Expression.mat` with `mu_exp`, `w_exp` and `sigma_exp`, of the kept
    vertices. info_path : `model_info.mat` or `BFM_info.mat` with `trimIndex`, the raw vertices to keep in their new
    order, and `keypoints` or `kpt_ind`, the landmarks among them. The triangles are its `tri`, or where it has none,
    those of the raw `tl` whose vertices are all kept. uv_path, uv_data and errors : as in `read_face3d_model`.
    """
    raw, expression = _MatFile(path), _MatFile(expression_path)
    info = _MatFile(info_path, struct="model_info")
    raw_mean = raw.points("shapeMU")
    kept = info.vertices("trimIndex", len(raw_mean) // 3).ravel()
    rows = (3 * kept[:, None] + np.arange(3)).ravel()
    mean = raw_mean[rows]
    if "tri" in info:
        triangles = info.triangles("tri", len(kept))
    else:
        place = np.full(len(raw_mean) // 3, -1, dtype=np.int32)
        place[kept] = np.arange(len(kept))
        triangles = place[raw.triangles("tl", len(raw_mean) // 3)]
        triangles = triangles[(triangles >= 0).all(axis=1)]
    model = _untextured(
        mean=mean + expression.column("mu_exp", rows=len(mean)),
        shape_basis=raw.basis("shapePC", rows=len(raw_mean))[kept],
        shape_deviation=raw.column("shapeEV"),
        expression_basis=expression.basis("w_exp", rows=len(mean)),
        expression_deviation=expression.column("sigma_exp"),
        triangles=triangles,
        landmark_vertices=info.landmarks("keypoints" if "keypoints" in info else "kpt_ind", len(kept)),
        mean_texture=raw.column("texMU", rows=len(raw_mean))[rows],
        texture=_texture(raw, len(raw_mean), kept),
        source=", ".join(Path(file).name for file in (path, expression_path, info_path)),
    )
    return _with_uv(model, path, uv_path, uv_data)


def _texture(file: "_MatFile", rows: int, kept: np.ndarray | slice = slice(None)) -> TextureBasis | None:
    """The albedo's components, those that change anything; None where the file has none."""
    if "texPC" not in file or "texEV" not in file:
        return None
    basis = file.basis("texPC", rows)[kept] / np.float32(255)
    deviation = file.column("texEV", rows=basis.shape[2])
    used = (deviation > 0) & (np.abs(basis).max(axis=(0, 1)) > 0)
    if not used.any():
        return None
    return TextureBasis(np.ascontiguousarray(basis[:, :, used]), deviation[used])


def _untextured(
    *,
    mean: np.ndarray,
    triangles: np.ndarray,
    landmark_vertices: np.ndarray,
    mean_texture: np.ndarray,
    texture: TextureBasis | None,
    source: str,
    **bases: Any,
) -> FaceModel:
    """The model before it has UV coordinates and regions, from flat arrays."""
    mean = mean.reshape(-1, 3)
    return FaceModel(
        mean=mean,
        triangles=facing_outwards(triangles, vertex_normals(mean, triangles)[landmark_vertices[NOSE_TIP]]),
        landmark_vertices=landmark_vertices[:, None],
        landmark_weights=np.ones((len(landmark_vertices), 1), np.float32),
        mean_texture=np.clip(mean_texture.reshape(-1, 3) / 255, 0, 1),
        texture=texture,
        uv=np.zeros((len(mean), 2), dtype=np.float32),
        region_weights=np.zeros((MAP_SIZE, MAP_SIZE), dtype=np.float32),
        source=source,
        licence=BFM_LICENCE,
        **bases,
    )


def _with_uv(model: FaceModel, path: str | Path, uv_path: str | Path | None, uv_data: str | Path | None) -> FaceModel:
    """The model with its UV coordinates and region weights, checked."""
    if uv_path is not None:
        uv = _MatFile(uv_path).texture_coordinates("UV", len(model.mean))
    else:
        try:
            uv = tutte_embedding(model.mean, model.triangles).astype(np.float32)
        except ValueError as error:
            raise UserError(f"{path}: cannot be flattened, {error}; give its UV coordinates as `uv`") from error
    landmark_uv = at_landmarks(model, uv)
    try:
        weights = derive_region_weights(landmark_uv) if uv_data is None else read_region_weights(uv_data, landmark_uv)
    except QhullError:
        raise UserError(f"{path}: its landmarks lie on top of each other; give a model with 68 of them") from None
    return check_face_model(replace(model, uv=uv, region_weights=weights), path)


def read_region_weights(folder: str | Path, landmark_uv: np.ndarray) -> np.ndarray:
    """Region weights (256, 256) float32 from PRNet's own masks; what the folder lacks is derived from the landmarks.

    folder : holds `uv_face_mask.png`, `uv_weight_mask.png` or both, which belong to the coordinates of `BFM_UV.mat`:
    where `uv_kpt_ind.txt` (2, 68: column, row) shows that the landmarks (68, 2) lie elsewhere, it is refused.
    """
    folder = Path(folder)
    face_path, weight_path, landmark_path = (
        folder / name for name in ("uv_face_mask.png", "uv_weight_mask.png", "uv_kpt_ind.txt")
    )
    if not face_path.is_file() and not weight_path.is_file():
        raise UserError(f"{folder}: neither {face_path.name} nor {weight_path.name} in it; give PRNet's folder uv-data")
    if landmark_path.is_file():
        _check_landmark_texels(landmark_path, landmark_uv)
    derived = derive_region_weights(landmark_uv)
    face = _read_mask(face_path) > 127 if face_path.is_file() else derived > 0
    features = _feature_texels(_read_mask(weight_path)) if weight_path.is_file() else derived == FEATURE_WEIGHT
    return np.where(face, np.where(features, FEATURE_WEIGHT, FACE_WEIGHT), 0).astype(np.float32)


def _feature_texels(weight_mask: np.ndarray) -> np.ndarray:
    """Eyes, nose and mouth of PRNet's weight mask: 255 / 16 of each weight, with landmarks and soft edges on top."""
    level = weight_mask * (LANDMARK_WEIGHT / 255)
    nearest = distance_transform_edt(level > FEATURE_WEIGHT + 0.5, return_distances=False, return_indices=True)
    return level[tuple(nearest)] > (FEATURE_WEIGHT + FACE_WEIGHT) / 2


def _check_landmark_texels(path: Path, landmark_uv: np.ndarray) -> None:
    try:
        texels = np.loadtxt(path)
    except ValueError as error:
        raise UserError(f"{path}: not a table of numbers") from error
    if texels.shape != (2, LANDMARK_COUNT):
        raise UserError(f"{path}: has shape {texels.shape} and not (2, {LANDMARK_COUNT})")
    distance = np.linalg.norm(texel_coordinates(landmark_uv, MAP_SIZE) - texels.T, axis=1).mean()
    if distance > 2:
        raise UserError(
            f"{path}: its landmarks lie {distance:.1f} texels from the face model's; these masks belong to the"
            " coordinates of BFM_UV.mat, give that as `uv`"
        )


def _read_mask(path: Path) -> np.ndarray:
    mask = decode_grey(path.read_bytes(), str(path))
    if mask.shape != (MAP_SIZE, MAP_SIZE):
        raise UserError(f"{path}: has shape {mask.shape} and not ({MAP_SIZE}, {MAP_SIZE})")
    return mask


class _MatFile:
    """The arrays of a MATLAB file and of one struct in it, each checked as it is asked for.

    Every method gives float32 or, 0-based, int32. What is missing or wrong is a `UserError` that names file and field.
    """

    def __init__(self, path: str | Path, struct: str | None = None):
        self.path = path
        try:
            arrays = read_mat_arrays(read_file(path, MAX_FILE_BYTES), MAX_FILE_BYTES)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        self.content = {name.removeprefix(f"{struct}."): array for name, array in arrays.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def _numbers(self, name: str) -> np.ndarray:
        if name not in self.content:
            there = ", ".join(self.content) or "no arrays of numbers"
            raise UserError(f"{self.path}: has no array {name}; it holds {there}")
        values = self.content[name]
        if values.ndim != 2 or not values.size:
            raise self._wrong_shape(name, "a table")
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {name} holds NaN or infinity")
        return values

    def _wrong_shape(self, name: str, wanted: str) -> UserError:
        return UserError(f"{self.path}: {name} has shape {self.content[name].shape} and not {wanted}")

    def column(self, name: str, rows: int | None = None) -> np.ndarray:
        """(rows,)"""
        values = self._numbers(name)
        if min(values.shape) != 1 or (rows is not None and values.size != rows):
            raise self._wrong_shape(name, f"({'n' if rows is None else rows}, 1)")
        return values.ravel().astype(np.float32)

    def points(self, name: str) -> np.ndarray:
        """(3 V,), x, y, z after one another."""
        values = self.column(name)
        if len(values) % 3:
            raise self._wrong_shape(name, "(3 n, 1)")
        return values

    def basis(self, name: str, rows: int) -> np.ndarray:
        """(rows / 3, 3, K) of (rows, K)."""
        values = self._numbers(name)
        if len(values) != rows:
            raise self._wrong_shape(name, f"({rows}, n)")
        return np.ascontiguousarray(values, dtype=np.float32).reshape(rows // 3, 3, -1)

    def vertices(self, name: str, count: int) -> np.ndarray:
        """Indices of `count` vertices, in the file's shape."""
        values = self._numbers(name)
        if values.min() < 1 or values.max() > count or (values % 1).any():
            raise UserError(f"{self.path}: {name} is not made of vertex numbers from 1 to {count}")
        return values.astype(np.int32) - 1

    def triangles(self, name: str, count: int) -> np.ndarray:
        """(T, 3) of (3, T) or (T, 3)."""
        values = self.vertices(name, count)
        if 3 not in values.shape:
            raise self._wrong_shape(name, "(3, n)")
        return np.ascontiguousarray(values.T if values.shape[0] == 3 else values)

    def landmarks(self, name: str, count: int) -> np.ndarray:
        """(68,)"""
        values = self.vertices(name, count).ravel()
        if len(values) != LANDMARK_COUNT:
            raise self._wrong_shape(name, f"(1, {LANDMARK_COUNT})")
        return values

    def texture_coordinates(self, name: str, count: int) -> np.ndarray:
        """(count, 2) in 0 to 1."""
        values = self._numbers(name)
        if values.shape != (count, 2):
            raise self._wrong_shape(name, f"({count}, 2)")
        if values.min() < 0 or values.max() > 1:
            raise UserError(f"{self.path}: {name} leaves 0 to 1")
        return values.astype(np.float32)
