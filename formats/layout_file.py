"""A UV layout as the bytes of an `.npz` file, the form in which saved and exported networks carry it."""

import io
from dataclasses import fields

import numpy as np

from prnet.common.files import require_modest
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.geometry.uv_layout import UVLayout

MAX_BYTES = 1 << 29
"""A layout that unpacks to more is refused unread."""


def layout_bytes(layout: UVLayout) -> bytes:
    """What `parse_layout` reads."""
    with io.BytesIO() as file:
        np.savez_compressed(file, **{field.name: getattr(layout, field.name) for field in fields(layout)})
        return file.getvalue()


def parse_layout(content: bytes, most: int = MAX_BYTES) -> UVLayout:
    """A layout from its bytes, which may unpack to `most`. Raises exceptions of many kinds for anything else."""
    with np.load(io.BytesIO(content)) as arrays:
        require_modest(arrays.zip, most)
        layout = UVLayout(**{field.name: arrays[field.name] for field in fields(UVLayout)})
    shapes = (layout.landmark_uv.shape, layout.region_weights.shape, layout.canonical_map.shape)
    if shapes != ((LANDMARK_COUNT, 2), (MAP_SIZE, MAP_SIZE), (MAP_SIZE, MAP_SIZE, 3)):
        raise ValueError(f"a layout of shapes {shapes}")
    return layout
