"""One training run in several processes: flags and variables, equal parts of every batch, and with JAX whole runs."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from prnet.commands import train_model
from prnet.commands.processes import loopback_address, run_processes
from prnet.common.errors import UserError
from prnet.configure.config import Run
from prnet.generating.dataset import open_dataset
from prnet.generating.sequence import FaceSequence
from prnet.geometry.position_map import map_basis
from tests.helpers.ended_processes import end_as
from tests.helpers.micro_runs import rows_of, weights_of
from tests.helpers.tiny_data import write_tiny_data

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tiny(sample_model, tmp_path_factory) -> Path:
    """17 samples to train on and 3 to choose by, of which four processes cannot have equal parts."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_data(folder, sample_model, count=20, validation=3)
    return folder


def settings(*flags: str, **environment: str) -> Run:
    return train_model.run_settings(train_model.make_parser().parse_args(["--hdf5-dir", "x", *flags]), environment)


def test_flags_and_the_variables_of_launchers_name_the_processes():
    whole = ("--machines", "a:1", "--processes", "4", "--process", "2")
    given = settings(*whole)
    assert (given.machines, given.processes, given.process) == ("a:1", 4, 2)
    slurm = {"SLURM_NTASKS": "3", "SLURM_PROCID": "1"}
    assert settings(**slurm).processes == 1  # without an address every task is a run of its own
    given = settings(JAX_COORDINATOR_ADDRESS="b:2", **slurm)
    assert (given.machines, given.processes, given.process) == ("b:2", 3, 1)
    given = settings(
        KERAS_DISTRIBUTION_JOB_ADDRESSES="c:3,d:3",
        KERAS_DISTRIBUTION_NUM_PROCESSES="2",
        KERAS_DISTRIBUTION_PROCESS_ID="0",
        **slurm,
    )
    assert (given.machines, given.processes, given.process) == ("c:3", 2, 0)
    assert settings("--processes", "2").machines is None
    for flags, complaint in (
        (whole[:4], "give --processes and --process too"),
        (whole[2:], "--process 2: give --machines too"),
        (("--processes", "0"), "--processes 0: must be at least 1"),
    ):
        with pytest.raises(UserError, match=complaint):
            settings(*flags)


def test_parts_of_batches_make_the_whole_and_what_fills_up_has_no_weight(tiny, sample_model):
    basis = map_basis(sample_model, 64)
    with open_dataset(tiny / "train.hdf5") as dataset:

        def sequences(indices, **options) -> list[FaceSequence]:
            options = {"basis": basis, "image_size": 64, "batch_size": 4, **options}
            parts = [FaceSequence(dataset, indices, part=(k, 2), multiple=2, **options) for k in (0, 1)]
            return [FaceSequence(dataset, indices, **options), *parts]

        whole, *parts = sequences(np.arange(17), shuffle=True, seed=3)
        assert len(whole) == len(parts[0]) == 4
        for batch in range(4):
            for expected, *halves in zip(whole[batch], *(part[batch] for part in parts), strict=True):
                np.testing.assert_array_equal(np.concatenate(halves), expected)
        whole, *parts = sequences(np.arange(17, 20))
        images, targets, weights = (np.concatenate(both) for both in zip(*(part[0] for part in parts), strict=True))
        np.testing.assert_array_equal(weights, [1, 1, 1, 0])
        np.testing.assert_array_equal(images[:3], whole[0][0])
        np.testing.assert_array_equal(targets[[0, 1, 2, 2]], targets)
        assert len(whole[0]) == 2


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("killed", "process 1 of 2 was ended by SIGKILL; the same command resumes after the last finished epoch"),
        ("mistaken", r"photos: nothing\nthere"),
        ("done", "process 0 lost the others"),
    ],
)
def test_the_first_cause_is_told_in_one_line(how, line):
    with pytest.raises(UserError) as caught:
        run_processes(end_as, (how,), range(2), 2)
    assert str(caught.value) == line


