"""A network that sees nothing, and a server around it: for every crop the mean face, frontal, where its reference crop
has it. It is small and quick, and what it must answer for a photo is known."""

import gc
import io
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
from PIL import Image

from prnet.configure.config import MAP_SIZE, TARGET_SCALE
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.uv_layout import UVLayout, resample_map
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.serving.limits import Limits
from prnet.serving.server import http_server

SIZE = 128
"""Side of the stand-in's crops."""


def build_mean_face_network(layout: UVLayout, size: int):
    """(B, size, size, 3) to the canonical map in a crop of that size / (size x TARGET_SCALE)."""
    import keras

    target = resample_map(layout.canonical_map, size) * (size - 1) / (MAP_SIZE - 1) / (size * TARGET_SCALE)
    inputs = keras.Input((size, size, 3))
    place = keras.layers.Dense(target.size, kernel_initializer="zeros")
    maps = place(keras.layers.GlobalAveragePooling2D()(inputs))
    network = keras.Model(inputs, keras.layers.Reshape(target.shape)(maps))
    place.bias.assign(target.ravel().astype(np.float32))
    return network


def mean_face_reconstructor(
    face_model, folder, detector: str = "none", surface_filter: bool = False
) -> FaceReconstructor:
    from prnet.model.saved_network import save_network

    layout = layout_of_model(face_model)
    save_network(build_mean_face_network(layout, SIZE), layout, folder / "mean.keras")
    return FaceReconstructor(folder / "mean.keras", detector, surface_filter=surface_filter)


def image_file(image: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    """The bytes of an image file."""
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, kind, **options)
        return file.getvalue()


@contextmanager
def listening(app, limits: Limits | None = None):
    """The address of a server that runs in a thread, on a free port of the loopback interface.

    What earlier tests left is collected first: the iterator of an interrupted training waits up to a minute for
    TensorFlow's threads when it is collected, whichever thread that falls to (the server's would stand still).
    """
    gc.collect()
    server = http_server(app, limits)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server does not stop"
