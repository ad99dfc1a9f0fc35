"""A photo network under training: its face is lit, compared with the photo, and every loss counted."""

from typing import Any

import keras
import numpy as np
from keras import ops

from prnet.common.errors import UserError
from prnet.configure.config import FACE_WEIGHT, TARGET_SCALE, PhotoTerms, Run, Training
from prnet.geometry.uv_layout import UVLayout, face_mask, grid_triangles, landmark_stencil, region_weights
from prnet.model.compilation import optimizer
from prnet.model.devices import uses_xla
from prnet.model.light import shading
from prnet.model.metrics import landmarks_of_maps, normalised_error
from prnet.model.morphnet import COEFFICIENTS
from prnet.model.photo_losses import (
    coefficient_prior,
    coloured_light,
    perceptual_error,
    photometric_error,
    reflectance_variance,
    squared_landmark_error,
)
from prnet.model.photonet import ALBEDO, ALBEDO_COEFFICIENTS, LIGHT
from prnet.model.rendering import draw_mesh, sample_image, seen_triangles
from prnet.model.surface import map_normals, pixel_areas, visible_texels

STRIDE = 2
"""The face is lit and compared at every second texel of each axis: about as far apart as the crop's pixels."""

LOSSES = ("photometric", "landmarks", "perceptual", "coefficients", "reflectance", "light")
"""What the call returns of each image, before weights, beside `nme`."""


