"""Faults while building, training and evaluating: nothing finished is lost, nothing half-written is believed, and the
next start resumes or says in one line what to do. `docs/reliability.md` counts them.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prnet.commands import build_dataset, evaluate_model, train_model
from prnet.common.locks import exclusive_lock
from prnet.evaluating import evaluation, pictures
from prnet.evaluating.methods import PredictionFile
from prnet.evaluating.results import load_results
from prnet.evaluating.subjects import DatasetSubjects, PairSubjects
from prnet.formats.face_model_file import save_face_model
from prnet.formats.pairs import find_pairs
from prnet.generating.builder import SampleMaker
from prnet.generating.dataset import open_dataset
from prnet.generating.sequence import FaceSequence
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.uv_layout import face_mask
from prnet.model import networks
from tests.helpers.faults import assert_all_whole, full_disk, read_only, run, unprivileged
from tests.helpers.forked_runs import ForkedRuns
from tests.helpers.micro_runs import MICRO, rows_of, weights_of
from tests.helpers.small_faces import make_small_model, small_files, write_folder, write_zip
from tests.helpers.tiny_data import write_tiny_data

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are injected as POSIX has them")
ROOT = Path(__file__).resolve().parents[1]
COUNT = 12


@pytest.fixture(scope="module")
def model():
    weights = np.zeros((256, 256), np.float32)
    weights[112:144, 112:144] = 3
    return replace(make_small_model(), region_weights=weights)


@pytest.fixture(scope="module")
def stored(tmp_path_factory, model) -> Path:
    """A folder with a face model, train.hdf5, val.hdf5 and perfect.npz, the truth of val.hdf5 as predictions."""
    folder = tmp_path_factory.mktemp("stored")
    write_tiny_data(folder, model)
    write_tiny_data(folder, model, count=COUNT, file="val.hdf5")
    with open_dataset(folder / "val.hdf5") as dataset:
        found = DatasetSubjects(dataset, model, layout_of_model(model)).read(np.arange(COUNT))
    face = np.flatnonzero(face_mask(layout_of_model(model), 256))
    np.savez(
        folder / "perfect.npz",
        names=[subject.name for subject in found],
        landmarks=np.stack([subject.truth.landmarks for subject in found]),
        vertices=np.stack([subject.truth.mesh[face] for subject in found]),
    )
    return folder


@pytest.fixture
def data(stored, tmp_path) -> Path:
    """A copy of `stored` to do harm to."""
    return Path(shutil.copytree(stored, tmp_path / "data"))


@pytest.fixture
def downloads(tmp_path, model) -> Path:
    """A folder with 300W-LP.zip and the folder 300W_LP, 8 pairs each."""
    files = small_files([f"300W_LP/AFW/AFW_{number}_1_0" for number in range(8)])
    write_zip(tmp_path / "downloads" / "300W-LP.zip", files)
    save_face_model(model, tmp_path / "downloads" / "face_model.hdf5")
    return write_folder(tmp_path / "downloads", files)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A network that trains in no time, an evaluation that saves after every batch and draws nothing."""
    monkeypatch.setattr(networks, "BUILDERS", dict(networks.BUILDERS))
    exec(MICRO, {})
    monkeypatch.setattr(evaluation, "SAVE_EVERY", 0)
    for name in dir(pictures):
        if name.startswith("draw_"):
            monkeypatch.setattr(pictures, name, lambda *_: None)


def building(downloads: Path, output: Path, source: str = "--zipDir") -> tuple:
    arguments = [source, downloads, "--hdf5dir", output, "--buildmode", "train", "--workers", 1, "--batch", 1]
    return build_dataset.main, [*arguments, "--facemodel", downloads / "face_model.hdf5", "--bufsize", 1]


def training(data: Path, output: Path, epochs: int) -> tuple:
    arguments = ["--recipe", "lprnet", "--lossfunct", "wtmse", "--batchsize", 4, "--workers", 1, "--hdf5dir", data]
    arguments += ["--facemodel", data / "face_model.hdf5", "--outputdir", output, "--epochs", epochs]
    return train_model.main, arguments


