"""ICT-FaceKit (Li et al., CVPR 2020; MIT licence) to a `FaceModel`, from its repository as it is published.

`FaceXModel/` holds one OBJ file for the neutral face, one for each identity and each expression, in centimetres, x to
the image's right, y up, z to the viewer; all have the neutral's polygons. `vertex_indices.json` lists the expressions
that are used. The repository gives no texture.
"""

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial import cKDTree

from prnet.common.errors import UserError
from prnet.configure.config import FACE_WEIGHT, FEATURE_WEIGHT, MAP_SIZE
from prnet.formats.face_model_file import check_face_model
from prnet.geometry.face_model import FaceModel, MediaPipePoints, mixture
from prnet.geometry.mesh import boundary_loops
from prnet.geometry.rasterise import interpolate, rasterise
from prnet.geometry.tutte import tutte_embedding
from prnet.geometry.uv_layout import texel_coordinates

PARTS = {"face": 9409, "head": 11248}
"""The mesh's first vertices are the face with ears and neck, then come the rest of head and neck (its README)."""

NARROW_FACE = 6706
"""The first of them are the face alone, from the hairline to below the chin and to the ears (its README)."""

IDENTITIES = 100

CORRESPONDENCES = Path(__file__).resolve().parents[1] / "resource" / "ict" / "correspondences.npz"
"""Where the 68 landmarks of 300W-LP and MediaPipe's 468 points lie on this mesh, computed for this project."""

OTHER_DEVIATION = 0.1
"""Standard deviation of the coefficient, 0 to 1, of an expression for which `CORRESPONDENCES` has none."""

LAYOUT_ROUNDS, OUTSIDE_IMPORTANCE = 3, 0.5
"""Relaxation of the UV layout (`prnet.geometry.tutte`), and how much ears and neck count in it."""

CHIN, NECK_MARGIN = 8, 0.5
"""Landmark, and how far below it, in centimetres, the face ends."""

FACE_MARGIN = 1.0
"""How far in cm beyond the narrow face its weight goes, so that the jaw's landmarks lie within it."""

FEATURE_REACH = 1.0
"""Distance in cm from the landmarks' lines, or from the rim of a hole, that has the weight of a feature."""

_FEATURE_LINES = ((27, 30), (31, 35), (36, 41), (42, 47), (48, 59), (60, 67))
_CLAY = 0.75
_MOST_BYTES = 1 << 25


def read_ict_model(path: str | Path, identity_count: int = IDENTITIES, part: str = "face") -> FaceModel:
    """Face model of the ICT-FaceKit repository, a folder or a zip of it.

    identity_count : how many of the 100 identity components, the first ones; their coefficients have a standard
    deviation of 1. part : "face", or "head" with the back of head and neck. What is missing or wrong is a `UserError`
    that names the file. Holes stay open: eyes and mouth belong to no region.
    """
    files = _Repository(path)
    count = PARTS[part]
    mean, polygons = files.vertices("generic_neutral_mesh.obj", count), files.polygons("generic_neutral_mesh.obj")
    names = files.expression_names()
    arkit_names = tuple(map(arkit_name, names))
    triangles = _symmetric_triangles(mean, [polygon for polygon in polygons if max(polygon) < count], path)
    with np.load(CORRESPONDENCES) as places:
        landmarks = places["landmark_vertices"], places["landmark_weights"]
        points = MediaPipePoints(**{field.name: places[f"mediapipe_{field.name}"] for field in fields(MediaPipePoints)})
        deviations = dict(zip(places["expression_names"].tolist(), places["expression_deviations"], strict=True))
    uv = _layout(mean, triangles, path)
    model = FaceModel(
        mean=mean,
        shape_basis=files.basis([f"identity{number:03d}" for number in range(identity_count)], mean),
        expression_basis=files.basis(names, mean),
        shape_deviation=np.ones(identity_count, np.float32),
        expression_deviation=np.array([deviations.get(name, OTHER_DEVIATION) for name in arkit_names], np.float32),
        triangles=triangles,
        landmark_vertices=landmarks[0],
        landmark_weights=landmarks[1],
        uv=uv,
        mean_texture=np.full((count, 3), _CLAY, np.float32),
        region_weights=_region_weights(mean, triangles, uv, mixture(mean, *landmarks), part),
        source=f"ICT-FaceKit, {part}",
        licence=files.licence(),
        expression_names=arkit_names,
        mediapipe=points,
    )
    return check_face_model(model, path)


def arkit_name(name: str) -> str:
    """The name of an expression in ARKit's spelling: `browDown_L` is `browDownLeft`, of the person's left side."""
    return re.sub("_([LR])$", lambda side: {"L": "Left", "R": "Right"}[side[1]], name)


def _symmetric_triangles(mean: np.ndarray, polygons: list[list[int]], path: str | Path) -> np.ndarray:
    """Triangles (T, 3) int32. Quads are cut at their corner nearest to the mid-plane, alike on both sides."""
    twin = cKDTree(mean).query(mean * (-1, 1, 1))[1]
    sideways = np.abs(mean[:, 0]) + np.abs(mean[twin, 0])
    height = mean[:, 1] + mean[twin, 1]
    keys = list(zip(np.round(sideways, 3).tolist(), np.round(-height, 3).tolist(), strict=True))
    triangles = []
    for polygon in polygons:
        if len(polygon) not in (3, 4):
            raise UserError(f"{path}: has a polygon of {len(polygon)} corners; give ICT-FaceKit as it is published")
        start = min(range(len(polygon)), key=lambda corner: keys[polygon[corner]])
        a, *others = polygon[start:] + polygon[:start]
        triangles += [(a, b, c) for b, c in zip(others, others[1:], strict=False)]
    return np.array(triangles, dtype=np.int32)


