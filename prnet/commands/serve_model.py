"""Serve a network over HTTP: photos in, faces out, with a page for people and an API for programs."""

import argparse

from prnet.configure.config import FACE_MODEL_PATH, SERVER_HOST, SERVER_PORT
from prnet.reconstructing.settings import DETECTORS, MODEL_PATH

EXAMPLE = """example:
  python serve_model.py --model output/best.keras
  curl -F photo=@face.jpg 'http://127.0.0.1:20000/v1/reconstructions?format=glb' -o face.glb
"""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default=MODEL_PATH, metavar="FILE", help=f"a .keras file ({MODEL_PATH})")
    parser.add_argument("--host", default=SERVER_HOST, help=f"address to listen on ({SERVER_HOST}: this machine only)")
    parser.add_argument("--port", type=int, default=SERVER_PORT, help=f"port ({SERVER_PORT}); 0 takes a free one")
    parser.add_argument(
        "--facemodel", default=FACE_MODEL_PATH, metavar="FILE", help=f"for /extract and fits ({FACE_MODEL_PATH})"
    )
    parser.add_argument("--detector", choices=DETECTORS, default=DETECTORS[0], help="none: the whole photo is a face")
    parser.add_argument(
        "--mirrored", action="store_true", help="the mean with the mirrored photo's faces: less error, twice the time"
    )
    parser.add_argument("--batchsize", type=int, default=8, help="most crops that the network takes at once (8)")
    options = parser.parse_args(argv)

    from prnet.serving.server import Serving, serve

    serve(
        Serving(
            model=options.model,
            host=options.host,
            port=options.port,
            face_model=options.facemodel,
            detector=options.detector,
            mirrored=options.mirrored,
            batch_size=options.batchsize,
        )
    )
