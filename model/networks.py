"""Networks by name. Input: a crop, float32 RGB in 0 to 1. Output: its position map / (image size x 1.1)."""

from dataclasses import replace
from functools import lru_cache

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import CAMERAS, DECODERS, HEADS, IMAGE_SIZES, NETWORKS, PHOTO_NETWORKS, TARGET_SCALE
from prnet.geometry.transforms import FLIP_Y
from prnet.model.appearance import AlbedoSpace
from prnet.model.face_space import FaceSpace
from prnet.model.lprnet import build_lprnet
from prnet.model.morphnet import COEFFICIENTS, POSE, build_morphnet
from prnet.model.parameters import FaceParameters, FaceShapes, face_shapes, read_appearance, read_parameters
from prnet.model.photonet import ALBEDO, ALBEDO_COEFFICIENTS, LIGHT, build_photonet
from prnet.model.prnet import build_prnet

BUILDERS = {"prnet": build_prnet, "lprnet": build_lprnet}


def build_network(
    name: str,
    image_size: int,
    head: str = "linear",
    *,
    decoder: str = DECODERS[0],
    space: FaceSpace | None = None,
    albedos: AlbedoSpace | None = None,
    camera: str = CAMERAS[0],
    synchronised: bool = False,
) -> keras.Model:
    """A network with fresh weights, (B, S, S, 3) to (B, S, S, 3) float32, in the dtype policy in force.

    decoder : of `DECODERS`, of `prnet` and `lprnet`.
    space : what the decoder of `morphnet` and of `photonet` is made of, on a grid of the image's side; the others take
    none. albedos, camera : of `photonet`.
    synchronised : batch statistics over all devices of a distributed run.

    >>> prnet.build_network("lprnet", 128).output_shape
    (None, 128, 128, 3)
    """
    for label, value, known in (
        ("network", name, NETWORKS),
        ("image size", image_size, IMAGE_SIZES),
        ("head", head, HEADS),
        ("decoder", decoder, DECODERS),
        ("camera", camera, CAMERAS),
    ):
        if value not in known:
            raise UserError(f"unknown {label} {value!r}; choose from {', '.join(map(str, known))}")
    if name not in BUILDERS and decoder != DECODERS[0]:
        raise UserError(f"`decoder` {decoder}: {name} has a decoder of its own; leave it out")
    if name == "morphnet":
        if space is None or space.size != image_size:
            raise UserError(f"morphnet at {image_size} pixels needs a face space of that size: train it on fits")
        return build_morphnet(image_size, space, synchronised)
    if name in PHOTO_NETWORKS:
        if space is None or albedos is None or space.size != image_size:
            raise UserError(f"{name} at {image_size} pixels needs a face space and its albedo of that size")
        return build_photonet(name, image_size, space, albedos, camera, synchronised)
    return BUILDERS[name](image_size, head, synchronised, decoder)


def network_image_size(network: keras.Model) -> int:
    """Side of the crops that a network takes, in pixels."""
    return network.input_shape[1]


def predict_maps(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Position maps of crops. images : (B, S, S, 3) float32 RGB in 0 to 1. Returns (B, S, S, 3) in crop pixels."""
    return _to_pixels(network, network.predict_on_batch(images))


def predict_faces(network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, FaceParameters | None]:
    """Position maps of crops as `predict_maps` returns them, and the faces' parameters from the same forward pass;
    None for networks that have none."""
    names = getattr(network, "parameter_names", None)
    if names is None:
        return predict_maps(network, images), None
    targets, coefficients, pose, *appearance = with_parameters(network).predict_on_batch(images)
    parameters = read_parameters(names, coefficients, pose)
    if appearance:
        found = read_appearance(parameters, coefficients, pose, *appearance)
        parameters = replace(parameters, appearance=found)
    return _to_pixels(network, targets), parameters


def network_parameters(network: keras.Model, images: np.ndarray) -> FaceParameters | None:
    """Identity, expressions by name and rotation of the faces in crops (B, S, S, 3), float32 RGB in 0 to 1.

    Returns None for networks that have no such parameters, as `prnet` and `lprnet`, and for a `morphnet` that was saved
    without their names. Conventions: `prnet.model.parameters.FaceParameters`. `predict_faces` of this module returns
    the position maps too.

    >>> import numpy
    >>> network, layout = prnet.load_network("morphnet.keras")
    >>> parameters = prnet.network_parameters(network, numpy.zeros((1, 128, 128, 3), "float32"))
    >>> parameters.identity.shape, len(parameters.names), parameters.rotation.shape
    ((1, 28), 53, (1, 3, 3))
    """
    return predict_faces(network, images)[1] if getattr(network, "parameter_names", None) else None


def has_shapes(network: keras.Model) -> bool:
    """Whether `read_shapes` finds any."""
    named = getattr(network, "parameter_names", None) is not None
    return named and all(layer.name != LIGHT for layer in network.layers)


def read_shapes(network: keras.Model) -> FaceShapes | None:
    """The shapes of a `morphnet` that names its parameters; None for the others.

    The decoder is asked for one map of each coefficient, in the pose that changes nothing. That of a `photonet` puts
    every map's own least depth at 0, so its maps do not add up.
    """
    if not has_shapes(network):
        return None
    names = network.parameter_names
    coefficients, pose = (network.get_layer(name).output for name in (COEFFICIENTS, POSE))
    decoder = keras.Model([coefficients, pose], network.output)
    asked = np.eye(1 + names.count - len(names.scores), names.count, k=-1, dtype=np.float32)  # none, then one of each
    still = np.broadcast_to(np.eye(4, 3, dtype=np.float32), (len(asked), 4, 3))
    mean, *changes = keras.ops.convert_to_numpy(decoder([asked, still])) * FLIP_Y
    return face_shapes(names, mean, np.array(changes) - mean)


def has_free_surface(network: keras.Model) -> bool:
    """Whether a network's map is free at every texel, as those of `prnet` and `lprnet` are, so that its surface is as
    rough as its errors; not that of a network whose map is decoded from `COEFFICIENTS`."""
    return all(layer.name != COEFFICIENTS for layer in network.layers)


def _to_pixels(network: keras.Model, targets: np.ndarray) -> np.ndarray:
    return targets * np.float32(network_image_size(network) * TARGET_SCALE)


@lru_cache(maxsize=4)
def with_parameters(network: keras.Model) -> keras.Model:
    """The same layers as one model that returns map, coefficients, pose and what it has of appearance, or the network
    itself where it names no parameters; kept, since its first call compiles it."""
    if getattr(network, "parameter_names", None) is None:
        return network
    known = {layer.name for layer in network.layers}
    names = [name for name in (COEFFICIENTS, POSE, ALBEDO_COEFFICIENTS, ALBEDO, LIGHT) if name in known]
    parts = (network.get_layer(name).output for name in names)
    return keras.Model(network.input, [network.output, *parts])
