"""Features of one face on another in its photo: textures, drawn layers, expressions and shapes, blended in.

What comes out is synthetic, and everything that writes it must say so (`prnet.reconstructing.synthetic`).
"""

from dataclasses import replace

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.geometry.rasterise import interpolate, rasterise
from prnet.geometry.transforms import FLIP_Y
from prnet.geometry.uv_layout import UVLayout, landmark_places, texel_coordinates
from prnet.reconstructing.face import Face, FaceGrid, place_face
from prnet.reconstructing.morphs import pixels_of_unit, with_expressions
from prnet.reconstructing.texture import complete_texture, sample_texture, texture_side

LANDMARKS = {
    "face": (*range(2, 15), *range(17, 27)),
    "eyes": (*range(17, 27), *range(36, 48)),
    "mouth": tuple(range(48, 60)),
}
"""Those around each of `settings.PARTS`, and"""

MARGINS = {"face": -0.09, "eyes": 0.12, "mouth": 0.3}
"""by how much a part exceeds the hull of its landmarks, in shares of the hull's height. The face's rim, where ears,
hair and collars may show, stays out."""

INNER_LIPS = (62, 66)
"""Landmarks in the middle of the upper and of the lower lip."""

BORDER = 3
"""Pixels around a rendered face that the blending needs."""


def part_mask(layout: UVLayout, part: str, side: int, margin: float | None = None) -> np.ndarray:
    """Texels of one of `settings.PARTS`, (side, side) uint8 of 0 and 255; eyes come with the brows."""
    points = texel_coordinates(landmark_places(layout)[list(LANDMARKS[part])], side)
    mask = np.zeros((side, side), dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
    reach = (MARGINS[part] if margin is None else margin) * np.ptp(points[:, 1])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(abs(reach)) + 1,) * 2)
    return cv2.dilate(mask, disc) if reach > 0 else cv2.erode(mask, disc)


