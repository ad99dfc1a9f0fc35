"""A network on disk: Keras' own `.keras` archive, with the UV layout that its maps mean as one more entry.

Plain `keras.saving.load_model` opens the file too, on any backend, in safe mode.
"""

import io
import shutil
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path

import h5py
import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.geometry.uv_layout import UVLayout

LAYOUT_ENTRY = "uv_layout.npz"
WEIGHTS_ENTRY = "model.weights.h5"

MAX_BYTES = 1 << 29
"""An archive that unpacks to more is refused; our largest network has 54 MB."""


def save_network(network: keras.Model, layout: UVLayout, path, *, half: bool = False) -> None:
    """Write a network and its layout. half : store the weights as float16, half the size; they open as float32."""
    with atomic_write(path) as temporary:
        network.save(temporary)
        if half:
            _halve_weights(temporary)
        arrays = io.BytesIO()
        np.savez_compressed(arrays, **{field.name: getattr(layout, field.name) for field in fields(layout)})
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(LAYOUT_ENTRY, arrays.getvalue())


def load_network(path) -> tuple[keras.Model, UVLayout]:
    """Open what `save_network` wrote, for inference. Raises `UserError` for anything else."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such model file; train one with train_model.py")
    try:
        with zipfile.ZipFile(path) as archive:
            layout = _read_layout(archive)
    except KeyError:
        raise UserError(f"{path}: holds no UV layout; save it with prnet.model.saved_network.save_network") from None
    except Exception:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: damaged, or not a .keras file; train or export the model again") from None
    try:
        network = keras.saving.load_model(path, compile=False)
        taken, given = network.input_shape, network.output_shape
    except Exception as error:
        raise UserError(f"{path}: Keras {keras.__version__} cannot open the network: {_first_line(error)}") from error
    if len(taken) != 4 or not taken[1] or taken[1] != taken[2] or taken[3] != 3 or given != taken:
        raise UserError(f"{path}: maps {taken} to {given}, not a square crop to a map of its size")
    return network, layout


def _read_layout(archive: zipfile.ZipFile) -> UVLayout:
    _require_modest(archive)
    with np.load(io.BytesIO(archive.read(LAYOUT_ENTRY))) as arrays:
        _require_modest(arrays.zip)
        layout = UVLayout(**{field.name: arrays[field.name] for field in fields(UVLayout)})
    shapes = (layout.landmark_uv.shape, layout.region_weights.shape, layout.canonical_map.shape)
    if shapes != ((LANDMARK_COUNT, 2), (MAP_SIZE, MAP_SIZE), (MAP_SIZE, MAP_SIZE, 3)):
        raise ValueError(f"a layout of shapes {shapes}")
    return layout


def _require_modest(archive: zipfile.ZipFile) -> None:
    if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
        raise ValueError("unpacks to more than any network")


def _halve_weights(path: Path) -> None:
    """Rewrite a `.keras` file with its floating-point weights as float16."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        full, halved, smaller = (Path(folder) / name for name in ("full.h5", "halved.h5", "smaller.keras"))
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as target:
            full.write_bytes(source.read(WEIGHTS_ENTRY))
            with h5py.File(full) as weights, h5py.File(halved, "w") as result:
                _copy_halved(weights, result)
            for name in source.namelist():
                if name == WEIGHTS_ENTRY:
                    target.write(halved, name)
                else:
                    target.writestr(name, source.read(name))
        shutil.move(smaller, path)


def _copy_halved(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_halved(item, target.create_group(name))
        else:
            values = item[()]
            dtype = np.float16 if np.issubdtype(values.dtype, np.floating) else values.dtype
            target.create_dataset(name, data=values.astype(dtype)).attrs.update(item.attrs)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
