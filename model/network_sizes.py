"""How large a network from a file would become, found out before anything of it is allocated."""

import io
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
from keras.src.backend.common.global_state import get_global_attribute

from prnet.common.errors import UserError
from prnet.formats.hdf5_sets import own_items

MAX_WEIGHTS = 1 << 26
"""Of a network, 256 MB; our largest has 13 million."""

MAX_VALUES, MAX_VALUES_IN_ALL = 1 << 23, 1 << 27
"""That one layer, and all of them, return for one crop, 32 and 512 MB; our largest network's 1 and 39 million."""

MAX_PARTS, MAX_ITEMS = 20_000, 5_000
"""Objects in the configuration, and items in the file of weights; our largest network has 2,111 and 567."""


def require_modest_network(config: bytes, name: str) -> None:
    """Raise UserError, which calls the file `name`, unless the network of a `config.json` is of a size that is taken.

    Keras builds the graph without values. It remembers by thread what it has built, so a thread of its own takes that
    along. Layers of ours make their variables with `add_weight` and an initializer, which can wait for its turn.
    """
    parts = 0

    def count(found):
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS:
            raise UserError(f"{name}: the network's description has more than {MAX_PARTS:,} parts; it is not opened")
        return found

    description = json.loads(config, object_hook=count) | {"compile_config": None}
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_require_modest_graph, description, name).result()


def _require_modest_graph(description: dict, name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.deserialize_keras_object(description)
    made = get_global_attribute("uninitialized_variables") or []
    _require_at_most(MAX_WEIGHTS, sum(math.prod(variable.shape) for variable in made), "weights", name)
    values = 0
    for layer in _layers(network):
        if _hides_sizes(layer):
            raise UserError(f"{name}: the inner sizes of its layer {layer.name} cannot be known; it is not opened")
        for shape in _output_shapes(layer):
            if None in shape[1:]:
                raise UserError(f"{name}: its layer {layer.name} returns any size, {shape}; it is not opened")
            size = math.prod(side or 1 for side in shape)
            _require_at_most(MAX_VALUES, size, f"numbers for one crop in the layer {layer.name}", name)
            values += size
    _require_at_most(MAX_VALUES_IN_ALL, values, "numbers for one crop", name)


def _require_at_most(most: int, count: int, what: str, name: str) -> None:
    if count > most:
        raise UserError(f"{name}: the network would hold {count:,} {what}, and at most {most:,} are taken")


def _layers(network) -> Iterator[keras.Operation]:
    for layer in getattr(network, "operations", None) or network.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _hides_sizes(layer) -> bool:
    """Whether a layer of Keras' own computes with layers or scores that its output says nothing of."""
    if isinstance(layer, keras.Model) or keras.saving.get_registered_name(type(layer)).startswith("position_maps>"):
        return False
    has_layers = isinstance(layer, keras.Layer) and any(layer._flatten_layers(include_self=False))
    return has_layers or "Attention" in type(layer).__name__


def _output_shapes(layer) -> list[tuple]:
    return [tuple(tensor.shape) for node in layer._inbound_nodes for tensor in node.outputs]


def require_modest_weights(content: bytes, name: str, most_bytes: int) -> None:
    """Raise UserError unless the arrays of a file of weights lie in it and take at most `most_bytes` when read."""
    items, size = 0, 0
    with h5py.File(io.BytesIO(content)) as file:
        groups = [file]
        while groups:
            for found in own_items(groups.pop(), name):
                if isinstance(found, h5py.Group):
                    groups.append(found)
                else:
                    size += getattr(found, "nbytes", 0)
                items += 1
                if items > MAX_ITEMS or size > most_bytes:
                    raise UserError(f"{name}: its weights take more than any network's; it is not opened")
