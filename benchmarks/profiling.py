"""Views rotated in depth that one core makes in a second, from photo and fit to the encoded picture."""

import time

import cv2
import numpy as np

from benchmarks.figures import Figure
from prnet.formats.encoding import encode_jpeg
from prnet.generating.samples.model import make_sample_model
from prnet.generating.views.profiling import render_view, view_transform
from prnet.generating.views.relief import FRAME_SIDES, make_face_grid, make_relief
from prnet.geometry.face_model import at_landmarks

VIEWS = np.radians([(0, yaw) for yaw in range(-80, 81, 20)])


def measure() -> list[Figure]:
    """Nine views of a photo at 256 pixels, by the processor's time; the best of five rounds."""
    model = make_sample_model()
    grid = make_face_grid(model)
    coefficients = np.zeros(model.coefficient_count, dtype=np.float32)
    side = FRAME_SIDES[0]
    pose = np.array([0, 0, 0, side / 2, side / 2, 0, side / 2.2 / np.ptp(at_landmarks(model, model.mean)[:, 1])])
    photo = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        spent = min(_time_views(photo, coefficients, pose, grid) for _ in range(5))
    finally:
        cv2.setNumThreads(threads)
    return [Figure("profile views at 256 px", len(VIEWS) / spent, "views per second and core", at_least=5)]


def _time_views(photo, coefficients, pose, grid) -> float:
    start = time.process_time()
    relief = make_relief(photo, coefficients, pose, grid)
    for pitch, yaw in VIEWS:
        encode_jpeg(render_view(relief, view_transform(relief, np.array([pitch, yaw, relief.angles[2]]))))
    return time.process_time() - start
