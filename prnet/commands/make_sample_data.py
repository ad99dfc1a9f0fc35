"""Make sample data: a procedural face model, and rendered faces in the layout of 300W-LP and AFLW2000-3D.

Nobody is shown: every face is invented. It is for trying the software and testing it without a licence, not for
training a network that has to work on photos.
"""

import os
from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError

EXAMPLE = """example:
  {make-sample-data} --output-dir data/sample --train 600 --val 120 --seed 0

Writes face_model.hdf5, 300W-LP.zip and AFLW2000-3D.zip. Half of the training pictures are mirror images, in folders
AFW_Flip and so on. The same seed gives the same files, and a picture does not depend on how many are made."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--output-dir", "--outdir", type=Path, required=True, metavar="DIR", help="folder for the three files"
    )
    parser.add_argument("--train", type=int, default=600, metavar="N", help="pictures in 300W-LP.zip")
    parser.add_argument("--val", type=int, default=120, metavar="N", help="pictures in AFLW2000-3D.zip")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed; another seed makes other people")
    parser.add_argument(
        "--processes", "--workers", type=int, metavar="N", help="processes that render (default: one for each core)"
    )
    parser.add_argument(
        "--light",
        choices=("studio", "harmonic"),
        default="studio",
        help="key, fill and sky with shadows, or nine spherical harmonics a colour on a matt face",
    )
    parser.add_argument(
        "--truth", action="store_true", help="also each picture's albedo and light, in the archives' folder truth"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="also a contact sheet of the first pictures")
    return parser


def main(argv=None) -> None:
    flags = make_parser().parse_args(argv)
    workers = usable_cores() if flags.processes is None else flags.processes
    if min(flags.train, flags.val, flags.seed) < 0:
        raise UserError(f"--train {flags.train} --val {flags.val} --seed {flags.seed}: none may be negative")
    if workers < 1:
        raise UserError(f"--processes {workers}: at least one must render")
    if flags.sheet is not None and flags.sheet.suffix.lower() != ".png":
        raise UserError(f"{flags.sheet}: the contact sheet is a PNG; give a name that ends in .png")
    if flags.sheet is not None and flags.train + flags.val == 0:
        raise UserError(f"{flags.sheet}: a contact sheet needs pictures; give --train or --val above 0")

    from tqdm import tqdm

    from prnet.generating.samples.archives import Studio, make_sample_data, write_contact_sheet

    def progress(pairs, name, total):
        return tqdm(pairs, desc=name, total=total, unit="face")

    studio = Studio(harmonic=flags.light == "harmonic", truth=flags.truth)
    written = make_sample_data(flags.output_dir, flags.train, flags.val, flags.seed, workers, studio, progress)
    if flags.sheet is not None:
        written.append(write_contact_sheet(flags.output_dir, flags.sheet))
    for path in written:
        print(f"{path}: {path.stat().st_size:,} bytes")
    print("These faces are synthetic: they try and test the software, but train no network for real photos.")
    say_what_to_open(written[-1])


def usable_cores() -> int:
    """Cores that this process may use, 8 at most."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
