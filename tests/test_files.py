"""Files appear whole or not at all, whatever writes them; a place is held by one run at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prnet.common import locks
from prnet.common.errors import UserError
from prnet.common.files import atomic_write, read_file, read_text, remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.configure.config import TARGET_SCALE
from prnet.evaluating.methods import write_predictions
from prnet.evaluating.protocols import PROTOCOLS
from prnet.evaluating.results import Origin, Results
from prnet.formats.face_model_file import save_face_model
from prnet.formats.vertex_file import VertexFile
from prnet.geometry.position_map import layout_of_model
from tests.helpers.faults import full_disk, read_only, unprivileged
from tests.helpers.small_faces import make_small_model
from tests.helpers.stored_samples import make_samples, write_samples


def save_results(path):
    origin = Origin("method", "1", "2", PROTOCOLS["standard"], (0,), "a file")
    Results(origin, ["a", "b"], np.zeros(2)).save(path)


def save_network(path):
    from prnet.model.saved_network import save_network
    from tests.helpers.perfect_network import constant_network

    save_network(constant_network(np.ones((8, 8, 3), np.float32) * TARGET_SCALE), LAYOUT, path)


def save_checkpoint(path):
    import keras

    from prnet.model.checkpoint import save_checkpoint

    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(900)])
    network.compile("adam", "mse")
    save_checkpoint(path, network, {"epoch": 1})


def draw_training(path):
    from prnet.model.reports import draw_curves

    names = ("mse", "val_mse", "nme", "val_nme", "learning_rate", "images_per_second")
    draw_curves(path, [{"epoch": 1} | dict.fromkeys(names, 1.0)], "mse")


def write_samples_picture(path):
    from prnet.model.reports import write_picture

    write_picture(path, np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))


def write_training_log(path):
    from prnet.model.reports import write_log

    write_log(path, [{"epoch": epoch, "loss": 1 / 3} for epoch in range(900)])


def draw_evaluation(path):
    from prnet.evaluating.pictures import draw_landmark_errors

    origin = Origin("method", "1", "2", PROTOCOLS["standard"], (0,), "a file")
    results = Results(origin, ["a", "b"], np.zeros(2))
    results.landmark_errors[:], results.errors[:] = 1, 1
    draw_landmark_errors(results, LAYOUT, path)


LAYOUT = layout_of_model(make_small_model())
WRITERS = {
    "a data set": ("a.hdf5", lambda path: write_samples(path, 5, make_samples(5, 40))),
    "a face model": ("a.hdf5", lambda path: save_face_model(make_small_model(), path)),
    "a network": ("a.keras", save_network),
    "a checkpoint": ("a.npz", save_checkpoint),
    "a training's log": ("a.csv", write_training_log),
    "a training's curves": ("a.png", draw_training),
    "a training's samples": ("a.png", write_samples_picture),
    "results": ("a.npz", save_results),
    "predictions": ("a.npz", lambda path: write_predictions(path, ["a"] * 99, np.ones((99, 68, 3)))),
    "an evaluation's picture": ("a.png", draw_evaluation),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files cannot be limited there")
@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("moments", [4, pytest.param(31, marks=pytest.mark.large)])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, kind, moments):
    name, write = WRITERS[kind]
    path = tmp_path / name
    write(path)
    older, size = b"an older file", path.stat().st_size
    path.write_bytes(older)
    for most in np.linspace(0, size - 1, moments).astype(int):
        with full_disk(int(most)), pytest.raises(UserError) as caught:
            write(path)
        assert str(caught.value).startswith(f"{path}: cannot be written: File too large")
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == older
        assert list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.stat().st_size > len(older)


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files cannot be limited there")
def test_a_full_disk_is_one_line_where_vertices_are_kept(tmp_path):
    path = tmp_path / "a.npy"
    with full_disk(5000), pytest.raises(UserError, match=r"a\.npy: cannot be written: File too large"):
        VertexFile(path, (99, 10, 3), resume=False)
    with VertexFile(path, (9, 10, 3), resume=False) as file, full_disk(600):
        file.write(0, np.ones((10, 3)))
        with pytest.raises(UserError, match=r"a\.npy: cannot be written: File too large"):
            file.write(8, np.ones((10, 3)))
    with VertexFile(path, (9, 10, 3), resume=True) as file:
        file.write(8, np.nan)
    vertices = np.load(path)
    assert (vertices[0] == 1).all()
    assert (vertices[1:8] == 0).all()
    assert np.isnan(vertices[8]).all()


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = [".a.1.partial.hdf5", "train.hdf5", ".train.hdf5", ".train.partial", ".train.1.partial.keras"]
    for name in [*kept, ".train.1.partial.hdf5", ".train.23.partial.hdf5"]:
        (tmp_path / name).touch()
    remove_left_behind(tmp_path / "train.hdf5", tmp_path / "absent" / "b.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "absent").read_bytes()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match="folder: cannot be written: Is a directory"),
        atomic_write(tmp_path / "folder") as temporary,
    ):
        temporary.write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_place_is_held_once(tmp_path):
    path = tmp_path / "folder" / ".lock"
    with exclusive_lock(path, "taken") as certain:
        assert certain
        for _ in range(2):
            with pytest.raises(UserError, match="taken"), exclusive_lock(path, "taken"):
                pass
        assert path.exists()
    assert list(path.parent.iterdir()) == []
    with exclusive_lock(path, "taken"):
        pass


HOLD = """
import sys, time
from prnet.common.locks import exclusive_lock
with exclusive_lock(sys.argv[1], "taken"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="taken"), exclusive_lock(path, "taken"):
            pass
        holder.kill()
    assert path.exists()
    with exclusive_lock(path, "taken"):
        pass
    assert not path.exists()


def test_a_lock_that_its_holder_has_just_removed_is_taken_anew(tmp_path, monkeypatch):
    path, lock = tmp_path / ".lock", locks._lock

    def lock_after_removal(file):
        monkeypatch.setattr(locks, "_lock", lock)
        path.unlink()
        lock(file)

    monkeypatch.setattr(locks, "_lock", lock_after_removal)
    with exclusive_lock(path, "taken"), pytest.raises(UserError, match="taken"), exclusive_lock(path, "taken"):
        pass


def test_a_file_system_without_locks_is_named_and_used(tmp_path, monkeypatch, caplog):
    def refuse(file):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks, "_lock", refuse)
    with exclusive_lock(tmp_path / ".lock", "taken") as certain:
        assert not certain
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path / '.lock'}: Function not implemented; ")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    def hold(folder):
        with exclusive_lock(folder / ".lock", "taken"):
            pass

    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be written: File exists; choose another folder"):
        hold(tmp_path / "file")
    with (
        read_only(tmp_path),
        pytest.raises(UserError, match=f"{tmp_path}: cannot be written: Permission denied; choose another folder"),
    ):
        unprivileged(lambda: hold(tmp_path))


def test_what_may_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "zeros"):
        for read in (read_text, lambda path: read_file(path, 10)):
            with pytest.raises(UserError, match=f"{name}: is not a plain file"):
                read(tmp_path / name)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="sparse: is longer than 16,777,216 bytes"):
        read_text(tmp_path / "sparse")
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(UserError, match="odd: is not text in UTF-8"):
        read_text(tmp_path / "odd")
    assert (read_file(tmp_path / "odd", 1), read_text(tmp_path / "odd", "replace")) == (b"\xff", "\ufffd")
