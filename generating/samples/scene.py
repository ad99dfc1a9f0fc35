"""What surrounds a sample face so that it is a person: skull and hair, ears, neck and clothes, teeth, glasses.

All parts are triangle meshes in the millimetres of the face at rest (`anatomy`), later scaled to the person.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from prnet.generating.samples.anatomy import SECTIONS, ramp, slit

SKULL_CENTRE, SKULL_RADII = np.array([0.0, 12.0, -92.0]), np.array([76.0, 103.0, 98.0])
NECK_PIVOT = np.array([0.0, -150.0, -100.0])
DETAILS = ("skin", "hair", "cloth", "plain")
"""The kinds of fine texture; `Part.detail` is an index."""


@dataclass(frozen=True)
class Part:
    """One mesh of the scene."""

    vertices: np.ndarray  # (V, 3) mm
    triangles: np.ndarray  # (T, 3), counter-clockwise from outside
    colours: np.ndarray  # (V, 3) sRGB 0 to 1
    gloss: float | np.ndarray  # one, or (V,)
    detail: int
    detail_place: np.ndarray  # (V, 2) where in the fine texture, in its pixels
    on_body: bool = False  # moves with the body rather than with the head


@dataclass(frozen=True)
class Hair:
    """A hair style."""

    colour: tuple[float, float, float]
    thickness: float = 9.0  # mm above the skull; 0 is shaven
    length: float = 0.0  # mm that it falls below the ears; 0 is short
    hairline: float = 0.0  # radians, higher is a higher forehead
    fringe: float = 0.0  # radians that it falls over the forehead
    parting: float = 0.0  # asymmetry of the front, radians
    curl: float = 0.0  # 0 straight to 1 curly
    behind_ears: bool = True
    seed: int = 0


def patch_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a grid of vertices in row-major order; `closed` joins the last column to the first. Rows run down
    and columns to the right for a surface seen from outside."""
    row, column = np.mgrid[: rows - 1, : columns if closed else columns - 1]
    corner, right = row * columns + column, row * columns + (column + 1) % columns
    below, below_right = corner + columns, right + columns
    return np.concatenate(
        [np.stack([corner, below, right], -1).reshape(-1, 3), np.stack([right, below, below_right], -1).reshape(-1, 3)]
    ).astype(np.int32)


def _dome(rows, columns, lowest):
    """Azimuth (0 in front, rising to the image's right) and angle from the top of a spherical grid, both flat."""
    polar, azimuth = np.meshgrid(
        np.linspace(0.02, lowest, rows), np.linspace(-np.pi, np.pi, columns, endpoint=False), indexing="ij"
    )
    return azimuth.ravel(), polar.ravel()


_EDGES = {
    "short": PchipInterpolator(
        [0, 0.45, 0.85, 1.1, 1.28, 1.42, 1.6, 1.85, 2.2, np.pi],
        [0.52, 0.54, 0.42, 0.12, -0.20, 0.0, 0.06, -0.55, -0.8, -0.9],
    ),
    "open": PchipInterpolator([0, 0.45, 0.8, 1.0, 1.15, np.pi], [0.52, 0.52, 0.36, 0.0, -1.7, -1.7]),
    "tucked": PchipInterpolator(
        [0, 0.45, 0.85, 1.15, 1.4, 1.62, 1.85, np.pi], [0.52, 0.54, 0.42, 0.16, 0.10, 0.0, -1.7, -1.7]
    ),
}
"""Where hair begins: elevation over azimuth, both seen from the skull's centre, in radians."""


def hair_edge(hair: Hair, azimuth: np.ndarray) -> np.ndarray:
    """Elevation (N,) of the hairline at azimuths, radians."""
    side = np.abs(azimuth)
    kind = "short" if hair.length == 0 else "tucked" if hair.behind_ears else "open"
    change = hair.hairline - hair.fringe + hair.parting * np.sin(2.5 * azimuth)
    return _EDGES[kind](side) + ramp(side, 1.2, 0.5) * change


