"""The training function: a data set, a face model and settings in; models, log and curves in a folder out."""

import dataclasses
import json
import math
import platform
import shutil
import time
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from pathlib import Path

import keras
import numpy as np
from keras import ops

from prnet.common.errors import UserError
from prnet.common.files import atomic_write, remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.common.progress import Poster
from prnet.configure.config import TARGET_SCALE, Run, Training
from prnet.generating.dataset import Dataset
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis
from prnet.geometry.uv_layout import UVLayout
from prnet.model.checkpoint import restore_checkpoint, save_checkpoint
from prnet.model.devices import data_parallel, uses_xla
from prnet.model.losses import map_loss
from prnet.model.metrics import LandmarkNME
from prnet.model.monitoring import StepMonitor, WatchedSequence
from prnet.model.networks import build_network
from prnet.model.reports import draw_curves, draw_samples, write_log, write_picture
from prnet.model.saved_network import load_network, save_network
from prnet.model.tensorboard_log import TensorBoardLog

CONFIG, CHECKPOINT, EVENTS = "config.json", "checkpoint.npz", "tensorboard"
FILES = (CHECKPOINT, CONFIG, "best.keras", "last.keras", "training.csv", "training.png", "samples.png")


def train(
    training: Training,
    run: Run,
    dataset: Dataset,
    face_model: FaceModel,
    folder,
    *,
    test_set: Dataset | None = None,
    start_from=None,
    start_epoch: int = 0,
    overwrite: bool = False,
) -> list[dict]:
    """Train a network, or resume a run that stopped, and return the log: one dictionary an epoch.

    The folder gets best.keras (least NME on the validation samples) and last.keras, checkpoint.npz to resume from,
    config.json, training.csv, training.png, samples.png and TensorBoard's event files. test_set : reported each epoch,
    selects nothing. start_from : a `.keras` file whose weights to begin with, counted as `start_epoch` finished
    epochs. overwrite : begin again in a folder that holds another run.
    """
    folder = Path(folder)
    _check(training, run, dataset, face_model, test_set)
    layout = layout_of_model(face_model)
    basis = map_basis(face_model, training.image_size) if dataset.data_mode == 5 else None
    sequence, validation = _sequences(training, run, dataset, basis)
    size = training.image_size
    spread = validation.indices[:: max(len(validation.indices) // 4, 1)][:4]
    shown = WatchedSequence(dataset, spread, basis=basis, image_size=size, batch_size=4)
    test = None
    if test_set is not None:
        indices = np.arange(len(test_set))
        test = WatchedSequence(test_set, indices, basis=basis, image_size=size, batch_size=training.batch_size)
    steps_per_epoch = len(sequence)
    epochs = training.epochs if training.steps is None else math.ceil(training.steps / steps_per_epoch)
    training = dataclasses.replace(training, augmentation=sequence.augmentation)

    with data_parallel(run.devices) as scope, ExitStack() as held:
        saved = build_network(training.network, training.image_size, training.head)
        if start_from is not None:
            _begin_with(saved, start_from, layout)
        record = _record(training, run, dataset, face_model, start_from, start_epoch)
        refusal = f"{folder}: another run trains in it; wait until it has ended, or choose another --outputdir"
        if held.enter_context(exclusive_lock(folder / ".training.lock", refusal)):
            remove_left_behind(*(folder / name for name in FILES))
        resuming = _claim(folder, record, overwrite)
        for part, values in record.items():
            print(f"{part}: {', '.join(f'{_words(name)} {value}' for name, value in values.items())}")

        network = compiled_network(training, run, layout, steps_per_epoch, scope)
        state = {"epoch": start_epoch, "best": None, "rows": []}
        if resuming:
            state = restore_checkpoint(folder / CHECKPOINT, network)
            print(f"resuming after epoch {state['epoch']}")
        elif start_from is not None:
            network.set_weights(saved.get_weights())
            network.optimizer.iterations.assign(start_epoch * steps_per_epoch)

        monitor = StepMonitor(sequence, epochs)
        keeper = _Keeper(folder, saved, layout, state, monitor, training.loss, shown[0], test, Poster(run.server))
        if resuming:
            saved.set_weights(network.get_weights())
            keeper.draw()  # a run may have been killed between its checkpoint and these
        if state["epoch"] >= epochs:
            print(f"{folder}: already trained for {state['epoch']} epochs; ask for more with --epochs")
            return state["rows"]
        try:
            network.fit(
                sequence,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=state["epoch"],
                callbacks=[monitor, keeper],
                shuffle=False,
                verbose=0,
            )
        except Exception:
            for fed in filter(None, (sequence, validation, test)):
                if fed.failure is not None:
                    raise fed.failure from None
            raise
        finally:
            monitor.bar.close()  # an error begins a line of its own
    least = math.nan if state["best"] is None else state["best"]
    print(f"{folder}: least validation NME {least:.2f} %; best.keras, last.keras, training.csv, training.png")
    return state["rows"]


def _check(training: Training, run: Run, dataset: Dataset, face_model: FaceModel, test_set: Dataset | None) -> None:
    for data in filter(None, (dataset, test_set)):
        if data.model_identity != face_model.identity:
            raise UserError(
                f"{data.path}: built with the face model {data.model_identity}, not with this one "
                f"({face_model.identity}, {face_model.source}); give the one it was built with as --facemodel"
            )
    positive = ("epochs", "steps", "batch_size", "learning_rate", "drop_factor", "drop_every")
    for name in positive:
        value = getattr(training, name)
        if value is not None and not value > 0:
            raise UserError(f"{name.replace('_', ' ')} {value}: must be above 0")
    if run.workers < 1 or run.devices < 1:
        raise UserError(f"workers {run.workers}, devices {run.devices}: must be at least 1")
    if training.batch_size % run.devices:
        raise UserError(f"batch size {training.batch_size} does not divide among {run.devices} devices")
    count = int(np.count_nonzero(~dataset.validation))
    if training.batch_size > count:
        raise UserError(
            f"{dataset.path}: {count} training samples are less than one batch of {training.batch_size}; "
            "lower --batchsize"
        )


def _sequences(training: Training, run: Run, dataset: Dataset, basis: MapBasis | None):
    """Training samples, augmented, and validation samples, not; with mirrored folders nothing is mirrored again."""
    augmentation = training.augmentation
    if any(folder.endswith("_Flip") for folder in dataset.folders):
        augmentation = dataclasses.replace(augmentation, mirror=0.0)
    chosen = np.flatnonzero(dataset.validation)
    others = np.flatnonzero(~dataset.validation)
    if len(chosen) == 0:
        print(f"{dataset.path}: no validation samples; the best model is chosen on the training samples")
        chosen = others
    sequence = WatchedSequence(
        dataset,
        others,
        basis=basis,
        image_size=training.image_size,
        batch_size=training.batch_size,
        augmentation=augmentation,
        seed=training.seed,
        shuffle=True,
        workers=run.workers,
    )
    size = training.image_size
    return sequence, WatchedSequence(dataset, chosen, basis=basis, image_size=size, batch_size=training.batch_size)


def _begin_with(network: keras.Model, path, layout: UVLayout) -> None:
    """Give a network the weights of a saved one of the same kind and UV layout."""
    other, other_layout = load_network(path)
    found, wanted = (
        (model.name, model.input_shape[1], getattr(getattr(model.layers[-1], "activation", None), "__name__", "other"))
        for model in (other, network)
    )
    if found != wanted:
        raise UserError(
            f"{path}: a {' '.join(map(str, found))} network, not {' '.join(map(str, wanted))}; "
            "give its --network, --imagesize and --head"
        )
    if other_layout.identity != layout.identity:
        raise UserError(f"{path}: its maps mean another UV layout than the face model's; give the --facemodel it had")
    network.set_weights(other.get_weights())


def _record(training: Training, run: Run, dataset: Dataset, face_model: FaceModel, start_from, start_epoch) -> dict:
    """The whole configuration of a run, as it is written beside its results."""
    settings = dataclasses.asdict(training)
    augmentation = settings.pop("augmentation")
    return {
        "training": settings,
        "augmentation": augmentation,
        "data": {
            "path": str(dataset.path),
            "identity": dataset.identity,
            "face model": face_model.identity,
            "start from": None if start_from is None else str(start_from),
            "start epoch": start_epoch,
        },
        "run": dataclasses.asdict(run),
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
    }


def _claim(folder: Path, record: dict, overwrite: bool) -> bool:
    """Write config.json; whether the folder holds a checkpoint of this very run to resume from.

    A folder that holds another run is refused, naming the differences, unless `overwrite`, which clears it.
    """
    config, checkpoint = folder / CONFIG, folder / CHECKPOINT
    if overwrite:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / EVENTS, ignore_errors=True)
    if config.exists():
        try:
            earlier = _decisive(json.loads(config.read_text()))
        except (ValueError, KeyError):
            raise UserError(
                f"{config}: not a run's configuration; choose another --outputdir, or --overwrite"
            ) from None
        now = _decisive(json.loads(json.dumps(record)))
        changes = [
            f"{key} {earlier.get(key)} (now {now.get(key)})"
            for key in now | earlier
            if earlier.get(key) != now.get(key)
        ]
        if changes:
            raise UserError(
                f"{folder}: holds a run with {', '.join(changes)}; choose another --outputdir, or --overwrite"
            )
    with atomic_write(config) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    return checkpoint.exists()


def _decisive(record: dict) -> dict:
    """What makes a run another run: everything but how long, from which path, on what and with how many workers."""
    values = {
        f"data {name}" if part == "data" else _words(name): value
        for part in ("training", "augmentation", "data")
        for name, value in record[part].items()
    }
    return {name: value for name, value in values.items() if name not in ("epochs", "steps", "data path")}


def _words(name: str) -> str:
    return name.replace("_", " ")


def learning_rate_schedule(training: Training, steps_per_epoch: int):
    """The learning rate by step: it drops by a factor every so many steps, or epochs of `steps_per_epoch` steps."""
    drop_steps = training.drop_every * (steps_per_epoch if training.drop_unit == "epochs" else 1)
    return keras.optimizers.schedules.ExponentialDecay(
        training.learning_rate, max(round(drop_steps), 1), training.drop_factor, staircase=True
    )


def compiled_network(training: Training, run: Run, layout: UVLayout, steps_per_epoch: int, scope) -> keras.Model:
    """The network that trains, on its devices and in its precision, with optimizer, loss and metrics."""
    keras.utils.set_random_seed(training.seed)
    loss = map_loss(training.loss, layout, training.image_size)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        with scope():
            network = build_network(
                training.network, training.image_size, training.head, synchronised=scope is not nullcontext
            )
            network.compile(
                optimizer=keras.optimizers.Adam(learning_rate_schedule(training, steps_per_epoch)),
                loss=loss,
                metrics=[
                    keras.metrics.MeanMetricWrapper(loss.call, name=loss.name),
                    LandmarkNME(layout, training.image_size),
                ],
                jit_compile=uses_xla(run.jit),
            )
            network.optimizer.build(network.trainable_variables)
    finally:
        keras.config.set_dtype_policy(policy)
    return network


class _Keeper(keras.callbacks.Callback):
    """After each epoch: keeps the models and a checkpoint, and reports.

    saved : the network in float32 without distribution, which takes over the trained weights and is what is written.
    The checkpoint comes after the models, so a run stopped in between does the epoch again and writes the same.
    """

    def __init__(self, folder, saved, layout, state, monitor, loss, shown, test, poster):
        super().__init__()
        self.folder, self.saved, self.layout, self.state = folder, saved, layout, state
        self.monitor, self.loss, self.test, self.poster = monitor, loss, test, poster
        self.images, self.targets = shown

    def on_train_begin(self, logs=None):
        self.board = TensorBoardLog(self.folder / EVENTS)

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()
        self.learning_rate = float(f"{float(ops.convert_to_numpy(self.model.optimizer.learning_rate)):.6g}")

    def on_epoch_end(self, epoch, logs=None):
        test = {}
        if self.test is not None:
            test["test_nme"] = self.model.evaluate(self.test, verbose=0, return_dict=True)["nme"]
        measured = {
            name: logs[name] for part in ("", "val_") for name in (f"{part}loss", f"{part}{self.loss}", f"{part}nme")
        }
        row = {"epoch": epoch + 1, **measured, **test, "learning_rate": self.learning_rate, **self.monitor.figures}
        best, state = self.state["best"], self.state
        improved = math.isfinite(row["val_nme"]) and (best is None or row["val_nme"] < best)
        state.update(epoch=epoch + 1, best=row["val_nme"] if improved else best, rows=[*state["rows"], row])

        self.saved.set_weights(self.model.get_weights())
        if improved:
            save_network(self.saved, self.layout, self.folder / "best.keras")
        save_network(self.saved, self.layout, self.folder / "last.keras")
        save_checkpoint(self.folder / CHECKPOINT, self.model, state)

        picture = self.draw()
        self.board.write(epoch + 1, {key: value for key, value in row.items() if key != "epoch"}, {"samples": picture})
        progress = {"run": str(self.folder), "stage": "training", "done": epoch + 1, "total": self.monitor.epochs}
        self.poster.post("/publish/epoch/end/", row | progress)
        left = timedelta(seconds=round((self.monitor.epochs - epoch - 1) * (time.perf_counter() - self.begun)))
        print(_summary(row, self.monitor.epochs, improved, left), flush=True)

    def on_train_end(self, logs=None):
        self.board.close()

    def draw(self) -> np.ndarray:
        """Write the log, its curves and the samples' picture as of the last finished epoch; returns the picture."""
        unit = self.images.shape[1] * TARGET_SCALE
        maps = ops.convert_to_numpy(self.saved(self.images, training=False))
        picture = draw_samples(self.images, self.targets * unit, maps * unit, self.layout)
        write_log(self.folder / "training.csv", self.state["rows"])
        draw_curves(self.folder / "training.png", self.state["rows"], self.loss)
        write_picture(self.folder / "samples.png", picture)
        return picture


def _summary(row: dict, epochs: int, improved: bool, left: timedelta) -> str:
    test = f", test NME {row['test_nme']:.2f} %" if "test_nme" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4g}, NME {row['nme']:.2f} %, "
        f"validation NME {row['val_nme']:.2f} %{' (best)' if improved else ''}{test}, "
        f"{row['images_per_second']:.0f} images/s, {row['waiting']:.0%} of the time waiting for data, {left} left"
    )
