"""Faces of a photo or a video with the features of another photo's face: what the program `swap-faces` writes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from prnet.common.errors import UserError, printable
from prnet.common.files import atomic_write, plain_name
from prnet.formats.photos import read_image
from prnet.reconstructing.face import Face
from prnet.reconstructing.photo_face import PhotoFace
from prnet.reconstructing.settings import PARTS
from prnet.reconstructing.synthetic import NOTICE, labelled, synthetic_sheet, write_synthetic
from prnet.reconstructing.texture import complete_texture, texture_side
from prnet.reconstructing.transfer import blend_texture, draw_layer, morph, transfer_expressions
from prnet.reconstructing.video import FaceTracker
from prnet.reconstructing.video_files import VIDEO_SUFFIXES, VideoFile, open_video, require_frames, require_whole

logger = logging.getLogger(__name__)

SHOWN = 1.2
"""Sides of a face to each side of its middle that the sheet shows."""

Change = Callable[[Face, np.ndarray], np.ndarray]
"""What is done to a face in its photo (H, W, 3): returns the new photo."""


@dataclass(frozen=True)
class Swap:
    """What is done to the faces of a photo or video, with what it comes from."""

    change: Change
    source: np.ndarray  # a picture of it, (H, W, 3) uint8 RGB
    name: str  # of its file


def texture_swap(source: PhotoFace, name, part: str) -> Swap:
    """A part of the source's face, one of `settings.PARTS`, on the others."""
    if part not in PARTS:
        raise UserError(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    texture = complete_texture(source, source.photo, texture_side(source))
    return Swap(
        lambda face, image: blend_texture(face, image, texture, part), around(source, source.photo), Path(name).name
    )


def expression_swap(source: PhotoFace, name) -> Swap:
    """The source's expressions on the others' faces."""
    return Swap(
        lambda face, image: transfer_expressions(source, source.photo, face, image),
        around(source, source.photo),
        Path(name).name,
    )


def morph_swap(source: PhotoFace, name, amount: float) -> Swap:
    """The others' faces gone over to the source's by an amount of 0 to 1."""
    if not 0 <= amount <= 1:
        raise UserError(f"`morph` {amount:g}: how far the face goes over, from 0 to 1")
    return Swap(
        lambda face, image: morph(source, source.photo, face, image, amount),
        around(source, source.photo),
        Path(name).name,
    )


def layer_swap(path) -> Swap:
    """A drawn UV layer, an RGBA picture, over the faces."""
    layer = read_layer(path)
    shown = np.where(layer[..., 3:] > 0, layer[..., :3], 255).astype(np.uint8)
    return Swap(lambda face, image: draw_layer(face, image, layer), shown, Path(path).name)


def read_layer(path) -> np.ndarray:
    """A square RGBA picture, (side, side, 4) uint8, in the form of `_texture.png`. Raises `UserError` for another."""
    path = Path(path)
    read_image(path)  # whole, and of a modest size
    layer = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if layer is None or layer.ndim != 3 or layer.shape[2] != 4 or layer.dtype != np.uint8:
        raise UserError(f"{path}: not an RGBA picture of 8 bits; save the layer as a PNG that is transparent around it")
    if layer.shape[0] != layer.shape[1]:
        raise UserError(f"{path}: has {layer.shape[1]} x {layer.shape[0]} pixels; a UV layer is square")
    return np.ascontiguousarray(layer[..., [2, 1, 0, 3]])


def face_of(reconstructor, path) -> PhotoFace:
    """The largest face of a photo. Raises `UserError` for none."""
    faces = reconstructor.reconstruct(read_image(path))
    if not faces:
        raise UserError(f"{path}: no face found; give a photo where the face is larger, or `detector` none")
    return faces[0]


def around(face: Face, image: np.ndarray) -> np.ndarray:
    """The part of a photo that shows a face and its hair, (., ., 3)."""
    box = face.tracked_box
    low = np.maximum(np.floor(box.centre - SHOWN * box.side), 0).astype(int)
    high = np.ceil(box.centre + SHOWN * box.side).astype(int)
    return image[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]


def swap_photo(reconstructor, swap: Swap, path: Path, folder: Path) -> Path:
    """Change all faces of a photo. Returns the sheet; the result is beside it, as `<stem>_swapped.png`."""
    image = read_image(path)
    faces = reconstructor.reconstruct(image)
    if not faces:
        raise UserError(f"{path}: no face found; give a photo where the face is larger, or `detector` none")
    result = image
    for face in reversed(faces):
        result = swap.change(face, result)
    stem = plain_name(path.stem)
    write_synthetic(folder / f"{stem}_swapped.png", result)
    before, after = (around(faces[0], picture) for picture in (image, result))
    panels = [(swap.name, swap.source), (path.name, before), ("the result: SYNTHETIC", after)]
    sheet = folder / f"{stem}_swapped_sheet.png"
    write_synthetic(sheet, synthetic_sheet([(printable(title), picture) for title, picture in panels]))
    logger.info(printable(f"{path}: {len(faces)} face{'s' if len(faces) > 1 else ''}, {folder / stem}_swapped*"))
    return sheet


def swap_video(
    reconstructor, swap: Swap, path: Path, folder: Path, start: float = 0.0, end: float | None = None
) -> Path:
    """Change all faces of a video, tracked and smoothed, in every frame, which is marked. Returns the new video."""
    target, changed, read = folder / f"{plain_name(path.stem)}_swapped.mp4", 0, 0
    with open_video(path, start, end) as video, atomic_write(target) as temporary:
        track = FaceTracker(reconstructor, smooth=True, rate=video.rate)
        with VideoFile(temporary, video.rate, path, start, end, comment=NOTICE) as result:
            for picture in video.frames:
                read += 1
                faces = track(picture)
                for _, face in faces:
                    picture = swap.change(face, picture)
                changed += bool(faces)
                result.write(labelled(picture))
        require_frames(path, read)
        if not changed:
            raise UserError(f"{path}: no face found in {read} frames")
    require_whole(path, video, read, target)
    logger.info(printable(f"{path}: changed in {changed} of {read} frames, {target}"))
    return target


def swap_input(reconstructor, swap: Swap, path, folder, start: float = 0.0, end: float | None = None) -> Path:
    """Change all faces of a photo or video. Returns the file to look at first."""
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return swap_video(reconstructor, swap, path, Path(folder), start, end)
    return swap_photo(reconstructor, swap, path, Path(folder))
