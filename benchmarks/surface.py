"""What the surface filter does to a network that is free at every texel: the table of docs/reconstruction.md.

python -m benchmarks.surface --model lprnet.keras --dataset train.hdf5 --facemodel face_model.hdf5 --outputdir out

Held-out samples, against the maps of their fits. The picture shows the astronaut by each width.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import held_out
from prnet.commands.terminal import run_script
from prnet.formats.encoding import encode_png
from prnet.reconstructing.settings import MODEL_PATH

WIDTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
PANEL = 320


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Roughness, normals and errors of a network's surface.")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--dataset", help="train.hdf5, whose held-out samples are measured")
    parser.add_argument("--facemodel", help="face model of its fits, in the network's UV layout")
    parser.add_argument("--outputdir", type=Path, required=True, help="folder for the table and the picture")
    parser.add_argument("--widths", nargs="+", type=float, default=WIDTHS, help="texels; default %(default)s")
    options = parser.parse_args(argv)

    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor = FaceReconstructor(options.model, surface_filter=False)
    options.outputdir.mkdir(parents=True, exist_ok=True)
    if options.dataset:
        report(reconstructor, options)
    (options.outputdir / "astronaut.png").write_bytes(encode_png(draw(reconstructor, options.widths)))


def report(reconstructor, options) -> None:
    """A row for each width, the fits' own maps, and what the filter does to their normals."""
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import map_basis

    basis = map_basis(load_face_model(options.facemodel), reconstructor.image_size)
    with open_dataset(options.dataset) as dataset:
        images, truth, yaw = held_out.held_out(dataset, basis)
    mask, layout = reconstructor.grid.mask, reconstructor.layout
    maps = held_out.predicted(reconstructor.network, images)
    rows = {"the fits' own maps": [*held_out.measures(truth, truth, yaw, layout), ""]}
    for width in options.widths:
        own = np.median(held_out.normal_angles(smoothed(truth, mask, width), truth, mask))
        cells = held_out.measures(smoothed(maps, mask, width), truth, yaw, layout)
        rows[f"{width:g}"] = [*cells, f"{own:.1f}"]
    held_out.report(options.outputdir, rows, (*held_out.COLUMNS, "the fits' own normals"))


def smoothed(maps: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    """Maps (N, S, S, 3), each by the filter; a width of 0 leaves them."""
    from prnet.geometry.surface_filter import smooth_map

    return np.stack([smooth_map(each, mask, width) for each in maps]) if width else maps


def draw(reconstructor, widths) -> np.ndarray:
    """The astronaut's mesh from the front and turned by 30 degrees, one column a width."""
    from skimage.data import astronaut

    from prnet.reconstructing.drawing import draw_clay
    from prnet.reconstructing.face import place_face

    face = reconstructor.reconstruct(astronaut(), [(180, 80, 86, 110)])[0]
    columns = []
    for width in widths:
        grid = replace(face.grid, filter_width=width)
        shown = place_face(face.position_map, face.box, face.to_crop, grid)
        columns.append(np.vstack([draw_clay(shown, PANEL, yaw) for yaw in (0, 30)]))
    return np.hstack(columns)


if __name__ == "__main__":
    run_script(main)
