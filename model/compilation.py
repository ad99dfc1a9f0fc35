"""A network ready to train: optimizer, learning rate schedule, losses and metrics, on its devices, in its precision."""

import math
from contextlib import nullcontext

import keras
import numpy as np

from prnet.configure.config import Run, Training
from prnet.geometry.uv_layout import UVLayout, weight_mask
from prnet.model.devices import uses_xla
from prnet.model.face_space import FaceSpace
from prnet.model.losses import FaceLoss, MapLoss, map_loss
from prnet.model.metrics import LandmarkNME
from prnet.model.morphnet import RAW_MAP
from prnet.model.networks import build_network

LAST_RATE = 0.01
"""Of the learning rate, at the end of a cosine schedule."""


def learning_rate_schedule(training: Training, steps_per_epoch: int):
    """The learning rate by step.

    "steps": it drops by a factor every so many steps, or epochs of `steps_per_epoch` steps. "cosine": after the
    warm-up it falls along half a cosine to `LAST_RATE` of itself at the end of the run.
    """
    if training.schedule == "cosine":
        warmup = round(training.warmup * steps_per_epoch)
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else training.learning_rate,
            max(epochs_of(training, steps_per_epoch) * steps_per_epoch - warmup, 1),
            alpha=LAST_RATE,
            warmup_target=training.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    drop_steps = training.drop_every * (steps_per_epoch if training.drop_unit == "epochs" else 1)
    return keras.optimizers.schedules.ExponentialDecay(
        training.learning_rate, max(round(drop_steps), 1), training.drop_factor, staircase=True
    )


def epochs_of(training: Training, steps_per_epoch: int) -> int:
    """How many epochs a run has."""
    return training.epochs if training.steps is None else math.ceil(training.steps / steps_per_epoch)


class MapTraining(keras.Model):
    """A network under training: its map meets the loss, and so does the raw map of a morphable one, where it lies."""

    def __init__(self, network: keras.Model, raw_loss=None, raw_texels=None, raw_weight: float = 0.0):
        super().__init__(name="training")
        self.network = network
        self.raw_loss, self.raw_texels, self.raw_weight = raw_loss, raw_texels, raw_weight
        self.with_raw = None
        if raw_loss is not None:
            self.with_raw = keras.Model(network.input, (network.output, network.get_layer(RAW_MAP).output))

    def call(self, images, training=None):
        """The position maps, and the raw maps or None."""
        if self.with_raw is None:
            return self.network(images, training=training), None
        return self.with_raw(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        maps, raw = y_pred
        loss = super().compute_loss(x, y, maps, sample_weight, training)
        if raw is None:
            return loss
        flat = keras.ops.reshape(y, (-1, y.shape[1] * y.shape[2], 3))
        return loss + self.raw_weight * self.raw_loss(keras.ops.take(flat, self.raw_texels, axis=1), raw)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred[0], sample_weight)


def compiled_network(
    training: Training, run: Run, layout: UVLayout, space: FaceSpace | None, steps_per_epoch: int, scope
) -> MapTraining:
    """The network that trains, on its devices and in its precision, with optimizer, loss and metrics."""
    keras.utils.set_random_seed(training.seed)
    size = training.image_size
    loss = map_loss(training.loss, layout, size)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        with scope():
            network = build_network(
                training.network, size, training.head, space=space, synchronised=scope is not nullcontext
            )
            model = MapTraining(network, *_raw_terms(training, layout, space))
            model.compile(
                optimizer=keras.optimizers.Adam(
                    learning_rate_schedule(training, steps_per_epoch),
                    clipnorm=training.clip_norm,
                    use_ema=training.average is not None,
                    ema_momentum=training.average or 0.99,
                ),
                loss=FaceLoss(loss, training.terms, layout, size),
                metrics=[keras.metrics.MeanMetricWrapper(loss.call, name=loss.name), LandmarkNME(layout, size)],
                jit_compile=uses_xla(run.jit),
            )
            model.optimizer.build(model.trainable_variables)
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def _raw_terms(training: Training, layout: UVLayout, space: FaceSpace | None) -> tuple:
    """The map's loss at the texels of the raw map, those texels, and its weight."""
    if space is None:
        return ()
    weights = np.where(space.raw_face, weight_mask(layout, training.image_size).ravel()[space.raw_texels], 0.0)
    raw_loss = MapLoss(training.loss, weights[:, None])

    def error(truth, prediction):
        return keras.ops.mean(raw_loss.call(truth[:, :, None], prediction[:, :, None]))

    return error, space.raw_texels, training.terms.raw
