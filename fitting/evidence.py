"""What landmarks of a photo say about the face model's points, and how much each of them counts.

The weights were chosen on the training photos named in docs/fitting.md. Where both sources are there, MediaPipe, which
follows open mouths and closed eyes, leads at lips and eyelids, and the 68 landmarks, which are those that errors are
measured at, everywhere else.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from prnet.common.errors import UserError
from prnet.configure.config import LANDMARK_COUNT, MEDIAPIPE_COUNT
from prnet.fitting.solver import ModelPoints, Observation, Pose, start
from prnet.geometry.face_model import FaceModel, at_landmarks, mixture
from prnet.geometry.pose import angles_from_rotation

UPWARDS = np.array([1.0, -1.0, 1.0])
"""Turns pixels, y down, into the solver's places, and back."""

IBUG_WEIGHT = 4 * np.sqrt(MEDIAPIPE_COUNT / LANDMARK_COUNT)
IBUG_DEPTH, MEDIAPIPE_DEPTH = 0.3, 0.25
"""Weight of a point's depth over that of its place."""

BESIDE_MEDIAPIPE, LIDS_BESIDE, INNER_LIPS_BESIDE = 0.4, 0.06, 0.2
"""Factors of the inner 51 of the 68, of their eyelids, of their inner lips, where MediaPipe shows the same."""

CONTOUR = 0.25
"""Factor of a jaw that is only known in two dimensions: it is marked along the outline that the photo shows."""

LID_WEIGHT, LIP_WEIGHT, LOOSE_WEIGHT = 5.0, 3.0, 0.3
"""Factors of MediaPipe's eyelids and lips, and of points that lie off the model's surface."""

LOOSE_SHARE = 0.008
"""Distance from the surface, over the face's width between the outer landmarks, beyond which a point is loose."""

OBLIQUE, OBLIQUE_WEIGHT, SIDEWAYS = 45.0, 0.4, 60.0
"""Yaw in degrees beyond which MediaPipe counts less, and beyond which not at all beside the 68."""

MAX_DISAGREEMENT = 8.0
"""Per cent of the size by which the sources may differ; MediaPipe has then found something else than this face."""

MIN_POINTS = 20
IDENTITY_PRIOR, EXPRESSION_PRIOR = 0.15 * np.sqrt(MEDIAPIPE_COUNT), 0.12 * np.sqrt(MEDIAPIPE_COUNT)
"""Weighted per cent that a coefficient of one standard deviation costs."""

MAX_DEVIATIONS = 4.0
"""Identity coefficients stay within so many standard deviations, expressions without names too."""

_JAW, _INNER, _LIDS, _INNER_LIPS = slice(0, 17), slice(17, 68), (37, 38, 40, 41, 43, 44, 46, 47), slice(60, 68)
# fmt: off
MEDIAPIPE_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
                  263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
MEDIAPIPE_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
                  78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
# fmt: on


@dataclass(frozen=True)
class Landmarks:
    """What sources say of one photo, in 0-based pixels, y down, z larger nearer; NaN where a point is not known."""

    ibug: np.ndarray | None = None  # (68, 3) float, z NaN where they are of two dimensions
    mediapipe: np.ndarray | None = None  # (468, 3) float


@dataclass(frozen=True)
class Evidence:
    """One photo's observation and what was found out on the way to it."""

    observation: Observation
    sources: tuple[str, ...]  # which of "ibug" and "mediapipe" are used
    disagreement: float  # per cent of the size, NaN where there is one source only


