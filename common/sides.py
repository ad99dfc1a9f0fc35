"""Names of what a face has twice."""

from collections.abc import Sequence

SIDES = {"Left": "Right", "Right": "Left"}


def other_side(name: str, names: Sequence[str]) -> str:
    """`mouthLeft` of `mouthRight` and so on; the name itself where there is no such pair."""
    for side, other in SIDES.items():
        if name.endswith(side) and name.removesuffix(side) + other in names:
            return name.removesuffix(side) + other
    return name
