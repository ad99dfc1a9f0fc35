"""The batches that a photo network learns from and is chosen by, in the form of `prnet.model.feeds`."""

import time

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import Run, Training
from prnet.generating.dataset import Dataset
from prnet.generating.photo_batches import make_photo_batch, photo_landmarks
from prnet.geometry.face_model import FaceModel
from prnet.model.feeds import Feeds, augmentation_of, chosen_samples, shown_samples
from prnet.model.monitoring import WatchedSequence


class PhotoSequence(WatchedSequence):
    """Batches of photos with landmarks and skin (`make_photo_batch`), and a target that nothing reads."""

    def __init__(self, dataset: Dataset, indices, landmarks: np.ndarray, recognition_side: int | None, **options):
        super().__init__(dataset, indices, basis=None, **options)
        self.landmarks, self.recognition_side = landmarks, recognition_side

    def __getitem__(self, batch: int):
        try:
            inputs = self._batch(self.batch_indices(batch))
        except UserError as error:
            self.failure = error
            raise
        self.ready[batch] = time.perf_counter()
        return inputs, np.zeros(len(inputs["image"]), dtype=np.float32)

    def _batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return make_photo_batch(
            self.dataset,
            indices,
            self.landmarks,
            size=self.image_size,
            augmentation=self.augmentation,
            texture=self.texture,
            seed=self.seed,
            epoch=self.epoch,
            recognition_side=self.recognition_side,
        )


def open_photo_feeds(
    training: Training,
    run: Run,
    dataset: Dataset,
    face_model: FaceModel,
    test_set: Dataset | None,
    recognition_side: int | None,
) -> Feeds:
    """As `prnet.model.feeds.open_feeds`; of what a data set says of its faces only the landmarks are used."""
    learned, chosen = chosen_samples(dataset)

    def sequence(data: Dataset, indices: np.ndarray, **options) -> PhotoSequence:
        landmarks = known if data is dataset else photo_landmarks(data, face_model)
        options = {"image_size": training.image_size, "batch_size": training.batch_size, **options}
        return PhotoSequence(data, indices, landmarks, recognition_side, **options)

    known = photo_landmarks(dataset, face_model)
    shown = shown_samples(chosen)
    return Feeds(
        training=sequence(
            dataset,
            learned,
            augmentation=augmentation_of(training, dataset),
            seed=training.seed,
            shuffle=True,
            workers=run.workers,
        ),
        validation=sequence(dataset, chosen),
        test=None if test_set is None else sequence(test_set, np.arange(len(test_set))),
        shown=sequence(dataset, shown, batch_size=len(shown))[0],
    )
