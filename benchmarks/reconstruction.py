"""One photo to one face, detection aside, against the bare forward pass of the network in the same run."""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, times_in_turn

NETWORKS = (("prnet", 256, 15.0), ("lprnet", 128, 8.0))
"""Name, image size, and the milliseconds that everything but the forward pass may take."""

ROUNDS = 15

NOISE = 6.0
"""Standard deviation of the noise on the frames of a still face, of 255 levels."""


def measure() -> list[Figure]:
    from prnet.generating.samples.model import make_sample_model
    from prnet.geometry.position_map import layout_of_model

    layout = layout_of_model(make_sample_model())
    figures = []
    for name, size, most in NETWORKS:
        figures += _measure_network(name, size, most, layout)
    return [*figures, *_measure_pictures(layout), *_measure_jitter()]


def _measure_network(name: str, size: int, most: float, layout) -> list[Figure]:
    """Every stage, and the whole less the bare forward pass, as medians of calls taken in turn."""
    import tensorflow as tf

    from prnet.formats.photos import decode_image
    from prnet.model.networks import build_network
    from prnet.model.saved_network import save_network
    from prnet.reconstructing.detection import box_of_rectangle
    from prnet.reconstructing.face import prepare_crop, restore_face
    from prnet.reconstructing.reconstructor import FaceReconstructor

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        save_network(build_network(name, size), layout, path)
        reconstructor = FaceReconstructor(path)
    photo = _photo()
    box = box_of_rectangle(170, 70, 110, 150)
    image = decode_image(photo, "photo")
    crop, to_crop = prepare_crop(image, box, size)
    crop_map = reconstructor.predict(crop[None])[0]
    forward = tf.function(lambda crops: reconstructor.network(crops, training=False))
    tensor = tf.constant(crop[None])
    stages = {
        "bare forward pass": lambda: forward(tensor),
        "photo to face": lambda: reconstructor.reconstruct(decode_image(photo, "photo"), [box]),
        "decode a 512 x 512 JPEG": lambda: decode_image(photo, "photo"),
        "crop": lambda: prepare_crop(image, box, size),
        "network with its call": lambda: reconstructor.predict(crop[None]),
        "restore, landmarks, pose": lambda: restore_face(crop_map, box, to_crop, reconstructor.grid),
    }
    times = dict(zip(stages, times_in_turn(list(stages.values()), ROUNDS), strict=True))
    beyond = statistics.median(
        1000 * (whole - bare) for whole, bare in zip(times["photo to face"], times["bare forward pass"], strict=True)
    )
    figures = [Figure(f"{name}: {stage}", 1000 * statistics.median(taken), "ms") for stage, taken in times.items()]
    return [*figures, Figure(f"{name}: photo to face less the bare forward pass", beyond, "ms", at_most=most)]


def _measure_pictures(layout) -> list[Figure]:
    """Rendering the mesh, and all that is drawn and unrolled for one face."""
    from prnet.formats.photos import decode_image
    from prnet.geometry.crop import Box, crop_transform
    from prnet.geometry.rasterise import render
    from prnet.reconstructing.drawing import draw_sheet
    from prnet.reconstructing.face import face_grid, restore_face

    box = Box(np.array([225.0, 160.0]), 120.0)
    face = restore_face(layout.canonical_map, box, crop_transform(box, 256), face_grid(layout, 256))
    image = decode_image(_photo(), "photo")
    colours, paper = np.full((len(face.vertices), 3), 200.0), np.zeros((256, 256, 3), np.uint8)
    crop_vertices = layout.canonical_map[face.grid.mask]
    rendered, sheet = times_in_turn(
        [lambda: render(crop_vertices, face.triangles, colours, paper), lambda: draw_sheet(face, image)], ROUNDS
    )
    count = f"{len(face.vertices):,}"
    return [
        Figure(f"render {count} vertices at 256 x 256", 1000 * statistics.median(rendered), "ms", at_most=50.0),
        Figure(f"sheet of eight pictures, {count} vertices", 1000 * statistics.median(sheet), "ms"),
    ]


def _measure_jitter() -> list[Figure]:
    """How much the landmarks of a still face in a noisy video tremble, without and with the filter."""
    from prnet.formats.photos import decode_image
    from prnet.reconstructing.reconstructor import FaceReconstructor
    from prnet.reconstructing.settings import MODEL_PATH
    from prnet.reconstructing.video import FaceTracker, jitter

    if not Path(MODEL_PATH).is_file():
        print(f"jitter is not measured: no {MODEL_PATH}", file=sys.stderr)
        return []
    reconstructor, random, image = FaceReconstructor(), np.random.default_rng(0), decode_image(_photo(), "photo")
    frames = [np.clip(image + random.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8) for _ in range(50)]

    def trembling(smooth: bool) -> float:
        track = FaceTracker(reconstructor, smooth=smooth)
        return jitter(np.array([face.landmarks for frame in frames for _, face in track(frame)[:1]]))

    before, after = trembling(smooth=False), trembling(smooth=True)
    return [
        Figure(f"jitter of a still face, noise of {NOISE:g} levels", before, "% of its side"),
        Figure("the same, smoothed", after, "% of its side", at_most=before / 2),
    ]


def _photo() -> bytes:
    from skimage.data import astronaut

    from prnet.formats.encoding import encode_jpeg

    return encode_jpeg(astronaut())
