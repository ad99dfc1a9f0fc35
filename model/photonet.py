"""Networks that learn a face from photos alone: seven heads on an encoder, decoded by a face model.

    crop -> encoder -> identity, expression, angles, place, scale -> position map
                   \\-> albedo, light ------------------------------> what `model.photo_training` renders

All heads start at zero: the mean face, frontal, in its reference crop, under even white light
(Deep3DFaceReconstruction, Deng et al., CVPRW 2019). The map has the contract of every network's, so whatever uses one
uses these; albedo and light are saved with it. Everything is made of Keras' own layers and operations: a saved network
opens without this project.
"""

import keras
import numpy as np
from keras import layers, ops

from prnet.configure.config import TARGET_SCALE
from prnet.geometry.five_points import DEEP3D_SIDE
from prnet.geometry.transforms import FLIP_Y
from prnet.model.appearance import AlbedoSpace
from prnet.model.blocks import light_encoder
from prnet.model.face_space import FaceSpace
from prnet.model.light import light_of_coefficients
from prnet.model.morphnet import COEFFICIENTS, POSE, SHAPE, constant_dense
from prnet.model.parameters import DEEP3D_FOCAL

ALBEDO_COEFFICIENTS, ALBEDO, LIGHT = "albedo_coefficients", "albedo", "light"
"""Layers beside `COEFFICIENTS` and `POSE` whose outputs are the albedo's coefficients (B, A), its map (B, S, S, 3),
sRGB about 0 to 1, and the light (B, 9, 3)."""

STEP = 0.1
"""What a head's unit moves the face by, as a share of the map's unit, and its scale, as a logarithm."""

FEATURE_CHANNELS, FEATURES = 64, 384
"""Channels of the encoder's output that are kept at each place, and numbers that the heads are linear in."""

FOCAL_LENGTH = DEEP3D_FOCAL / DEEP3D_SIDE
"""Of the perspective camera, in crop sides (Deep3D). A face of that magnification lies as far away in its own pixels,
whatever its size, so that this camera needs no number more than weak perspective."""


def build_photonet(
    name: str, image_size: int, space: FaceSpace, albedos: AlbedoSpace, camera: str, synchronised: bool = False
) -> keras.Model:
    """name : `photonet`, on the light encoder, or `photonet50`, on ResNet-50 with fresh weights."""
    images = keras.Input((image_size, image_size, 3), name="image")
    encoder = resnet50_encoder if name == "photonet50" else light_encoder
    features = _features(encoder(images, synchronised))

    def head(part: str, count: int):
        return layers.Dense(count, kernel_initializer="zeros", dtype="float32", name=part)(features)

    identity = head("identity", space.identity_count)
    expression = head("expression", len(space.basis) - space.identity_count)
    coefficients = layers.Concatenate(name=COEFFICIENTS, dtype="float32")([identity, expression])
    pose = _pose(head("angles", 3), head("place", 2), head("scale", 1), space)
    position_map = _decode(coefficients, pose, space, camera)
    albedo = _albedo(head(ALBEDO_COEFFICIENTS, len(albedos.basis)), albedos, space)
    light = layers.Identity(name=LIGHT, dtype="float32")(light_of_coefficients(head("light_coefficients", 27)))
    # What passes through one layer is saved together, also what the map does not depend on.
    position_map, _, _ = layers.Identity(name="face", dtype="float32")([position_map, albedo, light])
    network = keras.Model(images, position_map, name=name)
    network.parameter_names = space.parameter_names
    return network


def _features(encoded):
    """What the heads read (B, FEATURES), of an encoder's output (B, h, w, C): where on the crop something is seen
    counts, which a mean over the crop would lose."""
    narrow = layers.Conv2D(FEATURE_CHANNELS, 1, activation="relu", name="features_narrow")(encoded)
    flat = layers.Flatten(name="features_flat")(narrow)
    return layers.Dense(FEATURES, activation="relu", dtype="float32", name="features")(flat)


def resnet50_encoder(images, synchronised: bool = False):
    """Images (B, S, S, 3) in 0 to 1 to features (B, S / 32, S / 32, 2048) (He et al. 2016), as Keras builds it."""
    return keras.applications.ResNet50(include_top=False, weights=None, input_tensor=images).output


