"""A network that sees nothing: for every crop the mean face, frontal, where its reference crop has it. It is small and
quick, and what it must answer for a photo is known."""

import keras
import numpy as np

from configure.config import MAP_SIZE, TARGET_SCALE
from geometry.uv_layout import UVLayout, resample_map
from model.saved_network import save_network


def build_mean_face_network(layout: UVLayout, size: int) -> keras.Model:
    """(B, size, size, 3) to the canonical map / (size x TARGET_SCALE)."""
    target = resample_map(layout.canonical_map, size) / (MAP_SIZE * TARGET_SCALE)
    inputs = keras.Input((size, size, 3))
    place = keras.layers.Dense(target.size, kernel_initializer="zeros")
    maps = place(keras.layers.GlobalAveragePooling2D()(inputs))
    network = keras.Model(inputs, keras.layers.Reshape(target.shape)(maps))
    place.bias.assign(target.ravel().astype(np.float32))
    return network


def save_mean_face_network(layout: UVLayout, size: int, path) -> None:
    save_network(build_mean_face_network(layout, size), layout, path)
