"""The sample face at rest: a surface sculpted by formula, and the curves that its features follow.

Everything is in millimetres, x to the image's right, y up, z to the camera, y = 0 at the pupils; only the half x >= 0
is described. A flat domain (u, v) covers it: u runs around the head from the mid-plane, v down the profile from the
forehead over the chin to the neck. Near the mid-plane (u, v) is (x, y), but for the mouth, which is open in the domain
and closed at rest. Proportions follow the averages of Farkas, Anthropometry of the Head and Face (1994).
"""

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial import cKDTree

OUTLINE = (0.0, 122.0, -206.0, 92.0)
"""Left, right, bottom and top of the domain."""

AROUND = 70.0
"""Millimetres of u for one radian around the head."""

#  v, front y, front z, side x, side y, side z, flatness of the front
SECTIONS = np.array(
    [
        (92.0, 86.0, -20.0, 62.0, 84.0, -84.0, 1.05),
        (75.0, 74.0, -5.5, 69.0, 72.0, -85.0, 1.08),
        (55.0, 55.0, 2.5, 72.5, 53.0, -85.0, 1.12),
        (35.0, 35.0, 5.0, 73.5, 34.0, -84.0, 1.15),
        (18.0, 18.0, 4.0, 72.5, 18.0, -83.0, 1.15),
        (0.0, 0.0, 0.5, 71.0, 2.0, -82.0, 1.10),
        (-22.0, -22.0, -0.5, 69.5, -16.0, -81.0, 1.05),
        (-48.0, -48.0, 0.5, 66.0, -36.0, -80.0, 1.05),
        (-72.0, -72.0, 1.5, 61.5, -52.0, -79.0, 1.02),
        (-92.0, -92.0, -0.5, 57.0, -64.0, -79.0, 1.02),
        (-106.0, -106.0, -2.0, 54.0, -72.0, -79.5, 1.05),
        (-116.0, -115.0, -10.0, 51.5, -79.0, -81.0, 1.05),
        (-128.0, -119.0, -24.0, 50.0, -88.0, -83.0, 1.02),
        (-146.0, -123.0, -42.0, 48.5, -102.0, -86.0, 1.0),
        (-162.0, -133.0, -51.0, 49.0, -117.0, -89.0, 1.0),
        (-184.0, -153.0, -52.0, 50.5, -140.0, -92.0, 1.0),
        (-206.0, -174.0, -53.0, 51.5, -163.0, -94.0, 1.0),
    ]
)[::-1]
"""Sections around the head, in mm: how far each lies in front and at the side."""
_section = CubicSpline(SECTIONS[:, 0], SECTIONS[:, 1:])

EYE_INNER, EYE_OUTER = np.array([16.5, -1.4]), np.array([46.0, 1.4])
IRIS_CENTRE, IRIS_RADIUS, PUPIL_RADIUS = np.array([31.2, 0.4]), 5.9, 2.2
MOUTH_CORNER = 25.5
_MOUTH_REACH = 12.0  # how far above and below the slit the domain is stretched to hold the open mouth
_GAP = 3.0
_HOLE_CORNER, _HOLE_SHARE = 22.5, 0.45  # the mesh's hole within the gap; the rest is the inside of the lips


def lofted(points: np.ndarray) -> np.ndarray:
    """The smooth head without features: domain (N, 2) to (N, 3)."""
    angle = points[:, 0] / AROUND
    front_y, front_z, side_x, side_y, side_z, flatness = _section(points[:, 1]).T
    turned = 1 - np.cos(angle)
    depth = 1 - np.sign(turned) * np.abs(turned) ** flatness
    return np.column_stack(
        [side_x * np.sin(angle), front_y + (side_y - front_y) * turned, side_z + (front_z - side_z) * depth]
    )


def domain_of(places: np.ndarray) -> np.ndarray:
    """Domain points (N, 2) of places (N, 2) seen from the front, above the jaw's edge; the inverse of `lofted`."""
    u, v = places[:, 0].copy(), places[:, 1].copy()
    for _ in range(30):
        front_y, _, side_x, side_y, _, _ = _section(v).T
        u = AROUND * np.arcsin(np.clip(places[:, 0] / side_x, 0, 1))
        v = v + 0.8 * (places[:, 1] - front_y - (side_y - front_y) * (1 - np.cos(u / AROUND)))
    return np.column_stack([u, v])