def hair_roots(hair: Hair, rest: np.ndarray) -> np.ndarray:
    """How much of the hair's colour the face itself (V, 3) shows under the hair's edge, (V,) 0 to 1."""
    direction = (rest - SKULL_CENTRE) / SKULL_RADII
    azimuth = np.arctan2(direction[:, 0], direction[:, 2])
    elevation = np.arctan2(direction[:, 1], np.hypot(direction[:, 0], direction[:, 2]))
    grown = replace(hair, fringe=0.0, length=0.0)
    return ramp(elevation - hair_edge(grown, azimuth), -0.03, 0.07)


def hair_part(hair: Hair) -> Part:
    """Hair as one closed shell that dives into the head where there is none."""
    rows, columns = 56, 108
    azimuth, polar = _dome(rows, columns, np.pi * 0.97)
    elevation = np.pi / 2 - polar
    generator = np.random.default_rng(hair.seed)
    long = hair.length > 0
    line = hair_edge(hair, azimuth)
    waves = sum(
        np.sin(azimuth * generator.integers(1, 9) + elevation * generator.uniform(-6, 6) + generator.uniform(0, 7))
        for _ in range(6)
    )
    curls = generator.standard_normal(len(azimuth)) * ramp(polar, 0.05, 0.3)
    fine = generator.standard_normal(len(azimuth))
    ragged = 0.02 * waves + (0.03 * hair.curl + 0.025) * fine
    cover = ramp(elevation - line + ragged, -0.07, 0.06)
    full = 0.35 * hair.thickness * ramp(elevation, 0.2, 1.2) + 3.0 * ramp(hair.thickness, 0, 3)
    thickness = hair.thickness + full + min(hair.thickness, 8) * (0.07 * waves + 0.35 * hair.curl * curls)
    thickness = np.maximum(thickness, 2.5)
    sunk = 9 + 22 * ramp(np.abs(azimuth), 1.5, 0.9)
    raised = cover * (thickness + 1.0) - sunk * (1 - cover)

    direction = np.column_stack([np.sin(azimuth) * np.sin(polar), np.cos(polar), np.cos(azimuth) * np.sin(polar)])
    vertices = SKULL_CENTRE + direction * (SKULL_RADII + raised[:, None])
    if long:
        fall = np.clip(-elevation / 1.45, 0, 1)
        shell = np.column_stack([np.sin(azimuth), np.cos(azimuth)]) * (SKULL_RADII[[0, 2]] + raised[:, None])
        narrowing = 1 - (0.10 + 0.04 * hair.curl) * fall + 0.02 * waves * fall
        hanging = SKULL_CENTRE[[0, 2]] + shell * narrowing[:, None] + fall[:, None] * (0.0, 14.0)
        within = SKULL_CENTRE[[0, 2]] + shell * (0.35, 0.1)
        hanging = within + cover[:, None] * (hanging - within)
        height = SKULL_CENTRE[1] - (SKULL_CENTRE[1] + 20 + hair.length) * fall * (1 + 0.02 * waves)
        below = (elevation < 0)[:, None]
        vertices[:, [0, 2]] = np.where(below, hanging, vertices[:, [0, 2]])
        vertices[:, 1] = np.where(below[:, 0], height, vertices[:, 1])
    shade = 0.86 + 0.22 * ramp(elevation, -0.4, 1.0) + 0.05 * waves
    stretch = np.array([110.0, 26.0]) * (1 - hair.curl) + np.array([110.0, 110.0]) * hair.curl
    place = np.column_stack([azimuth, polar]) * stretch
    return Part(
        vertices=vertices,
        triangles=patch_triangles(rows, columns, closed=True),
        colours=np.clip(np.array(hair.colour) * shade[:, None], 0, 1),
        gloss=0.10 * (1 - hair.curl),
        detail=DETAILS.index("hair" if hair.thickness > 0.5 else "skin"),
        detail_place=place,
    )