def evaluating(data: Path, output: Path, *more, photos: Path | None = None) -> tuple:
    arguments = ["--predictions", data / "perfect.npz", "--facemodel", data / "face_model.hdf5", "--batchsize", 2]
    arguments += (
        ["--datadir", photos, "--evalidxs", 0, 1] if photos else ["--hdf5", data / "val.hdf5", "--evalidxs", 0, 1, 2, 3]
    )
    return evaluate_model.main, [*arguments, "--outputdir", output, *more]


@pytest.fixture(params=["building", "training", "evaluating"])
def stage(request, downloads, data):
    """A function that makes a script and its arguments for an output folder."""
    return {
        "building": lambda output: building(downloads, output),
        "training": lambda output: training(data, output, 1),
        "evaluating": lambda output: evaluating(data, output),
    }[request.param]


MORE_CLOSED = [">&- 2>&-", "<&- >&- 2>&-"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_read_only_folder_is_one_line_before_anything_is_done(capsys, tmp_path, stage):
    for output, reason in ((tmp_path / "out", "Permission denied"), (tmp_path / "file", "File exists")):
        if reason == "File exists":
            output.touch()
        else:
            output.mkdir()
            (output / "notes.md").write_text("of somebody else\n")
        with read_only(output):
            status, errors = unprivileged(lambda output=output: run(capsys, *stage(output)))
        assert (status, errors) == (2, [f"error: {output}: cannot be written: {reason}; choose another folder"])
    assert contents(tmp_path / "out") == {"notes.md": b"of somebody else\n"}


def test_a_second_run_in_one_place_is_one_line_and_does_no_harm(capsys, tmp_path, stage):
    output = tmp_path / "out"
    with ExitStack() as held:
        for name in (".train.hdf5.lock", ".training.lock", ".evaluation.lock"):
            held.enter_context(exclusive_lock(output / name, ""))
        status, errors = run(capsys, *stage(output))
        assert (status, len(errors)) == (2, 1)
        assert errors[0].startswith(f"error: {output}")
        assert "wait until it has ended" in errors[0]
    assert run(capsys, *stage(output)) == (0, [])
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    assert_all_whole(output)


@pytest.mark.parametrize("closed", ["2>&-", *(pytest.param(some, marks=pytest.mark.large) for some in MORE_CLOSED)])
@pytest.mark.parametrize(
    "stage", ["building", "evaluating", pytest.param("training", marks=pytest.mark.large)], indirect=True
)
def test_closed_standard_streams_do_no_harm(tmp_path, stage, closed):
    """A file that is opened under their numbers would take what libraries print."""
    main, arguments = stage(tmp_path / "out")
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'exec "$@" {closed}',
            "sh",
            sys.executable,
            str(ROOT / f"{main.__module__.rpartition('.')[2]}.py"),
        ]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert_all_whole(tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_folders_of_any_name_are_written(capsys, tmp_path, stage):
    output = tmp_path / "o\udcff\nut $\\bad{$"
    assert run(capsys, *stage(output)) == (0, [])
    assert_all_whole(output)


# while building


def do_harm_at_the_third_pair(monkeypatch, harm):
    prepare, calls = SampleMaker._prepare, []

    def prepare_after_harm(self, pair):
        calls.append(pair)
        if len(calls) == 3:
            harm()
        return prepare(self, pair)

    monkeypatch.setattr(SampleMaker, "_prepare", prepare_after_harm)


@pytest.mark.parametrize("fault", ["folder gone", "archive cut short", "archive gone"])
def test_a_source_lost_while_building_ends_it_and_the_older_file_stays(capsys, tmp_path, downloads, monkeypatch, fault):
    output, archive = tmp_path / "out", downloads / "300W-LP.zip"
    command = building(downloads, output, "--extractdir" if fault == "folder gone" else "--zipDir")
    assert run(capsys, *command)[0] == 0
    older, whole = contents(output), archive.read_bytes()
    harm = {
        "folder gone": lambda: (downloads / "300W_LP").rename(downloads / "away"),
        "archive cut short": lambda: archive.write_bytes(whole[:9000]),
        "archive gone": archive.unlink,
    }[fault]
    with monkeypatch.context() as patch:
        do_harm_at_the_third_pair(patch, harm)
        status, errors = run(capsys, command[0], [*command[1], "--overwrite"])
    if fault == "archive gone":  # an open file can be read to its end
        assert (status, errors) == (0, [])
    else:
        lost = downloads / "300W_LP" if fault == "folder gone" else archive
        assert (status, len(errors)) == (2, 1)
        assert errors[0] == f"error: {lost}: is gone, or was cut short, while it was read; put it back"
        assert contents(output) == older
    assert_all_whole(output)
    if fault == "folder gone":
        (downloads / "away").rename(downloads / "300W_LP")
    archive.write_bytes(whole)
    assert run(capsys, command[0], [*command[1], "--overwrite"]) == (0, [])


# while training


def do_harm_in_the_second_epoch(monkeypatch, harm):
    emit, done = FaceSequence.__getitem__, []

    def emit_after_harm(self, batch):
        if self.shuffle and self.epoch == 1 and not done:
            done.append(harm())
        return emit(self, batch)

    monkeypatch.setattr(FaceSequence, "__getitem__", emit_after_harm)


@pytest.fixture(scope="module")
def whole_run(stored, tmp_path_factory) -> Path:
    """The folder of two epochs without a fault."""
    output = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "BUILDERS", dict(networks.BUILDERS))
        exec(MICRO, {})
        main, arguments = training(stored, output, 2)
        main([str(argument) for argument in arguments])
    return output


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut short", "train.hdf5: was cut short while in use; put the whole file back, or build it again"),
        ("full disk", "cannot be written: File too large; make room, or choose another place"),
        pytest.param("read-only", "cannot be written: Permission denied", marks=pytest.mark.large),
        pytest.param("gone", None, marks=pytest.mark.large),
    ],
)
def test_a_fault_while_training_leaves_the_last_epoch_to_go_on_from(
    capsys, tmp_path, data, whole_run, monkeypatch, fault, message
):
    output, file = tmp_path / "run", data / "train.hdf5"
    command, content = training(data, output, 2), file.read_bytes()
    limit = full_disk(200_000)
    harm = {
        "cut short": lambda: os.truncate(file, 5000),
        "full disk": limit.__enter__,
        "read-only": lambda: output.chmod(0o555),
        "gone": file.unlink,
    }[fault]
    with monkeypatch.context() as patch:
        do_harm_in_the_second_epoch(patch, harm)
        status, errors = unprivileged(lambda: run(capsys, *command))
    if fault == "full disk":
        limit.__exit__(None, None, None)
    output.chmod(0o755)
    if fault == "gone":  # an open file can be read to its end
        assert (status, errors) == (0, [])
        (error,) = run(capsys, *command)[1]
        assert error == f"error: {file}: no such file; build it with build_dataset.py"
    else:
        assert (status, len(errors)) == (2, 1)
        assert message in errors[0]
        assert len(rows_of(output)) == 1
    assert_all_whole(output)
    file.write_bytes(content)
    assert run(capsys, *command) == (0, [])
    assert_ends_as(output, whole_run)


