"""A network ready to train: optimizer, learning rate schedule, losses and metrics, on its devices, in its precision."""

import math
from contextlib import nullcontext

import keras
import numpy as np

from prnet.configure.config import LossTerms, Run, Training
from prnet.geometry.uv_layout import UVLayout, landmark_stencil, weight_mask
from prnet.model.devices import share_of_replicas, uses_xla
from prnet.model.face_space import FaceSpace
from prnet.model.losses import FaceLoss, MapLoss, known_landmark_error, map_loss, score_error
from prnet.model.metrics import LandmarkNME, landmarks_of_maps
from prnet.model.morphnet import COEFFICIENTS, RAW_MAP
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


def optimizer(training: Training, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam by the schedule, with clipped gradients and averaged weights where the training asks for them."""
    return keras.optimizers.Adam(
        learning_rate_schedule(training, steps_per_epoch),
        clipnorm=training.clip_norm,
        use_ema=training.average is not None,
        ema_momentum=0.99 if training.average is None else training.average,
    )


def begin_averages(network: keras.Model) -> None:
    """Let the averages of a compiled network's weights, where it has any, begin at the weights as they are: Keras does
    so at step 0 alone."""
    inner = getattr(network.optimizer, "inner_optimizer", network.optimizer)  # of one that scales losses
    means = getattr(inner, "_model_variables_moving_average", ())
    for mean, weight in zip(means, network.trainable_variables if means else (), strict=True):
        mean.assign(keras.ops.convert_to_numpy(weight))  # a copy: JAX gives away what two variables may not share


class MapTraining(keras.Model):
    """A network under training: its map meets the loss, and so do a morphable one's raw map, where it lies, and scores.

    Targets are maps, or what `prnet.generating.batches.make_batch` returns beside them. stencil : of the landmarks
    (`prnet.geometry.uv_layout.landmark_stencil`).
    """

    def __init__(self, network: keras.Model, terms: LossTerms, stencil, raw_loss=None, raw_texels=None):
        super().__init__(name="training")
        self.network, self.terms, self.stencil = network, terms, stencil
        self.raw_loss, self.raw_texels = raw_loss, raw_texels
        self.with_parts = None
        if raw_loss is not None:
            parts = (network.get_layer(name).output for name in (RAW_MAP, COEFFICIENTS))
            self.with_parts = keras.Model(network.input, (network.output, *parts))

    def call(self, images, training=None):
        """The position maps, and of a morphable network the raw maps and coefficients too."""
        if self.with_parts is None:
            return (self.network(images, training=training),)
        return self.with_parts(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        known = y if isinstance(y, dict) else {"maps": y}
        true_maps = known["maps"]
        loss = super().compute_loss(x, true_maps, y_pred[0], sample_weight, training)
        return loss + share_of_replicas(self._terms_beside(known, y_pred))

    def _terms_beside(self, known: dict, predicted: tuple):
        """What the map's own loss does not see, a mean over the samples."""
        total = 0.0
        if "landmarks" in known:
            points = landmarks_of_maps(predicted[0], *self.stencil)
            total += self.terms.photo_landmarks * known_landmark_error(known["landmarks"], points)
        if self.with_parts is None:
            return total
        _, raw, coefficients = predicted
        true_maps = known["maps"]
        flat = keras.ops.reshape(true_maps, (-1, true_maps.shape[1] * true_maps.shape[2], 3))
        total += self.terms.raw * self.raw_loss(keras.ops.take(flat, self.raw_texels, axis=1), raw)
        if "scores" in known:
            scores = known["scores"]
            total += self.terms.scores * score_error(scores, coefficients[:, -scores.shape[1] :])
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y["maps"] if isinstance(y, dict) else y, y_pred[0], sample_weight)


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
                training.network,
                size,
                training.head,
                decoder=training.decoder,
                space=space,
                synchronised=_needs_synchronising(scope),
            )
            stencil = landmark_stencil(layout, size)
            model = MapTraining(network, training.terms, stencil, *_raw_part(training, layout, space))
            model.compile(
                optimizer=optimizer(training, steps_per_epoch),
                loss=FaceLoss(loss, training.terms, layout, size),
                weighted_metrics=[
                    keras.metrics.MeanMetricWrapper(loss.call, name=loss.name),
                    LandmarkNME(layout, size),
                ],
                jit_compile=uses_xla(run.jit),
            )
            model.optimizer.build(model.trainable_variables)
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def _needs_synchronising(scope) -> bool:
    """Whether batch statistics have to be put together across devices; JAX's are of the whole batch anyhow."""
    return scope is not nullcontext and keras.backend.backend() == "tensorflow"


def _raw_part(training: Training, layout: UVLayout, space: FaceSpace | None) -> tuple:
    """The map's loss at the texels of the raw map, and those texels."""
    if space is None:
        return ()
    weights = np.where(space.raw_face, weight_mask(layout, training.image_size).ravel()[space.raw_texels], 0.0)
    raw_loss = MapLoss(training.loss, weights[:, None])

    def error(truth, prediction):
        return keras.ops.mean(raw_loss.call(truth[:, :, None], prediction[:, :, None]))

    return error, space.raw_texels
