"""Networks by name. Input: a crop, float32 RGB in 0 to 1. Output: its position map / (image size x 1.1)."""

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import HEADS, IMAGE_SIZES, NETWORKS, TARGET_SCALE
from prnet.model.face_space import FaceSpace
from prnet.model.lprnet import build_lprnet
from prnet.model.morphnet import build_morphnet
from prnet.model.prnet import build_prnet

BUILDERS = {"prnet": build_prnet, "lprnet": build_lprnet}


def build_network(
    name: str,
    image_size: int,
    head: str = "linear",
    *,
    space: FaceSpace | None = None,
    synchronised: bool = False,
) -> keras.Model:
    """A network with fresh weights, (B, S, S, 3) to (B, S, S, 3) float32, in the dtype policy in force.

    space : what the decoder of `morphnet` is made of, on a grid of the image's side; the others take none.
    synchronised : batch statistics over all devices of a distributed run.

    >>> prnet.build_network("lprnet", 128).output_shape
    (None, 128, 128, 3)
    """
    for label, value, known in (
        ("network", name, NETWORKS),
        ("image size", image_size, IMAGE_SIZES),
        ("head", head, HEADS),
    ):
        if value not in known:
            raise UserError(f"unknown {label} {value!r}; choose from {', '.join(map(str, known))}")
    if name == "morphnet":
        if space is None or space.size != image_size:
            raise UserError(f"morphnet at {image_size} pixels needs a face space of that size: train it on fits")
        return build_morphnet(image_size, space, synchronised)
    return BUILDERS[name](image_size, head, synchronised)


def network_image_size(network: keras.Model) -> int:
    """Side of the crops that a network takes, in pixels."""
    return network.input_shape[1]


def predict_maps(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Position maps of crops. images : (B, S, S, 3) float32 RGB in 0 to 1. Returns (B, S, S, 3) in crop pixels."""
    return network.predict_on_batch(images) * np.float32(network_image_size(network) * TARGET_SCALE)
