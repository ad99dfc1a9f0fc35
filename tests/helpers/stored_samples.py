"""Data sets of invented samples, in every data mode."""

from pathlib import Path

import numpy as np

from prnet.generating.dataset import DATA_MODES
from prnet.generating.dataset_writer import Sample, dataset_writer
from tests.helpers.small_faces import small_photo

COUNT = 7


def make_samples(data_mode: int, count: int = COUNT) -> list[Sample]:
    """Samples of random contents; some have landmarks, some lie in folders of mirrored photos."""
    storage, samples = DATA_MODES[data_mode], []
    for number in range(count):
        random = np.random.default_rng(number)
        side = 256 if storage.image else 40 + number
        image = random.random((256, 256, 3)) if storage.image else small_photo(number, side)
        if storage.image == "uint8":
            image = image * 255
        samples.append(
            Sample(
                name=f"face_ü_{number}",
                folder="AFW" if number % 2 else "HELEN_Flip",
                yaw=10.0 * number,
                box=(20.0, 21.0, 10.0 + number),
                image_height=side,
                image_width=side,
                landmarks=random.random((68, 3)).astype(np.float32) if number % 3 == 1 else None,
                image=image.astype(storage.image) if storage.image else image,
                label=(random.random((256, 256, 3)) * 200).astype(storage.label)
                if storage.label
                else random.random(300).astype(np.float32),
                pose=random.random(7),
            )
        )
    return samples


def write_samples(path: Path, data_mode: int, samples: list[Sample], piece: int = 3) -> Path:
    """Write a data set, `piece` samples at a time; the first two validate."""
    with dataset_writer(path, data_mode=data_mode, model_identity="model", layout_identity="layout") as writer:
        for start in range(0, len(samples), piece):
            writer.append(samples[start : start + piece])
        assert writer.names == [sample.name for sample in samples]
        writer.finish(np.arange(len(samples)) // 2, np.arange(len(samples)) < 2)
    return path
