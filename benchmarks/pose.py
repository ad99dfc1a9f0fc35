"""Pose of a network on photos with fits: angles under named protocols, geodesic error, and where yaw is under-read.

python -m benchmarks.pose --data AFLW2000-3D.zip [--skip-list names.txt]
"""

import argparse
from pathlib import Path

import numpy as np

from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.reconstructing.settings import MODEL_PATH

YAW_BINS = ((0, 30), (30, 60), (60, 181))


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder or zip of photos with fits that have pt3d_68")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--skip-list", type=Path, help="names of photos, one a line, for the protocol skip-list")
    options = parser.parse_args(argv)
    listed = set(read_names(options.skip_list)) if options.skip_list else None

    from prnet.evaluating.pose_errors import PROTOCOLS, REFERENCES, compared, pose_errors

    names, truth, found = angles_of(options.data, options.model)
    skipped = None if listed is None else np.array([name in listed for name in names])
    print("| rotation | protocol | images | pitch | yaw | roll | mean | geodesic |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for way, angles in found.items():
        for protocol in [each for each in PROTOCOLS if each != "skip-list" or skipped is not None]:
            chosen = compared(truth, protocol, skipped)
            if chosen.any():
                each = pose_errors(angles[chosen], truth[chosen])
                numbers = (each.pitch, each.yaw, each.roll, each.mean, each.geodesic)
                print(f"| {way} | {protocol} | {each.images} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |")
    for method, error in REFERENCES:
        print(f"| *{method}*, published, all of AFLW2000-3D | | | | | | {error:.2f} | |")
    print("\n| rotation | true abs(yaw) | images | predicted less true, towards profile |\n| --- | --- | ---: | ---: |")
    for way, angles in found.items():
        for low, high in YAW_BINS:
            chosen = (np.abs(truth[:, 1]) >= low) & (np.abs(truth[:, 1]) < high)
            if chosen.any():
                over = np.mean(np.sign(truth[chosen, 1]) * (angles - truth)[chosen, 1])
                print(f"| {way} | {low} to {high} | {chosen.sum()} | {over:+.1f} |")


def read_names(path: Path) -> list[str]:
    """Names without suffix. Raises UserError where there is no such text."""
    try:
        return [Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no readable list of names: {error}") from None


def angles_of(data: str, network: str) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Names, true angles (N, 3), and the angles (N, 3) of faces' poses and of the network's own rotations."""
    from prnet.evaluating.subjects import PairSubjects
    from prnet.formats.fit_files import read_fit
    from prnet.formats.pairs import find_pairs
    from prnet.geometry.pose import angles_from_rotation
    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor, names, truth, poses, rotations = FaceReconstructor(network), [], [], [], []
    with find_pairs(data) as pairs:
        subjects = PairSubjects(pairs, None, None)
        fits = {pair.name: pair for pair in pairs}
        for number, name in enumerate(subjects.names):
            subject = subjects.read([number])[0]
            if subject.photo is None or subject.box is None:
                raise UserError(subject.problem)
            face = reconstructor.reconstruct(subject.photo, [subject.box])[0]
            names.append(name)
            truth.append(np.degrees(read_fit(fits[name].fit_bytes(), fits[name].fit_file).pose[:3]))
            poses.append([face.pose.pitch, face.pose.yaw, face.pose.roll])
            if face.parameters is not None:
                rotations.append(np.degrees(angles_from_rotation(face.parameters.rotation)))
    found = {"face.pose": np.array(poses)}
    if rotations:
        found["the network's own"] = np.array(rotations)
    return names, np.array(truth), found


if __name__ == "__main__":
    run_script(main)
