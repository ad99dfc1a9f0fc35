"""The Keras Sequence that augments and emits (image, position map) pairs."""

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
    workers : threads that prepare batches ahead of the network.

    Emits images (B, S, S, 3) float32 in 0 to 1 and targets (B, S, S, 3) float32: position maps / (S x 1.1).
    `epoch` counts on by itself after each pass; set it to resume from a checkpoint.
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
        workers: int = 1,
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
        self.epoch = 0
        self.texture = noise_texture(seed)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole if self.shuffle and whole else whole + bool(rest)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        return make_batch(
            self.dataset,
            self.batch_indices(batch),
            basis=self.basis,
            size=self.image_size,
            augmentation=self.augmentation,
            texture=self.texture,
            seed=self.seed,
            epoch=self.epoch,
        )

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def batch_indices(self, batch: int) -> np.ndarray:
        """Places in the data set of the samples of one batch of the present epoch."""
        order = self.indices
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def batch_names(self, batch: int) -> list[str]:
        """Names of the samples of one batch of the present epoch."""
        return [self.dataset.names[index] for index in self.batch_indices(batch)]
