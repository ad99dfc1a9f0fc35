"""What a network takes over from one that was trained before: all of its weights, or its encoder."""

import logging

import keras

from prnet.common.errors import UserError
from prnet.geometry.uv_layout import UVLayout
from prnet.model.blocks import ENCODER_LAYERS
from prnet.model.morphnet import SCORE_LAYERS
from prnet.model.saved_network import load_network

logger = logging.getLogger(__name__)


def begin_with(network: keras.Model, path, layout: UVLayout) -> None:
    """Give a network the weights of a saved one of the same kind and UV layout, or the encoder of one of another kind.

    A morphable network takes over what was trained; its face space is that of its own data, and what the other one
    lacks, as the layers of scores, is fresh.
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
            "give its `network`, `image_size` and `head`"
        )
    if other_layout.identity != layout.identity:
        raise UserError(f"{path}: its maps mean another UV layout than the face model's; give the `face_model` it had")
    pairs = _pairs(network, other)
    if any(mine.trainable and _shapes(mine) != _shapes(given) for mine, given in pairs):
        raise UserError(f"{path}: its face space has other components than these fits; give the data it was trained on")
    for mine, given in pairs:
        if mine.trainable:  # not the constants of a face space
            mine.set_weights(given.get_weights())


def _pairs(network: keras.Model, other: keras.Model) -> list[tuple[keras.Layer, keras.Layer]]:
    """Layers of the same place in both; scores may be in one of them only."""
    mine, given = ([layer for layer in model.layers if layer.weights] for model in (network, other))
    if any(layer.name.startswith(SCORE_LAYERS) for layer in (*mine, *given)):
        named = {layer.name: layer for layer in given}
        return [(layer, named[layer.name]) for layer in mine if layer.name in named]
    return list(zip(mine, given, strict=True))


def _shapes(layer: keras.Layer) -> list[tuple]:
    return [weights.shape for weights in layer.weights]


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
