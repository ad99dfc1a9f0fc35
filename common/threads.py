"""How many threads the libraries beneath NumPy and the detector start: they read it once, when they are loaded."""

import os

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Variables of a process whose libraries are to use one."""


def use_one_thread() -> None:
    """In this process, unless a person chose otherwise; to be called before NumPy is loaded."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
