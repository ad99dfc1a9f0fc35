"""`face_model.hdf5`: a `FaceModel` on disk, versioned and readable with plain h5py.

The root's attributes are `format` ("face model"), `format_version`, `source`, `licence` and `identity`; every array of
`FaceModel` is a data set of the same name, shape and type, with its meaning in the attribute `description`. The data
set `expression_names` (E texts) and the groups `mediapipe` and `texture` are there where they are known. Version 1 had
neither, and its landmarks were vertices: `landmark_vertices` (68,), no `landmark_weights`.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.configure.config import FACE_MODEL_PATH, LANDMARK_COUNT, MAP_SIZE, MEDIAPIPE_COUNT
from prnet.configure.programs import command
from prnet.formats.hdf5_attributes import as_text, write_texts
from prnet.formats.hdf5_file import DeferredErrorFile
from prnet.formats.hdf5_sets import own_item
from prnet.geometry.face_model import FaceModel, MediaPipePoints, TextureBasis

FORMAT = "face model"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)


_ARRAYS = {
    "mean": (np.float32, ("V", 3), "mean face, model units: x to the image's right, y up, z to the camera"),
    "shape_basis": (np.float32, ("V", 3, "S"), "identity components, model units per unit of Shape_Para"),
    "expression_basis": (np.float32, ("V", 3, "E"), "expression components, model units per unit of Exp_Para"),
    "shape_deviation": (np.float32, ("S",), "standard deviations of the identity coefficients"),
    "expression_deviation": (np.float32, ("E",), "standard deviations of the expression coefficients"),
    "triangles": (np.int32, ("T", 3), "vertices, 0-based, counter-clockwise as seen from outside"),
    "landmark_vertices": (np.int32, (LANDMARK_COUNT, "M"), "vertices that make the 68 landmarks, iBUG order, 0-based"),
    "landmark_weights": (np.float32, (LANDMARK_COUNT, "M"), "their shares, which sum to 1 for each landmark"),
    "uv": (np.float32, ("V", 2), "texture coordinates, 0 to 1: u to the image's right, v up"),
    "mean_texture": (np.float32, ("V", 3), "mean colour, RGB, 0 to 1"),
    "region_weights": (np.float32, (MAP_SIZE, MAP_SIZE), "on the UV grid: 0 off the face, 3 face, 4 eyes, nose, mouth"),
}


_MEDIAPIPE_ARRAYS = {
    "vertices": (np.int32, (MEDIAPIPE_COUNT, 3), "vertices that make the points of MediaPipe's face mesh, 0-based"),
    "weights": (np.float32, (MEDIAPIPE_COUNT, 3), "their shares, which sum to 1 for each point"),
    "distance": (np.float32, (MEDIAPIPE_COUNT,), "from MediaPipe's own mesh to that place, model units"),
    "shift": (np.float32, (MEDIAPIPE_COUNT, 3), "from that place to where the points lie on photos, model units"),
}

_TEXTURE_ARRAYS = {
    "basis": (np.float32, ("V", 3, "A"), "albedo components, RGB, 0 to 1, per unit of their coefficients"),
    "deviation": (np.float32, ("A",), "standard deviations of the albedo coefficients"),
}

_GROUPS: dict[str, tuple[dict, type, str]] = {
    "mediapipe": (_MEDIAPIPE_ARRAYS, MediaPipePoints, "the points of MediaPipe's face mesh on this face"),
    "texture": (_TEXTURE_ARRAYS, TextureBasis, "how the albedo of faces varies about mean_texture"),
}
"""Parts that a face model may have: their arrays, their class and what they are."""


def check_face_model(model: FaceModel, name: str | Path) -> FaceModel:
    """The model itself, or a `UserError` that begins with `name` and names the array that is wrong.

    Types, shapes that must agree with each other, vertex indices, finite values, coordinates and colours in 0 to 1,
    shares that sum to 1.
    """
    sizes: dict[str, int] = {}
    for field, (kind, shape, _) in _ARRAYS.items():
        _check_array(getattr(model, field), field, kind, shape, sizes, name)
    shares = {"landmark_weights": model.landmark_weights}
    for group, (arrays, _, _) in _GROUPS.items():
        for field, (kind, shape, _) in arrays.items() if getattr(model, group) is not None else ():
            _check_array(getattr(getattr(model, group), field), f"{group}/{field}", kind, shape, sizes, name)
    if model.mediapipe is not None:
        shares["mediapipe/weights"] = model.mediapipe.weights
    for field, array in shares.items():
        if np.abs(array.sum(axis=1) - 1).max() > 1e-3:
            raise UserError(f"{name}: {field} does not sum to 1 for each point; make the face model again")
    for field in ("uv", "mean_texture"):
        array = getattr(model, field)
        if array.min() < 0 or array.max() > 1:
            raise UserError(f"{name}: {field} leaves 0 to 1; make the face model again")
    if not model.region_weights.any() or model.region_weights.min() < 0:
        raise UserError(f"{name}: region_weights holds no face or negative weights; make the face model again")
    if model.expression_names and len(set(model.expression_names)) != sizes["E"]:
        raise UserError(
            f"{name}: has {len(model.expression_names)} expression_names for {sizes['E']} components,"
            " which must differ; make the face model again"
        )
    return model


def _check_array(array: np.ndarray, field: str, kind: type, shape: tuple, sizes: dict, name: str | Path) -> None:
    """One array's type, shape and values. sizes : what each letter of a shape stands for, as found so far."""
    if array.dtype != kind:
        raise UserError(f"{name}: {field} is {array.dtype} and not {np.dtype(kind)}; make the face model again")
    if array.ndim == len(shape):
        for letter, length in zip(shape, array.shape, strict=True):
            if isinstance(letter, str):
                sizes.setdefault(letter, length)
    expected = tuple(sizes.get(length, length) for length in shape)
    if array.shape != expected:
        wanted = " x ".join(map(str, expected))
        raise UserError(f"{name}: {field} has shape {array.shape} and not {wanted}; make the face model again")
    if kind is np.float32 and not np.isfinite(array).all():
        raise UserError(f"{name}: {field} holds NaN or infinity; make the face model again")
    if kind is np.int32 and (array.size == 0 or array.min() < 0 or array.max() >= sizes["V"]):
        raise UserError(f"{name}: {field} points outside the {sizes['V']} vertices; make the face model again")