def _layout(mean: np.ndarray, triangles: np.ndarray, path: str | Path) -> np.ndarray:
    importance = np.where(np.arange(len(mean)) < NARROW_FACE, 1.0, OUTSIDE_IMPORTANCE)
    try:
        return tutte_embedding(mean, triangles, LAYOUT_ROUNDS, importance).astype(np.float32)
    except ValueError as error:
        raise UserError(f"{path}: cannot be flattened, {error}; give ICT-FaceKit as it is published") from error


def _region_weights(
    mean: np.ndarray, triangles: np.ndarray, uv: np.ndarray, landmarks: np.ndarray, part: str
) -> np.ndarray:
    """(256, 256) float32: the weights of eyes with their lids, nose and lips, of the rest of the face or head, and 0 in
    holes and, of the part "face", on ears and neck; the same on both sides."""
    rims = np.concatenate([mean[rim] for rim in boundary_loops(triangles, mean)[1:]])
    lines = [_closed_line(landmarks[first : last + 1]) for first, last in _FEATURE_LINES]
    is_feature = cKDTree(np.concatenate([rims, *lines])).query(mean)[0] < FEATURE_REACH
    is_face = cKDTree(mean[:NARROW_FACE]).query(mean)[0] < (FACE_MARGIN if part == "face" else np.inf)
    place = np.column_stack([texel_coordinates(uv, MAP_SIZE), np.zeros(len(uv))])
    raster = rasterise(place, triangles, MAP_SIZE, MAP_SIZE, two_sided=True)
    of_vertices = np.column_stack([is_face, is_feature, mean[:, 1]])
    face, feature, height = np.moveaxis(interpolate(raster, triangles, of_vertices), 2, 0)
    face, feature = face > 0.5, feature > 0.5
    if part == "face":
        face &= height > landmarks[CHIN, 1] - NECK_MARGIN
    face, feature = face & face[:, ::-1], feature & feature[:, ::-1]
    return np.where(face, np.where(feature, FEATURE_WEIGHT, FACE_WEIGHT), 0).astype(np.float32)


def _closed_line(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) with nine more between each two neighbours, the last and the first among them."""
    share = np.linspace(0, 1, 10, endpoint=False)[:, None, None]
    return ((1 - share) * points + share * np.roll(points, -1, axis=0)).reshape(-1, 3)


class _Repository:
    """The files of ICT-FaceKit in a folder or a zip, found by the place of the neutral mesh."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            self._names = {file.relative_to(self.path).as_posix() for file in self.path.rglob("*")}
            self._read: Callable[[str], bytes] = lambda name: (self.path / name).read_bytes()
        else:
            self._archive = self._open()
            self._names = set(self._archive.namelist())
            self._read = self._unpack
        neutral = [name for name in sorted(self._names) if PurePosixPath(name).name == "generic_neutral_mesh.obj"]
        if not neutral:
            raise UserError(
                f"{path}: holds no generic_neutral_mesh.obj; give the repository ICT-FaceKit, or a zip of it"
            )
        self._folder = PurePosixPath(min(neutral, key=len)).parent

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such folder or zip; give the repository ICT-FaceKit") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: not a readable zip ({error}); give the repository ICT-FaceKit") from None

    def _unpack(self, name: str) -> bytes:
        entry = self._archive.getinfo(name)
        if entry.file_size > _MOST_BYTES:
            raise ValueError(f"unpacks to {entry.file_size:,} bytes")
        return self._archive.read(entry)

    def text(self, name: str, folder: PurePosixPath | None = None) -> str:
        place = str((folder or self._folder) / name)
        if place not in self._names:
            raise UserError(f"{self.path}: lacks {place}; give ICT-FaceKit as it is published")
        try:
            return self._read(place).decode()
        except Exception as error:  # a damaged archive leads its reader to exceptions of many kinds
            raise UserError(f"{self.path}: {place} cannot be read ({error}); download it again") from None

    def vertices(self, name: str, count: int) -> np.ndarray:
        """The first vertices of an OBJ file, (count, 3) float32."""
        lines = [line[2:] for line in self.text(name).splitlines() if line.startswith("v ")][:count]
        try:
            values = np.array(" ".join(lines).split(), dtype=np.float32).reshape(count, 3)
        except ValueError:
            raise UserError(
                f"{self.path}: {name} has no {count:,} vertices of three numbers; download it again"
            ) from None
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {name} holds NaN or infinity; download it again")
        return values

    def polygons(self, name: str) -> list[list[int]]:
        """The vertices of each polygon of an OBJ file, 0-based."""
        lines = (line.split()[1:] for line in self.text(name).splitlines() if line.startswith("f "))
        try:
            found = [[int(corner.partition("/")[0]) - 1 for corner in line] for line in lines]
        except ValueError:
            raise UserError(f"{self.path}: {name} has polygons that are no numbers; download it again") from None
        if not found or not all(found) or min(map(min, found)) < 0:
            raise UserError(f"{self.path}: {name} has no polygons, or vertices below 1; download it again")
        return found

    def expression_names(self) -> list[str]:
        try:
            names = json.loads(self.text("vertex_indices.json"))["expressions"]
        except (ValueError, KeyError, TypeError):
            names = None
        if not names or not all(isinstance(name, str) for name in names):
            raise UserError(f"{self.path}: vertex_indices.json lists no expressions; download it again")
        return names

    def basis(self, names: list[str], mean: np.ndarray) -> np.ndarray:
        """What each mesh adds to the mean, (V, 3, K) float32."""
        return np.stack([self.vertices(f"{name}.obj", len(mean)) - mean for name in names], axis=-1)

    def licence(self) -> str:
        return self.text("LICENSE", self._folder.parent).strip()
