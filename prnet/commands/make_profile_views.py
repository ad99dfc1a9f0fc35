"""Rotate photos with fits in depth, or give them other expressions: views in 300W-LP's format."""

import sys
from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError
from prnet.configure.config import FACE_MODEL_PATH

EPILOG = """example:
  {make-profile-views} --zip-dir downloads --output-dir views --max-yaw 90 --yaw-step 10 --max-pitch 40
  {build-dataset} --extract-dir views --hdf5-dir dataset --build-mode train

Yaw and pitch are those of Pose_Para. A photo within 15 degrees of the front turns to both sides, any other only away
from the front (and back by at most 15 degrees). <photo>-v00 is the photo itself, cut to the views' frame.

exit status: 0 all photos have their views, 1 photos were left out (listed), 2 nothing was written
"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--extract-dir", "--extractdir", type=Path, metavar="DIR", help="folder of photos (.jpg) with fits (.mat)"
    )
    source.add_argument(
        "--zip-dir", "--zipDir", type=Path, metavar="DIR", help="folder with 300W-LP.zip, or any such zip itself"
    )
    parser.add_argument(
        "--output-dir", "--outputdir", type=Path, required=True, metavar="DIR", help="folder for the views"
    )
    for name, default, meaning in (
        ("yaw", 90.0, "greatest |yaw| of a view in degrees"),
        ("pitch", 40.0, "greatest |pitch| of a view in degrees"),
    ):
        parser.add_argument(f"--max-{name}", f"--max{name}", type=float, default=default, metavar="DEG", help=meaning)
    parser.add_argument(
        "--yaw-step",
        "--yawstep",
        type=float,
        default=10.0,
        metavar="DEG",
        help="bin width of the yaw histogram",
    )
    parser.add_argument(
        "--views", type=int, metavar="N", help="views of each photo, itself included (default: for an even histogram)"
    )
    parser.add_argument(
        "--expressions",
        type=int,
        default=0,
        metavar="N",
        help="views more, in its own pose, of each photo with shut mouth and open eyes, with expressions of other "
        "photos (default: 0)",
    )
    parser.add_argument(
        "--fit-shift",
        "--fitshift",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("X", "Y"),
        help="move every fit first, right and down, in per cent of its landmark box's side: for fits that all lie "
        "beside their faces",
    )
    parser.add_argument(
        "--face-model", "--facemodel", type=Path, default=Path(FACE_MODEL_PATH), metavar="FILE", help="face model"
    )
    parser.add_argument(
        "--processes", "--workers", type=int, metavar="N", help="processes that render (default: one for each core)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed; the same seed makes the same views"
    )
    return parser


def main(argv=None) -> int:
    flags = make_parser().parse_args(argv)
    _check(flags)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.builder import find_sources
    from prnet.generating.views.files import make_view_set
    from prnet.generating.views.plan import ViewSettings
    from prnet.generating.views.relief import make_face_grid

    settings = ViewSettings(
        max_yaw=flags.max_yaw,
        yaw_step=flags.yaw_step,
        max_pitch=flags.max_pitch,
        views=flags.views,
        expressions=flags.expressions,
        seed=flags.seed,
    )
    given = flags.extract_dir or flags.zip_dir
    (source,) = find_sources(given, "train", archives=flags.zip_dir is not None)
    grid = make_face_grid(load_face_model(flags.face_model))
    subfolder = source.relative_to(given) if flags.extract_dir else ""
    shift = tuple(per_cent / 100 for per_cent in flags.fit_shift)
    made = make_view_set(
        source, flags.output_dir, grid, settings, subfolder=subfolder, fit_shift=shift, workers=flags.processes
    )
    for line in made.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{made.views} views of {made.photos} photos in {flags.output_dir}; {len(made.left_out)} left out")
    say_what_to_open(flags.output_dir)
    return int(bool(made.left_out))


def _check(flags) -> None:
    """Refuse numbers outside their ranges."""
    for flag, value, low, high in (
        ("max-yaw", flags.max_yaw, 0.0, 90.0),
        ("yaw-step", flags.yaw_step, 1.0, 180.0),
        ("max-pitch", flags.max_pitch, 0.0, 90.0),
        ("views", flags.views, 1, 99),
        ("expressions", flags.expressions, 0, 99),
        ("processes", flags.processes, 1, 1024),
        ("seed", flags.seed, 0, 2**32),
        ("fit-shift", flags.fit_shift[0], -50.0, 50.0),
        ("fit-shift", flags.fit_shift[1], -50.0, 50.0),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag} {value}: out of range; give a value from {low} to {high}")
