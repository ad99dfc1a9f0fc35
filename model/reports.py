"""Records of a run for people: the log as CSV, its curves and the fixed validation samples as pictures."""

import csv

import cv2
import numpy as np

from prnet.common.files import atomic_write
from prnet.formats.encoding import encode_png
from prnet.geometry.uv_layout import UVLayout, sample_landmarks

TRUE_COLOUR, PREDICTED_COLOUR = (0, 200, 0), (230, 0, 0)
"""RGB of true and predicted landmarks."""


def write_log(path, rows: list[dict]) -> None:
    """One line an epoch; a column that only some epochs have is empty in the others."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic_write(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(path, rows: list[dict], loss: str) -> None:
    """Loss, NME, learning rate and speed by epoch, as one PNG. loss : the name of the loss's column."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = (
        ((loss, f"val_{loss}"), f"loss ({loss})", "log"),
        (("nme", "val_nme", "test_nme"), "NME of 68 landmarks [%]", "log"),
        (("learning_rate",), "learning rate", "linear"),
        (("images_per_second",), "images per second", "linear"),
    )
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 7), layout="constrained")
    for axes, (columns, title, scale) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for column in columns:
            values = [row.get(column, np.nan) for row in rows]
            if not np.isnan(values).all():
                axes.plot(epochs, values, marker=".", label=_label(column))
        axes.set(title=title, xlabel="epoch", yscale=scale)
        if scale == "linear":
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3, which="both")
        if len(columns) > 1:
            axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _label(column: str) -> str:
    part = column.partition("_")[0]
    return {"val": "validation", "test": "test"}.get(part, "training")


def draw_samples(images: np.ndarray, true_maps: np.ndarray, maps: np.ndarray, layout: UVLayout) -> np.ndarray:
    """One row a sample: the input, its ground truth map, the predicted map, and both sets of landmarks on the input.

    images : (B, S, S, 3) in 0 to 1. true_maps, maps : (B, S, S, 3) in crop pixels. Returns RGB uint8. Green is true,
    red predicted; a map's red, green and blue are x, y and z over the crop's side.
    """
    return np.concatenate(
        [
            np.concatenate(
                [_picture(image), *(_picture(m / image.shape[0]) for m in (true, predicted)), marked], axis=1
            )
            for image, true, predicted in zip(images, true_maps, maps, strict=True)
            for marked in [
                _mark(_mark(_picture(image), true, layout, TRUE_COLOUR), predicted, layout, PREDICTED_COLOUR)
            ]
        ]
    )


def write_picture(path, picture: np.ndarray) -> None:
    """An RGB uint8 picture as a PNG file."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_png(picture))


def _picture(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _mark(picture: np.ndarray, position_map: np.ndarray, layout: UVLayout, colour) -> np.ndarray:
    for x, y in sample_landmarks(position_map, layout)[:, :2]:
        cv2.circle(picture, (round(float(x) * 8), round(float(y) * 8)), 10, colour, cv2.FILLED, cv2.LINE_AA, shift=3)
    return picture
