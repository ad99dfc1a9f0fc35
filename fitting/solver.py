"""The face model fitted to points of one photo: robust, regularised, bounded least squares in NumPy.

Pose (weak perspective), identity and expression are found together by Gauss-Newton steps. Lengths are in per cent of
the face's size in the photo, the root of the area of its landmarks' box, so weights and priors mean the same for every
photo. Places here are pixels with x right, y up and z to the camera.
"""

from dataclasses import dataclass

import numpy as np

POSE_COLUMNS = 6
"""Unknowns of a pose's change: turns about x, y and z, growth of the scale, shifts along x and y."""

PER_CENT = 100.0
QUADRATIC_STEPS, HALVINGS = 30, 12
"""Most steps to a bounded minimum, and most halvings of one that leads uphill where it is bent by the bounds."""

_LOOSE = 1e-3
"""Prior of what the photo alone shall decide, small enough to count for nothing."""


@dataclass(frozen=True)
class ModelPoints:
    """The n points of a face model that photos may show, in sets that come from one source each; K coefficients."""

    mean: np.ndarray  # (n, 3) model units
    basis: np.ndarray  # (n, 3, K)
    sets: np.ndarray  # (n,) int from 0; each set has a depth of its own, all but set 0 a place of their own beside it
    identity_count: int  # the first coefficients
    prior: np.ndarray  # (K,) weighted per cent that one unit of a coefficient costs
    lower: np.ndarray  # (K,) bounds of the coefficients
    upper: np.ndarray


@dataclass(frozen=True)
class Observation:
    """What one photo shows of the points."""

    places: np.ndarray  # (n, 3) pixels
    weights: np.ndarray  # (n,) of x and y, 0 where the photo does not show the point
    depth_weights: np.ndarray  # (n,) of z, 0 where it is not known
    size: float  # root of the area of the landmarks' box, pixels


@dataclass(frozen=True)
class Pose:
    """place = scale * rotation @ point + (shift, any depth)."""

    scale: float  # pixels per model unit
    rotation: np.ndarray  # (3, 3)
    shift: np.ndarray  # (2,) pixels


@dataclass(frozen=True)
class Solution:
    """A fit, and what the photo alone says of identity: `information` @ identity = `evidence`."""

    pose: Pose
    coefficients: np.ndarray  # (K,)
    offsets: np.ndarray  # (sets, 2) pixels, by which each set lies beside set 0
    information: np.ndarray  # (I, I)
    evidence: np.ndarray  # (I,)

    def places(self, points: ModelPoints) -> np.ndarray:
        """Where the fit puts the points, (n, 3) pixels, without the sets' own offsets."""
        turned = (points.mean + points.basis @ self.coefficients) @ self.pose.rotation.T * self.pose.scale
        turned[:, :2] += self.pose.shift
        return turned


@dataclass(frozen=True)
class Rules:
    """How residuals count and when to stop."""

    steps: int = 15
    tolerance: float = 5e-3  # greatest change of a coefficient, of per cent of an offset or of a pose's unit
    huber: float = 6.0  # weighted per cent beyond which a residual counts linearly (Huber 1964)
    offset_prior: float = 20.0  # weighted per cent that an offset of one per cent costs


def start(mean: np.ndarray, observation: Observation) -> Pose:
    """The pose of the mean face (N, 3) that is nearest to what the photo shows, by an affine camera made orthogonal."""
    weight = observation.weights[:, None]
    design = np.column_stack([mean, np.ones(len(mean))]) * weight
    affine = np.linalg.lstsq(design, observation.places[:, :2] * weight, rcond=None)[0].T
    u, size, v = np.linalg.svd(affine[:, :3], full_matrices=False)
    first, second = u @ v
    return Pose(size.mean(), np.stack([first, second, np.cross(first, second)]), affine[:, 3])


def solve(points: ModelPoints, observation: Observation, rules: Rules, identity: np.ndarray | None = None) -> Solution:
    """Fit the face model to one photo. identity : (I,) keeps these coefficients as they are.

    The same numbers give the same fit. Raises `ValueError` where the points do not determine a pose.
    """
    problem = _Problem(points, observation, rules, identity)
    pose = start(points.mean, observation)
    if not (pose.scale > 0 and np.isfinite(pose.rotation).all()):
        raise ValueError("the points do not determine a pose")
    unknowns = problem.first_guess()
    for _ in range(rules.steps):
        normal, wish = problem.normal_equation(pose, unknowns)
        new = bounded_minimum(normal, wish, unknowns, problem.free, problem.lower, problem.upper)
        change = new - unknowns
        pose = _moved(pose, change[:POSE_COLUMNS], problem.unit)
        unknowns = new.copy()
        unknowns[:POSE_COLUMNS] = 0.0
        if np.abs(change).max() < rules.tolerance:
            break
    return problem.solution(pose, unknowns, normal, wish)


def bounded_minimum(normal, wish, x, free, lower, upper) -> np.ndarray:
    """The minimum of x' normal x / 2 - wish' x with lower <= x <= upper, by projected Newton steps (Bertsekas 1982).

    normal : (n, n) positive definite. x : (n,) where to begin; what is not `free` keeps its value.
    """
    gradient = normal @ x - wish
    for _ in range(QUADRATIC_STEPS):
        held = ~free | ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
        moving = np.flatnonzero(~held)
        direction = np.zeros_like(x)
        direction[moving] = np.linalg.solve(normal[np.ix_(moving, moving)], -gradient[moving])
        length = 1.0
        for _ in range(HALVINGS):
            change = np.where(held, 0.0, np.clip(x + length * direction, lower, upper) - x)
            of_change = normal @ change
            if change @ (gradient + of_change / 2) <= 0:
                break
            length /= 2
        x, gradient = x + change, gradient + of_change
        if np.abs(change).max() < 1e-4:
            break
    return x


