import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import h5py
import keras
import numpy as np
import pytest

from prnet.commands import train_model
from prnet.common.errors import UserError
from prnet.configure.config import CROP_MARGIN, NO_AUGMENTATION, Run, Training
from prnet.configure.recipes import RECIPES
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.generating.sequence import FaceSequence
from prnet.model import networks
from prnet.model.compilation import learning_rate_schedule
from prnet.model.monitoring import WatchedSequence
from prnet.model.saved_network import load_network, save_network
from prnet.model.tensorboard_log import TensorBoardLog
from prnet.model.training import train
from tests.helpers.micro_runs import MICRO, rows_of, weights_of
from tests.helpers.perfect_network import save_mean_face_network
from tests.helpers.tiny_data import write_tiny_data, write_tiny_pairs

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ("best.keras", "last.keras", "checkpoint.npz", "config.json", "training.csv", "training.png", "samples.png")


@pytest.fixture(scope="session")
def tiny(sample_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_data(folder, sample_model)
    write_tiny_data(folder, sample_model, count=3, validation=0, file="val.hdf5")
    return folder


@pytest.fixture
def micro(monkeypatch):
    """A network that trains in no time takes the light network's place."""
    monkeypatch.setattr(networks, "BUILDERS", dict(networks.BUILDERS))
    exec(MICRO, {})


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory) -> Path:
    """The folder of a run of one epoch; copy it to change it."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "BUILDERS", dict(networks.BUILDERS))
        exec(MICRO, {})
        train_model.main(command(tiny, output, "--epochs", 1))
    return output


def command(data: Path, output: Path, *flags) -> list[str]:
    base = ["--recipe", "lprnet", "--lossfunct", "wtmse", "--batchsize", 2, "--epochs", 3, "--workers", 2]
    places = ["--hdf5dir", data, "--facemodel", data / "face_model.hdf5", "--outputdir", output]
    return [str(value) for value in (*base, *places, *flags)]


@pytest.mark.large
def test_the_light_network_trains_from_the_command_line(tiny, tmp_path, terminal):
    output = tmp_path / "run"
    train_model.main(command(tiny, output, "--epochs", 2, "--batchsize", 4, "--report-test"))
    assert {path.name for path in output.iterdir()} == {*RESULTS, "tensorboard"}
    rows = rows_of(output)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["wtmse"] < rows[0]["wtmse"]
    assert rows[0]["loss"] == pytest.approx(rows[0]["wtmse"])  # no weight decay in the light network
    assert all(row["images_per_second"] > 0 and 0 <= row["waiting"] <= 1 for row in rows)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    printed = terminal.readouterr().out
    assert "network lprnet" in printed
    assert f"epoch 2/2: loss {rows[1]['loss']:.4g}, NME {rows[1]['nme']:.2f} %" in printed
    network, layout = load_network(output / "best.keras")
    assert network.dtype_policy.name == "float32"
    assert layout.canonical_map.shape == (256, 256, 3)


def test_the_log_says_what_the_saved_models_do(micro, tiny, tmp_path):
    output = tmp_path / "run"
    train_model.main(command(tiny, output, "--report-test", tiny / "val.hdf5", "--learningrate", 0.05))
    rows = rows_of(output)
    best = min(rows, key=lambda row: row["val_nme"])
    with open_dataset(tiny / "val.hdf5") as test:
        for name, row in (("best", best), ("last", rows[-1])):
            assert row["test_nme"] == pytest.approx(_measure(output / f"{name}.keras", tiny, test), rel=1e-4)


def _measure(path, tiny, data) -> float:
    from prnet.formats.face_model_file import load_face_model
    from prnet.geometry.position_map import map_basis
    from prnet.geometry.uv_layout import sample_landmarks

    network, layout = load_network(path)
    basis = map_basis(load_face_model(tiny / "face_model.hdf5"), 128)
    images, targets = FaceSequence(data, np.arange(len(data)), basis=basis, image_size=128, batch_size=len(data))[0]
    true_points, points = (
        sample_landmarks(maps, layout)[..., :2] for maps in (targets, network.predict_on_batch(images))
    )
    side = np.sqrt(np.prod(true_points.max(axis=1) - true_points.min(axis=1), axis=-1))
    return float(np.mean(100 * np.linalg.norm(points - true_points, axis=-1).mean(axis=-1) / side))


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(micro, tiny, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    flags = ("--epochs", 4, "--dropevery", 1)
    script = f"""{MICRO}
