"""Faults to inject into a run, and what must hold after any of them: no file under its own name is incomplete."""

import ctypes
import json
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prnet.commands.terminal import run_script
from prnet.generating.dataset import open_dataset


def run(capsys, main, arguments) -> tuple[int, list[str]]:
    """Exit status of a script's `main`, and what it printed to standard error but for progress and warnings."""
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: main([str(argument) for argument in arguments]))
    lines = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in lines)
    return caught.value.code or 0, [line for line in lines if line.startswith("error: ")]


@contextmanager
def full_disk(most: int):
    """No file can grow beyond `most` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path):
    """Nothing can be made, replaced or removed in a folder; root needs `unprivileged` for it to hold."""
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def unprivileged(function):
    """What `function()` returns in a thread that the permissions of files bind, even where root runs the tests."""
    if sys.platform == "win32" or (os.geteuid() == 0 and sys.platform != "linux"):
        pytest.skip("a folder cannot be made read-only here")
    outcome = []

    def call():
        try:
            if os.geteuid() == 0:
                _drop_the_right_to_pass_over_permissions()
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def _drop_the_right_to_pass_over_permissions() -> None:
    """Of this thread alone: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)), bits 1 and 2."""
    library = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert library.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert library.capset(header, sets) == 0


def assert_all_whole(folder: Path) -> None:
    """Every file under its own name (hidden ones are temporary) can be read to its end."""
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith("."):
            _READERS[path.suffix](path)


def _read_network(path):
    from prnet.model.saved_network import load_network

    load_network(path)


def _read_arrays(path):
    with np.load(path) as arrays:
        assert [arrays[name].size for name in arrays.files]


def _read_picture(path):
    with Image.open(path, formats=["PNG"]) as picture:
        picture.load()
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def _read_text(path):
    assert path.read_text(encoding="utf-8").endswith("\n")


def _read_dataset(path):
    with open_dataset(path) as dataset:
        for index in range(len(dataset)):
            dataset.image(index)


_READERS = {
    ".keras": _read_network,
    ".npz": _read_arrays,
    ".png": _read_picture,
    ".csv": _read_text,
    ".md": _read_text,
    ".json": lambda path: json.loads(path.read_text()),
    ".hdf5": _read_dataset,
}
