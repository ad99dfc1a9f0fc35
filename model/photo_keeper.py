"""The record of a run that learns from photos: what the network makes of a few validation photos, as one picture."""

import numpy as np
from keras import ops

from prnet.configure.config import TARGET_SCALE
from prnet.model.callbacks import Keeper
from prnet.model.photo_training import STRIDE
from prnet.model.photonet import ALBEDO, LIGHT
from prnet.model.reports import draw_curves, write_log, write_picture

GREY = 0.55
"""Albedo of the face whose shading is shown alone."""


class PhotoKeeper(Keeper):
    """As `Keeper`, for a `PhotoTraining`; its picture has one row a photo: the photo, the lit face over it, its albedo
    and its shading."""

    def __init__(self, photo_training, folder, saved, layout, state, monitor, loss, shown, test, poster):
        self.photo_training, self.batch = photo_training, shown[0]
        super().__init__(folder, saved, layout, state, monitor, loss, (self.batch["image"], None), test, poster)

    def draw(self) -> np.ndarray:
        picture = draw_faces(self.photo_training, self.batch)
        write_log(self.folder / "training.csv", self.state["rows"])
        draw_curves(self.folder / "training.png", self.state["rows"], self.loss)
        write_picture(self.folder / "samples.png", picture)
        return picture


def draw_faces(training, batch: dict[str, np.ndarray]) -> np.ndarray:
    """RGB uint8, four squares for each photo of a batch: photo, lit face over it, albedo, shading."""
    face = training.parts(batch["image"], training=False)
    surface = face["map"][:, ::STRIDE, ::STRIDE] * (training.size * TARGET_SCALE)
    lit, albedo = training.lit(surface, face[LIGHT]), face[ALBEDO][:, ::STRIDE, ::STRIDE]
    squares = [batch["image"]]
    for colours in (albedo * lit, albedo, GREY * lit):
        drawn, seen = (ops.convert_to_numpy(part) for part in training.draw(surface, colours))
        squares.append(drawn + batch["image"] * (1 - seen))
    rows = np.concatenate(np.concatenate(squares, axis=2), axis=0)
    return np.rint(np.clip(rows, 0, 1) * 255).astype(np.uint8)
