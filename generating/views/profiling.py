"""Face profiling: views of a photo rotated in depth (Zhu et al., CVPR 2016, section 4).

Face and rings of a `Relief` turn; what the z-buffer shows of them looks up its colours in the photo. The rest of the
photo stays flat: it is stretched between the head's outline and the frame, so nothing of it is uncovered.

Convention: frame pixels, x right, y down, z in pixels and larger to the camera; angles in radians. A lookup is the
place (x, y) in the photo's frame where a pixel of the view finds its colour: a view is drawn backwards, by one remap.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from prnet.generating.views.relief import (
    ANCHOR_ANGLES,
    ANCHOR_RADII,
    Mouth,
    Relief,
    directions,
    move,
    nearest_ray,
    polar,
)
from prnet.geometry.crop import landmark_box
from prnet.geometry.pose import angles_from_rotation, rotation_from_angles
from prnet.geometry.rasterise import interpolate, rasterise

FAR_SIDE = 0.1
"""Distance behind the head's middle, over its width, that counts as its far side."""

CHEST_START = 1.1
"""Where the rings fill the frame below the face, its rays start nearer, so that nothing is stretched, but outside this
many radii of the face."""

FINER = 4
"""The mouth is drawn this much larger first: OpenCV's polygons are half a pixel wider than they are."""

LIP_DEPTH = 0.1
"""How far before the plane of the lips' rim, over its width, a surface may lie and not hide the mouth."""

SEAM_JUMP = 5.0
"""Distance in pixels between the sources of neighbouring pixels above which they are blended."""


def view_angles(photo: np.ndarray, poses: np.ndarray, max_pitch: float) -> np.ndarray:
    """Pitch, yaw and roll of a photo's views (N, 3), where its own are `photo` (3,); all in radians.

    poses : (N, 2) pitch and yaw of the views. Of R = Rx(pitch) Ry(yaw) Rz(roll) the roll stays, so at pitch 0 the head
    turns about the camera's vertical axis. A pitch beyond `max_pitch` is none: close to a profile pitch and roll turn
    about the same axis, and large ones cancel. Such a head turns about the camera's vertical axis to the yaws alone.
    """
    if abs(photo[0]) <= max_pitch:
        return np.column_stack([poses, np.full(len(poses), photo[2])])
    rotation = rotation_from_angles(photo)
    x, _, z = rotation[:, 2]
    reach = np.hypot(x, z)
    turns = np.arcsin(np.clip(-np.sin(poses[:, 1]), -reach, reach) / reach) - np.arctan2(x, z)
    return angles_from_rotation(rotation_from_angles(np.outer(-turns, [0, 1, 0])) @ rotation)


def view_transform(relief: Relief, angles: np.ndarray) -> np.ndarray:
    """Model units to frame pixels (3, 4) of a view at absolute angles (pitch, yaw, roll; radians).

    The head turns about its centre: the box around the landmarks stays in the frame's middle.
    """
    scale = np.cbrt(abs(np.linalg.det(relief.transform[:, :3])))
    transform = np.zeros((3, 4))
    transform[:, :3] = scale * rotation_from_angles(angles)
    transform[1] *= -1.0
    box = landmark_box(move(transform, relief.landmarks))
    transform[:2, 3] = (relief.picture.shape[0] - 1) / 2 - box.centre
    middle = relief.landmarks.mean(axis=0)
    transform[2, 3] = (relief.transform[2] - transform[2]) @ np.append(middle, 1.0)
    return transform


def view_pose(transform: np.ndarray, angles: np.ndarray, side: int) -> np.ndarray:
    """`Pose_Para` (7,) of a view's transform whose angles (pitch, yaw, roll) are known."""
    scale = np.cbrt(abs(np.linalg.det(transform[:, :3])))
    x, y, z = transform[:, 3]
    return np.array([*angles, x + 1, side - y, z, scale])


def render_view(relief: Relief, transform: np.ndarray) -> np.ndarray:
    """The photo's head turned to another transform (3, 4), in its frame. Returns (S, S, 3) uint8."""
    side = relief.picture.shape[0]
    # From the photo's frame straight to the view's: back to model units by the photo's transform, on by the view's.
    linear = transform[:, :3] @ np.linalg.inv(relief.transform[:, :3])
    turn = np.column_stack([linear, transform[:, 3] - linear @ relief.transform[:, 3]])
    points = move(turn, relief.points)
    triangles = relief.triangles[~(relief.hidden & _behind_the_head(points, transform, relief))]
    raster = rasterise(points, triangles, side, side)
    lookups = interpolate(raster, triangles, relief.lookups)
    shown = raster.triangle >= 0
    on_rings = raster.triangle >= len(triangles) - relief.ring_triangle_count
    lookups[~shown] = _background_lookups(shown, on_rings, lookups, relief)
    photo, border = relief.picture, cv2.BORDER_REPLICATE
    view = cv2.remap(photo, lookups, None, cv2.INTER_LINEAR, borderMode=border)  # type: ignore[call-overload]
    view = _soften_seams(view, lookups)
    return view if relief.mouth is None else _with_mouth(view, relief.mouth, turn, raster.depth)


