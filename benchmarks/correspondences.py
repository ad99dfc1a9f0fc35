"""Where MediaPipe's points lie beside ICT's mesh on photos, and how much each expression occurs: measured again.

What is measured on a set of photos with both sources and MediaPipe's blendshape scores goes into a copy of
`resource/ict/correspondences.npz`: `mediapipe_shift` and `expression_deviations`.

python -m benchmarks.correspondences --labels labels.hdf5 --facemodel face_model.hdf5 --output correspondences.npz
"""

import argparse
from dataclasses import replace

import numpy as np

from prnet.commands.terminal import run_script

MAX_YAW, MAX_DISAGREEMENT = 35.0, 6.0
MEDIAPIPE_SHARE, LIDS_SHARE = 0.35, 0.1
"""Factors on MediaPipe's weights, and on the eyelids of the 68, so that the 68 decide where the face is."""

DEPTH_SHARE = 0.1
MIN_SCORE, DEVIATIONS, GAZE_DEVIATION, UNSCORED = 0.004, (0.06, 0.4), 0.03, 0.1
"""Below the first MediaPipe's score says nothing of a shape, which then gets the last; the others stay within the
second; gaze hardly moves a mesh without eyeballs."""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", required=True, help="HDF5 with landmarks68, mediapipe and blendshapes")
    parser.add_argument("--facemodel", required=True, help="of build_face_model.py --ict")
    parser.add_argument("--output", required=True, help="the new correspondences.npz")
    parser.add_argument("--photos", type=int, default=1500, help="photos that the shift is measured on (1500)")
    options = parser.parse_args(argv)

    import h5py

    from prnet.fitting.landmark_files import read_landmark_file
    from prnet.formats.face_model_file import load_face_model
    from prnet.formats.ict import CORRESPONDENCES

    model = load_face_model(options.facemodel)
    shift = measured_shift(model, read_landmark_file(options.labels), options.photos)
    with h5py.File(options.labels) as file:
        scores = file["blendshapes"][:][file["mediapipe_found"][:]] / 255
        names = file["blendshape_names"].asstr()[:].tolist()
    deviations = [deviation(name, scores, names) for name in model.expression_names]
    with np.load(CORRESPONDENCES) as old:
        arrays = dict(old)
    moved = np.linalg.norm(shift - arrays["mediapipe_shift"], axis=1).mean()
    arrays["mediapipe_shift"] = shift.astype(np.float32)
    arrays["expression_names"] = np.array(model.expression_names)
    arrays["expression_deviations"] = np.array(deviations, np.float32).round(2)
    np.savez_compressed(options.output, **arrays)
    length = np.linalg.norm(shift, axis=1).mean()
    print(f"{options.output}: shift of {length:.3f} cm on average, {moved:.3f} from the old one")


def measured_shift(model, labels, count: int) -> np.ndarray:
    """(468, 3) model units, the same on both sides: the robust mean of what fits by the 68 leave of MediaPipe."""
    from prnet.fitting.evidence import FitModel
    from prnet.fitting.solver import Rules, solve
    from prnet.geometry.pose import angles_from_rotation

    bare = FitModel(replace(model, mediapipe=replace(model.mediapipe, shift=np.zeros_like(model.mediapipe.shift))))
    left, right = np.tile(np.eye(3), (468, 1, 1)), np.zeros((468, 3))
    used = 0
    for row in np.random.default_rng(0).permutation(len(labels.names)):
        evidence = bare.evidence(labels.landmarks(row))
        if len(evidence.sources) < 2 or evidence.disagreement > MAX_DISAGREEMENT:
            continue
        observation = led_by_the_68(evidence.observation)
        solution = solve(bare.points, observation, Rules())
        rotation = solution.pose.rotation
        if abs(np.degrees(angles_from_rotation(rotation)[1])) > MAX_YAW:
            continue
        apart = (observation.places - solution.places(bare.points))[68:]
        apart[:, :2] -= solution.offsets[1]
        apart[:, 2] -= np.median(apart[:, 2])
        length = np.linalg.norm(apart[:, :2], axis=1) * 100 / observation.size
        share = np.array([1, 1, DEPTH_SHARE]) / np.maximum(1, length / 2)[:, None]
        left += np.einsum("ji,pj,jk->pik", rotation, share, rotation)
        right += (share * apart) @ rotation / solution.pose.scale
        used += 1
        if used == count:
            break
    shift = np.linalg.solve(left, right[..., None])[..., 0]
    return (shift + shift[mirror_order()] * (-1, 1, 1)) / 2


def led_by_the_68(observation):
    """The observation with the 68 at full weight, but for the eyelids, and MediaPipe's points at a third."""
    from prnet.fitting.evidence import IBUG_DEPTH, IBUG_WEIGHT

    weights, depths = observation.weights.copy(), observation.depth_weights.copy()
    weights[:68] = IBUG_WEIGHT
    weights[[37, 38, 40, 41, 43, 44, 46, 47]] *= LIDS_SHARE
    depths[:68] = weights[:68] * IBUG_DEPTH
    weights[68:] *= MEDIAPIPE_SHARE
    depths[68:] *= MEDIAPIPE_SHARE
    return replace(observation, weights=weights, depth_weights=depths)


def mirror_order() -> np.ndarray:
    """(468,): MediaPipe's point on the other side, by its own canonical face."""
    from scipy.spatial import cKDTree

    from prnet.formats.ict import CORRESPONDENCES

    with np.load(CORRESPONDENCES) as places:
        canonical = places["mediapipe_canonical"]
    return cKDTree(canonical).query(canonical * (-1, 1, 1))[1]


def deviation(name: str, scores: np.ndarray, names: list[str]) -> float:
    """Root of the mean square of MediaPipe's score of an expression, both sides together."""
    if name.startswith("eyeLook"):
        return GAZE_DEVIATION
    bare = name.removesuffix("Left").removesuffix("Right")
    alike = [index for index, each in enumerate(names) if each in (name, bare, f"{bare}Left", f"{bare}Right")]
    size = np.sqrt((scores[:, alike] ** 2).mean())
    return float(np.clip(size, *DEVIATIONS)) if size > MIN_SCORE else UNSCORED


if __name__ == "__main__":
    run_script(main)