def skull_part(tone) -> Part:
    """The bare back of the head, just inside the face."""
    azimuth, polar = _dome(26, 44, np.pi * 0.98)
    direction = np.column_stack([np.sin(azimuth) * np.sin(polar), np.cos(polar), np.cos(azimuth) * np.sin(polar)])
    inward = 1.5 + 10 * ramp(np.abs(azimuth), 1.55, 1.2) * ramp(polar, 0.75, 0.95)
    return Part(
        vertices=SKULL_CENTRE + direction * (SKULL_RADII - inward[:, None]),
        triangles=patch_triangles(26, 44, closed=True),
        colours=np.tile(np.asarray(tone, dtype=float), (len(azimuth), 1)),
        gloss=0.12,
        detail=DETAILS.index("skin"),
        detail_place=np.column_stack([azimuth, polar]) * 80,
    )


def ear_part(side: int, tone) -> Part:
    """An ear: a shell with a rolled rim, a hollow and a lobe. side : 1 at the image's right, -1 left."""
    rows, columns = 12, 30
    radius, angle = (
        values.ravel()
        for values in np.meshgrid(np.linspace(0.02, 1, rows), np.linspace(0, 2 * np.pi, columns, False), indexing="ij")
    )
    back, up = np.sin(angle), np.cos(angle)
    narrow = 1 - 0.30 * ramp(-up, -0.2, 1.0)
    back_mm, up_mm = 15.5 * radius * back * narrow + 1.5 * up * radius, 29.0 * radius * up
    rim = np.exp(-np.square((radius - 0.87) / 0.10)) * ramp(back + 0.8 * up, -0.9, 0.0) * ramp(up, -0.85, -0.3)
    fold = np.exp(-np.square((radius - 0.56) / 0.12)) * ramp(back, -0.3, 0.4) * ramp(up, -0.8, -0.2)
    hollow = np.exp(-np.square(np.hypot((back_mm + 4) / 7.5, (up_mm + 3) / 11)))
    tucked = ramp(radius, 0.94, 1.0) * ramp(back, 0.5, -0.3)
    out = 8.0 + 0.42 * (back_mm + 8) + 3.2 * rim + 2.2 * fold - 5.0 * hollow - 7.0 * tucked
    lean = np.radians(14)
    depth = -(back_mm * np.cos(lean) + up_mm * np.sin(lean) * 0.9)
    height = up_mm * np.cos(lean) - back_mm * np.sin(lean) * 0.4
    vertices = np.column_stack([side * (69.5 + out), height - 11.0, depth - 90.0])
    tone = np.asarray(tone, dtype=float)
    shade = 1 - 0.5 * hollow - 0.16 * np.exp(-np.square((radius - 0.72) / 0.07)) * ramp(back, -0.2, 0.4)
    colours = tone * (1.0, 0.92, 0.91) * shade[:, None]
    triangles = patch_triangles(rows, columns, closed=True)
    front = triangles[:, ::-1] if side > 0 else triangles
    behind = vertices - (side * 1.5, 0, 0)
    return Part(
        vertices=np.concatenate([vertices, behind]),
        triangles=np.concatenate([front, front[:, ::-1] + len(vertices)]),
        colours=np.concatenate([colours, colours * 0.9]),
        gloss=0.10,
        detail=DETAILS.index("skin"),
        detail_place=np.tile(np.column_stack([angle * 12, radius * 30]), (2, 1)),
    )


def _tube(rows_of, columns):
    """A vertical tube from rows (y, half width, half depth, centre z): vertices (N, 3) and azimuth."""
    table = np.asarray(rows_of, dtype=float)
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    y, wide, deep, centre = (table[:, [i]] for i in range(4))
    x = wide * np.sign(np.sin(azimuth)) * np.abs(np.sin(azimuth)) ** 0.9
    z = centre + deep * np.cos(azimuth)
    return np.stack([x, np.broadcast_to(y, x.shape), z], axis=-1).reshape(-1, 3), np.tile(azimuth, len(table))