def ramp(value, start, end):
    """0 up to `start`, 1 from `end`, smooth between; falling where end < start."""
    share = np.clip((value - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


def bell(value, centre, radius):
    """A Gaussian of height 1 over one coordinate."""
    return np.exp(-0.5 * np.square((value - centre) / radius))


def bump(points, centre, radius):
    """A Gaussian of height 1: points (N, D), centre (D,), radius a number or (D,)."""
    return np.exp(-0.5 * (np.square((points - np.asarray(centre)) / np.asarray(radius))).sum(axis=-1))


def eye_heights(x):
    """Height of the line between the eye's corners, and of the opening above and below it, at x (mm)."""
    share = np.clip((x - EYE_INNER[0]) / (EYE_OUTER[0] - EYE_INNER[0]), 0, 1)
    line = EYE_INNER[1] + share * (EYE_OUTER[1] - EYE_INNER[1])
    arch = 4 * share * (1 - share)
    return line, 6.7 * arch**0.85 * (1.08 - 0.16 * share), 5.0 * arch**0.9 * (0.9 + 0.2 * share)


def eye_curve(upper: float, count: int) -> np.ndarray:
    """A curve from the inner to the outer corner (count, 2): upper 1 is the upper lid's edge, -1 the lower lid's."""
    x = EYE_INNER[0] + (EYE_OUTER[0] - EYE_INNER[0]) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, count)))
    line, above, below = eye_heights(x)
    return np.column_stack([x, line + (upper * above if upper > 0 else upper * below)])


def eye_opening(places: np.ndarray) -> np.ndarray:
    """Where in the eye's opening places (N, 2) lie: 0 on the corners' line, 1 the upper and -1 the lower lid, beyond
    those the lids' skin; infinite left and right of the corners."""
    line, above, below = eye_heights(places[:, 0])
    offset = places[:, 1] - line
    height = np.where(offset > 0, above, below)
    return np.where(height > 1e-9, offset / np.maximum(height, 1e-9), np.inf)


_RIM = np.concatenate([eye_curve(1, 200), eye_curve(-1, 200)])


def lid_distance(places: np.ndarray) -> np.ndarray:
    """Distance (N,) in mm of places (N, 2) from the eye's rim, negative within the opening."""
    distance = cKDTree(_RIM).query(places)[0]
    return np.where(np.abs(eye_opening(places)) < 1, -distance, distance)


def slit(x):
    """Height of the line where the lips meet."""
    return -71.5 + 0.0012 * x**2 - 0.8 * np.exp(-np.square(x / 5))


upper_lip = PchipInterpolator([0, 3, 6.2, 13, 20, 25.5, 80], [-65.0, -64.0, -63.4, -65.6, -68.5, -70.7, -70.7])
lower_lip = PchipInterpolator([0, 7, 14, 20, 25.5, 80], [-81.2, -80.7, -78.2, -74.9, -70.75, -70.75])
brow_line = PchipInterpolator([9, 13, 20, 29, 39, 47, 53], [15.5, 17.8, 20.5, 23.0, 23.2, 20.3, 16.5])


def _stretch(x):
    """Half the height of the gap between the lips in the domain at x."""
    return _GAP * np.sqrt(np.maximum(1 - np.square(x / MOUTH_CORNER), 0))


def _hole(x):
    """Half the height of the mesh's hole within the gap at x."""
    return _GAP * _HOLE_SHARE * np.sqrt(np.maximum(1 - np.square(x / _HOLE_CORNER), 0))


def close_mouth(x, y):
    """Heights at rest of heights in the open domain, and how far inside the mouth each is: 0 outside, 1 at the hole."""
    offset, gap = y - slit(x), _stretch(x)
    size = np.abs(offset)
    outside = np.where(size < _MOUTH_REACH, (size - gap) * _MOUTH_REACH / (_MOUTH_REACH - gap), size)
    inside = np.clip((gap - size) / np.maximum(gap - _hole(x), 1e-9), 0, 1) * (gap > 1e-6)
    apart = 0.1 * gap / _GAP + 0.3 * inside
    return slit(x) + np.sign(offset) * (np.maximum(outside, 0) + apart), inside * gap / _GAP


