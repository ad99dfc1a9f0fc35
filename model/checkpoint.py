"""All that a training run needs to resume: weights, optimizer state and log in one file, written atomically."""

import io
import json
from typing import TypedDict

import keras
import numpy as np
from keras import ops

from prnet.common.errors import UserError
from prnet.common.files import atomic_write


class State(TypedDict):
    """Where a run has come: finished epochs, lowest validation NME so far, and the log, one dictionary an epoch."""

    epoch: int
    best: float | None
    rows: list[dict]


def save_checkpoint(path, network: keras.Model, state: State) -> None:
    """Write the weights of a compiled network and of its optimizer, and the state of the run beside them."""
    arrays = {key: ops.convert_to_numpy(variable) for key, variable in _variables(network).items()}
    with atomic_write(path) as temporary:
        np.savez(temporary, state=json.dumps(state), **arrays)


def restore_checkpoint(path, network: keras.Model, content: bytes | None = None) -> State:
    """Set the weights of a compiled network and its optimizer from a file; returns the state saved with them.

    content : of the file, where it is another process that can read it.
    """
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as file, np.load(file) as arrays:
            for key, variable in _variables(network).items():
                variable.assign(arrays[key])
            return json.loads(str(arrays["state"]))
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        reason = error or type(error).__name__
        raise UserError(f"{path}: damaged checkpoint ({reason}); start again with `overwrite`") from None


def _variables(network: keras.Model) -> dict:
    return {
        f"{part}_{number}": variable
        for part, variables in (("network", network.weights), ("optimizer", network.optimizer.variables))
        for number, variable in enumerate(variables)
    }
