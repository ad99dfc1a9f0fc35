"""Train a network on train.hdf5: best.keras and last.keras, log and curves; the same command resumes it."""

import argparse
import dataclasses
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.commands.processes import loopback_address, run_processes
from prnet.common.errors import UserError
from prnet.common.progress import server_address
from prnet.common.quiet import start_keras
from prnet.configure.config import (
    CAMERAS,
    DECODERS,
    FACE_MODEL_PATH,
    HEADS,
    IMAGE_SIZES,
    LOSSES,
    NETWORKS,
    OUTLIERS,
    PRECISIONS,
    RENDERINGS,
    SCHEDULES,
    SERVER_HOST,
    SERVER_PORT,
    Run,
    Training,
)
from prnet.configure.recipes import RECIPES

EXAMPLE = """example:
  {train} --epochs 100 --batch-size 16 --learning-rate 1e-4 --loss wtmse --hdf5-dir data
  {train} --recipe lprnet --hdf5-dir data

A flag that is not given takes its value from the recipe. KERAS_BACKEND=jax trains with JAX, which can be done by
several processes and machines (docs/training.md)."""


RECIPE_FLAGS: dict[str, tuple[dict, str]] = {
    "network": ({"choices": NETWORKS}, "prnet; lprnet, morphnet, photonet are light enough for CPUs"),
    "image_size": ({"type": int, "choices": IMAGE_SIZES}, "side of the crops in pixels"),
    "head": ({"choices": HEADS}, "output activation: sigmoid as published, or linear"),
    "decoder": (
        {"choices": DECODERS},
        "upsampling of prnet and lprnet: transposed as published, resize without checkerboard",
    ),
    "loss": ({"choices": LOSSES}, "loss of the position map"),
    "epochs": ({"type": int, "metavar": "N"}, "passes over the training samples"),
    "steps": ({"type": int, "metavar": "N"}, "length in steps instead of --epochs, rounded up to full epochs"),
    "batch_size": ({"type": int, "metavar": "N"}, "samples of one step, over all devices"),
    "learning_rate": ({"type": float, "metavar": "RATE"}, "Adam's step size at the start"),
    "drop_factor": ({"type": float, "metavar": "FACTOR"}, "factor on the learning rate at each drop"),
    "drop_every": ({"type": float, "metavar": "N"}, "epochs or steps between drops"),
    "drop_unit": ({"choices": ("epochs", "steps")}, "unit of --drop-every"),
    "schedule": ({"choices": SCHEDULES}, "learning rate: drops in steps, or half a cosine over the run"),
    "warmup": ({"type": float, "metavar": "EPOCHS"}, "epochs of a rising learning rate before the cosine"),
    "clip_norm": ({"type": float, "metavar": "NORM"}, "greatest norm of the gradient of each weight tensor"),
    "average": ({"type": float, "metavar": "MOMENTUM"}, "momentum of a moving average of the weights, which is saved"),
    "balance": ({"type": float, "metavar": "SHARE"}, "0 to 1: draw rare expressions and poses as often as common ones"),
    "identities": ({"type": int, "metavar": "N"}, "identity components of a morphnet; without it all"),
    "precision": ({"choices": PRECISIONS}, "precision of the computation; models are saved in float32"),
    "seed": ({"type": int, "metavar": "N"}, "seed of weights, order and augmentation"),
}
"""Fields of `Training` that a flag of the same name sets, with how it is parsed and its help."""

TERMS = {
    "landmarks": "mean distance of the 68 landmarks from the true map's",
    "photo_landmarks": "mean distance of the 68 landmarks from those that came with the photos (pt3d_68)",
    "apertures": "how far eyes and mouth are open",
    "edges": "lengths of edges between neighbouring texels",
    "normals": "surface normals",
    "scores": "what a mesh cannot show (gaze), where the data set has scores (build_dataset.py --scores)",
    "raw": "the raw map of a morphnet",
}
"""Fields of `LossTerms`, each with what its flag's help says."""

PHOTO_TERMS = {
    "photometric": "colours of the photo against the lit face",
    "perceptual": "features of --recognition",
    "coefficients": "squared coefficients",
    "reflectance": "variance of the skin's albedo",
    "light": "colour of the light",
}
"""Fields of `PhotoTerms`, likewise; its landmarks share the flag of `TERMS`."""

PHOTO_FLAGS: dict[str, tuple[dict, str]] = {
    "rendering": ({"choices": RENDERINGS}, "compare photo and face at the map's texels, or at the photo's pixels"),
    "camera": ({"choices": CAMERAS}, "how a face is projected"),
    "outliers": ({"choices": OUTLIERS}, "of colour (hair, gloss, overexposure): cut, or kept as published"),
    "recognition": ({"metavar": "KERAS"}, "network from aligned faces to vectors, for the perceptual loss"),
}
"""Fields of `PhotoTerms` that a flag of the same name sets."""

