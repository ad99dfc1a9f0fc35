"""Reconstruct the faces of very many photos into Parquet shards, on one core, on several, or on a Ray cluster."""

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.threads import use_one_thread
from prnet.configure.config import RUNTIMES
from prnet.reconstructing.settings import DETECTOR_HELP, DETECTORS, MODEL_PATH, NETWORK_HELP, RUNTIME_HELP

EPILOG = """examples:
  {reconstruct-many} photos --output-dir faces --workers 2
  {reconstruct-many} photos.zip --output-dir faces --cluster auto --workers 64

A run that was stopped goes on where it was: shards that are written are kept. The exit status is 1 where a photo has no
face or cannot be read; it has a row that says so. docs/scale.md describes the rows."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    parser.add_argument("source", metavar="SOURCE", help="folder, .zip archive, or .parquet list with a column path")
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="folder of the shards")
    parser.add_argument("--model", default=MODEL_PATH, metavar="FILE", help=NETWORK_HELP)
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help=RUNTIME_HELP)
    parser.add_argument("--detector", choices=DETECTORS, default="auto", help=DETECTOR_HELP)
    parser.add_argument("--mirrored", action="store_true", help="average with the mirrored photo's faces")
    parser.add_argument("--refined", action="store_true", help="reconstruct again, from the landmarks found first")
    parser.add_argument("--shard-size", type=int, default=1000, metavar="N", help="photos a shard")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes of one thread each")
    parser.add_argument("--cluster", metavar="ADDRESS", help="of a running Ray cluster; auto: this machine's")
    return parser


def main(argv=None) -> int:
    parser = make_parser()
    options = parser.parse_args(argv)
    for name in ("shard_size", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")

    use_one_thread()
    from prnet.reconstructing.many import reconstruct_many

    problems = reconstruct_many(
        options.source,
        options.output_dir,
        model=options.model,
        detector=options.detector,
        runtime=options.runtime,
        mirrored=options.mirrored,
        refined=options.refined,
        shard_size=options.shard_size,
        workers=options.workers,
        cluster=options.cluster,
    )
    say_what_to_open(options.output_dir)
    return int(problems > 0)
