"""Errors of a head's pose under named protocols: mean absolute error of the angles, and geodesic error beside it."""

from dataclasses import dataclass

import numpy as np

from prnet.geometry.pose import rotation_from_angles

LARGEST_ANGLE = 99.0
"""Degrees beyond which an image is left out by the 99-degree rule (Ruiz et al., CVPRW 2018): 31 of AFLW2000-3D."""

REFERENCES = (("DSFNet", 3.25), ("SynergyNet", 3.31), ("img2pose", 3.91), ("6DRepNet", 3.97))
"""Published mean of yaw, pitch and roll on AFLW2000-3D, degrees; from repositories and public leader boards."""

PROTOCOLS = {
    "all": "every image",
    "99-degrees": "images whose true yaw, pitch and roll are all within 99 degrees",
    "skip-list": "the same without the images of a list that the reader names, such as DSFNet's",
}


@dataclass(frozen=True)
class PoseErrors:
    """Degrees, means over images."""

    images: int
    pitch: float
    yaw: float
    roll: float
    geodesic: float

    @property
    def mean(self) -> float:
        """What the field compares: the mean of the three."""
        return (self.pitch + self.yaw + self.roll) / 3


def compared(true_angles: np.ndarray, protocol: str, skipped: np.ndarray | None = None) -> np.ndarray:
    """Which images (N,) bool a protocol compares. true_angles : (N, 3) degrees. skipped : (N,) bool, on the list."""
    if protocol == "all":
        return np.ones(len(true_angles), dtype=bool)
    within = (np.abs(true_angles) <= LARGEST_ANGLE).all(axis=1)
    if protocol == "99-degrees":
        return within
    if skipped is None:
        raise ValueError("the protocol skip-list needs a list")
    return within & ~skipped


def pose_errors(predicted: np.ndarray, truth: np.ndarray) -> PoseErrors:
    """Errors of angles (N, 3), pitch, yaw and roll in degrees in 300W-LP's convention, N at least 1.

    Near a yaw of 90 degrees pitch and roll turn about almost the same axis, so only their difference (yaw to the
    positive side; else their sum) is determined: both may be tens of degrees wrong where the head is hardly turned
    wrongly. The geodesic error, the angle of the rotation between the two, does not have this weakness.
    """
    pitch, yaw, roll = np.abs((predicted - truth + 180) % 360 - 180).mean(axis=0).tolist()
    return PoseErrors(len(truth), pitch, yaw, roll, float(geodesic(predicted, truth).mean()))


def geodesic(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Angle (N,) in degrees of the rotation from predicted to true angles (N, 3) in degrees."""
    one, other = (rotation_from_angles(np.radians(angles)) for angles in (predicted, truth))
    cosine = (np.einsum("nij,nij->n", one, other) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