import os, signal
from prnet.commands import train_model
from prnet.generating.sequence import FaceSequence
emit = FaceSequence.__getitem__

def kill_in_the_third_epoch(sequence, batch):
    if sequence.shuffle and (sequence.epoch, batch) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return emit(sequence, batch)

FaceSequence.__getitem__ = kill_in_the_third_epoch
train_model.main({command(tiny, killed, *flags)!r})
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert [row["epoch"] for row in rows_of(killed)] == [1, 2]
    assert not list(killed.glob("*.partial*"))

    train_model.main(command(tiny, killed, *flags, "--workers", 1))
    train_model.main(command(tiny, whole, *flags))
    assert [row["epoch"] for row in rows_of(killed)] == [1, 2, 3, 4]
    for weights, expected in zip(weights_of(killed), weights_of(whole), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)
    for row, expected in zip(rows_of(killed), rows_of(whole), strict=True):
        assert row["val_nme"] == pytest.approx(expected["val_nme"], rel=1e-4)
        assert row["learning_rate"] == expected["learning_rate"]


@pytest.mark.parametrize("first", [1, 2])
def test_a_run_that_averages_goes_on_and_ends_with_the_same_weights(micro, tiny, tmp_path, first):
    """In a checkpoint the averages are in the weights' place, and the weights in theirs."""
    flags = ("--average", 0.7, "--learningrate", 0.05)
    for output, epochs in (("twice", first), ("twice", 3), ("once", 3)):
        train_model.main(command(tiny, tmp_path / output, *flags, "--epochs", epochs))
    for weights, expected in zip(weights_of(tmp_path / "twice"), weights_of(tmp_path / "once"), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)


def test_averages_begin_at_the_weights_that_a_run_begins_with(micro, tiny, finished, tmp_path):
    start = ("--model", finished / "last.keras", "--start-epoch", 1)
    train_model.main(command(tiny, tmp_path, *start, "--epochs", 2, "--average", 0.999, "--learningrate", 1e-9))
    kernels = [load_network(folder / "last.keras")[0].layers[1].get_weights()[0] for folder in (finished, tmp_path)]
    np.testing.assert_allclose(*kernels, atol=1e-6)


def test_more_epochs_go_on_and_as_many_do_nothing(micro, tiny, finished, tmp_path, terminal):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    train_model.main(command(tiny, output, "--epochs", 2, "--workers", 1, "--jit", "off"))
    assert "resuming after epoch 1" in terminal.readouterr().out
    before = (output / "checkpoint.npz").stat().st_mtime_ns
    train_model.main(command(tiny, output, "--epochs", 2))
    assert "already trained for 2 epochs" in terminal.readouterr().out
    assert (output / "checkpoint.npz").stat().st_mtime_ns == before


def test_a_run_of_an_older_version_goes_on(micro, tiny, finished, tmp_path, terminal):
    """Its configuration lacks the settings that came later: they were what the defaults are."""
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    record = json.loads((output / "config.json").read_text())
    del record["training"]["photo"]["camera"]
    for name in ("terms", "balance", "schedule", "clip_norm"):
        del record["training"][name]
    (output / "config.json").write_text(json.dumps(record))
    train_model.main(command(tiny, output, "--epochs", 2))
    assert "resuming after epoch 1" in terminal.readouterr().out
    (output / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"balance 0\.0 \(now 0\.5\)"):
        train_model.main(command(tiny, output, "--epochs", 2, "--balance", 0.5))