def blend_texture(face: Face, image: np.ndarray, texture: np.ndarray, part: str = "face") -> np.ndarray:
    """A face's photo, (H, W, 3) uint8 RGB, with another texture (side, side, 3) on a part of the face. A new picture.

    The seam is hidden by solving for the picture with the texture's gradients and the photo's colours around it (Perez,
    Gangnet and Blake, Poisson Image Editing, SIGGRAPH 2003). part : of `settings.PARTS`.
    """
    low, window = _window(face, image)
    layer, mask = _rendered(face, low, window.shape[:2], texture, part_mask(face.grid.layout, part, len(texture)))
    if not mask.any():
        return image.copy()
    left, top, width, height = cv2.boundingRect(mask)
    centre = (left + width // 2, top + height // 2)
    return _placed(image, low, cv2.seamlessClone(layer, window, mask, centre, cv2.NORMAL_CLONE))


def draw_layer(face: Face, image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """A face's photo with a drawn UV layer (side, side, 4) uint8 RGBA over the face: paint, tattoos, make-up.

    The layer takes the brightness of the skin beneath. Returns a new picture.
    """
    low, window = _window(face, image)
    colours, inside = _rendered(face, low, window.shape[:2], layer[..., :3], np.full(layer.shape[:2], 255, np.uint8))
    alpha, _ = _rendered(face, low, window.shape[:2], np.repeat(layer[..., 3:], 3, axis=2), layer[..., 3])
    alpha = alpha[..., :1].astype(np.float32) / 255 * (inside > 0)[..., None]
    lit = _lit_as(window, colours, inside > 0)
    return _placed(image, low, np.rint(window * (1 - alpha) + lit * alpha).astype(np.uint8))


def _lit_as(window: np.ndarray, colours: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Colours with the shading of the skin: its blurred brightness over its mean."""
    bright = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = max(window.shape) / 40
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    smooth = cv2.GaussianBlur(bright * inside, (0, 0), sigma) / np.maximum(share, 1e-3)
    shade = smooth / max(float(np.percentile(smooth[inside], 80)) if inside.any() else 1.0, 1.0)
    return np.clip(colours * shade[..., None], 0, 255)


def transfer_expressions(source: Face, source_image: np.ndarray, target: Face, image: np.ndarray) -> np.ndarray:
    """The photo of `target` with the expressions of `source`, each in its own photo. Returns a new picture.

    Its surface moves and takes its own texture along; a mouth that opens shows the inside of the source's. Raises
    `UserError` where the networks do not name their expressions.
    """
    if source.expressions is None:
        raise UserError("the network has no named expressions; use a morphnet that names its parameters")
    kept = {name: value for name, value in source.expressions.items() if not name.startswith("eyeLook")}
    texture = complete_texture(target, image, texture_side(target))
    if _lip_gap(source) > _lip_gap(target):
        inside = complete_texture(source, source_image, len(texture))
        hole = mouth_hole(target.grid, len(texture))[..., None]
        texture = np.rint(texture * (1 - hole) + inside * hole).astype(np.uint8)
    return blend_texture(with_expressions(target, kept), image, texture)


def _lip_gap(face: Face) -> float:
    """Between the lips' inner edges, in sides of the face."""
    upper, lower = face.landmarks[list(INNER_LIPS)]
    return float(np.linalg.norm(lower - upper)) / max(face.tracked_box.side, 1e-6)


def mouth_hole(grid: FaceGrid, side: int) -> np.ndarray:
    """How far a texel is the inside of the mouth, (side, side) float32 of 0 to 1; all 0 where the mesh has no mouth."""
    hole = (grid.closed.mask & ~grid.mask).astype(np.float32)
    hole *= part_mask(grid.layout, "mouth", len(hole), 0.0) > 0
    return cv2.resize(cv2.GaussianBlur(hole, (0, 0), 0.7), (side, side), interpolation=cv2.INTER_LINEAR)


def morph(source: Face, source_image: np.ndarray, target: Face, image: np.ndarray, amount: float) -> np.ndarray:
    """The photo of `target`, whose face goes over to that of `source`: shape, expressions and colours.

    amount : 0 for the target's own, 1 for the source's. Raises `UserError` where the network has no face model.
    """
    shapes, own, other = target.grid.shapes, target.parameters, source.parameters
    if shapes is None or own is None or other is None:
        raise UserError("the network has no face model; use a morphnet that names its parameters")
    identity = own.identity + amount * (other.identity - own.identity)
    expressions = own.expressions + amount * (other.expressions - own.expressions)
    change = shapes.face(identity, expressions) - shapes.face(own.identity, own.expressions)
    turned = change @ (pixels_of_unit(target) * own.rotation.T * FLIP_Y)
    parameters = replace(own, identity=identity, expressions=expressions)
    position_map = (target.position_map + turned).astype(np.float32)
    moved = place_face(position_map, target.box, target.to_crop, target.grid, parameters)
    side = texture_side(target)
    textures = [complete_texture(target, image, side), complete_texture(source, source_image, side)]
    return blend_texture(moved, image, cv2.addWeighted(textures[0], 1 - amount, textures[1], amount, 0))


def _window(face: Face, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a photo that holds a face, and its upper left pixel (x, y)."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(face.vertices[:, :2].min(axis=0)) - 4 * BORDER, 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(face.vertices[:, :2].max(axis=0)) + 4 * BORDER, low + 1, (width, height)).astype(int)
    return low, image[low[1] : high[1], low[0] : high[0]]


def _rendered(face: Face, low, shape, texture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A texture and a mask on the face as a window of its photo shows them; the mask stays clear of its border."""
    closed = face.grid.closed
    place = closed.contour(face.vertices) - np.array([*low, 0])
    raster = rasterise(place, closed.triangles, *shape)
    uv = interpolate(raster, closed.triangles, closed.uv).reshape(-1, 2)
    layer = sample_texture(texture, uv).reshape(*shape, 3)
    shown = sample_texture(np.repeat(mask[..., None], 3, axis=2), uv).reshape(*shape, 3)[..., 0]
    shown = np.where((shown > 127) & (raster.triangle >= 0), 255, 0).astype(np.uint8)
    for edge in (np.s_[:BORDER], np.s_[-BORDER:], np.s_[:, :BORDER], np.s_[:, -BORDER:]):
        shown[edge] = 0
    return layer, shown


def _placed(image: np.ndarray, low: np.ndarray, window: np.ndarray) -> np.ndarray:
    picture = image.copy()
    picture[low[1] : low[1] + window.shape[0], low[0] : low[0] + window.shape[1]] = window
    return picture
