"""Scans, predicted meshes and their landmarks in NoW's file layout.

SCANS/imagepaths*.txt                            one SUBJECT/CHALLENGE/IMAGE.jpg a line
SCANS/scans/SUBJECT/*.obj                        one scan a person (.obj, .ply or .stl), millimetres
SCANS/scans_lmks_onlypp/SUBJECT/*.pp             its seven landmarks, or .npy, .txt; or beside the scan
PREDICTIONS/SUBJECT/CHALLENGE/IMAGE.obj          (.obj, .ply or .stl)
PREDICTIONS/SUBJECT/CHALLENGE/IMAGE.npy          its seven landmarks, or .txt; or all 68
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import read_text
from prnet.formats.number_files import read_numbers

MESH_SUFFIXES = (".obj", ".ply", ".stl")
LANDMARK_SUFFIXES = (".npy", ".txt", ".pp")


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) float64 and triangles (T, 3) of a mesh file; a scan may be points alone, T = 0. Raises UserError
    for anything else."""
    import trimesh

    try:
        loaded = trimesh.load(path, process=False, maintain_order=True, skip_materials=True)
        parts: list[Any] = list(loaded.geometry.values()) if isinstance(loaded, trimesh.Scene) else [loaded]
        vertices = np.concatenate([np.asarray(part.vertices, dtype=np.float64) for part in parts])
        starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
        faces = [np.asarray(getattr(part, "faces", np.empty((0, 3))), dtype=np.int64).reshape(-1, 3) for part in parts]
        for part, triangles in zip(parts, faces, strict=True):
            if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(part.vertices):
                raise ValueError(f"a triangle points outside the {len(part.vertices)} vertices")
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: is no readable mesh: {' '.join(str(error).split())}") from None
    if not len(vertices) or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise UserError(f"{path}: has no vertices, or some that are not finite numbers")
    return vertices, np.concatenate([triangles + start for triangles, start in zip(faces, starts, strict=True)])


def read_seven_landmarks(path: Path, of_68: tuple[int, ...]) -> np.ndarray:
    """Landmarks (7, 3) float64 in NoW's order from .npy, .txt (seven lines of three numbers) or MeshLab's .pp; of a
    file of 68 those that `of_68` names. Raises UserError for anything else."""
    numbers = read_numbers(path).astype(np.float64) if path.suffix == ".npy" else _read_text(path)
    if numbers.shape == (68, 3):
        numbers = numbers[list(of_68)]
    if numbers.shape != (7, 3):
        raise UserError(f"{path}: must hold 7 landmarks (or all 68) of three numbers, but is of shape {numbers.shape}")
    spread = np.linalg.svd(numbers - numbers.mean(axis=0), compute_uv=False)
    if spread[1] <= 1e-6 * spread[0] or spread[0] == 0:
        raise UserError(f"{path}: its landmarks lie on one line or point; pick them anew")
    return numbers


def _read_text(path: Path) -> np.ndarray:
    text = read_text(path)
    try:
        rows = _picked_points(text) if path.suffix == ".pp" else _rows(text)
        numbers = np.array(rows, dtype=np.float64)
    except (ValueError, KeyError):
        raise UserError(f"{path}: must hold landmarks of three numbers each") from None
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: holds a landmark that is not a finite number")
    return numbers


def _rows(text: str) -> list[list[float]]:
    return [[float(word) for word in re.split(r"[,\s]+", line.strip())] for line in text.splitlines() if line.strip()]


def _picked_points(text: str) -> list[list[float]]:
    tags = (tag.partition(">")[0] for tag in text.split("<point")[1:] if not tag[:1].isalnum())
    points = [dict(re.findall(r'\b([xyz])="([^"]{1,40})"', tag)) for tag in tags]
    return [[float(point[axis]) for axis in "xyz"] for point in points]


def read_image_list(path: Path) -> list[PurePosixPath]:
    """SUBJECT/CHALLENGE/IMAGE of each line. Raises UserError for anything else, or an image named twice."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    images = [PurePosixPath(line) for line in lines]
    for image in images:
        if len(image.parts) != 3 or image.is_absolute() or ".." in image.parts:
            raise UserError(f"{path}: {str(image)!r} is not SUBJECT/CHALLENGE/IMAGE")
    if not images or len(set(images)) < len(images):
        raise UserError(f"{path}: is empty, or names an image twice")
    return images


def find_image_list(folder: Path) -> Path:
    """The one imagepaths*.txt of a folder of scans. Raises UserError where there is none, or more than one."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of scans")
    found = sorted(folder.glob("imagepaths*.txt"))
    if len(found) != 1:
        raise UserError(f"{folder}: has {len(found)} imagepaths*.txt, not one; say which by `image_list`")
    return found[0]


def find_scan(folder: Path, subject: str) -> tuple[Path, Path]:
    """The mesh of a person's scan and its landmarks. Raises UserError where one is missing or there are several."""
    mesh = _only(folder / "scans" / subject, MESH_SUFFIXES, "scan")
    marks = folder / "scans_lmks_onlypp" / subject
    return mesh, _only(marks if marks.is_dir() else mesh.parent, LANDMARK_SUFFIXES, "landmark file")


def _only(folder: Path, suffixes: tuple[str, ...], what: str) -> Path:
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in suffixes)
    if len(found) != 1:
        raise UserError(f"{folder}: has {len(found)} files of a {what} ({', '.join(suffixes)}); it must have one")
    return found[0]


def find_prediction(folder: Path, image: PurePosixPath) -> tuple[Path, Path] | None:
    """The predicted mesh of an image and its landmarks; None where there is no mesh. Raises UserError for a mesh
    without landmarks."""
    stem = folder / image.with_suffix("")
    mesh, marks = (
        next((path for suffix in suffixes if (path := stem.with_name(stem.name + suffix)).is_file()), None)
        for suffixes in (MESH_SUFFIXES, LANDMARK_SUFFIXES)
    )
    if mesh is not None and marks is None:
        raise UserError(f"{mesh}: has no landmarks beside it ({stem.name}.npy or .txt)")
    return None if mesh is None or marks is None else (mesh, marks)
