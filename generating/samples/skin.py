"""What the sample faces are painted with: skin, lips, brows, beard, eyes, as colours of the face model's vertices.

Colours are sRGB, 0 to 1. Places are those of the face at rest in millimetres (`anatomy`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from prnet.generating.samples import anatomy as anatomy
from prnet.generating.samples.anatomy import bump, ramp


@dataclass(frozen=True)
class Skin:
    """How one person is painted."""

    tone: tuple[float, float, float] = (0.80, 0.62, 0.52)
    flush: float = 0.5  # redness of cheeks, nose and ears, 0 to 1
    lips: tuple[float, float, float] = (0.66, 0.38, 0.36)
    brows: tuple[float, float, float] = (0.26, 0.18, 0.13)
    brow_strength: float = 0.75
    brow_thickness: float = 3.4  # mm
    iris: tuple[float, float, float] = (0.33, 0.24, 0.16)
    gaze: tuple[float, float] = (0.0, 0.0)  # mm to the image's right and up
    beard: float = 0.0  # 0 none, 1 dense
    beard_extent: tuple[float, float, float] = (1.0, 1.0, 1.0)  # cheeks and jaw, chin, moustache
    lashes: float = 0.6
    scalp: tuple[float, float, float] = (0.26, 0.18, 0.13)  # under the hair
    shadow: float = 0.0  # of make-up on the upper lids
    freckles: float = 0.0


_beard_line = PchipInterpolator(
    [0, 13, 20, 26, 31, 38, 48, 57, 64, 72], [-87, -87, -83, -74, -66, -60, -48, -28, 0, 20]
)
"""Height of the beard's upper edge over |x|."""


def average_skin(rest: np.ndarray, inside_mouth: np.ndarray) -> np.ndarray:
    """Colours (V, 3) of the mean face."""
    return paint(rest, inside_mouth, Skin(), np.zeros(len(rest)))


