"""What each change of looks, and views rotated in depth, are worth: validation errors with and without.

A network learns the photos with no change of looks. Then it trains on for a while: as before (twice, by other seeds,
to show chance), with each change of the recipe `photos` alone, and with all. Each is then tried on the held-out photos
as they are, and with the change applied to all of them. Another network learns views for as many steps, rounded up to
whole epochs.

python -m benchmarks.looks --photos photos --views views --facemodel resource/face_model.hdf5 --outputdir looks
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.model_card import YAW_BINS
from prnet.commands.terminal import run_script
from prnet.configure.config import NO_AUGMENTATION, TARGET_SCALE, Augmentation, Run, Training
from prnet.configure.recipes import photos

LOOKS = ("gamma", "occlusion", "occluder", "shadow", "blur", "low_resolution", "noise", "jpeg")
"""The changes of looks, as `Augmentation` names them. Colour factors stay: they are part of the published recipe."""

DRAWS = 3
"""How often the held-out photos are drawn with a change."""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description="Measure what each change of looks, and rotated views, are worth.")
    parser.add_argument("--photos", required=True, help="folder with train.hdf5: photos with fits, data mode 5")
    parser.add_argument("--views", help="folder with train.hdf5: their views by make_profile_views.py")
    parser.add_argument("--facemodel", required=True, help="face model of the fits")
    parser.add_argument("--outputdir", required=True, help="folder for the runs; a stopped measurement resumes in it")
    parser.add_argument("--epochs", type=int, default=8, help="epochs before the changes; %(default)s")
    parser.add_argument("--further", type=int, default=2, help="epochs with a change; %(default)s")
    options = parser.parse_args(argv)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset

    model, folder = load_face_model(options.facemodel), Path(options.outputdir)
    with open_dataset(Path(options.photos) / "train.hdf5") as dataset:
        networks = train_with_each(dataset, model, folder, options.epochs, options.further)
        report_looks(networks, dataset, model)
        if options.views is None:
            return
        steps = options.epochs * (int(np.count_nonzero(~dataset.validation)) // photos().batch_size)
        with open_dataset(Path(options.views) / "train.hdf5") as views:
            learn(plain_training(options.epochs, steps), views, model, folder / "views")
            pair = {"photos": folder / "plain", "views": folder / "views"}
            report_views(pair, {"photos": dataset, "views": views}, model)


def plain_training(epochs: int, steps: int | None = None) -> Training:
    """The recipe `photos` without any change of looks, its learning rate halved four times on the way."""
    training = photos()
    without = {look: getattr(NO_AUGMENTATION, look) for look in LOOKS}
    return replace(
        training,
        epochs=epochs,
        steps=steps,
        drop_unit="epochs" if steps is None else "steps",
        drop_every=(epochs if steps is None else steps) / 5,
        drop_factor=0.5,
        augmentation=replace(training.augmentation, **without),
    )


def train_with_each(dataset, model, folder: Path, epochs: int, further: int) -> dict[str, Path]:
    """Folders of the runs: "none" and "none, again", each change of looks, "all"."""
    plain = plain_training(epochs)
    learn(plain, dataset, model, folder / "plain")
    full = photos().augmentation
    onward = replace(plain, epochs=further, learning_rate=plain.learning_rate / 4, drop_every=1.0)
    runs = {"none": onward, "none, again": replace(onward, seed=1)}
    runs |= {
        look: replace(onward, augmentation=replace(plain.augmentation, **{look: getattr(full, look)})) for look in LOOKS
    }
    runs["all"] = replace(onward, augmentation=full)
    folders = {name: folder / name.replace(", ", "_") for name in runs}
    for name, training in runs.items():
        learn(training, dataset, model, folders[name], folder / "plain" / "last.keras")
    return folders


def learn(training: Training, dataset, model, folder: Path, start_from: Path | None = None) -> None:
    from prnet.commands.terminal import log_on_terminal
    from prnet.model.training import train

    print(f"== {folder.name}", flush=True)
    with log_on_terminal():
        train(training, Run(), dataset, model, folder, start_from=start_from)


def report_looks(networks: dict[str, Path], dataset, model) -> None:
    """A row for each run: the error on the held-out photos as they are, and with the change, without and with it."""
    full = photos().augmentation
    conditions = {look: always(look, full) for look in LOOKS} | {"all": replace(full, **geometry(NO_AUGMENTATION))}
    without = {name: held_out_errors(networks["none"], dataset, model, look) for name, look in conditions.items()}
    clean = held_out_errors(networks["none"], dataset, model, NO_AUGMENTATION)
    print("\n| learned with | photos as they are | difference | photos so changed, without | with | difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, folder in networks.items():
        errors = held_out_errors(folder, dataset, model, NO_AUGMENTATION)
        cells = [f"{errors.mean():.2f}", difference(errors, clean)]
        if name in conditions:
            changed = held_out_errors(folder, dataset, model, conditions[name])
            cells += [f"{without[name].mean():.2f}", f"{changed.mean():.2f}", difference(changed, without[name])]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def report_views(networks: dict[str, Path], datasets: dict, model) -> None:
    """A row for each network and held-out set: the error by yaw."""
    print("\n| learned from | held out | " + " | ".join(f"yaw {low} to {high}" for low, high in YAW_BINS) + " | all |")
    print("| --- | --- |" + " ---: |" * (len(YAW_BINS) + 1))
    for source, folder in networks.items():
        for name, dataset in datasets.items():
            errors = held_out_errors(folder, dataset, model, NO_AUGMENTATION)[0]
            yaw = np.abs(dataset.yaw[dataset.validation])
            bins = [errors[(yaw >= low) & (yaw < high)] for low, high in YAW_BINS]
            cells = [f"{chosen.mean():.2f}" if len(chosen) else "" for chosen in (*bins, errors)]
            print(f"| {source} | {name} | {' | '.join(cells)} |", flush=True)


def always(look: str, full: Augmentation) -> Augmentation:
    """The reference crop with one change of looks, as strong as in training, in every sample."""
    value = getattr(full, look)
    changed: dict[str, Any] = {look: value if isinstance(value, tuple) else 1.0}
    return replace(NO_AUGMENTATION, **changed)


def geometry(augmentation: Augmentation) -> dict:
    """What moves pixels, and colour."""
    return {name: value for name, value in vars(augmentation).items() if name not in LOOKS}


def held_out_errors(folder: Path, dataset, model, augmentation: Augmentation) -> np.ndarray:
    """2D NME in per cent of the 68 landmarks against the fits: (draws, held-out samples); one draw of plain crops."""
    from prnet.evaluating.nme import nme, root_box_area
    from prnet.generating.sequence import FaceSequence
    from prnet.geometry.position_map import map_basis
    from prnet.geometry.uv_layout import sample_landmarks
    from prnet.model.networks import network_image_size, predict_maps
    from prnet.model.saved_network import load_network

    network, layout = load_network(folder / "last.keras")
    size = network_image_size(network)
    sequence = FaceSequence(
        dataset,
        np.flatnonzero(dataset.validation),
        basis=map_basis(model, size),
        image_size=size,
        batch_size=32,
        augmentation=augmentation,
    )
    draws = []
    for _ in range(1 if augmentation == NO_AUGMENTATION else DRAWS):
        errors = []
        for images, targets in map(sequence.__getitem__, range(len(sequence))):
            maps = predict_maps(network, images), np.asarray(targets) * (size * TARGET_SCALE)
            found, truth = (sample_landmarks(each, layout)[..., :2] for each in maps)
            errors.append(nme(found - truth, root_box_area(truth)))
        draws.append(np.concatenate(errors))
        sequence.on_epoch_end()
    return np.array(draws)


def difference(errors: np.ndarray, others: np.ndarray) -> str:
    """Mean difference of two networks on the same samples, with its standard error."""
    by_sample = (errors - others).mean(axis=0)
    return f"{by_sample.mean():+.2f} +- {by_sample.std() / np.sqrt(len(by_sample)):.2f}"


if __name__ == "__main__":
    run_script(main)
