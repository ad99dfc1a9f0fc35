"""Pictures of invented people: each view of a person is drawn from a random generator and rendered.

The face is the sample face model under a known fit; hair, ears, clothes, light and background are there so that a
network has something to ignore.
"""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from generating import sample_scene as scene
from generating.sample_anatomy import ramp
from generating.sample_model import ORIGIN, UNITS_PER_MM, SampleHead
from generating.sample_people import Person, draw_expression
from generating.sample_skin import paint
from geometry.crop import transform_points
from geometry.face_model import face_vertices
from geometry.mesh import vertex_normals
from geometry.pose import fit_to_pixels, rotation_from_angles
from geometry.rasterise import Raster, interpolate, rasterise

SUPERSAMPLING = 2.0
"""Rendered pixels per pixel of the picture, along each side, at most."""

_RENDERED_SIDE = 620
_TILE = 768


@dataclass(frozen=True)
class View:
    """One picture of a person, before it is drawn."""

    size: int  # pixels, square
    coefficients: np.ndarray  # (S + E,) float32
    pose: np.ndarray  # (7,) float32, `Pose_Para`
    gaze: tuple[float, float]
    seed: int  # of light, background and camera


def draw_view(head: SampleHead, person: Person, yaw: float, generator: np.random.Generator) -> View:
    """A picture of a person at a yaw in degrees: size, place, pitch, roll and expression are drawn."""
    size = int(generator.integers(200, 451))
    pitch = np.clip(generator.normal(0, 9), -28, 28)
    roll = np.clip(generator.normal(0, 10), -35, 35)
    coefficients = np.concatenate([person.identity, draw_expression(head, generator)]).astype(np.float32)
    scale = size * generator.uniform(0.40, 0.56) / (150 * UNITS_PER_MM)
    rotation = rotation_from_angles(np.radians([pitch, yaw, roll]))
    middle = head.model.mean[head.model.landmark_vertices].mean(axis=0) @ rotation.T * scale
    centre = size / 2 + generator.uniform(-0.05, 0.05, 2) * size
    pose = [
        *np.radians([pitch, yaw, roll]),
        centre[0] - middle[0],
        size - centre[1] - middle[1] + 0.02 * size,
        -middle[2],
        scale,
    ]
    gaze = np.clip(generator.normal(0, (1.3, 0.5)), -2.6, 2.6) + (
        np.clip(-yaw / 90, -1, 1) * 1.5 * generator.random(),
        0,
    )
    return View(
        size=size,
        coefficients=coefficients,
        pose=np.array(pose, dtype=np.float32),
        gaze=tuple(gaze),
        seed=int(generator.integers(1 << 31)),
    )


def render_view(head: SampleHead, person: Person, view: View) -> np.ndarray:
    """The picture (size, size, 3) uint8 RGB."""
    generator = np.random.default_rng(view.seed)
    vertices, triangles, colours, gloss, detail = _assemble(head, person, view)
    factor = min(SUPERSAMPLING, _RENDERED_SIDE / view.size)
    side = round(view.size * factor)
    enlarge = np.array(
        [[side / view.size, 0, (side / view.size - 1) / 2], [0, side / view.size, (side / view.size - 1) / 2]]
    )
    placed = transform_points(enlarge, vertices)
    normals = vertex_normals(vertices * (1, -1, 1), triangles)

    light = _light(generator)
    lit = _shade(normals, colours, gloss, light, _shadow(vertices, triangles, normals, light))
    raster = rasterise(placed, triangles, side, side)
    seen = raster.triangle >= 0
    visible = Raster(raster.triangle[seen][None], raster.barycentric[seen][None], raster.depth[seen][None])
    values = interpolate(visible, triangles, np.column_stack([lit, detail]).astype(np.float32))
    atlas = _detail_atlas()
    column, row = (values[0, :, 3:] + 0.5).astype(np.int32).T
    fine = atlas[np.clip(row, 0, _TILE - 1), np.clip(column, 0, atlas.shape[1] - 1)]
    picture = _background(generator, side)
    picture[seen] = values[0, :, :3] * fine[:, None]
    picture = cv2.resize(np.maximum(picture, 0), (view.size, view.size), interpolation=cv2.INTER_AREA)
    return _photograph(picture, generator)


