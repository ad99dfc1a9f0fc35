"""Pictures of a set of fits: the best, median, worst and rejected over their photos, and how the set is spread."""

import os
from pathlib import Path

import cv2
import numpy as np

from prnet.common.files import atomic_write
from prnet.fitting.fit_set import FitSet, Outcome
from prnet.formats.image_files import decode_image
from prnet.formats.pairs import MAX_IMAGE_BYTES, PairSource, find_pairs
from prnet.geometry.crop import crop_image, crop_transform, landmark_box, transform_points
from prnet.geometry.face_model import FaceModel, at_landmarks, face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.transforms import apply_transform
from prnet.geometry.uv_layout import texel_coordinates
from prnet.reconstructing.drawing import draw_mesh

SHEET, HISTOGRAMS = "fits.png", "fits_statistics.png"
TILE, COLUMNS, MARGIN = 192, 8, 1.7
PAPER = 250


def draw_sheet(made: FitSet, face_model: FaceModel, path: Path) -> None:
    """Four double rows, photo above fit: least residual, median, greatest that was kept, and what was rejected."""
    kept = sorted(made.kept, key=lambda outcome: outcome.residual)
    fitted = (outcome for outcome in made.left_out if outcome.quality)
    rejected = sorted(fitted, key=lambda outcome: outcome.residual)
    middle = max(len(kept) // 2 - COLUMNS // 2, 0)
    chosen = kept[:COLUMNS], kept[middle : middle + COLUMNS], kept[-COLUMNS:], rejected[-COLUMNS:]
    triangles = face_triangles(face_model)
    with find_pairs(made.source) as source:
        rows = [_double_row(outcomes, source, face_model, triangles) for outcomes in chosen if outcomes]
    _save(path, np.concatenate(rows))


def face_triangles(model: FaceModel) -> np.ndarray:
    """The model's triangles that lie on its face: those whose middle has a weight on the UV grid."""
    size = len(model.region_weights)
    column, row = np.rint(texel_coordinates(model.uv[model.triangles].mean(axis=1), size)).astype(int).T
    return model.triangles[model.region_weights[row, column] > 0]


def draw_fit(outcome: Outcome, photo: np.ndarray, model: FaceModel, triangles: np.ndarray, size: int, opacity=0.85):
    """A fit's face as shaded clay over its photo, both cut to the face: two pictures (size, size, 3) uint8."""
    if outcome.pose is None:
        raise ValueError(f"{outcome.photo}: has no fit that can be drawn")
    to_pixels = fit_to_pixels(outcome.pose, outcome.height)
    vertices = apply_transform(to_pixels, face_vertices(model, outcome.coefficients))
    crop = crop_transform(landmark_box(at_landmarks(model, vertices)), size, margin=MARGIN)
    picture = crop_image(photo, crop, size)
    placed = transform_points(crop, vertices).astype(np.float32)
    return picture, draw_mesh(picture, placed, triangles, opacity)


def _double_row(outcomes: list[Outcome], source: PairSource, model: FaceModel, triangles: np.ndarray) -> np.ndarray:
    row = np.full((2 * TILE, COLUMNS * TILE, 3), PAPER, np.uint8)
    for place, outcome in enumerate(outcomes):
        photo = decode_image(source.read(outcome.photo, MAX_IMAGE_BYTES), outcome.photo)
        tile = np.concatenate(draw_fit(outcome, photo, model, triangles, TILE))
        label = f"{outcome.residual:.1f} %"
        cv2.putText(tile, label, (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, label, (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        row[:, place * TILE : (place + 1) * TILE] = tile
    return row


def draw_statistics(made: FitSet, path: Path) -> None:
    """Histograms of yaw, expression activity and residual, kept and rejected."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    for axis, title, value in zip(
        axes,
        ("yaw in degrees", "expression activity (sum of coefficients)", "residual, per cent of the face's size"),
        (lambda quality: quality.angles[1], lambda quality: quality.activity, lambda quality: quality.residual),
        strict=True,
    ):
        groups = [
            [value(outcome.quality) for outcome in outcomes if outcome.quality]
            for outcomes in (made.kept, made.left_out)
        ]
        axis.hist(groups, bins=40, stacked=True, label=(f"kept ({len(groups[0])})", f"rejected ({len(groups[1])})"))
        axis.set_xlabel(title)
    axes[0].set_ylabel("photos")
    axes[0].legend(frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _save(path: Path, picture: np.ndarray) -> None:
    content = cv2.imencode(os.path.splitext(path)[1], cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.tobytes())
