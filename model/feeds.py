"""The samples that a training run feeds its network with: to learn from, to choose the best model by, to show."""

import dataclasses
import logging
from typing import Any

import numpy as np

from prnet.configure.config import SCORE_NAMES, Augmentation, Run, Training
from prnet.generating.dataset import Dataset
from prnet.generating.sampling import sampling_weights
from prnet.generating.split import is_mirrored
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import MapBasis
from prnet.model.devices import equal_shares
from prnet.model.monitoring import WatchedSequence

logger = logging.getLogger(__name__)

SHOWN = 4
"""Validation samples that the run's picture shows."""


@dataclasses.dataclass(frozen=True)
class Feeds:
    """Sequences of images and target maps; only the training samples are augmented."""

    training: WatchedSequence
    validation: WatchedSequence
    test: WatchedSequence | None
    shown: tuple[np.ndarray, np.ndarray]  # images and maps of a few validation samples

    @property
    def failure(self) -> Exception | None:
        """Of a sample that could not be read, where that ended the run."""
        fed = filter(None, (self.training, self.validation, self.test))
        return next((sequence.failure for sequence in fed if sequence.failure is not None), None)


def open_feeds(
    training: Training,
    run: Run,
    dataset: Dataset,
    face_model: FaceModel,
    basis: MapBasis | None,
    test_set: Dataset | None,
) -> Feeds:
    """basis : makes the maps of data sets that store fits. Without validation samples those to learn from serve."""
    weights = sampling_weights(dataset, face_model, training.balance)
    learned, chosen = chosen_samples(dataset)

    def plain(data: Dataset, indices: np.ndarray, batch_size: int = training.batch_size, **options) -> WatchedSequence:
        size, maps = training.image_size, basis if data.stores_fits else None
        return WatchedSequence(data, indices, basis=maps, image_size=size, batch_size=batch_size, **options)

    beside: dict[str, Any] = {
        "scores": learned_scores(training, dataset),
        "landmarks": learns_landmarks(training, dataset),
    }
    shared: dict[str, Any] = {"part": (run.process, run.processes), "multiple": equal_shares(run)}

    sequence = WatchedSequence(
        dataset,
        learned,
        basis=basis if dataset.stores_fits else None,
        image_size=training.image_size,
        batch_size=training.batch_size,
        augmentation=augmentation_of(training, dataset),
        seed=training.seed,
        shuffle=True,
        weights=weights[learned] if training.balance else None,
        **beside,
        workers=run.workers,
        **shared,
    )
    return Feeds(
        training=sequence,
        validation=plain(dataset, chosen, **beside, **shared),
        test=None if test_set is None else plain(test_set, np.arange(len(test_set)), **shared),
        shown=plain(dataset, shown_samples(chosen), SHOWN)[0],
    )


def learned_scores(training: Training, dataset: Dataset) -> tuple[str, ...]:
    """Names of the scores that a morphable network learns: where the data set has them and they count in the loss."""
    if training.network != "morphnet" or not training.terms.scores:
        return ()
    return tuple(name for name in SCORE_NAMES if name in dataset.score_names)


def learns_landmarks(training: Training, dataset: Dataset) -> bool:
    """Whether a network learns the landmarks that came with photos: where there are any and they count in the loss."""
    return training.terms.photo_landmarks > 0 and bool(np.isfinite(dataset.landmarks).any())


def chosen_samples(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Places of the samples to learn from, and of those that the best model is chosen by."""
    learned, chosen = (np.flatnonzero(which) for which in (~dataset.validation, dataset.validation))
    if len(chosen) == 0:
        logger.info(f"{dataset.path}: no validation samples; the best model is chosen on the training samples")
        return learned, learned
    return learned, chosen


def shown_samples(chosen: np.ndarray) -> np.ndarray:
    """A few of the samples, evenly spread."""
    return chosen[:: max(len(chosen) // SHOWN, 1)][:SHOWN]


def augmentation_of(training: Training, dataset: Dataset) -> Augmentation:
    """As the training says; with mirrored folders nothing is mirrored again."""
    if any(map(is_mirrored, dataset.folders)):
        return dataclasses.replace(training.augmentation, mirror=0.0)
    return training.augmentation
