"""Checkpoints of TensorFlow 1, as PRNet's authors published theirs."""

from pathlib import Path

import numpy as np


def write_checkpoint(path: Path, values: dict[str, np.ndarray]) -> None:
    """Write variables by name; path : without the endings of the two files."""
    import tensorflow as tf

    names = list(values)
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=[values[n] for n in names]
    )
