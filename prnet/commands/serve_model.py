"""Serve a network over HTTP: a page for people and an API for programs."""

from prnet.commands.flags import Parser, at_least_one
from prnet.configure.config import FACE_MODEL_PATH, RUNS_PATH, RUNTIMES, SERVER_HOST, SERVER_PORT
from prnet.reconstructing.settings import DETECTOR_HELP, DETECTORS, FILTER_HELP, MODEL_PATH, NETWORK_HELP, RUNTIME_HELP

EXAMPLE = """example:
  {serve} --model output/best.keras
  curl -F photo=@face.jpg 'http://127.0.0.1:20000/v1/reconstructions?format=glb' -o face.glb
"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EXAMPLE)
    parser.add_argument("-m", "--model", default=MODEL_PATH, metavar="FILE", help=NETWORK_HELP)
    parser.add_argument("--host", default=SERVER_HOST, help="address to listen on (default: %(default)s, this machine)")
    parser.add_argument("--port", type=int, default=SERVER_PORT, help="port; 0 picks a free one")
    parser.add_argument(
        "--face-model", "--facemodel", default=FACE_MODEL_PATH, metavar="FILE", help="face model for /extract and fits"
    )
    parser.add_argument("--detector", choices=DETECTORS, default=DETECTORS[0], help=DETECTOR_HELP)
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0], help=RUNTIME_HELP)
    parser.add_argument(
        "--mirrored", action="store_true", help="average with the mirrored photo's faces: less error, twice the time"
    )
    parser.add_argument("--no-surface-filter", action="store_true", help=FILTER_HELP)
    parser.add_argument(
        "--batch-size",
        "--batchsize",
        type=at_least_one,
        default=8,
        metavar="N",
        help="largest batch of the network",
    )
    parser.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further host names that the server accepts, such as a proxy's; addresses, localhost and the machine's own"
        " name always work",
    )
    parser.add_argument(
        "--allow-origin",
        nargs="+",
        default=[],
        metavar="ORIGIN",
        help="other sites whose pages may use the server, such as https://example.org",
    )
    parser.add_argument(
        "--runs", default=RUNS_PATH, metavar="FILE", help="file that keeps the page of runs over a restart; '' for none"
    )
    return parser


def main(argv=None) -> None:
    options = make_parser().parse_args(argv)
    from prnet.serving.server import Serving, serve

    serve(
        Serving(
            model=options.model,
            host=options.host,
            port=options.port,
            face_model=options.face_model,
            detector=options.detector,
            runtime=options.runtime,
            mirrored=options.mirrored,
            surface_filter=not options.no_surface_filter,
            batch_size=options.batch_size,
            allowed_hosts=tuple(options.allow_host),
            allowed_origins=tuple(options.allow_origin),
            runs=options.runs,
        )
    )
