"""What a network takes over from one that was trained before: its face space, all of its weights, or its encoder."""

import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE, TARGET_SCALE
from prnet.geometry.uv_layout import UVLayout, face_mask, resample_map
from prnet.model.blocks import ENCODER_LAYERS
from prnet.model.face_space import FaceSpace, kept_texels, nearest_kept, raw_map_texels
from prnet.model.morphnet import SCORE_LAYERS, SHAPE
from prnet.model.saved_network import load_network

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """A saved network that a run begins with."""

    path: str | Path
    network: keras.Model
    layout: UVLayout


def open_start(path: str | Path) -> Start:
    """Raises `UserError` for a file that is no network."""
    return Start(path, *load_network(path))


def begin_with(network: keras.Model, start: Start, layout: UVLayout) -> None:
    """Give a network the weights of a saved one of the same kind and UV layout, or the encoder of one of another kind.

    What the other one lacks, as the layers of scores, is fresh. A morphable network has its face space already, by
    `face_space_of`: its trained weights mean nothing in another.
    """
    other = start.network
    if other.name != network.name and _take_encoder(network, other):
        return
    found, wanted = (
        (model.name, model.input_shape[1], getattr(getattr(model.layers[-1], "activation", None), "__name__", "other"))
        for model in (other, network)
    )
    if found != wanted:
        raise UserError(
            f"{start.path}: a {' '.join(map(str, found))} network, not {' '.join(map(str, wanted))}; "
            "give its `network`, `image_size`, `head` and `decoder`"
        )
    _require_layout(start, layout)
    for mine, given in _pairs(network, other):
        mine.set_weights(given.get_weights())


def face_space_of(start: Start, layout: UVLayout, size: int, identities: int | None) -> FaceSpace | None:
    """The face space of a `morphnet` for crops of side `size`; None where the network is another.

    layout, identities : its UV layout and number of identity components, as the run has them. Raises `UserError` where
    it has others.
    """
    network = start.network
    if (network.name, network.input_shape[1]) != ("morphnet", size):
        return None
    names = getattr(network, "parameter_names", None)
    if names is None:
        raise UserError(f"{start.path}: does not name its parameters; give a morphnet of this project's trainer")
    _require_layout(start, layout)
    if identities not in (None, names.identity_count):
        raise UserError(
            f"{start.path}: has {names.identity_count} identity components, not {identities}; give that as `identities`"
        )
    kernel, bias = network.get_layer(SHAPE).get_weights()
    kept, raw_texels = kept_texels(layout, size), raw_map_texels(size)
    in_crop = resample_map(start.layout.canonical_map, size) * ((size - 1) / (MAP_SIZE - 1))
    return FaceSpace(
        mean=bias.reshape(-1, 3),
        basis=kernel.reshape(len(kernel), -1, 3),
        texels=np.flatnonzero(kept).astype(np.int32),
        nearest=nearest_kept(kept),
        raw_texels=raw_texels,
        raw_face=face_mask(layout, size).ravel()[raw_texels],
        raw_start=(in_crop / (size * TARGET_SCALE)).reshape(-1, 3)[raw_texels].astype(np.float32),
        canonical_map=start.layout.canonical_map,
        identity_count=names.identity_count,
        names=names.names,
        expression_mean=names.mean,
        expression_deviation=names.deviation,
    )


def _require_layout(start: Start, layout: UVLayout) -> None:
    if start.layout.identity != layout.identity:
        raise UserError(
            f"{start.path}: its maps mean another UV layout than the face model's; give the `face_model` it had"
        )


def _pairs(network: keras.Model, other: keras.Model) -> list[tuple[keras.Layer, keras.Layer]]:
    """Layers of the same place in both; scores may be in one of them only."""
    mine, given = ([layer for layer in model.layers if layer.weights] for model in (network, other))
    if any(layer.name.startswith(SCORE_LAYERS) for layer in (*mine, *given)):
        named = {layer.name: layer for layer in given}
        return [(layer, named[layer.name]) for layer in mine if layer.name in named]
    return list(zip(mine, given, strict=True))


def _take_encoder(network: keras.Model, other: keras.Model) -> bool:
    """Copy the layers of the encoder that two kinds of network share; whether there are any."""
    shared = [layer for layer in other.layers if layer.name.startswith(ENCODER_LAYERS) and layer.weights]
    mine = {layer.name: layer for layer in network.layers}
    if not shared or any(layer.name not in mine for layer in shared):
        return False
    for layer in shared:
        mine[layer.name].set_weights(layer.get_weights())
    logger.info(f"begins with the encoder of a {other.name}")
    return True
