"""Measure predicted meshes against scans, in millimetres: NoW's and MICC's protocols, and non-rigid alignment."""

from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError, printable

EPILOG = """examples:
  {evaluate-scans} --scans NoW --predictions meshes --output-dir scans
  {evaluate-scans} --scans NoW --predictions meshes --protocol non-rigid --output-dir scans
  {evaluate-scans} --scans NoW --predictions meshes --metric --unit m --output-dir scans

NoW's file layout: SCANS/imagepaths*.txt (SUBJECT/CHALLENGE/IMAGE.jpg a line), SCANS/scans/SUBJECT/*.obj in mm,
SCANS/scans_lmks_onlypp/SUBJECT/*.pp; PREDICTIONS/SUBJECT/CHALLENGE/IMAGE.obj and IMAGE.npy or .txt, its landmarks:
eye corners from the face's right to its left, bottom of the nose, right and left corner of the mouth; or all 68.

exit status: 0 every image was measured, 1 some are missing (listed in scans.md), 2 nothing was done
"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    parser.add_argument("--scans", type=Path, required=True, metavar="DIR", help="scans with landmarks, in mm")
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR", help="predicted meshes with landmarks"
    )
    parser.add_argument("--image-list", type=Path, metavar="FILE", help="(default: imagepaths*.txt of --scans)")
    parser.add_argument("--protocol", choices=("now", "micc", "non-rigid"), default="now", help="what is compared how")
    parser.add_argument("--metric", action="store_true", help="no scale in any alignment: sizes have to be right")
    parser.add_argument(
        "--unit", choices=("mm", "cm", "m"), help="of the predictions, needed with --metric, without effect elsewhere"
    )
    parser.add_argument("--name", help="what the tables call the method (default: its folder's name)")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", default=Path("scans"), help="folder of the tables")
    return parser


def main(argv=None) -> int:
    arguments = make_parser().parse_args(argv)
    if arguments.metric and arguments.unit is None:
        raise UserError("--metric: sizes count, so say what the predictions are in: --unit mm, cm or m")
    if arguments.unit is not None and not arguments.metric:
        raise UserError("--unit: without --metric the scale is fitted and a unit changes nothing; leave it out")

    from tqdm import tqdm

    from prnet.common.locks import exclusive_lock
    from prnet.evaluating.scan_protocols import SCAN_PROTOCOLS
    from prnet.evaluating.scans import FILES, measure_scans, summarise_scans, write_scan_report
    from prnet.formats.scan_files import find_image_list, read_image_list

    images = read_image_list(arguments.image_list or find_image_list(arguments.scans))
    protocol, unit = SCAN_PROTOCOLS[arguments.protocol], arguments.unit or "mm"
    folder, name = arguments.output_dir, printable(arguments.name or arguments.predictions.resolve().name)
    refusal = f"{folder}: another evaluation writes to it; wait until it has ended, or choose another place"
    with exclusive_lock(folder / ".evaluation.lock", refusal):
        with tqdm(total=len(images), unit="image", desc="measuring") as bar:
            results = measure_scans(
                arguments.scans,
                arguments.predictions,
                images,
                protocol,
                metric=arguments.metric,
                unit=unit,
                progress=lambda _: bar.update(),
            )
        if all(result.problem for result in results):
            raise UserError(f"none of {len(results)} images could be measured; the first: {results[0].problem}")
        print(write_scan_report(folder, name, results, protocol, arguments.metric, unit))
    say_what_to_open(folder / FILES[0])
    return int(summarise_scans(results).missing > 0)
