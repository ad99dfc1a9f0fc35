"""Random changes to a crop: where it lies (one similarity transform) and how it looks (uint8 images).

Every function takes the random generator that it draws from. Looks never move a pixel, so they leave the map alone.
"""

import math

import cv2
import numpy as np

from prnet.configure.config import Augmentation
from prnet.geometry.crop import Box, crop_transform

_TEXTURE_SIDE = 512
_LEVELS = np.linspace(0, 1, 256)[:, None, None]


def draw_crop(random: np.random.Generator, augmentation: Augmentation, box: Box, size: int, mirror: bool) -> np.ndarray:
    """A random crop around a landmark box: the (2, 3) transform from photo to crop (PRNet, section 3.3).

    The jitter of the box stands for an imperfect detector; rotation, translation and scale about the crop's centre
    come on top, all in this one matrix.
    """
    jittered = Box(
        centre=box.centre + box.side * random.uniform(-augmentation.crop_shift, augmentation.crop_shift, 2),
        side=box.side * random.uniform(*augmentation.crop_scale),
    )
    return crop_transform(
        jittered,
        size,
        margin=augmentation.crop_margin,
        angle=np.deg2rad(random.uniform(-augmentation.rotation, augmentation.rotation)),
        scale=random.uniform(*augmentation.scale),
        shift=(size - 1) * random.uniform(-augmentation.translation, augmentation.translation, 2),
        mirror=mirror,
    )


def noise_texture(seed: int) -> np.ndarray:
    """A coloured texture (512, 512, 3) uint8 with structure at every scale; occluding patches are cut from it."""
    random = np.random.default_rng(seed)
    texture = np.zeros((_TEXTURE_SIDE, _TEXTURE_SIDE, 3), dtype=np.float32)
    for octave in range(2, 10):
        grain = random.normal(size=(2**octave, 2**octave, 3)).astype(np.float32)
        texture += cv2.resize(grain, (_TEXTURE_SIDE, _TEXTURE_SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 35 * texture, 0, 255).astype(np.uint8)


def change_looks(
    crop: np.ndarray, random: np.random.Generator, augmentation: Augmentation, texture: np.ndarray
) -> np.ndarray:
    """Apply each change of appearance with its probability. crop : (S, S, 3) uint8; it may be written to."""

    def happens(probability: float) -> bool:
        return probability > 0 and random.random() < probability

    if happens(augmentation.occlusion):
        crop = cover(crop, random, _cut(texture, random, crop.shape[0]))
    if happens(augmentation.occluder):
        crop = cover(crop, random, _skin(crop, random, texture) if random.random() < 0.5 else np.rot90(crop, 2).copy())
    if happens(augmentation.shadow):
        crop = cast_shadow(crop, random)
    if happens(augmentation.blur):
        crop = blur(crop, random)
    if happens(augmentation.low_resolution):
        crop = reduce_resolution(crop, random)
    if happens(augmentation.noise):
        crop = add_noise(crop, random)
    if happens(augmentation.jpeg):
        crop = compress(crop, random)
    return crop


def cover(crop: np.ndarray, random: np.random.Generator, patch: np.ndarray) -> np.ndarray:
    """Put a patch (S, S, 3) over the crop inside a random ellipse or rotated rectangle, 15 to 50 % of a side wide."""
    size = crop.shape[0]
    mask = np.zeros((size, size), dtype=np.uint8)
    centre = random.uniform(0.1, 0.9, 2) * size
    axes = random.uniform(0.15, 0.5, 2) * size
    angle = random.uniform(0, 180)
    if random.random() < 0.5:
        cv2.ellipse(mask, (tuple(map(float, centre)), tuple(map(float, axes)), float(angle)), 255, cv2.FILLED)
    else:
        corners = cv2.boxPoints((tuple(map(float, centre)), tuple(map(float, axes)), float(angle)))
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    return cv2.copyTo(patch, mask, crop)


def cast_shadow(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Darken one side of a random line, or lighten less, with an edge between sharp and as wide as the crop."""
    size = crop.shape[0]
    angle, softness = random.uniform(0, 2 * np.pi), random.uniform(0.02, 1.0)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    distance = np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None] - random.uniform(-0.3, 0.3)
    light = 1 - random.uniform(0.3, 0.8) * np.clip(distance / softness + 0.5, 0, 1)
    return cv2.multiply(crop, cv2.merge([light.astype(np.float32)] * 3), dtype=cv2.CV_8U)


def blur(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Defocus (Gaussian) or motion (a line), up to 3 % of the crop's side."""
    reach = random.uniform(0.004, 0.015) * crop.shape[0]
    if random.random() < 0.5:
        return cv2.GaussianBlur(crop, (0, 0), reach)
    length = 2 * int(np.ceil(reach)) + 1
    angle = random.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * (length // 2)
    kernel = np.zeros((length, length), dtype=np.float32)
    middle = length // 2
    start, end = np.rint(middle - step).astype(int), np.rint(middle + step).astype(int)
    cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1.0)
    return cv2.filter2D(crop, -1, kernel / kernel.sum())


def reduce_resolution(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Down to a half to a sixth of the side and up again."""
    size = crop.shape[0]
    small = max(int(size / random.uniform(2, 6)), 8)
    return cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (size, size))


def add_noise(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sensor noise of standard deviation 3 to 20, independent by pixel."""
    noise = random.standard_normal(crop.shape, dtype=np.float32) * np.float32(random.uniform(3, 20))
    return cv2.add(crop, noise, dtype=cv2.CV_8U)


def compress(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """JPEG artefacts of quality 15 to 60."""
    _, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 61))])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))


def tone_table(random: np.random.Generator, augmentation: Augmentation) -> np.ndarray:
    """uint8 to float32 in 0 to 1 with random colour factors and gamma: a (256, 1, 3) table for `cv2.LUT`."""
    factors = random.uniform(*augmentation.colour, 3)
    low, high = map(math.log, augmentation.gamma)
    gamma = math.exp(random.uniform(low, high))
    return np.minimum(_LEVELS**gamma * factors, 1, dtype=np.float32)


def _cut(texture: np.ndarray, random: np.random.Generator, size: int) -> np.ndarray:
    """A square piece of a texture, from anywhere in it."""
    top, left = random.integers(0, _TEXTURE_SIDE - size + 1, 2)
    return texture[top : top + size, left : left + size]


def _skin(crop: np.ndarray, random: np.random.Generator, texture: np.ndarray) -> np.ndarray:
    """A patch in the colour of the crop's middle (skin, mostly) with a little of the texture's structure."""
    size = crop.shape[0]
    middle = crop[size // 3 : 2 * size // 3, size // 3 : 2 * size // 3].mean(axis=(0, 1))
    grain = cv2.cvtColor(_cut(texture, random, size), cv2.COLOR_RGB2GRAY).astype(np.float32) / 128
    return np.clip(middle * (0.8 + 0.2 * grain[..., None]), 0, 255).astype(np.uint8)