def assert_ends_as(output: Path, whole_run: Path) -> None:
    for weights, expected in zip(weights_of(output), weights_of(whole_run), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)
    assert [row["epoch"] for row in rows_of(output)] == [row["epoch"] for row in rows_of(whole_run)]
    assert {path.name for path in output.iterdir()} == {path.name for path in whole_run.iterdir()}
    assert_all_whole(output)


def test_a_log_that_a_kill_kept_from_being_written_is_made_up_for(capsys, tmp_path, data, whole_run):
    output = Path(shutil.copytree(whole_run, tmp_path / "run"))
    expected = contents(output)
    for name in ("training.csv", "training.png", "samples.png"):
        (output / name).unlink()
    assert run(capsys, *training(data, output, 2)) == (0, [])
    assert contents(output) == expected | {"config.json": contents(output)["config.json"]}


# while evaluating


@pytest.mark.parametrize("fault", ["cut short", "full disk", "gone", "photos gone"])
def test_a_fault_while_evaluating_leaves_what_was_measured(
    capsys, tmp_path, data, downloads, model, monkeypatch, fault
):
    output, file = tmp_path / "out", data / "val.hdf5"
    photos = downloads / "300W_LP"
    main, arguments = evaluating(data, output, photos=photos if fault == "photos gone" else None)
    if fault == "photos gone":
        with find_pairs(photos) as source:
            subjects = PairSubjects(source, model, layout_of_model(model))
            names, landmarks = subjects.names, [s.truth.landmarks for s in subjects.read(np.arange(len(subjects)))]
        np.savez(data / "perfect.npz", names=names, landmarks=landmarks)
    assert run(capsys, main, [*arguments[:-1], tmp_path / "whole"])[0] == 0
    content, limit = file.read_bytes(), full_disk(20_000)
    harm = {
        "cut short": lambda: os.truncate(file, 5000),
        "full disk": limit.__enter__,
        "gone": file.unlink,
        "photos gone": lambda: photos.rename(downloads / "away"),
    }[fault]
    measured, call = [], evaluate_model.Progress.__call__

    def harm_after_two(self, results):
        call(self, results)
        measured.append(results)
        if len(measured) == 2:
            harm()

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_model.Progress, "__call__", harm_after_two)
        status, errors = run(capsys, main, arguments)
    if fault == "full disk":
        limit.__exit__(None, None, None)
    if fault == "gone":  # an open file can be read to its end
        assert (status, errors) == (0, [])
    else:
        results = output / "results.npz"
        message = {
            "cut short": f"{file}: was cut short while in use; put the whole file back, or build it again",
            "full disk": f"{results}: cannot be written: File too large; make room, or choose another place",
            "photos gone": f"{photos}: is gone, or was cut short, while it was read; put it back",
        }[fault]
        assert (status, errors) == (2, [f"error: {message}"])
        assert load_results(output).done.sum() >= (2 if fault == "full disk" else 4)
        assert load_results(output).problems == {}
    assert_all_whole(output)
    if fault == "photos gone":
        (downloads / "away").rename(photos)
    file.write_bytes(content)
    assert run(capsys, main, arguments) == (0, [])
    assert contents(output)["benchmark.csv"] == contents(tmp_path / "whole")["benchmark.csv"]
    assert contents(output)["images.csv"] == contents(tmp_path / "whole")["images.csv"]


