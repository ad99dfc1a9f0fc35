"""The pictures of docs/gallery.md: the shipped network on hard cases.

python -m benchmarks.gallery --outputdir docs/pictures --photos 300W-LP.zip --labels labels.hdf5

Rendered people and scikit-image's astronaut are shown with their meshes. Of research photos, held out of training, only
the untextured mesh is drawn: they may not be published.
"""

import argparse
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.model_card import nearest_face, sparse_nme
from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.reconstructing.settings import MODEL_PATH

PANEL, GAP, CAPTION, COLUMNS = 160, 5, 22, 3
PAPER, INK = (250, 250, 250), (40, 40, 40)
ZOOM = 1.7
"""Side of what is shown over that of the landmarks' box."""

PEOPLE, TURN, DARK = 40, 60, 0.2
"""Invented people to choose from; degrees of a turn in the picture's plane; the share of the light that is left."""

PHOTOS = {
    "profile": 3741,
    "open mouth": 10336,
    "closed eyes": 1363,
    "glasses": 12665,
    "beard": 10360,
    "child": 545,
    "dark skin": 1315,
    "head-scarf": 11593,
    "low light": 5703,
    "turned in its plane": 11552,
    "head thrown back": 9128,
    "profile in the dark": 121,
}
"""Held-out photos, as rows of labels.hdf5, by what is hard about them."""

Case = tuple[str, np.ndarray, np.ndarray | None]
"""Title, picture (H, W, 3) uint8 RGB, and its true landmarks (68, 3) where they are known."""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Draw the gallery of hard cases.")
    parser.add_argument("--model", default=MODEL_PATH, help="network; default %(default)s")
    parser.add_argument("--outputdir", required=True, help="folder for the pictures")
    parser.add_argument("--photos", help="300W-LP.zip of the research photos")
    parser.add_argument("--labels", help="their labels.hdf5")
    options = parser.parse_args(argv)
    if bool(options.photos) != bool(options.labels):
        parser.error("--photos and --labels belong together; give both or neither")

    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor, folder = FaceReconstructor(options.model), Path(options.outputdir)
    tiles = [tile(reconstructor, case, shows_photo=True) for case in sample_cases()]
    write_sheet(tiles, folder / "gallery_samples.png", 256)
    if options.photos:
        tiles = [tile(reconstructor, case, shows_photo=False) for case in photo_cases(options.photos, options.labels)]
        write_sheet(tiles, folder / "gallery_clay.png", 64)


def sample_cases() -> Iterator[Case]:
    """Rendered people, and the astronaut."""
    from skimage.data import astronaut

    from prnet.generating.samples import scene
    from prnet.generating.samples.archives import landmark_pixels
    from prnet.generating.samples.faces import draw_view, render_view
    from prnet.generating.samples.model import EXPRESSION_NAMES, make_sample_head
    from prnet.generating.samples.people import draw_person

    head, random = make_sample_head(), np.random.default_rng(0)
    people = [draw_person(head, random) for _ in range(PEOPLE)]

    def taken(title, person, yaw=10.0, **expressions):
        view = draw_view(head, person, yaw, np.random.default_rng(1))
        coefficients = view.coefficients.copy()
        coefficients[len(person.identity) :] = [expressions.get(name, 0.0) for name in EXPRESSION_NAMES]
        view = replace(view, coefficients=coefficients)
        return title, render_view(head, person, view), landmark_pixels(view, head)

    yield "scikit-image's astronaut", astronaut(), None
    yield taken("profile", people[0], 85)
    yield taken("open mouth", people[1], **{"jaw open": 1.0, "lips parted": 0.6})
    yield taken("closed eyes", people[2], **{"eyes closed": 1.0})
    glasses = scene.glasses_part((0.05, 0.05, 0.06), 24, 18, 3, 1.3)
    yield taken("glasses", replace(people[7], parts=[*people[7].parts, glasses]), -30)
    yield taken("beard", max(people, key=lambda person: person.skin.beard), 25)
    yield taken("dark skin", min(people, key=lambda person: sum(person.skin.tone)))
    _, picture, truth = taken("", people[5], -20)
    noise = np.random.default_rng(2).normal(0, 4, picture.shape)
    yield "low light", np.clip(picture * DARK + noise, 0, 255).astype(np.uint8), truth
    yield "turned in its plane", *turned(*taken("", people[6])[1:])


