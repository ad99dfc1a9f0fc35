"""SADRNet's two decoders against `morphnet` and `lprnet`: fresh weights, the same photos, equal processor time.

SADRNet (Ruan et al., TIP 2021, arXiv 2106.03021) predicts the posed face P and, from the same features, the offset of
the face without pose from the mean face. The final face is the second, moved onto P by the similarity that fits the 68
landmarks best, each weighted by whether its texel faces the camera and by the attention where it lies: a map of the
visible face, learned from the encoder's features, which are multiplied by its exponential. Here with the encoder of the
light networks, and upsampling as in `morphnet` to the side of the crop.

OPENBLAS_NUM_THREADS=1 python -m benchmarks.sadrnet --dataset train.hdf5 --facemodel face_model.hdf5 --outputdir runs
"""

import argparse
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from benchmarks import equal_time, held_out
from prnet.commands.terminal import run_script
from prnet.configure.config import TARGET_SCALE, Run, Training
from prnet.configure.recipes import morphnet
from prnet.geometry.uv_layout import UVLayout, face_mask, landmark_stencil, landmark_texels, resample_map
from prnet.model.blocks import ENCODER, STEM_CHANNELS, normalise, separable_block
from prnet.model.losses import FaceLoss, map_loss
from prnet.model.metrics import landmarks_of_maps
from prnet.model.surface import map_normals, visible_texels

ATTENTION_AFTER, ATTENTION_CHANNELS = 5, 128
"""Blocks of the encoder before the attention, whose side is an eighth of the crop's; channels of its four blocks."""

SHARED, OWN = (256, 128), 64
"""Channels of the two separable blocks after each doubling in what both decoders share, and after the third doubling in
each decoder's own part, whose map, half the crop's side wide, is doubled once more: blocks at the full side would take
half of the time."""

OFFSET_WEIGHT, ATTENTION_WEIGHT, EDGES, NORMALS = 0.5, 0.05, 1.0, 0.1
"""Weights of SADRNet's losses beside that of P, 1."""

BEHIND = 0.1
"""Weight in the alignment of a landmark whose texel faces away."""


def build_sadrnet(size: int, mean_face: np.ndarray, layout: UVLayout) -> tuple[keras.Model, keras.Model]:
    """From crops to maps in target units, and to P, the face without pose and the attention. mean_face : (S, S, 3)."""
    images = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(STEM_CHANNELS, 3, 2, padding="same", use_bias=False, name="stem_conv")(images)
    x = normalise(x, "stem")
    for number, (channels, stride) in enumerate(ENCODER):
        if number == ATTENTION_AFTER:
            attention = _attention(x)
            x = ops.multiply(x, ops.exp(attention))
        x = separable_block(x, channels, stride, f"encoder{number}")
    for number, channels in enumerate(SHARED):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        for part in "ab":
            x = separable_block(x, channels, 1, f"shared{number}{part}")
    posed, face = (ops.add(_decoder(x, name), mean_face[None]) for name in ("posed", "offset"))
    final = align(face, posed, landmark_weights(posed, attention, layout), landmark_stencil(layout, size))
    return keras.Model(images, final, name="sadrnet"), keras.Model(images, (posed, face, attention))


def _attention(x):
    for number in range(4):
        x = separable_block(x, ATTENTION_CHANNELS, 1, f"attention{number}")
    return layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="attention")(x)


def _decoder(x, name: str):
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    for part in "ab":
        x = separable_block(x, OWN, 1, f"{name}_{part}")
    small = keras.initializers.RandomNormal(stddev=1e-3, seed=0)
    x = layers.Conv2D(3, 3, padding="same", kernel_initializer=small, name=f"{name}_out")(x)
    return layers.UpSampling2D(2, interpolation="bilinear")(x)


def landmark_weights(posed, attention, layout: UVLayout):
    """(B, 68): 1 where the texel of P faces the camera, else `BEHIND`, times the attention where P puts it."""
    size, cells = posed.shape[1], attention.shape[1]
    column, row = landmark_texels(layout, size).T
    at = row * size + column
    facing = ops.take(ops.reshape(map_normals(posed)[..., 2], (-1, size * size)), at, axis=1)
    place = ops.take(ops.reshape(posed, (-1, size * size, 3)), at, axis=1)[..., :2]
    x, y = ops.split(_cells(place, cells), 2, axis=-1)
    seen = ops.take_along_axis(ops.reshape(attention, (-1, cells * cells)), (y * cells + x)[..., 0], axis=1)
    return ops.where(facing > 0, 1.0, BEHIND) * seen


def _cells(place, cells: int):
    """The cell of the attention, column and row, in which a point in target units lies."""
    return ops.clip(ops.cast(ops.floor(place * (TARGET_SCALE * cells)), "int32"), 0, cells - 1)


def align(maps, towards, weights, stencil):
    """Maps (B, S, S, 3) moved by the similarity that takes their 68 landmarks nearest to those of other maps.

    weights : (B, 68). The rotation by singular values of the weighted covariance, the scale by mean distances from the
    centroid.
    """
    weights = (weights / ops.sum(weights, axis=1, keepdims=True))[..., None]
    points = [landmarks_of_maps(each, *stencil) for each in (maps, towards)]
    centres = [ops.sum(weights * each, axis=1, keepdims=True) for each in points]
    source, target = (each - centre for each, centre in zip(points, centres, strict=True))
    scale = ops.sum(weights * ops.norm(target, axis=-1, keepdims=True), axis=1, keepdims=True) / ops.sum(
        weights * ops.norm(source, axis=-1, keepdims=True), axis=1, keepdims=True
    )
    left, _, right = ops.svd(ops.matmul(ops.transpose(weights * source, (0, 2, 1)), target))
    sign = ops.sign(ops.det(ops.matmul(left, right)))
    signs = ops.stack([ops.ones_like(sign), ops.ones_like(sign), sign], axis=-1)
    rotation = ops.matmul(left * signs[:, None], right)
    flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2], 3))
    return ops.reshape(ops.matmul(flat - centres[0], rotation) * scale + centres[1], (-1, *maps.shape[1:]))


