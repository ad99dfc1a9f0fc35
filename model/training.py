"""The training function: a data set, a face model and settings in; models, log and curves in a folder out."""

import dataclasses
import math
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.common.progress import Poster
from prnet.configure.config import Run, Training
from prnet.generating.dataset import Dataset
from prnet.generating.sampling import sampling_weights
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis
from prnet.geometry.uv_layout import UVLayout
from prnet.model.blocks import ENCODER_LAYERS
from prnet.model.callbacks import Keeper
from prnet.model.checkpoint import restore_checkpoint
from prnet.model.compilation import compiled_network, epochs_of
from prnet.model.devices import data_parallel
from prnet.model.face_space import FaceSpace, face_space
from prnet.model.monitoring import StepMonitor, WatchedSequence
from prnet.model.networks import build_network
from prnet.model.run_folder import CHECKPOINT, FILES, claim_folder, run_record, words
from prnet.model.saved_network import load_network


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
    sequence, validation = _sequences(
        training, run, dataset, basis, sampling_weights(dataset, face_model, training.balance)
    )
    size = training.image_size
    spread = validation.indices[:: max(len(validation.indices) // 4, 1)][:4]
    shown = WatchedSequence(dataset, spread, basis=basis, image_size=size, batch_size=4)
    test = None
    if test_set is not None:
        indices = np.arange(len(test_set))
        test = WatchedSequence(test_set, indices, basis=basis, image_size=size, batch_size=training.batch_size)
    steps_per_epoch = len(sequence)
    epochs = epochs_of(training, steps_per_epoch)
    space = _face_space(training, dataset, face_model, basis, layout)
    training = dataclasses.replace(training, augmentation=sequence.augmentation)

    with data_parallel(run.devices) as scope, ExitStack() as held:
        saved = build_network(training.network, training.image_size, training.head, space=space)
        if start_from is not None:
            _begin_with(saved, start_from, layout)
        record = run_record(training, run, dataset, face_model, start_from, start_epoch)
        refusal = f"{folder}: another run trains in it; wait until it has ended, or choose another --outputdir"
        if held.enter_context(exclusive_lock(folder / ".training.lock", refusal)):
            remove_left_behind(*(folder / name for name in FILES))
        resuming = claim_folder(folder, record, overwrite)
        for part, values in record.items():
            print(f"{part}: {', '.join(f'{words(name)} {value}' for name, value in values.items())}")

        network = compiled_network(training, run, layout, space, steps_per_epoch, scope)
        state = {"epoch": start_epoch, "best": None, "rows": []}
        if resuming:
            state = restore_checkpoint(folder / CHECKPOINT, network)
            print(f"resuming after epoch {state['epoch']}")
        elif start_from is not None:
            network.network.set_weights(saved.get_weights())
            network.optimizer.iterations.assign(start_epoch * steps_per_epoch)

        monitor = StepMonitor(sequence, epochs)
        keeper = Keeper(folder, saved, layout, state, monitor, training.loss, shown[0], test, Poster(run.server))
        if resuming:
            saved.set_weights(network.network.get_weights())
            keeper.draw()  # a run may have been killed between its checkpoint and these
        if state["epoch"] >= epochs:
            print(f"{folder}: already trained for {state['epoch']} epochs; ask for more with --epochs")
            return state["rows"]
        averaging = [] if training.average is None else [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
        try:
            network.fit(
                sequence,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=state["epoch"],
                callbacks=[monitor, *averaging, keeper],
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


def _sequences(training: Training, run: Run, dataset: Dataset, basis: MapBasis | None, weights: np.ndarray):
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
        weights=weights[others] if training.balance else None,
        workers=run.workers,
    )
    size = training.image_size
    return sequence, WatchedSequence(dataset, chosen, basis=basis, image_size=size, batch_size=training.batch_size)


def _face_space(
    training: Training, dataset: Dataset, face_model: FaceModel, basis: MapBasis | None, layout: UVLayout
) -> FaceSpace | None:
    """Statistics of the training samples' fits for a morphable network."""
    if training.network != "morphnet":
        return None
    if basis is None:
        raise UserError(
            f"{dataset.path}: holds maps (data mode {dataset.data_mode}); morphnet learns from fits, data mode 5"
        )
    fits = np.asarray(dataset.coefficients)[~dataset.validation]
    return face_space(face_model, basis, layout, fits, training.identities)


def _begin_with(network: keras.Model, path, layout: UVLayout) -> None:
    """Give a network the weights of a saved one of the same kind and UV layout, or the encoder of one of another kind.

    A morphable network takes over what was trained; its face space is that of its own data.
    """
    other, other_layout = load_network(path)
    if other.name != network.name and _take_encoder(network, other):
        return
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
    pairs = list(zip(network.layers, other.layers, strict=True))
    if any(mine.trainable and _shapes(mine) != _shapes(given) for mine, given in pairs):
        raise UserError(f"{path}: its face space has other components than these fits; give the data it was trained on")
    for mine, given in pairs:
        if mine.trainable:  # not the constants of a face space
            mine.set_weights(given.get_weights())


def _shapes(layer: keras.Layer) -> list[tuple]:
    return [weights.shape for weights in layer.weights]


def _take_encoder(network: keras.Model, other: keras.Model) -> bool:
    """Copy the layers of the encoder that two kinds of network share; whether there are any."""
    shared = [layer for layer in other.layers if layer.name.startswith(ENCODER_LAYERS) and layer.weights]
    mine = {layer.name: layer for layer in network.layers}
    if not shared or any(layer.name not in mine for layer in shared):
        return False
    for layer in shared:
        mine[layer.name].set_weights(layer.get_weights())
    print(f"begins with the encoder of a {other.name}")
    return True
