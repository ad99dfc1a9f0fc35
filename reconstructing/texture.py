"""Colours of a face from its photo: at vertices, and unrolled into the UV square, with what the camera could not see
filled in."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from prnet.formats.encoding import encode_png
from prnet.geometry.crop import transform_points
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.rasterise import rasterise
from prnet.geometry.spreading import spread
from prnet.geometry.uv_layout import resample_map, texel_coordinates
from prnet.reconstructing.face import Face

HIDDEN_DEPTH = 0.02
"""A vertex this share of the crop's side or more behind the surface in front of it is hidden."""

LEAST_FACING = 0.1
"""A vertex is seen if its normal's part towards the camera is above this; flatter ones show background."""

OUTLINE_DOUBT, DOUBTED_FACING = 0.03, 0.5
"""Where a mesh reaches too far there is background: textures are not taken this share of the crop's side or less within
the outline, unless a normal's part towards the camera is above that."""

FULL_FACING, EDGE_FACING = 0.6, 0.5
"""Texels with this much of their normal towards the camera count fully against those of the mirrored side; those with
less than this share of it, at the silhouette, may show what is behind the face and are blended with what is around."""

OUTLINE_WIDTH, LEAST_AREA = 0.012, 0.001
"""Of the UV square's side and area: the blur that makes outlines of what is seen smooth, and the specks left out."""

RIM_SHARE = 0.25
"""An eye, or what is within the mouth, is seen where more than half of this share of its rim is."""

OUTLINE_SIDE = 256
"""Texels a side at which outlines are found; larger textures have them smoothly enlarged."""

SEAM_WIDTH = 0.04
"""Width of the blend between the face and what is filled in, over the UV square's side."""

SHIFT_SIDE, SHIFT_WIDTH, SHIFT_PRIOR = 128, 0.06, 0.05
"""Texels a side, and blur over that side, of the colour difference between the two sides of a face; the weight of its
mean."""

FILLING_SIDE, LEAST_KNOWN = 256, 0.02
"""Texels a side of the filling, which is smooth; and the weight from which on colours are continued."""

TEXTURE_SIDES, LARGE_FACE = (1024, 2048), 800
"""Sides of a UV texture in pixels: of faces up to this many pixels in their photo, and of larger ones."""

ROW = 1024


@dataclass(frozen=True, eq=False)
class Texture:
    """A texture of a face, and its file, which is encoded once for all that hold it."""

    pixels: np.ndarray  # (side, side, 3) uint8 RGB

    @cached_property
    def png(self) -> bytes:
        return encode_png(self.pixels)


def sample_photo(image: np.ndarray, position_map: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 3) uint8 of a photo at a map's x and y, bilinear; beyond its edge the nearest pixel.

    Where neighbours in the map are two or more of the photo's pixels apart, the photo is averaged down first, so that
    nothing aliases.
    """
    # cv2.remap takes sources up to 32,766 pixels a side: only the part that the map covers is handed over.
    height, width = image.shape[:2]
    x, y = position_map[..., 0], position_map[..., 1]
    low = np.clip(np.floor((x.min(), y.min())) - 1, 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil((x.max(), y.max())) + 2, low + 1, (width, height)).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    step = int((high - low).max() / max(position_map.shape[:2]))
    if step >= 2:
        columns, rows = np.maximum((high - low) // step, 1).tolist()
        part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    scale = np.array(part.shape[1::-1]) / (high - low)
    place = position_map[..., :2] * scale.astype(np.float32)
    place += ((0.5 - low) * scale - 0.5).astype(np.float32)
    # OpenCV's stubs do not know that the second map may be left out.
    return cv2.remap(part, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def vertex_colours(face: Face, image: np.ndarray) -> np.ndarray:
    """Colours of a face's vertices, (N, 3) uint8. image : the photo, (H, W, 3) uint8 RGB."""
    return sample_photo(image, face.surface_map)[face.grid.mask]


def uv_texture(face: Face, image: np.ndarray, size: int = 256) -> np.ndarray:
    """The photo unrolled onto a UV square of side `size`, (size, size, 3) uint8."""
    return sample_photo(image, closed_map(face, size))


def closed_map(face: Face, size: int) -> np.ndarray:
    """The position map on a grid of side `size`, in which eyes and mouth are closed: (size, size, 3) float32."""
    closed = face.surface_map.copy()
    closed[face.grid.closed.mask] = face.grid.closed.close(face.vertices)
    return resample_map(closed, size)