def neck_part(tone) -> Part:
    """The back of the neck; its front belongs to the face."""
    sides = SECTIONS[SECTIONS[:, 0] <= 18.0]
    deep = np.interp(sides[:, 4], [-170, -110, -79, -36, 20], [56, 52, 54, 72, 84])
    azimuth, height = np.meshgrid(np.linspace(np.pi / 2 - 0.5, 3 * np.pi / 2 + 0.5, 28), sides[::-1, 4])
    wide, centre, deep = (values[::-1, None] for values in (0.985 * sides[:, 3], sides[:, 5] - 6, deep))
    wide = wide * (1 - 0.14 * ramp(np.abs(azimuth - np.pi), np.pi / 2, np.pi / 2 + 0.5))
    vertices = np.stack([wide * np.sin(azimuth), height, centre + deep * np.cos(azimuth)], axis=-1).reshape(-1, 3)
    return Part(
        vertices=vertices,
        triangles=patch_triangles(len(sides), 28, closed=False),
        colours=np.tile(np.asarray(tone, dtype=float), (len(vertices), 1)),
        gloss=0.08,
        detail=DETAILS.index("skin"),
        detail_place=np.column_stack([azimuth.ravel() * 60 - 190, vertices[:, 1] + 60]),
    )


_SHOULDERS = np.array(
    [
        (-520, 200, 104, -102),
        (-320, 206, 100, -102),
        (-265, 200, 94, -102),
        (-230, 182, 86, -101),
        (-208, 154, 80, -100),
        (-192, 122, 74, -99),
        (-180, 92, 68, -99),
        (-170, 68, 62, -100),
        (-162, 59, 62, -101),
        (-158, 55, 59, -102),
    ],
    dtype=float,
)
"""Height, half width, half depth and centre z of the shoulders' sections."""


def body_parts(cloth, collar: float, neckline: float, tone) -> list[Part]:
    """Shoulders and the clothes over them. collar : mm that they stand up the neck; neckline : mm that they are cut
    down in front, 0 for closed ones."""
    parts = [_garment(cloth, "cloth", collar, neckline)]
    if neckline > 0:
        parts.append(_garment(tone, "skin", 0.0, 0.0))
    return parts


def _garment(colour, detail, collar, neckline):
    profile = PchipInterpolator(_SHOULDERS[:, 0], _SHOULDERS[:, 1:])
    heights = np.concatenate([[-158 + collar], np.linspace(-162, -250, 14), [-280, -330, -520]])
    rows = np.column_stack([heights, profile(np.minimum(heights, -158))])
    columns = 56
    vertices, azimuth = _tube(rows, columns)
    y = vertices[:, 1]
    edge = -164 - neckline * (1.1 - np.square(azimuth / 1.1)) if neckline else np.full(len(y), 100.0)
    thickness = 3.0 * (detail == "cloth") * np.clip((edge - y) / 4, -6, 1)
    vertices *= 1 + (thickness / np.hypot(vertices[:, 0], vertices[:, 2] - rows[0, 3]))[:, None] * (1, 0, 0)
    vertices[:, 2] += thickness * np.cos(azimuth)
    front = ramp(np.abs(azimuth), 1.3, 0.0)
    vertices[:, 1] = y - 26 * front * ramp(y, -166, -190) * ramp(y, -410, -230)
    return Part(
        vertices=vertices,
        triangles=patch_triangles(len(rows), columns, closed=True),
        colours=np.tile(np.asarray(colour, dtype=float), (len(vertices), 1)),
        gloss=0.03,
        detail=DETAILS.index(detail),
        detail_place=np.column_stack([azimuth * 90, (y + 300) * 1.5]),
        on_body=True,
    )


