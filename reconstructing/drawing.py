"""Pictures of faces: landmarks, mesh, depth and pose drawn over a photo, and one sheet that shows all of a face."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from prnet.geometry.crop import Box, compose, crop_image, crop_transform, lift_transform
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.rasterise import interpolate, rasterise, render
from prnet.geometry.transforms import FLIP_Y, apply_transform
from prnet.reconstructing.face import Face
from prnet.reconstructing.settings import ON_BLACK
from prnet.reconstructing.texture import (
    complete_texture,
    sample_texture,
    seen_texels,
    uv_texture,
    visible_vertices,
)

CONTOURS = tuple(
    (np.arange(first, last + 1), closed)
    for first, last, closed in (
        *((0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False)),
        *((36, 41, True), (42, 47, True), (48, 59, True), (60, 67, True)),
    )
)
"""Landmarks that are joined by lines: jaw, brows, nose, eyes, lips; and whether the line closes."""

BARS = 10
"""Expressions that the sheet shows, the largest."""

PANEL = 320
"""Side of each picture of the sheet, in pixels."""

SHEET_TEXTURE = 512
"""Side of the texture that the sheet turns to the front, where none is made for other ends."""

SHEET_MARGIN = 1.8
"""Side of the region that the sheet shows over the mean side of the landmarks' box."""

TURN = 30
"""Degrees by which the sheet turns the mesh, so that its surface shows."""

SUPERSAMPLING = 2
"""Rendered pixels a side for each pixel of a picture without jagged edges."""

DENSE_STEP = 5
"""Of the vertices seen, every this many is drawn as a point."""

MAX_RENDERED = 1024
"""A depth map is rendered at no more pixels a side and enlarged from there."""

SKIN = np.array([235.0, 225.0, 215.0])
CAVITY = np.array([70.0, 58.0, 55.0])
LINE, POINT = (255, 255, 255), (0, 200, 255)
RED, GREEN, BLUE = (230, 60, 60), (60, 200, 90), (70, 120, 250)
PAPER, INK = (250, 250, 250), (40, 40, 40)
TRACK, BAR = (226, 226, 226), (0, 140, 200)
SHIFT = 4
"""Fractional bits of the coordinates that lines and circles are drawn with."""


