"""Measure a network, or any method's predictions, under a named protocol; write tables, curves and pictures."""

import argparse
import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from prnet.commands.flags import Parser, at_least_one, say_what_to_open
from prnet.common.errors import UserError, printable
from prnet.common.files import remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.common.progress import Poster, server_address
from prnet.common.quiet import start_keras
from prnet.configure.config import FACE_MODEL_PATH, SERVER_HOST, SERVER_PORT, SHIPPED_NETWORKS
from prnet.configure.programs import command
from prnet.reconstructing.settings import NETWORK_HELP

logger = logging.getLogger(__name__)

LANDMARK_TYPES = {0, 1}
"""What is measured on the landmarks that come with photos, without a face model."""

EPILOG = """examples:
  {evaluate} --model-dir output_0.0001_wtmse --hdf5 data/val.hdf5 --output-dir evaluation \\
      --types 0 1 2 3 4 5 --shift-z 1
  {evaluate} --model morphnet --data-dir AFLW2000-3D.zip --output-dir evaluation
  {evaluate} --predictions other.npz --data-dir AFLW2000-3D.zip --types 0 1 --output-dir other
  {evaluate} --predictions other.npz --landmark-file pts68.npy --yaw-file pose.npy --types 0
  {evaluate} --compare evaluation other --output-dir comparison

types (--types): 0 sparse 2D, 1 sparse 3D, 2 dense 2D, 3 dense 3D, 4 reconstruction 2D, 5 reconstruction 3D

predictions (.npz): names (N,) of the photos without suffix, landmarks (N, 68, 2 or 3) in 0-based pixels of the photo,
x right, y down; for types 2 to 5 also vertices (N, V, 3), the texels of the face mask row by row. NaN: no result.

exit status: 0 every image has a result, 1 some have none or were left out (listed in benchmark.md), 2 nothing was done
"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    method = parser.add_mutually_exclusive_group(required=True)
    method.add_argument(
        "--model-dir", "--modeldir", metavar="DIR", help="folder of a training run; its best.keras is measured"
    )
    method.add_argument("--model", metavar="FILE", help=NETWORK_HELP)
    method.add_argument("--predictions", metavar="FILE", help="another method's predictions (.npz)")
    method.add_argument("--compare", metavar="DIR", nargs="+", help="one table and plot of finished evaluations")

    truth = parser.add_argument_group("what it is measured on")
    photos = truth.add_mutually_exclusive_group()
    photos.add_argument("--hdf5", metavar="FILE", help="a data set (val.hdf5)")
    photos.add_argument(
        "--data-dir", "--datadir", metavar="DIR", help="a folder or zip archive of photos with their .mat files"
    )
    truth.add_argument(
        "--face-model", "--facemodel", metavar="FILE", help=f"(default: {FACE_MODEL_PATH}, where it exists)"
    )
    truth.add_argument(
        "--landmark-file",
        "--landmarkfile",
        metavar="FILE",
        help="ground truth landmarks (.npy, N x 2 or 3 x 68, 1-based pixels)",
    )
    truth.add_argument("--yaw-file", "--yawfile", metavar="FILE", help="yaw in degrees (.npy, N) for the bins")

    protocol = parser.add_argument_group("how it is measured")
    protocol.add_argument(
        "--types",
        "--evalidxs",
        type=int,
        nargs="+",
        choices=range(6),
        default=list(range(6)),
        metavar="0-5",
        help="what is measured, of the types below (default: 0 1 2 3 4 5)",
    )
    protocol.add_argument("--protocol", choices=("standard", "prnet-keras"), default="standard", help="normalisers")
    protocol.add_argument(
        "--shift-z", "--shiftZ", type=int, choices=(0, 1), default=1, help="1: --z-origin min, 0: --z-origin none"
    )
    protocol.add_argument(
        "--z-origin",
        "--zorigin",
        choices=("min", "mean", "none"),
        help="where z is 0, in prediction and ground truth (default: by --shift-z)",
    )

    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir", "--outputdir", metavar="DIR", default="evaluation", help="folder of tables and pictures"
    )
    output.add_argument("--save-predictions", metavar="FILE", help="write the predicted landmarks (.npz)")
    output.add_argument(
        "--with-vertices", action="store_true", help="with --save-predictions: vertices too, 0.5 MB an image"
    )
    output.add_argument("--name", help="what the tables call the method (default: its folder's or file's name)")
    output.add_argument(
        "--batch-size", "--batchsize", type=at_least_one, default=10, metavar="N", help="photos per batch"
    )
    output.add_argument(
        "--server-log", "--serverlog", default="0", help="post progress: 0, 1 (the project's server) or an address"
    )
    return parser


def chosen_protocol(arguments: argparse.Namespace):
    from prnet.evaluating.protocols import PROTOCOLS

    chosen = replace(
        PROTOCOLS[arguments.protocol],
        depth_origin=arguments.z_origin or ("min" if arguments.shift_z else "none"),
    )
    if arguments.landmark_file:
        chosen = replace(chosen, landmarks=printable(Path(arguments.landmark_file).name))
    if arguments.yaw_file:
        chosen = replace(chosen, yaw=printable(Path(arguments.yaw_file).name))
    return chosen


def open_method(arguments: argparse.Namespace, files: ExitStack):
    """The method, and its UV layout where it is a network."""
    from prnet.evaluating.methods import PredictionFile

    if arguments.predictions:
        method = files.enter_context(PredictionFile(arguments.predictions))
        method.name = printable(arguments.name or method.name)
        return method, None

    path = arguments.model or str(Path(arguments.model_dir) / "best.keras")
    if not path.startswith("hf://") and path not in SHIPPED_NETWORKS and not Path(path).exists():
        raise UserError(f"{path}: no such model file; train one with {command('train')}")
    start_keras()
    from prnet.interface import network_method

    name = arguments.name or ("" if arguments.model else Path(path).parent.resolve().name)
    network = network_method(path, printable(name))
    return network, network.layout


def open_subjects(arguments: argparse.Namespace, files: ExitStack, method, network_layout):
    """The subjects, and the UV layout of their true maps where these are known."""
    from prnet.evaluating.subjects import Amended, LandmarkSubjects, read_landmark_file, read_yaw_file, require_rows
    from prnet.formats.face_model_file import load_face_model

    landmarks = read_landmark_file(arguments.landmark_file) if arguments.landmark_file else None
    yaw = read_yaw_file(arguments.yaw_file) if arguments.yaw_file else None
    if arguments.hdf5 or arguments.data_dir:
        known = arguments.face_model or Path(FACE_MODEL_PATH).is_file()
        model = load_face_model(arguments.face_model or FACE_MODEL_PATH) if known else None
        try:
            subjects, layout = photo_subjects(arguments, files, model, method.size, network_layout)
        except UserError:
            if model is None or arguments.face_model or not set(arguments.types) <= LANDMARK_TYPES:
                raise
            subjects, layout = photo_subjects(arguments, files, None, method.size, network_layout)
            logger.warning(f"{FACE_MODEL_PATH}: not the face model of these fits; types 0 and 1 go without it")
    elif landmarks is not None and yaw is not None and arguments.predictions:
        subjects, layout = LandmarkSubjects(landmarks, method.names), None
    else:
        raise UserError(
            "nothing to measure on; give --hdf5, --data-dir, or --predictions with --landmark-file and --yaw-file"
        )
    for path, rows in ((arguments.landmark_file, landmarks), (arguments.yaw_file, yaw)):
        if rows is not None:
            require_rows(path, len(rows), len(subjects))
    return Amended(subjects, landmarks, yaw) if landmarks is not None or yaw is not None else subjects, layout


def photo_subjects(arguments: argparse.Namespace, files: ExitStack, model, size: int, network_layout):
    """The photos that are measured on, with a face model or without, and the UV layout of their true maps."""
    from prnet.evaluating.subjects import DatasetSubjects, PairSubjects
    from prnet.formats.pairs import find_pairs
    from prnet.generating.dataset import open_dataset
    from prnet.geometry.position_map import layout_of_model

    layout = None if model is None else layout_of_model(model)
    if arguments.data_dir:
        return PairSubjects(files.enter_context(find_pairs(arguments.data_dir)), model, layout, size), layout
    dataset = files.enter_context(open_dataset(arguments.hdf5))
    if layout is None and network_layout is not None and network_layout.has_identity(dataset.layout_identity):
        layout = network_layout
    return DatasetSubjects(dataset, model, layout, size), layout


def compare(folder, paths: list[str]) -> int:
    """Put finished evaluations in one table and one plot."""
    from prnet.evaluating.reports import FILES, write_comparison
    from prnet.evaluating.results import load_results

    all_results = [load_results(path) for path in paths]
    print(write_comparison(folder, all_results))
    say_what_to_open(Path(folder) / FILES[0])
    return int(any(results.problems for results in all_results))


def measure(arguments: argparse.Namespace, server: str | None) -> int:
    """Measure one method and write all that `prnet.evaluating.reports` has of it."""
    from prnet.evaluating.evaluation import evaluate
    from prnet.evaluating.reports import FILES, write_report
    from prnet.evaluating.results import RESULTS_NAME
    from prnet.evaluating.tables import closing_lines

    folder = Path(arguments.output_dir)
    held = {folder: (folder / ".evaluation.lock", [folder / name for name in (RESULTS_NAME, *FILES)])}
    if arguments.save_predictions:
        path = Path(arguments.save_predictions)
        held[path] = path.with_name(f".{path.name}.lock"), [path]
    with ExitStack() as files:
        for place, (lock, written) in held.items():
            refusal = f"{place}: another evaluation writes to it; wait until it has ended, or choose another place"
            if files.enter_context(exclusive_lock(lock, refusal)):
                remove_left_behind(*written)
        method, network_layout = open_method(arguments, files)
        subjects, layout = open_subjects(arguments, files, method, network_layout)
        results = evaluate(
            subjects,
            method,
            types=sorted(set(arguments.types)),
            protocol=chosen_protocol(arguments),
            layout=layout,
            path=folder / RESULTS_NAME,
            batch_size=arguments.batch_size,
            predictions_path=arguments.save_predictions,
            with_vertices=arguments.with_vertices,
            progress=files.enter_context(Progress(method.name, server)),
        )
        table = write_report(folder, results, subjects, method, layout)
    print(table)
    print(*closing_lines(results), f"tables and pictures: {folder}", sep="\n")
    say_what_to_open(folder / FILES[0])
    return int(bool(results.problems or subjects.left_out))


class Progress:
    """A progress bar, and the same posted to a server."""

    def __init__(self, name: str, server: str | None):
        self._name, self._poster = name, Poster(server)
        self._bar: Any = None  # of tqdm, once the number of photos is known

    def __call__(self, results) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=len(results.names), unit="image", desc="evaluating")
        done = int(results.done.sum())
        mean = results.mean_so_far()
        self._bar.update(done - self._bar.n)
        self._bar.set_postfix_str(f"{results.columns[0].title} {mean:.2f} %")
        event = {"run": self._name, "stage": "evaluation", "done": done, "total": self._bar.total, "nme": mean}
        self._poster.post("/publish/epoch/end/", event)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()


def main(argv=None) -> int:
    arguments = make_parser().parse_args(argv)
    server = server_address(arguments.server_log, f"http://{SERVER_HOST}:{SERVER_PORT}")
    if arguments.compare:
        return compare(arguments.output_dir, arguments.compare)
    return measure(arguments, server)
