"""Reconstruct faces in photos and videos: landmarks, pose, mesh, position map and pictures."""

import logging
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.configure.config import CROPS, FACE_MODEL_PATH, RUNTIMES
from prnet.reconstructing.settings import (
    DETECTOR_HELP,
    DETECTORS,
    FILTER_HELP,
    MODEL_PATH,
    NETWORK_HELP,
    OVERLAYS,
    RUNTIME_HELP,
    UNITS,
    OutputSettings,
)

FOR_PHOTOS = ("mat", "frontal", "texture", "masked_texture", "units", "together", "csv", "pictures")
FOR_VIDEOS = ("overlay", "smooth", "look_ahead", "start", "end")

logger = logging.getLogger(__name__)

EPILOG = """examples:
  {reconstruct} photo.jpg --output-dir output/faces
  {reconstruct} a.jpg b.jpg photos --model output/best.keras --mat --frontal
  {reconstruct} clip.mp4 --overlay mesh --smooth

The exit status is 1 where an input failed; the others are done all the same.
docs/reconstruction.md says what is in each file and which way the axes point."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="photos, videos, and folders of them")
    parser.add_argument("--image", metavar="INPUT", help="one more input")
    parser.add_argument("--model", default=MODEL_PATH, metavar="FILE", help=NETWORK_HELP)
    parser.add_argument(
        "--output-dir", "--outputdir", default="output/faces", metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an input of the same name in another folder came to"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help=RUNTIME_HELP)
    parser.add_argument("--detector", choices=DETECTORS, default="auto", help=DETECTOR_HELP)
    parser.add_argument(
        "--mirrored", action="store_true", help="average with the mirrored photo's faces: less error, twice the time"
    )
    parser.add_argument(
        "--refined",
        action="store_true",
        help="reconstruct detected faces again, from the landmarks found first: less error, twice the network's time",
    )
    parser.add_argument("--no-surface-filter", action="store_true", help=FILTER_HELP)
    parser.add_argument(
        "--crop",
        choices=CROPS,
        default=CROPS[0],
        help="five-points: for networks trained on such crops, of faces detected as with --refined, or of --landmarks",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--bbox",
        nargs=4,
        type=float,
        metavar=("X", "Y", "W", "H"),
        help="the face's box, from the middle of the forehead to the chin, as MTCNN draws it",
    )
    place.add_argument("--landmarks", metavar="FILE", help="68 landmarks, .txt or .npy: rows of x y, 0-based pixels")
    place.add_argument("--fit", metavar="FILE", help="a fit in 300W-LP's format, .mat")
    parser.add_argument(
        "--face-model", "--facemodel", default=FACE_MODEL_PATH, metavar="FILE", help="for a --fit without pt3d_68"
    )
    parser.add_argument("--mat", action="store_true", help="also write the mesh for MATLAB")
    parser.add_argument("--frontal", action="store_true", help="also write the meshes in frontal pose")
    parser.add_argument(
        "--texture",
        type=int,
        metavar="SIDE",
        help="side of the UV texture in pixels, a power of two (default: 1024, for large faces 2048)",
    )
    parser.add_argument("--masked-texture", action="store_true", help="also write the texture cut to what was seen")
    parser.add_argument(
        "--units",
        choices=UNITS,
        default="metres",
        help="units of .glb files: metres (upright and centred) or pixels (as in the photo)",
    )
    parser.add_argument(
        "--together", action="store_true", help="also write one .glb and one .ply with all faces of the photo"
    )
    parser.add_argument("--csv", action="store_true", help="also write landmarks and vertices as tables")
    parser.add_argument(
        "--pictures",
        nargs="+",
        choices=OVERLAYS,
        default=(),
        metavar="KIND",
        help=f"also draw over each photo, of {', '.join(OVERLAYS)}",
    )
    parser.add_argument("--overlay", choices=OVERLAYS, default="landmarks", help="what is drawn over a video")
    smoothing = parser.add_mutually_exclusive_group()
    smoothing.add_argument("--smooth", action="store_true", help="filter a video's faces against jitter (one-euro)")
    smoothing.add_argument("--look-ahead", action="store_true", help="smooth them over the frames before and after")
    parser.add_argument("--start", type=float, default=0.0, metavar="SECONDS", help="where in a video to begin")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="where in a video to stop")
    return parser


def main(argv=None) -> int:
    parser = make_parser()
    options = parser.parse_intermixed_args(argv)
    named = [*options.inputs, *([options.image] if options.image else [])]
    if not named:
        parser.error("name a photo, a video or a folder of them")

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is loaded: more spin for longer than they help
    from prnet.reconstructing.outputs import find_inputs, output_stems, reconstruct_inputs, require_texture_size
    from prnet.reconstructing.places import known_boxes
    from prnet.reconstructing.reconstructor import FaceReconstructor

    require_texture_size(options.texture)
    inputs = [path for name in named for path in find_inputs(name)]
    _warn_of_flags_in_vain(parser, options, inputs)
    boxes = known_boxes(options.bbox, options.landmarks, options.fit, options.face_model, inputs, options.crop)
    settings = OutputSettings(
        mat=options.mat,
        frontal=options.frontal,
        texture_size=options.texture,
        masked=options.masked_texture,
        units=options.units,
        together=options.together,
        csv=options.csv,
        pictures=tuple(options.pictures),
        overlay=options.overlay,
        smooth=options.smooth,
        look_ahead=options.look_ahead,
        start=options.start,
        end=options.end,
        overwrite=options.overwrite,
    )
    failed = reconstruct_inputs(
        FaceReconstructor(
            options.model,
            options.detector,
            mirrored=options.mirrored,
            refined=options.refined,
            surface_filter=not options.no_surface_filter,
            crop=options.crop,
            runtime=options.runtime,
        ),
        inputs,
        options.output_dir,
        settings,
        boxes=boxes,
    )
    pictures = (
        Path(options.output_dir, f"{stem}_{ending}")
        for path, stem in zip(inputs, output_stems(inputs), strict=True)
        if path not in failed  # what an earlier run wrote of it may still be there
        for ending in ("face0_sheet.png", f"{options.overlay}.mp4")
    )
    first = next((path for path in pictures if path.is_file()), None)
    if first is not None:
        say_what_to_open(first)
    return int(bool(failed))


def _warn_of_flags_in_vain(parser: Parser, options: Namespace, inputs: Sequence[Path]) -> None:
    """Log what was asked for of photos where all inputs are videos, and the other way round."""
    from prnet.reconstructing.video_files import VIDEO_SUFFIXES

    videos = {path.suffix.lower() in VIDEO_SUFFIXES for path in inputs}
    for kind, names, has_input in (("photo", FOR_PHOTOS, False in videos), ("video", FOR_VIDEOS, True in videos)):
        given = [name for name in names if getattr(options, name) != parser.get_default(name)]
        if given and not has_input:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            logger.warning(f"{flags}: no input is a {kind}; nothing comes of it")