def mouth_parts(depth: float, jaw: np.ndarray) -> list[Part]:
    """Teeth, tongue and the dark behind them. depth : z of the lips' inner rim. jaw : (3,) mm that the lower lip
    has moved."""
    plain = DETAILS.index("plain")
    drop = max(-jaw[1], 0.0)
    back = depth + min(jaw[2], 0.0)
    sheets = (
        (_sheet(25, (13, -24 - drop), depth - 15 - 0.3 * drop, 60.0, (0.16, 0.05, 0.05), 4), 0.0),
        (_sheet(20, (11, -2.6), depth - 1.5, 30.0, (0.93, 0.91, 0.86), 20), 0.25),
        (_sheet(17, (-4.2 - drop, -12.0 - drop), back - 4.5, 26.0, (0.78, 0.75, 0.69), 16), 0.2),
        (_sheet(14, (-7.5 - 0.8 * drop, -16.0 - drop), back - 9.0, 24.0, (0.62, 0.30, 0.30), 8), 0.2),
    )
    return [
        Part(vertices, triangles, colours, gloss, plain, np.zeros((len(vertices), 2)))
        for (vertices, triangles, colours), gloss in sheets
    ]


def _sheet(half_width, heights, depth, bend, colour, teeth):
    """A curved upright sheet behind the lips, with dark joints between teeth."""
    columns, rows = 41, 4
    x = np.linspace(-half_width, half_width, columns)
    y = np.linspace(heights[0], heights[1], rows)
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    z = depth - np.square(grid_x) / bend - np.square(grid_y - y.mean()) / 60
    vertices = np.stack([grid_x, grid_y + slit(0.0), z], axis=-1).reshape(-1, 3)
    joint = 0.9 + 0.1 * np.abs(np.sin(np.pi * teeth * grid_x / (4 * half_width))) ** 0.5
    shade = joint * (1 - 0.55 * np.square(grid_x / half_width))
    return vertices, patch_triangles(rows, columns, closed=False), shade.reshape(-1, 1) * np.array(colour)


def glasses_part(colour, half_width: float, half_height: float, roundness: float, wire: float) -> Part:
    """Spectacles without glass: two rims, a bridge and the arms. roundness : 2 an ellipse, more is squarer."""
    turn = np.linspace(0, 2 * np.pi, 37)
    cosine, sine = np.cos(turn), np.sin(turn)
    rim_x = 33 + half_width * np.sign(cosine) * np.abs(cosine) ** (2 / roundness)
    rim_y = -2 + half_height * np.sign(sine) * np.abs(sine) ** (2 / roundness)
    rim = np.column_stack([rim_x, rim_y, 9 - 0.008 * np.square(rim_x)])
    outer = rim[np.argmax(rim[:, 0])] + (0, 5, 0)
    arm = np.array([outer, (73.0, 4.0, -25.0), (74.5, 3.0, -60.0), (74.5, 2.0, -92.0)])
    inner = 33 - half_width
    bridge_x = np.linspace(-inner, inner, 9)
    bridge = np.column_stack([bridge_x, 4 + 1.5 * np.cos(bridge_x / inner), np.full(9, 10.5)])
    paths = [rim, rim * (-1, 1, 1), arm, arm * (-1, 1, 1), bridge]
    pieces, triangles, count = [], [], 0
    for path in paths:
        vertices, faces = _wire(path, wire)
        pieces.append(vertices)
        triangles.append(faces + count)
        count += len(vertices)
    vertices = np.concatenate(pieces)
    return Part(
        vertices=vertices,
        triangles=np.concatenate(triangles),
        colours=np.tile(np.asarray(colour, dtype=float), (len(vertices), 1)),
        gloss=0.5,
        detail=DETAILS.index("plain"),
        detail_place=np.zeros((len(vertices), 2)),
    )


def _wire(path, radius):
    """A tube of six sides around a polyline (n, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(tangent, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ring = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3)
    return vertices, patch_triangles(len(path), 6, closed=True)[:, ::-1]