def draw_landmarks(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """68 landmarks (68, 2 or more) in the picture's pixels, joined feature by feature. Returns a new picture."""
    picture = picture.copy()
    thickness = _thickness(landmarks)
    points = _fixed(landmarks[:, :2])
    for members, closed in CONTOURS:
        cv2.polylines(picture, [points[members]], closed, LINE, thickness, cv2.LINE_AA, SHIFT)
    for point in points:
        cv2.circle(picture, point.tolist(), (thickness + 1) << SHIFT, POINT, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return picture


def draw_mesh(picture: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """The surface (N, 3) in the picture's pixels, lit from above, over the picture. Returns a new picture."""
    shaded = render(vertices, triangles, _shading(-vertex_normals(vertices, triangles)), picture)
    return cv2.addWeighted(shaded, opacity, picture, 1 - opacity, 0)


def draw_depth(picture: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The depth of the surface as colour, near warm and far cold, over the picture. Returns a new picture."""
    raster = rasterise(vertices, triangles, *picture.shape[:2])
    seen = raster.triangle >= 0
    if not seen.any():
        return picture.copy()
    near, far = raster.depth[seen].max(), raster.depth[seen].min()
    level = np.zeros(seen.shape, dtype=np.uint8)
    level[seen] = np.rint(255 * (raster.depth[seen] - far) / max(near - far, 1e-6))
    colours = cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(seen[..., None], colours, picture)


def draw_pose(picture: np.ndarray, matrix: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """A box around the face, its front bold, and its axes, x red, y green, z blue. Returns a new picture.

    matrix : (3, 4) canonical face to the picture's pixels. canonical : (N, 3).
    """
    picture = picture.copy()
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    corners = np.array([[x, y, z] for z in (low[2], high[2]) for x, y in _rectangle(low, high)])
    points = _fixed(apply_transform(matrix, corners)[:, :2])
    thickness = max(round(np.ptp(points) / (1 << SHIFT) / 160), 1)
    cv2.polylines(picture, [points[:4]], True, LINE, thickness, cv2.LINE_AA, SHIFT)
    for corner in range(4):
        cv2.line(picture, points[corner].tolist(), points[corner + 4].tolist(), LINE, thickness, cv2.LINE_AA, SHIFT)
    cv2.polylines(picture, [points[4:]], True, LINE, 2 * thickness, cv2.LINE_AA, SHIFT)
    origin = np.array([0.0, 0.0, high[2]])
    for axis, colour in enumerate((RED, GREEN, BLUE)):
        tip = origin + 0.45 * (high - low)[:2].mean() * np.eye(3)[axis]
        ends = _fixed(apply_transform(matrix, np.stack([origin, tip]))[:, :2])
        start, end = ends.tolist()
        cv2.arrowedLine(picture, start, end, colour, thickness + 1, cv2.LINE_AA, SHIFT, 0.15)
    return picture


def draw_dense(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2 or more) in the picture's pixels, coloured by their height. Returns a new picture."""
    picture = picture.copy()
    low, high = points[:, 1].min(), points[:, 1].max()
    levels = np.rint(255 * (points[:, 1] - low) / max(high - low, 1e-6)).astype(np.uint8)
    colours = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    radius = max(round(float(high - low) / 400 * (1 << SHIFT)), 1 << (SHIFT - 1))
    for point, colour in zip(_fixed(points[:, :2]).tolist(), colours.tolist(), strict=True):
        cv2.circle(picture, point, radius, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return picture


def draw_points(picture: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """All vertices (N, 3) in the picture's pixels as points coloured by depth, near warm and far cold, the nearest on
    top. Returns a new picture."""
    picture = picture.copy()
    order = np.argsort(vertices[:, 2])
    depth = vertices[order, 2]
    levels = np.rint(255 * (depth - depth[0]) / max(float(depth[-1] - depth[0]), 1e-6)).astype(np.uint8)
    colours = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]
    column, row = np.rint(vertices[order, :2]).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
    picture[row[inside], column[inside]] = colours[inside]
    return picture


def draw_pncc(picture: np.ndarray, face: Face) -> np.ndarray:
    """The projected normalised coordinate code of a face over a picture of its photo's size. Returns a new picture.

    Each point has the place of the same point of the mean face as its colour: x red, y green, z blue, each from 0 to
    255 over that face (Zhu et al., Face Alignment Across Large Poses, CVPR 2016, section 3.2).
    """
    canonical = face.grid.closed.contour(face.grid.canonical)
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    colours = 255 * (canonical - low) / (high - low)
    return render(face.grid.closed.contour(face.vertices), face.grid.closed.triangles, colours, picture)


def draw_overlay(picture: np.ndarray, face: Face, overlay: str) -> np.ndarray:
    """A face over its own photo, as one of `settings.OVERLAYS`. Returns a new picture."""
    if overlay == "landmarks":
        return draw_landmarks(picture, face.landmarks)
    if overlay == "dense":
        return draw_dense(picture, face.vertices[visible_vertices(face)][::DENSE_STEP])
    if overlay == "pncc":
        return draw_pncc(picture, face)
    if overlay == "points":
        return draw_points(picture, face.vertices)
    draw = draw_mesh if overlay == "mesh" else draw_depth
    return draw(picture, face.grid.contour(face.vertices), face.triangles)


def draw_overlays(image: np.ndarray, faces: Sequence[Face], overlay: str) -> np.ndarray:
    """All faces over their photo, (H, W, 3) uint8 RGB, or on black. Returns a new picture."""
    picture = np.zeros_like(image) if overlay in ON_BLACK else image
    for face in reversed(faces):  # the first is the largest, and nearest
        picture = draw_overlay(picture, face, overlay)
    return picture


def depth_map(face: Face, height: int, width: int) -> np.ndarray:
    """Depth of a face at every pixel of its photo: (height, width) float32 pixels, larger nearer, NaN off the face."""
    result = np.full((height, width), np.nan, dtype=np.float32)
    low = np.clip(np.floor(face.vertices[:, :2].min(axis=0)), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(face.vertices[:, :2].max(axis=0)) + 1, low, (width, height)).astype(int)
    across, down = high - low
    if min(across, down) == 0:
        return result
    step = max(across, down) / min(max(across, down), MAX_RENDERED)
    columns, rows = round(across / step), round(down / step)
    place = face.vertices - np.array([*low, 0], np.float32)
    place[:, :2] = (place[:, :2] + 0.5) / (across / columns, down / rows) - 0.5
    raster = rasterise(place, face.triangles, rows, columns)
    window = np.where(raster.triangle >= 0, raster.depth, np.nan)
    if step > 1:
        window = cv2.resize(window, (int(across), int(down)), interpolation=cv2.INTER_LINEAR)
    result[low[1] : high[1], low[0] : high[0]] = window
    return result


def draw_clay(face: Face, size: int, yaw: float = 0.0) -> np.ndarray:
    """The untextured mesh, lit from above, facing the viewer and then turned by `yaw` degrees: (size, size, 3) uint8.

    A positive yaw turns the face to the picture's right. Eyes and mouth, where they are holes, are dark.
    """
    angle = np.deg2rad(yaw)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    closed = face.grid.closed
    place = _on_paper(face.to_frontal(closed.contour(face.vertices)) @ turn.T, face, SUPERSAMPLING * size)
    paper = np.full((SUPERSAMPLING * size, SUPERSAMPLING * size, 3), PAPER, dtype=np.uint8)
    shades = np.full((len(place), 3), CAVITY)
    shades[~closed.of_hole] = _shading(-vertex_normals(place[~closed.of_hole], face.triangles))
    picture = render(place, closed.triangles, shades, paper)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def draw_frontal(face: Face, texture: np.ndarray, size: int) -> np.ndarray:
    """The face with its texture (side, side, 3) as it would look from the front, (size, size, 3) uint8."""
    side, closed = SUPERSAMPLING * size, face.grid.closed
    place = _on_paper(face.to_frontal(closed.contour(face.vertices)), face, side)
    raster = rasterise(place, closed.triangles, side, side)
    uv = interpolate(raster, closed.triangles, closed.uv)
    picture = sample_texture(texture, uv.reshape(-1, 2)).reshape(side, side, 3)
    picture[raster.triangle < 0] = PAPER
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _on_paper(vertices: np.ndarray, face: Face, size: int) -> np.ndarray:
    """Frontal vertices (y up) in pixels of a square picture that holds the canonical face."""
    reach = 1.15 * np.abs(face.grid.canonical[:, :2]).max()
    return (vertices * FLIP_Y * (size / 2 / reach) + [size / 2, size / 2, 0]).astype(np.float32)


def draw_sheet(face: Face, image: np.ndarray, texture: Callable[[], np.ndarray] | None = None) -> np.ndarray:
    """One picture of all that is known of a face, (., ., 3) uint8.

    image : the photo, (H, W, 3) uint8 RGB. texture : returns that of `complete_texture`, where another made it.
    """
    found = face.tracked_box
    view = crop_transform(Box(found.centre, max(found.side, 1e-3)), PANEL, margin=SHEET_MARGIN)
    photo = crop_image(image, view, PANEL)
    lifted = lift_transform(view)
    vertices = apply_transform(lifted, face.grid.contour(face.vertices)).astype(np.float32)
    landmarks = apply_transform(lifted, face.landmarks)
    pose = face.pose
    texture = texture or (lambda: complete_texture(face, image, SHEET_TEXTURE))
    unrolled = uv_texture(face, image, PANEL)
    unrolled[~seen_texels(face, PANEL)] //= 3
    panels = [
        ("photo", photo),
        ("68 landmarks", draw_landmarks(photo, landmarks)),
        (f"mesh, {len(vertices):,} vertices", draw_mesh(photo, vertices, face.triangles)),
        ("the mesh from the front", draw_clay(face, PANEL)),
        ("depth, red is near", draw_depth(photo, vertices, face.triangles)),
        (
            f"pitch {round(pose.pitch)}°, yaw {round(pose.yaw)}°, roll {round(pose.roll)}°",
            draw_pose(photo, compose(lifted, pose.matrix), face.grid.canonical),
        ),
        ("position map: x red, y green, z blue", _map_picture(face)),
        ("photo on the map, hidden parts dark", unrolled),
        ("turned to the front", draw_frontal(face, texture(), PANEL)),
        (f"turned by {TURN}°", draw_clay(face, PANEL, TURN)),
    ]
    if face.expressions:
        panels.append(("expressions", draw_bars(face.expressions)))
    return _sheet(panels, columns=-(-len(panels) // 2))


def draw_bars(values: Mapping[str, float], size: int = PANEL) -> np.ndarray:
    """The largest of named values, as bars of at most the picture's width, which stands for 1, or for the largest if
    that is more: (size, size, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (size, size), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    largest = sorted(values.items(), key=lambda item: -abs(item[1]))[:BARS]
    most = max(1.0, *(abs(value) for _, value in largest))
    height = size / BARS
    for number, (name, value) in enumerate(largest):
        top, middle = number * height, (number + 0.3) * height
        pen.text((0, middle), name, INK, font, anchor="lm")
        pen.text((size - 1, middle), f"{value:.2f}", INK, font, anchor="rm")
        pen.rectangle((0, top + 0.6 * height, size - 1, top + 0.8 * height), TRACK)
        pen.rectangle((0, top + 0.6 * height, (size - 1) * abs(value) / most, top + 0.8 * height), BAR)
    return np.asarray(picture)


def _sheet(panels, columns: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    gap, caption = 12, 30
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * (PANEL + gap) + gap, rows * (PANEL + caption) + gap), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, (title, picture) in enumerate(panels):
        left = gap + number % columns * (PANEL + gap)
        top = number // columns * (PANEL + caption)
        pen.text((left, top + caption / 2 + 2), title, INK, font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (left, top + caption))
    return np.asarray(sheet)


def _map_picture(face: Face) -> np.ndarray:
    low, high = face.vertices.min(axis=0), face.vertices.max(axis=0)
    levels = np.clip(255 * (face.position_map - low) / np.maximum(high - low, 1e-6), 0, 255)
    levels[~face.grid.mask] = PAPER
    return cv2.resize(np.rint(levels).astype(np.uint8), (PANEL, PANEL), interpolation=cv2.INTER_LINEAR)


def _shading(normals: np.ndarray) -> np.ndarray:
    """Colours of a matt surface lit from the viewer and a little from above; y of the normals points down."""
    light = np.array([0.15, -0.35, 0.92])
    return SKIN * (0.15 + 0.85 * np.clip(normals @ light, 0, 1))[:, None]


def _rectangle(low: np.ndarray, high: np.ndarray):
    return ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))


def _thickness(landmarks: np.ndarray) -> int:
    return max(round(float(np.ptp(landmarks[:, 1])) / 150), 1)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(points * (1 << SHIFT)), -(2**28), 2**28).astype(np.int32)
