"""Fit the face model to photos with landmarks: training labels for photos of your own."""

import sys
from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.commands.terminal import in_flags
from prnet.common.errors import UserError
from prnet.common.threads import use_one_thread
from prnet.configure.config import FACE_MODEL_PATH
from prnet.reconstructing.settings import DETECTORS, MODEL_PATH

EPILOG = """examples:
  {fit-photos} --images photos --landmarks mediapipe.npz --output-dir fits
  {fit-photos} --images photos.zip --landmarks labels.hdf5 --output-dir fits --zip
  {fit-photos} --images photos --landmarks network --output-dir fits
  {make-profile-views} --extract-dir fits --output-dir views
  {build-dataset} --extract-dir fits --hdf5-dir dataset --build-mode train

Landmarks, by the photos' names: .npz or HDF5 files with names and landmarks68 (N, 68, 2 or 3) or mediapipe (N, 468 or
478, 3) or both; .pts files, or a folder of them; several of these; or `network`, for photos that have none
(docs/fitting.md). OUT gets 300W_LP/ (or 300W-LP.zip) with photos and fits, fits.csv with figures of every photo,
fits.png with best, median, worst and rejected, and fits_statistics.png.

exit status: 0 all photos have their fits, 1 photos were left out (listed in fits.csv), 2 nothing was written
"""

SHOWN = 10
"""Photos left out that are listed on the terminal; all are in fits.csv."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR|ZIP",
        help="folder or zip of photos (.jpg, .png); for shards a list too",
    )
    parser.add_argument(
        "--landmarks", nargs="+", required=True, metavar="FILE", help="landmark files, or `network`: those of --model"
    )
    parser.add_argument(
        "--output-dir",
        "--outputdir",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for photos, fits and reports",
    )
    parser.add_argument("--face-model", "--facemodel", type=Path, default=Path(FACE_MODEL_PATH), help="face model")
    parser.add_argument(
        "--group", action="store_true", help="photos whose names differ only in the last number show one person"
    )
    parser.add_argument("--zip", action="store_true", help="write OUT/300W-LP.zip instead of the folder OUT/300W_LP/")
    parser.add_argument(
        "--check",
        type=int,
        nargs="?",
        const=300,
        metavar="N",
        help="report the offset of the fits from the network's landmarks on N photos and their mirror images (300)",
    )
    parser.add_argument("--model", default=MODEL_PATH, help="network for --landmarks network and --check")
    parser.add_argument("--detector", choices=DETECTORS, default=DETECTORS[0], help="how the network finds faces")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    many = parser.add_argument_group("very many photos (docs/scale.md)")
    many.add_argument("--shard-size", type=int, metavar="N", help="write only Parquet shards of N photos each")
    many.add_argument("--cluster", metavar="ADDRESS", help="of a running Ray cluster; auto: this machine's")
    return parser


def main(argv=None) -> int:
    flags = make_parser().parse_args(argv)
    for name, most in (("workers", 1024), ("check", 1_000_000), ("shard_size", 1_000_000)):
        value = getattr(flags, name)
        if value is not None and not 1 <= value <= most:
            raise UserError(f"--{name.replace('_', '-')} {value}: out of range; give a value from 1 to {most}")
    if flags.shard_size:
        return _into_shards(flags)
    if flags.cluster:
        raise UserError("--cluster: belongs to Parquet shards; give --shard-size too")

    from prnet.fitting.fit_set import TABLE, make_fit_set
    from prnet.fitting.landmark_sources import landmark_source
    from prnet.fitting.pictures import HISTOGRAMS, SHEET, draw_sheet, draw_statistics
    from prnet.formats.face_model_file import load_face_model

    face_model = load_face_model(flags.face_model)
    landmarks = landmark_source(flags.landmarks, face_model, flags.face_model, flags.model, flags.detector)
    made = make_fit_set(
        flags.images,
        landmarks,
        flags.output_dir,
        face_model,
        zipped=flags.zip,
        grouped=flags.group,
        workers=flags.workers,
    )
    draw_sheet(made, face_model, flags.output_dir / SHEET)
    draw_statistics(made, flags.output_dir / HISTOGRAMS)
    _report(made, flags.output_dir / TABLE)
    if flags.check:
        _check(made, face_model, flags)
    say_what_to_open(flags.output_dir / SHEET)
    return int(bool(made.left_out or made.without_photo))


def _into_shards(flags) -> int:
    use_one_thread()
    from prnet.fitting.many import fit_many

    for name in ("group", "zip", "check"):
        if getattr(flags, name):
            raise UserError(f"--{name}: not with --shard-size; leave one of them out")
    problems = fit_many(
        flags.images,
        flags.output_dir,
        face_model=flags.face_model,
        landmarks=flags.landmarks,
        model=flags.model,
        detector=flags.detector,
        shard_size=flags.shard_size,
        workers=flags.workers or 1,
        cluster=flags.cluster,
    )
    say_what_to_open(flags.output_dir)
    return int(problems > 0)


def _report(made, table: Path) -> None:
    import numpy as np

    for outcome in made.left_out[:SHOWN]:
        print(f"left out: {made.source}/{outcome.photo}: {in_flags(outcome.reason)}", file=sys.stderr)
    for name in made.without_photo[:SHOWN]:
        print(f"landmarks without a photo: {name}", file=sys.stderr)
    residuals = [outcome.quality.residual for outcome in made.kept]
    disagreement = [q.disagreement for q in (outcome.quality for outcome in made.kept) if np.isfinite(q.disagreement)]
    print(
        f"{len(made.kept)} photos fitted, {len(made.left_out)} left out, {len(made.without_photo)} landmarks without a"
        f" photo: {table}"
    )
    most = np.quantile(residuals, 0.95)
    print(f"residual {np.mean(residuals):.2f} % of the face's size, 95 % of the photos below {most:.2f}")
    if disagreement:
        print(f"the sources differ by {np.median(disagreement):.2f} % in the median of {len(disagreement)} photos")


def _check(made, face_model, flags) -> None:
    import numpy as np

    from prnet.fitting.network_landmarks import fit_offsets

    offsets = fit_offsets(made, face_model, flags.model, flags.check)
    error = offsets.std(axis=0) / np.sqrt(len(offsets))
    (x, y), (of_x, of_y) = offsets.mean(axis=0), error
    print(
        f"mirror test on {len(offsets)} photos: the fits lie {x:+.2f} +- {of_x:.2f} % of the box's side to the right of"
        f" the network's faces and {y:+.2f} +- {of_y:.2f} % below them (where the network may err itself)"
    )
