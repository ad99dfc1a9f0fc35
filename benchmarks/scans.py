"""The sample people as a benchmark in millimetres: their own meshes are the scans. `make bench-scans`

python -m benchmarks.scans --folder output/scans

(1) Rendered photos through a network, and the network's mean face beside it, measured by every protocol. (2) Meshes of
other sample people as predictions, whose true error is known vertex by vertex: how well each protocol's error follows
it.
"""

import argparse
from pathlib import Path

import numpy as np

from prnet.commands.terminal import run_script
from prnet.reconstructing.settings import MODEL_PATH

CHALLENGE = "multiview_expressions"
FLIP_Y = (1.0, -1.0, 1.0)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure a network, and the protocols themselves, on sample people.")
    parser.add_argument("--folder", type=Path, default=Path("output/scans"), help="gets scans, meshes and tables")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.samples.archives import make_sample_data

    make_sample_data(options.folder, 0, options.people, options.seed)
    model = load_face_model(options.folder / "face_model.hdf5")
    people = write_people(options.folder, model, options.model)
    report_networks(options.folder)
    report_protocols(people, model.triangles)


def write_people(folder: Path, model, network: str) -> list:
    """Scans and predictions in NoW's layout. Returns each person's scan (`Scan`)."""
    from prnet.evaluating.scan_protocols import SEVEN_OF_68, Scan
    from prnet.evaluating.subjects import PairSubjects
    from prnet.formats.fit_files import read_fit
    from prnet.formats.pairs import find_pairs
    from prnet.generating.samples.model import UNITS_PER_MM
    from prnet.geometry.face_model import face_landmarks, face_vertices
    from prnet.geometry.position_map import layout_of_model
    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor, scans, lines = FaceReconstructor(network), [], []
    with find_pairs(folder / "AFLW2000-3D.zip") as pairs:
        subjects = PairSubjects(pairs, model, layout_of_model(model))
        for number, pair in enumerate(pairs):
            subject = subjects.read([number])[0]
            fit = read_fit(pair.fit_bytes(), pair.fit_file)
            marks = face_landmarks(model, fit.coefficients)[list(SEVEN_OF_68)] / UNITS_PER_MM
            scan = Scan(face_vertices(model, fit.coefficients).astype(np.float64) / UNITS_PER_MM, marks)
            write_mesh(folder / "scans" / subject.name / "scan", scan.vertices, model.triangles, marks)
            assert subject.photo is not None
            assert subject.box is not None
            face = reconstructor.reconstruct(subject.photo, [subject.box])[0]
            place = Path(subject.name, CHALLENGE, "photo")
            write_mesh(folder / "network" / place, face.vertices * FLIP_Y, face.triangles, face.landmarks * FLIP_Y)
            write_mesh(
                folder / "mean_face" / place, face.grid.canonical, face.triangles, canonical_landmarks(face.grid)
            )
            scans.append(scan)
            lines.append(f"{place}.jpg")
    (folder / "imagepaths.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return scans


def canonical_landmarks(grid) -> np.ndarray:
    """The 68 landmarks (68, 3) of the mean face: its vertices nearest to them."""
    return grid.canonical[grid.landmark_vertices]


def write_mesh(stem: Path, vertices: np.ndarray, triangles: np.ndarray, landmarks: np.ndarray) -> None:
    """An OBJ file and its landmarks beside it."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    lines = ["v {:.5f} {:.5f} {:.5f}".format(*vertex) for vertex in vertices]
    lines += ["f {} {} {}".format(*triangle) for triangle in triangles + 1]
    stem.with_name(stem.name + ".obj").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(stem.with_name(stem.name + ".npy"), landmarks)


def report_networks(folder: Path) -> None:
    """Each protocol's figures, and the tables of each in a folder."""
    from prnet.evaluating.scan_protocols import SCAN_PROTOCOLS
    from prnet.evaluating.scans import measure_scans, summarise_scans, write_scan_report
    from prnet.formats.scan_files import read_image_list

    images = read_image_list(folder / "imagepaths.txt")
    print("| mesh | protocol | median | mean | deviation | RMS of an image | missing |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in ("network", "mean_face"):
        for protocol in SCAN_PROTOCOLS.values():
            results = measure_scans(folder, folder / name, images, protocol)
            write_scan_report(folder / f"{name}_{protocol.name}", name, results, protocol, False, "mm")
            each = summarise_scans(results)
            numbers = (each.median, each.mean, each.deviation, each.root_mean_square)
            shown = " | ".join(f"{number:.2f}" for number in numbers)
            print(f"| {name} | {protocol.name} | {shown} | {each.missing} of {each.images} |", flush=True)


def report_protocols(people: list, triangles: np.ndarray) -> None:
    """Correlation over people of each protocol's mean error with the true one, each person predicted as the next."""
    from prnet.evaluating.scan_protocols import SCAN_PROTOCOLS, PredictedMesh

    pairs = list(zip(people, people[1:] + people[:1], strict=True))
    true = [true_error(person, other) for person, other in pairs]
    print("\n| protocol | mean error, mm | correlation with the true error |\n| --- | ---: | ---: |")
    print(f"| known correspondences | {np.mean(true):.2f} | 1 |")
    for protocol in SCAN_PROTOCOLS.values():
        meshes = [PredictedMesh(other.vertices, triangles, other.landmarks) for _, other in pairs]
        found = [
            protocol.distances(mesh, person, False).mean() for mesh, (person, _) in zip(meshes, pairs, strict=True)
        ]
        print(f"| {protocol.name} | {np.mean(found):.2f} | {np.corrcoef(true, found)[0, 1]:.2f} |", flush=True)


def true_error(person, other) -> float:
    """Mean distance in mm of the face's vertices to their own counterparts, after similarity by these."""
    from prnet.evaluating.scan_protocols import now_region
    from prnet.geometry.alignment import align
    from prnet.geometry.transforms import apply_transform

    centre, radius = now_region(person.landmarks)
    face = np.linalg.norm(person.vertices - centre, axis=1) <= radius
    moved = apply_transform(align(other.vertices[face], person.vertices[face]), other.vertices[face])
    return float(np.linalg.norm(moved - person.vertices[face], axis=1).mean())


if __name__ == "__main__":
    run_script(main)
