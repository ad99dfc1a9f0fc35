"""Training runs that take a second: a network of one convolution in the light network's place, and what a run left."""

import csv
import os
import signal
from pathlib import Path

import numpy as np

from prnet.commands.train_model import train_in_process

MICRO = """
from tests.helpers.micro_runs import use_micro_network
use_micro_network()
"""
"""Code that begins a process whose light network is the micro network."""


def use_micro_network() -> None:
    """Build the micro network wherever this process asks for the light one."""
    from prnet.model import networks

    networks.BUILDERS["lprnet"] = _build_micro


def _build_micro(image_size: int, head: str, synchronised: bool, decoder: str):
    import keras

    from prnet.model.blocks import network_name, upconvolve

    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(4, 3, 8, use_bias=False, kernel_regularizer=keras.regularizers.L2(1e-4))(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(synchronized=synchronised)(x))
    x = upconvolve(x, 3, 8, 8, "decoder0", decoder)
    outputs = keras.layers.Activation(head, dtype="float32")(x)
    return keras.Model(inputs, outputs, name=network_name("lprnet", decoder))


def rows_of(output: Path) -> list[dict]:
    """The rows of a run's training.csv."""
    with open(output / "training.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def weights_of(output: Path) -> list[np.ndarray]:
    """The weights that a run ended with."""
    from prnet.model.saved_network import load_network

    return load_network(output / "last.keras")[0].get_weights()


def train_micro(arguments, training, run, process: int) -> None:
    """What a process of `prnet.commands.train_model` does, with the micro network."""
    use_micro_network()
    train_in_process(arguments, training, run, process)


def train_micro_until_killed(arguments, training, run, process: int) -> None:
    """The same, and process 1 is killed in the second epoch."""
    from prnet.generating.sequence import FaceSequence

    emit = FaceSequence.__getitem__

    def kill_in_the_second_epoch(sequence, batch):
        if (process, sequence.shuffle, sequence.epoch, batch) == (1, True, 1, 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return emit(sequence, batch)

    FaceSequence.__getitem__ = kill_in_the_second_epoch
    train_micro(arguments, training, run, process)
