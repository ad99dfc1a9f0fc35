"""Expressions by ARKit's names (Apple, ARFaceAnchor.BlendShapeLocation), 0 at rest to 1 fully shown."""

from collections.abc import Mapping

_BOTH_SIDES = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp"),
    *("eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile"),
    *("mouthStretch", "mouthUpperUp", "noseSneer"),
)
_WHOLE = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel"),
    *("mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    *("mouthShrugUpper", "tongueOut"),
)
ARKIT_NAMES = tuple(sorted([*_WHOLE, *(f"{name}{side}" for name in _BOTH_SIDES for side in ("Left", "Right"))]))
"""The 52, left and right being the person's own."""

HALVED = ("browInnerUp", "cheekPuff")
"""Which a face model may have as Left and Right."""

UNSEEN = "tongueOut"
"""The mesh has no tongue."""

BOUNDED = frozenset(ARKIT_NAMES) | {f"{name}{side}" for name in HALVED for side in ("Left", "Right")}
"""Expressions whose values lie in 0 to 1."""


def arkit_expressions(expressions: Mapping[str, float] | None) -> dict[str, float] | None:
    """Exactly ARKit's 52 expressions from those of a face (`Face.expressions`), in the order of their names.

    `browInnerUp` and `cheekPuff` are the means of their left and right halves, and `tongueOut` is 0, since the mesh has
    no tongue. Returns None where the face has no expressions, or has them by other names.

    >>> face = prnet.reconstruct("photo.jpg")[0]
    >>> scores = prnet.arkit_expressions(face.expressions)
    >>> scores is None or len(scores) == 52
    True
    """
    known = {UNSEEN: 0.0, **(expressions or {})}
    for name in HALVED:
        if {f"{name}Left", f"{name}Right"} <= known.keys():
            known[name] = (known[f"{name}Left"] + known[f"{name}Right"]) / 2
    return {name: known[name] for name in ARKIT_NAMES} if known.keys() >= set(ARKIT_NAMES) else None
