"""The procedural face model of the sample data: an anatomy by formula, varied by anatomically named components.

No scan of a person is in it and no licence binds it. Built in a fraction of a second, always the same.
"""

from dataclasses import dataclass

import numpy as np

from prnet.generating.samples import anatomy as anatomy
from prnet.generating.samples.anatomy import bell, bump, ramp
from prnet.generating.samples.mesh import (
    mirror_pairs,
    mirrored_triangles,
    mirrored_values,
    scatter_points,
    triangulate,
)
from prnet.generating.samples.skin import average_skin
from prnet.geometry.face_model import FaceModel
from prnet.geometry.regions import derive_region_weights
from prnet.geometry.tutte import tutte_embedding

UNITS_PER_MM = 1000.0
"""Model units are micrometres, as in the Basel Face Model."""

ORIGIN = np.array([0.0, -40.0, -60.0])
"""The model's origin, in the middle of the head, in millimetres of the anatomy."""

_SPACINGS = (0.95, 1.4, 2.0, 3.4, 5.0)


@dataclass(frozen=True)
class SampleHead:
    """The face model and what painting and rendering it needs besides."""

    model: FaceModel
    rest: np.ndarray  # (V, 3) float32 millimetres, the anatomy at rest
    inside_mouth: np.ndarray  # (V,) float32, 0 on the face, 1 at the mouth's hole
    eyes: np.ndarray  # (V,) bool, what lies between the lids
    mirror: np.ndarray  # (V,) int32, each vertex's mirror image
    mirror_signs: np.ndarray  # (K,) 1 or -1: what mirroring the face does to each coefficient


def make_sample_model() -> FaceModel:
    """The procedural face model: 32 identity and 16 expression components."""
    return make_sample_head().model


def make_sample_head() -> SampleHead:
    """The procedural face model with its labels."""
    points, triangles = _half_mesh()
    rest, inside = anatomy.sculpt(points)
    on_midline = points[:, 0] == 0
    rest[on_midline, 0] = 0.0
    twin, mirror = mirror_pairs(on_midline)
    whole = mirrored_values(rest, on_midline)

    identity, identity_signs = _components(_IDENTITY, rest, on_midline)
    expression, expression_signs = _components(_EXPRESSIONS, rest, on_midline)
    norm = np.linalg.norm(identity, axis=(0, 1))
    all_triangles = mirrored_triangles(triangles, twin)
    landmarks = _landmark_vertices(mirror)
    mean = ((whole - ORIGIN) * UNITS_PER_MM).astype(np.float32)
    uv = tutte_embedding(mean, all_triangles).astype(np.float32)
    inside_mouth = np.concatenate([inside, inside[~on_midline]]).astype(np.float32)
    model = FaceModel(
        mean=mean,
        shape_basis=(identity / norm).astype(np.float32),
        expression_basis=(expression * UNITS_PER_MM).astype(np.float32),
        shape_deviation=(norm * UNITS_PER_MM).astype(np.float32),
        expression_deviation=np.array([deviation for _, _, deviation in _EXPRESSIONS.values()], dtype=np.float32),
        triangles=all_triangles,
        landmark_vertices=landmarks[:, None],
        landmark_weights=np.ones((len(landmarks), 1), np.float32),
        uv=uv,
        mean_texture=average_skin(whole, inside_mouth).astype(np.float32),
        region_weights=derive_region_weights(uv[landmarks]),
        source="procedural sample face; no scan of a person",
        licence="MIT, as this project",
    )
    return SampleHead(
        model=model,
        rest=whole.astype(np.float32),
        inside_mouth=inside_mouth,
        eyes=np.abs(anatomy.eye_opening(np.column_stack([np.abs(whole[:, 0]), whole[:, 1]]))) < 1 - 1e-6,
        mirror=mirror,
        mirror_signs=np.concatenate([identity_signs, expression_signs]),
    )


