"""Turn photos with fits into views rotated in depth, in 300W-LP's format."""

import argparse
import sys
from pathlib import Path

from prnet.common.errors import UserError
from prnet.configure.config import FACE_MODEL_PATH

EPILOG = """example:
  python make_profile_views.py --zipDir downloads --outputdir views --maxyaw 90 --yawstep 10 --maxpitch 40
  python build_dataset.py --extractdir views --hdf5dir dataset --buildmode train

Yaw and pitch are those of Pose_Para. A photo within 15 degrees of the front turns to both sides, any other only away
from the front (and back by at most 15 degrees). <photo>-v00 is the photo itself, cut to the views' frame.

exit status: 0 all photos have their views, 1 photos were left out (listed), 2 nothing was written
"""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--extractdir", type=Path, metavar="DIR", help="folder of photos (.jpg) with fits (.mat)")
    source.add_argument("--zipDir", type=Path, metavar="DIR", help="folder with 300W-LP.zip, or any such zip itself")
    parser.add_argument("--outputdir", type=Path, required=True, metavar="DIR", help="where the views go")
    parser.add_argument("--maxyaw", type=float, default=90.0, help="greatest |yaw| of a view in degrees (90)")
    parser.add_argument("--yawstep", type=float, default=10.0, help="width of a bin of the yaw histogram (10)")
    parser.add_argument("--maxpitch", type=float, default=40.0, help="greatest |pitch| of a view in degrees (40)")
    parser.add_argument("--views", type=int, help="views of each photo, itself included (as an even histogram needs)")
    parser.add_argument(
        "--fitshift",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("X", "Y"),
        help="move every fit first, right and down, in per cent of its landmark box's side: for fits that all lie "
        "beside their faces",
    )
    parser.add_argument("--facemodel", type=Path, default=Path(FACE_MODEL_PATH), help=f"({FACE_MODEL_PATH})")
    parser.add_argument("--workers", type=int, help="processes (one for each core)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same views (0)")
    flags = parser.parse_args(argv)
    _check(flags)

    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.builder import find_sources
    from prnet.generating.views.files import make_view_set
    from prnet.generating.views.plan import ViewSettings
    from prnet.generating.views.relief import make_face_grid

    settings = ViewSettings(
        max_yaw=flags.maxyaw,
        yaw_step=flags.yawstep,
        max_pitch=flags.maxpitch,
        views=flags.views,
        seed=flags.seed,
    )
    given = flags.extractdir or flags.zipDir
    (source,) = find_sources(given, "train", archives=flags.zipDir is not None)
    grid = make_face_grid(load_face_model(flags.facemodel))
    subfolder = source.relative_to(given) if flags.extractdir else ""
    shift = tuple(per_cent / 100 for per_cent in flags.fitshift)
    made = make_view_set(
        source, flags.outputdir, grid, settings, subfolder=subfolder, fit_shift=shift, workers=flags.workers
    )
    for line in made.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{made.views} views of {made.photos} photos in {flags.outputdir}; {len(made.left_out)} left out")
    return int(bool(made.left_out))


def _check(flags) -> None:
    """Refuse numbers outside their ranges."""
    for flag, value, low, high in (
        ("maxyaw", flags.maxyaw, 0.0, 90.0),
        ("yawstep", flags.yawstep, 1.0, 180.0),
        ("maxpitch", flags.maxpitch, 0.0, 90.0),
        ("views", flags.views, 1, 99),
        ("workers", flags.workers, 1, 1024),
        ("seed", flags.seed, 0, 2**32),
        ("fitshift", flags.fitshift[0], -50.0, 50.0),
        ("fitshift", flags.fitshift[1], -50.0, 50.0),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag} {value}: out of range; give a value from {low} to {high}")
