"""What the surface filter does to a network that is free at every texel: the table of docs/reconstruction.md.

python -m benchmarks.surface --model lprnet.keras --train train.hdf5 --facemodel face_model.hdf5

Held-out samples, against the maps of their fits. The picture shows the astronaut by each width.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion

from prnet.commands.terminal import run_script
from prnet.formats.encoding import encode_png
from prnet.reconstructing.settings import MODEL_PATH

WIDTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
BATCH_SIZE, PANEL = 32, 320


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Roughness, normals and errors of a network's surface.")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--train", help="data set whose held-out samples are measured (train.hdf5)")
    parser.add_argument("--facemodel", help="face model of its fits, in the network's UV layout")
    parser.add_argument("--widths", nargs="+", type=float, default=WIDTHS, help="texels; default %(default)s")
    parser.add_argument("--picture", help="where to draw the astronaut")
    options = parser.parse_args(argv)

    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor = FaceReconstructor(options.model, surface_filter=False)
    if options.train:
        found, true = held_out_maps(reconstructor, options.train, options.facemodel)
        report(reconstructor.grid, found, true, options.widths)
    if options.picture:
        Path(options.picture).write_bytes(encode_png(draw(reconstructor, options.widths)))


def held_out_maps(reconstructor, train, face_model) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the held-out samples (B, S, S, 3) in crop pixels, by the network and by their fits."""
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.crop import compose, lift_transform
    from prnet.geometry.pose import fit_to_pixels
    from prnet.geometry.position_map import map_basis, position_maps
    from prnet.reconstructing.face import prepare_crop

    size, found, true = reconstructor.image_size, [], []
    basis = map_basis(load_face_model(face_model), size)
    with open_dataset(train) as dataset:
        chosen = np.flatnonzero(dataset.validation)
        for start in range(0, len(chosen), BATCH_SIZE):
            indices = chosen[start : start + BATCH_SIZE]
            crops, to_crop = zip(*(prepare_crop(dataset.image(n), dataset.box(n), size) for n in indices), strict=True)
            coefficients, poses = zip(*(dataset.fits(n) for n in indices), strict=True)
            placed = [
                compose(lift_transform(crop), fit_to_pixels(pose, dataset.image_heights[n]))
                for crop, pose, n in zip(to_crop, poses, indices, strict=True)
            ]
            found.append(reconstructor.predict(np.stack(crops)))
            true.append(position_maps(basis, np.array(coefficients), np.array(placed)))
    return np.concatenate(found), np.concatenate(true)


def report(grid, found: np.ndarray, true: np.ndarray, widths) -> None:
    """A row for each width, and two of the true maps: how rough they are, and what the filter would do to them."""
    print("| width [texels] | roughness [%] | normals [degrees] | NME [%] | dense 3D [%] | a true map's normals |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| the fits' own maps | {np.mean([roughness(each, grid, each) for each in true]):.3f} | | | | |")
    for width in widths:
        rows = [
            (
                roughness(smoothed, grid, before),
                normal_angle(smoothed, after, grid),
                *errors(smoothed, after, grid),
                normal_angle(filtered(after, grid, width), after, grid),
            )
            for before, after in zip(found, true, strict=True)
            for smoothed in [filtered(before, grid, width)]
        ]
        rough, _, sparse, dense, _ = np.mean(rows, axis=0)
        _, normals, _, _, own = np.median(rows, axis=0)
        print(f"| {width:g} | {rough:.3f} | {normals:.1f} | {sparse:.2f} | {dense:.2f} | {own:.1f} |")


def filtered(position_map: np.ndarray, grid, width: float) -> np.ndarray:
    from prnet.geometry.surface_filter import smooth_map

    return smooth_map(position_map, grid.mask, width) if width else position_map


def roughness(position_map: np.ndarray, grid, unit_map: np.ndarray) -> float:
    """Mean distance of a texel from the mean of its four neighbours, where all are of the face, in per cent of the root
    of the box around the landmarks of `unit_map`."""
    around = sum(np.roll(position_map, step, axis) for step in (-1, 1) for axis in (0, 1)) / 4
    inner = binary_erosion(grid.mask)
    return float(100 * np.linalg.norm(position_map - around, axis=-1)[inner].mean() / _root(unit_map, grid))


def normal_angle(one: np.ndarray, other: np.ndarray, grid) -> float:
    """Mean angle in degrees between the normals of two maps, two texels and more from the face's rim."""
    cosine = np.clip(np.sum(_normals(one) * _normals(other), axis=-1), -1, 1)
    return float(np.degrees(np.arccos(cosine))[binary_erosion(grid.mask, iterations=2)].mean())


def errors(position_map: np.ndarray, truth: np.ndarray, grid) -> tuple[float, float]:
    """2D NME of the landmarks that are read off the map, and mean 3D distance of the texels of the face with equal mean
    depth, in per cent of the root of the true landmarks' box."""
    from prnet.geometry.uv_layout import sample_landmarks

    apart = sample_landmarks(position_map - truth, grid.layout)[:, :2]
    dense = (position_map - truth)[grid.mask]
    dense[:, 2] -= dense[:, 2].mean()
    root = _root(truth, grid)
    sparse, all_of_face = (100 * float(np.linalg.norm(each, axis=1).mean()) / root for each in (apart, dense))
    return sparse, all_of_face


def _root(position_map: np.ndarray, grid) -> float:
    from prnet.evaluating.nme import root_box_area
    from prnet.geometry.uv_layout import sample_landmarks

    return float(root_box_area(sample_landmarks(position_map, grid.layout)))


def _normals(position_map: np.ndarray) -> np.ndarray:
    across, down = (np.roll(position_map, -1, axis) - np.roll(position_map, 1, axis) for axis in (1, 0))
    normals = np.cross(across, down)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)


def draw(reconstructor, widths) -> np.ndarray:
    """The astronaut's mesh from the front and turned by 30 degrees, one column a width."""
    from skimage.data import astronaut

    from prnet.reconstructing.drawing import draw_clay
    from prnet.reconstructing.face import place_face

    face = reconstructor.reconstruct(astronaut(), [(180, 80, 86, 110)])[0]
    columns = []
    for width in widths:
        grid = replace(face.grid, filter_width=width)
        smoothed = place_face(face.position_map, face.box, face.to_crop, grid)
        columns.append(np.vstack([draw_clay(smoothed, PANEL, yaw) for yaw in (0, 30)]))
    return np.hstack(columns)


if __name__ == "__main__":
    run_script(main)
