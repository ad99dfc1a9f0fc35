"""Train a network on train.hdf5: best.keras and last.keras, log and curves; the same command resumes it."""

import argparse
import dataclasses
import os
from contextlib import ExitStack
from pathlib import Path

from prnet.common.errors import UserError
from prnet.common.progress import server_address
from prnet.configure.config import (
    FACE_MODEL_PATH,
    HEADS,
    IMAGE_SIZES,
    LOSSES,
    NETWORKS,
    PRECISIONS,
    SCHEDULES,
    SERVER_HOST,
    SERVER_PORT,
    LossTerms,
    Run,
    Training,
)
from prnet.configure.recipes import RECIPES

EXAMPLE = """example:
  python train_model.py --epochs 100 --batchsize 16 --learningrate 1e-4 --lossfunct wtmse --hdf5dir data
  python train_model.py --recipe lprnet --hdf5dir data

A flag that is not given takes the recipe's value. KERAS_BACKEND=jax trains with JAX."""


_TERMS = {
    "landmarks": "mean distance of the 68 landmarks",
    "apertures": "how far eyes and mouth are open",
    "edges": "lengths between neighbouring texels",
    "normals": "directions of the surface",
    "raw": "the raw map of a morphnet",
}


def parse(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is trained")
    what.add_argument(
        "--recipe", choices=RECIPES, default="default", help="values to begin from (configure/recipes.py)"
    )
    what.add_argument(
        "--network", choices=NETWORKS, help="prnet; lprnet for processors; morphnet, smooth, learns from fits"
    )
    what.add_argument("--imagesize", type=int, choices=IMAGE_SIZES, help="side of the crops in pixels")
    what.add_argument("--head", choices=HEADS, help="sigmoid as published, or linear")
    what.add_argument("--lossfunct", choices=LOSSES, help="loss")
    what.add_argument("--epochs", type=int, help="passes over the training samples")
    what.add_argument("--steps", type=int, help="instead of --epochs: as many whole epochs as hold these steps")
    what.add_argument("--batchsize", type=int, help="samples of one step, over all devices")
    what.add_argument("--learningrate", type=float, help="Adam's step size at the start")
    what.add_argument("--dropfactor", type=float, help="factor on the learning rate at each drop")
    what.add_argument("--dropevery", type=float, help="epochs or steps between drops")
    what.add_argument("--dropunit", choices=("epochs", "steps"), help="unit of --dropevery")
    what.add_argument("--schedule", choices=SCHEDULES, help="drops in steps, or half a cosine over the whole run")
    what.add_argument("--warmup", type=float, help="epochs in which the learning rate rises from 0 (cosine)")
    what.add_argument("--clipnorm", type=float, help="greatest norm of the gradient")
    what.add_argument("--average", type=float, help="momentum of a moving average of the weights, which is then saved")
    what.add_argument("--balance", type=float, help="0 to 1: draw rare expressions and poses as often as common ones")
    what.add_argument("--identities", type=int, help="identity components of a morphnet (all that the fits have)")
    for term in dataclasses.fields(LossTerms):
        what.add_argument(f"--{term.name}loss", type=float, help=f"weight in the loss: {_TERMS[term.name]}")
    what.add_argument("--precision", choices=PRECISIONS, help="of the computation; models are saved in float32")
    what.add_argument("--seed", type=int, help="of weights, order and augmentation")
    what.add_argument("--model", metavar="KERAS", help="begin with the weights of this .keras file")
    what.add_argument("--start_epoch", type=int, default=0, help="finished epochs that --model counts for")

    where = parser.add_argument_group("files")
    where.add_argument("--hdf5dir", required=True, help="folder with train.hdf5")
    where.add_argument("--facemodel", default=FACE_MODEL_PATH, help="default: %(default)s")
    where.add_argument("--outputdir", help="default: output_<learningrate>_<lossfunct>")
    where.add_argument("--overwrite", action="store_true", help="begin again where the folder holds another run")
    where.add_argument(
        "--report-test",
        nargs="?",
        const="",
        metavar="HDF5",
        help="report the NME of this data set each epoch (default: val.hdf5 in --hdf5dir); it selects nothing",
    )

    how = parser.add_argument_group("how it runs")
    how.add_argument("--workers", type=int, default=os.cpu_count(), help="threads that prepare batches (%(default)s)")
    how.add_argument("--devices", type=int, default=1, help="devices that share every batch")
    how.add_argument("--jit", choices=("auto", "on", "off"), default="auto", help="XLA; auto: where there is a GPU")
    how.add_argument(
        "--serverlog", default="0", help="post each epoch's log: 0, 1 (the project's server) or an address"
    )
    return parser.parse_args(argv)


def training_settings(arguments: argparse.Namespace) -> Training:
    """The recipe with the flags that were given."""
    given = {
        "network": arguments.network,
        "image_size": arguments.imagesize or (arguments.network and NETWORKS[arguments.network]),
        "head": arguments.head,
        "loss": arguments.lossfunct,
        "epochs": arguments.epochs,
        "steps": arguments.steps,
        "batch_size": arguments.batchsize,
        "learning_rate": arguments.learningrate,
        "drop_factor": arguments.dropfactor,
        "drop_every": arguments.dropevery,
        "drop_unit": arguments.dropunit,
        "schedule": arguments.schedule,
        "warmup": arguments.warmup,
        "clip_norm": arguments.clipnorm,
        "average": arguments.average,
        "balance": arguments.balance,
        "identities": arguments.identities,
        "precision": arguments.precision,
        "seed": arguments.seed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if "epochs" in given and "steps" in given:
        raise UserError("--epochs and --steps exclude each other; give one of them")
    if "epochs" in given:
        given["steps"] = None
    recipe = RECIPES[arguments.recipe]()
    terms = {term: getattr(arguments, f"{term}loss") for term in _TERMS}
    terms = {term: weight for term, weight in terms.items() if weight is not None}
    return dataclasses.replace(recipe, **given, terms=dataclasses.replace(recipe.terms, **terms))


def output_folder(training: Training) -> Path:
    return Path(f"output_{training.learning_rate}_{training.loss}")


def main(argv=None) -> None:
    arguments = parse(argv)
    training = training_settings(arguments)
    server = server_address(arguments.serverlog, f"http://{SERVER_HOST}:{SERVER_PORT}")
    if arguments.start_epoch < 0:
        raise UserError(f"--start_epoch {arguments.start_epoch}: must be 0 or more")
    if arguments.start_epoch and not arguments.model:
        raise UserError("--start_epoch counts the epochs of --model; give that too (a stopped run resumes by itself)")

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.dataset import open_dataset

    folder = Path(arguments.hdf5dir)
    face_model = load_face_model(arguments.facemodel)
    with ExitStack() as files:
        dataset = files.enter_context(open_dataset(folder / "train.hdf5"))
        test_set = None
        if arguments.report_test is not None:
            test_set = files.enter_context(open_dataset(arguments.report_test or folder / "val.hdf5"))
        from prnet.model.training import train  # Keras takes seconds to load: what is missing is said before.

        train(
            training,
            Run(workers=arguments.workers, devices=arguments.devices, jit=arguments.jit, server=server),
            dataset,
            face_model,
            arguments.outputdir or output_folder(training),
            test_set=test_set,
            start_from=arguments.model,
            start_epoch=arguments.start_epoch,
            overwrite=arguments.overwrite,
        )
