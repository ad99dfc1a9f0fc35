"""How good a fit is, in numbers, and when it is left out of a training set."""

from dataclasses import dataclass

import numpy as np

from prnet.configure.config import LANDMARK_COUNT
from prnet.fitting.evidence import IDENTITY_PRIOR, MAX_DISAGREEMENT, OBLIQUE, Evidence, FitModel
from prnet.fitting.solver import Solution
from prnet.geometry.pose import angles_from_rotation

YAW_LIMITS = (30.0, 60.0)
"""Degrees of |yaw| at which the limits of the residual change."""

MAX_RESIDUAL = (2.5, 3.0, 4.0)
"""Per cent of the size, by yaw: the far half of a profile is guessed by whoever marks it."""

BEHIND = -0.3
"""Cosine of the angle between camera and gaze beyond which a face turns its back on the camera; profiles come to -0.2.
Landmarks that count y upwards, or are of a mirror image, fit a face from behind as well as right ones from ahead."""

MAX_IDENTITY = 3.0
"""Root of the mean square of the identity coefficients in their deviations, beyond which no person looks like that."""


@dataclass(frozen=True)
class Quality:
    """Figures of one fit."""

    angles: tuple[float, float, float]  # pitch, yaw, roll in degrees, as `Pose_Para` has them
    facing: float  # cosine of the angle between camera and gaze: 1 frontal, 0 in profile
    residual: float  # mean 2D distance of the 68 landmarks, or without them of MediaPipe's points, per cent of the size
    disagreement: float  # of the sources, per cent of the size; NaN with one source
    identity: float  # root of the mean square of the coefficients in deviations
    activity: float  # sum of the expression coefficients in the unit of the file
    sources: tuple[str, ...]


def measure(model: FitModel, evidence: Evidence, solution: Solution) -> Quality:
    observation, points = evidence.observation, model.points
    apart = observation.places - solution.places(points)
    apart[:, :2] -= solution.offsets[points.sets]
    distance = np.linalg.norm(apart[:, :2], axis=1) * 100 / observation.size
    seen = observation.weights > 0
    landmarks = seen & (np.arange(len(seen)) < LANDMARK_COUNT)
    identity = solution.coefficients[: points.identity_count] * points.prior[: points.identity_count] / IDENTITY_PRIOR
    return Quality(
        angles=tuple(np.degrees(angles_from_rotation(solution.pose.rotation)).tolist()),
        facing=float(solution.pose.rotation[2, 2]),
        residual=float(distance[landmarks if landmarks.any() else seen].mean()),
        disagreement=evidence.disagreement,
        identity=float(np.sqrt(np.mean(identity**2))),
        activity=float(np.abs(solution.coefficients[points.identity_count :]).sum()),
        sources=evidence.sources,
    )


def complaint(quality: Quality) -> str | None:
    """Why a fit should be left out, or None."""
    yaw = abs(quality.angles[1])
    most = MAX_RESIDUAL[int(np.searchsorted(YAW_LIMITS, yaw))]
    if not quality.residual < np.inf:
        return "no fit was found; are the landmarks those of a face?"
    if quality.facing < BEHIND:
        return "would be seen from behind; do the landmarks count y upwards, or belong to the mirror image?"
    if quality.residual > most:
        return f"residual {quality.residual:.1f} % of the face's size, more than {most:g} at {yaw:.0f} degrees of yaw"
    if quality.disagreement > MAX_DISAGREEMENT and yaw < OBLIQUE:
        return f"the sources differ by {quality.disagreement:.1f} % of the face's size, more than {MAX_DISAGREEMENT:g}"
    if quality.identity > MAX_IDENTITY:
        return f"identity {quality.identity:.1f} standard deviations from the mean, more than {MAX_IDENTITY:g}"
    return None