def _components(table, rest, on_midline):
    """Displacements in mm of the whole mesh (V, 3, K), and the components' mirror signs (K,)."""
    fields = [mirrored_values(field(rest), on_midline, sign) for field, sign, *_ in table.values()]
    return np.stack(fields, axis=-1), np.array([sign for _, sign, *_ in table.values()])


# Mesh


def _spacing(points):
    """Wanted distance of neighbouring vertices, in mm, at domain points."""
    spacing = np.full(len(points), _SPACINGS[-1])
    for centre, radius, value in (
        ((0, -35), (72, 85), 3.4),
        ((0, -98), (60, 24), 3.4),
        ((31, 0), (25, 19), 2.0),
        ((31, 22), (29, 11), 2.0),
        ((31, 21), (25, 7), 1.4),
        ((31, 0), (19, 11), 1.4),
        ((31, 0), (15, 7.5), 0.95),
        ((0, -38), (24, 24), 2.0),
        ((0, -43), (20, 9), 1.4),
        ((0, -72), (34, 18), 2.0),
        ((0, -72), (28, 12), 1.4),
    ):
        near = np.square((points - np.asarray(centre)) / np.asarray(radius)).sum(axis=1) < 1
        spacing[near] = np.minimum(spacing[near], value)
    return spacing


def _iris_arcs(radius):
    """The parts of a circle about the iris that the lids leave free."""
    for middle in (0, np.pi):
        angle = middle + np.linspace(-np.pi / 2, np.pi / 2, 100)
        circle = anatomy.IRIS_CENTRE + radius * np.column_stack([np.cos(angle), np.sin(angle)])
        yield circle[np.abs(anatomy.eye_opening(circle)) < 0.93]


def _eye_rings():
    """Curves around the eye at growing distance from its rim."""
    rim = np.concatenate([anatomy.eye_curve(1, 60), anatomy.eye_curve(-1, 60)[::-1][1:-1]])
    tangent = np.roll(rim, -1, axis=0) - np.roll(rim, 1, axis=0)
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]]) / np.linalg.norm(tangent, axis=1)[:, None]
    for distance in (0.9, 2.0, 3.2, 4.6, 6.0):
        ring = rim + distance * normal
        yield ring[anatomy.lid_distance(ring) > 0.95 * distance]


def _half_mesh():
    """Domain points (N, 2) and triangles (T, 3) of the half x >= 0. The landmarks' points come first."""
    left, right, bottom, top = anatomy.OUTLINE
    radii = (-0.4, 0.4, 2.0, 3.3, 4.1)
    features = [
        anatomy.mouth_rim(1.0),
        anatomy.mouth_rim(0.0),
        anatomy.lip_curve(1),
        anatomy.lip_curve(-1),
        anatomy.mouth_rim(0.5),
        *(anatomy.lip_curve(share) for share in (0.8, 1.22, -0.8, -1.2, 0.4, -0.3, -0.55)),
        anatomy.eye_curve(1, 90),
        anatomy.eye_curve(-1, 90),
        anatomy.IRIS_CENTRE[None],
        *(arc for wider in radii for arc in _iris_arcs(anatomy.PUPIL_RADIUS + wider)),
        *_eye_rings(),
    ]
    straight = np.linspace(0, 1, 300)[:, None]
    corners = np.array([(left, bottom), (right, bottom), (right, top), (left, top)])
    borders = [
        first + straight * (second - first) for first, second in zip(corners, np.roll(corners, -1, 0), strict=True)
    ]
    landmarks = _landmark_points()
    curves = [landmarks[:1], *landmarks[1:, None], *(anatomy.domain_of(curve) for curve in features), *borders]
    points = scatter_points(curves, _spacing, _SPACINGS, anatomy.OUTLINE)
    points = points[~anatomy.in_mouth_hole(points)]
    points[points[:, 0] < 1e-6, 0] = 0.0
    return points, triangulate(points, anatomy.in_mouth_hole)


