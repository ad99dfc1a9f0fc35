"""A photo with its fit as a surface with depth: the face, and rings of anchor points around it.

The face is the fitted model on its UV grid. The rings continue its depth over hair, ears and neck (Zhu et al., CVPR
2016, section 4, "3D image meshing", where anchors around the face's contour do so). What the photo does not show of the
face takes its colours from the nearest surface that the photo shows.

Convention: all pixels are those of the frame, a square around the landmarks, 2.2 times as wide as their box; x right, y
down, z in pixels and larger to the camera. A bearing is an angle about the face's middle, from the right clockwise,
counted in anchors (96 to the turn): rounded, it is an index into a ring.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, minimum_filter1d

from prnet.geometry.crop import Box, compose, crop_image, crop_transform, landmark_box, lift_transform
from prnet.geometry.face_model import FaceModel, at_landmarks, face_vertices, landmark_model
from prnet.geometry.mesh import boundary_loops, vertex_normals
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, map_basis, shape_maps
from prnet.geometry.rasterise import rasterise
from prnet.geometry.transforms import apply_transform
from prnet.geometry.uv_layout import grid_triangles

GRID_SIDE = 128
"""Side of the UV grid that carries the face: triangles of about 1.5 pixels at 256."""

FRAME_MARGIN = 2.2
"""Side of the frame over the mean side of the landmark box: room for the crop (1.5) and its augmentation."""

FRAME_SIDES = (256, 450)
"""Least and greatest side of a view in pixels; 450 is 300W-LP's."""

ANCHOR_ANGLES = 96
ANCHOR_RADII = np.array([0.99, 1.06, 1.15, 1.28, 1.5])
ANCHOR_DROPS = np.array([0.01, 0.12, 0.3, 0.6, 1.0])
"""The rings: how far out, over the radius of the face's outline, and how far behind it, over the mean radius."""

WALL_RADIUS, RIM_WIDTH = 0.94, 0.8
"""Before the rings comes a wall, at this radius: from under the face back to its rearmost point beyond that radius."""

ANCHOR_RECESSION = ((-1.0, -0.7, 0.0, 0.8), (0.55, 0.8, 1.0, 0.3))
"""Share of that drop by direction (its sine, from straight up, -1, to straight down, 1): the skull is highest halfway
back, and neck and chest do not recede."""

MIN_FACING = 0.3
"""Cosine between normal and line of sight below which the photo's colours are not trusted."""

OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
"""Landmarks."""

MOUTH_SHADE = 0.3
"""What a mouth shows inside that the photo shows shut: the colour of its lips, this much as bright."""


@dataclass(frozen=True)
class FaceGrid:
    """A face model on a coarse UV grid."""

    basis: MapBasis
    triangles: np.ndarray  # (T, 3) int32
    landmarks: FaceModel  # the model's 68 landmark vertices
    lips: np.ndarray | None  # (1 + K, R, 3) model units: mean and components of the rim of the hole between the lips


@dataclass(frozen=True)
class Relief:
    """A photo in its frame, with depth: everything that its views have in common."""

    picture: np.ndarray  # (S, S, 3) uint8
    region: np.ndarray  # (4,) left, top, right, bottom of the frame in 1-based pixels of the photo
    landmarks: np.ndarray  # (68, 3) model units
    angles: np.ndarray  # (3,) pitch, yaw, roll of the photo, radians
    transform: np.ndarray  # (3, 4) model units to frame pixels
    points: np.ndarray  # (P, 3) float32, face and rings, frame pixels
    lookups: np.ndarray  # (P, 2) float32, where in the picture each point finds its colour
    hidden: np.ndarray  # (T,) bool, triangles of the face that the photo does not show
    triangles: np.ndarray  # (T, 3) int32, the rings' last
    ring_triangle_count: int
    centre: np.ndarray  # (2,) middle of the face in the picture
    outline: np.ndarray  # (ANCHOR_ANGLES,) radius of the outermost ring about the centre
    mouth: "Mouth | None" = None  # one opened by `with_expression`


@dataclass(frozen=True)
class Mouth:
    """What shows between open lips."""

    rim: np.ndarray  # (R, 3) frame pixels
    colour: np.ndarray  # (3,) RGB in 0 to 255


