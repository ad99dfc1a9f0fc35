"""What views with the expressions of other photos are worth: trainings of equal processor time with and without.

Both begin with the shipped weights and draw rare expressions more often, as their recipe does.

python make_profile_views.py --zip-dir frontal --output-dir views --views 1 --expressions 1
OPENBLAS_NUM_THREADS=1 python -m benchmarks.expressions --photos photos/train.hdf5 --withviews both/train.hdf5 \\
    --facemodel face_model.hdf5 --outputdir runs
"""

import argparse
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks import equal_time, held_out
from prnet.commands.terminal import run_script
from prnet.configure.config import SCORE_NAMES, Run
from prnet.configure.recipes import morphnet
from prnet.reconstructing.settings import MODEL_PATH


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="What views with expressions are worth, in equal processor time.")
    parser.add_argument("--photos", required=True, help="train.hdf5 of photos, whose held-out people are measured")
    parser.add_argument("--withviews", help="train.hdf5 of the same photos and of views of those to learn from")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    parser.add_argument("--outputdir", type=Path, required=True, help="folder for the table and the networks")
    parser.add_argument("--model", default=MODEL_PATH, help="the morphnet to begin with; %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time of each; %(default)s")
    parser.add_argument("--rate", type=float, default=3e-4, help="greatest learning rate; %(default)s")
    options = parser.parse_args(argv)
    equal_time.one_thread()

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import layout_of_model, map_basis
    from prnet.model.compilation import compiled_network
    from prnet.model.face_space import face_space
    from prnet.model.saved_network import load_network, save_network

    options.outputdir.mkdir(parents=True, exist_ok=True)
    training, model = morphnet(), load_face_model(options.facemodel)
    basis, layout = map_basis(model, training.image_size), layout_of_model(model)
    begun, begun_layout = load_network(options.model)
    heads = ("images seen", *held_out.COLUMNS)
    with open_dataset(options.photos) as photos:
        images, truth, yaw = held_out.held_out(photos, basis)
        rows = {"as it ships": ["", *held_out.measures(held_out.predicted(begun, images), truth, yaw, layout)]}
        fits = np.asarray(photos.coefficients)[~photos.validation]
        space = replace(face_space(model, basis, layout, fits, training.identities), scores=SCORE_NAMES)
        for name, path in (("photos", options.photos), ("photos and views", options.withviews)):
            if path is None:
                continue
            print(f"== {name}", flush=True)
            with open_dataset(path) as dataset:
                trained = compiled_network(training, Run(), layout, space, 1, nullcontext)
                trained.network.set_weights(begun.get_weights())  # its decoder's constants too
                trained.compile(optimizer=keras.optimizers.Adam(clipnorm=training.clip_norm), loss=trained.loss)
                batches = equal_time.training_batches(dataset, model, basis, training)
                seen, _ = equal_time.learn(trained, batches, 60 * options.minutes, options.rate)
            save_network(trained.network, begun_layout, options.outputdir / f"{name.replace(' ', '_')}.keras")
            predicted = held_out.predicted(trained.network, images)
            rows[name] = [f"{seen:,}", *held_out.measures(predicted, truth, yaw, layout)]
            held_out.report(options.outputdir, rows, heads)


if __name__ == "__main__":
    run_script(main)