# Landmarks


def _landmark_points():
    """Domain points (39, 2) of the landmarks with x >= 0, in the order of `_LANDMARKS`."""
    share = np.array([0.0, 0.30, 0.68, 1.0])
    x = anatomy.EYE_INNER[0] + share * (anatomy.EYE_OUTER[0] - anatomy.EYE_INNER[0])
    line, above, below = anatomy.eye_heights(x)
    eye = np.column_stack([x[[0, 1, 2, 3, 2, 1]], np.concatenate([line + above, (line - below)[[2, 1]]])])
    brow_x = np.array([12.0, 20.5, 30.0, 40.0, 49.5])
    brow = np.column_stack([brow_x, anatomy.brow_line(brow_x)])
    nose = np.array([(0, 1), (0, -12), (0, -24.5), (0, -37.5), (0, -49.5), (5.6, -48.6), (11.0, -47.2)])
    upper, lower = anatomy.lip_curve(1), anatomy.lip_curve(-1)
    edge = anatomy.mouth_rim(0.0)
    upper_edge, lower_edge = edge[edge[:, 1] >= anatomy.slit(edge[:, 0])], edge[edge[:, 1] < anatomy.slit(edge[:, 0])]

    def on(curve, at):
        order = np.argsort(curve[:, 0])
        return [(x, np.interp(x, curve[order, 0], curve[order, 1])) for x in at]

    inner_corner = [(23.6, anatomy.slit(23.6))]
    mouth = [*on(upper, (0, 6.2, 15.5, 25.5)), *on(lower, (16.0, 8.0, 0.0))]
    inside = [*on(upper_edge, (0.0, 9.0)), *inner_corner, *on(lower_edge, (9.0, 0.0))]
    places = np.concatenate([brow, nose, eye, mouth, inside]).astype(np.float64)
    return np.concatenate([_JAW, anatomy.domain_of(places)])


_JAW = np.array(
    [(0, -115), (26, -114.5), (51, -112), (74, -106), (92, -92), (100, -68), (103, -44), (104, -20), (103, 2)],
    dtype=np.float64,
)
"""Domain points of landmarks 8 to 16: from the chin along the edge of the jaw to the ear."""

_LANDMARKS = [
    *range(8, 17),
    *range(22, 27),
    *range(27, 31),
    *range(33, 36),
    *range(42, 48),
    *range(51, 58),
    *range(62, 67),
]
_MIRRORED = [
    *range(8, -1, -1),
    *range(21, 16, -1),
    *range(27, 31),
    *(33, 32, 31),
    *(39, 38, 37, 36, 41, 40),
    *(51, 50, 49, 48, 59, 58, 57),
    *(62, 61, 60, 67, 66),
]
"""Landmarks on the half x >= 0, and for each of them the landmark on the other side (itself on the mid-plane)."""


def _landmark_vertices(mirror):
    """Vertices (68,) of the landmarks: the mesh's first vertices and their mirror images."""
    vertices = np.empty(68, dtype=np.int32)
    own = np.arange(len(_LANDMARKS))
    vertices[_LANDMARKS] = own
    vertices[_MIRRORED] = mirror[own]
    return vertices


# Components. Each field takes the half face at rest (N, 3) in millimetres and returns displacements (N, 3).


def _along(axis, amount):
    """Displacements along one axis."""
    moved = np.zeros((len(amount), 3))
    moved[:, axis] = amount
    return moved


def _push(centre, radius, direction, sign=1):
    """A field that moves what is near a point and its mirror image: Gaussian, radius and direction in mm."""
    mirrored = np.asarray(centre) * np.array([-1, 1, 1])[: len(centre)]

    def field(rest):
        near, far = bump(rest[:, : len(centre)], centre, radius), bump(rest[:, : len(centre)], mirrored, radius)
        if centre[0] == 0:
            far = 0 * far
        return np.column_stack([near - sign * far, near + sign * far, near + sign * far]) * direction

    return field


