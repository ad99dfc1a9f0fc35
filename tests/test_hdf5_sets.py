"""Data sets and face models that lead out of their file, to a pipe or to what is not theirs, are refused unread."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.formats.face_model_file import load_face_model, save_face_model
from prnet.generating.dataset import open_dataset
from tests.helpers.small_faces import make_small_model
from tests.helpers.stored_samples import make_samples, write_samples

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")

READ = """
import sys
from prnet.common.errors import UserError
from prnet.generating.dataset import open_dataset
from prnet.formats.face_model_file import load_face_model
kind, path = sys.argv[1:]
try:
    (load_face_model if kind == "face model" else open_dataset)(path)
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    save_face_model(make_small_model(), folder / "face_model.hdf5")
    stored = write_samples(folder / "train.hdf5", 5, make_samples(5))
    return {"face model": folder / "face_model.hdf5", "data set": stored}


def make_external(file, name, values, elsewhere):
    del file[name]
    file.create_dataset(name, values.shape, values.dtype, external=[(elsewhere, 0, values.nbytes)])


def make_virtual(file, name, values, elsewhere):
    del file[name]
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(elsewhere, name, values.shape)
    file.create_virtual_dataset(name, layout)


def make_endless(file, name, values, elsewhere):
    """A virtual set whose length is that of its source: HDF5 opens that to tell it."""
    del file[name]
    layout = h5py.VirtualLayout(values.shape, values.dtype, maxshape=(None, *values.shape[1:]))
    source = h5py.VirtualSource(elsewhere, name, values.shape, maxshape=(None, *values.shape[1:]))
    all_rows = h5py.h5s.UNLIMITED
    layout[0:all_rows:1] = source[0:all_rows:1]
    file.create_virtual_dataset(name, layout)


def make_link(file, name, values, elsewhere):
    del file[name]
    file[name] = h5py.ExternalLink(elsewhere, f"/{name}")


def make_soft_link(file, name, values, elsewhere):
    file.move(name, "moved")
    file[name] = h5py.SoftLink("/moved")


WAYS_OUT = [make_external, make_virtual, make_endless, make_link, make_soft_link]


def led_out(path: Path, folder: Path, way, name: str, elsewhere: Path) -> Path:
    """A copy of a file in which one set lies elsewhere."""
    copy = Path(shutil.copy(path, folder / path.name))
    with h5py.File(copy, "a") as file:
        way(file, name, file[name][()], str(elsewhere))
    return copy


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize(("kind", "name"), [("face model", "mean"), ("data set", "poses")])
def test_a_set_in_a_pipe_does_not_hang_the_reader(tmp_path, whole, kind, name, way):
    os.mkfifo(tmp_path / "pipe")
    copy = led_out(whole[kind], tmp_path, way, name, tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, copy],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == f"{copy}: {name} lies outside of the file; only what a file holds itself is read\n", (
        done.stderr
    )


def test_every_set_is_looked_at_in_every_way(tmp_path, whole):
    """The source is there and whole: what the file would show is right, and refused all the same."""
    for kind, read in (("face model", load_face_model), ("data set", open_dataset)):
        with h5py.File(whole[kind]) as file:
            names = [name for name in file if file[name].ndim]
        assert len(names) > 8
        for name in names:
            for way in WAYS_OUT:
                copy = led_out(whole[kind], tmp_path, way, name, whole[kind])
                with pytest.raises(UserError, match=rf"{copy.name}: {name} lies outside of the file"):
                    read(copy)


@pytest.mark.parametrize("kind", ["face model", "data set"])
def test_a_pipe_is_no_file(tmp_path, whole, kind):
    os.mkfifo(tmp_path / "pipe.hdf5")
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, tmp_path / "pipe.hdf5"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "pipe.hdf5: no" in done.stdout  # "no such file", or "not a readable HDF5 file"


def test_values_of_another_program_are_not_shown(tmp_path, whole):
    secret = np.arange(999, dtype=np.float64)
    (tmp_path / "secret").write_bytes(secret.tobytes())
    copy = led_out(whole["data set"], tmp_path, make_external, "poses", tmp_path / "secret")
    with pytest.raises(UserError, match="poses lies outside of the file"):
        open_dataset(copy)
