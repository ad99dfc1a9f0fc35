"""Pictures of invented people: each view of a person is drawn from a random generator and rendered.

The face is the sample face model under a known fit; hair, ears, clothes, light and background are there so that a
network has something to ignore.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from prnet.generating.samples import scene as scene
from prnet.generating.samples.anatomy import ramp
from prnet.generating.samples.model import ORIGIN, UNITS_PER_MM, SampleHead
from prnet.generating.samples.people import Person, draw_expression
from prnet.generating.samples.skin import paint
from prnet.generating.samples.studio import (
    GAMMA,
    TILE,
    Light,
    detail_atlas,
    develop,
    draw_background,
    draw_light,
    harmonic_light,
    photograph,
    shade,
    shadow,
)
from prnet.geometry.crop import transform_points
from prnet.geometry.face_model import at_landmarks, face_vertices
from prnet.geometry.harmonics import harmonics
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.pose import fit_to_pixels, rotation_from_angles
from prnet.geometry.rasterise import Raster, interpolate, rasterise
from prnet.geometry.transforms import FLIP_Y, apply_transform

SUPERSAMPLING = 2.0
"""Rendered pixels per pixel of the picture, along each side, at most."""

_RENDERED_SIDE = 620
"""Most rendered pixels along a side."""


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
    middle = at_landmarks(head.model, head.model.mean).mean(axis=0) @ rotation.T * scale
    centre = size / 2 + generator.uniform(-0.05, 0.05, 2) * size
    pose = [
        *np.radians([pitch, yaw, roll]),
        centre[0] - middle[0],
        size - centre[1] - middle[1] + 0.02 * size,
        -middle[2],
        scale,
    ]
    towards_camera = np.array([-1.5 * yaw / 90 * generator.random(), 0.0])
    gaze = towards_camera + np.clip(generator.normal(0, (1.3, 0.5)), -2.6, 2.6)
    return View(
        size=size,
        coefficients=coefficients,
        pose=np.array(pose, dtype=np.float32),
        gaze=tuple(gaze),
        seed=int(generator.integers(1 << 31)),
    )


@dataclass(frozen=True)
class Truth:
    """What a picture was made of."""

    albedo: np.ndarray  # (V, 3) sRGB 0 to 1, of the face model's vertices
    light: Light | np.ndarray  # of the studio, or (9, 3) harmonics (`prnet.geometry.harmonics`)


def render_view(head: SampleHead, person: Person, view: View) -> np.ndarray:
    """The picture (size, size, 3) uint8 RGB."""
    return render_with_truth(head, person, view)[0]


def render_with_truth(
    head: SampleHead, person: Person, view: View, *, harmonic: bool = False
) -> tuple[np.ndarray, Truth]:
    """The picture (size, size, 3) uint8 RGB, and the face's albedo and light.

    harmonic : what a point sends to the camera is its sRGB albedo times a light of nine harmonics, and nothing else:
    no shadow, no gloss, no tone curve.
    """
    generator = np.random.default_rng(view.seed)
    albedo = paint(head.rest, head.inside_mouth, replace(person.skin, gaze=view.gaze), person.noise, person.roots)
    vertices, triangles, colours, gloss, detail = _assemble(head, person, view, albedo)
    factor = min(SUPERSAMPLING, _RENDERED_SIDE / view.size)
    side = round(view.size * factor)
    enlarge = side / view.size * np.array([[1, 0, 0.5], [0, 1, 0.5]]) - (0, 0, 0.5)
    placed = transform_points(enlarge, vertices)
    normals = vertex_normals(vertices * FLIP_Y, triangles)

    light = draw_light(generator)
    if harmonic:
        light = harmonic_light(light, normals[: len(albedo)], generator)
        srgb = np.concatenate([albedo, colours[len(albedo) :] ** (1 / GAMMA)])
        lit = srgb * np.maximum(harmonics(normals) @ light, 0)
    else:
        lit = shade(normals, colours, gloss, light, shadow(vertices, triangles, normals, light, len(head.rest)))
    raster = rasterise(placed, triangles, side, side)
    seen = raster.triangle >= 0
    visible = Raster(raster.triangle[seen][None], raster.barycentric[seen][None], raster.depth[seen][None])
    values = interpolate(visible, triangles, np.column_stack([lit, detail]).astype(np.float32))
    atlas = detail_atlas()
    column, row = (values[0, :, 3:] + 0.5).astype(np.int32).T
    fine = atlas[np.clip(row, 0, TILE - 1), np.clip(column, 0, atlas.shape[1] - 1)]
    picture = draw_background(generator, side)
    if harmonic:
        picture = np.maximum(picture, 0) ** (1 / GAMMA)
    picture[seen] = values[0, :, :3] * fine[:, None]
    picture = cv2.resize(np.maximum(picture, 0), (view.size, view.size), interpolation=cv2.INTER_AREA)
    return (develop if harmonic else photograph)(picture, generator), Truth(albedo, light)


def _assemble(head, person, view, albedo):
    """All meshes in pixels of the picture, y down: vertices, triangles, linear colours, gloss, places in the atlas."""
    model = head.model
    identity_only = np.concatenate([person.identity, np.zeros(len(model.expression_deviation))])
    calm = face_vertices(model, identity_only) / UNITS_PER_MM + ORIGIN
    posed = face_vertices(model, view.coefficients) / UNITS_PER_MM + ORIGIN
    with_head = _in_millimetres(fit_to_pixels(view.pose, view.size))
    turned_less = _in_millimetres(fit_to_pixels(view.pose * (0.25, 0.45, 0.3, 1, 1, 1, 1), view.size))
    with_body = turned_less.copy()
    with_body[:, 3] += (with_head - turned_less) @ [*scene.NECK_PIVOT, 1]

    face = scene.Part(
        vertices=posed,
        triangles=model.triangles,
        colours=albedo * _occlusion(head.rest)[:, None],
        gloss=np.where(head.eyes, 0.9, 0.13),
        detail=scene.DETAILS.index("skin"),
        detail_place=head.rest[:, :2] * 2.2 + (0, 100),
    )
    upper_lip, lower_lip = model.landmark_vertices[[62, 66], 0]
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
        np.concatenate([apply_transform(to, part.vertices) for part, to in zip(parts, transforms, strict=True)]),
        np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.colours for part in parts]) ** GAMMA,
        np.concatenate([np.broadcast_to(part.gloss, len(part.vertices)) for part in parts]),
        np.concatenate([part.detail_place + (TILE * (part.detail + 0.5), TILE / 2) for part in parts]),
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


def contact_sheet(pictures: list[np.ndarray], columns: int, side: int = 160) -> np.ndarray:
    """Pictures (H, W, 3) uint8 in a grid, each fitted into a square of `side` pixels: one uint8 RGB array."""
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * side, columns * side, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * side, number % columns * side
        sheet[top : top + side, left : left + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return sheet