def _widen(centre, radius, share):
    """A field that scales x by 1 + share near a point of the mid-plane."""
    return lambda rest: _along(0, share * rest[:, 0] * bump(rest[:, 1:], centre, radius))


def _below(start, end, direction):
    """A field that moves all that lies below: nothing at height `start`, everything from `end`."""
    return lambda rest: ramp(rest[:, 1], start, end)[:, None] * np.asarray(direction, dtype=np.float64)


def _eye_scale(rest, across, up, slant):
    from_centre = rest[:, :2] - anatomy.IRIS_CENTRE
    near = bump(rest[:, :2], anatomy.IRIS_CENTRE, (17, 12))
    return np.column_stack(
        [across * from_centre[:, 0] * near, (up * from_centre[:, 1] + slant * from_centre[:, 0]) * near, 0 * near]
    )


def _outward(centre, radius, amount):
    """A field that pushes the side of the face outward."""

    def field(rest):
        direction = rest * (1.0, 0.0, 1.0) - (0.0, 0.0, -70.0)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return amount * bump(rest, centre, radius)[:, None] * direction

    return field


_IDENTITY = {
    # name: (field for one standard deviation, mirror sign)
    "face width": (lambda rest: _along(0, 0.045 * rest[:, 0]), 1),
    "face length": (lambda rest: _along(1, 0.045 * rest[:, 1] * ramp(rest[:, 1], -210, -120)), 1),
    "face depth": (lambda rest: _along(2, 0.04 * (rest[:, 2] + 80)), 1),
    "lower face length": (_below(-55, -105, (0, -3.4, 0)), 1),
    "jaw width": (lambda rest: _along(0, 0.07 * rest[:, 0] * bell(rest[:, 1], -88, 26)), 1),
    "jaw angle": (_push((52, -76, -60), (18, 20, 30), (3.0, -2.5, 0)), 1),
    "chin forward": (_push((0, -108, 0), (20, 14, 26), (0, 0, 3.0)), 1),
    "chin width": (_push((20, -106, -8), (11, 13, 20), (2.6, -0.8, 0.8)), 1),
    "chin height": (_push((0, -114, -10), (24, 10, 24), (0, -2.4, 0)), 1),
    "nose width": (_widen((-40, 8), (13, 22), 0.12), 1),
    "nose length": (_push((0, -43, 12), (15, 12, 18), (0, -2.4, 0)), 1),
    "nose projection": (_push((0, -36), (9, 15), (0, 0, 2.3)), 1),
    "nose tip": (_push((0, -39, 22), (8, 7, 9), (0, 1.7, 0.7)), 1),
    "nose bridge": (_push((0, -13), (7, 9), (0, 0, 1.5)), 1),
    "nose root width": (_widen((-4, 2), (11, 12), 0.12), 1),
    "nostril flare": (_push((13, -43), (4.5, 4.5), (1.0, 0.5, 0.5)), 1),
    "eye distance": (_push((31, 2), (19, 15), (1.7, 0, -0.3)), 1),
    "eye size": (lambda rest: _eye_scale(rest, 0.04, 0.10, 0), 1),
    "eye slant": (lambda rest: _eye_scale(rest, 0, 0, 0.065), 1),
    "eye depth": (_push((31, 2), (18, 11), (0, 0, -1.6)), 1),
    "brow height": (_push((30, 21), (22, 8), (0, 1.9, 0)), 1),
    "brow ridge": (_push((24, 20), (20, 7), (0, 0, 1.7)), 1),
    "forehead slope": (lambda rest: _along(2, -0.10 * np.maximum(rest[:, 1] - 22, 0)), 1),
    "forehead width": (lambda rest: _along(0, 0.05 * rest[:, 0] * ramp(rest[:, 1], 5, 55)), 1),
    "cheekbone": (_outward((52, -20, -25), (17, 14, 24), 2.2), 1),
    "cheek fullness": (_outward((46, -58, -25), (18, 20, 26), 3.0), 1),
    "mouth width": (_widen((-71, 2), (13, 24), 0.075), 1),
    "mouth height": (_push((0, -71), (30, 11), (0, 1.6, 0)), 1),
    "upper lip": (lambda rest: _lip(rest, True, 1.1, 1.1), 1),
    "lower lip": (lambda rest: _lip(rest, False, -1.3, 1.2), 1),
    "muzzle": (_push((0, -66), (22, 15), (0, 0, 1.8)), 1),
    "face bend": (lambda rest: _along(0, 1.3 * ramp(rest[:, 1], -20, -105) * ramp(rest[:, 1], -190, -130)), -1),
}