# killed


BUILDING = """
import tqdm, build_dataset, prnet.generating.builder
from prnet.formats import face_model_file
main = build_dataset.main
"""
EVALUATION = """
import tqdm, matplotlib.figure, matplotlib.ticker
from prnet.commands import evaluate_model
from prnet.evaluating import evaluation
from prnet.evaluating import pictures
from prnet.evaluating import reports
from prnet.evaluating import subjects
from prnet.generating import dataset
from prnet.formats import face_model_file
from prnet.formats import pairs
from prnet.geometry import position_map
evaluation.SAVE_EVERY = 0
main = evaluate_model.main
"""
WITHOUT_PICTURES = """
for name in dir(pictures):
    if name.startswith("draw_"):
        setattr(pictures, name, lambda *_: None)
"""
TRAINING = f"""
import tqdm, matplotlib.figure, matplotlib.ticker, tensorboard.summary.writer.event_file_writer
import tensorflow, train_model, prnet.model.training
from prnet.generating import dataset
from prnet.formats import face_model_file
{MICRO}
main = train_model.main
"""


def kill_often(runs: ForkedRuns, kills: int, folders, command, check, finished) -> int:
    """Start a run in the first of `folders` again and again, each killed at a random moment, until it ends by itself;
    then in the next one. Returns how many were killed. check(folder) follows every kill, finished(folder) every end.
    """
    assert runs.run(["--help"]) == 0  # all is loaded
    begun, output = time.monotonic(), next(folders)
    assert runs.run(command(output)) == 0, runs.printed()
    length, killed = time.monotonic() - begun, 0
    finished(output)
    random, output = np.random.default_rng(0), next(folders)
    while killed < kills:
        status = runs.run(command(output), random.uniform(0, length))
        assert status in (0, -9), runs.printed()
        if status == 0:
            finished(output)
            output = next(folders)
        else:
            killed += 1
            check(output)
    assert runs.run(command(output)) == 0, runs.printed()
    finished(output)
    return killed


