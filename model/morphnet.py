"""A light network whose surface is a face: its decoder is a morphable model, so every map it can return is smooth.

    crop -> features -> raw map (32 x 32, free) -> projection onto the face space -> pose, coefficients -> position map
                 |-> correction of the coefficients ---------------------------------------^
                 \\-> scores of what the surface does not show (gaze)

The raw map finds where each point of the face lies, as PRNet does; the projection, which has no parameters to train,
reads pose and coefficients off it by least squares. Everything is made of Keras' own layers and operations, so a saved
network opens without this project.
"""

import keras
import numpy as np
from keras import layers, ops

from prnet.geometry.transforms import FLIP_Y
from prnet.model.blocks import light_encoder, separable_block
from prnet.model.face_space import RAW_SIZE, RIDGE, FaceSpace

UPSAMPLING = (256, 128)
"""Channels of the two separable blocks after each doubling of the features' resolution."""

IDENTITY_PRIOR, EXPRESSION_PRIOR = 0.004, 0.001
"""Weights of the mean squared coefficient in the loss."""


RAW_MAP, COEFFICIENTS, POSE, SHAPE = "raw_map", "coefficients", "pose", "shape"
"""Layers whose outputs are the raw map (B, 32 * 32, 3), the coefficients (B, K) in standard deviations, behind them the
scores if there are any, and the pose (B, 4, 3): three rows of a scaled rotation R and a translation t,
target = x R + t with y up. The one whose constants are the face space: mean and components."""

SCORE_LAYERS = "scores"
"""How the names of the layers begin that read scores off the features."""


def build_morphnet(image_size: int, space: FaceSpace, synchronised: bool = False) -> keras.Model:
    """1.4 million trained parameters beside the face space's constants, meant for crops of 128 x 128."""
    images = keras.Input((image_size, image_size, 3), name="image")
    features = light_encoder(images, synchronised)
    raw = _raw_map(features, space, synchronised)
    pose, explained = _project(raw, space)
    corrected = ops.add(explained, _correction(features, space, synchronised))
    identity = _regularised(corrected[:, : space.identity_count], IDENTITY_PRIOR)
    expression = _regularised(corrected[:, space.identity_count :], EXPRESSION_PRIOR)
    parts = [identity, expression, *([_scores(features, space, synchronised)] if space.scores else [])]
    coefficients = layers.Concatenate(name=COEFFICIENTS, dtype="float32")(parts)
    network = keras.Model(images, _decode(pose, coefficients, space, image_size), name="morphnet")
    network.parameter_names = space.parameter_names
    return network


def _raw_map(features, space: FaceSpace, synchronised: bool):
    x = features
    for number, channels in enumerate(UPSAMPLING):
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"double{number}")(x)
        for part in "ab":
            x = separable_block(x, channels, 1, f"raw{number}{part}", synchronised)
    x = layers.Conv2D(3, 1, kernel_initializer=_normal(1e-3), name="raw_offset", dtype="float32")(x)
    x = layers.Reshape((RAW_SIZE**2, 3), dtype="float32")(x)
    return layers.Activation("linear", name=RAW_MAP, dtype="float32")(ops.add(x, space.raw_start[None]))


