"""Networks of any size in small files, a seeded stream of them: `python -m tests.helpers.giants SEED COUNT`.

Numbers in the configuration of a small network are replaced, one to four in each file. Run in a process of its own,
with 1 GB of memory above what it starts with: each file must be opened, or refused by one line, within 2 seconds of
processor time.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from prnet.geometry.position_map import layout_of_model
from prnet.model.saved_network import load_network, save_network
from tests.helpers.damaged_files import MEMORY, SECONDS, examine
from tests.helpers.small_faces import make_small_model

NUMBERS = [
    0,
    1,
    2,
    3,
    17,
    -1,
    255,
    1000,
    4096,
    1 << 14,
    1 << 20,
    1 << 27,
    1 << 31,
    1 << 40,
    1 << 62,
    10**30,
    0.5,
    1e300,
]


def small_network() -> keras.Model:
    """A network of many kinds of layers, 8 x 8 x 3 to 8 x 8 x 3, most of which take any size."""
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Cropping2D(1)(layers.ZeroPadding2D(2)(image))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.UpSampling2D(2)(layers.DepthwiseConv2D(3, 2, padding="same")(x))
    x = layers.ReLU()(layers.Conv2DTranspose(4, 3, 2, padding="same")(x))
    x = layers.MaxPooling2D(2)(keras.ops.tile(x, (1, 1, 1, 1)))
    sequence = layers.RepeatVector(2)(layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    colour = layers.Dense(3)(layers.Flatten()(layers.UpSampling1D(2)(sequence)))
    x = layers.Conv2D(3, 1)(layers.Resizing(8, 8)(x))
    return keras.Model(image, x + layers.Reshape((1, 1, 3))(colour))


def numbers_in(part, place=()):
    """Places of all numbers in a description."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inside:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*place, key)
        else:
            yield from numbers_in(value, (*place, key))


def enlarged(config: str, random: np.random.Generator) -> str:
    """A configuration with one to four of its numbers replaced."""
    description = json.loads(config)
    places = list(numbers_in(description))
    for _ in range(random.integers(1, 5)):
        *way, last = places[random.integers(len(places))]
        part = description
        for key in way:
            part = part[key]
        part[last] = NUMBERS[random.integers(len(NUMBERS))]
    return json.dumps(description)


def main(seed: int, count: int) -> int:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras 3.15 on NumPy 2
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        whole, path = Path(name) / "whole.keras", Path(name) / "giant.keras"
        save_network(small_network(), layout_of_model(make_small_model()), whole)
        load_network(whole)
        with zipfile.ZipFile(whole) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        for number in range(count):
            print(seed, number, end=" ", flush=True)
            config = enlarged(entries["config.json"].decode(), np.random.default_rng([seed, number]))
            with zipfile.ZipFile(path, "w") as archive:
                for entry, content in entries.items():
                    archive.writestr(entry, config if entry == "config.json" else content)
            start = time.process_time()
            problem = examine(load_network, path)
            if problem and problem.startswith("took") and time.process_time() - start < SECONDS:
                problem = None  # the machine was busy with others
            print(problem or "", flush=True)
            failures += problem is not None
    print(f"{count} giants, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
