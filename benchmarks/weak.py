"""What each loss of learning from photos alone is worth: `photonet` with more and more of them, for equal processor
time, on held-out people of whom shape and albedo are known.

python -m benchmarks.weak --dataset train.hdf5 --test val.hdf5 --facemodel textured.hdf5 --start morphnet.keras \
    --outputdir out --minutes 30

The data sets are of `make_sample_data.py --light harmonic --truth`, built with --skin, or of real photos; then there is
no --test, and the networks that are saved are what `evaluate_model.py` takes.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks import equal_time, held_out
from prnet.commands.terminal import run_script
from prnet.configure.config import PhotoTerms, Run
from prnet.configure.recipes import weak

SILENT = PhotoTerms(photometric=0.0, perceptual=0.0, reflectance=0.0, light=0.0)
LOSSES = {
    "landmarks": SILENT,
    "photometric": PhotoTerms(perceptual=0.0),
    "published": PhotoTerms(perceptual=0.0, outliers="kept"),
    "pixels": PhotoTerms(perceptual=0.0, rendering="pixels"),
    "perceptual": PhotoTerms(),
}
"""What is learned from: landmarks and the prior of the coefficients alone; and with photometric error, reflectance and
light, as they are, with outliers kept, and with the face drawn; and the perceptual term too."""

COLUMNS = ("images seen", "68 landmarks, 2D", "dense 3D", "depth", "place", "shape", "albedo")


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure what each loss of learning from photos alone is worth.")
    parser.add_argument("--dataset", required=True, help="train.hdf5: photos with landmarks")
    parser.add_argument("--test", help="val.hdf5 of the held-out people, with fits")
    parser.add_argument("--truth", help="archive that their albedo is in; by default it is not measured")
    parser.add_argument("--facemodel", required=True, help="face model with a texture basis")
    parser.add_argument("--start", required=True, help="network whose encoder to begin with")
    parser.add_argument("--recognition", help="network of the perceptual term")
    parser.add_argument("--outputdir", type=Path, required=True, help="folder for the table and the networks")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=["landmarks", "photometric"])
    parser.add_argument("--minutes", type=float, default=30.0, help="processor time of each; %(default)s")
    options = parser.parse_args(argv)
    equal_time.one_thread()

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import layout_of_model, map_basis, texel_mixture
    from prnet.model.saved_network import save_network

    model, rows = load_face_model(options.facemodel), {}
    layout, basis = layout_of_model(model), map_basis(model, weak().image_size)
    options.outputdir.mkdir(parents=True, exist_ok=True)
    for name in options.losses:
        print(f"== {name}", flush=True)
        terms = replace(LOSSES[name], recognition=options.recognition if LOSSES[name].perceptual else None)
        with open_dataset(options.dataset) as dataset:
            trained = compiled(model, basis, layout, terms, options.start)
            batches = photo_batches(dataset, model, trained)
            seen, _ = equal_time.learn(trained, batches, 60 * options.minutes, weak().learning_rate)
        save_network(trained.network, layout, options.outputdir / f"{name}.keras")
        rows[name] = [f"{seen:,}"]
        if options.test:
            with open_dataset(options.test) as test:
                mixture = texel_mixture(model, basis.size) if options.truth else None
                albedo = None if mixture is None else true_albedo(options.truth, test.names, mixture)
                images, truth, _ = held_out.held_out(test, basis, np.arange(len(test)))
            rows[name] += measures(trained, images, truth, albedo, layout)
        held_out.report(options.outputdir, rows, COLUMNS[: len(rows[name])])


def compiled(model, basis, layout, terms: PhotoTerms, start: str):
    """A `photonet` that trains on such losses, its encoder that of `start`."""
    from prnet.model.appearance import albedo_space, prior_face_space
    from prnet.model.networks import build_network
    from prnet.model.photo_training import compiled_photo_network, load_recognition
    from prnet.model.transfer import begin_with, open_start

    training = replace(weak(), photo=terms)
    keras.utils.set_random_seed(training.seed)
    space = prior_face_space(model, basis, layout)
    network = build_network(
        training.network, training.image_size, space=space, albedos=albedo_space(model, space), camera=terms.camera
    )
    recognition = load_recognition(terms.recognition) if terms.recognition else None
    trained = compiled_photo_network(training, Run(), layout, network, 1, recognition)
    begin_with(network, open_start(start), layout)
    trained.compile(optimizer=keras.optimizers.Adam(clipnorm=training.clip_norm))
    return trained


def photo_batches(dataset, model, trained) -> Iterator[tuple]:
    """Augmented batches of the training samples, without end."""
    from prnet.model.photo_feeds import open_photo_feeds

    side = None if trained.recognition is None else trained.recognition.input_shape[1]
    return equal_time.endless(open_photo_feeds(weak(), Run(), dataset, model, None, side).training)


def true_albedo(archive: str, names, mixture) -> np.ndarray:
    """Albedo on the texels (N, S * S, 3), 0 to 1, that `make_sample_data.py --truth` wrote of samples."""
    from scipy.io import loadmat

    with zipfile.ZipFile(archive) as files:
        stored = [
            loadmat(io.BytesIO(files.read(f"AFLW2000/truth/{Path(name).stem}_truth.mat")))["albedo"] for name in names
        ]
    return np.stack([mixture @ (albedo.astype(np.float64) / 255) for albedo in stored])


def measures(trained, images, truth, albedo, layout) -> list[str]:
    """The cells of `COLUMNS` but the first: means, in per cent of the root of the true landmarks' box, of the distance
    of landmarks in 2D; of texels in 3D, in z and in 2D, the mean z aligned; in 3D after a similarity; and the
    difference of albedo in per cent of the range of colours, each colour's mean aligned, as exposure is in light too.

    images : (N, S, S, 3). truth : maps (N, S, S, 3), pixels of the crop. albedo : (N, S * S, 3).
    """
    from prnet.evaluating.nme import root_box_area
    from prnet.geometry.alignment import align
    from prnet.geometry.transforms import apply_transform
    from prnet.geometry.uv_layout import face_mask, sample_landmarks
    from prnet.model.photonet import ALBEDO

    mask = face_mask(layout, truth.shape[1])
    maps = held_out.predicted(trained.network, images)
    points, true_points = sample_landmarks(maps, layout), sample_landmarks(truth, layout)
    size = root_box_area(true_points)
    found, expected = maps[:, mask].astype(np.float64), truth[:, mask].astype(np.float64)
    aligned = [apply_transform(align(*pair), pair[0]) for pair in zip(found, expected, strict=True)]
    apart = found - expected
    apart[..., 2] -= apart[..., 2].mean(axis=1, keepdims=True)
    distances = {
        "landmarks": np.linalg.norm((points - true_points)[..., :2], axis=-1),
        "dense": np.linalg.norm(apart, axis=-1),
        "depth": np.abs(apart[..., 2]),
        "place": np.linalg.norm(apart[..., :2], axis=-1),
        "shape": np.linalg.norm(np.stack(aligned) - expected, axis=-1),
    }
    cells = [f"{100 * np.mean(each.mean(axis=1) / size):.2f}" for each in distances.values()]
    if albedo is None:
        return cells
    seen = [trained.parts(images[at : at + 50], training=False)[ALBEDO] for at in range(0, len(images), 50)]
    colours = np.concatenate([keras.ops.convert_to_numpy(part)[:, mask] for part in seen])
    true_colours = albedo[:, mask.ravel()]
    colours = colours * (true_colours.mean(axis=1, keepdims=True) / colours.mean(axis=1, keepdims=True))
    return [*cells, f"{100 * np.abs(colours - true_colours).mean():.2f}"]


if __name__ == "__main__":
    run_script(main)