OLDER_SPELLINGS = {"loss": "--lossfunct"}
"""Where the first spelling is not the older one with hyphens put in."""


LAUNCHERS = {
    "machines": ("JAX_COORDINATOR_ADDRESS", "KERAS_DISTRIBUTION_JOB_ADDRESSES"),
    "processes": ("KERAS_DISTRIBUTION_NUM_PROCESSES", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"),
    "process": ("KERAS_DISTRIBUTION_PROCESS_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"),
}
"""Variables that stand in for flags of the same name; the last two only where there is an address."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EXAMPLE + recipe_table())
    what = parser.add_argument_group("what is trained")
    what.add_argument("--recipe", choices=RECIPES, default="default", help="values to start from, listed below")
    for field, (options, meaning) in RECIPE_FLAGS.items():
        older = OLDER_SPELLINGS.get(field, f"--{field.replace('_', '')}")
        spellings = dict.fromkeys((kebab(field), older))
        value = _shown(getattr(RECIPES["default"](), field))
        what.add_argument(*spellings, **options, help=f"{meaning} (default: {value}, or the recipe's)")
    for term, meaning in TERMS.items():
        value = getattr(RECIPES["default"]().terms, term)
        help_text = f"weight in the loss: {meaning} (default: {value}, or the recipe's)"
        what.add_argument(f"{kebab(term)}-loss", type=float, metavar="WEIGHT", help=help_text)
    photo = parser.add_argument_group("learning from photos without fits (--recipe weak, docs/weak.md)")
    weights = RECIPES["weak"]().photo
    for term, meaning in PHOTO_TERMS.items():
        help_text = f"weight in the loss: {meaning} (default: {getattr(weights, term)})"
        photo.add_argument(f"--{term}-loss", type=float, metavar="WEIGHT", help=help_text)
    for field, (options, meaning) in PHOTO_FLAGS.items():
        photo.add_argument(kebab(field), **options, help=f"{meaning} (default: {_shown(getattr(weights, field))})")
    what.add_argument("--model", metavar="KERAS", help="start from the weights of this .keras file")
    what.add_argument(
        "--start-epoch",
        "--start_epoch",
        type=int,
        default=0,
        metavar="N",
        help="number of finished epochs that --model counts as",
    )

    where = parser.add_argument_group("files")
    where.add_argument("--hdf5-dir", "--hdf5dir", required=True, metavar="DIR", help="folder with train.hdf5")
    where.add_argument("--face-model", "--facemodel", default=FACE_MODEL_PATH, metavar="FILE", help="face model")
    where.add_argument(
        "--output-dir", "--outputdir", metavar="DIR", help="(default: output_<learning rate>_<loss>, in this folder)"
    )
    where.add_argument("--overwrite", action="store_true", help="start afresh where the folder holds another run")
    where.add_argument(
        "--report-test",
        nargs="?",
        const="",
        metavar="HDF5",
        help="report the NME of this data set each epoch (without a value: val.hdf5 in --hdf5-dir); it selects nothing",
    )

    how = parser.add_argument_group("how it runs")
    how.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="threads that prepare batches")
    how.add_argument("--devices", type=int, default=1, metavar="N", help="devices that every batch is split among")
    how.add_argument("--processes", type=int, metavar="N", help="that train together; without --machines all on this")
    how.add_argument("--machines", metavar="HOST:PORT", help="of several: where process 0 is to listen")
    how.add_argument("--process", type=int, metavar="K", help="with --machines: which of the processes this is, from 0")
    how.add_argument("--jit", choices=("auto", "on", "off"), default="auto", help="XLA; auto: where there is a GPU")
    how.add_argument(
        "--server-log",
        "--serverlog",
        default="0",
        help="post each epoch's log: 0, 1 (the project's server) or an address",
    )
    return parser


def kebab(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def recipe_table() -> str:
    """The values of every recipe, one line a flag."""
    recipes = {name: recipe() for name, recipe in RECIPES.items()}
    rows = [["recipes", *recipes]]
    for field in RECIPE_FLAGS:
        rows.append([kebab(field), *(_shown(getattr(recipe, field)) for recipe in recipes.values())])
    return "\n\n" + "\n".join("".join(f"{cell:<17}" for cell in row).rstrip() for row in rows)


def _shown(value) -> str:
    return "-" if value is None else f"{value}"


def training_settings(arguments: argparse.Namespace) -> Training:
    """The recipe with the flags that were given."""
    given = {field: getattr(arguments, field) for field in RECIPE_FLAGS}
    if arguments.network and not arguments.image_size:
        given["image_size"] = NETWORKS[arguments.network]
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("schedule") == "steps":
        given.setdefault("warmup", 0.0)  # a recipe's belongs to its cosine
    if "epochs" in given and "steps" in given:
        raise UserError("--epochs and --steps exclude each other; give one of them")
    if "epochs" in given:
        given["steps"] = None
    recipe = RECIPES[arguments.recipe]()
    weights = {term: getattr(arguments, f"{term}_loss") for term in (*TERMS, *PHOTO_TERMS)}
    weights = {term: weight for term, weight in weights.items() if weight is not None}
    terms = {term: weight for term, weight in weights.items() if term in TERMS}
    of_photos = {field: getattr(arguments, field) for field in PHOTO_FLAGS if getattr(arguments, field) is not None}
    of_photos |= {term: weight for term, weight in weights.items() if term in (*PHOTO_TERMS, "landmarks")}
    return dataclasses.replace(
        recipe,
        **given,
        terms=dataclasses.replace(recipe.terms, **terms),
        photo=dataclasses.replace(recipe.photo, **of_photos),
    )


def output_folder(training: Training) -> Path:
    return Path(f"output_{training.learning_rate}_{training.loss}")


def run_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Run:
    """How the run is carried out: which process of which machines by flags, or by the variables of a launcher."""
    given = {name: getattr(arguments, name) for name in LAUNCHERS}
    for name, variables in LAUNCHERS.items():
        found = [(variable, environment[variable]) for variable in variables if variable in environment]
        if given[name] is None and found and (name == "machines" or given["machines"]):
            variable, value = found[0]
            if name != "machines" and not (value.isascii() and value.isdigit()):
                raise UserError(f"{variable}={value}: is no whole number; mend it, or give --{name}")
            given[name] = value.partition(",")[0] if name == "machines" else int(value)
    if given["machines"] and None in given.values():
        raise UserError(f"--machines {given['machines']}: give --processes and --process too")
    if given["process"] is not None and not given["machines"]:
        raise UserError(f"--process {given['process']}: give --machines too, the address of process 0")
    if given["processes"] is not None and given["processes"] < 1:
        raise UserError(f"--processes {given['processes']}: must be at least 1")
    return Run(
        workers=arguments.workers,
        devices=arguments.devices,
        machines=given["machines"],
        processes=given["processes"] or 1,
        process=given["process"] or 0,
        jit=arguments.jit,
        server=server_address(arguments.server_log, f"http://{SERVER_HOST}:{SERVER_PORT}"),
    )


def main(argv=None) -> None:
    arguments = make_parser().parse_args(argv)
    training, run = training_settings(arguments), run_settings(arguments, os.environ)
    if arguments.start_epoch < 0:
        raise UserError(f"--start-epoch {arguments.start_epoch}: must be 0 or more")
    if arguments.start_epoch and not arguments.model:
        raise UserError("--start-epoch counts the epochs of --model; give that too (a stopped run resumes by itself)")

    if run.processes == 1:
        train_in_process(arguments, training, run, 0)
    else:
        numbers = [run.process] if run.machines else range(run.processes)
        if not run.machines:
            run = dataclasses.replace(run, machines=loopback_address())
        run_processes(train_in_process, (arguments, training, run), numbers, run.processes)
    if run.process == 0:  # whose folder it is
        say_what_to_open(_folder(arguments, training) / "training.png")


def _folder(arguments: argparse.Namespace, training: Training) -> Path:
    return Path(arguments.output_dir or output_folder(training))


def train_in_process(arguments: argparse.Namespace, training: Training, run: Run, process: int) -> None:
    """Train in this process, the only one or one of several."""
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset

    data = Path(arguments.hdf5_dir)
    face_model = load_face_model(arguments.face_model)
    with ExitStack() as files:
        dataset = files.enter_context(open_dataset(data / "train.hdf5"))
        test_set = None
        if arguments.report_test is not None:
            test_set = files.enter_context(open_dataset(arguments.report_test or data / "val.hdf5"))
        start_keras()  # it takes seconds: what is missing is said before
        from prnet.model.training import train

        train(
            training,
            dataclasses.replace(run, process=process),
            dataset,
            face_model,
            _folder(arguments, training),
            test_set=test_set,
            start_from=arguments.model,
            start_epoch=arguments.start_epoch,
            overwrite=arguments.overwrite,
        )