def _project(raw, space: FaceSpace):
    """Pose and coefficients of a raw map, by least squares on its texels of the face.

    An affine map is fitted from the mean face to the raw map; its first two axes, made orthonormal, give rotation and
    scale. What the pose leaves unexplained is regressed, with a ridge, on the face space's components.
    """
    at = space.nearest[space.raw_texels[space.raw_face]]
    mean, basis = space.mean[at].astype(np.float64), space.basis[:, at].reshape(len(space.basis), -1).astype(np.float64)
    affine = np.zeros((RAW_SIZE**2, 4))
    affine[space.raw_face] = np.linalg.pinv(np.column_stack([mean, np.ones(len(mean))])).T
    energy = basis @ basis.T
    solved = np.linalg.solve(energy + RIDGE * np.mean(np.diag(energy)) * np.eye(len(energy)), basis)
    explain = np.zeros((RAW_SIZE**2, 3, len(basis)))
    explain[space.raw_face] = solved.T.reshape(-1, 3, len(basis))

    points = ops.multiply(raw, FLIP_Y)
    axes = constant_dense(ops.transpose(points, (0, 2, 1)), affine, None, "affine")
    x_axis, y_axis, offset = axes[:, :, 0], axes[:, :, 1], axes[:, :, 3]
    x_length, y_length = _length(x_axis), _length(y_axis)
    first = ops.divide(x_axis, x_length)
    second = ops.subtract(y_axis, ops.multiply(ops.sum(y_axis * first, axis=-1, keepdims=True), first))
    second = ops.divide(second, _length(second))
    rotation = ops.stack([first, second, _cross(first, second)], axis=1)
    scale = ops.reshape(ops.multiply(ops.add(x_length, y_length), 0.5), (-1, 1, 1))
    offset = ops.reshape(offset, (-1, 1, 3))
    pose = layers.Concatenate(axis=1, name=POSE, dtype="float32")([ops.multiply(scale, rotation), offset])

    upright = ops.divide(ops.matmul(ops.subtract(points, offset), ops.transpose(rotation, (0, 2, 1))), scale)
    flat = ops.reshape(upright, (-1, RAW_SIZE**2 * 3))
    return pose, constant_dense(flat, explain.reshape(-1, len(basis)), -solved @ mean.ravel(), "explain")


def _decode(pose, coefficients, space: FaceSpace, image_size: int):
    """The position map of a posed face, every texel of it."""
    count = len(space.mean)
    shape = constant_dense(
        coefficients[:, : len(space.basis)], space.basis.reshape(len(space.basis), -1), space.mean.ravel(), SHAPE
    )
    pose = ops.multiply(pose, FLIP_Y)
    turned = ops.take(ops.matmul(ops.reshape(shape, (-1, count, 3)), pose[:, :3]), space.nearest, axis=1)
    # The offset is added to whole rows of the map: for three numbers at a time ONNX Runtime takes 0.2 ms more.
    rows = ops.reshape(turned, (-1, image_size, 3 * image_size))
    placed = ops.add(rows, ops.tile(pose[:, 3:], (1, 1, image_size)))
    return layers.Reshape((image_size, image_size, 3), name="position_map", dtype="float32")(placed)


def constant_dense(x, kernel: np.ndarray, bias: np.ndarray | None, name: str):
    """x @ kernel + bias, with constants that are saved with the network and never trained."""
    layer = layers.Dense(
        kernel.shape[1],
        use_bias=bias is not None,
        kernel_initializer="zeros",
        trainable=False,
        dtype="float32",
        name=name,
    )
    result = layer(x)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return result


def _regularised(coefficients, weight: float):
    return layers.ActivityRegularization(l2=weight / coefficients.shape[1], dtype="float32")(coefficients)


def _length(vectors):
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)


def _cross(a, b):
    """Of vectors (B, 3). Written out, since export formats lack it."""
    turned_a, turned_b = (ops.concatenate([v[:, 1:], v[:, :1]], axis=1) for v in (a, b))
    product = ops.subtract(ops.multiply(a, turned_b), ops.multiply(turned_a, b))
    return ops.concatenate([product[:, 1:], product[:, :1]], axis=1)


def _correction(features, space: FaceSpace, synchronised: bool):
    x = separable_block(features, 512, 2, "correction", synchronised)
    x = layers.Conv2D(64, 1, name="correction_squeeze")(x)
    x = layers.Dense(256, "relu", name="correction_hidden")(layers.Flatten()(x))
    return layers.Dense(len(space.basis), kernel_initializer=_normal(1e-4), name="correction_out", dtype="float32")(x)


def _scores(features, space: FaceSpace, synchronised: bool):
    """What the surface does not show, 0 to 1. It is no coefficient of the surface, but stands behind them."""
    x = separable_block(features, 128, 1, "scores", synchronised)
    x = layers.Dense(64, "relu", name="scores_hidden")(layers.Flatten()(x))
    return layers.Dense(len(space.scores), "sigmoid", name="scores_out", dtype="float32")(x)


def _normal(deviation: float):
    return keras.initializers.RandomNormal(stddev=deviation, seed=0)
