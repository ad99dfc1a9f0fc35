"""Protocols by name: what an error is divided by, where z begins, which landmarks are true, how images are averaged.

A figure means something only with all five; every table that this project prints carries `Protocol.statement`.
"""

from dataclasses import dataclass

import numpy as np

from prnet.configure.config import OUTER_EYE_CORNERS, YAW_BIN_EDGES
from prnet.geometry.alignment import (
    PLANE_NEIGHBOURS,
    PLANE_SAMPLE,
    PLANE_STEPS,
    POINT_SAMPLE,
    POINT_STEPS,
    STEP_TOLERANCE,
)


@dataclass(frozen=True)
class Protocol:
    """How errors become one number.

    `standard`: d = sqrt(w h), w and h the sides of the box around the 68 true landmarks (sparse) or around the true
    face vertices (dense) in the image; a reconstruction is divided by the 3D distance of the outer eye corners,
    landmarks 36 and 45 of the true map (PRNet, ECCV 2018, sections 4.1 to 4.3; 3DDFA's AFLW2000-3D benchmark).

    `prnet-keras`: d = sqrt(w^2 + h^2), w and h the sides of the box around the whole true mesh, neck and ears
    included, for sparse and dense alike: about twice the standard divisor, so half the number. A reconstruction is
    divided by the distance of landmarks 37 and 46, one off the outer corners, as that project's evaluator has it. It
    measures z from each whole mesh's farthest vertex, and its two meshes differ, so that a perfect prediction does
    not score 0; here z is measured from the farthest of the points compared, the same on both sides.
    """

    name: str
    normaliser: str  # "landmark box" or "mesh diagonal"
    eye_corners: tuple[int, int]
    depth_origin: str = "min"  # or "mean" or "none", see `prnet.evaluating.nme.residuals_from_origins`
    landmarks: str = "original"  # or the name of the file with re-annotated ones
    yaw: str = "fitted pose"  # or the name of the file of yaw angles

    @property
    def statement(self) -> tuple[str, ...]:
        """The protocol as sentences and formulas, for the foot of a table."""
        low, high = YAW_BIN_EDGES
        first, second = self.eye_corners
        divisor = {
            "landmark box": (
                "d = sqrt(w h), w and h the sides of the upright box in the image around the 68 true landmarks "
                "(sparse) or around the true face vertices (dense)"
            ),
            "mesh diagonal": (
                "d = sqrt(w^2 + h^2), w and h the sides of the upright box in the image around the whole true mesh, "
                "neck and ears included (sparse and dense)"
            ),
        }[self.normaliser]
        origin = {
            "min": "z is measured from the farthest of the compared points, in prediction and truth each",
            "mean": "z is measured from the mean of the compared points, in prediction and truth each",
            "none": "z is taken as the prediction has it; the truth's is 0 at the farthest texel of its position map",
        }[self.depth_origin]
        return (
            f"Protocol `{self.name}`. NME = 100 / (n d) x sum of |p_i - t_i| over the n points of an image; {divisor}.",
            "Points: sparse, the 68 landmarks; dense, the texels of the face mask, restored to the image.",
            f"Depth: {origin}.",
            f"Landmarks: {self.landmarks}.",
            f"Reconstruction: residual vectors after a rigid alignment of the predicted to the true face vertices, "
            f"x and y (2D) or all (3D), with d = the 3D distance of landmarks {first} and {second} (0-based) of the "
            f"true map. ICP: nearest true vertex; start: centroids together, no turn, then at most {PLANE_STEPS} "
            f"point-to-plane steps on {PLANE_SAMPLE} vertices ({PLANE_NEIGHBOURS} neighbours a plane); then at most "
            f"{POINT_STEPS} point-to-point steps on {POINT_SAMPLE} vertices; stop: no sampled vertex moves by more "
            f"than {STEP_TOLERANCE:g} of the face's root mean squared radius. Rigid and similarity: Procrustes by the "
            f"known correspondences, without and with scale.",
            f"Yaw bins by {self.yaw}: |yaw| <= {low:g}, {low:g} < |yaw| <= {high:g}, |yaw| > {high:g} without upper "
            f"bound. Mean of bins: the mean of the three bins' means. Mean of images: every image counts once.",
            "Failures: an image without a result, or above 10 %, is a failure. Means and standard deviations are over "
            "the images with a result; failure rate and area under the CED curve (0 to 10 %) are over all images.",
        )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("standard", "landmark box", OUTER_EYE_CORNERS),
        Protocol("prnet-keras", "mesh diagonal", (37, 46)),
    )
}

BIN_NAMES = tuple(
    text.format(low=YAW_BIN_EDGES[0], high=YAW_BIN_EDGES[1])
    for text in ("|yaw| <= {low:g}", "{low:g} < |yaw| <= {high:g}", "|yaw| > {high:g}")
)


def yaw_bins(yaw: np.ndarray) -> np.ndarray:
    """Bin 0, 1 or 2 of each yaw in degrees; the last has no upper bound. (N,) to (N,) int."""
    return np.searchsorted(YAW_BIN_EDGES, np.abs(yaw), side="left")


@dataclass(frozen=True)
class Summary:
    """One type's numbers over a data set, in per cent; NaN where no image has a result."""

    images: int
    without_result: int
    bin_images: tuple[int, ...]
    bin_means: tuple[float, ...]
    bin_deviations: tuple[float, ...]
    mean_of_bins: float
    deviation_of_bins: float
    mean: float
    deviation: float
    area_under_curve: float  # of the CED from 0 to 10 %, 100 is perfect
    failure_rate: float  # per cent of all images above 10 % or without a result


FAILURE_LIMIT = 10.0
"""NME in per cent above which an image is a failure."""


def summarise(errors: np.ndarray, yaw: np.ndarray) -> Summary:
    """Means by yaw bin and over images. errors : (N,) NME in per cent, inf without a result. yaw : (N,) degrees."""
    bins = yaw_bins(yaw)
    has_result = np.isfinite(errors)
    groups = [errors[has_result & (bins == number)] for number in range(len(BIN_NAMES))]
    means = [_mean(group) for group in groups]
    return Summary(
        images=len(errors),
        without_result=int(np.count_nonzero(~has_result)),
        bin_images=tuple(int(np.count_nonzero(bins == number)) for number in range(len(BIN_NAMES))),
        bin_means=tuple(means),
        bin_deviations=tuple(_deviation(group) for group in groups),
        mean_of_bins=_mean(means),
        deviation_of_bins=_deviation(means),
        mean=_mean(errors[has_result]),
        deviation=_deviation(errors[has_result]),
        area_under_curve=_mean(100 * np.clip(1 - errors / FAILURE_LIMIT, 0, 1)),
        failure_rate=_mean(100.0 * (errors > FAILURE_LIMIT)),
    )


def _mean(values: np.ndarray | list[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _deviation(values: np.ndarray | list[float]) -> float:
    return float(np.std(values)) if len(values) else float("nan")


def cumulative_curve(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative error distribution as steps: errors ascending (M,) and the share in per cent of all images (M,).

    errors : (N,) NME in per cent, inf without a result; those raise the denominator only.
    """
    ascending = np.sort(errors[np.isfinite(errors)])
    return ascending, 100.0 * np.arange(1, len(ascending) + 1) / max(len(errors), 1)
