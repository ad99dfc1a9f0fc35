"""Which views each photo gets: yaw enlarged away from the front, so that the whole set's yaws spread evenly.

Angles are those of `Pose_Para`, in degrees.
"""

from dataclasses import dataclass

import numpy as np

from prnet.configure.config import EYELID_PAIRS, INNER_LIP_PAIRS
from prnet.generating.sampling import openness, rarity
from prnet.geometry.face_model import FaceModel

MAX_VIEWS = 12
"""Views of one photo, with the unrotated one, that the default plan does not exceed."""

MAX_TURN_BACK = 15.0
"""How far a view may turn towards the front or past it: what lies on the far side was not seen. A photo within this
yaw turns to both sides."""

MAX_PITCH_CHANGE = 45.0
"""Likewise in pitch, both ways."""

SHUT_MOUTH, OPEN_EYES, NEAR_FRONT = 0.06, 0.075, 40.0
"""Greatest gap of the lips and least aperture of the eyes, over the distance of the outer eye corners, and greatest
turn in degrees of a photo that takes on other expressions: teeth and eyeballs that it hides cannot be made up."""


@dataclass(frozen=True)
class ViewSettings:
    """Poses of the views of a set."""

    max_yaw: float = 90.0
    yaw_step: float = 10.0  # width of a bin of the yaw histogram
    max_pitch: float = 40.0
    views: int | None = None  # of each photo, with the unrotated one; None: as many as an even histogram needs
    expressions: int = 0  # views with another photo's expression
    seed: int = 0


def plan_views(pitch: np.ndarray, yaw: np.ndarray, settings: ViewSettings) -> list[np.ndarray]:
    """Poses of the rotated views of each photo.

    pitch, yaw : (N,) of the photos. Returns N arrays (n, 2) of pitch and yaw, within `max_pitch` and `max_yaw`.

    Photo by photo, in rounds, a view goes to the bin with the fewest so far of those that the photo can be turned to
    and has been least often. By default this ends when every bin holds as many as the fullest did at the start. Every
    other view keeps the photo's pitch (the paper turns in yaw only); the rest draw theirs evenly. A photo's pitch
    beyond `max_pitch` is none to be kept or changed (`profiling.view_angles`).
    """
    random = np.random.default_rng([settings.seed, len(yaw)])
    bins = max(int(np.ceil(2 * settings.max_yaw / settings.yaw_step - 1e-9)), 1)
    edges = np.minimum(-settings.max_yaw + settings.yaw_step * np.arange(bins + 1), settings.max_yaw)
    low = np.where(yaw > MAX_TURN_BACK, yaw - MAX_TURN_BACK, -settings.max_yaw)
    high = np.where(yaw < -MAX_TURN_BACK, yaw + MAX_TURN_BACK, settings.max_yaw)
    lows, highs = np.maximum(edges[:-1], low[:, None]), np.minimum(edges[1:], high[:, None])
    reachable = highs - lows > 1e-6

    counts = np.zeros(bins, dtype=int)
    used = np.zeros(reachable.shape, dtype=int)
    for photo in np.flatnonzero(np.abs(yaw) <= settings.max_yaw):
        own = min(np.searchsorted(edges, yaw[photo], side="right") - 1, bins - 1)
        counts[own] += 1
        used[photo, own] += 1
    level = counts.max(initial=0) if settings.views is None else np.inf
    plan: list[list[tuple[float, float]]] = [[] for _ in yaw]
    for _ in range((settings.views or MAX_VIEWS) - 1):
        for photo in random.permutation(np.flatnonzero(reachable.any(axis=1))):
            choices = np.flatnonzero(reachable[photo] & (counts < level))
            if not len(choices):
                continue
            choices = choices[used[photo, choices] == used[photo, choices].min()]
            chosen = choices[np.argmin(counts[choices] + random.random(len(choices)))]
            counts[chosen] += 1
            used[photo, chosen] += 1
            view_pitch = pitch[photo]
            if len(plan[photo]) % 2 == photo % 2:
                view_pitch += np.clip(
                    random.uniform(-settings.max_pitch, settings.max_pitch) - view_pitch,
                    -MAX_PITCH_CHANGE,
                    MAX_PITCH_CHANGE,
                )
            view_yaw = random.uniform(lows[photo, chosen], highs[photo, chosen])
            plan[photo].append((np.clip(view_pitch, -settings.max_pitch, settings.max_pitch), view_yaw))
    return [np.array(views).reshape(-1, 2) for views in plan]


def plan_expressions(
    model: FaceModel, coefficients: np.ndarray, pitch: np.ndarray, yaw: np.ndarray, settings: ViewSettings
) -> list[np.ndarray]:
    """The photos whose expressions each photo takes on: N arrays of indices.

    model : with the 68 landmarks. coefficients : (N, K) of the photos. pitch, yaw : (N,). Photos with shut mouth
    and open eyes, near the front, get `settings.expressions`, others none. Open mouths and closed eyes are drawn as
    often as common ones, as far as `sampling.rarity` allows.
    """
    gap, aperture = (openness(model, coefficients, pairs) for pairs in (INNER_LIP_PAIRS, EYELID_PAIRS))
    weights = np.maximum(rarity(gap), rarity(aperture))
    random = np.random.default_rng([settings.seed, len(gap), 1])
    donors = random.choice(len(gap), (len(gap), settings.expressions), p=weights / weights.sum())
    takes = (gap < SHUT_MOUTH) & (aperture > OPEN_EYES) & (np.hypot(pitch, yaw) < NEAR_FRONT)
    return [drawn if able else drawn[:0] for drawn, able in zip(donors, takes, strict=True)]
