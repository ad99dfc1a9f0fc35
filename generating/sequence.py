"""The Keras Sequence that augments and emits (image, position map) pairs."""

from collections.abc import Sequence

import cv2
import keras
import numpy as np

from prnet.configure.config import NO_AUGMENTATION, Augmentation
from prnet.generating.augmentation import noise_texture
from prnet.generating.batches import make_batch
from prnet.generating.dataset import Dataset
from prnet.geometry.position_map import MapBasis


class FaceSequence(keras.utils.PyDataset):
    """Batches of a data set, the same for a seed and an epoch whatever the number of workers.

    dataset : an open `prnet.generating.dataset.Dataset`.
    indices : the samples to use, for instance `np.flatnonzero(~dataset.validation)`.
    basis : `geometry.position_map.map_basis(model, image_size)`, shared by all workers and by other sequences; None
        where the data set stores maps (data modes 0 to 4).
    shuffle : a new order each epoch, and an incomplete last batch is left out.
    weights : with `shuffle`, how often each of the indices is drawn, beside the others; by default once an epoch.
    scores : names of scores of the data set that each target has beside its map.
    landmarks : whether each target has the landmarks beside its map that came with the photo.
    workers : threads that prepare batches ahead of the network.
    part : (k, n): emit the k-th of n equal parts of every batch; n processes emit the whole.
    multiple : without `shuffle`, an incomplete batch is filled up to a multiple of this with its last sample, and every
        target has a weight beside it, 0 for what was filled up.

    Emits images (B, S, S, 3) float32 in 0 to 1 and targets (B, S, S, 3) float32: position maps / (S x 1.1); with
    `scores` or `landmarks` the dictionary that `prnet.generating.batches.make_batch` describes.
    `epoch` counts on by itself after each pass; set it to resume from a checkpoint.

    >>> from prnet.geometry.position_map import map_basis
    >>> basis = map_basis(prnet.load_face_model("data/face_model.hdf5"), 128)
    >>> with prnet.open_dataset("data/train.hdf5") as dataset:
    ...     sequence = prnet.FaceSequence(dataset, range(12), basis=basis, image_size=128, batch_size=4)
    ...     images, targets = sequence[0]
    >>> images.shape, targets.shape
    ((4, 128, 128, 3), (4, 128, 128, 3))
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: np.ndarray,
        *,
        basis: MapBasis | None,
        image_size: int,
        batch_size: int,
        augmentation: Augmentation = NO_AUGMENTATION,
        seed: int = 0,
        shuffle: bool = False,
        weights: np.ndarray | None = None,
        scores: Sequence[str] = (),
        landmarks: bool = False,
        workers: int = 1,
        part: tuple[int, int] = (0, 1),
        multiple: int = 1,
    ):
        super().__init__(workers=workers, max_queue_size=max(4, 2 * workers))
        cv2.setNumThreads(1)
        self.dataset = dataset
        self.indices = np.asarray(indices)
        self.basis = basis
        self.image_size = image_size
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.shuffle = shuffle
        self.weights = weights
        self.scores, self.with_landmarks = tuple(scores), landmarks
        self.part, self.multiple = part, multiple
        self.epoch = 0
        self.texture = noise_texture(seed)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole if self.shuffle and whole else whole + bool(rest)

    def __getitem__(self, batch: int) -> tuple:
        order, repeats = self._order()
        own, weights = self._own(self._in_batch(batch))
        indices = order[own]
        images_and_targets = make_batch(
            self.dataset,
            indices,
            basis=self.basis,
            size=self.image_size,
            augmentation=self.augmentation,
            texture=self.texture,
            seed=self.seed,
            epoch=self.epoch,
            repeats=repeats[own],
            scores=self.scores,
            landmarks=self.with_landmarks,
        )
        return images_and_targets if self.shuffle or self.multiple == 1 else (*images_and_targets, weights)

    def _own(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """This part of a batch's places in the epoch, and their weights, float32."""
        lacking = -len(places) % self.multiple
        filled = np.concatenate([places, np.repeat(places[-1:], lacking)])
        weights = np.concatenate([np.ones(len(places), np.float32), np.zeros(lacking, np.float32)])
        number, count = self.part
        return np.split(filled, count)[number], np.split(weights, count)[number]

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def batch_indices(self, batch: int) -> np.ndarray:
        """Places in the data set of the samples of one batch of the present epoch."""
        return self._order()[0][self._in_batch(batch)]

    def _in_batch(self, batch: int) -> np.ndarray:
        """Places in the epoch of one batch's samples."""
        return np.arange(batch * self.batch_size, min((batch + 1) * self.batch_size, len(self.indices)))

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Places in the data set of the present epoch's samples, and how often each of them came before."""
        if not self.shuffle:
            return self.indices, np.zeros(len(self.indices), int)
        random = np.random.default_rng([self.seed, self.epoch])
        if self.weights is None:
            return random.permutation(self.indices), np.zeros(len(self.indices), int)
        order = random.permutation(self._drawn(random, self.weights))
        return order, earlier_occurrences(order)

    def _drawn(self, random: np.random.Generator, weights: np.ndarray) -> np.ndarray:
        """As many of the indices as there are, each as often as its weight asks, rounded up or down by one chance."""
        share = np.cumsum(weights) / np.sum(weights)
        at = (np.arange(len(self.indices)) + random.random()) / len(self.indices)
        return self.indices[np.minimum(np.searchsorted(share, at), len(self.indices) - 1)]

    def batch_names(self, batch: int) -> list[str]:
        """Names of the samples of one batch of the present epoch."""
        return [self.dataset.names[index] for index in self.batch_indices(batch)]


def earlier_occurrences(values: np.ndarray) -> np.ndarray:
    """How often each of some values (N,) occurs before its own place, (N,) int."""
    order = np.argsort(values, kind="stable")
    _, first, count = np.unique(values[order], return_index=True, return_counts=True)
    earlier = np.empty(len(values), int)
    earlier[order] = np.arange(len(values)) - np.repeat(first, count)
    return earlier
