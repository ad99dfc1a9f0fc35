"""Strings as attributes of an HDF5 file: of fixed length, and so inside the header, which HDF5 keeps a checksum of."""

import h5py
import numpy as np


def write_texts(item: h5py.Group | h5py.Dataset, **texts: str) -> None:
    """Write attributes. A text of variable length would lie on HDF5's heap, in which a damaged file can trap it."""
    item.attrs.update({name: np.bytes_(text.encode()) for name, text in texts.items()})


def as_text(attribute: object) -> str:
    """An attribute that was read, of fixed or of variable length."""
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)
