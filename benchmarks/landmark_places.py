r"""Where the 68 landmarks lie on the UV grid of a network's faces, found on photos with landmarks.

A face model's landmarks are points of its mesh that someone named, and those of an annotation are others. Each of them
(a pair of mirrored ones together) is moved over the grid to where the network's maps of the training photos come
nearest to the photos' own landmarks; what that is worth is measured on the held-out photos.

python -m benchmarks.landmark_places --dataset train.hdf5 --facemodel face_model.hdf5 --network morphnet.keras \
    --output places.csv
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks import held_out
from prnet.commands.terminal import run_script
from prnet.configure.config import NO_AUGMENTATION
from prnet.generating.batches import MIRRORED_LANDMARKS

SIDES = (128, 256)
"""Of the grids on which landmarks have to lie on the face."""

SEARCHES = ((8.0, 1.0), (1.0, 0.25), (0.25, 0.0625))
"""Each time how far around a landmark is looked, and in which steps, in texels."""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Find the places of landmarks on a network's UV grid.")
    parser.add_argument("--dataset", required=True, help="train.hdf5: photos with landmarks, data mode 6")
    parser.add_argument("--facemodel", required=True, help="face model that it was built with")
    parser.add_argument("--network", required=True, help="network whose layout it is")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the places: u, v of each landmark")
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.uv_layout import face_mask
    from prnet.model.saved_network import load_network

    network, layout = load_network(options.network)
    size = network.input_shape[1]
    places = layout.landmark_uv.astype(np.float64) * (1, -1) * (size - 1) + (0, size - 1)
    with open_dataset(options.dataset) as dataset:
        found = {
            name: photos(dataset, load_face_model(options.facemodel), network, np.flatnonzero(which))
            for name, which in (("learned", ~dataset.validation), ("held out", dataset.validation))
        }
    print(f"before {mean_error(*found['held out'], places):.3f} %")
    moved = moved_places(*found["learned"], places, [face_mask(layout, side) for side in SIDES])
    print(f"after {mean_error(*found['held out'], moved):.3f} %")
    print("texels moved:", np.round(np.linalg.norm(moved - places, axis=1), 1).tolist())
    np.savetxt(options.output, moved / (size - 1) * (1, -1) + (0, 1), fmt="%.5f", delimiter=",")


def photos(dataset, model, network, indices) -> tuple[np.ndarray, np.ndarray]:
    """The network's maps (N, S, S, 2) float16 of reference crops, and the photos' landmarks (N, 68, 2) float32, in
    pixels of the crop."""
    from prnet.generating.photo_batches import make_photo_batch, photo_landmarks

    size, known = network.input_shape[1], photo_landmarks(dataset, model)
    maps = np.empty((len(indices), size, size, 2), np.float16)
    landmarks = np.empty((len(indices), 68, 2), np.float32)
    for at in range(0, len(indices), held_out.BATCH):
        some = slice(at, at + held_out.BATCH)
        batch = make_photo_batch(
            dataset,
            indices[some],
            known,
            size=size,
            augmentation=NO_AUGMENTATION,
            texture=np.zeros((size, size, 3), np.float32),
            seed=0,
            epoch=0,
        )
        maps[some] = held_out.predicted(network, batch["image"])[..., :2]
        landmarks[some] = batch["landmarks"] * size
    return maps, landmarks


def errors(maps, landmarks, places, which) -> np.ndarray:
    """NME (N, P) of places (P, 2), column and row, for the landmark `which` (P,) of each, in per cent."""
    last = maps.shape[1] - 1
    corner = np.clip(np.floor(places), 0, last - 1).astype(int)
    shares = (places - corner).astype(np.float32)
    at = sum(
        (shares[:, 0] if x else 1 - shares[:, 0])[:, None]
        * (shares[:, 1] if y else 1 - shares[:, 1])[:, None]
        * maps[:, corner[:, 1] + y, corner[:, 0] + x].astype(np.float32)
        for x in (0, 1)
        for y in (0, 1)
    )
    sides = landmarks.max(axis=1) - landmarks.min(axis=1)
    return 100 * np.linalg.norm(at - landmarks[:, which], axis=-1) / np.sqrt(sides.prod(axis=1))[:, None]


def moved_places(maps, landmarks, places: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """Places (68, 2), column and row, of least mean NME, mirrored landmarks at mirrored places. masks : of the face on
    grids of several sides, on which the four texels around a place belong to the face."""
    places, last = places.copy(), maps.shape[1] - 1
    for reach, step in SEARCHES:
        steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1e-9, step)] * 2), axis=-1).reshape(-1, 2)
        for left, right in enumerate(MIRRORED_LANDMARKS):
            if right < left:
                continue
            tried = np.clip(places[left] + steps, 0, last)
            mirrored = tried * (-1, 1) + (last, 0)
            cost = [
                errors(maps, landmarks, at, np.full(len(at), which)).mean(axis=0)
                for at, which in ((tried, left), (mirrored, right))
            ]
            on_face = np.all([four_on_face(at / last, mask) for at in (tried, mirrored) for mask in masks], axis=0)
            best = np.where(on_face, cost[0] + cost[1], np.inf).argmin()
            places[left] = tried[best]
            places[right] = mirrored[best] if right != left else tried[best]
    return places


def four_on_face(places: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Whether the four texels around places (P, 2), column and row in 0 to 1, are the face's, (P,) bool."""
    corner = np.clip(np.floor(places * (len(mask) - 1)), 0, len(mask) - 2).astype(int)
    return np.all([mask[corner[:, 1] + y, corner[:, 0] + x] for x in (0, 1) for y in (0, 1)], axis=0)


def mean_error(maps, landmarks, places) -> float:
    return float(errors(maps, landmarks, places, np.arange(68)).mean())


if __name__ == "__main__":
    run_script(main)
