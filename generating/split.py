"""Which samples belong together, and which of them are held out of training."""

import hashlib
import re

import numpy as np


def group_name(name: str) -> str:
    """The photo and face (300W-LP) or the person (video frames) that a sample shows.

    The name without the view suffix `-vNN` of made views and without its last `_<digits>`: `AFW_134212_1_0` and
    `AFW_134212_1_0-v03` give `AFW_134212_1`.
    """
    return re.sub(r"_\d+$", "", re.sub(r"-v\d+$", "", name))


def is_mirrored(folder: str) -> bool:
    """Whether a folder holds mirror images, as 300W-LP's `AFW_Flip`."""
    return folder.lower().endswith("_flip")


def split_by_group(names: list[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers (N,) int32, and which samples validate (N,) bool: all of the chosen share of the groups.

    Groups are ranked by a hash of their name, so the choice depends neither on order nor on chance. With a share above
    0 and two groups or more, at least one validates and at least one does not.
    """
    groups, numbers = np.unique([group_name(name) for name in names], return_inverse=True)
    chosen = np.zeros(len(groups), dtype=bool)
    if share > 0 and len(groups) > 1:
        rank = np.argsort([hashlib.sha256(group.encode()).digest() for group in groups])
        chosen[rank[: int(np.clip(round(share * len(groups)), 1, len(groups) - 1))]] = True
    return numbers.astype(np.int32), chosen[numbers]
