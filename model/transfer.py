"""What a network takes over from one that was trained before: its face space, all of its weights, or its encoder."""

import logging

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


def begin_with(network: keras.Model, path, layout: UVLayout) -> None:
    """Give a network the weights of a saved one of the same kind and UV layout, or the encoder of one of another kind.

    What the other one lacks, as the layers of scores, is fresh. A morphable network has its face space already, by
    `face_space_of`: its trained weights mean nothing in another.
    """
    other, other_layout = load_network(path)
    if other.name != network.name and _take_encoder(network, other):
        return
    found, wanted = (
        (model.name, model.input_shape[1], getattr(getattr(model.layers[-1], "activation", None), "__name__", "other"))
        for model in (other, network)
    )
    if found != wanted:
        raise UserError(
            f"{path}: a {' '.join(map(str, found))} network, not {' '.join(map(str, wanted))}; "
            "give its `network`, `image_size`, `head` and `decoder`"
        )
    require_layout(path, other_layout, layout)
    pairs = _pairs(network, other)
    for mine, given in pairs:
        mine.set_weights(given.get_weights())


def face_space_of(path, layout: UVLayout, identities: int | None) -> FaceSpace | None:
    """The face space of a saved `morphnet`; None where the network is another.

    layout, identities : its UV layout and number of identity components, as the run has them. Raises `UserError` where
    it has others.
    """
    network, own_layout = load_network(path)
    if network.name != "morphnet":
        return None
    names, size = network.parameter_names, network.input_shape[1]
    if names is None:
        raise UserError(f"{path}: does not name its parameters; give a morphnet of this project's trainer")
    require_layout(path, own_layout, layout)
    if identities not in (None, names.identity_count):
        raise UserError(
            f"{path}: has {names.identity_count} identity components, not {identities}; give that as `identities`"
        )
    kernel, bias = network.get_layer(SHAPE).get_weights()
    kept, raw_texels = kept_texels(layout, size), raw_map_texels(size)
    start = resample_map(own_layout.canonical_map, size) / (MAP_SIZE * TARGET_SCALE)
    return FaceSpace(
        mean=bias.reshape(-1, 3),
        basis=kernel.reshape(len(kernel), -1, 3),
        texels=np.flatnonzero(kept).astype(np.int32),
        nearest=nearest_kept(kept),
        raw_texels=raw_texels,
        raw_face=face_mask(layout, size).ravel()[raw_texels],
        raw_start=start.reshape(-1, 3)[raw_texels],
        canonical_map=own_layout.canonical_map,
        identity_count=names.identity_count,
        names=names.names,
        expression_mean=names.mean,
        expression_deviation=names.deviation,
    )


def require_layout(path, found: UVLayout, wanted: UVLayout) -> None:
    if found.identity != wanted.identity:
        raise UserError(f"{path}: its maps mean another UV layout than the face model's; give the `face_model` it had")


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