def visible_vertices(face: Face) -> np.ndarray:
    """Which vertices the camera sees, (N,) bool: turned towards it, and not behind another part of the face."""
    return visibility_mask(face, face.grid.size)[face.grid.mask]


def visible_landmarks(face: Face) -> np.ndarray:
    """Which landmarks the camera sees, (68,) bool."""
    return visible_vertices(face)[face.grid.landmark_vertices]


def visibility_mask(face: Face, size: int = 256) -> np.ndarray:
    """Which texels of the UV square the camera sees, (size, size) bool; False off the face."""
    return seen_texels(face, size) & _enlarged(face.grid.mask, size)


def seen_texels(face: Face, size: int, within: float = 0.0) -> np.ndarray:
    """Which texels of the face, its eyes and mouth closed, the camera sees, (size, size) bool: areas of smooth outline
    without specks. within : share of the crop's side that has to lie between what slopes away and the outline."""
    closed = face.grid.closed
    visible = np.zeros(closed.mask.shape, dtype=np.float32)
    visible[closed.mask] = _raw_visibility(face, within)
    sigma = OUTLINE_WIDTH * len(visible)
    smooth = cv2.GaussianBlur(visible, (0, 0), sigma)
    smooth = smooth / np.maximum(cv2.GaussianBlur(closed.mask.astype(np.float32), (0, 0), sigma), 1e-6)
    seen = cv2.resize(smooth, (OUTLINE_SIDE, OUTLINE_SIDE), interpolation=cv2.INTER_CUBIC) > 0.5
    least = int(LEAST_AREA * OUTLINE_SIDE**2)
    on_face = _enlarged(closed.mask, OUTLINE_SIDE)
    seen = _without_specks(seen & on_face, least)
    seen = ~_without_specks(~seen & on_face, least) & on_face
    return seen if size == OUTLINE_SIDE else _enlarged(seen, size)


def _without_specks(mask: np.ndarray, most: int) -> np.ndarray:
    """A mask without its areas of up to so many texels."""
    _, areas, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return mask & (figures[:, cv2.CC_STAT_AREA] > most)[areas]


def _raw_visibility(face: Face, within: float) -> np.ndarray:
    """Which vertices of the closed face are seen, 0 or 1, by a z-buffer of the crop: (M,).

    Those of eyes and mouth need not face the camera, and count as seen where enough of their rim is: the membrane is
    not the surface that is there.
    """
    closed, size = face.grid.closed, face.grid.size
    place = transform_points(face.to_crop, closed.close(face.vertices))
    normals = -vertex_normals(place, closed.triangles)
    depth = rasterise(place, closed.triangles, size, size).depth
    nearest = np.rint(place[:, :2]).astype(int)
    inside = ((nearest >= 0) & (nearest < size)).all(axis=1)
    column, row = np.clip(nearest, 0, size - 1).T
    in_front = place[:, 2] >= depth[row, column] - HIDDEN_DEPTH * size
    in_front |= ~inside
    if within:
        to_outline = cv2.distanceTransform(np.isfinite(depth).astype(np.uint8), cv2.DIST_L2, 5)[row, column]
        in_front &= ~inside | (to_outline > within * size) | (normals[:, 2] > DOUBTED_FACING)
    seen = (in_front & (closed.of_hole | (normals[:, 2] > LEAST_FACING))).astype(np.float32)
    around = closed.close(seen[~closed.of_hole])
    return np.where(closed.of_hole, np.maximum(seen, np.minimum(around / RIM_SHARE, 1)), seen)


def _facing(face: Face, size: int) -> np.ndarray:
    """How far texels of the closed face face the camera: 0 edge-on to 1 at `FULL_FACING`, and in eyes and mouth:
    (size, size) float32."""
    closed = face.grid.closed
    normals = -vertex_normals(closed.close(face.vertices), closed.triangles)
    facing = np.zeros((*closed.mask.shape, 1), dtype=np.float32)
    facing[closed.mask, 0] = np.where(closed.of_hole, 1, np.clip(normals[:, 2] / FULL_FACING, 0, 1))
    return cv2.resize(spread(facing, closed.mask), (size, size), interpolation=cv2.INTER_LINEAR)