class DualTraining(keras.Model):
    """The parts of a SADRNet under training. The target of the face without pose is the true map, aligned with the mean
    face; that of the attention the cells of the crop in which the true map is seen (synthetic occluders are not cut
    out)."""

    def __init__(self, parts: keras.Model, mean_face: np.ndarray, layout: UVLayout, training: Training):
        super().__init__(name="training")
        self.parts, self.mean_face = parts, mean_face[None]
        size = training.image_size
        self.stencil, self.mask = landmark_stencil(layout, size), face_mask(layout, size)
        loss, terms = map_loss(training.loss, layout, size), training.terms
        self.posed_loss = FaceLoss(loss, terms, layout, size)
        weighted = replace(terms, edges=EDGES / OFFSET_WEIGHT, normals=NORMALS / OFFSET_WEIGHT)
        self.face_loss = FaceLoss(loss, weighted, layout, size)

    def call(self, images, training=None):
        return self.parts(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        posed, face, attention = y_pred
        mean_face = ops.broadcast_to(self.mean_face, ops.shape(y))
        upright = align(y, mean_face, ops.ones_like(y[:, :68, 0, 0]), self.stencil)
        return (
            ops.mean(self.posed_loss.call(y, posed))
            + OFFSET_WEIGHT * ops.mean(self.face_loss.call(upright, face))
            + ATTENTION_WEIGHT * ops.mean(ops.binary_crossentropy(self.seen_cells(y, attention.shape[1]), attention))
        )

    def seen_cells(self, maps, cells: int):
        """(B, cells, cells, 1): 1 where a visible texel of the face lies."""
        size = maps.shape[1]
        seen = visible_texels(maps * (size * TARGET_SCALE), self.mask, size) * self.mask
        x, y = (ops.squeeze(axis, -1) for axis in ops.split(_cells(maps[..., :2], cells), 2, axis=-1))
        batch = ops.shape(maps)[0]
        cell = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1)) * (cells * cells) + y * cells + x
        found = ops.segment_max(ops.reshape(seen, (-1,)), ops.reshape(cell, (-1,)), num_segments=batch * cells * cells)
        return ops.reshape(ops.maximum(found, 0.0), (-1, cells, cells, 1))


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="SADRNet's decoders against others in equal processor time.")
    parser.add_argument("--dataset", required=True, help="train.hdf5: photos with fits, data mode 5")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    parser.add_argument("--outputdir", type=Path, required=True, help="folder for the table and the networks")
    parser.add_argument("--minutes", type=float, default=15.0, help="processor time of each; %(default)s")
    parser.add_argument("--networks", nargs="+", default=["morphnet", "sadrnet", "lprnet"], help="which; all three")
    options = parser.parse_args(argv)
    equal_time.one_thread()

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import layout_of_model, map_basis

    training = morphnet()
    training = replace(training, terms=replace(training.terms, scores=0.0))
    model = load_face_model(options.facemodel)
    options.outputdir.mkdir(parents=True, exist_ok=True)
    basis, layout = map_basis(model, training.image_size), layout_of_model(model)
    rows = {}
    with open_dataset(options.dataset) as dataset:
        images, truth, yaw = held_out.held_out(dataset, basis)
        for name in options.networks:
            print(f"== {name}", flush=True)
            network, trained = networks(name, training, model, dataset, basis, layout)
            trained.compile(optimizer=keras.optimizers.Adam(clipnorm=training.clip_norm), loss=trained.loss)
            batches = equal_time.training_batches(dataset, model, basis, training)
            seen, seconds = equal_time.learn(trained, batches, 60 * options.minutes, training.learning_rate)
            network.save(options.outputdir / f"{name}.keras")
            count = sum(int(np.prod(weights.shape)) for weights in network.trainable_weights)
            rows[name] = [
                f"{count / 1e6:.2f}",
                f"{seen:,}",
                f"{seen / seconds:.0f}",
                *held_out.measures(held_out.predicted(network, images), truth, yaw, layout),
            ]
            if name == "sadrnet":
                posed = keras.Model(network.input, trained.parts.output[0])
                maps = held_out.predicted(posed, images)
                rows["its P alone"] = ["", "", "", *held_out.measures(maps, truth, yaw, layout)]
            heads = ("parameters [million]", "images seen", "images per processor second", *held_out.COLUMNS)
            held_out.report(options.outputdir, rows, heads)


def networks(name: str, training: Training, model, dataset, basis, layout) -> tuple[keras.Model, keras.Model]:
    """The network that predicts maps and the compiled or bare model that trains it, with fresh weights."""
    from prnet.model.compilation import compiled_network
    from prnet.model.face_space import face_space

    keras.utils.set_random_seed(training.seed)
    fits = np.asarray(dataset.coefficients)[~dataset.validation]
    space = face_space(model, basis, layout, fits, training.identities)
    if name != "sadrnet":
        from contextlib import nullcontext

        chosen = replace(training, network=name)
        trained = compiled_network(chosen, Run(), layout, space if name == "morphnet" else None, 1, nullcontext)
        return trained.network, trained
    size = training.image_size
    mean_face = resample_map(space.canonical_map, size) / np.float32(space.canonical_map.shape[0] * TARGET_SCALE)
    network, parts = build_sadrnet(size, mean_face, layout)
    return network, DualTraining(parts, mean_face, layout, training)


if __name__ == "__main__":
    run_script(main)
