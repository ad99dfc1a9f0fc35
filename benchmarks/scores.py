"""What a network's scores (gaze) are worth: correlation with the teacher's on the validation samples of a data set.

Run: python -m benchmarks.scores resource/weights/morphnet.keras data/train.hdf5
"""

import argparse
from pathlib import Path

import numpy as np

from prnet.commands.terminal import run_script
from prnet.common.errors import UserError

BATCH = 50


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="a morphnet that was trained with scores")
    parser.add_argument("dataset", type=Path, help="built with --scores")
    arguments = parser.parse_args(argv)
    from prnet.generating.dataset import open_dataset
    from prnet.model.saved_network import load_network

    network, _ = load_network(arguments.network)
    names = getattr(network, "parameter_names", None)
    with open_dataset(arguments.dataset) as dataset:
        if names is None or not names.scores or dataset.scores is None:
            raise UserError(
                f"{arguments.network}, {arguments.dataset}: without scores; train with build_dataset --scores"
            )
        known = np.isfinite(dataset.scores).all(axis=1) & dataset.validation
        chosen = np.flatnonzero(known)
        truth = dataset.scores[chosen][:, [dataset.score_names.index(name) for name in names.scores]]
        found = _predicted(network, dataset, chosen)
    print(f"{len(chosen)} held-out photos; correlation with the teacher, mean absolute error, the mean's own:")
    for name, true, value in zip(names.scores, truth.T, found.T, strict=True):
        correlation, least = np.corrcoef(true, value)[0, 1], np.abs(true - true.mean()).mean()
        print(f"{name:16} {correlation:.2f}  {np.abs(true - value).mean():.3f}  {least:.3f}")


def _predicted(network, dataset, chosen) -> np.ndarray:
    """Scores (n, M) of samples in their reference crops."""
    from prnet.model.networks import network_image_size, predict_faces
    from prnet.reconstructing.face import prepare_crop

    size, found = network_image_size(network), []
    for start in range(0, len(chosen), BATCH):
        crops = [prepare_crop(dataset.image(n), dataset.box(n), size)[0] for n in chosen[start : start + BATCH]]
        _, parameters = predict_faces(network, np.stack(crops))
        assert parameters is not None  # `main` has asked for its names
        found.append(parameters.scores)
    return np.concatenate(found)


if __name__ == "__main__":
    run_script(main)