def _lip(rest, upper, height, forward):
    """A fuller lip: its border moves up or down, its crest forward."""
    x, y = rest[:, 0], rest[:, 1]
    border = anatomy.upper_lip(x) if upper else anatomy.lower_lip(x)
    height_at_rest = np.maximum(np.abs(border - anatomy.slit(x)), 0.3) * (1 if upper else -1)
    offset = (y - anatomy.slit(x)) / height_at_rest
    wide = np.maximum(1 - np.square(x / 26), 0)
    share = np.where(offset > 0, np.where(offset < 1, offset, np.exp(-np.square((offset - 1) / 0.7))), 0) * wide
    inner = np.clip(offset, 0, 1)
    crest = 4 * inner * (1 - inner) * wide
    return np.column_stack([0 * x, height * share, forward * crest])


def _between_lips(x):
    """How far the lips may part at x, 1 at the mid-plane, 0 at the corner."""
    return np.sqrt(np.maximum(1 - np.square(x / anatomy.MOUTH_CORNER), 0))


def _jaw_weight(rest):
    """How much of each point moves with the lower jaw: the lower lip all, the upper none, the cheeks in between."""
    x, y = rest[:, 0], rest[:, 1]
    side = ramp(y, -38, -104)
    near = _between_lips(x) * ramp(y, -116, -80)
    lower = y < anatomy.slit(x)
    front = np.where(lower, 0.92 + 0.08 * ramp(y, -75, -100), 0.0)
    return (side + near * (front - side)) * ramp(y, -188, -116)


def _jaw_open(rest):
    """The lower jaw turned by 17 degrees about the line through both joints."""
    weight, angle = _jaw_weight(rest), np.radians(17)
    y, z = rest[:, 1] + 18, rest[:, 2] + 72
    return np.column_stack(
        [
            0 * y,
            weight * (y * np.cos(angle) - z * np.sin(angle) - y),
            weight * (y * np.sin(angle) + z * np.cos(angle) - z),
        ]
    )


def _part_lips(rest):
    """Upper lip up and lower lip down: the teeth show."""
    x, y = rest[:, 0], rest[:, 1]
    upper = y > anatomy.slit(x)
    amount = np.where(upper, 3.6 * bell(y, -66, 8), -4.2 * bell(y, -76, 9))
    return _along(1, amount * _between_lips(x))


def _close_eyes(rest):
    """Both lids meet over the eyeball; what lies in the opening is folded into the line between them."""
    place = rest[:, :2]
    line, above, below = anatomy.eye_heights(place[:, 0])
    opening = anatomy.eye_opening(place)
    within = np.abs(opening) <= 1 + 1e-6
    distance = np.maximum(anatomy.lid_distance(place), 0)
    meeting = line - 0.72 * below
    target = np.where(within, meeting - 0.2 * np.clip(opening, -1, 1), 0.0)
    upper = place[:, 1] > line
    nearest = np.clip(place[:, 0], anatomy.EYE_INNER[0], anatomy.EYE_OUTER[0])
    line, above, below = anatomy.eye_heights(nearest)
    reach = np.where(upper, 9.0, 6.0)
    follow = np.where(upper, -(above + 0.72 * below) - 0.2, 0.28 * below + 0.2)
    fade = np.square(1 - np.clip(distance / reach, 0, 1))
    down = np.where(within, target - place[:, 1], follow * fade)
    moved = place + np.column_stack([0 * down, down])
    ball_then, ball_now = anatomy.eyeball(moved), anatomy.eyeball(place)
    hidden = 1 - np.square(np.clip(opening, -1, 1))
    forward = np.where(
        within,
        ball_then - ball_now + 0.6 + 0.3 * np.clip(opening, -1, 1) - 1.4 * hidden,
        (ball_then - ball_now + np.where(upper, 0.9, 0.3)) * fade,
    )
    return np.column_stack([0 * down, down, forward]) * (distance < 12)[:, None]