def _assemble(head, person, view):
    """All meshes in pixels of the picture, y down: vertices, triangles, linear colours, gloss, places in the atlas."""
    model = head.model
    identity_only = np.concatenate([person.identity, np.zeros(len(model.expression_deviation))])
    calm = face_vertices(model, identity_only) / UNITS_PER_MM + ORIGIN
    posed = face_vertices(model, view.coefficients) / UNITS_PER_MM + ORIGIN
    with_head = _in_millimetres(fit_to_pixels(view.pose, view.size))
    turned_less = _in_millimetres(fit_to_pixels(view.pose * (0.25, 0.45, 0.3, 1, 1, 1, 1), view.size))
    with_body = turned_less.copy()
    with_body[:, 3] += (with_head - turned_less) @ [*scene.NECK_PIVOT, 1]

    skin = replace(person.skin, gaze=view.gaze)
    face = scene.Part(
        vertices=posed,
        triangles=model.triangles,
        colours=paint(head.rest, head.inside_mouth, skin, person.noise, person.roots) * _occlusion(head.rest)[:, None],
        gloss=np.where(head.eyes, 0.9, 0.13),
        detail=scene.DETAILS.index("skin"),
        detail_place=head.rest[:, :2] * 2.2 + (0, 100),
    )
    upper_lip, lower_lip = model.landmark_vertices[[62, 66]]
    mouth_shift = (calm - head.rest)[[upper_lip, lower_lip]].mean(axis=0)
    jaw = posed[lower_lip] - calm[lower_lip]
    rim_depth = float(head.rest[head.inside_mouth > 0.8, 2].max())
    scale, shift = _fit_axes(head.rest, calm)
    parts = [face]
    parts += [replace(part, vertices=part.vertices + mouth_shift) for part in scene.mouth_parts(rim_depth, jaw)]
    parts += [replace(part, vertices=part.vertices * scale + shift) for part in person.parts]

    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    transforms = [with_body if part.on_body else with_head for part in parts]
    return (
        np.concatenate([part.vertices @ to[:, :3].T + to[:, 3] for part, to in zip(parts, transforms, strict=True)]),
        np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.colours for part in parts]) ** 2.2,
        np.concatenate([np.broadcast_to(part.gloss, len(part.vertices)) for part in parts]),
        np.concatenate([part.detail_place + (_TILE * (part.detail + 0.5), _TILE / 2) for part in parts]),
    )


def _in_millimetres(to_pixels):
    """The same transform (3, 4) for the millimetres of the anatomy."""
    linear = to_pixels[:, :3] * UNITS_PER_MM
    return np.column_stack([linear, to_pixels[:, 3] - linear @ ORIGIN])


def _fit_axes(rest, calm):
    """Scale and shift (3,) of each axis that carry the rim of the resting face to the person's."""
    rim = (rest[:, 2] < -40) & (rest[:, 1] > -120) | (rest[:, 1] > 66)
    fits = [np.polyfit(rest[rim, axis], calm[rim, axis], 1) for axis in range(3)]
    return np.array([slope for slope, _ in fits]), np.array([offset for _, offset in fits])


def _occlusion(rest):
    """How much of the sky's light reaches each vertex (V,): less below the chin and in the eyes' sockets."""
    below_chin = ramp(rest[:, 1], -108, -124) * ramp(rest[:, 1], -200, -140) * ramp(rest[:, 2], -95, -60)
    side = np.abs(rest[:, 0])
    socket = np.exp(-0.5 * (np.square((side - 18) / 6) + np.square((rest[:, 1] - 4) / 7)))
    under_lip = np.exp(-0.5 * (np.square(side / 13) + np.square((rest[:, 1] + 86) / 4)))
    return 1 - 0.22 * below_chin - 0.15 * socket - 0.10 * under_lip


@dataclass(frozen=True)
class _Light:
    direction: np.ndarray  # (3,) unit, towards the light, y up
    key: np.ndarray  # (3,) colour
    fill_direction: np.ndarray
    fill: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


