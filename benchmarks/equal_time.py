"""What experiments of equal processor time share: training against the process' own clock, and held-out measures.

The clock is `time.process_time`, so other programs on the machine cost a run wall time and nothing else; set
OPENBLAS_NUM_THREADS=1 and call `one_thread` for runs on one core.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.model_card import YAW_BINS
from prnet.configure.config import NO_AUGMENTATION, TARGET_SCALE, Training

WARMUP, LAST_RATE = 0.03, 0.01
"""Share of the time in which the learning rate rises from 0; what is left of it at the end of the cosine."""

BATCH = 50
"""Held-out samples predicted at once."""


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
        seen += len(images)
        if spent >= told:
            print(f"{spent:4.0%} {seen:7} images, loss {keras.ops.convert_to_numpy(loss):.4f}", flush=True)
            told += 0.05
    return seen, time.process_time() - start


def held_out(dataset, basis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference crops (N, S, S, 3), true maps in pixels of the crop, and |yaw| in degrees of the held-out samples."""
    from prnet.generating.sequence import FaceSequence

    chosen = np.flatnonzero(dataset.validation)
    size = basis.size
    sequence = FaceSequence(
        dataset, chosen, basis=basis, image_size=size, batch_size=len(chosen), augmentation=NO_AUGMENTATION
    )
    images, targets = sequence[0]
    return images, np.asarray(targets) * (size * TARGET_SCALE), np.abs(dataset.yaw[chosen])


def predicted(network, images: np.ndarray) -> np.ndarray:
    """Maps in pixels of the crop."""
    from prnet.model.networks import predict_maps

    return np.concatenate([predict_maps(network, images[at : at + BATCH]) for at in range(0, len(images), BATCH)])


COLUMNS = (
    *(f"NME, yaw {low} to {high}" for low, high in YAW_BINS),
    "NME",
    "normals",
    "roughness",
    "mouth, slope / correlation / error",
    "eyes",
)


def measures(maps: np.ndarray, truth: np.ndarray, yaw: np.ndarray, layout) -> list[str]:
    """The cells of `COLUMNS`: 2D NME in per cent of the root of the true box, degrees, per cent of the predicted box.

    maps, truth : (N, S, S, 3) pixels of the crop.
    """
    from prnet.evaluating.nme import nme, root_box_area
    from prnet.evaluating.openings import landmark_agreements
    from prnet.geometry.uv_layout import face_mask, sample_landmarks

    points, true_points = sample_landmarks(maps, layout), sample_landmarks(truth, layout)
    errors = nme((points - true_points)[..., :2], root_box_area(true_points))
    bins = [errors[(yaw >= low) & (yaw < high)] for low, high in YAW_BINS]
    mask = face_mask(layout, maps.shape[1])
    rough = np.median(roughness(maps, mask) / root_box_area(points))
    opened = landmark_agreements(points, true_points)
    numbers = [f"{chosen.mean():.2f}" if len(chosen) else "" for chosen in (*bins, errors)]
    angle = np.median(normal_angles(maps, truth, mask))
    return [*numbers, f"{angle:.1f}", f"{100 * rough:.3f}", opened["mouth"].text, opened["eyes"].text]


def roughness(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean distance (N,) of a texel from the mean of its four neighbours, where all five are on the face."""
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    around = (maps[:, :-2, 1:-1] + maps[:, 2:, 1:-1] + maps[:, 1:-1, :-2] + maps[:, 1:-1, 2:]) / 4
    return np.linalg.norm(maps[:, 1:-1, 1:-1] - around, axis=-1)[:, inner].mean(axis=1)


def normal_angles(maps: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean angle (N,) in degrees between predicted and true normals, two texels inside the face."""
    import keras
    from scipy.ndimage import binary_erosion

    from prnet.model.surface import map_normals

    inner = binary_erosion(mask, iterations=2)
    pairs = (keras.ops.convert_to_numpy(map_normals(each))[:, inner] for each in (maps, truth))
    cosine = np.einsum("nkc,nkc->nk", *pairs)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean(axis=1)


def table(rows: dict[str, list[str]], heads: tuple[str, ...]) -> str:
    """A Markdown table of named rows."""
    lines = [("", *heads), ("---", *["---:"] * len(heads)), *((name, *cells) for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(folder: Path, rows: dict[str, list[str]], heads: tuple[str, ...]) -> None:
    """Print the table and keep it in the folder."""
    text = table(rows, heads)
    print(text, flush=True)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
