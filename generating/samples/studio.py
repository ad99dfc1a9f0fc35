"""Where sample faces are taken: light and its shadows, fine texture, backdrop and camera."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from prnet.geometry.harmonics import harmonics
from prnet.geometry.rasterise import rasterise

GAMMA = 2.2
"""Exponent that takes sRGB to linear colours."""

TILE = 768
"""Side of one kind of fine texture, in its pixels."""

_SHADOW_SIDE = 160
_AROUND = ((0, 0), (-1.3, 0), (1.3, 0), (0, -1.3), (0, 1.3), (-1, -1), (1, -1), (-1, 1), (1, 1))
"""Where a shadow is looked up around a point, in pixels of the depth map."""


@dataclass(frozen=True)
class Light:
    """What lights a scene; directions have y up and z to the camera, colours are linear."""

    direction: np.ndarray  # (3,) unit, towards the light, y up
    key: np.ndarray  # (3,) colour
    fill_direction: np.ndarray
    fill: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


def draw_light(generator):
    """A key light, a weaker one from elsewhere, and light from sky and ground."""

    def direction(azimuth, elevation):
        return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])

    warmth = generator.normal(0, 0.07)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    hardness = generator.uniform(0.35, 1.0)
    azimuth = np.radians(np.clip(generator.normal(0, 45), -100, 100))
    return Light(
        direction=direction(azimuth, np.radians(generator.uniform(5, 60))),
        key=1.25 * hardness * tint,
        fill_direction=direction(azimuth + np.pi * generator.uniform(0.5, 1.2), np.radians(generator.uniform(-10, 40))),
        fill=generator.uniform(0.05, 0.45) * (2 - tint) * generator.uniform(0.9, 1.1, 3),
        sky=(1.0 - 0.62 * hardness) * generator.uniform(0.92, 1.08, 3),
        ground=(0.55 - 0.36 * hardness) * generator.uniform(0.85, 1.15, 3),
    )


def shadow(vertices, triangles, normals, light, face_count):
    """How much of the key light reaches each vertex (V,): a small depth map seen from the light, averaged around.

    face_count : the map is centred on that many vertices, the first ones.
    """
    up = np.array([0.0, 1.0, 0.0])
    across = np.cross(up, light.direction)
    across /= np.linalg.norm(across)
    frame = np.stack([across, np.cross(light.direction, across), light.direction])
    seen = (vertices * (1, -1, 1)) @ frame.T * (1, -1, 1)
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    reach = np.minimum((high - low).max(), 1.9 * np.ptp(seen[:face_count, 1]))
    middle = seen[:face_count, :2].mean(axis=0)
    pixel = reach / (_SHADOW_SIDE - 1)
    seen[:, :2] = (seen[:, :2] - middle) / pixel + _SHADOW_SIDE / 2
    depth = rasterise(seen, triangles, _SHADOW_SIDE, _SHADOW_SIDE, two_sided=True).depth
    slope = np.clip(normals @ light.direction, 0.25, 1)
    lit = np.zeros(len(vertices))
    for offset_x, offset_y in _AROUND:
        column = np.clip(np.rint(seen[:, 0] + offset_x), 0, _SHADOW_SIDE - 1).astype(int)
        row = np.clip(np.rint(seen[:, 1] + offset_y), 0, _SHADOW_SIDE - 1).astype(int)
        lit += depth[row, column] - seen[:, 2] < (1.2 + 1.6 / slope) * pixel
    return lit / 9


def shade(normals, colours, gloss, light, lit):
    """Linear colours (V, 3) under the light: soft, reddish at the edge of shadow, with highlights."""
    facing = normals @ light.direction
    soft = np.array([0.22, 0.10, 0.06])
    key = np.clip((facing[:, None] + soft) / (1 + soft), 0, 1) * (0.12 + 0.88 * lit[:, None])
    fill = np.clip((normals @ light.fill_direction)[:, None] * 0.8 + 0.2, 0, 1)
    around = light.ground + (light.sky - light.ground) * (0.5 + 0.5 * normals[:, 1:2])
    half = light.direction + (0, 0, 1)
    half /= np.linalg.norm(half)
    towards = np.clip(normals @ half, 0, 1)
    power = np.where(gloss > 0.6, 90, 16)
    shine = gloss * towards**power * lit * (facing > 0)
    rim = 0.05 * np.clip(1 - np.abs(normals[:, 2]), 0, 1) ** 3
    return colours * (light.key * key + light.fill * fill + around) + (shine + rim)[:, None] * light.key


def harmonic_light(light, normals, generator):
    """The nine harmonics a colour (9, 3) that are nearest to a studio's light on a matt surface of these normals, as
    bright as an exposed photo: what the face sends back is 0.7 to 1 of its albedo on average."""
    key = np.clip(normals @ light.direction, 0, 1)[:, None]
    fill = np.clip(normals @ light.fill_direction, 0, 1)[:, None]
    around = light.ground + (light.sky - light.ground) * (0.5 + 0.5 * normals[:, 1:2])
    functions = harmonics(normals.astype(np.float64))
    found = np.linalg.lstsq(functions, light.key * key + light.fill * fill + around, rcond=None)[0]
    front = functions[normals[:, 2] > 0] @ found
    return found * generator.uniform(0.7, 1.0) / front.mean()


@cache
def detail_atlas():
    """Fine texture, factors about 1: (TILE, 4 * TILE) float32, the kinds of `scene.DETAILS` side by side."""
    generator = np.random.default_rng(0)

    def blurred(across, along):
        noise = cv2.GaussianBlur(
            generator.standard_normal((TILE, TILE)).astype(np.float32), (0, 0), sigmaX=across, sigmaY=along
        )
        return noise / noise.std()

    skin = 1 + 0.022 * blurred(0.8, 0.8) + 0.022 * blurred(2.5, 2.5) + 0.022 * blurred(9, 9)
    hair = 1 + 0.16 * blurred(0.7, 14) + 0.14 * blurred(1.6, 22) + 0.10 * blurred(5, 30)
    cloth = 1 + 0.05 * blurred(0.8, 0.8) + 0.05 * blurred(12, 12)
    return np.clip(np.hstack([skin, hair, cloth, np.ones_like(skin)]), 0.35, 1.8).astype(np.float32)


def _muted(generator):
    """A linear colour (3,), seldom a strong one."""
    grey = generator.uniform(0.02, 0.75) ** 1.4
    return grey * (1 + generator.beta(1.0, 2.5) * generator.uniform(-1, 1, 3))


def draw_background(generator, side):
    """A blurred scene in linear light (side, side, 3): a gradient, soft shapes, and sometimes a texture."""
    small = 96
    row, column = np.mgrid[:small, :small] / (small - 1)
    colours = np.array([_muted(generator) for _ in range(2)])
    angle = generator.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + (column - 0.5) * np.cos(angle) + (row - 0.5) * np.sin(angle), 0, 1)[..., None]
    picture = (colours[0] + share * (colours[1] - colours[0])).astype(np.float32)
    for _ in range(generator.integers(0, 14)):
        colour = tuple(float(value) for value in _muted(generator))
        x, y, wide, high = (int(value) for value in generator.uniform((0, 0, 3, 3), (small, small, 34, 46)))
        if generator.random() < 0.5:
            cv2.ellipse(picture, (x, y), (wide // 2, high // 2), generator.uniform(0, 180), 0, 360, colour, -1)
        else:
            cv2.rectangle(picture, (x, y), (x + wide, y + high), colour, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.6, 7))
    if generator.random() < 0.4:
        grain = generator.standard_normal((small, small, 1)).astype(np.float32)
        grain = cv2.GaussianBlur(grain, (0, 0), generator.uniform(0.5, 4))[..., None]
        picture = picture * np.clip(1 + generator.uniform(0.04, 0.2) * grain / grain.std(), 0.2, 2)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)


def develop(picture, generator):
    """An sRGB picture (S, S, 3) with a little grain, as uint8."""
    picture = picture + generator.uniform(0.003, 0.012) * generator.standard_normal(picture.shape, dtype=np.float32)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def photograph(picture, generator):
    """A linear picture (S, S, 3) as a camera gives it: exposure, tone curve, blur, grain; uint8."""
    middle = picture.shape[0] // 2
    centre = picture[middle // 2 : -middle // 2, middle // 2 : -middle // 2]
    picture = picture * (generator.uniform(0.75, 1.25) * 0.34 / (0.5 * centre.mean() + 0.17))
    picture = 1 - np.exp(-1.35 * picture)
    picture = np.clip(picture, 0, 1) ** (1 / GAMMA)
    contrast = generator.uniform(0.92, 1.12)
    grey = picture.mean(axis=-1, keepdims=True)
    picture = 0.5 + contrast * (grey + generator.uniform(0.8, 1.15) * (picture - grey) - 0.5)
    blur = generator.uniform(0, 0.9)
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + generator.uniform(0.003, 0.018) * generator.standard_normal(picture.shape, dtype=np.float32)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
