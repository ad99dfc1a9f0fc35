"""The training loop against bare training steps on data that lies ready, and fed from a data set.

    python -m benchmarks.train_step --network prnet --batchsize 20 --precision mixed_bfloat16
    python -m benchmarks.train_step --network lprnet --hdf5dir output/demo/data

KERAS_BACKEND chooses the backend.
"""

import argparse
import resource
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, markdown_table, seconds
from prnet.commands.terminal import run_script
from prnet.configure.config import NETWORKS, PRECISIONS, Run, Training

CASES = {
    "CPU": (("prnet", 8, "float32"), ("lprnet", 16, "float32")),
    "GPU": (("prnet", 20, "mixed_bfloat16"), ("prnet", 64, "mixed_bfloat16"), ("prnet", 20, "float32")),
}
"""Network, batch and precision by the kind of device."""

LOOP_LIMIT = 1.05
"""Time of a step of the loop over that of a bare `train_on_batch`."""

GPU_TARGET = 2500.0
"""Images per second of `prnet` in bfloat16 on a Hopper GPU, data lying ready."""

ROUNDS = 3


def measure() -> list[Figure]:
    return [figure for case in CASES[device_kind()] for figure in measure_ready(*case)]


def device_kind() -> str:
    import keras

    names = [str(name).upper() for name in keras.distribution.list_devices()]
    return "GPU" if any("GPU" in name or "CUDA" in name for name in names) else "CPU"


def measure_ready(name: str, batch_size: int, precision: str, steps: int | None = None) -> list[Figure]:
    """Rounds of the loop's steps and of bare steps in turn, on one batch that lies ready."""
    import keras

    from prnet.model.monitoring import StepMonitor

    kind = device_kind()
    steps = steps or (8 if kind == "CPU" else 100)
    training = replace(Training(), network=name, image_size=NETWORKS[name], batch_size=batch_size, precision=precision)
    network = _network(training)
    sequence = _ready_sequence(training, steps)
    images, targets = sequence[0]
    network.train_on_batch(images, targets)

    loop, bare, waiting = [], [], []
    for number in range(ROUNDS + 1):
        monitor = StepMonitor(sequence, epochs=1)
        network.fit(sequence, callbacks=[monitor], shuffle=False, verbose=0)
        bare_times = [seconds(lambda: network.train_on_batch(images, targets)) for _ in range(steps)]
        if number:  # The first round compiles.
            loop += list(np.diff(monitor.done))
            bare += bare_times
            waiting.append(monitor.figures["waiting"])
    label = f"{name}, batch {batch_size}, {precision}, {keras.backend.backend()}, {kind}"
    target = GPU_TARGET if (kind, name, precision) == ("GPU", "prnet", "mixed_bfloat16") else None
    return [
        Figure(f"{label}: parameters", network.count_params() / 1e6, "million"),
        Figure(f"{label}: loop, data ready", batch_size / statistics.median(loop), "images/s", at_least=target),
        Figure(f"{label}: bare train_on_batch", batch_size / statistics.median(bare), "images/s"),
        Figure(f"{label}: loop / bare step, least of each", min(loop) / min(bare), "ratio", at_most=LOOP_LIMIT),
        Figure(f"{label}: waiting for ready data", 100 * statistics.median(waiting), "%"),
        Figure(f"{label}: peak memory", _peak_memory(kind), "MB"),
    ]


def measure_fed(name: str, batch_size: int, precision: str, folder: Path, face_model: Path, workers: int):
    """What a run that reads and augments train.hdf5 reaches in its second epoch."""
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import map_basis
    from prnet.model.monitoring import StepMonitor, WatchedSequence

    training = replace(Training(), network=name, image_size=NETWORKS[name], batch_size=batch_size, precision=precision)
    network = _network(training)
    with open_dataset(folder / "train.hdf5") as dataset:
        sequence = WatchedSequence(
            dataset,
            np.flatnonzero(~dataset.validation),
            basis=map_basis(load_face_model(face_model), training.image_size) if dataset.stores_fits else None,
            image_size=training.image_size,
            batch_size=batch_size,
            augmentation=training.augmentation,
            shuffle=True,
            workers=workers,
        )
        monitor = StepMonitor(sequence, epochs=2)
        network.fit(sequence, epochs=2, callbacks=[monitor], shuffle=False, verbose=0)
    label = f"{name}, batch {batch_size}, {precision}, {device_kind()}, {workers} workers"
    return [
        Figure(f"{label}: fed run", monitor.figures["images_per_second"], "images/s"),
        Figure(f"{label}: fed run waiting for data", 100 * monitor.figures["waiting"], "%"),
    ]


def _network(training: Training):
    from contextlib import nullcontext

    from prnet.geometry.uv_layout import UVLayout
    from prnet.model.compilation import compiled_network

    grid = np.linspace(0.1, 0.9, 68)
    layout = UVLayout(
        landmark_uv=np.stack([grid, grid], axis=-1).astype(np.float32),
        region_weights=np.full((256, 256), 3, dtype=np.float32),
        canonical_map=np.zeros((256, 256, 3), dtype=np.float32),
    )
    return compiled_network(training, Run(), layout, None, 1000, nullcontext)


def _ready_sequence(training: Training, steps: int):
    """A stand-in for a `WatchedSequence`, whose batch is there at once."""
    import keras

    size = training.image_size
    random = np.random.default_rng(0)

    class ReadySequence(keras.utils.PyDataset):
        batch_size = training.batch_size
        ready = np.zeros(steps)
        batch = tuple(random.uniform(size=(2, training.batch_size, size, size, 3)).astype(np.float32))

        def __len__(self):
            return steps

        def __getitem__(self, index):
            return self.batch

    return ReadySequence(workers=2)


def _peak_memory(kind: str) -> float:
    """Of the GPU where TensorFlow counts it, else of the process."""
    import keras

    if kind == "GPU" and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="prnet")
    parser.add_argument("--batchsize", type=int, default=8)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--steps", type=int, help="steps of a round (8, on a GPU 100)")
    parser.add_argument("--hdf5dir", type=Path, help="measure a run fed from train.hdf5 in this folder as well")
    parser.add_argument("--facemodel", type=Path, help="default: face_model.hdf5 in --hdf5dir")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    case = options.network, options.batchsize, options.precision
    figures = measure_ready(*case, options.steps)
    if options.hdf5dir:
        face_model = options.facemodel or options.hdf5dir / "face_model.hdf5"
        figures += measure_fed(*case, options.hdf5dir, face_model, options.workers)
    print(markdown_table(figures))


if __name__ == "__main__":
    run_script(main)