def save_face_model(model: FaceModel, path: str | Path) -> None:
    """Write a face model to an HDF5 file; an older file at `path` is replaced once the new one is whole."""
    check_face_model(model, path)
    with (
        atomic_write(path) as temporary,
        DeferredErrorFile(temporary, path) as raw,
        h5py.File(raw, "w", libver=("v110", "v110")) as file,
    ):
        file.attrs["format_version"] = FORMAT_VERSION
        write_texts(file, format=FORMAT, source=model.source, licence=model.licence, identity=model.identity)
        _write_arrays(file, model, _ARRAYS)
        for name, (arrays, _, description) in _GROUPS.items():
            if getattr(model, name) is not None:
                group = file.create_group(name)
                write_texts(group, description=description)
                _write_arrays(group, getattr(model, name), arrays)
        if model.expression_names:
            names = np.array([name.encode() for name in model.expression_names])
            write_texts(file.create_dataset("expression_names", data=names), description="in ARKit's spelling")


def _write_arrays(group: h5py.Group, holder: object, arrays: dict) -> None:
    for field, (_, _, description) in arrays.items():
        write_texts(group.create_dataset(field, data=getattr(holder, field)), description=description)


def load_face_model(path: str | Path = FACE_MODEL_PATH) -> FaceModel:
    """Read a face model. A file of another kind, version or content is a `UserError` that names it.

    >>> model = prnet.load_face_model("data/face_model.hdf5")
    >>> model.mean.shape, model.landmark_vertices.shape
    ((7221, 3), (68, 1))
    """
    make = command("build-face-model")
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path}: not a readable HDF5 file; make one with {make}")
    try:
        with h5py.File(path, "r") as file:
            if as_text(file.attrs.get("format")) != FORMAT:
                raise UserError(f"{path}: not a face model; make one with {make}")
            version = file.attrs.get("format_version")
            if version not in READABLE_VERSIONS:
                raise UserError(
                    f"{path}: face model of version {version}, this program reads {FORMAT_VERSION};"
                    f" make it again with {make}"
                )
            fields = [field for field in _ARRAYS if version > 1 or field != "landmark_weights"]
            present = [name for name in (*_GROUPS, "expression_names") if own_item(file, name, str(path)) is not None]
            fields += [f"{group}/{field}" for group in _GROUPS if group in present for field in _GROUPS[group][0]]
            fields += [name for name in present if name not in _GROUPS]
            found = {field: own_item(file, field, str(path)) for field in fields}
            sets = {field: item for field, item in found.items() if isinstance(item, h5py.Dataset)}
            missing = [field for field in fields if field not in sets]
            missing += [name for name in ("source", "licence", "identity") if name not in file.attrs]
            if missing:
                raise UserError(f"{path}: {', '.join(missing)} missing; make it again with {make}")
            if sum(item.nbytes for item in sets.values()) > os.path.getsize(path):
                raise UserError(f"{path}: declares more than it holds; make it again with {make}")
            identity = as_text(file.attrs["identity"])
            arrays = {field: item[()] for field, item in sets.items()}
            names = tuple(name.decode() for name in arrays.pop("expression_names", ()))
            texts = {name: as_text(file.attrs[name]) for name in ("source", "licence")}
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such face model; make one with {make}, or name another one, for good by PRNET_FACE_MODEL"
        ) from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable HDF5 file ({error}); make one with {make}") from error
    if version == 1:
        _give_weights(arrays)
    groups = {group: _group_of(group, arrays) for group in _GROUPS}
    model = FaceModel(
        **arrays,
        source=texts["source"],
        licence=texts["licence"],
        expression_names=names,
        **groups,
    )
    check_face_model(model, path)
    if model.identity != identity:
        raise UserError(f"{path}: damaged, its arrays are not those that were written; make it again")
    return model


def _group_of(group: str, arrays: dict) -> Any:
    """The part of a face model whose arrays are `group/FIELD`, which leave `arrays`; None where there are none."""
    found = {field: arrays.pop(f"{group}/{field}") for field in _GROUPS[group][0] if f"{group}/{field}" in arrays}
    return _GROUPS[group][1](**found) if found else None


def _give_weights(arrays: dict) -> None:
    """The landmarks of version 1, which are vertices, as mixtures of one vertex each."""
    arrays["landmark_vertices"] = np.atleast_1d(arrays["landmark_vertices"])[:, None]
    arrays["landmark_weights"] = np.ones_like(arrays["landmark_vertices"], dtype=np.float32)
