"""Start Keras and its backend without the messages about their own build; errors are still shown."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prnet.common.errors import UserError

REMARK = re.compile(
    r"[IW]\d{4} \d"  # TensorFlow's log at the levels of information and warning
    r"|E\d{4} \d.*(cuInit|Unable to register|already been registered)"  # no driver, or a plug-in met twice
    r"|WARNING: All log messages before absl::InitializeLog"
    r"|To enable the following instructions: "
    r"|INFO: Created TensorFlow Lite"
)
"""How a line begins that TensorFlow, absl, oneDNN or CUDA write while they are imported and look for a GPU."""


@contextmanager
def without_remarks() -> Iterator[None]:
    """Hold standard error back at its descriptor, then let through every line that is no `REMARK`.

    An error lets all of it through. The log is written by C++ that obeys no variable until it is configured.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is no standard error
        yield
        return
    whole = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            whole = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if whole or not REMARK.match(line.decode(errors="replace")):
                    os.write(2, line)


def start_keras() -> None:
    """Import Keras with its backend and let it look for GPUs, `without_remarks`."""
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_remarks():
        try:
            import keras
        except (ImportError, ValueError) as error:
            backend = os.environ.get("KERAS_BACKEND", "")
            raise UserError(f"KERAS_BACKEND={backend}: Keras does not start with it: {error}") from None

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            tensorflow.config.list_physical_devices()
