"""Put features of one face on another: its texture, its expressions, a drawn layer, or part of the way to it."""

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError
from prnet.reconstructing.settings import DETECTOR_HELP, DETECTORS, MODEL_PATH, NETWORK_HELP, PARTS

EPILOG = """examples:
  {swap-faces} --from a.jpg --to b.jpg                  a's face on b's, in photo b
  {swap-faces} --from a.jpg --to clip.mp4 --part eyes   a's eyes and brows, in a video
  {swap-faces} --from a.jpg --to b.jpg --expressions    b makes the face that a makes
  {swap-faces} --from a.jpg --to b.jpg --morph 0.5      half way from b to a
  {swap-faces} --layer paint.png --to b.jpg             a drawn layer in the form of _texture.png

Results are synthetic, and say so in their metadata, on the sheet and in every frame of a video. Ask the people whom
you show. docs/reconstruction.md says more."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--from", metavar="PHOTO", help="whose features; the largest face counts")
    source.add_argument("--layer", metavar="FILE", help="a square RGBA picture over the UV square")
    parser.add_argument("--to", required=True, metavar="INPUT", help="photo or video whose faces change")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--part", choices=PARTS, help="of the face that is put on the other (default: face)")
    kind.add_argument("--expressions", action="store_true", help="only the expressions; needs a morphnet")
    kind.add_argument("--morph", type=float, metavar="AMOUNT", help="shape and texture, 0 to 1; needs a morphnet")
    parser.add_argument("--start", type=float, default=0.0, metavar="SECONDS", help="of a video to begin at")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="of a video to end before")
    parser.add_argument("--model", default=MODEL_PATH, metavar="FILE", help=NETWORK_HELP)
    parser.add_argument("--detector", choices=DETECTORS, default="auto", help=DETECTOR_HELP)
    parser.add_argument("--output-dir", default="output/swapped", metavar="DIR", help="folder for the results")
    return parser


def main(argv=None) -> None:
    options = make_parser().parse_args(argv)

    from prnet.reconstructing.reconstructor import FaceReconstructor
    from prnet.reconstructing.swapping import swap_input

    reconstructor = FaceReconstructor(options.model, options.detector)
    swap = _swap(options, reconstructor)
    shown = swap_input(reconstructor, swap, options.to, options.output_dir, options.start, options.end)
    say_what_to_open(shown)


def _swap(options, reconstructor):
    from prnet.reconstructing.swapping import expression_swap, face_of, layer_swap, morph_swap, texture_swap

    if options.layer is not None:
        for flag in ("part", "expressions", "morph"):
            if getattr(options, flag):
                raise UserError(f"--{flag}: is of another face, --from; leave it out beside --layer")
        return layer_swap(options.layer)
    path = getattr(options, "from")
    source = face_of(reconstructor, path)
    if options.expressions:
        return expression_swap(source, path)
    if options.morph is not None:
        return morph_swap(source, path, options.morph)
    return texture_swap(source, path, options.part or "face")