class FitModel:
    """A face model made ready for fits.

    points : the 68 landmarks and then, where the model knows them, MediaPipe's 468. Components that move nothing are
    left out of the solver; `full` puts them back as 0.
    """

    def __init__(self, model: FaceModel):
        self.coefficient_count = model.coefficient_count
        basis = np.concatenate([model.shape_basis, model.expression_basis], axis=2)
        parts = [(at_landmarks(model, model.mean), at_landmarks(model, basis))]
        if model.mediapipe is not None:
            on_face = model.mediapipe.vertices, model.mediapipe.weights
            parts.append((mixture(model.mean, *on_face) + model.mediapipe.shift, mixture(basis, *on_face)))
        means, bases = zip(*parts, strict=True)
        moving = np.abs(bases[0]).max(axis=(0, 1)) > 1e-6 * np.abs(bases[0]).max()
        if model.mediapipe is not None:
            moving |= np.abs(bases[1]).max(axis=(0, 1)) > 1e-6 * np.abs(bases[0]).max()
        self.used = np.flatnonzero(moving)
        self.identity_count = model.shape_basis.shape[2]
        is_identity = self.used < self.identity_count
        deviation = np.concatenate([model.shape_deviation, model.expression_deviation])[self.used].astype(np.float64)
        bound = MAX_DEVIATIONS * deviation
        named = ~is_identity & bool(model.expression_names)
        self.points = ModelPoints(
            mean=np.concatenate(means).astype(np.float32),
            basis=np.ascontiguousarray(np.concatenate(bases)[:, :, self.used], dtype=np.float32),
            sets=np.repeat(np.arange(len(parts)), [len(mean) for mean in means]),
            identity_count=int(is_identity.sum()),
            prior=np.where(is_identity, IDENTITY_PRIOR, EXPRESSION_PRIOR) / deviation,
            lower=np.where(named, 0.0, -bound),
            upper=np.where(named, 1.0, bound),
        )
        self.mediapipe_weights = self._mediapipe_weights(model)
        self._twins = self._common_points()

    def full(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Identity (S,) and expression (E,) coefficients of the face model, of the solver's."""
        values = np.zeros(self.coefficient_count, np.float32)
        values[self.used] = coefficients
        return values[: self.identity_count], values[self.identity_count :]

    def _mediapipe_weights(self, model: FaceModel) -> np.ndarray:
        if model.mediapipe is None:
            return np.empty(0)
        width = np.ptp(self.points.mean[:LANDMARK_COUNT, 0])
        weights = np.ones(MEDIAPIPE_COUNT)
        weights[list(MEDIAPIPE_LIDS)] = LID_WEIGHT
        weights[list(MEDIAPIPE_LIPS)] = LIP_WEIGHT
        return weights * np.where(model.mediapipe.distance > LOOSE_SHARE * width, LOOSE_WEIGHT, 1.0)

    def _common_points(self) -> np.ndarray:
        """For each of the inner 51 landmarks MediaPipe's point nearest to it, (51,), on the mean face."""
        if not len(self.mediapipe_weights):
            return np.empty(0, int)
        return cKDTree(self.points.mean[LANDMARK_COUNT:]).query(self.points.mean[:LANDMARK_COUNT][_INNER])[1]

    def evidence(self, landmarks: Landmarks) -> Evidence:
        """Weigh one photo's landmarks. Raises UserError with the reason where they do not make a face."""
        ibug, mediapipe = _known(landmarks.ibug), _known(landmarks.mediapipe)
        if mediapipe is not None and not len(self.mediapipe_weights):
            if ibug is None:
                raise UserError("has MediaPipe's points alone, whose places on this face model are not known")
            mediapipe = None
        if ibug is None:
            if mediapipe is None:
                raise UserError(f"has fewer than {MIN_POINTS} known points")
            return self._observe(None, mediapipe, np.nan, self._pose(mediapipe, 1))
        pose = self._pose(ibug, 0)
        disagreement = self._disagreement(ibug, mediapipe, pose) if mediapipe is not None else np.nan
        if disagreement > MAX_DISAGREEMENT or abs(_yaw(pose)) > SIDEWAYS:
            mediapipe = None
        return self._observe(ibug, mediapipe, disagreement, pose)

    def _observe(self, ibug, mediapipe, disagreement: float, pose: Pose) -> Evidence:
        count = len(self.points.mean)
        places, weights, depth_weights = np.zeros((count, 3)), np.zeros(count), np.zeros(count)
        size = _mean_face_size(self.points, pose)
        oblique = abs(_yaw(pose)) > OBLIQUE
        if ibug is not None:
            of_place = _ibug_weights(ibug, beside=mediapipe is not None and not oblique)
            _enter(slice(0, LANDMARK_COUNT), ibug, of_place, IBUG_DEPTH, places, weights, depth_weights)
            whole = ibug[_is_placed(ibug), :2]
            if len(whole) == LANDMARK_COUNT:
                size = np.sqrt(np.ptp(whole, axis=0).prod())
        if mediapipe is not None:
            of_place = self.mediapipe_weights * (OBLIQUE_WEIGHT if oblique else 1.0)
            _enter(slice(LANDMARK_COUNT, None), mediapipe, of_place, MEDIAPIPE_DEPTH, places, weights, depth_weights)
        if not size > 1:
            raise UserError("has landmarks that all lie on one place or line")
        used = tuple(name for name, points in (("ibug", ibug), ("mediapipe", mediapipe)) if points is not None)
        return Evidence(Observation(places * UPWARDS, weights, depth_weights, float(size)), used, float(disagreement))

    def _pose(self, points: np.ndarray, which: int) -> Pose:
        """A first pose from the points of one source."""
        chosen = np.flatnonzero(self.points.sets == which)
        known = _is_placed(points)
        chosen, places = chosen[known], points[known] * UPWARDS
        observation = Observation(places, np.ones(len(places)), np.zeros(len(places)), 1.0)
        return start(self.points.mean[chosen], observation)

    def _disagreement(self, ibug: np.ndarray, mediapipe: np.ndarray, pose: Pose) -> float:
        """Mean distance of the inner 51 landmarks from MediaPipe's points there, what the mean face has aside."""
        own, other = self.points.mean[:LANDMARK_COUNT][_INNER], self.points.mean[LANDMARK_COUNT:][self._twins]
        expected = ((own - other) @ pose.rotation.T * pose.scale * UPWARDS)[:, :2]
        apart = (ibug[_INNER] - mediapipe[self._twins])[:, :2] - expected
        return float(np.nanmean(np.linalg.norm(apart, axis=1)) * 100 / _mean_face_size(self.points, pose))


def _known(points: np.ndarray | None) -> np.ndarray | None:
    """The points, or None where too few are known."""
    return None if points is None or _is_placed(points).sum() < MIN_POINTS else points


def _is_placed(points: np.ndarray) -> np.ndarray:
    """Which points have a place in the photo (N,)."""
    return np.isfinite(points[:, :2]).all(axis=1)


def _yaw(pose: Pose) -> float:
    return float(np.degrees(angles_from_rotation(pose.rotation)[1]))


def _mean_face_size(points: ModelPoints, pose: Pose) -> float:
    """Root of the area of the box around the mean face's 68 landmarks, pixels."""
    landmarks = points.mean[:LANDMARK_COUNT] @ pose.rotation[:2].T * pose.scale
    return float(np.sqrt(np.ptp(landmarks, axis=0).prod()))


def _ibug_weights(ibug: np.ndarray, beside: bool) -> np.ndarray:
    weights = np.full(LANDMARK_COUNT, IBUG_WEIGHT)
    if beside:
        weights[_INNER] *= BESIDE_MEDIAPIPE
        weights[list(_LIDS)] = LIDS_BESIDE * IBUG_WEIGHT
        weights[_INNER_LIPS] = INNER_LIPS_BESIDE * IBUG_WEIGHT
    if not np.isfinite(ibug[:, 2]).any():
        weights[_JAW] *= CONTOUR
    return weights


def _enter(where: slice, points, of_place, of_depth: float, places, weights, depth_weights) -> None:
    """Put one source's points into the arrays of an observation."""
    known = _is_placed(points)
    deep = known & np.isfinite(points[:, 2])
    places[where] = np.nan_to_num(points)
    weights[where] = np.where(known, of_place, 0.0)
    depth_weights[where] = np.where(deep, of_place * of_depth, 0.0)
