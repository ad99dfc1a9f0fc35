"""Invented people: who they are, what they look like and what they wear, drawn from a random generator."""

import colorsys
from dataclasses import dataclass

import numpy as np

from prnet.generating.samples import scene as scene
from prnet.generating.samples.model import EXPRESSION_NAMES, IDENTITY_NAMES, SampleHead
from prnet.generating.samples.skin import Skin

_TONES = np.array(
    [
        (0.91, 0.76, 0.68),
        (0.86, 0.69, 0.59),
        (0.80, 0.62, 0.51),
        (0.72, 0.53, 0.41),
        (0.58, 0.41, 0.31),
        (0.42, 0.29, 0.22),
        (0.31, 0.21, 0.165),
    ]
)
"""Skin from pale to dark."""

_HAIR_COLOURS = np.array(
    [
        (0.055, 0.045, 0.04),
        (0.11, 0.075, 0.055),
        (0.20, 0.13, 0.085),
        (0.34, 0.22, 0.13),
        (0.62, 0.48, 0.30),
        (0.42, 0.19, 0.10),
        (0.55, 0.53, 0.51),
    ]
)
_GREY_HAIR = len(_HAIR_COLOURS) - 1
_IRISES = np.array([(0.20, 0.12, 0.07), (0.33, 0.22, 0.12), (0.36, 0.34, 0.20), (0.32, 0.44, 0.52), (0.40, 0.46, 0.42)])
_BEARDS = {
    # name: (probability, least and most density, extent on cheeks, chin and upper lip)
    "none": (0.40, (0.0, 0.0), (0.0, 0.0, 0.0)),
    "stubble": (0.25, (0.12, 0.35), (0.9, 1.0, 1.0)),
    "full": (0.15, (0.55, 0.90), (1.0, 1.0, 1.0)),
    "chin": (0.12, (0.60, 0.85), (0.15, 1.0, 1.0)),
    "moustache": (0.08, (0.60, 0.85), (0.0, 0.1, 1.0)),
}
_MASCULINE = {
    "face width": 0.3,
    "jaw width": 0.5,
    "jaw angle": 0.5,
    "chin width": 0.5,
    "chin forward": 0.2,
    "nose width": 0.3,
    "nose projection": 0.3,
    "nose tip": -0.4,
    "eye size": -0.6,
    "brow height": -0.5,
    "brow ridge": 0.8,
    "forehead slope": 0.4,
    "cheek fullness": -0.2,
    "upper lip": -0.6,
    "lower lip": -0.5,
}
"""Mean coefficients of men, in standard deviations; women have the opposite."""

_MAX_MAGNITUDE = 2.2
"""Standard deviations that no identity coefficient exceeds."""


@dataclass(frozen=True)
class Person:
    """One invented person: shape, paint and what they wear."""

    identity: np.ndarray  # (S,) coefficients
    skin: Skin
    noise: np.ndarray  # (V,) standard normal, fixed to the skin
    roots: np.ndarray  # (V,) 0 to 1, how much hair grows on the face's own rim
    parts: list[scene.Part]  # on head and body, at rest


def draw_person(head: SampleHead, generator: np.random.Generator) -> Person:
    """An invented person."""
    masculine = generator.random() < 0.5
    typical = np.array([_MASCULINE.get(name, 0.0) for name in IDENTITY_NAMES]) * (1 if masculine else -1)
    identity = np.clip(0.9 * generator.standard_normal(len(typical)) + typical, -_MAX_MAGNITUDE, _MAX_MAGNITUDE)
    paleness, tone = _draw_tone(generator)
    hair = _draw_hair(generator, masculine, paleness)
    return Person(
        identity=identity * head.model.shape_deviation,
        skin=_draw_skin(generator, masculine, paleness, tone, np.array(hair.colour)),
        noise=generator.standard_normal(len(head.rest)),
        roots=scene.hair_roots(hair, head.rest),
        parts=_draw_parts(generator, tone, hair),
    )


def draw_expression(head: SampleHead, generator: np.random.Generator) -> np.ndarray:
    """Coefficients (E,) of an expression: most are mild, some are of one strong kind."""
    deviation = head.model.expression_deviation
    coefficients = dict(zip(EXPRESSION_NAMES, 0.5 * generator.standard_normal(len(deviation)) * deviation, strict=True))
    kinds = {"neutral": 0.30, "smile": 0.24, "laugh": 0.10, "talk": 0.16, "blink": 0.07, "any": 0.13}
    kind = generator.choice(list(kinds), p=list(kinds.values()))
    if kind == "any":
        coefficients = {name: 2.5 * value for name, value in coefficients.items()}
    if kind in ("smile", "laugh"):
        coefficients["smile"] = generator.uniform(0.4, 1.1)
    if kind == "laugh":
        coefficients["lips parted"] = generator.uniform(0.4, 0.9)
        coefficients["jaw open"] = generator.uniform(0.0, 0.35)
    if kind == "talk":
        coefficients["jaw open"] = generator.uniform(0.1, 0.7)
        coefficients["lips parted"] = generator.uniform(0.0, 0.5)
    coefficients["eyes closed"] = generator.uniform(0.6, 1.0) if kind == "blink" else generator.uniform(-0.12, 0.18)
    for one_way in ("jaw open", "lips parted", "pucker", "cheeks puffed", "lips pressed"):
        coefficients[one_way] = max(coefficients[one_way], 0.0)
    if coefficients["smile"] > 0.4:
        coefficients["pucker"] = 0.0
    return np.clip(list(coefficients.values()), -1.1, 1.1)


