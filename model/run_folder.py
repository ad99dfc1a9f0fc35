"""The folder of a run: its configuration beside its results, and the refusal to mix it with another run's."""

import dataclasses
import json
import logging
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from prnet.common.errors import UserError
from prnet.common.files import atomic_write, remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.configure.config import Run, Training
from prnet.generating.dataset import Dataset
from prnet.geometry.face_model import FaceModel

logger = logging.getLogger(__name__)

CONFIG, CHECKPOINT, EVENTS = "config.json", "checkpoint.npz", "tensorboard"
FILES = (CHECKPOINT, CONFIG, "best.keras", "last.keras", "training.csv", "training.png", "samples.png")


def run_record(training: Training, run: Run, dataset: Dataset, face_model: FaceModel, start_from, start_epoch) -> dict:
    """The whole configuration of a run, as it is written beside its results."""
    settings = dataclasses.asdict(training)
    augmentation = settings.pop("augmentation")
    return {
        "training": settings,
        "augmentation": augmentation,
        "data": {
            "path": str(dataset.path),
            "identity": dataset.identity,
            "face model": face_model.identity,
            "start from": None if start_from is None else str(start_from),
            "start epoch": start_epoch,
        },
        "run": dataclasses.asdict(run),
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
    }


@contextmanager
def claimed_folder(folder: Path, record: dict, overwrite: bool) -> Iterator[bool]:
    """Within it, nobody else trains in the folder, and the log has the record. Yields whether a run is resumed."""
    refusal = f"{folder}: another run trains in it; wait until it has ended, or choose another `output_folder`"
    with exclusive_lock(folder / ".training.lock", refusal) as alone:
        if alone:
            remove_left_behind(*(folder / name for name in FILES))
        resuming = _claim(folder, record, overwrite)
        for part, values in record.items():
            logger.info(f"{part}: {', '.join(f'{name} {value}' for name, value in _flat(values).items())}")
        yield resuming


def _claim(folder: Path, record: dict, overwrite: bool) -> bool:
    """Write config.json; whether the folder holds a checkpoint of this very run to resume from.

    A folder that holds another run is refused, naming the differences, unless `overwrite`, which clears it.
    """
    config, checkpoint = folder / CONFIG, folder / CHECKPOINT
    if overwrite:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / EVENTS, ignore_errors=True)
    if config.exists():
        try:
            earlier = _decisive(json.loads(config.read_text()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{config}: not a run's configuration; choose another `output_folder`, or `overwrite`"
            ) from None
        now = _decisive(json.loads(json.dumps(record)))
        earlier = {**_defaults(now.keys() - earlier.keys()), **earlier}
        changes = [
            f"{key} {earlier.get(key)} (now {now.get(key)})"
            for key in now | earlier
            if earlier.get(key) != now.get(key)
        ]
        if changes:
            raise UserError(
                f"{folder}: holds a run with {', '.join(changes)}; choose another `output_folder`, or `overwrite`"
            )
    with atomic_write(config) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    return checkpoint.exists()


def _decisive(record: dict) -> dict:
    """What makes a run another run: everything but how long, from which path, on what and with how many workers."""
    values = _flat(record["training"]) | _flat(record["augmentation"]) | _flat(record["data"], "data ")
    return {name: value for name, value in values.items() if name not in ("epochs", "steps", "data path")}


def _defaults(names: set[str]) -> dict:
    """What settings were before there were any: a run of an older version lacks them."""
    training = json.loads(json.dumps(dataclasses.asdict(Training())))
    values = _flat(training.pop("augmentation")) | _flat(training)
    return {name: values[name] for name in names if name in values}


def _flat(values: dict, before: str = "") -> dict:
    """Settings by one name each, of those within settings too: `terms landmarks`."""
    flat: dict = {}
    for name, value in values.items():
        label = before + name.replace("_", " ")
        flat |= _flat(value, f"{label} ") if isinstance(value, dict) else {label: value}
    return flat