def rotation_about(vector: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) about a vector by its length in radians (Rodrigues)."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _moved(pose: Pose, change: np.ndarray, unit: float) -> Pose:
    return Pose(
        scale=pose.scale * float(np.exp(np.clip(change[3], -0.5, 0.5))),
        rotation=rotation_about(np.clip(change[:3], -0.5, 0.5)) @ pose.rotation,
        shift=pose.shift + change[4:6] / unit,
    )


class _Problem:
    """One photo's least squares. Unknowns: the pose's change, the coefficients, offsets of sets, depths of sets."""

    def __init__(self, points: ModelPoints, observation: Observation, rules: Rules, identity):
        self.points, self.rules, self.identity = points, rules, identity
        self.unit = PER_CENT / observation.size
        seen = np.flatnonzero(observation.weights)
        self.mean, self.basis, self.sets = points.mean[seen], points.basis[seen], points.sets[seen]
        self.targets = observation.places[seen] * self.unit
        self.weights, self.depth_weights = observation.weights[seen], observation.depth_weights[seen]
        coefficients, sets = points.basis.shape[2], int(points.sets.max()) + 1
        starts = np.cumsum([POSE_COLUMNS, coefficients, 2 * sets, sets])
        self.shape, self.offsets, self.depths = (slice(*pair) for pair in zip(starts[:-1], starts[1:], strict=True))
        columns = starts[-1]
        self.prior = np.full(columns, _LOOSE)
        self.prior[self.shape], self.prior[self.offsets] = points.prior, rules.offset_prior
        self.free = np.ones(columns, bool)
        self.free[self.offsets.start : self.offsets.start + 2] = False
        self.lower, self.upper = np.full(columns, -np.inf), np.full(columns, np.inf)
        self.lower[self.shape], self.upper[self.shape] = points.lower, points.upper
        if identity is not None:
            self.free[POSE_COLUMNS : POSE_COLUMNS + points.identity_count] = False
        self.jacobian = np.zeros((len(seen), 3, columns), np.float32)
        self.jacobian[:, [0, 1], [4, 5]] = 1.0
        every = np.arange(len(seen))
        self.jacobian[every, 0, self.offsets.start + 2 * self.sets] = 1.0
        self.jacobian[every, 1, self.offsets.start + 2 * self.sets + 1] = 1.0
        self.jacobian[every, 2, self.depths.start + self.sets] = 1.0

    def first_guess(self) -> np.ndarray:
        unknowns = np.zeros(len(self.prior))
        if self.identity is not None:
            unknowns[POSE_COLUMNS : POSE_COLUMNS + self.points.identity_count] = self.identity
        return unknowns

    def normal_equation(self, pose: Pose, unknowns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, n) and (n,): the minimum near `unknowns` solves normal @ x = wish, bounds aside."""
        linear = (pose.rotation * (pose.scale * self.unit)).astype(np.float32)
        placed = ((self.mean + self.basis @ unknowns[self.shape].astype(np.float32)) @ linear.T).astype(np.float64)
        x, y, z = placed.T
        jacobian = self.jacobian
        jacobian[:, 1, 0], jacobian[:, 2, 0] = -z, y
        jacobian[:, 0, 1], jacobian[:, 2, 1] = z, -x
        jacobian[:, 0, 2], jacobian[:, 1, 2] = -y, x
        jacobian[:, :, 3] = placed
        jacobian[:, :, self.shape] = linear @ self.basis
        residuals = self.targets - placed
        residuals[:, :2] -= pose.shift * self.unit + unknowns[self.offsets].reshape(-1, 2)[self.sets]
        residuals[:, 2] -= unknowns[self.depths][self.sets]
        length = self.weights * np.hypot(residuals[:, 0], residuals[:, 1])
        robust = np.sqrt(np.minimum(1.0, self.rules.huber / np.maximum(length, 1e-9)))
        shares = np.stack([self.weights, self.weights, self.depth_weights], axis=1) * robust[:, None]
        design = (jacobian * shares[..., None].astype(np.float32)).reshape(-1, len(unknowns))
        target = (residuals * shares).ravel().astype(np.float32)
        data = (design.T @ design).astype(np.float64)
        wish = (design.T @ target).astype(np.float64) + data @ unknowns
        data[np.diag_indices_from(data)] += self.prior**2
        return data, wish

    def solution(self, pose: Pose, unknowns: np.ndarray, normal: np.ndarray, wish: np.ndarray) -> Solution:
        own = np.arange(POSE_COLUMNS, POSE_COLUMNS + self.points.identity_count)
        inside = (unknowns > self.lower) & (unknowns < self.upper) & self.free
        inside[own] = False
        others, fixed = np.flatnonzero(inside), np.flatnonzero(~inside)
        fixed = np.setdiff1d(fixed, own)
        wish = wish - normal[:, fixed] @ unknowns[fixed]
        relation = np.linalg.solve(normal[np.ix_(others, others)], normal[np.ix_(others, own)]).T
        data = normal[np.ix_(own, own)] - np.diag(self.prior[own] ** 2)
        return Solution(
            pose=pose,
            coefficients=unknowns[self.shape],
            offsets=unknowns[self.offsets].reshape(-1, 2) / self.unit,
            information=data - relation @ normal[np.ix_(others, own)],
            evidence=wish[own] - relation @ wish[others],
        )