def make_face_grid(model: FaceModel, side: int = GRID_SIDE) -> FaceGrid:
    """Resample a face model to a UV grid and join its texels; texels beyond the mesh are left out."""
    basis = map_basis(model, side)
    triangles = grid_triangles(np.ones((side, side), dtype=bool))
    corners = basis.rows[0].reshape(-1, 3)[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    return FaceGrid(
        basis=basis,
        triangles=triangles[area > 1e-3 * np.median(area)],
        landmarks=landmark_model(model),
        lips=_lips(model),
    )


def _lips(model: FaceModel) -> np.ndarray | None:
    """Mean and components of the hole of the mesh that lies at the inner lips, if there is one."""
    middle = at_landmarks(model, model.mean)[INNER_LIPS].mean(axis=0)
    for rim in boundary_loops(model.triangles, model.mean)[1:]:
        points = model.mean[rim]
        if (np.abs(points.mean(axis=0) - middle)[:2] < np.ptp(points[:, 0]) / 4).all():
            bases = (model.shape_basis[rim], model.expression_basis[rim])
            return np.concatenate([points[None], *(np.moveaxis(basis, 2, 0) for basis in bases)])
    return None


def make_relief(photo: np.ndarray, coefficients: np.ndarray, pose: np.ndarray, grid: FaceGrid) -> Relief:
    """Give a photo depth.

    photo : (H, W, 3) uint8. coefficients : (K,) of the face model. pose : (7,) `Pose_Para`. Raises ValueError where
    the fit puts the face outside the photo or turns it away.
    """
    landmarks = face_vertices(grid.landmarks, coefficients)
    to_photo = fit_to_pixels(pose, photo.shape[0])
    box = landmark_box(move(to_photo, landmarks))
    size = np.array(photo.shape[1::-1])
    if not (4 < box.side < 2 * size.max() and (box.centre > 0).all() and (box.centre < size).all()):
        raise ValueError(
            f"the fit puts the face, {box.side:.0f} pixels wide, at {np.rint(box.centre)}, outside the photo"
        )
    half = FRAME_MARGIN * box.side / 2
    side = int(np.clip(np.rint(2 * half), *FRAME_SIDES))
    frame = crop_transform(box, side, margin=FRAME_MARGIN)
    transform = compose(lift_transform(frame), to_photo)

    shape = shape_maps(grid.basis, coefficients[None]).reshape(-1, 3)
    face = move(transform, shape).astype(np.float32)
    raster = rasterise(face, grid.triangles, side, side)
    shown = raster.triangle >= 0
    if not shown.any():
        raise ValueError("the fit turns the face away from the camera")
    centre = np.argwhere(shown).mean(axis=0)[::-1]
    rings, ring_triangles, outline = _rings(face, raster.depth, shown, centre)
    lookups, hidden = _face_lookups(face, grid, raster.depth)
    return Relief(
        picture=_framed(photo, box, frame, side),
        region=np.concatenate([box.centre - half, box.centre + half]) + 1,
        landmarks=landmarks,
        angles=np.asarray(pose[:3], dtype=np.float64),
        transform=transform,
        points=np.concatenate([face, rings]),
        lookups=np.concatenate([lookups, rings[:, :2]]),
        hidden=np.append(hidden[grid.triangles].any(axis=1), np.zeros(len(ring_triangles), bool)),
        triangles=np.concatenate([grid.triangles, ring_triangles + len(face)]),
        ring_triangle_count=len(ring_triangles),
        centre=centre,
        outline=outline,
    )


def with_expression(relief: Relief, coefficients: np.ndarray, grid: FaceGrid) -> Relief:
    """The same photo with another expression: its surface moves and takes its colours with it.

    coefficients : (K,) with the photo's identity. grid : of a face model with a hole between its lips.
    """
    assert grid.lips is not None
    face = move(relief.transform, shape_maps(grid.basis, coefficients[None]).reshape(-1, 3)).astype(np.float32)
    rim = np.tensordot(np.append(1.0, coefficients), grid.lips, axes=1)
    column, row = np.rint(move(relief.transform, relief.landmarks[OUTER_LIPS])[:, :2]).astype(int).T
    return replace(
        relief,
        landmarks=face_vertices(grid.landmarks, coefficients),
        points=np.concatenate([face, relief.points[len(face) :]]),
        mouth=Mouth(move(relief.transform, rim), MOUTH_SHADE * relief.picture[row, column].mean(axis=0)),
    )


def move(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3), in their own type, by a (3, 4) transform."""
    return apply_transform(transform.astype(points.dtype), points)


def _framed(photo: np.ndarray, box: Box, frame: np.ndarray, side: int) -> np.ndarray:
    """The frame's part of the photo; beyond the photo's border its blurred reflection."""
    half = FRAME_MARGIN * box.side / 2 + 1
    height, width = photo.shape[:2]
    left, top = (max(int(np.ceil(half - at)), 0) for at in box.centre)
    right, bottom = (
        max(int(np.ceil(at + half - length)), 0) for at, length in zip(box.centre, (width, height), strict=True)
    )
    if left or top or right or bottom:
        inside = np.pad(np.ones((height, width), np.uint8), ((top, bottom), (left, right)))
        photo = cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_REFLECT_101)
        smooth = cv2.GaussianBlur(photo, (0, 0), 0.06 * box.side)
        distance = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
        share = np.minimum(distance / (0.1 * box.side), 1.0)[..., None]
        photo = np.rint(photo * (1 - share) + smooth * share).astype(np.uint8)
        frame = frame.copy()
        frame[:, 2] -= frame[:, :2] @ (left, top)
    return crop_image(photo, frame, side)


def _face_lookups(face: np.ndarray, grid: FaceGrid, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each point of the face finds its colour: its own place if the photo shows it, else that of a point near
    by on the surface that it shows. face : (G * G, 3) frame pixels. Returns (G * G, 2) float32 and (G * G,) bool, which
    points the photo does not show."""
    last = depth.shape[0] - 1
    column, row = np.clip(np.rint(face[:, :2]), 0, last).astype(int).T
    # Seen: no surface lies before it (2 % of the side allow for slopes in the z-buffer), and it faces the camera.
    in_front = face[:, 2] >= depth[row, column] - 0.02 * last
    facing = -vertex_normals(face, grid.triangles)[:, 2] > MIN_FACING
    inside = (face[:, :2] >= 0).all(axis=1) & (face[:, :2] <= last).all(axis=1)
    side = grid.basis.size
    hidden = ~(in_front & facing & inside).reshape(side, side)
    lookups = face[:, :2].reshape(side, side, 2)
    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    lookups = lookups[tuple(nearest)]
    # The nearest seen texel alone would leave stripes; what is hidden is smoothed, what is seen stays exact.
    for _ in range(8):
        lookups[hidden] = cv2.blur(lookups, (5, 5))[hidden]
    return lookups.reshape(-1, 2), hidden.ravel()


def _rings(face, depth, shown, centre):
    """Anchors around the face that continue its depth.

    Returns points (R * A, 3), triangles (T, 3) and the outermost ring's radii (A,).
    """
    row, column = np.nonzero(shown)
    bearing, distance = polar(column, row, centre)
    outline = np.zeros(ANCHOR_ANGLES)
    np.maximum.at(outline, nearest_ray(bearing), distance)
    inner = WALL_RADIUS * minimum_filter1d(outline, 3, mode="wrap")
    outline = gaussian_filter1d(outline, 1.0, mode="wrap")
    radii = np.concatenate([[inner, inner], ANCHOR_RADII[:, None] * outline])

    direction = directions(np.arange(ANCHOR_ANGLES))
    column, row = np.rint(centre + inner[:, None] * direction).astype(int).T
    # The wall's front edge lies on the face's surface, its back edge at the rearmost point of the face's rim.
    front = np.where(shown[row, column], depth[row, column], face[:, 2].mean())
    bearing, distance = polar(face[:, 0], face[:, 1], centre)
    at_rim = distance > RIM_WIDTH * outline[nearest_ray(bearing)]
    back = front.copy()
    np.minimum.at(back, nearest_ray(bearing[at_rim]), face[at_rim, 2])
    back = gaussian_filter1d(back, 1.0, mode="wrap")

    size = outline.mean()
    recession = np.interp(direction[:, 1], *ANCHOR_RECESSION)
    behind = np.concatenate([[front - 0.03 * size, back], back - ANCHOR_DROPS[:, None] * recession * size])
    points = np.concatenate([centre + radii[..., None] * direction, behind[..., None]], axis=-1).astype(np.float32)
    # Rings are rows of a lattice that closes on itself: a quad between neighbours is two triangles, facing outwards.
    index = np.arange(behind.size, dtype=np.int32).reshape(behind.shape)
    inner, outer = index[:-1], index[1:]
    inner_next, outer_next = np.roll(inner, -1, axis=1), np.roll(outer, -1, axis=1)
    triangles = np.concatenate(
        [
            np.stack([inner, inner_next, outer], axis=-1).reshape(-1, 3),
            np.stack([outer, inner_next, outer_next], axis=-1).reshape(-1, 3),
        ]
    )
    return points.reshape(-1, 3), triangles, radii[-1]


def polar(column: np.ndarray, row: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bearings of pixels about a centre, clockwise from the right, in units of the anchors' spacing; and radii."""
    x, y = column - centre[0], row - centre[1]
    return np.arctan2(y, x) * ANCHOR_ANGLES / (2 * np.pi) % ANCHOR_ANGLES, np.hypot(x, y)


def nearest_ray(bearing: np.ndarray) -> np.ndarray:
    """The anchors' number, 0 to ANCHOR_ANGLES - 1, nearest to each bearing."""
    return np.rint(bearing).astype(int) % ANCHOR_ANGLES


def directions(bearing: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 2) of bearings."""
    angle = bearing * 2 * np.pi / ANCHOR_ANGLES
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
