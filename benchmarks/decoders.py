"""What resize-convolutions are worth: `lprnet` with each decoder, for equal processor time.

python -m benchmarks.decoders --dataset train.hdf5 --facemodel face_model.hdf5 --start morphnet.keras --outputdir out
"""

import argparse
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from benchmarks import equal_time, held_out
from benchmarks.surface import smoothed
from prnet.commands.terminal import run_script
from prnet.configure.config import DECODERS, Run
from prnet.configure.recipes import photos


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure what the decoders of lprnet are worth.")
    parser.add_argument("--dataset", required=True, help="train.hdf5: photos with fits, data mode 5")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    parser.add_argument("--start", required=True, help="network of another kind whose encoder to begin with")
    parser.add_argument("--outputdir", type=Path, required=True, help="folder for the table and the networks")
    parser.add_argument("--minutes", type=float, default=6.0, help="processor time of each; %(default)s")
    options = parser.parse_args(argv)
    equal_time.one_thread()

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import layout_of_model, map_basis
    from prnet.geometry.uv_layout import face_mask
    from prnet.model.compilation import compiled_network
    from prnet.model.saved_network import save_network
    from prnet.model.transfer import begin_with, open_start

    model, training, rows = load_face_model(options.facemodel), photos(), {}
    basis, layout = map_basis(model, training.image_size), layout_of_model(model)
    mask, start = face_mask(layout, training.image_size), open_start(options.start)
    options.outputdir.mkdir(parents=True, exist_ok=True)
    with open_dataset(options.dataset) as dataset:
        images, truth, yaw = held_out.held_out(dataset, basis)
        for decoder in DECODERS:
            print(f"== {decoder}", flush=True)
            keras.utils.set_random_seed(training.seed)
            trained = compiled_network(replace(training, decoder=decoder), Run(), layout, None, 1, nullcontext)
            begin_with(trained.network, start, layout)
            trained.compile(optimizer=keras.optimizers.Adam(), loss=trained.loss)
            batches = equal_time.training_batches(dataset, model, basis, training)
            seen, _ = equal_time.learn(trained, batches, 60 * options.minutes, training.learning_rate)
            save_network(trained.network, layout, options.outputdir / f"{decoder}.keras")
            maps = held_out.predicted(trained.network, images)
            for name, shown in ((decoder, maps), (f"{decoder}, filtered", smoothed(maps, mask, 1.0))):
                rows[name] = [f"{seen:,}", *held_out.measures(np.asarray(shown), truth, yaw, layout)]
            held_out.report(options.outputdir, rows, ("images seen", *held_out.COLUMNS))


if __name__ == "__main__":
    run_script(main)