def _light(generator):
    """A key light, a weaker one from elsewhere, and light from sky and ground."""

    def direction(azimuth, elevation):
        return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])

    warmth = generator.normal(0, 0.07)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    hardness = generator.uniform(0.35, 1.0)
    azimuth = np.radians(np.clip(generator.normal(0, 45), -100, 100))
    return _Light(
        direction=direction(azimuth, np.radians(generator.uniform(5, 60))),
        key=1.25 * hardness * tint,
        fill_direction=direction(azimuth + np.pi * generator.uniform(0.5, 1.2), np.radians(generator.uniform(-10, 40))),
        fill=generator.uniform(0.05, 0.45) * (2 - tint) * generator.uniform(0.9, 1.1, 3),
        sky=(1.0 - 0.62 * hardness) * generator.uniform(0.92, 1.08, 3),
        ground=(0.55 - 0.36 * hardness) * generator.uniform(0.85, 1.15, 3),
    )


def _shadow(vertices, triangles, normals, light):
    """How much of the key light reaches each vertex (V,): a small depth map seen from the light, averaged around."""
    side = 160
    up = np.array([0.0, 1.0, 0.0])
    across = np.cross(up, light.direction)
    across /= np.linalg.norm(across)
    frame = np.stack([across, np.cross(light.direction, across), light.direction])
    seen = (vertices * (1, -1, 1)) @ frame.T * (1, -1, 1)
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    reach = np.minimum((high - low).max(), 1.9 * np.ptp(seen[: len(seen) // 3, 1]))
    middle = seen[: len(seen) // 3, :2].mean(axis=0)
    pixel = reach / (side - 1)
    seen[:, :2] = (seen[:, :2] - middle) / pixel + side / 2
    depth = rasterise(seen, triangles, side, side, two_sided=True).depth
    slope = np.clip(normals @ light.direction, 0.25, 1)
    lit = np.zeros(len(vertices))
    for offset_x, offset_y in ((0, 0), (-1.3, 0), (1.3, 0), (0, -1.3), (0, 1.3), (-1, -1), (1, -1), (-1, 1), (1, 1)):
        column = np.clip(np.rint(seen[:, 0] + offset_x), 0, side - 1).astype(int)
        row = np.clip(np.rint(seen[:, 1] + offset_y), 0, side - 1).astype(int)
        lit += depth[row, column] - seen[:, 2] < (1.2 + 1.6 / slope) * pixel
    return lit / 9


def _shade(normals, colours, gloss, light, lit):
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


@cache
def _detail_atlas():
    """Fine texture, factors about 1: (_TILE, 4 * _TILE) float32, the kinds of `sample_scene.DETAILS` side by side."""
    generator = np.random.default_rng(0)

    def blurred(across, along):
        noise = cv2.GaussianBlur(
            generator.standard_normal((_TILE, _TILE)).astype(np.float32), (0, 0), sigmaX=across, sigmaY=along
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


def _background(generator, side):
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


def _photograph(picture, generator):
    """A linear picture (S, S, 3) as a camera gives it: exposure, tone curve, blur, grain; uint8."""
    middle = picture.shape[0] // 2
    centre = picture[middle // 2 : -middle // 2, middle // 2 : -middle // 2]
    picture = picture * (generator.uniform(0.75, 1.25) * 0.34 / (0.5 * centre.mean() + 0.17))
    picture = 1 - np.exp(-1.35 * picture)
    picture = np.clip(picture, 0, 1) ** (1 / 2.2)
    contrast = generator.uniform(0.92, 1.12)
    grey = picture.mean(axis=-1, keepdims=True)
    picture = 0.5 + contrast * (grey + generator.uniform(0.8, 1.15) * (picture - grey) - 0.5)
    blur = generator.uniform(0, 0.9)
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + generator.uniform(0.003, 0.018) * generator.standard_normal(picture.shape, dtype=np.float32)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def contact_sheet(pictures: list[np.ndarray], columns: int, side: int = 160) -> np.ndarray:
    """Pictures (H, W, 3) uint8 in a grid, each fitted into a square of `side` pixels: one uint8 RGB array."""
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * side, columns * side, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * side, number % columns * side
        sheet[top : top + side, left : left + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return sheet