def _with_mouth(view: np.ndarray, mouth: Mouth, turn: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The inside of the mouth where the rim of the lips encloses it and nothing lies before its plane."""
    side, rim = view.shape[0], move(turn, mouth.rim)
    finer = np.zeros((FINER * side, FINER * side), dtype=np.uint8)
    cv2.fillPoly(finer, [np.rint(FINER * (rim[:, :2] + 0.5) - 0.5).astype(np.int32)], 255)
    inside = cv2.resize(finer, (side, side), interpolation=cv2.INTER_AREA)
    row, column = np.nonzero(inside)
    plane = np.linalg.lstsq(np.column_stack([rim[:, :2], np.ones(len(rim))]), rim[:, 2])[0]
    behind = plane[0] * column + plane[1] * row + plane[2] > depth[row, column] - LIP_DEPTH * np.ptp(rim[:, :2])
    share = np.zeros((side, side, 1))
    share[row, column, 0] = behind * inside[row, column] / 255
    return np.rint(view * (1 - share) + mouth.colour * share).astype(np.uint8)


def _behind_the_head(points, transform, relief):
    """Triangles (T,) bool beyond the middle of the head: the far ear's back, which a whole skull would cover."""
    ears = move(transform, relief.landmarks[[0, 16]])
    least = ears[:, 2].mean() - FAR_SIDE * np.linalg.norm(ears[0] - ears[1])
    return points[relief.triangles[:, 0], 2] < least


def _background_lookups(shown: np.ndarray, on_rings: np.ndarray, lookups: np.ndarray, relief: Relief) -> np.ndarray:
    """Where the pixels that no surface covers find their colours: the stretch of each ray from the head's outline to
    the frame is that of the photo. Where a ring is the outline, the photo's ray starts where that ring's pixel lies.

    lookups : (S, S, 2) of the pixels that are shown. Returns (n, 2) float32, in the order of ~shown.
    """
    centre = np.argwhere(shown & ~on_rings).mean(axis=0)[::-1]
    row, column = np.nonzero(shown)
    bearing, radius = polar(column, row, centre)
    # The head's outline in the view, a radius a ray: sorted by radius, each ray keeps what is written to it last.
    order = np.argsort(radius)
    ray = nearest_ray(bearing[order])
    outline, outermost = np.zeros(ANCHOR_ANGLES), np.zeros(ANCHOR_ANGLES, dtype=int)
    outline[ray], outermost[ray] = radius[order], order
    row, column = row[outermost], column[outermost]
    # Turned in depth, a ring's pixels come from other bearings of the photo: the ray behind them has to start there, or
    # hair and background part. This swing, at most half a turn to either side, fades out towards the frame's edge.
    turned = polar(lookups[row, column, 0], lookups[row, column, 1], relief.centre)[0] - np.arange(ANCHOR_ANGLES)
    swing = (turned + ANCHOR_ANGLES / 2) % ANCHOR_ANGLES - ANCHOR_ANGLES / 2
    swing = gaussian_filter1d(np.where(on_rings[row, column], swing, 0.0), 2.0, mode="wrap")

    row, column = np.nonzero(~shown)
    bearing, radius = polar(column, row, centre)
    last = shown.shape[0] - 1
    here = _circular(outline, bearing)
    room = np.maximum(_reach(centre, bearing, last) - here, 1.0)
    along = np.clip((radius - here) / room, 0.0, 1.0)
    bearing = (bearing + (1 - along) * _circular(swing, bearing)) % ANCHOR_ANGLES
    # Here and in the photo alike, `along` runs from 0 at the outline to 1 at the frame's edge.
    there, end = _circular(relief.outline, bearing), _reach(relief.centre, bearing, last)
    least = np.maximum(CHEST_START / ANCHOR_RADII[-1] * there, end - room)
    # Below the face the rings end in the chest and leave little of a ray: it starts further in, but not in the face.
    there = np.minimum(there, np.where(directions(bearing)[:, 1] > 0, least, end))
    return (relief.centre + (there + along * (end - there))[:, None] * directions(bearing)).astype(np.float32)


def _soften_seams(view: np.ndarray, lookups: np.ndarray) -> np.ndarray:
    """Smooth the view where neighbouring pixels come from places far apart: outlines, and what is shrunk."""
    around = np.ones((3, 3), np.uint8)
    jump = (cv2.dilate(lookups, around) - cv2.erode(lookups, around)).max(axis=-1, keepdims=True)
    return np.where(jump > SEAM_JUMP, cv2.GaussianBlur(view, (3, 3), 0.7), view)


def _circular(values, bearing):
    return np.interp(bearing, np.arange(ANCHOR_ANGLES + 1), np.append(values, values[0]))


def _reach(centre, bearing, last):
    """How far it is from the centre to the frame's edge, (n,)."""
    direction = directions(bearing)
    with np.errstate(divide="ignore"):
        to_edge = np.where(direction > 0, last - centre, -centre) / direction
    return np.abs(to_edge).min(axis=-1)
