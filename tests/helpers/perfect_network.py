"""Networks that return a given position map for every crop, so that what lies around a network can be tested."""

from pathlib import Path

import numpy as np

from prnet.configure.config import TARGET_SCALE
from prnet.geometry.uv_layout import UVLayout, resample_map
from prnet.model.saved_network import save_network


def constant_network(crop_map: np.ndarray):
    """A Keras network whose position map is `crop_map`, (S, S, 3) crop pixels, whatever it is shown."""
    import keras

    size = crop_map.shape[0]
    image = keras.Input((size, size, 3), name="image")
    mean_colour = keras.layers.GlobalAveragePooling2D()(image)
    target = keras.layers.Dense(size * size * 3, kernel_initializer="zeros")
    network = keras.Model(image, keras.layers.Reshape((size, size, 3))(target(mean_colour)))
    target.bias.assign((crop_map / (size * TARGET_SCALE)).ravel())
    return network


def mean_face_map(layout: UVLayout, size: int) -> np.ndarray:
    """The layout's mean face in the reference crop of side `size`."""
    return resample_map(layout.canonical_map, size) * np.float32((size - 1) / 255)


def save_mean_face_network(layout: UVLayout, path: Path, size: int = 128) -> Path:
    """A `.keras` file of the network that sees the mean face, looking ahead, in every crop."""
    save_network(constant_network(mean_face_map(layout, size)), layout, path)
    return path