@pytest.mark.large
def test_a_build_killed_at_30_random_moments_leaves_the_older_file_or_the_new_one(capsys, tmp_path, downloads):
    assert run(capsys, *building(downloads, tmp_path / "older")) == (0, [])
    older = contents(tmp_path / "older")["train.hdf5"]

    def prepared():
        for number in range(1000):
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "train.hdf5").write_bytes(older)
            yield tmp_path / str(number)

    def command(output):
        return [*building(downloads, output)[1], "--overwrite", "--datamode", 2]

    def check(output):
        if contents(output)["train.hdf5"] != older:
            finished(output, killed=True)

    def finished(output, killed=False):
        with open_dataset(output / "train.hdf5") as dataset:
            assert dataset.data_mode == 2
            assert [dataset.map(index).shape for index in range(8)] == [(256, 256, 3)] * 8
        assert_all_whole(output)
        assert killed or [path.name for path in output.iterdir()] == ["train.hdf5"]

    with ForkedRuns(BUILDING, tmp_path / "log") as runs:
        assert kill_often(runs, 30, prepared(), command, check, finished) == 30


@pytest.mark.parametrize(("kills", "drawn"), [(3, False), pytest.param(30, True, marks=pytest.mark.large)])
def test_an_evaluation_killed_at_random_moments_ends_with_the_same_tables(tmp_path, stored, kills, drawn):
    first, done = tmp_path / "0", {}

    def command(output):
        more = ("--batchsize", 1, "--save-predictions", output / "saved.npz", "--with-vertices")
        return evaluating(stored, output, *more)[1]

    def check(output):
        if output.is_dir():
            assert_all_whole(output)
        if (output / "results.npz").exists():
            count = int(load_results(output).done.sum())
            assert count >= done.get(output, 0)
            done[output] = count

    def finished(output):
        assert {path.name for path in output.iterdir()} == {path.name for path in first.iterdir()}
        for name in ("benchmark.csv", "benchmark.md", "images.csv"):
            assert contents(output)[name] == contents(first)[name]
        with PredictionFile(output / "saved.npz") as saved, PredictionFile(stored / "perfect.npz") as truth:
            for row in range(COUNT):
                np.testing.assert_array_equal(saved._vertices.row(row), truth._vertices.row(row))
        assert_all_whole(output)

    code = EVALUATION if drawn else EVALUATION + WITHOUT_PICTURES
    with ForkedRuns(code, tmp_path / "log") as runs:
        folders = (tmp_path / str(number) for number in range(1000))
        assert kill_often(runs, kills, folders, command, check, finished) == kills


@pytest.mark.large
def test_a_training_killed_at_30_random_moments_ends_with_the_same_weights(tmp_path, stored):
    first, epochs = tmp_path / "0", {}

    def command(output):
        return training(stored, output, 8)[1]

    def check(output):
        if output.is_dir():
            assert_all_whole(output)
        if (output / "training.csv").exists():
            assert len(rows_of(output)) >= epochs.get(output, 0)
            epochs[output] = len(rows_of(output))

    def finished(output):
        assert_ends_as(output, first)

    with ForkedRuns(TRAINING, tmp_path / "log") as runs:
        folders = (tmp_path / str(number) for number in range(1000))
        assert kill_often(runs, 30, folders, command, check, finished) == 30


@pytest.mark.large
@pytest.mark.parametrize("code", [BUILDING, TRAINING, EVALUATION], ids=["building", "training", "evaluating"])
def test_of_two_runs_started_together_one_works_and_the_other_says_why_not(tmp_path, stored, downloads, code):
    output, log = tmp_path / "out", [tmp_path / "log0", tmp_path / "log1"]
    command = {
        BUILDING: building(downloads, output),
        TRAINING: training(stored, output, 8),
        EVALUATION: evaluating(stored, output),
    }[code]
    with ForkedRuns(code, log[0]) as one, ForkedRuns(code, log[1]) as other:
        assert one.run(["--help"]) == other.run(["--help"]) == 0  # both have loaded
        for _ in range(3):
            one.start(command[1])
            statuses = sorted([other.run(command[1]), one.ended()])
            assert statuses == [0, 2]
            assert_all_whole(output)
            shutil.rmtree(output)
    errors = [line for path in log for line in path.read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert all(line.startswith(f"error: {output}") for line in errors)