def test_several_processes_are_refused_where_they_cannot_train(tiny, tmp_path):
    arguments = train_model.make_parser().parse_args(command(tiny, tmp_path / "run"))
    training = train_model.training_settings(arguments)
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(
            UserError, match=r"`processes` 2, but Keras 3 does not .* issue 20585\); set KERAS_BACKEND=jax"
        ):
            train_model.train_in_process(arguments, training, Run(machines="127.0.0.1:9", processes=2), 0)
    with pytest.raises(UserError, match="batch size 8 does not divide among 3 processes of 1 devices"):
        train_model.train_in_process(arguments, training, Run(machines="127.0.0.1:9", processes=3), 0)
    with pytest.raises(UserError, match="`process` 2: must be from 0 to 1"):
        train_model.train_in_process(arguments, training, Run(machines="127.0.0.1:9", processes=2), 2)
    assert not (tmp_path / "run").exists()


@pytest.mark.large
@pytest.mark.parametrize("count", [2, 4])
def test_processes_train_to_the_weights_of_one(tiny, tmp_path, count):
    pytest.importorskip("jax", reason="the environment of `make test-scale` has JAX")
    for number in (1, count):
        result = train(command(tiny, tmp_path / f"{number}", "--processes", number))
        assert result.returncode == 0, result.stderr
    several, one = rows_of(tmp_path / f"{count}"), rows_of(tmp_path / "1")
    assert one[-1]["val_nme"] < one[0]["val_nme"]
    for row, expected in zip(several, one, strict=True):
        for name in ("loss", "nme", "val_nme"):
            assert row[name] == pytest.approx(expected[name], rel=1e-4), name
    for weights, expected in zip(weights_of(tmp_path / f"{count}"), weights_of(tmp_path / "1"), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


@pytest.mark.large
def test_a_killed_process_ends_the_run_and_the_same_commands_resume_it(tiny, tmp_path):
    """Each process is started by a command of its own, and only the first knows the run's folder."""
    pytest.importorskip("jax", reason="the environment of `make test-scale` has JAX")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(command(tiny, whole)).returncode == 0
    for attempt in ("train_micro_until_killed", "train_micro"):
        address = loopback_address()
        results = [
            start(
                command(tiny, folder, "--machines", address, "--processes", 2, "--process", number, "--workers", 1),
                attempt,
            )
            for number, folder in enumerate((killed, tmp_path / "unused"))
        ]
        ends = [process.communicate(timeout=1200)[1].strip().splitlines()[-1:] for process in results]
        if attempt == "train_micro":
            assert [process.returncode for process in results] == [0, 0], ends
        else:
            assert [process.returncode for process in results] == [2, 2]
            assert "process 1 of 2 was ended by SIGKILL; the same command resumes" in ends[1][0]
            assert ends[0][0].startswith("error: process 0 of 2 ")
            assert [row["epoch"] for row in rows_of(killed)] == [1]
    assert not (tmp_path / "unused").exists()
    assert [row["epoch"] for row in rows_of(killed)] == [1, 2]
    for weights, expected in zip(weights_of(killed), weights_of(whole), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-4)


def command(data: Path, output: Path, *flags) -> list[str]:
    base = ["--recipe", "lprnet", "--loss", "wtmse", "--batch-size", 8, "--epochs", 2, "--drop-every", 1]
    places = ["--hdf5-dir", data, "--face-model", data / "face_model.hdf5", "--output-dir", output]
    return [str(value) for value in (*base, *places, *flags)]


def start(flags: list[str], attempt: str = "train_micro", **environment: str) -> subprocess.Popen:
    """`prnet train` with the micro network in every process."""
    code = f"""
from prnet.commands import train_model
from prnet.commands.terminal import run_script
from tests.helpers.ended_processes import end_as
from tests.helpers.micro_runs import {attempt}
train_model.train_in_process = {attempt}
run_script(lambda: train_model.main({flags!r}))
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, **pipes)


def train(flags: list[str], **environment: str) -> subprocess.CompletedProcess:
    process = start(flags, **environment)
    out, error = process.communicate(timeout=1200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)
