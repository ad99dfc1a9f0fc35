"""Pack 300W-LP or AFLW2000-3D, zip archives or extracted folders, into train.hdf5 or val.hdf5."""

import argparse
import sys
from pathlib import Path

from prnet.configure.config import FACE_MODEL_PATH

EPILOG = """examples:
  python build_dataset.py --zipDir downloads --hdf5dir data --buildmode train
  python build_dataset.py --extractdir downloads --hdf5dir data --buildmode val --datamode 5

train reads 300W-LP.zip (or the folder 300W_LP) and marks 5 % of its photos for validation; val reads AFLW2000-3D.zip
(or the folder AFLW2000).

data modes, images x labels:
  0 uint8 x float32 maps       1 float32 x float32 maps    2 float64 x float64 maps    3 float32 x float16 maps
  4 photos as they are x float16 maps                      5 photos as they are x fit parameters (smallest)
0 to 3 store crops of 256 x 256.

exit status: 0 all pairs are in the file, 1 the file is complete but files were left out (listed), 2 nothing was written
"""


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--zipDir", metavar="DIR", help="folder of the downloaded zip archives, read in place")
    source.add_argument("--extractdir", metavar="DIR", help="folder of the extracted archives")
    parser.add_argument("--hdf5dir", metavar="DIR", required=True, help="where train.hdf5 or val.hdf5 is written")
    parser.add_argument("--buildmode", choices=("train", "val"), required=True)
    parser.add_argument("--datamode", type=int, choices=range(6), default=5, help="what is stored (default: 5)")
    parser.add_argument("--facemodel", metavar="FILE", default=FACE_MODEL_PATH, help="default: %(default)s")
    parser.add_argument("--batch", type=_positive, default=200, help="pairs read and verified at once (default: 200)")
    parser.add_argument("--bufsize", type=_positive, default=1000, help="samples held before a write (default: 1000)")
    parser.add_argument("--workers", type=_positive, help="threads (default: one for each core)")
    parser.add_argument(
        "--extenddata",
        action="store_true",
        help="train also on AFLW2000_augment (zip or folder) where there is one; it shows photos of the test set",
    )
    parser.add_argument("--no-flips", action="store_true", help="leave the mirrored photos (*_Flip) out")
    parser.add_argument("--overwrite", action="store_true", help="replace an older file of the same name")
    arguments = parser.parse_args(argv)
    if arguments.extenddata and arguments.buildmode == "val":
        parser.error("--extenddata adds training data; leave it out with --buildmode val")
    return arguments


def main(argv=None) -> int:
    arguments = parse_arguments(argv)
    from prnet.formats.face_model_file import load_face_model
    from prnet.generating.builder import build_dataset, describe, find_sources

    training = arguments.buildmode == "train"
    sources = find_sources(
        arguments.zipDir or arguments.extractdir,
        arguments.buildmode,
        archives=arguments.zipDir is not None,
        extended=arguments.extenddata,
    )
    if arguments.extenddata and len(sources) == 1:
        print("no AFLW2000_augment there: no data are added", file=sys.stderr)
    report = build_dataset(
        sources,
        Path(arguments.hdf5dir) / f"{arguments.buildmode}.hdf5",
        load_face_model(arguments.facemodel),
        data_mode=arguments.datamode,
        flips=not arguments.no_flips,
        batch=arguments.batch,
        buffer=arguments.bufsize,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
        **({} if training else {"validation_share": 0.0}),
    )
    print(describe(report))
    for line in report.left_out:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if report.left_out else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
