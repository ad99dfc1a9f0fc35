"""A morphable network that finds a given face in every crop, so that what is read off it can be compared with what is
known: only its raw map is given, the projection and the decoder are morphnet's own."""

import keras
import numpy as np
from keras import layers

from prnet.configure.config import TARGET_SCALE
from prnet.geometry.crop import compose
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, position_maps
from prnet.model import morphnet
from prnet.model.face_space import RAW_SIZE, FaceSpace

RAW = "given_raw_map"


def posed_network(space: FaceSpace) -> keras.Model:
    """It finds the mean face, frontal, until `show` gives it another."""
    image = keras.Input((space.size, space.size, 3), name="image")
    place = layers.Dense(RAW_SIZE**2 * 3, kernel_initializer="zeros", name=RAW)
    raw = layers.Reshape((RAW_SIZE**2, 3))(place(layers.GlobalAveragePooling2D()(image)))
    place.bias.assign(space.raw_start.ravel())
    pose, explained = morphnet._project(raw, space)
    coefficients = layers.Activation("linear", name=morphnet.COEFFICIENTS, dtype="float32")(explained)
    network = keras.Model(image, morphnet._decode(pose, coefficients, space, space.size))
    network.parameter_names = space.parameter_names
    return network


def posed_map(basis: MapBasis, coefficients: np.ndarray, angles, turn: float = 0.0) -> np.ndarray:
    """The map (S, S, 3) in crop pixels of a fit of coefficients (K,), by the data sets' own functions, turned by angles
    (degrees), in a crop that is turned by `turn` (radians, clockwise)."""
    size, rest = basis.size, basis.rows[0].reshape(-1, 3)
    pose = [*np.radians(angles), size / 2, size / 2, 0.0, 0.6 * size / np.abs(rest).max()]
    cosine, sine, middle = np.cos(turn), np.sin(turn), (size - 1) / 2
    around = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0]])
    around[:2, 3] = middle - around[:2, :2] @ [middle, middle]
    return position_maps(basis, coefficients[None], compose(around, fit_to_pixels(np.array(pose), size))[None])[0]


def show(network: keras.Model, space: FaceSpace, crop_map: np.ndarray) -> None:
    """From now on the network finds the face of a map (S, S, 3) in crop pixels."""
    raw = crop_map.reshape(-1, 3)[space.raw_texels] / (space.size * TARGET_SCALE)
    kernel, _ = network.get_layer(RAW).get_weights()
    network.get_layer(RAW).set_weights([kernel, raw.ravel()])