def lip_curve(share: float) -> np.ndarray:
    """Places (N, 2) in the open domain along a lip, mid-plane to corner.

    share : 1 the upper lip's border, 0+ its edge at the slit, negative the same for the lower lip.
    """
    x = MOUTH_CORNER * np.sin(np.linspace(0, np.pi / 2, 80))
    border = upper_lip(x) if share > 0 else lower_lip(x)
    rest = np.abs(share) * np.abs(border - slit(x))
    gap = _stretch(x)
    return np.column_stack([x, slit(x) + np.sign(share) * (gap + rest * (_MOUTH_REACH - gap) / _MOUTH_REACH)])


def mouth_rim(depth: float) -> np.ndarray:
    """Places (N, 2) in the open domain around the inside of the mouth; depth 0 is the lips' edge, 1 the hole's."""
    angle = np.linspace(np.pi / 2, -np.pi / 2, 160)
    reach = MOUTH_CORNER + depth * (_HOLE_CORNER - MOUTH_CORNER)
    x, height = reach * np.cos(angle), _GAP * (1 + depth * (_HOLE_SHARE - 1))
    return np.column_stack([x, slit(x) + height * np.sin(angle)])


def in_mouth_hole(points: np.ndarray) -> np.ndarray:
    """Which domain points (N, 2) lie in the mouth's hole."""
    x, y = lofted(points)[:, :2].T
    return (np.abs(y - slit(x)) < _hole(x) - 0.02) & (points[:, 1] > -100)


_NOSE_PROFILE = np.array(
    [
        (-66.0, 0.0),
        (-58.0, 1.6),
        (-52.0, 2.8),
        (-48.5, 5.0),
        (-46.0, 9.5),
        (-43.5, 14.5),
        (-41.0, 17.8),
        (-38.0, 19.6),
        (-35.0, 19.6),
        (-30.0, 17.6),
        (-22.0, 13.6),
        (-12.0, 8.0),
        (-4.0, 3.8),
        (1.0, 1.6),
        (6.0, 0.5),
        (14.0, 0.0),
        (30.0, 0.0),
    ]
)
_nose_height = PchipInterpolator(*_NOSE_PROFILE.T)
_nose_half_width = PchipInterpolator(
    [-60, -48, -41, -36, -29, -20, -10, 1, 14, 30], [6, 8, 8.8, 8.6, 7.8, 7.6, 7.4, 7.2, 9, 12]
)
NOSTRIL = np.array([6.6, -46.2])
ALA = np.array([12.8, -42.5])


def _nose(x, y):
    """Displacements (N, 3) that raise the nose on the face."""
    place = np.column_stack([x, y])
    clipped = np.clip(y - 0.028 * np.minimum(x, 12) ** 2 * ramp(y, -30, -42), -66, 30)
    height = _nose_height(clipped) * np.exp(-(np.abs(x / _nose_half_width(clipped)) ** 2.0))
    wing = bump(place, ALA, (4.2, 4.6))
    ball = bump(place, (0, -38.0), (5.6, 5.6))
    groove = bump(place, ALA + (5.6, 1.0), (1.8, 5.5)) + 0.7 * bump(place, ALA + (0.5, 7.0), (4.0, 2.2))
    between = bump(place, (6.6, -36.5), (1.8, 4.0))
    nostril = bump(place, NOSTRIL, (3.4, 1.7))
    forward = height + 8.4 * wing + 2.6 * ball - 1.5 * groove - 1.3 * between - 5.0 * nostril
    tuck = bump(place, (0, -42.0), (7, 3.0))
    return np.column_stack([1.6 * wing, 1.8 * nostril - 2.2 * tuck - 0.8 * wing, forward])


def _lips(x, y, inside):
    """Displacements (N, 3) of the lips; `inside` is how far into the mouth a point lies, 0 to 1."""
    wide = np.maximum(1 - np.square(np.abs(x) / 27.5), 0) ** 0.6
    upper = y >= slit(x)
    border = np.where(upper, upper_lip(np.abs(x)), lower_lip(np.abs(x)))
    height = np.maximum(np.abs(border - slit(x)), 0.5)
    share = np.abs(y - slit(x)) / height
    beyond = np.maximum(np.abs(y - slit(x)) - height, 0)
    inner = np.minimum(share, 1)
    crest = np.where(
        upper,
        3.6 * np.sin(np.pi * inner**0.75 * 0.8) + 0.9 * inner,
        5.4 * np.sin(np.pi * inner**0.7 * 0.86) - 0.4 * inner,
    )
    forward = crest * np.exp(-np.square(beyond / np.where(upper, 3.0, 2.2))) + 0.5
    return np.column_stack([np.zeros_like(x), np.zeros_like(x), wide * (forward - 6.5 * inside)])


