"""The figures and the picture of docs/model_card.md: what the shipped network does, photo by photo, and where it fails.

python -m benchmarks.model_card --test val.hdf5 --train train.hdf5 --facemodel face_model.hdf5 --picture failures.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from prnet.commands.terminal import run_script
from prnet.formats.encoding import encode_png
from prnet.reconstructing.settings import MODEL_PATH

YAW_BINS = ((0, 30), (30, 60), (60, 181))
PANEL = 320


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure a network for its model card, and picture its failures.")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--test", help="data set with true landmarks (val.hdf5), reported photo by photo")
    parser.add_argument("--train", help="data set whose held-out samples are reported, against their fits (train.hdf5)")
    parser.add_argument("--facemodel", help="face model of the fits of --train")
    parser.add_argument(
        "--fitoffset",
        nargs=2,
        type=float,
        default=(0.0, 0.0),
        metavar=("X", "Y"),
        help="how far the fits lie beside their faces, per cent of the landmark box's side: added to what is predicted",
    )
    parser.add_argument("--picture", help="where to draw the astronaut in hard conditions")
    parser.add_argument("--mirrored", action="store_true", help="the mean with the mirrored photo's faces")
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor = FaceReconstructor(options.model, mirrored=options.mirrored)
    if options.test:
        with open_dataset(options.test) as dataset:
            report_photos(dataset, reconstructor)
    if options.train:
        with open_dataset(options.train) as dataset:
            report_held_out(dataset, load_face_model(options.facemodel), reconstructor, options.fitoffset)
    if options.picture:
        Path(options.picture).write_bytes(encode_png(draw_failures(reconstructor)))


def report_photos(dataset, reconstructor) -> None:
    """NME of each photo against its true landmarks, cropped by its landmarks and by the detector; mouths and eyes."""
    from prnet.evaluating.openings import landmark_agreements

    scores, seen, true = [], [], []
    print("| photo | yaw | NME [%], crop of the true landmarks | crop of the detector |\n| --- | ---: | ---: | ---: |")
    for index, name in enumerate(dataset.names):
        image, truth = dataset.image(index), dataset.landmarks[index]
        found = nearest_face(reconstructor.reconstruct(image), truth)
        known = reconstructor.reconstruct(image, [dataset.box(index)])[0]
        scores.append([np.nan if face is None else sparse_nme(face.landmarks, truth) for face in (known, found)])
        seen.append([np.full((68, 3), np.nan) if face is None else face.landmarks for face in (known, found)])
        true.append(truth)
        print(f"| {name} | {dataset.yaw[index]:.0f} | {scores[-1][0]:.2f} | {scores[-1][1]:.2f} |")
    print("| mean | | " + " | ".join(f"{score:.2f}" for score in np.mean(scores, axis=0)) + " |")
    opened = [landmark_agreements(of_crop, np.array(true)) for of_crop in np.swapaxes(seen, 0, 1)]
    for part in opened[0]:
        print(f"| {part}: slope / correlation / error [%] | | " + " | ".join(each[part].text for each in opened) + " |")
    print()


def nearest_face(faces: list, landmarks: np.ndarray):
    """The face whose landmarks lie around the same place in the photo, or None where there is no face."""
    return min(faces, key=lambda face: np.linalg.norm((face.landmarks - landmarks)[:, :2].mean(axis=0)), default=None)


def report_held_out(dataset, model, reconstructor, fit_offset=(0.0, 0.0)) -> None:
    """Mean NME of the held-out samples against the landmarks of their fits, with mouths and eyes, by yaw.

    fit_offset : x right, y down, per cent of the landmark box's side, as `benchmarks.fit_offset` measures it on the
    training people.
    """
    from prnet.evaluating.openings import landmark_agreements
    from prnet.geometry.pose import fitted_landmarks

    held_out = np.flatnonzero(dataset.validation)
    scores, seen, true = [], [], []
    for index in held_out:
        coefficients, pose = dataset.fits(index)
        truth = fitted_landmarks(model, coefficients, pose, dataset.image_heights[index])
        box = dataset.box(index)
        face = reconstructor.reconstruct(dataset.image(index), [box])[0]
        expected = face.landmarks[:, :2] + np.array(fit_offset) / 100 * box.side
        scores.append(sparse_nme(expected, truth))
        seen.append(expected)
        true.append(truth)
    errors, yaw = np.array(scores), np.abs(dataset.yaw[held_out])
    print("| held out | samples | NME [%] | mouth, slope / correlation / error [%] | eyes |")
    print("| --- | ---: | ---: | --- | --- |")
    bins = [(f"abs(yaw) {low} to {high}", (yaw >= low) & (yaw < high)) for low, high in YAW_BINS]
    for name, chosen in (*bins, ("all", np.ones(len(errors), dtype=bool))):
        if chosen.any():
            parts = landmark_agreements(np.array(seen)[chosen], np.array(true)[chosen]).values()
            opened = " | ".join(each.text for each in parts)
            print(f"| {name} | {np.count_nonzero(chosen)} | {errors[chosen].mean():.2f} | {opened} |")


def sparse_nme(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """2D NME in per cent by the square root of the area of the true landmarks' box. Both (68, 2 or 3) pixels."""
    from prnet.evaluating.nme import nme, root_box_area

    return float(nme(landmarks[:, :2] - truth[:, :2], root_box_area(truth)))


def draw_failures(reconstructor) -> np.ndarray:
    """scikit-image's astronaut in eight conditions, from easy to hopeless: the crop with the landmarks found in it."""
    from skimage.data import astronaut

    from prnet.reconstructing.detection import find_faces
    from prnet.reconstructing.drawing import draw_landmarks

    photo = astronaut()
    box = find_faces(photo)[0].box
    x, y, half = *box.centre, box.side

    def turned(degrees):
        return cv2.warpAffine(photo, cv2.getRotationMatrix2D((x, y), degrees, 1), photo.shape[1::-1], borderMode=1)

    def covered(share):
        hidden = photo.copy()
        low = int(y + half / 2 - share * half)
        hidden[low : int(y + half), int(x - half) : int(x + half)] = (90, 110, 130)
        return hidden

    def small(side):
        factor = side / box.side
        return cv2.resize(
            cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), photo.shape[1::-1]
        )

    panels = []
    for title, image in (
        ("as it is", photo),
        ("turned by 45 degrees", turned(45)),
        ("turned by 90 degrees", turned(90)),
        ("turned by 180 degrees", turned(180)),
        ("face of 16 pixels", small(16)),
        ("face of 8 pixels", small(8)),
        ("mouth and chin covered", covered(0.45)),
        ("all below the brows covered", covered(0.85)),
    ):
        face = reconstructor.reconstruct(image, [box])[0]
        corner = np.array([x - half, y - half])
        window = cv2.getRectSubPix(image, (int(2 * half),) * 2, (float(x), float(y)))
        zoom = PANEL / window.shape[0]
        panel = draw_landmarks(cv2.resize(window, (PANEL, PANEL)), (face.landmarks[:, :2] - corner) * zoom)
        panels.append(
            cv2.putText(panel, title, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        )
    return np.vstack([np.hstack(panels[:4]), np.hstack(panels[4:])])


if __name__ == "__main__":
    run_script(main)
