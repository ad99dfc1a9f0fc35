"""The Sequence against its floor, two workers against one, and the memory of the full face model.

The floor is what no pipeline can do without: decode, one affine resampling, one batched matrix product, the map's
affine, colour and conversion to float, on the same files.
"""

import resource
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.figures import Figure, median_ratio, times_in_turn
from prnet.configure.config import MAP_SIZE, Augmentation
from prnet.formats.bfm import read_face3d_model
from prnet.generating.augmentation import noise_texture
from prnet.generating.batches import make_batch
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.geometry.crop import crop_transform
from prnet.geometry.position_map import map_basis, position_maps

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH, BATCHES = 16, 24


def measure() -> list[Figure]:
    """Ratios on the real samples with the full model, 256 x 256; nothing where the samples are absent."""
    if not SAMPLES.is_dir():
        return []
    cv2.setNumThreads(1)
    before = _megabytes()
    model = read_face3d_model(SAMPLES / "bfm" / "BFM.mat", uv_path=SAMPLES / "bfm" / "BFM_UV.mat")
    basis = map_basis(model, MAP_SIZE)
    with TemporaryDirectory() as folder:
        sources = [SAMPLES / "AFLW2000", SAMPLES / "300W_LP"]
        report = build_dataset(sources, Path(folder) / "real.hdf5", model, progress=False)
        del model
        with open_dataset(report.path) as dataset:
            return [*_measure(dataset, basis), Figure("sequence memory", _megabytes() - before, "MB", at_most=700)]


def _measure(dataset, basis) -> list[Figure]:
    texture = noise_texture(0)
    batches = [np.arange(start, start + BATCH) % len(dataset) for start in range(0, BATCH * BATCHES, BATCH)]

    def prepare(indices):
        return make_batch(
            dataset,
            indices,
            basis=basis,
            size=MAP_SIZE,
            augmentation=Augmentation(),
            texture=texture,
            seed=0,
            epoch=0,
        )

    def alone():
        for indices in batches:
            prepare(indices)

    def floor():
        for indices in batches:
            _floor(dataset, indices, basis)

    with ThreadPoolExecutor(2) as pool:

        def together():
            for _ in pool.map(prepare, batches):  # kept, they would ask for new memory each time
                pass

        floors, ones, twos = times_in_turn([floor, alone, together])
    transforms = np.tile(np.eye(3, 4), (1, 1, 1))
    coefficients = dataset.coefficients[:1]
    (single,) = times_in_turn([lambda: position_maps(basis, coefficients, transforms)])
    return [
        Figure("sequence, one thread, over its floor", median_ratio(ones, floors), "ratio", at_most=1.35),
        Figure("sequence, two workers over one", median_ratio(ones, twos), "ratio", at_least=1.8),
        Figure("sequence, one thread", BATCH * BATCHES / statistics.median(ones), "samples/s"),
        Figure("position map of one face", 1000 * statistics.median(single), "ms", at_most=13),
    ]


def _floor(dataset, indices, basis) -> None:
    images = np.empty((len(indices), MAP_SIZE, MAP_SIZE, 3), dtype=np.float32)
    table = np.linspace(0, 1, 256 * 3, dtype=np.float32).reshape(256, 1, 3)
    for image, index in zip(images, indices, strict=True):
        transform = crop_transform(dataset.box(index), MAP_SIZE)
        cv2.LUT(cv2.warpAffine(dataset.image(index), transform, (MAP_SIZE, MAP_SIZE)), table, dst=image)
    mixture = np.insert(dataset.coefficients[indices], 0, 1, axis=1)
    maps = mixture @ basis.rows
    for position_map in maps.reshape(-1, MAP_SIZE, MAP_SIZE, 3):
        cv2.transform(position_map, np.eye(3, 4), dst=position_map)


def _megabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