class PhotoTraining(keras.Model):
    """A photo network under training. It takes batches of `prnet.generating.photo_batches` and returns, for each
    image, the value of every loss that has a weight, and the NME of its landmarks."""

    def __init__(
        self, network: keras.Model, layout: UVLayout, terms: PhotoTerms, recognition: keras.Model | None = None
    ):
        super().__init__(name="photo_training")
        self.network, self.terms = network, terms
        self.recognition: Any = recognition
        if recognition is not None:
            recognition.trainable = False
        size = network.input_shape[1]
        outputs = {name: network.get_layer(name).output for name in (COEFFICIENTS, ALBEDO_COEFFICIENTS, ALBEDO, LIGHT)}
        self.parts = keras.Model(network.input, {"map": network.output, **outputs})
        self.size, self.face = size, face_mask(layout, size)[::STRIDE, ::STRIDE]
        self.texels = np.flatnonzero(self.face)
        self.triangles = grid_triangles(self.face)
        self.stencil = landmark_stencil(layout, size)
        self.skin_texels = (region_weights(layout, size) == FACE_WEIGHT)[::STRIDE, ::STRIDE].astype(np.float32)
        self.identity_count = network.parameter_names.identity_count
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("nme", *self.active)}

    @property
    def active(self) -> tuple[str, ...]:
        """Losses that count."""
        usable = (name for name in LOSSES if name != "perceptual" or self.recognition is not None)
        return tuple(name for name in usable if getattr(self.terms, name))

    def call(self, batch, training=None):
        face = self.parts(batch["image"], training=training)
        maps = face["map"] * (self.size * TARGET_SCALE)
        landmarks = landmarks_of_maps(maps, *self.stencil)[..., :2] / self.size
        surface, albedo = maps[:, ::STRIDE, ::STRIDE], face[ALBEDO][:, ::STRIDE, ::STRIDE]
        colours = albedo * self.lit(surface, face[LIGHT])
        split = self.identity_count
        values = {
            "landmarks": squared_landmark_error(batch["landmarks"], landmarks),
            "coefficients": coefficient_prior(
                face[COEFFICIENTS][:, :split], face[COEFFICIENTS][:, split:], face[ALBEDO_COEFFICIENTS]
            ),
            "reflectance": reflectance_variance(albedo, self.skin_texels),
            "light": coloured_light(face[LIGHT]),
            "nme": normalised_error(batch["landmarks"], landmarks),
        }
        drawn = self.draw(surface, colours) if self._needs_drawing else None
        if "photometric" in self.active:
            compare = self._at_pixels if self.terms.rendering == "pixels" else self._at_texels
            values["photometric"] = compare(batch, surface, colours, drawn)
        if "perceptual" in self.active:
            values["perceptual"] = self._perceptual(batch, drawn)
        return {name: values[name] for name in (*self.active, "nme")}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return sum(getattr(self.terms, name) * ops.mean(y_pred[name]) for name in self.active)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        for name, tracker in self.trackers.items():
            tracker.update_state(y_pred[name])
        return self.get_metrics_result()

    @property
    def _needs_drawing(self) -> bool:
        return "perceptual" in self.active or ("photometric" in self.active and self.terms.rendering == "pixels")

    def lit(self, surface, light):
        """What each texel of a surface (B, s, s, 3) sends back of its albedo, (B, s, s, 3)."""
        flat = shading(ops.reshape(map_normals(surface), (-1, self.face.size, 3)), light)
        return ops.reshape(flat, (-1, *self.face.shape, 3))

    def draw(self, surface, colours):
        """The lit face in the crop's pixels (B, S, S, 3), and where it is seen (B, S, S, 1). surface, colours :
        (B, s, s, 3)."""
        vertices, colours = (
            ops.take(ops.reshape(values, (-1, self.face.size, 3)), self.texels, axis=1) for values in (surface, colours)
        )
        seen = seen_triangles(vertices, self.triangles, self.size, self.size)
        return draw_mesh(vertices, colours, self.triangles, seen), ops.cast(seen >= 0, "float32")[..., None]

    def _at_pixels(self, batch, surface, colours, drawn):
        picture, seen = drawn
        return photometric_error(batch["image"], picture, (seen * batch["skin"])[..., 0], self.terms.outliers)

    def _at_texels(self, batch, surface, colours, drawn):
        places = ops.reshape(surface[..., :2], (-1, self.face.size, 2))
        photo = ops.reshape(sample_image(batch["image"], places), (-1, *self.face.shape, 3))
        skin = ops.reshape(sample_image(batch["skin"], ops.stop_gradient(places)), (-1, *self.face.shape))
        seen = visible_texels(surface, self.face, self.size) * pixel_areas(surface) * self.face
        weights = seen * skin * _inside(surface[..., :2], self.size)
        return photometric_error(photo, colours, weights, self.terms.outliers)

    def _perceptual(self, batch, drawn):
        """Between the photo and the same photo with the lit face drawn over it, both in the aligned crop."""
        picture, seen = drawn
        photo = batch["image"]
        faces = [self._aligned(image, batch["aligned"]) for image in (photo, picture + photo * (1 - seen))]
        seen_features, drawn_features = (self.recognition(face, training=False) for face in faces)
        return perceptual_error(ops.stop_gradient(seen_features), drawn_features)

    def _aligned(self, images, transforms):
        side = self.recognition.input_shape[1]
        grid = np.stack([*np.meshgrid(np.arange(side), np.arange(side)), np.ones((side, side))], axis=-1)
        points = ops.matmul(grid.reshape(-1, 3).astype(np.float32)[None], ops.transpose(transforms, (0, 2, 1)))
        return ops.reshape(sample_image(images, points), (-1, side, side, 3))


def _inside(places, size: int):
    """1 where a place lies on the crop."""
    low = ops.min(ops.minimum(places, size - 1.0 - places), axis=-1)
    return ops.cast(low >= 0, "float32")


def compiled_photo_network(
    training: Training, run: Run, layout: UVLayout, network: keras.Model, steps_per_epoch: int, recognition
) -> PhotoTraining:
    """A photo network that trains, with its optimizer and losses."""
    model = PhotoTraining(network, layout, training.photo, recognition)
    model.compile(
        optimizer=optimizer(training, steps_per_epoch),
        jit_compile=uses_xla(run.jit),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def load_recognition(path) -> keras.Model:
    """A network from aligned crops (B, side, side, 3), RGB in 0 to 1, to vectors (B, D). Raises UserError."""
    try:
        network = keras.saving.load_model(path, compile=False)
        taken, given = network.input_shape, network.output_shape
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: no recognition network that Keras opens: {reason}") from None
    if len(taken) != 4 or not taken[1] or taken[1] != taken[2] or taken[3] != 3 or len(given) != 2:
        raise UserError(f"{path}: maps {taken} to {given}, not a square crop to a vector")
    return network
