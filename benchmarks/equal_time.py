"""Training against the process' own clock, for experiments of equal processor time.

The clock is `time.process_time`, so other programs on the machine cost a run wall time and nothing else; set
OPENBLAS_NUM_THREADS=1 and call `one_thread` for runs on one core.
"""

import time
from collections.abc import Iterator

import numpy as np

from prnet.configure.config import Training

WARMUP, LAST_RATE = 0.03, 0.01
"""Share of the time in which the learning rate rises from 0; what is left of it at the end of the cosine."""


def one_thread() -> None:
    """TensorFlow on one thread; call it before anything is computed."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


def training_batches(dataset, face_model, basis, training: Training) -> Iterator[tuple]:
    """Augmented batches of the training samples, without end, rare faces more often by `training.balance`."""
    from prnet.generating.sampling import sampling_weights
    from prnet.generating.sequence import FaceSequence

    learned = np.flatnonzero(~dataset.validation)
    sequence = FaceSequence(
        dataset,
        learned,
        basis=basis,
        image_size=training.image_size,
        batch_size=training.batch_size,
        augmentation=training.augmentation,
        seed=training.seed,
        shuffle=True,
        weights=sampling_weights(dataset, face_model, training.balance)[learned] if training.balance else None,
    )
    return endless(sequence)


def endless(sequence) -> Iterator[tuple]:
    """A sequence's batches, epoch after epoch."""
    while True:
        yield from map(sequence.__getitem__, range(len(sequence)))
        sequence.on_epoch_end()


def learn(model, batches: Iterator[tuple], seconds: float, rate: float) -> tuple[int, float]:
    """Train a compiled model for so many seconds of processor time, batches included, with a cosine over that time.

    Returns images seen and processor seconds of training. What compiling costs is not counted.
    """
    import keras

    images, targets = next(batches)
    model.optimizer.learning_rate = 0.0
    model.train_on_batch(images, targets)
    start, seen, told = time.process_time(), 0, 0.0
    while (spent := (time.process_time() - start) / seconds) < 1:
        falling = LAST_RATE + (1 - LAST_RATE) * (1 + np.cos(np.pi * spent)) / 2
        model.optimizer.learning_rate = rate * min(spent / WARMUP, 1.0) * falling
        images, targets = next(batches)
        loss = model.train_on_batch(images, targets, return_dict=True)["loss"]
        seen += len(targets)
        if spent >= told:
            print(f"{spent:4.0%} {seen:7} images, loss {keras.ops.convert_to_numpy(loss):.4f}", flush=True)
            told += 0.05
    return seen, time.process_time() - start
