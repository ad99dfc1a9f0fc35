"""How far the fits of a set of photos lie beside their faces, sideways.

A network that was trained on mirrored photos as often as on others cannot learn that all fits lie to one side. So the
mean of what it says of a photo and, mirrored back, of the photo's mirror image shows where fits ought to be.

python -m benchmarks.fit_offset --model best.keras --data train.hdf5 --facemodel resource/face_model.hdf5
"""

import argparse

import numpy as np

from common.errors import run_script

BATCH = 32


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure how far fits lie to one side of what they mean.")
    parser.add_argument("--model", required=True, help="network that was trained with mirrored samples")
    parser.add_argument("--data", required=True, help="data set of photos with fits, data mode 5")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    options = parser.parse_args(argv)

    from generating.dataset import open_dataset
    from generating.face_model_file import load_face_model
    from reconstructing.reconstructor import FaceReconstructor

    with open_dataset(options.data) as dataset:
        offsets = fit_offsets(dataset, load_face_model(options.facemodel), FaceReconstructor(options.model, "none"))
        for people, chosen in (("training", ~dataset.validation), ("held out", dataset.validation)):
            error = offsets[chosen].std(axis=0) / np.sqrt(max(np.count_nonzero(chosen), 1))
            x, y = offsets[chosen].mean(axis=0)
            print(f"{people}: {np.count_nonzero(chosen)} photos, x {x:.2f} +- {error[0]:.2f} % of the box's side")
            print(f"  y {y:.2f} +- {error[1]:.2f} %, of which the network has learned what all fits share")


def fit_offsets(dataset, model, reconstructor) -> np.ndarray:
    """Mean of the fit's landmarks less the network's, (N, 2): x right, y down, per cent of the landmark box's side."""
    from geometry.crop import transform_points, transform_scale
    from geometry.pose import fitted_landmarks
    from geometry.uv_layout import mirror_maps, sample_landmarks
    from reconstructing.face import prepare_crop

    offsets = np.empty((len(dataset), 2))
    for start in range(0, len(dataset), BATCH):
        indices = range(start, min(start + BATCH, len(dataset)))
        crops, transforms = zip(
            *(prepare_crop(dataset.image(index), dataset.box(index), reconstructor.image_size) for index in indices),
            strict=True,
        )
        images = np.stack(crops)
        maps = reconstructor.predict(images)
        mirrored = mirror_maps(
            reconstructor.predict(np.ascontiguousarray(images[:, :, ::-1])), reconstructor.image_size
        )
        landmarks = sample_landmarks((maps + mirrored) / 2, reconstructor.layout)
        for index, to_crop, found in zip(indices, transforms, landmarks, strict=True):
            fit = dataset.coefficients[index], dataset.poses[index], dataset.image_heights[index]
            difference = (transform_points(to_crop, fitted_landmarks(model, *fit)) - found)[:, :2].mean(axis=0)
            offsets[index] = 100 * difference / (transform_scale(to_crop) * dataset.boxes[index, 2])
    return offsets


if __name__ == "__main__":
    run_script(main)