def _pose(angles, place, scale, space: FaceSpace):
    """(B, 4, 3): three rows of a scaled rotation, transposed, and a translation: target = x R + t, with y up."""
    standard_scale, standard_place = _reference(space)
    rotation = ops.transpose(_rotation(angles), (0, 2, 1))
    size = ops.reshape(standard_scale * ops.exp(STEP * scale), (-1, 1, 1))
    offset = ops.concatenate([STEP * place, ops.zeros_like(scale)], axis=-1) + standard_place
    rows = [ops.multiply(size, rotation), ops.expand_dims(offset, 1)]
    return layers.Concatenate(axis=1, name=POSE, dtype="float32")(rows)


def _reference(space: FaceSpace) -> tuple[float, np.ndarray]:
    """Scale and place (1, 3), y up, of the mean face in its reference crop, in target units."""
    start = space.raw_start[space.raw_face] * FLIP_Y
    mean = space.mean[space.nearest[space.raw_texels[space.raw_face]]]
    spread, target = mean - mean.mean(axis=0), start - start.mean(axis=0)
    scale = float((spread * target).sum() / (spread * spread).sum())
    place = start.mean(axis=0) - scale * mean.mean(axis=0)
    return scale, (place * (1, 1, 0)).astype(np.float32)[None]


def _rotation(angles):
    """(B, 3, 3) of pitch, yaw and roll (B, 3) in radians: `prnet.geometry.pose.rotation_from_angles`."""
    (sin_x, sin_y, sin_z), (cos_x, cos_y, cos_z) = (
        [function(angles)[:, axis] for axis in range(3)] for function in (ops.sin, ops.cos)
    )
    zero, one = ops.zeros_like(sin_x), ops.ones_like(sin_x)

    def matrix(*entries):
        return ops.reshape(ops.stack(entries, axis=-1), (-1, 3, 3))

    around_x = matrix(one, zero, zero, zero, cos_x, sin_x, zero, -sin_x, cos_x)
    around_y = matrix(cos_y, zero, -sin_y, zero, one, zero, sin_y, zero, cos_y)
    around_z = matrix(cos_z, sin_z, zero, -sin_z, cos_z, zero, zero, zero, one)
    return ops.matmul(ops.matmul(around_x, around_y), around_z)


def _decode(coefficients, pose, space: FaceSpace, camera: str):
    """The position map, its least z 0, of a posed face."""
    count, size = len(space.mean), space.size
    flat = constant_dense(coefficients, space.basis.reshape(len(space.basis), -1), space.mean.ravel(), SHAPE)
    turned = ops.matmul(ops.reshape(flat, (-1, count, 3)), pose[:, :3])
    placed = ops.multiply(ops.add(turned, pose[:, 3:]), FLIP_Y)
    if camera == "perspective":
        placed = _seen_from_near(placed, size)
    depth = placed[..., 2:]
    level = ops.concatenate([placed[..., :2], depth - ops.min(depth, axis=1, keepdims=True)], axis=-1)
    texels = ops.take(level, space.nearest, axis=1)
    return layers.Reshape((size, size, 3), name="position_map", dtype="float32")(texels)


def _seen_from_near(points, size: int):
    """Points (B, n, 3) in target units, z about the face's own centre, as a camera at `FOCAL_LENGTH` sees them."""
    centre = (size - 1) / 2 / (size * TARGET_SCALE)
    distance = FOCAL_LENGTH / TARGET_SCALE
    magnified = distance / (distance - points[..., 2:])
    return ops.concatenate([centre + (points[..., :2] - centre) * magnified, points[..., 2:]], axis=-1)


def _albedo(coefficients, albedos: AlbedoSpace, space: FaceSpace):
    basis = albedos.basis.reshape(len(albedos.basis), -1)
    flat = constant_dense(coefficients, basis, albedos.mean.ravel(), "albedo_space")
    texels = ops.take(ops.reshape(flat, (-1, len(albedos.mean), 3)), space.nearest, axis=1)
    return layers.Reshape((space.size, space.size, 3), name=ALBEDO, dtype="float32")(texels)