def _enlarged(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask of texels at another side, its outline smooth."""
    smooth = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), OUTLINE_WIDTH * len(mask))
    return cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR) >= 0.5


def texture_side(face: Face) -> int:
    """Side of the UV texture, in pixels, that holds what the photo shows of a face."""
    return TEXTURE_SIDES[int(max(face.bounding_box[2:]) > LARGE_FACE)]


def complete_texture(face: Face, image: np.ndarray, size: int) -> np.ndarray:
    """The photo unrolled onto a UV square of side `size`, (size, size, 3) uint8, without what the camera did not see.

    Texels that are hidden, or seen edge-on, are those of the mirrored side where that is seen better: its colours are
    brought to those of the face in the large, and blended in over a seam. What is hidden on both sides, and what lies
    off the face, continues the colours around it.
    """
    photo = uv_texture(face, image, size).astype(np.float32)
    seen = seen_texels(face, size, OUTLINE_DOUBT) & _within(closed_map(face, size), *image.shape[:2])
    facing = _facing(face, size)
    own = _feathered(seen, _enlarged(face.grid.closed.mask, size)) * facing
    mirrored, of_mirrored = photo[:, ::-1], own[:, ::-1]
    mirrored = mirrored + _colour_shift(photo - mirrored, np.minimum(own, of_mirrored))
    borrowed = np.maximum(of_mirrored - own, 0)
    total = own + borrowed
    mixed = photo * own[..., None] + mirrored * borrowed[..., None]
    mixed /= np.maximum(total, 1e-6)[..., None]
    known = np.maximum(total, seen * np.minimum(facing / EDGE_FACING, 1))
    return np.clip(np.rint(_filled(mixed, known)), 0, 255).astype(np.uint8)


def _filled(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours (S, S, 3) continued from where they are known (S, S), 0 to 1, to where they are not."""
    side = min(len(known), FILLING_SIDE)
    weights = cv2.resize(known, (side, side), interpolation=cv2.INTER_AREA)
    weighted = colours * known[..., None]
    coarse = cv2.resize(weighted, (side, side), interpolation=cv2.INTER_AREA)
    filling = spread(coarse / np.maximum(weights, 1e-6)[..., None], np.where(weights > LEAST_KNOWN, weights, 0))
    filling = cv2.resize(filling, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    filling *= (1 - known)[..., None]
    filling += weighted
    return filling


def _within(position_map: np.ndarray, height: int, width: int) -> np.ndarray:
    x, y = position_map[..., 0], position_map[..., 1]
    return (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)


def _feathered(seen: np.ndarray, on_face: np.ndarray) -> np.ndarray:
    """How much a texel counts: 1 far within what is seen, 0 where the face is hidden or ends; (S, S) float32."""
    hidden = on_face & ~seen
    if not hidden.any():
        return seen.astype(np.float32)
    distance = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ramp = np.minimum(distance / np.float32(SEAM_WIDTH * len(seen)), 1)
    return np.where(seen, ramp * ramp * (3 - 2 * ramp), 0)


def _colour_shift(difference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By how much a face's colours differ from the mirrored face's in the large, known where both sides are seen
    (weights (S, S)); far from there it is the half's mean."""
    side = min(len(difference), SHIFT_SIDE)
    weights = cv2.resize(weights, (side, side), interpolation=cv2.INTER_AREA)
    known = cv2.resize(difference, (side, side), interpolation=cv2.INTER_AREA) * weights[..., None]
    sigma = SHIFT_WIDTH * side
    share = cv2.GaussianBlur(weights, (0, 0), sigma)
    half = known[:, : side // 2].sum(axis=(0, 1)) / max(float(weights[:, : side // 2].sum()), 1e-6)
    prior = np.where(np.arange(side)[:, None] < side / 2, half, -half)
    shift = (cv2.GaussianBlur(known, (0, 0), sigma) + SHIFT_PRIOR * prior) / (share + SHIFT_PRIOR)[..., None]
    return cv2.resize(shift, difference.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def sample_texture(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Colours (N, 3) uint8 of a texture at UV coordinates (N, 2), 0 and 1 being the centres of its outer texels."""
    place = texel_coordinates(uv, len(texture)).astype(np.float32)
    rows = -(-len(place) // ROW)  # cv2.remap takes results up to 32,766 pixels a side
    place = np.pad(place, ((0, rows * ROW - len(place)), (0, 0))).reshape(rows, ROW, 2)
    colours = cv2.remap(texture, place, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    return colours.reshape(-1, 3)[: len(uv)]
