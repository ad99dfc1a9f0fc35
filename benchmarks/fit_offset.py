"""How far the fits of a set of photos lie beside their faces, sideways.

A network that was trained on mirrored photos as often as on others cannot learn that all fits lie to one side. So the
mean of what it says of a photo and, mirrored back, of the photo's mirror image shows where fits ought to be.

python -m benchmarks.fit_offset --model best.keras --data train.hdf5 --facemodel resource/face_model.hdf5
"""

import argparse

import numpy as np

from prnet.commands.terminal import run_script


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure how far fits lie to one side of what they mean.")
    parser.add_argument("--model", required=True, help="network that was trained with mirrored samples")
    parser.add_argument("--data", required=True, help="data set of photos with fits, data mode 5")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.reconstructing.reconstructor import FaceReconstructor

    with open_dataset(options.data) as dataset:
        reconstructor = FaceReconstructor(options.model, "none", mirrored=True)
        offsets = fit_offsets(dataset, load_face_model(options.facemodel), reconstructor)
        for people, chosen in (("training", ~dataset.validation), ("held out", dataset.validation)):
            if not chosen.any():
                continue
            error = offsets[chosen].std(axis=0) / np.sqrt(np.count_nonzero(chosen))
            x, y = offsets[chosen].mean(axis=0)
            print(f"{people}: {np.count_nonzero(chosen)} photos, x {x:.2f} +- {error[0]:.2f} % of the box's side")
            print(f"  y {y:.2f} +- {error[1]:.2f} %, of which the network has learned what all fits share")


def fit_offsets(dataset, model, reconstructor) -> np.ndarray:
    """Mean of the fit's landmarks less the network's, (N, 2): x right, y down, per cent of the landmark box's side.

    reconstructor : one with `mirrored`.
    """
    from prnet.geometry.pose import fitted_landmarks

    offsets = np.empty((len(dataset), 2))
    for index in range(len(dataset)):
        box = dataset.box(index)
        (face,) = reconstructor.reconstruct(dataset.image(index), [box])
        fit = dataset.coefficients[index], dataset.poses[index], dataset.image_heights[index]
        offsets[index] = 100 * (fitted_landmarks(model, *fit) - face.landmarks)[:, :2].mean(axis=0) / box.side
    return offsets


if __name__ == "__main__":
    run_script(main)
