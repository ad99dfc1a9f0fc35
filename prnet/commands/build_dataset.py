"""Pack 300W-LP or AFLW2000-3D, zip archives or extracted folders, into train.hdf5 or val.hdf5."""

import sys
from pathlib import Path

from prnet.commands.flags import Parser, at_least_one, say_what_to_open
from prnet.commands.terminal import in_flags
from prnet.configure.config import CROPS, FACE_MODEL_PATH, VALIDATION_SHARE

EPILOG = """examples:
  {build-dataset} --zip-dir downloads --hdf5-dir data --build-mode train
  {build-dataset} --extract-dir downloads --hdf5-dir data --build-mode val --data-mode 5
  {build-dataset} --extract-dir photos --landmarks labels.hdf5 --hdf5-dir data --build-mode train --skin

train reads 300W-LP.zip (or the folder 300W_LP) and marks 5 % of its photos for validation; val reads AFLW2000-3D.zip
(or the folder AFLW2000).

data modes, images x labels:
  0 uint8 x float32 maps       1 float32 x float32 maps    2 float64 x float64 maps    3 float32 x float16 maps
  4 photos as they are x float16 maps                      5 photos as they are x fit parameters (smallest)
0 to 3 store crops of 256 x 256. With --landmarks (files as of {fit-photos}) any photos will do, fits are not read, and
the file holds photos and landmarks alone (data mode 6), which --recipe weak learns from.

exit status: 0 all pairs are in the file, 1 the file is complete but files were left out (listed), 2 nothing was written
"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--zip-dir", "--zipDir", metavar="DIR", help="folder of the downloaded zip archives, read in place"
    )
    source.add_argument("--extract-dir", "--extractdir", metavar="DIR", help="folder of the extracted archives")
    parser.add_argument("--hdf5-dir", "--hdf5dir", metavar="DIR", required=True, help="where the file is written")
    parser.add_argument(
        "--build-mode", "--buildmode", choices=("train", "val"), required=True, help="train.hdf5 or val.hdf5"
    )
    parser.add_argument(
        "--data-mode", "--datamode", type=int, choices=range(6), help="what is stored, of the modes below (default: 5)"
    )
    parser.add_argument(
        "--landmarks",
        nargs="+",
        metavar="FILE",
        help="landmarks68 of photos without fits: .npz, HDF5, .pts or a folder",
    )
    parser.add_argument(
        "--crop", choices=CROPS, default=CROPS[0], help="crops by the landmarks' box, or by five points as Deep3D"
    )
    parser.add_argument("--face-model", "--facemodel", metavar="FILE", default=FACE_MODEL_PATH, help="face model")
    parser.add_argument("--batch", type=at_least_one, default=200, metavar="N", help="pairs read and verified at once")
    parser.add_argument(
        "--buffer-size",
        "--bufsize",
        type=at_least_one,
        default=1000,
        metavar="N",
        help="samples buffered before a write",
    )
    parser.add_argument("--workers", type=at_least_one, metavar="N", help="threads (default: one for each core)")
    parser.add_argument(
        "--extend-data",
        "--extenddata",
        action="store_true",
        help="train on AFLW2000_augment (zip or folder) too, if present; it contains photos of the test set",
    )
    parser.add_argument(
        "--skin",
        action="store_true",
        help="also how surely each pixel is skin, which --recipe weak learns from, and a picture of it",
    )
    parser.add_argument("--no-flips", action="store_true", help="leave out the mirrored photos (*_Flip)")
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="expression scores of the photos (blendshapes of an .npz or HDF5 file), for what a mesh cannot show",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older file of the same name")
    return parser


def write_skin_sheet(data: Path, picture: Path) -> None:
    """Draw the skin of the first photos of a data set; where to look is said."""
    from prnet.common.files import atomic_write
    from prnet.formats.encoding import encode_png
    from prnet.generating.dataset import open_dataset
    from prnet.generating.skin import skin_sheet

    with open_dataset(data) as dataset, atomic_write(picture) as partial:
        partial.write_bytes(encode_png(skin_sheet((dataset.image(n), dataset.skin(n)) for n in range(len(dataset)))))
    print(f"{picture}: photos, how surely each pixel is skin, and what counts")


def main(argv=None) -> int:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.extend_data and arguments.build_mode == "val":
        parser.error("--extend-data adds training data; leave it out with --build-mode val")
    if arguments.landmarks and arguments.data_mode is not None:
        parser.error("--landmarks makes data mode 6; leave --data-mode out")
    from prnet.fitting.landmark_sources import IbugLandmarks
    from prnet.formats.face_model_file import load_face_model
    from prnet.formats.score_files import read_scores
    from prnet.generating.builder import build_dataset, describe, find_sources

    training = arguments.build_mode == "train"
    sources = find_sources(
        arguments.zip_dir or arguments.extract_dir,
        arguments.build_mode,
        archives=arguments.zip_dir is not None,
        extended=arguments.extend_data,
    )
    if arguments.extend_data and len(sources) == 1:
        print("no AFLW2000_augment there: no data are added", file=sys.stderr)
    path = Path(arguments.hdf5_dir) / f"{arguments.build_mode}.hdf5"
    report = build_dataset(
        sources,
        path,
        load_face_model(arguments.face_model),
        data_mode=5 if arguments.data_mode is None else arguments.data_mode,
        flips=not arguments.no_flips,
        skin=arguments.skin,
        crop=arguments.crop,
        batch=arguments.batch,
        buffer=arguments.buffer_size,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
        scores=read_scores(arguments.scores) if arguments.scores else None,
        validation_share=VALIDATION_SHARE if training else 0.0,
        landmarks=IbugLandmarks(arguments.landmarks) if arguments.landmarks else None,
    )
    print(in_flags(describe(report)))
    for line in report.left_out:
        print(f"left out: {in_flags(line)}", file=sys.stderr)
    if arguments.skin:
        write_skin_sheet(path, path.with_name(f"{path.stem}_skin.png"))
    say_what_to_open(path)
    return 1 if report.left_out else 0