def photo_cases(photos, labels) -> Iterator[Case]:
    """The research photos of `PHOTOS`."""
    import h5py

    from prnet.formats.image_files import decode_image

    with h5py.File(labels) as file, zipfile.ZipFile(photos) as archive:
        entries = {Path(name).stem: name for name in archive.namelist() if name.endswith(".jpg")}
        for title, row in PHOTOS.items():
            name = file["names"][row].decode()
            picture = decode_image(archive.read(entries[name]), name)
            truth = file["landmarks68"][row] / np.float32(16)
            yield title, *(turned(picture, truth) if title == "turned in its plane" else (picture, truth))


def turned(picture: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its landmarks turned about the picture's middle by `TURN`."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), TURN, 1)
    moved = landmarks.astype(np.float64)
    moved[:, :2] = moved[:, :2] @ turn[:, :2].T + turn[:, 2]
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), moved


def tile(reconstructor, case: Case, shows_photo: bool) -> tuple[str, list[np.ndarray]]:
    """Caption and panels of a case: photo, where it may be shown, mesh as in the photo, and from the front."""
    from prnet.geometry.crop import Box, crop_image, crop_transform, landmark_box, lift_transform
    from prnet.geometry.transforms import apply_transform
    from prnet.reconstructing.drawing import draw_clay, draw_mesh

    title, picture, truth = case
    faces = reconstructor.reconstruct(picture)
    if truth is None and not faces:
        raise UserError(f"{title}: no face found")
    where = faces[0].landmarks if truth is None else truth
    box = landmark_box(where)
    face = nearest_face(faces, where)
    found = "" if face is not None else ", not found: crop by its landmarks"
    face = face or reconstructor.reconstruct(picture, [box])[0]
    view = crop_transform(Box(box.centre, box.side), 2 * PANEL, margin=ZOOM)
    vertices = apply_transform(lift_transform(view), face.grid.contour(face.vertices)).astype(np.float32)
    paper = np.full((2 * PANEL, 2 * PANEL, 3), PAPER, np.uint8)
    panels = [draw_mesh(paper, vertices, face.triangles, 1.0), draw_clay(face, 2 * PANEL)]
    panels.append(draw_clay(face, 2 * PANEL, 30))
    if shows_photo:
        panels = [crop_image(picture, view, 2 * PANEL, reflect=True), *panels[:2]]
    error = "" if truth is None else f", {sparse_nme(face.landmarks, truth):.1f} %"
    return title + error + found, [cv2.resize(each, (PANEL, PANEL), interpolation=cv2.INTER_AREA) for each in panels]


def write_sheet(tiles: list[tuple[str, list[np.ndarray]]], path: Path, colours: int) -> None:
    """A picture of all tiles, of a palette of so many colours."""
    from PIL import Image, ImageDraw, ImageFont

    width = len(tiles[0][1]) * PANEL + 3 * GAP
    result = Image.new("RGB", (COLUMNS * width + GAP, -(-len(tiles) // COLUMNS) * (PANEL + CAPTION) + GAP), PAPER)
    pen, font = ImageDraw.Draw(result), ImageFont.load_default(13)
    for number, (caption, panels) in enumerate(tiles):
        left, top = GAP + number % COLUMNS * width, number // COLUMNS * (PANEL + CAPTION)
        pen.text((left, top + CAPTION / 2 + 1), caption, INK, font, anchor="lm")
        result.paste(Image.fromarray(np.hstack(panels)), (left, top + CAPTION))
    result.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    run_script(main)