def eyeball(places):
    """Depth of the eye's surface, and of the lids that lie on it, around the eye."""
    x, y = places[:, 0] - IRIS_CENTRE[0], places[:, 1] - IRIS_CENTRE[1]
    return -9.6 - 0.17 * x - x**2 / 33.0 - y**2 / 27.0


def sculpt(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face at rest: domain points (N, 2) to (N, 3), and how far inside the mouth each is, 0 to 1."""
    rest = lofted(points)
    front = ramp(points[:, 0], 100, 75)
    x = rest[:, 0]
    near_mouth = (np.abs(rest[:, 1] - slit(x)) < _MOUTH_REACH) & (points[:, 0] < MOUTH_CORNER + 10)
    closed, inside = close_mouth(x, rest[:, 1])
    rest[:, 1] = np.where(near_mouth, closed, rest[:, 1])
    inside = np.where(near_mouth, inside, 0.0)
    place = rest[:, :2].copy()
    y = place[:, 1]
    upright = points[:, 1] > -125

    forms = (
        2.5 * bump(place, (0, 21), (14, 9))  # glabella
        + 3.5 * bump(place, (30, 21), (18, 7.5))  # brow ridge
        + 1.5 * bump(place, (24, 52), (20, 18))  # frontal eminence
        - 3.0 * bump(place, (66, 28), (10, 20))  # temple
        + 5.0 * bump(place, (46, -27), (15, 13))  # cheekbone
        + 2.0 * bump(place, (33, -36), (13, 13))  # cheek
        - 2.5 * bump(place, (47, -64), (13, 18))  # hollow of the cheek
        - 2.2 * bump(place, (16, -14), (6, 12))  # beside the nose
        + 4.0 * bump(place, (0, -68), (21, 15))  # muzzle
        - 3.0 * bump(place, (0, -90), (15, 4.5))  # fold between lip and chin
        + 5.0 * bump(place, (0, -104), (15, 9.5))  # chin
        + 2.0 * bump(place, (40, -97), (12, 9))  # jaw
        - 0.9 * bump(place, (0, -57.5), (2.4, 5.5))  # philtrum
        + 0.7 * bump(place, (4.4, -57.5), (1.6, 5.5))
        - 1.4 * bump(place, (28.5, -72), (3.0, 4.0))  # corner of the mouth
        - 1.3 * np.exp(-0.5 * np.square((x - _nasolabial(y)) / 2.6)) * ramp(y, -43, -48) * ramp(y, -76, -64)
    )
    rest[:, 2] += forms * front * upright
    moved = (_nose(x, y) + _lips(x, y, inside)) * (front * upright)[:, None]
    socket = -5.5 * bump(place, (30, 2), (17, 10.5)) - 2.0 * bump(place, (17, 4), (6, 7))
    rest += moved
    rest[:, 2] += socket * front * upright

    distance = lid_distance(place)
    ball = eyeball(place)
    opening = distance < 0
    lid = ball + 1.5 - 0.7 * bump(place, EYE_INNER, 4) + 0.12 * np.maximum(distance, 0)
    crease = np.exp(-0.5 * np.square((distance - 4.6) / 0.9)) * ramp(y, 1, 4)
    share = ramp(distance, np.where(y > 0, 10.0, 12.0), 0.8)
    skin = rest[:, 2] + share * (lid - rest[:, 2]) - 1.1 * crease
    edge = ramp(distance, 0.0, 0.9)
    rest[:, 2] = np.where(opening, ball, ball + edge * (skin - ball))
    caruncle = bump(place, EYE_INNER + (1.6, 0.1), (1.5, 1.1)) * opening
    rest[:, 2] += 0.8 * caruncle
    rest[:, 2] = np.where(points[:, 0] > 90, lofted(points)[:, 2], rest[:, 2])
    return rest, inside


def _nasolabial(y):
    """x of the fold from the nose's wing to beside the mouth."""
    return 18.0 + np.clip(-45 - y, 0, 40) * 0.52