def _draw_tone(generator):
    """Paleness, 0 to 1, and colour (3,) of the skin."""
    last = len(_TONES) - 1
    place = np.clip(generator.beta(1.1, 1.4) * last + generator.normal(0, 0.3), 0, last)
    tone = [np.interp(place, range(last + 1), channel) for channel in _TONES.T]
    return 1 - place / last, np.clip(tone * generator.normal(1, 0.02, 3), 0, 0.95)


def _draw_hair(generator, masculine, paleness):
    likely = np.array([3.0, 3.0, 2 * paleness + 0.4, 2 * paleness, 1.8 * paleness**2, 0.8 * paleness**2, 0.9])
    colour = _HAIR_COLOURS[generator.choice(len(likely), p=likely / likely.sum())]
    long = generator.random() < (0.08 if masculine else 0.72)
    return scene.Hair(
        colour=tuple(np.clip(colour * generator.uniform(0.8, 1.25), 0, 1)),
        thickness=generator.uniform(2, 13) if masculine else generator.uniform(7, 16),
        length=generator.uniform(60, 170) if long else 0.0,
        hairline=generator.uniform(-0.03, 0.22 if masculine else 0.08),
        fringe=generator.choice([0.0, generator.uniform(0.08, 0.34)], p=[0.65, 0.35]),
        parting=generator.normal(0, 0.05),
        curl=generator.choice([0.0, 0.25, 0.8], p=[0.55, 0.30, 0.15]),
        behind_ears=bool(generator.random() < 0.4),
        seed=int(generator.integers(1 << 31)),
    )


def _draw_skin(generator, masculine, paleness, tone, hair_colour):
    iris_shares = (0.20, 0.25, 0.15, 0.25, 0.15) if paleness > 0.45 else (0.6, 0.3, 0.1, 0.0, 0.0)
    iris = _IRISES[generator.choice(len(_IRISES), p=iris_shares)]
    lips = tone * generator.uniform((0.84, 0.56, 0.58), (0.94, 0.68, 0.70))
    if not masculine and generator.random() < 0.45:
        lips = generator.uniform((0.50, 0.12, 0.16), (0.74, 0.32, 0.38)) * (0.55 + 0.9 * tone.mean())
    beard = generator.choice(list(_BEARDS), p=[share for share, *_ in _BEARDS.values()]) if masculine else "none"
    _, density, extent = _BEARDS[beard]
    return Skin(
        tone=tuple(tone),
        flush=generator.uniform(0.1, 0.6),
        lips=tuple(np.clip(lips, 0.05, 0.9)),
        brows=tuple(np.clip(hair_colour * 0.75, 0.04, 0.36)),
        brow_strength=generator.uniform(0.55, 0.92),
        brow_thickness=generator.uniform(3.0, 4.6) if masculine else generator.uniform(2.2, 3.4),
        scalp=tuple(hair_colour * 0.8 + tone * 0.1),
        iris=tuple(np.clip(iris * generator.uniform(0.8, 1.2), 0, 1)),
        beard=generator.uniform(*density),
        beard_extent=extent,
        lashes=generator.uniform(0.3, 0.6) if masculine else generator.uniform(0.6, 0.95),
        shadow=0.0 if masculine else generator.uniform(0, 0.7),
        freckles=generator.choice([0.0, 0.35]) if paleness > 0.6 else 0.0,
    )


def _draw_parts(generator, tone, hair):
    """Hair, skull, neck, ears, clothes and sometimes glasses."""
    flushed = tone * (1.0, 0.96, 0.95)
    cloth = colorsys.hsv_to_rgb(*generator.uniform((0, 0.05, 0.08), (1, 0.75, 0.9)))
    collar = generator.choice([0.0, 8.0, 16.0])
    neckline = generator.choice([0.0, generator.uniform(15, 60)])
    parts = [scene.hair_part(hair), scene.skull_part(flushed * 0.9), scene.neck_part(tone)]
    if hair.length == 0 or hair.behind_ears:
        parts += [scene.ear_part(side, flushed) for side in (-1, 1)]
    parts += scene.body_parts(cloth, collar, neckline, tone)
    if generator.random() < 0.14:
        frame = generator.uniform((0.03, 0.03, 0.03), (0.6, 0.3, 0.2)) * generator.uniform(0.2, 1.0)
        half_width, half_height, roundness, wire = generator.uniform((22, 16, 2, 0.8), (26, 21, 4, 1.7))
        parts.append(scene.glasses_part(frame, half_width, half_height, roundness, wire))
    return parts