def paint(rest: np.ndarray, inside_mouth: np.ndarray, skin: Skin, noise: np.ndarray, hair=0.0) -> np.ndarray:
    """Colours (V, 3) of one person.

    rest : (V, 3) mm. inside_mouth : (V,). noise : (V,) standard normal numbers, for hairs and freckles. hair :
    (V,) how much of the scalp's hair grows there.
    """
    place = np.column_stack([np.abs(rest[:, 0]), rest[:, 1]]).astype(np.float64)
    x, y = place.T
    tone = np.array(skin.tone)
    front = ramp(rest[:, 2], -70, -40)
    colour = np.tile(tone, (len(rest), 1))

    def mix(towards, share):
        nonlocal colour
        colour = colour + np.clip(share, 0, 1)[..., None] * (np.asarray(towards) - colour)

    red = tone * (1.02, 0.78, 0.76)
    mix(red, skin.flush * front * (0.8 * bump(place, (40, -36), (17, 14)) + 0.7 * bump(place, (0, -38), (14, 10))))
    mix(red, 0.4 * skin.flush * front * bump(place, (0, -104), (14, 9)))
    mix(tone * (0.80, 0.72, 0.72), 0.5 * front * bump(place, (29, -3), (17, 9)))
    mix(tone * (1.05, 1.05, 1.03), 0.5 * bump(place, (0, 48), (34, 20)))
    mix(tone * (0.55, 0.42, 0.36), skin.freckles * (noise > 1.3) * front * bump(place, (22, -25), (26, 16)))

    cheeks, chin, moustache = skin.beard_extent
    grown = ramp(y - _beard_line(x), 4, -6) * ramp(y, -138, -112) * ramp(rest[:, 2], -94, -84)
    on_chin = ramp(x, 34, 26)
    upper_lip = np.minimum(1.3 * (bump(place, (9, -58.6), (13, 3.4)) + 0.8 * bump(place, (27.5, -66), (4, 6.5))), 1)
    beard = np.maximum(grown * (chin * on_chin + cheeks * (1 - on_chin)), moustache * upper_lip)
    mix(np.array(skin.brows) * 0.8 + tone * 0.08, skin.beard * beard * (0.86 + 0.14 * noise))

    mix(skin.scalp, np.asarray(hair))

    line = anatomy.brow_line(np.clip(x, 9, 53))
    along = np.clip((x - 9) / 44, 0, 1)
    thickness = skin.brow_thickness * (1.05 - 0.65 * along**1.5)
    brow = np.exp(-(np.abs((y - line) / thickness) ** 2.6)) * ramp(x, 8, 13) * ramp(x, 54, 46)
    mix(skin.brows, skin.brow_strength * brow * (0.95 + 0.2 * noise))

    upper = y > anatomy.slit(x)
    border = np.where(upper, anatomy.upper_lip(x), anatomy.lower_lip(x))
    share = np.abs(y - anatomy.slit(x)) / np.maximum(np.abs(border - anatomy.slit(x)), 0.3)
    lips = ramp(share, 1.14, 0.9) * ramp(x, anatomy.MOUTH_CORNER + 0.7, anatomy.MOUTH_CORNER - 1.0)
    lip_colour = np.array(skin.lips)
    mix(lip_colour, lips * 0.92)
    mix(lip_colour * 0.86, lips * upper * 0.7)
    mix(lip_colour * 0.55, lips * ramp(share, 0.22, 0.0) * 0.9)
    mix(lip_colour * (0.55, 0.4, 0.4), ramp(inside_mouth, 0.05, 0.5))
    mix(tone * 0.55, 0.4 * bump(place, (25.8, -71.2), (1.6, 1.2)))

    mix(tone * (0.30, 0.22, 0.2), 0.95 * ramp(bump(place, anatomy.NOSTRIL + (0, 0.2), (2.9, 1.25)), 0.25, 0.75))
    mix(tone * (0.62, 0.5, 0.46), 0.5 * bump(place, anatomy.ALA + (5.0, 1.5), (1.3, 5.0)))

    distance = anatomy.lid_distance(place)
    opening = anatomy.eye_opening(place)
    eye = np.abs(opening) <= 1 + 1e-6
    above = y > anatomy.eye_heights(x)[0]
    mix(tone * (0.55, 0.42, 0.42), (0.3 + 0.5 * skin.shadow) * above * ramp(distance, 6.0, 1.0) * ~eye)
    mix(tone * (0.62, 0.48, 0.46), 0.55 * above * np.exp(-0.5 * np.square((distance - 4.6) / 0.7)) * ~eye)
    mix(tone * (1.0, 0.80, 0.78), ramp(distance, 1.6, 0.4) * ~above * ~eye)
    colour = np.where(eye[:, None], _eye(rest, place, opening, skin), colour)
    lash = np.where(above, np.exp(-0.5 * np.square(distance / 0.75)), 0.45 * np.exp(-0.5 * np.square(distance / 0.6)))
    mix((0.10, 0.07, 0.06), skin.lashes * lash * ramp(x, anatomy.EYE_INNER[0], anatomy.EYE_INNER[0] + 5))
    return np.clip(colour, 0.02, 0.98)


def _eye(rest, place, opening, skin):
    """Colours (V, 3) of the eyes' opening: white, iris, pupil, and the flesh of the inner corner."""
    side = np.sign(rest[:, 0])
    centre = anatomy.IRIS_CENTRE + np.column_stack([side * skin.gaze[0], np.full(len(rest), skin.gaze[1])])
    radius = np.linalg.norm(place - centre, axis=1)
    colour = np.tile(np.array([0.88, 0.85, 0.82]), (len(rest), 1))
    iris = np.array(skin.iris)
    lid_shadow = 1 - 0.45 * ramp(opening, 0.25, 1.0) - 0.12 * ramp(opening, -0.5, -1.0)
    corner = ramp(np.abs(place[:, 0] - anatomy.IRIS_CENTRE[0]), 9, 15)
    colour *= (1 - 0.25 * corner)[:, None] * (1 - corner[:, None] * (0, 0.06, 0.07))
    ring = ramp(radius, anatomy.IRIS_RADIUS - 1.8, anatomy.IRIS_RADIUS)
    inner = iris * (1.25 - 0.25 * ring[:, None]) * (1 - 0.55 * ring[:, None])
    share = ramp(radius, anatomy.IRIS_RADIUS + 0.45, anatomy.IRIS_RADIUS - 0.45)[:, None]
    colour += share * (inner - colour)
    pupil = ramp(radius, anatomy.PUPIL_RADIUS + 0.5, anatomy.PUPIL_RADIUS - 0.4)[:, None]
    colour += pupil * (np.array([0.03, 0.025, 0.025]) - colour)
    flesh = bump(place, anatomy.EYE_INNER + (1.2, 0.1), (1.5, 1.3))[:, None]
    colour += flesh * (np.array([0.72, 0.45, 0.42]) - colour)
    return colour * lid_shadow[:, None]