@pytest.mark.parametrize(
    ("flags", "difference"),
    [
        (("--lossfunct", "mse"), "loss wtmse (now mse)"),
        (("--head", "sigmoid"), "head linear (now sigmoid)"),
        (("--imagesize", 256), "image size 128 (now 256)"),
        (("--learningrate", 0.5, "--seed", 3), "learning rate 0.001 (now 0.5), seed 0 (now 3)"),
        (("--recipe", "binaryvr", "--network", "lprnet"), "crop margin 1.5 (now 1.6)"),
    ],
)
def test_a_folder_with_another_run_is_refused(micro, tiny, finished, flags, difference):
    with pytest.raises(UserError) as caught:
        train_model.main(command(tiny, finished, "--epochs", 1, *flags))
    assert difference in str(caught.value)
    assert "`overwrite`" in str(caught.value)


def test_overwrite_begins_again(micro, tiny, finished, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    train_model.main(command(tiny, output, "--epochs", 1, "--seed", 1, "--overwrite"))
    assert [row["epoch"] for row in rows_of(output)] == [1]
    assert json.loads((output / "config.json").read_text())["training"]["seed"] == 1


def test_a_damaged_checkpoint_is_refused(micro, tiny, finished, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    checkpoint = output / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    with pytest.raises(UserError, match="checkpoint.npz: damaged"):
        train_model.main(command(tiny, output))


def test_a_model_can_be_trained_further(micro, tiny, finished, tmp_path):
    output, model = tmp_path / "run", finished / "last.keras"
    train_model.main(command(tiny, output, "--model", model, "--start_epoch", 1, "--epochs", 2, "--dropevery", 1))
    (row,) = rows_of(output)
    assert row["epoch"] == 2
    assert row["learning_rate"] == pytest.approx(0.0005)
    assert row["wtmse"] < rows_of(finished)[0]["wtmse"]
    with pytest.raises(UserError, match="a lprnet 128 linear network, not lprnet 128 sigmoid"):
        train_model.main(command(tiny, tmp_path / "other", "--model", model, "--head", "sigmoid"))


def test_a_run_with_another_decoder_saves_it_and_goes_on(micro, tiny, tmp_path):
    train_model.main(command(tiny, tmp_path, "--decoder", "resize", "--epochs", 1))
    network, _ = load_network(tmp_path / "last.keras")
    assert (network.name, network.layers[-3].name) == ("lprnet_resize", "decoder0_resize")
    train_model.main(command(tiny, tmp_path, "--decoder", "resize", "--epochs", 2))
    assert [row["epoch"] for row in rows_of(tmp_path)] == [1, 2]
    with pytest.raises(UserError, match=r"decoder resize \(now transposed\)"):
        train_model.main(command(tiny, tmp_path, "--epochs", 3))


def test_a_model_for_another_uv_layout_or_of_another_kind_is_refused(micro, tiny, finished, tmp_path):
    network, layout = load_network(finished / "last.keras")
    save_network(network, replace(layout, landmark_uv=layout.landmark_uv[::-1]), tmp_path / "layout.keras")
    with pytest.raises(UserError, match=r"layout\.keras: its maps mean another UV layout than the face model's"):
        train_model.main(command(tiny, tmp_path / "run", "--model", tmp_path / "layout.keras"))
    save_mean_face_network(layout, tmp_path / "kind.keras")
    with pytest.raises(UserError, match=r"kind\.keras: a functional\S* 128 other network, not lprnet 128 linear"):
        train_model.main(command(tiny, tmp_path / "run", "--model", tmp_path / "kind.keras"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "by_step"),
    [
        ({}, {0: 1e-4, 5 * 7653 - 1: 1e-4, 5 * 7653: 5e-5, 15 * 7653: 1.25e-5}),
        ({"drop_unit": "steps", "drop_every": 75, "drop_factor": 0.1}, {74: 1e-4, 75: 1e-5, 150: 1e-6}),
        ({"drop_every": 0.5}, {3825: 1e-4, 3826: 5e-5}),
    ],
)
def test_the_learning_rate_drops_by_epochs_or_steps(changes, by_step):
    schedule = learning_rate_schedule(replace(Training(), **changes), steps_per_epoch=7653)
    assert {step: float(schedule(step)) for step in by_step} == pytest.approx(by_step)


def test_a_budget_of_steps_is_rounded_up_to_epochs(micro, tiny, tmp_path, terminal):
    flags = command(tiny, tmp_path, "--steps", 5, "--serverlog", "http://127.0.0.1:9")
    del flags[flags.index("--epochs") : flags.index("--epochs") + 2]
    train_model.main(flags)  # 8 training samples, 4 steps an epoch
    assert len(rows_of(tmp_path)) == 2
    assert terminal.readouterr().err.count("does not take the log") == 1  # and nothing listens there


def test_the_test_set_may_be_stored_otherwise(micro, tiny, sample_model, tmp_path):
    """Maps beside fits, and fits beside maps, at the same error."""
    write_tiny_pairs(tmp_path / "photos", sample_model)
    paths = {mode: tmp_path / str(mode) / "train.hdf5" for mode in (5, 0)}
    for mode, path in paths.items():
        path.parent.mkdir()
        shutil.copy(tiny / "face_model.hdf5", path.parent)
        build_dataset([tmp_path / "photos"], path, sample_model, data_mode=mode, progress=False)
    found = {}
    for mode, other in ((5, 5), (5, 0), (0, 5), (0, 0)):
        output = tmp_path / f"{mode}{other}"
        flags = ("--epochs", 1, "--learningrate", 1e-9, "--report-test", paths[other])
        train_model.main(command(paths[mode].parent, output, *flags))
        found[mode, other] = rows_of(output)[0]["test_nme"]
    for error in found.values():
        assert error == pytest.approx(found[5, 5], rel=0.01)


def test_a_loss_that_is_not_finite_stops_the_run(micro, tiny, tmp_path, monkeypatch):
    emit = FaceSequence.__getitem__

    def spoil(sequence, batch):
        images, targets = emit(sequence, batch)
        if isinstance(sequence, WatchedSequence) and (sequence.epoch, batch) == (1, 2):
            images[0, 0, 0] = np.nan
            spoiled.extend(sequence.batch_names(batch))
        return images, targets

    spoiled = []
    monkeypatch.setattr(FaceSequence, "__getitem__", spoil)
    with pytest.raises(UserError) as caught:
        train_model.main(command(tiny, tmp_path))
    message = str(caught.value)
    assert "step 7 (batch 3 of epoch 2)" in message
    assert f"on the samples {', '.join(spoiled[:2])};" in message
    assert [row["epoch"] for row in rows_of(tmp_path)] == [1]
    assert all(np.isfinite(weight).all() for weight in weights_of(tmp_path))
    with np.load(tmp_path / "checkpoint.npz") as checkpoint:
        assert json.loads(str(checkpoint["state"]))["epoch"] == 1


def test_a_damaged_image_stops_the_run_by_name(micro, tiny, tmp_path):
    for name in ("face_model.hdf5", "train.hdf5"):
        shutil.copy(tiny / name, tmp_path)
    with h5py.File(tmp_path / "train.hdf5", "a") as file:
        file["images"][file["offsets"][3] + 100] ^= 0xFF
    with pytest.raises(UserError, match=r"train.hdf5: TINY/tiny_3: the stored image is damaged"):
        train_model.main(command(tmp_path, tmp_path / "run"))


def test_mirroring_is_left_to_mirrored_folders(micro, finished, sample_model, tmp_path):
    write_tiny_data(tmp_path, sample_model, mirrored=True)
    train_model.main(command(tmp_path, tmp_path / "run", "--epochs", 1))
    for output, probability in ((finished, 0.5), (tmp_path / "run", 0.0)):
        assert json.loads((output / "config.json").read_text())["augmentation"]["mirror"] == probability


def test_tensorboard_gets_values_and_pictures(finished):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    expected = {"loss", "wtmse", "nme", "val_loss", "val_wtmse", "val_nme", "learning_rate", "images_per_second"}
    assert set(events.Tags()["scalars"]) == expected | {"waiting"}
    assert [event.value for event in events.Scalars("val_nme")] == pytest.approx(
        [row["val_nme"] for row in rows_of(finished)]
    )
    (samples,) = events.Images("samples")
    assert (samples.width, samples.height) == (4 * 128, 4 * 128)
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(samples.encoded_image_string, np.uint8), cv2.IMREAD_COLOR),
        cv2.imread(str(finished / "samples.png")),
    )


