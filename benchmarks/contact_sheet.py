"""One picture of what networks make of the same photos: the mesh, from the front, turned by 30 degrees, textures.

python -m benchmarks.contact_sheet photos --networks before.keras after.keras --output sheet.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from prnet.commands.terminal import run_script
from prnet.common.files import atomic_write
from prnet.formats.encoding import encode_png
from prnet.formats.photos import read_image
from prnet.geometry.crop import Box, crop_image, crop_transform, lift_transform
from prnet.geometry.transforms import apply_transform
from prnet.reconstructing.drawing import PAPER, SHEET_MARGIN, TURN, draw_clay, draw_frontal, draw_mesh
from prnet.reconstructing.outputs import find_inputs
from prnet.reconstructing.texture import complete_texture

PANEL, GAP = 224, 6
TEXTURE = 512


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Draw what networks make of the same photos, a row for each photo.")
    parser.add_argument("photos", help="a folder of photos")
    parser.add_argument("--networks", required=True, nargs="+", help="the first one's detector finds the faces for all")
    parser.add_argument("--output", required=True, help="picture to write")
    options = parser.parse_args(argv)

    from prnet.reconstructing.reconstructor import FaceReconstructor

    networks = [FaceReconstructor(path) for path in options.networks]
    rows = [photo_row(read_image(path), networks) for path in find_inputs(options.photos)]
    with atomic_write(Path(options.output)) as path:
        path.write_bytes(encode_png(np.concatenate([row for row in rows if row is not None])))


def photo_row(image: np.ndarray, networks) -> np.ndarray | None:
    """The photo and five pictures by each network, side by side; None where no face is found."""
    boxes = networks[0].detect(image)[:1]
    if not boxes:
        return None
    faces = [network.reconstruct(image, boxes)[0] for network in networks]
    found = faces[0].tracked_box
    view = crop_transform(Box(found.centre, found.side), PANEL, margin=SHEET_MARGIN)
    photo = crop_image(image, view, PANEL)
    panels = [photo]
    for face in faces:
        vertices = apply_transform(lift_transform(view), face.grid.contour(face.vertices)).astype(np.float32)
        texture = complete_texture(face, image, TEXTURE)
        panels += [
            draw_mesh(photo, vertices, face.triangles, 1.0),
            draw_clay(face, PANEL),
            draw_clay(face, PANEL, TURN),
            cv2.resize(texture, (PANEL, PANEL), interpolation=cv2.INTER_AREA),
            draw_frontal(face, texture, PANEL),
        ]
    return np.concatenate(
        [np.pad(panel, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=PAPER[0]) for panel in panels], 1
    )


if __name__ == "__main__":
    run_script(main)
