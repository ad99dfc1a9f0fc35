"""The face recognition network of the npm package @vladmandic/face-api (MIT), itself dlib's, as a Keras network.

Its weights are two files in the package's folder `model`: a manifest in TensorFlow.js' format, which names, shapes and
scales the tensors, and their bytes one after another, most of them uint8.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.errors import UserError

STEM = "face_recognition_model"
SIDE = 150
"""Of the crops that it takes, in pixels."""

MEAN_COLOUR = (122.782, 117.001, 104.298)
"""Subtracted from red, green and blue of 0 to 255, before they are divided by 255."""

BLOCKS = {"conv32": (1, 2, 3), "conv64": (1, 2, 3), "conv128": (1, 2), "conv256": (1, 2)}
"""Residual blocks that keep their size, by the first part of their names."""


def import_face_api(folder: str | Path) -> Any:
    """The network, from crops (B, 150, 150, 3) RGB in 0 to 1 to vectors (B, 128), for `--recognition`.

    folder : the package's `model`. Raises UserError where a file is missing, damaged or of another network.
    """
    tensors = read_weights(Path(folder), STEM)
    try:
        return build_recognition(tensors)
    except (KeyError, ValueError) as error:
        raise UserError(f"{folder}: not the face recognition network of face-api: {error}") from None


def read_weights(folder: Path, stem: str) -> dict[str, np.ndarray]:
    """The tensors of a TensorFlow.js manifest by name, float32."""
    manifest, values = folder / f"{stem}-weights_manifest.json", folder / f"{stem}.bin"
    try:
        specifications = [entry for group in json.loads(manifest.read_text("utf-8")) for entry in group["weights"]]
        content = values.read_bytes()
        tensors, start = {}, 0
        for entry in specifications:
            quantised = entry.get("quantization")
            kind = np.dtype(quantised["dtype"] if quantised else entry["dtype"])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            stored = np.frombuffer(content, kind, count, start).reshape(entry["shape"]).astype(np.float32)
            tensors[entry["name"]] = stored * quantised["scale"] + quantised["min"] if quantised else stored
            start += count * kind.itemsize
    except OSError as error:
        raise UserError(f"{error.filename}: no such file; give the npm package's folder model") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{manifest}: damaged, or not what {values.name} holds: {error}") from None
    if start != len(content):
        raise UserError(f"{values}: holds {len(content):,} bytes, its manifest speaks of {start:,}")
    return tensors


def build_recognition(tensors: dict[str, np.ndarray]) -> Any:
    """A residual network (He et al. 2016) without batch statistics: each convolution is scaled and shifted."""
    import keras
    from keras import layers, ops

    def convolved(x: Any, name: str, strides: int = 1, padding: str = "same", activation: str | None = "relu") -> Any:
        kernel, bias = tensors[f"{name}/conv/filters"], tensors[f"{name}/conv/bias"]
        factor, shift = tensors[f"{name}/scale/weights"], tensors[f"{name}/scale/biases"]
        layer = layers.Conv2D(
            kernel.shape[-1], kernel.shape[0], strides, padding, activation=activation, name=name.replace("/", "_")
        )
        x = layer(x)
        layer.set_weights([kernel * factor, bias * factor + shift])
        return x

    def same(x: Any, name: str) -> Any:
        inner = convolved(convolved(x, f"{name}/conv1"), f"{name}/conv2", activation=None)
        return ops.relu(inner + x)

    def halved(x: Any, name: str) -> Any:
        inner = convolved(convolved(x, f"{name}/conv1", 2, "valid"), f"{name}/conv2", activation=None)
        pooled = layers.AveragePooling2D(2)(x)
        inner = ops.pad(inner, [(0, 0), *((0, pooled.shape[axis] - inner.shape[axis]) for axis in (1, 2)), (0, 0)])
        pooled = ops.pad(pooled, [(0, 0)] * 3 + [(0, inner.shape[3] - pooled.shape[3])])
        return ops.relu(pooled + inner)

    crops = keras.Input((SIDE, SIDE, 3), name="crop")
    x = layers.Rescaling(1.0, [-value / 255 for value in MEAN_COLOUR])(crops)
    x = layers.MaxPooling2D(3, 2)(convolved(x, "conv32_down", 2, "valid"))
    for stage, numbers in BLOCKS.items():
        if stage != "conv32":
            x = halved(x, f"{stage}_down")
        for number in numbers:
            x = same(x, f"{stage}_{number}")
    x = layers.GlobalAveragePooling2D()(halved(x, "conv256_down_out"))
    final = layers.Dense(tensors["fc"].shape[1], use_bias=False, name="descriptor")
    network = keras.Model(crops, final(x), name="face_recognition")
    final.set_weights([tensors["fc"]])
    return network
