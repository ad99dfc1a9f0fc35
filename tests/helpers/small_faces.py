"""A face model of 81 vertices, and photos with fits of it as 300W-LP and AFLW2000-3D store them."""

import io
import zipfile

import cv2
import numpy as np
from scipy.io import savemat

from prnet.configure.config import MAP_SIZE
from prnet.geometry.face_model import FaceModel

PHOTO_SIDE = 64


def make_small_model(shape_count: int = 3, expression_count: int = 2) -> FaceModel:
    """A bump over a 9 x 9 grid with random bases."""
    random = np.random.default_rng(1)
    v, u = np.divmod(np.arange(81), 9)
    uv = np.stack([u, 8 - v], axis=-1).astype(np.float32) / 8
    mean = np.column_stack([2 * uv - 1, 1 - ((2 * uv - 1) ** 2).sum(axis=-1) / 2]).astype(np.float32)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 9, corner + 1], -1), np.stack([corner + 1, corner + 9, corner + 10], -1)]
    )
    return FaceModel(
        mean=mean,
        shape_basis=random.normal(size=(81, 3, shape_count)).astype(np.float32),
        expression_basis=random.normal(size=(81, 3, expression_count)).astype(np.float32),
        shape_deviation=np.ones(shape_count, np.float32),
        expression_deviation=np.ones(expression_count, np.float32),
        triangles=triangles.astype(np.int32),
        landmark_vertices=np.arange(68, dtype=np.int32)[:, None],
        landmark_weights=np.ones((68, 1), np.float32),
        uv=uv,
        mean_texture=np.full((81, 3), 0.5, np.float32),
        region_weights=np.full((MAP_SIZE, MAP_SIZE), 3, np.float32),
        source="test",
        licence="none",
    )


def small_photo(seed: int = 0, side: int = PHOTO_SIDE, suffix: str = ".jpg") -> bytes:
    """An encoded photo of smooth noise."""
    grain = np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return cv2.imencode(suffix, cv2.resize(grain, (side, side)))[1].tobytes()


def fit_fields(seed: int = 0, landmarks: bool = False, side: int = PHOTO_SIDE) -> dict[str, np.ndarray]:
    """The fields of a `.mat` file whose face lies in the middle of the photo."""
    random = np.random.default_rng(seed)
    yaw = random.uniform(-1, 1)
    fields = {
        "Shape_Para": 0.05 * random.normal(size=(3, 1)),
        "Exp_Para": 0.05 * random.normal(size=(2, 1)),
        "Pose_Para": np.array([[0.1, yaw, 0.05, side / 2, side / 2, 0, side / 4]], np.float32),
        "pt2d": np.zeros((2, 68)),
    }
    return fields | ({"pt3d_68": random.uniform(1, side, (3, 68)).astype(np.float32)} if landmarks else {})


def mat_bytes(fields: dict, **options) -> bytes:
    """A `.mat` file with these fields."""
    stream = io.BytesIO()
    savemat(stream, fields, **options)
    return stream.getvalue()


def small_files(stems: list[str], landmarks: bool = False) -> dict[str, bytes]:
    """Photos and fits by file name for stems such as `300W_LP/AFW/AFW_1_0`."""
    files = {}
    for seed, stem in enumerate(stems):
        files[f"{stem}.jpg"] = small_photo(seed)
        files[f"{stem}.mat"] = mat_bytes(fit_fields(seed, landmarks))
    return files


def write_zip(path, files: dict[str, bytes]):
    """Write files into a new zip archive and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path, files: dict[str, bytes]):
    """Write files below a folder and return it."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
