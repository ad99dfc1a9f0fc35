"""What resize-convolutions are worth: `lprnet` with each decoder, for equal processor time.

python -m benchmarks.decoders --train train.hdf5 --facemodel face_model.hdf5 --start morphnet.keras --seconds 360

Both start from the encoder of `--start` and take turns of a few batches on one thread, so that what else the machine
does meets both alike; each batch is prepared within the time of the network that learns from it. The learning rate
falls along half a cosine over the time.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.surface import errors, filtered, held_out_maps, normal_angle, roughness
from prnet.commands.terminal import run_script
from prnet.configure.config import DECODERS, Run
from prnet.configure.recipes import photos

TURN = 8
"""Batches that one network learns from before the other does."""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure what the decoders of lprnet are worth.")
    parser.add_argument("--train", required=True, help="data set, data mode 5 (train.hdf5)")
    parser.add_argument("--facemodel", required=True, help="face model of its fits")
    parser.add_argument("--start", required=True, help="network of another kind whose encoder to begin with")
    parser.add_argument("--seconds", type=float, default=360, help="processor time for each; %(default)s")
    parser.add_argument("--outputdir", required=True, help="folder for the two networks")
    options = parser.parse_args(argv)

    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset
    from prnet.generating.sequence import FaceSequence
    from prnet.geometry.position_map import layout_of_model, map_basis
    from prnet.model.compilation import compiled_network
    from prnet.model.devices import data_parallel
    from prnet.model.saved_network import save_network
    from prnet.model.transfer import begin_with, open_start
    from prnet.reconstructing.reconstructor import FaceReconstructor

    face_model = load_face_model(options.facemodel)
    layout, training = layout_of_model(face_model), photos()
    with open_dataset(options.train) as dataset, data_parallel(Run()) as scope:
        sequence = FaceSequence(
            dataset,
            np.flatnonzero(~dataset.validation),
            basis=map_basis(face_model, training.image_size),
            image_size=training.image_size,
            batch_size=training.batch_size,
            augmentation=training.augmentation,
            shuffle=True,
        )
        models, spent, seen = {}, dict.fromkeys(DECODERS, 0.0), dict.fromkeys(DECODERS, 0)
        for decoder in DECODERS:
            chosen = replace(training, decoder=decoder)
            model = models[decoder] = compiled_network(chosen, Run(jit="off"), layout, None, 1, scope)
            begin_with(model.network, open_start(options.start), layout)
            model.optimizer = keras.optimizers.Adam(training.learning_rate)
            model.train_on_batch(*sequence[0])  # traces the step
        while min(spent.values()) < options.seconds:
            decoder = min(spent, key=lambda name: spent[name])
            model, begun = models[decoder], time.process_time()
            share = min(spent[decoder] / options.seconds, 1)
            model.optimizer.learning_rate = training.learning_rate * (0.01 + 0.99 * (1 + np.cos(np.pi * share)) / 2)
            for number in range(seen[decoder], seen[decoder] + TURN):
                sequence.epoch, batch = divmod(number, len(sequence))
                values = model.train_on_batch(*sequence[batch])
            seen[decoder] += TURN
            spent[decoder] += time.process_time() - begun
            if seen[decoder] % (8 * TURN) == 0:
                print(f"{decoder}: {spent[decoder]:.0f} s, {seen[decoder]} batches, loss {values[0]:.4f}", flush=True)
    print("| decoder | images | NME [%] | roughness [%] | normals [degrees] | roughness, filtered |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for decoder, model in models.items():
        path = Path(options.outputdir, f"{decoder}.keras")
        save_network(model.network, layout, path)
        reconstructor = FaceReconstructor(path, "none", surface_filter=False)
        grid, maps = reconstructor.grid, held_out_maps(reconstructor, options.train, options.facemodel)
        rows = [
            (
                errors(found, true, grid)[0],
                roughness(found, grid, found),
                normal_angle(found, true, grid),
                roughness(filtered(found, grid, 1.0), grid, found),
            )
            for found, true in zip(*maps, strict=True)
        ]
        nme, rough, normals, smooth = np.mean(rows, axis=0)
        images = seen[decoder] * training.batch_size
        print(f"| {decoder} | {images:,} | {nme:.2f} | {rough:.3f} | {normals:.1f} | {smooth:.3f} |", flush=True)


if __name__ == "__main__":
    run_script(main)