def test_without_tensorboard_one_line_says_so(tmp_path, monkeypatch, terminal):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    board = TensorBoardLog(tmp_path)
    board.write(1, {"loss": 1.0}, {"samples": np.zeros((2, 2, 3), dtype=np.uint8)})
    board.close()
    assert (
        terminal.readouterr().err == "warning: TensorBoard is not installed (pip install tensorboard): no event files\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.large
def test_precision_is_of_the_run_and_not_of_the_model(micro, tiny, tmp_path):
    train_model.main(command(tiny, tmp_path, "--epochs", 1, "--precision", "mixed_float16"))
    network, _ = load_network(tmp_path / "last.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    train_model.main(command(tiny, tmp_path, "--epochs", 2, "--precision", "mixed_float16"))
    assert len(rows_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--batchsize", 9), "8 training samples are less than one batch of 9"),
        (("--batchsize", 3, "--devices", 2), "does not divide among 2 devices"),
        (("--learningrate", -1), "learning rate -1.0: must be above 0"),
        (("--epochs", 0), "epochs 0: must be above 0"),
        (("--workers", 0), "workers 0"),
        (("--start_epoch", 3), "--model"),
        (("--start_epoch", -1), "--start-epoch -1"),
        (("--serverlog", "localhost"), "`server` localhost"),
        (("--model", "absent.keras"), "absent.keras: no such model file"),
        (("--steps", 5), "exclude each other"),
        (("--network", "morphnet", "--decoder", "resize"), "`decoder` resize: morphnet has a decoder of its own"),
        (("--hdf5dir", "absent"), "absent/train.hdf5"),
        (("--facemodel", "absent.hdf5"), "absent.hdf5: no such face model"),
    ],
)
def test_bad_requests_are_refused_in_one_line(micro, tiny, tmp_path, flags, complaint):
    with pytest.raises(UserError) as caught:
        train_model.main(command(tiny, tmp_path / "run", *flags))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_another_face_model_is_refused_with_both_names(tiny, sample_model, tmp_path):
    other = replace(sample_model, mean=sample_model.mean * 2)
    with open_dataset(tiny / "train.hdf5") as dataset, pytest.raises(UserError) as caught:
        train(Training(), Run(), dataset, other, tmp_path)
    assert "train.hdf5" in str(caught.value)
    assert sample_model.identity in str(caught.value)
    assert other.identity in str(caught.value)


def test_the_published_schedule_of_l_prnet_halves_at_the_fifth_and_tenth_epoch():
    schedule = learning_rate_schedule(RECIPES["lprnet_published"](), steps_per_epoch=7653)
    rates = [float(schedule(epoch * 7653)) for epoch in range(15)]
    np.testing.assert_allclose(rates, [1e-4] * 5 + [5e-5] * 5 + [2.5e-5] * 5, rtol=1e-6)


def test_flags_win_over_the_recipe():
    arguments = train_model.make_parser().parse_args(
        ["--hdf5dir", "x", "--recipe", "binaryvr", "--epochs", "7", "--network", "lprnet"]
    )
    training = train_model.training_settings(arguments)
    changed = {"epochs": 7, "steps": None, "network": "lprnet", "image_size": 128}
    assert asdict(training) == asdict(replace(RECIPES["binaryvr"](), **changed))


def test_the_users_command_line():
    arguments = train_model.make_parser().parse_args(
        ["--epochs", "100", "--batchsize", "16", "--learningrate", "1e-4", "--lossfunct", "wtmse", "--hdf5dir", "DIR"]
    )
    training = train_model.training_settings(arguments)
    assert (training.network, training.image_size, training.head) == ("prnet", 256, "linear")
    assert (training.drop_factor, training.drop_every, training.drop_unit) == (0.5, 5, "epochs")
    assert train_model.output_folder(training) == Path("output_0.0001_wtmse")
    assert train_model.make_parser().parse_args(["--hdf5dir", "x"]).loss is None
    assert RECIPES["default"]().loss == "mse"


def test_recipes_are_what_their_sources_say():
    paper, binaryvr, lprnet = (RECIPES[name]() for name in ("paper", "binaryvr", "lprnet"))
    assert (paper.batch_size, paper.learning_rate, paper.head, paper.augmentation.mirror) == (16, 1e-4, "sigmoid", 0)
    assert (paper.augmentation.rotation, paper.augmentation.scale) == (45, (0.9, 1.2))
    assert (binaryvr.batch_size, binaryvr.learning_rate, binaryvr.steps) == (20, 1e-3, 300_000)
    assert (binaryvr.drop_every, binaryvr.drop_unit) == (75_000, "steps")
    assert binaryvr.augmentation.crop_margin > CROP_MARGIN
    assert (lprnet.network, lprnet.image_size, lprnet.batch_size) == ("lprnet", 128, 16)
    published = RECIPES["lprnet_published"]()
    assert (published.network, published.image_size, published.loss) == ("lprnet", 128, "wtmse")
    assert (published.batch_size, published.learning_rate, published.epochs) == (16, 1e-4, 15)
    assert (published.drop_factor, published.drop_every, published.drop_unit) == (0.5, 5, "epochs")
    assert published.augmentation == NO_AUGMENTATION
    assert "rendchevi/L-PRNet" in RECIPES["lprnet_published"].__doc__
    assert all(recipe.__doc__ and "Command: " in recipe.__doc__ for recipe in RECIPES.values())


def run_python(code: str, **environment) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.large
@pytest.mark.parametrize("terms", [(), ("--photo-landmarks-loss", 3)])
def test_two_devices_take_the_same_first_step(tiny, tmp_path, terms):
    code = f"""{MICRO}
from prnet.commands import train_model
flags = {command(tiny, tmp_path, "--batchsize", 8, "--epochs", 2, *terms)!r}
for devices in ("2", "1"):
    train_model.main([*flags, "--devices", devices, "--outputdir", {str(tmp_path)!r} + "/" + devices])
"""
    run_python(code)
    two, one = rows_of(tmp_path / "2"), rows_of(tmp_path / "1")
    for row, expected in zip(two, one, strict=True):
        for name in ("loss", "nme", "val_nme"):
            assert row[name] == pytest.approx(expected[name], rel=1e-5), name
    config = load_network(tmp_path / "2" / "best.keras")[0].get_config()
    assert not any(layer["config"].get("synchronized") for layer in config["layers"])


def test_several_machines_are_refused(micro, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UserError, match="TF_CONFIG is set"):
        train_model.main(command(tiny, tmp_path))


def test_jax_trains_too_on_one_device_and_two(tiny, tmp_path):
    pytest.importorskip("jax")
    code = f"""{MICRO}
from prnet.commands import train_model
flags = {command(tiny, tmp_path, "--batchsize", 8, "--epochs", 2)!r}
for devices in ("2", "1"):
    train_model.main([*flags, "--devices", devices, "--outputdir", {str(tmp_path)!r} + "/" + devices])
"""
    run_python(code, KERAS_BACKEND="jax")
    two, one = rows_of(tmp_path / "2"), rows_of(tmp_path / "1")
    assert one[1]["wtmse"] < one[0]["wtmse"]
    for row, expected in zip(two, one, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert json.loads((tmp_path / "1" / "config.json").read_text())["versions"]["backend"] == "jax"
    load_network(tmp_path / "1" / "best.keras")
