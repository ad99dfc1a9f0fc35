"""The weights that the authors of PRNet published, a TensorFlow 1 checkpoint of a TF-slim graph, as a Keras network."""

from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE
from prnet.formats.number_files import read_numbers
from prnet.geometry.crop import crop_transform, landmark_box, lift_transform
from prnet.geometry.position_map import place_map
from prnet.geometry.uv_layout import UVLayout, face_mask, landmark_texels

SCOPE = "resfcn256"
"""What the names of the graph's variables begin with."""

OPTIMISER_ENDINGS = ("/Adam", "/Adam_1", "beta1_power", "beta2_power", "global_step")
"""Names that end so are the optimiser's state, which no prediction needs."""


def import_prnet(checkpoint: str | Path, uv_data: str | Path) -> tuple[Any, UVLayout]:
    """The published network and its UV layout, for `prnet.model.saved_network.save_network`.

    checkpoint : path without its endings `.index` and `.data-00000-of-00001`. uv_data : PRNet's folder `uv-data`.
    Raises `UserError` where a variable is missing, is left over, or has another shape.
    """
    from prnet.model.networks import build_network

    network = build_network("prnet", MAP_SIZE, head="sigmoid")
    values = read_checkpoint(checkpoint)
    names = variable_names(network)
    missing = [name for name in names.values() if name not in values]
    left_over = [name for name in values if name not in set(names.values()) and not is_optimiser_state(name)]
    if missing or left_over:
        raise UserError(f"{checkpoint}: not PRNet's network: lacks {missing[:3]}, has beyond it {left_over[:3]}")
    for variable in network.variables:
        value = values[names[variable.path]]
        if value.shape != tuple(variable.shape):
            raise UserError(f"{checkpoint}: {names[variable.path]} is {value.shape}, not {tuple(variable.shape)}")
        variable.assign(value)
    return network, read_prnet_layout(uv_data)


def read_checkpoint(checkpoint: str | Path) -> dict[str, np.ndarray]:
    """The variables of a TensorFlow checkpoint by name, without the optimiser's."""
    import tensorflow as tf

    for ending in (".index", ".data-00000-of-00001"):
        if not Path(f"{checkpoint}{ending}").is_file():
            raise UserError(f"{checkpoint}{ending}: no such file; a checkpoint is both .index and .data-00000-of-00001")
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        names = [name for name in reader.get_variable_to_shape_map() if not is_optimiser_state(name)]
        return {name: reader.get_tensor(name) for name in names}
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UserError(f"{checkpoint}: damaged checkpoint: {str(error).partition(chr(10))[0]}") from None


def is_optimiser_state(name: str) -> bool:
    return name.endswith(OPTIMISER_ENDINGS)


def variable_names(network: Any) -> dict[str, str]:
    """The checkpoint's name of each of the Keras network's variables, by `variable.path`.

    TF-slim numbers layers of a kind in the order of their making: `resBlock`, `resBlock_1`, ..., and within a block
    `Conv`, `Conv_1`, `Conv_2` and `shortcut`.
    """
    return {variable.path: _slim_name(*variable.path.split("/")[-2:]) for variable in network.variables}


def _slim_name(layer: str, variable: str) -> str:
    stage, _, part = layer.partition("_")
    if stage == "stem":
        scope, place = "Conv", ""
    elif stage.startswith("encoder"):
        scope = _numbered("resBlock", int(stage.removeprefix("encoder")))
        place = {"conv1": "/Conv", "norm1": "/Conv", "conv2": "/Conv_1", "norm2": "/Conv_1", "conv3": "/Conv_2"}.get(
            part, "/shortcut" if part == "shortcut" else ""
        )
    else:
        scope, place = _numbered("Conv2d_transpose", int(stage.removeprefix("decoder"))), ""
    return f"{SCOPE}/{scope}{place}/{'weights' if variable == 'kernel' else f'BatchNorm/{variable}'}"


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def read_prnet_layout(folder: str | Path) -> UVLayout:
    """The UV layout of PRNet's folder `uv-data`: landmarks, masks and the mean face of its 43,867 face texels."""
    from scipy.ndimage import distance_transform_edt

    from prnet.formats.bfm import read_region_weights

    folder = Path(folder)
    landmark_uv = _landmark_uv(folder / "uv_kpt_ind.txt")
    layout = UVLayout(landmark_uv, read_region_weights(folder, landmark_uv), np.zeros((MAP_SIZE, MAP_SIZE, 3)))
    mask = face_mask(layout, MAP_SIZE)
    path = folder / "canonical_vertices.npy"
    vertices = read_numbers(path)
    if vertices.shape != (np.count_nonzero(mask), 3):
        raise UserError(f"{path}: has shape {vertices.shape}, but the face mask has {np.count_nonzero(mask)} texels")
    canonical_map = np.zeros((MAP_SIZE, MAP_SIZE, 3), dtype=np.float32)
    canonical_map[mask] = vertices
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    canonical_map = canonical_map[tuple(nearest)]
    column, row = landmark_texels(layout, MAP_SIZE).T
    box = landmark_box(canonical_map[row, column])
    place_map(canonical_map, lift_transform(crop_transform(box, MAP_SIZE)))
    return UVLayout(landmark_uv, layout.region_weights, canonical_map)


def _landmark_uv(path: Path) -> np.ndarray:
    try:
        texels = np.loadtxt(path)
    except (FileNotFoundError, ValueError):
        raise UserError(f"{path}: missing or not a table; give PRNet's folder uv-data") from None
    if texels.shape != (2, 68):
        raise UserError(f"{path}: has shape {texels.shape}, not (2, 68): columns, rows")
    column, row = texels
    return np.stack([column / (MAP_SIZE - 1), 1 - row / (MAP_SIZE - 1)], axis=-1).astype(np.float32)
