"""Fits of photos against the photos' true landmarks: error by yaw, and how far mouths and eyes open.

python -m benchmarks.fits --fits fits --truth AFLW2000 --facemodel resource/face_model.hdf5
"""

import argparse
from pathlib import Path

import numpy as np

from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.evaluating.openings import landmark_agreements


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=Path, required=True, help="folder or zip of photos with fits")
    parser.add_argument("--truth", type=Path, required=True, help="the same photos with pt3d_68 in their .mat")
    parser.add_argument("--facemodel", type=Path, required=True, help="face model of the fits")
    options = parser.parse_args(argv)

    from prnet.evaluating.nme import root_box_area
    from prnet.evaluating.protocols import yaw_bins
    from prnet.formats.face_model_file import load_face_model

    found, true, yaw = landmark_pairs(options.fits, options.truth, load_face_model(options.facemodel))
    error = 100 * np.linalg.norm((found - true)[..., :2], axis=-1).mean(axis=-1) / root_box_area(true)
    which = yaw_bins(yaw)
    bins = [
        f"{error[which == each].mean():.2f} ({(which == each).sum()})" for each in range(3) if (which == each).any()
    ]
    print(f"{len(error)} photos: NME {error.mean():.2f} %, median {np.median(error):.2f}; by yaw {', '.join(bins)}")
    for name, each in landmark_agreements(found, true).items():
        print(f"{name}: slope / correlation / mean absolute error in %: {each.text}")


def landmark_pairs(fits: Path, truth: Path, model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks of the fits, true ones, both (N, 68, 3) in pixels, and the true fits' yaw in degrees (N,)."""
    from prnet.formats.fit_files import read_fit, require_model
    from prnet.formats.image_files import check_image
    from prnet.formats.pairs import find_pairs
    from prnet.geometry.pose import fitted_landmarks

    found, true, yaw = [], [], []
    with find_pairs(fits) as fitted, find_pairs(truth) as known:
        by_name = {pair.name: pair for pair in fitted}
        for pair in known:
            if pair.name not in by_name:
                continue
            fit, wanted = (read_fit(each.fit_bytes(), each.fit_file) for each in (by_name[pair.name], pair))
            require_model(fit, model, by_name[pair.name].fit_file)
            if wanted.landmarks is None:
                raise UserError(f"{pair.fit_file}: has no pt3d_68; give photos with true landmarks")
            height = check_image(pair.image_bytes(), pair.image_file)[0]
            found.append(fitted_landmarks(model, fit.coefficients, fit.pose, height))
            true.append(wanted.landmarks)
            yaw.append(np.degrees(wanted.pose[1]))
    if not found:
        raise UserError(f"{fits}: holds none of the photos of {truth}")
    return np.array(found), np.array(true), np.array(yaw)


if __name__ == "__main__":
    run_script(main)
