"""Monitoring of a run: progress, speed, time spent waiting for data, and the first number that is not finite."""

import math
import threading
import time

import keras
import numpy as np
from tqdm import tqdm

from prnet.common.errors import UserError
from prnet.generating.sequence import FaceSequence


class WatchedSequence(FaceSequence):
    """A `FaceSequence` that notes when each batch of the epoch was ready, in `time.perf_counter` seconds.

    `failure` is the error of a sample that could not be read, which backends wrap beyond recognition.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.ready = np.zeros(len(self))
        self.failure = None

    def __getitem__(self, batch: int):
        try:
            images_and_targets = super().__getitem__(batch)
        except UserError as error:
            self.failure = error
            raise
        self.ready[batch] = time.perf_counter()
        return images_and_targets


class StepMonitor(keras.callbacks.Callback):
    """A progress bar, the speed of each epoch, and the stop at a non-finite loss.

    Keras runs it beside the training loop (`async_safe`), which therefore never waits for a device's result. After an
    epoch, `figures` holds images_per_second and waiting, the share of the time that the network waited for data.
    """

    async_safe = True

    def __init__(self, sequence: WatchedSequence, epochs: int, shown: bool = True):
        super().__init__()
        self.sequence, self.epochs, self.shown = sequence, epochs, shown
        self.lock = threading.Lock()
        self.figures: dict[str, float] = {}
        self.bar = tqdm(disable=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.sequence.epoch = self.epoch = epoch
        steps = len(self.sequence)
        self.begun, self.done = np.zeros(steps), np.zeros(steps)
        label = f"epoch {epoch + 1}/{self.epochs}"
        self.bar = tqdm(
            total=steps * self.sequence.batch_size,
            desc=label,
            unit=" images",
            leave=False,
            mininterval=0.5,
            disable=not self.shown,
        )

    def on_train_batch_begin(self, batch, logs=None):
        self.begun[batch] = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.done[batch] = time.perf_counter()
        with self.lock:
            if not math.isfinite(logs["loss"]):
                self._stop(batch)
            self.bar.set_postfix(loss=f"{logs['loss']:.4g}", nme=f"{logs['nme']:.2f} %", refresh=False)
            self.bar.update(self.sequence.batch_size)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        asked = np.maximum(self.begun, np.concatenate([self.begun[:1], self.done[:-1]]))
        waited = np.maximum(self.sequence.ready - asked, 0).sum()
        seconds = self.done[-1] - self.begun[0]
        images = len(self.sequence) * self.sequence.batch_size
        self.figures = {"images_per_second": images / seconds, "waiting": waited / seconds}

    def _stop(self, batch):
        self.bar.close()
        self.sequence.epoch = self.epoch
        names = ", ".join(self.sequence.batch_names(batch))
        step = self.epoch * len(self.sequence) + batch + 1
        raise UserError(
            f"the loss is not finite at step {step} (batch {batch + 1} of epoch {self.epoch + 1}), "
            f"on the samples {names}; look at them, or lower `learning_rate`; "
            "the checkpoint of the last finished epoch stays"
        )
