"""Export a network as a small .keras file, SavedModel, LiteRT or ONNX; import weights that others published."""

from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError
from prnet.common.quiet import start_keras
from prnet.configure.config import SHIPPED_NETWORKS, TARGET_SCALE
from prnet.reconstructing.settings import EXPORT_FORMATS, MODEL_PATH, NETWORK_HELP, QUANTIZATIONS

EPILOG = """examples:
  {export} --model output/best.keras --format onnx --output prnet.onnx
  {export} --format litert --quantize int8 --images train.hdf5 --output lprnet_int8.tflite
  {export} --model output/best.keras --format keras --images train.hdf5 --output lprnet.keras
  {export} --format keras --output lprnet-hub     # a folder to upload to Hugging Face's hub
  {export} --format savedmodel --output serving/prnet/1
  {export} --format web --output site             # the page, for any file host; faces are found in the browser
  {export} --saved-model lprnet_128 --target-scale 1 --uv-data uv-data --output lprnet      # L-PRNet's
  {export} --from-prnet-checkpoint 256_256_resfcn256_weight --uv-data uv-data --output prnet.keras
  {export} --from-face-api package/model --output recognition.keras     # for prnet train --recognition

The exported file is run in its own runtime and compared with the network, on --images or on a portrait that comes
with scikit-image. Exported networks take crops in 0 to 1 and return position maps / (image size x 1.1).

A .keras file is written with 16-bit weights. With a data set as --images its canonical face, which poses are measured
from, becomes the mean of the network's own predictions on frontal photos: nothing of the face model's mean is in it."""


def make_parser() -> Parser:
    parser = Parser(__doc__, EPILOG)
    parser.add_argument("--model", default=MODEL_PATH, metavar="FILE", help=NETWORK_HELP)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument(
        "--format", choices=(*EXPORT_FORMATS, "web"), help="format; web: the page itself, a folder for any file host"
    )
    task.add_argument("--from-prnet-checkpoint", metavar="PREFIX", help="published checkpoint, without .index")
    task.add_argument(
        "--from-face-api",
        metavar="DIR",
        help="folder `model` of the npm package @vladmandic/face-api: face recognition",
    )
    task.add_argument("--saved-model", metavar="FOLDER", help="SavedModel of another project, of PRNet's UV layout")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, help="for LiteRT files; int8 for ONNX too")
    parser.add_argument("--images", help="training images, a data set or a folder (int8, keras, the check)")
    parser.add_argument(
        "--uv-data", metavar="DIR", help="PRNet's folder uv-data, for --from-prnet-checkpoint and --saved-model"
    )
    parser.add_argument(
        "--target-scale",
        type=float,
        default=TARGET_SCALE,
        metavar="FACTOR",
        help="what the maps of --saved-model were divided by, over the crop's side; of L-PRNet 1",
    )
    parser.add_argument(
        "--output", help="file (.tflite, .onnx, .keras) or folder to write (default for onnx: beside the network)"
    )
    return parser


def output_beside(options) -> str:
    """Where ONNX files are looked for."""
    if options.format != "onnx" or options.quantize or options.model.startswith("hf://"):
        raise UserError("--output: says where to write; give it")
    return str(Path(SHIPPED_NETWORKS.get(options.model, options.model)).with_suffix(".onnx"))


def main(argv=None) -> None:
    options = make_parser().parse_args(argv)
    for flag in ("quantize", "images"):
        if getattr(options, flag) and options.format is None:
            raise UserError(f"--{flag}: belongs to --format; leave it out")
    options.output = options.output or output_beside(options)
    start_keras()
    if options.from_prnet_checkpoint:
        convert_checkpoint(options.from_prnet_checkpoint, options.uv_data, options.output)
    elif options.from_face_api:
        convert_face_api(options.from_face_api, options.output)
    elif options.saved_model:
        adopt(options.saved_model, options.uv_data, options.output, options.target_scale)
    else:
        export_and_check(options.model, options.format, options.quantize, options.images, options.output)
    say_what_to_open(Path(options.output, "index.html") if options.format == "web" else options.output)


def convert_checkpoint(checkpoint, uv_data, output) -> None:
    from prnet.exporting.prnet_checkpoint import import_prnet
    from prnet.model.saved_network import save_network

    if uv_data is None:
        raise UserError("--from-prnet-checkpoint: needs PRNet's folder uv-data too; give it by --uv-data")
    require_keras_name(output)
    network, layout = import_prnet(checkpoint, uv_data)
    save_network(network, layout, output)
    print(f"{output}: {network.count_params():,} parameters of {checkpoint}")


def convert_face_api(folder, output) -> None:
    from prnet.common.files import atomic_write
    from prnet.exporting.face_api import import_face_api

    require_keras_name(output)
    network = import_face_api(folder)
    with atomic_write(output) as path:
        network.save(path)
    print(f"{output}: {network.count_params():,} parameters of {folder}")


def require_keras_name(output) -> None:
    if not str(output).endswith(".keras"):
        raise UserError(f"{output}: the network's name must end with .keras")


def adopt(saved_model, uv_data, output, target_scale) -> None:
    from prnet.exporting.saved_models import adopt_saved_model

    if uv_data is None:
        raise UserError("--saved-model: needs PRNet's folder uv-data too; give it by --uv-data")
    adopt_saved_model(saved_model, uv_data, output, target_scale)
    print(f"{output}: {saved_model} with PRNet's UV layout, for --model")


def export_and_check(model, form, quantize, images, output) -> None:
    from prnet.exporting.export import differences, export_network, read_crops
    from prnet.model.networks import network_image_size
    from prnet.model.saved_network import fetch_network, load_network

    if quantize == "int8" and images is None:
        raise UserError("--quantize int8: needs training images to measure ranges on; give them by --images")
    network, layout = load_network(model)
    if form == "keras" and images is not None and not Path(images).is_dir():
        layout = own_layout(layout, network, images)
    crops = read_crops(images, network_image_size(network))
    if form == "web":
        path, checked, form = write_web(network, layout, output, quantize)
    else:
        source = fetch_network(model)
        path = checked = export_network(network, layout, output, form, quantize=quantize, crops=crops, source=source)
    largest, mean = differences(network, checked, form, crops)
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    print(f"{path}: {size / 1e6:.1f} MB; from the network at most {largest:.3g} crop pixels, {mean:.2g} on average")


def write_web(network, layout, output, quantize):
    """The folder of the page, and the network in it with the name of its format."""
    from prnet.exporting.web import NETWORK
    from prnet.serving.site import write_site

    if quantize:
        raise UserError(f"--quantize {quantize}: only for the format litert, not web")
    folder = write_site(network, layout, output)
    return folder, folder / "live" / NETWORK, "onnx"


def own_layout(layout, network, images):
    from prnet.exporting.canonical import with_own_canonical_map
    from prnet.generating.dataset import open_dataset

    with open_dataset(images) as dataset:
        return with_own_canonical_map(layout, network, dataset)
