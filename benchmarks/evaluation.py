"""Evaluation of 2,000 images, the network aside: reading, cropping, true maps of a full-size model, errors, memory."""

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.figures import Figure
from prnet.geometry.transforms import apply_transform

IMAGES = 2000
CORES = 2
SIDE = 450


def measure() -> list[Figure]:
    """Processor time, so that other work on the machine does not count, and the growth of memory with images."""
    from prnet.evaluating.nme import ALIGNMENTS, aligned_residuals
    from prnet.geometry.position_map import layout_of_model

    model = _full_size_model()
    layout = layout_of_model(model)
    _evaluate(model, layout, 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = _evaluate(model, layout, IMAGES)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    truth, predicted = _face_and_prediction(layout)
    figures = [
        Figure(
            f"sparse and dense types, {IMAGES:,} images on {CORES} cores, network aside",
            seconds / CORES,
            "s",
            at_most=20,
        ),
        Figure(f"memory that 1,900 images more take, {IMAGES:,} in all", growth, "MB", at_most=40),
    ]
    for alignment in ALIGNMENTS:
        times = []
        for _ in range(5):
            start = time.process_time()
            aligned_residuals(predicted, truth, alignment)
            times.append(time.process_time() - start)
        name = f"reconstruction of {len(truth):,} vertices, {alignment}, per image and core"
        figures.append(Figure(name, sorted(times)[2], "s", at_most=0.2))
    return figures


def _full_size_model():
    """The sample model with as many components as the Basel model has: 199 and 29."""
    from prnet.generating.samples.model import make_sample_model

    model = make_sample_model()
    random = np.random.default_rng(0)
    vertices = len(model.mean)
    weights = np.zeros_like(model.region_weights)
    weights[22:232, 24:232] = 3  # 43,680 texels
    return replace(
        model,
        shape_basis=random.normal(0, 1e-3, (vertices, 3, 199)).astype(np.float32),
        expression_basis=random.normal(0, 1e-3, (vertices, 3, 29)).astype(np.float32),
        region_weights=weights,
    )


def _evaluate(model, layout, count: int) -> float:
    """Processor time in seconds of the four types for `count` images."""
    from prnet.evaluating.evaluation import evaluate
    from prnet.evaluating.methods import NetworkMethod
    from prnet.evaluating.protocols import PROTOCOLS
    from prnet.evaluating.subjects import DatasetSubjects

    subjects = DatasetSubjects(_dataset(model, layout, count), model, layout)
    method = NetworkMethod(
        "mean face", "", lambda images: np.broadcast_to(layout.canonical_map, images.shape), layout, 256
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        evaluate(
            subjects,
            method,
            types=(0, 1, 2, 3),
            protocol=PROTOCOLS["standard"],
            layout=layout,
            path=Path(folder) / "results.npz",
        )
        return time.process_time() - start


def _dataset(model, layout, count: int):
    """A stand-in for a data set in memory whose photos are all the same."""
    from prnet.geometry.crop import landmark_box
    from prnet.geometry.face_model import face_landmarks
    from prnet.geometry.pose import fit_to_pixels

    random = np.random.default_rng(1)
    coefficients = random.normal(0, 1, (count, model.coefficient_count)).astype(np.float32)
    scale = 0.6 * SIDE / np.ptp(model.mean[:, 1])
    poses = np.tile([0.0, 0.0, 0.0, SIDE / 2, SIDE / 2, 0.0, scale], (count, 1))
    poses[:, 1] = random.uniform(-1, 1, count)
    landmarks = np.empty((count, 68, 3), np.float32)
    for row, (coefficient, pose) in enumerate(zip(coefficients, poses, strict=True)):
        transform = fit_to_pixels(pose, SIDE)
        landmarks[row] = apply_transform(transform, face_landmarks(model, coefficient))
    boxes = [landmark_box(points) for points in landmarks]
    photo = random.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    return SimpleNamespace(
        path="benchmark",
        data_mode=5,
        folders=["AFLW2000"] * count,
        names=[f"image{number:05d}" for number in range(count)],
        yaw=np.degrees(poses[:, 1]),
        box=boxes.__getitem__,
        landmarks=landmarks,
        stores_fits=True,
        fits=lambda indices: (coefficients[indices], poses[indices]),
        image_heights=np.full(count, SIDE),
        model_identity=model.identity,
        layout_identity=layout.identity,
        identity="benchmark",
        image=lambda _: photo,
    )


def _face_and_prediction(layout):
    """A face (V, 3) in pixels, and the same a little bent, turned and noisy, as a network might see it."""
    from prnet.geometry.uv_layout import face_mask

    random = np.random.default_rng(2)
    truth = layout.canonical_map[face_mask(layout, 256)].astype(np.float64)
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])
    predicted = (truth + 3 * np.sin(truth / 30) + random.normal(0, 0.7, truth.shape)) @ turn.T + [4, -3, 8]
    return truth, predicted
