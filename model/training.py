"""The training function: a data set, a face model and settings in; models, log and curves in a folder out."""

import dataclasses
import json
import math
import platform
import time
from pathlib import Path

import cv2
import keras
import numpy as np

from common.errors import UserError
from common.files import written_whole
from common.progress import Poster
from configure.config import NO_AUGMENTATION, TARGET_SCALE, Run, Training
from generating.dataset import Dataset
from generating.sequence import FaceSequence
from geometry.face_model import FaceModel
from geometry.position_map import MapBasis, layout_of_model, map_basis
from geometry.uv_layout import UVLayout
from model.checkpoint import restore_checkpoint, save_checkpoint
from model.devices import data_parallel, is_chief
from model.losses import map_loss
from model.metrics import LandmarkNME
from model.monitoring import StepMonitor, TimedSequence
from model.networks import build_network, predict_maps
from model.reports import draw_curves, draw_samples, write_log
from model.saved_network import load_network, save_network
from model.tensorboard_log import TensorBoardLog

SHOWN_SAMPLES = 4
"""Validation samples whose pictures follow the run."""


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
    """Train a network, or go on with a run that stopped, and return the log: one dictionary an epoch.

    The folder gets best.keras (least NME on the validation samples) and last.keras, checkpoint.npz to go on from,
    config.json, training.csv, training.png, samples.png and TensorBoard's event files. test_set : reported each epoch,
    selects nothing. start_from : a `.keras` file whose weights to begin with, counted as `start_epoch` finished
    epochs. overwrite : begin again in a folder that holds another run.
    """
    folder = Path(folder)
    _check(training, run, dataset, face_model, test_set)
    layout = layout_of_model(face_model)
    basis = map_basis(face_model, training.image_size) if dataset.data_mode == 5 else None
    sequence, validation = _sequences(training, run, dataset, basis)
    steps_per_epoch = len(sequence)
    epochs = training.epochs if training.steps is None else math.ceil(training.steps / steps_per_epoch)
    training = dataclasses.replace(training, augmentation=sequence.augmentation)

    saved = build_network(training.network, training.image_size, training.head)
    if start_from is not None:
        _begin_with(saved, start_from, layout)
    record = _record(training, run, dataset, face_model, start_from, start_epoch)
    going_on = _claim(folder, record, overwrite)
    print(json.dumps(record, indent=2))

    keras.utils.set_random_seed(training.seed)
    network = _compiled(training, run, layout, steps_per_epoch)
    state = {"epoch": start_epoch, "best": None, "rows": []}
    if going_on:
        state = restore_checkpoint(folder / "checkpoint.npz", network)
        print(f"going on after epoch {state['epoch']}")
    elif start_from is not None:
        network.set_weights(saved.get_weights())
        network.optimizer.iterations.assign(start_epoch * steps_per_epoch)
    if state["epoch"] >= epochs:
        print(f"{folder}: already trained for {state['epoch']} epochs; ask for more with --epochs")
        return state["rows"]

    monitor = StepMonitor(sequence, epochs)
    test = None if test_set is None else _reference_sequence(training, test_set, np.arange(len(test_set)), basis)
    keeper = _Keeper(folder, network, saved, layout, state, monitor, validation, test, training.loss, run.server)
    network.fit(
        sequence,
        validation_data=validation,
        epochs=epochs,
        initial_epoch=state["epoch"],
        callbacks=[monitor, keeper],
        shuffle=False,
        verbose=0,
    )
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
    sequence = TimedSequence(
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
    return sequence, _reference_sequence(training, dataset, chosen, basis)


def _reference_sequence(training: Training, dataset: Dataset, indices, basis: MapBasis | None) -> FaceSequence:
    augmentation = dataclasses.replace(NO_AUGMENTATION, crop_margin=training.augmentation.crop_margin)
    return FaceSequence(
        dataset,
        indices,
        basis=basis,
        image_size=training.image_size,
        batch_size=training.batch_size,
        augmentation=augmentation,
    )


def _compiled(training: Training, run: Run, layout: UVLayout, steps_per_epoch: int) -> keras.Model:
    """The network that trains, on its devices and in its precision, with optimizer, loss and metrics."""
    drop_steps = training.drop_every * (steps_per_epoch if training.drop_unit == "epochs" else 1)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        with data_parallel(run.devices):
            network = build_network(
                training.network, training.image_size, training.head, synchronised=_synchronised(run)
            )
            loss = map_loss(training.loss, layout, training.image_size)
            network.compile(
                optimizer=keras.optimizers.Adam(
                    keras.optimizers.schedules.ExponentialDecay(
                        training.learning_rate, max(round(drop_steps), 1), training.drop_factor, staircase=True
                    )
                ),
                loss=loss,
                metrics=[
                    keras.metrics.MeanMetricWrapper(loss.call, name=loss.name),
                    LandmarkNME(layout, training.image_size),
                ],
                jit_compile=_jit(run.jit),
            )
            network.optimizer.build(network.trainable_variables)
    finally:
        keras.config.set_dtype_policy(policy)
    return network
