"""Turn photos with fits into views rotated in depth, in 300W-LP's format."""

import argparse
import sys
from pathlib import Path

from common.errors import UserError, run_script
from configure.config import FACE_MODEL_PATH

EXAMPLE = """example:
  python make_profile_views.py --zipDir 300W-LP.zip --outputdir views --maxyaw 90 --yawstep 10 --maxpitch 40
  python build_dataset.py --extractdir views --outputdir dataset"""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--extractdir", type=Path, metavar="DIR", help="folder of photos (.jpg) with fits (.mat)")
    source.add_argument("--zipDir", type=Path, metavar="FILE", help="the same in a zip, read without extracting it")
    parser.add_argument("--outputdir", type=Path, required=True, metavar="DIR", help="where the views go")
    parser.add_argument("--maxyaw", type=float, default=90.0, help="greatest |yaw| of a view in degrees (90)")
    parser.add_argument("--yawstep", type=float, default=10.0, help="width of a bin of the yaw histogram (10)")
    parser.add_argument("--maxpitch", type=float, default=40.0, help="greatest |pitch| of a view in degrees (40)")
    parser.add_argument("--views", type=int, help="views of each photo, itself included (as an even histogram needs)")
    parser.add_argument("--facemodel", type=Path, default=Path(FACE_MODEL_PATH), help=f"({FACE_MODEL_PATH})")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same views (0)")
    flags = parser.parse_args(argv)
    _check(flags)

    from generating.face_model_file import load_face_model
    from generating.profiling import make_face_grid
    from generating.view_files import make_view_set
    from generating.view_plan import ViewSettings

    settings = ViewSettings(
        max_yaw=flags.maxyaw,
        yaw_step=flags.yawstep,
        max_pitch=flags.maxpitch,
        views=flags.views,
        seed=flags.seed,
    )
    grid = make_face_grid(load_face_model(flags.facemodel))
    made = make_view_set(flags.extractdir or flags.zipDir, flags.outputdir, grid, settings, workers=flags.workers)
    for line in made.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{made.views} views of {made.photos} photos in {flags.outputdir}; {len(made.left_out)} left out")


def _check(flags) -> None:
    """Refuse numbers outside their ranges."""
    for flag, value, low, high in (
        ("maxyaw", flags.maxyaw, 0.0, 90.0),
        ("yawstep", flags.yawstep, 1.0, 180.0),
        ("maxpitch", flags.maxpitch, 0.0, 90.0),
        ("views", flags.views, 1, 100),
        ("workers", flags.workers, 1, 1024),
        ("seed", flags.seed, 0, 2**32),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"--{flag} {value}: out of range; give a value from {low} to {high}")


if __name__ == "__main__":
    run_script(main)
