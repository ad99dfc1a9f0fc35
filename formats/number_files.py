"""Numbers from NumPy files that a user provides."""

from pathlib import Path

import numpy as np

from prnet.common.errors import UserError


def read_numbers(path: str | Path) -> np.ndarray:
    """The finite numbers of an `.npy` file, in an array of any shape. Raises UserError for anything else."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            numbers = np.load(file, allow_pickle=False)
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: is not a NumPy file (.npy): {error}") from None
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "fiu" or not np.isfinite(numbers).all():
        raise UserError(f"{path}: must hold one array of finite numbers (.npy)")
    return numbers
