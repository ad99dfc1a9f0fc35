"""How far the crops from a detector's boxes lie from the crops of landmarks, and the rule that brings them together.

python -m benchmarks.detector_crop --fit 300W-LP.zip --report AFLW2000 --facemodel resource/face_model.hdf5 \\
    --detector libfacedetection
"""

import argparse

import numpy as np

from prnet.commands.terminal import run_script
from prnet.common.errors import UserError


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Fit the rule from a detector's box to a crop, and report it.")
    parser.add_argument("--fit", required=True, help="folder or zip of photos with fits, to fit the rule on")
    parser.add_argument("--report", required=True, help="folder or zip of photos with fits, to report it on too")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    parser.add_argument("--detector", choices=("libfacedetection", "mtcnn"), default="mtcnn")
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model

    model = load_face_model(options.facemodel)
    fitted, reported = (measure_pairs(path, model, options.detector) for path in (options.fit, options.report))
    shift, factor = fit_rule(fitted)
    print(f'"{options.detector}": Rule(({shift[0]:.3f}, {shift[1]:.3f}), {factor:.3f})\n')
    print("| | photos | found | centre off, median | 95 % | largest | side, mean | deviation | range | covers |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for label, pairs in ((options.fit, fitted), (options.report, reported)):
        for rule, name in (((np.zeros(2), 1.0), "box as it is"), ((shift, factor), "rule")):
            print(f"| {label}, {name} | {describe(pairs, *rule)} |")


def measure_pairs(path, model, detector: str) -> list:
    """For one photo of each person: the true landmarks (68, 2) and the detector's (x, y, width, height), or None."""
    from prnet.formats.fit_files import read_fit
    from prnet.formats.image_files import decode_image
    from prnet.formats.pairs import find_pairs
    from prnet.geometry.pose import fitted_landmarks
    from prnet.reconstructing.detection import find_faces

    measured, seen = [], set()
    with find_pairs(path) as pairs:
        for pair in pairs:
            person = pair.name.rpartition("_")[0] or pair.name
            if person in seen:
                continue
            seen.add(person)
            image = decode_image(pair.image_bytes(), pair.image_file)
            fit = read_fit(pair.fit_bytes(), pair.fit_file)
            landmarks = fit.landmarks
            if landmarks is None:
                landmarks = fitted_landmarks(model, fit.coefficients, fit.pose, image.shape[0])
            centre = landmarks[:, :2].mean(axis=0)
            boxes = [np.array([face.x, face.y, face.width, face.height]) for face in find_faces(image, detector)]
            measured.append((landmarks[:, :2], nearest_box(boxes, centre)))
    if not measured:
        raise UserError(f"{path}: holds no photo with a fit")
    return measured


def nearest_box(boxes: list[np.ndarray], point: np.ndarray) -> np.ndarray | None:
    """The box (4,), corner and sides, whose centre is nearest to a point (2,)."""
    return min(boxes, key=lambda box: np.linalg.norm(box[:2] + box[2:] / 2 - point), default=None)


def fit_rule(measured) -> tuple[np.ndarray, float]:
    """Medians of the shift of the centre (2,) and of the ratio of the sides, in mean sides of the detector's box."""
    from prnet.geometry.crop import landmark_box

    shifts, factors = [], []
    for landmarks, (x, y, width, height) in ((points, box) for points, box in measured if box is not None):
        truth, side = landmark_box(landmarks), (width + height) / 2
        shifts.append((truth.centre - (x + (width - 1) / 2, y + (height - 1) / 2)) / side)
        factors.append(truth.side / side)
    return np.median(shifts, axis=0), float(np.median(factors))


def describe(measured, shift, factor) -> str:
    """Cells of the table: how far crops by a rule lie from the crops of the landmarks, in sides of the latter's box."""
    from prnet.configure.config import CROP_MARGIN
    from prnet.geometry.crop import landmark_box

    off, sides, covered = [], [], 0
    found = [(landmarks, box) for landmarks, box in measured if box is not None]
    for landmarks, (x, y, width, height) in found:
        truth, side = landmark_box(landmarks), (width + height) / 2
        centre = np.array([x + (width - 1) / 2, y + (height - 1) / 2]) + side * np.asarray(shift)
        off.append(np.linalg.norm(centre - truth.centre) / truth.side)
        sides.append(factor * side / truth.side)
        covered += bool((np.abs(landmarks - centre) <= CROP_MARGIN / 2 * factor * side).all())
    return (
        f"{len(measured)} | {len(found)} | {np.median(off):.3f} | {np.percentile(off, 95):.3f} | {max(off):.3f} | "
        f"{np.mean(sides):.3f} | {np.std(sides):.3f} | {min(sides):.2f} to {max(sides):.2f} | {covered}"
    )


if __name__ == "__main__":
    run_script(main)
