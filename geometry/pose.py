"""Rotations and the step from a 300W-LP fit to image pixels.

The convention is that of 300W-LP and face3d: a model vertex v (x to the image's right, y up, z to the camera) becomes
p = s R v + t with R = Rx(pitch) Ry(yaw) Rz(roll), in 1-based pixels whose y axis points up from below the image.
"""

import numpy as np

from prnet.geometry.face_model import FaceModel, face_landmarks
from prnet.geometry.transforms import apply_transform


def rotation_from_angles(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices of Euler angles.

    angles : (..., 3) pitch, yaw, roll in radians. Returns (..., 3, 3) with R = Rx(pitch) Ry(yaw) Rz(roll), the
    left-handed factors of 300W-LP (Zhu et al., CVPR 2016; face3d's `angle2matrix_3ddfa`).
    """
    angles = np.asarray(angles, dtype=np.float64)
    (sin_x, sin_y, sin_z), (cos_x, cos_y, cos_z) = (
        np.moveaxis(np.sin(angles), -1, 0),
        np.moveaxis(np.cos(angles), -1, 0),
    )
    zero, one = np.zeros_like(cos_x), np.ones_like(cos_x)

    def matrix(*entries: float | np.ndarray) -> np.ndarray:
        return np.stack(entries, axis=-1).reshape(*angles.shape[:-1], 3, 3)

    around_x = matrix(one, zero, zero, zero, cos_x, sin_x, zero, -sin_x, cos_x)
    around_y = matrix(cos_y, zero, -sin_y, zero, one, zero, sin_y, zero, cos_y)
    around_z = matrix(cos_z, sin_z, zero, -sin_z, cos_z, zero, zero, zero, one)
    return around_x @ around_y @ around_z


def angles_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Euler angles of rotation matrices: the inverse of `rotation_from_angles`.

    rotation : (..., 3, 3). Returns (..., 3) pitch, yaw, roll in radians, |yaw| at most pi / 2. At |yaw| = pi / 2 only
    pitch and roll together are determined and roll is 0.
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    yaw = np.arcsin(np.clip(-rotation[..., 0, 2], -1.0, 1.0))
    locked = np.hypot(rotation[..., 0, 0], rotation[..., 0, 1]) < 1e-7
    pitch = np.where(
        locked,
        np.arctan2(-rotation[..., 2, 1], rotation[..., 1, 1]),
        np.arctan2(rotation[..., 1, 2], rotation[..., 2, 2]),
    )
    roll = np.where(locked, 0.0, np.arctan2(rotation[..., 0, 1], rotation[..., 0, 0]))
    return np.stack([pitch, yaw, roll], axis=-1)


def fit_to_pixels(pose: np.ndarray, image_height: float | np.ndarray) -> np.ndarray:
    """The 3D transforms that take face-model vertices to 0-based pixels of the images that were fitted.

    pose : (..., 7) `Pose_Para` = pitch, yaw, roll (radians), tx, ty, tz (1-based pixels, y up), scale (pixels per
    model unit). image_height : pixels, one or (...). Returns (..., 3, 4) M: x right, y down, z to the camera, pixel =
    M[:, :3] v + M[:, 3].

    `pt3d_68` of AFLW2000-3D is (p.x, H + 1 - p.y, p.z) in 1-based pixels, so the 0-based pixel is (p.x - 1, H - p.y).
    """
    pose = np.asarray(pose, dtype=np.float64)
    transform = np.empty((*pose.shape[:-1], 3, 4))
    transform[..., :3] = pose[..., 6, None, None] * rotation_from_angles(pose[..., :3])
    transform[..., 3] = pose[..., 3:6]
    transform[..., 1, :] *= -1.0
    transform[..., 0, 3] -= 1.0
    transform[..., 1, 3] += image_height
    return transform


def fitted_landmarks(model: FaceModel, coefficients: np.ndarray, pose: np.ndarray, image_height: float) -> np.ndarray:
    """The 68 landmarks of a fit, (68, 3) in 0-based pixels. coefficients : (K,) identity, then expression."""
    to_pixels = fit_to_pixels(pose, image_height)
    return apply_transform(to_pixels, face_landmarks(model, coefficients))


def pixels_to_fit(transform: np.ndarray, image_height: float) -> np.ndarray:
    """`Pose_Para` (7,) of a scaled rotation to pixels, as `fit_to_pixels` makes it: its inverse, for |yaw| below 90."""
    transform = np.array(transform, dtype=np.float64)
    transform[:2, 3] -= (-1.0, image_height)
    transform[1] *= -1.0
    scale = np.cbrt(np.linalg.det(transform[:, :3]))
    return np.concatenate([angles_from_rotation(transform[:, :3] / scale), transform[:, 3], [scale]])


def one_based_to_pixels(points: np.ndarray) -> np.ndarray:
    """0-based pixels of MATLAB-style 1-based ones (`pt3d_68`): x and y move by one, z stays. points : (..., 3)."""
    return points - np.array([1.0, 1.0, 0.0], dtype=points.dtype)