def _pucker(rest):
    near = bump(rest[:, :2], (0, -72), (25, 15))
    narrow = _along(0, -0.42 * rest[:, 0] * near)
    thick = _along(1, 0.18 * (rest[:, 1] + 71.5) * bump(rest[:, :2], (0, -72), (14, 10)))
    return narrow + thick + _along(2, 5.5 * bump(rest[:, :2], (0, -72), (15, 12)))


def _both(*fields):
    return lambda rest: sum(field(rest) for field in fields)


_SMILE = (
    _push((26, -71), (11, 10), (5.5, 7.0, -4.0)),
    _push((41, -40), (14, 13), (1.0, 4.0, 3.6)),
    _push((32, -7), (14, 4), (0, 1.4, 0.4)),
    _push((0, -72), (16, 9), (0, 0.6, -2.2)),
    _push((30, -58), (5, 10), (0.5, 0, -1.2)),
    _push((13, -43), (6, 5), (1.2, 0.5, 0)),
)

_EXPRESSIONS = {
    # name: (field of the whole expression, mirror sign, standard deviation of the coefficient)
    "jaw open": (_jaw_open, 1, 0.25),
    "lips parted": (_part_lips, 1, 0.35),
    "smile": (_both(*_SMILE), 1, 0.45),
    "corners down": (_push((26, -73), (11, 10), (0.5, -5.0, -0.5)), 1, 0.3),
    "pucker": (_pucker, 1, 0.3),
    "lips pressed": (lambda rest: _lip(rest, True, -2.2, -1.4) + _lip(rest, False, 2.6, -1.8), 1, 0.25),
    "eyes closed": (_close_eyes, 1, 0.3),
    "eyes narrowed": (_both(_push((32, -7), (15, 5), (0, 2.0, 0.4)), _push((32, 8), (15, 4), (0, -1.6, 0.3))), 1, 0.35),
    "brows up": (_push((29, 23), (25, 11), (0, 7.0, 0.3)), 1, 0.4),
    "brows down": (
        _both(_push((18, 19), (16, 9), (-1.8, -4.0, 1.0)), _push((38, 21), (14, 8), (0, -1.5, 0.5))),
        1,
        0.4,
    ),
    "inner brows up": (_push((13, 19), (12, 11), (0, 5.5, 0.5)), 1, 0.3),
    "cheeks puffed": (_outward((40, -64, -15), (17, 17, 24), 8.0), 1, 0.2),
    "nose wrinkled": (
        _both(_push((14, -42), (8, 9), (1.0, 3.5, 0.5)), _push((0, -62), (16, 8), (0, 2.0, 0.5))),
        1,
        0.3,
    ),
    "mouth to one side": (_push((0, -74), (34, 17), (7.0, 0, 0)), -1, 0.3),
    "jaw to one side": (lambda rest: _along(0, 7.0 * _jaw_weight(rest)), -1, 0.25),
    "one brow up": (_push((30, 22), (18, 9), (0, 4.5, 0.3), sign=-1), -1, 0.25),
}

IDENTITY_NAMES, EXPRESSION_NAMES = tuple(_IDENTITY), tuple(_EXPRESSIONS)
