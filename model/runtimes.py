"""A network ready to be called, by Keras, by ONNX Runtime or, an old one, as TensorFlow's SavedModel: photos, server
and videos know no other.

An exported `.onnx` file carries all that `prnet.reconstructing` needs of a network, so that with it neither Keras nor
TensorFlow is imported.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.errors import UserError
from prnet.common.quiet import start_keras, without_remarks
from prnet.configure.config import RUNTIMES, SHIPPED_NETWORKS, TARGET_SCALE
from prnet.configure.programs import command
from prnet.formats.layout_file import layout_bytes, parse_layout
from prnet.geometry.uv_layout import UVLayout
from prnet.model.parameters import FaceParameters, FaceShapes, ParameterNames, face_shapes, read_parameters

logger = logging.getLogger(__name__)

LAYOUT, NAMES, SOURCE = "prnet.uv_layout", "prnet.parameters", "prnet.network"
"""Metadata of an `.onnx` file: the UV layout as an .npz file in base64, the names of the parameters, and `file_hash`
of the network that it was exported from."""

DECODER = ("decoder_kernel", "decoder_mean", "decoder_texels")
"""Outputs of the `.onnx` file of a morphable network that are the same for every crop: (K, 3 n), (3 n,), (S * S,)."""

MAX_ONNX_BYTES = 1 << 29

SAVED_GRAPH, SAVED_LAYOUT, SAVED_SCALE = "saved_model.pb", "assets.extra/uv_layout.npz", "assets.extra/target_scale.txt"
"""Entries of a SavedModel's folder: its graph, what the texels of its maps mean, and what its maps were divided by over
the crop's side, where that is not `TARGET_SCALE`."""

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Where ONNX Runtime may run a network, the first that it has."""


@dataclass(frozen=True)
class Runtime:
    """An open network. Called with crops (B, S, S, 3), float32 RGB in 0 to 1, it returns their position maps
    (B, S, S, 3) float32 in crop pixels, and the faces' parameters, or None where it has none."""

    name: str  # of `RUNTIMES`, or tensorflow
    network: Any  # the Keras model, ONNX Runtime's session, or TensorFlow's object
    layout: UVLayout
    image_size: int
    call: Callable[[np.ndarray], tuple[np.ndarray, FaceParameters | None]]
    shapes: Callable[[], FaceShapes | None]  # the network's face model, where it names its parameters
    decoder: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None  # its constants, where it is one
    free_surface: bool = False  # whether each texel of its map is free, so that its surface is rough

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, FaceParameters | None]:
        return self.call(crops)

    @cached_property
    def decoded(self) -> np.ndarray | None:
        """What the decoder of a morphable network makes of no coefficients, and what one of each adds to it:
        (1 + K, S, S, 3) float32, in the axes and unit of the face space. None of other networks, and of Keras', whose
        layers can be asked."""
        if self.decoder is None:
            return None
        kernel, mean, texels = self.decoder()
        rows = np.concatenate([mean[None], kernel]).reshape(1 + len(kernel), -1, 3)
        return rows[:, texels].reshape(-1, self.image_size, self.image_size, 3)


def open_runtime(path: str | Path, runtime: str = "auto", threads: int = 0) -> Runtime:
    """Open a network for inference. Raises `UserError`.

    path : what `prnet.load_network` opens, an `.onnx` file that `prnet export` wrote, or a SavedModel's folder.
    runtime : of `RUNTIMES`. auto takes ONNX Runtime where it is installed and the `.onnx` file of this very network
    lies beside it, else Keras; a SavedModel is TensorFlow's.
    threads : of ONNX Runtime; 0 is one for each core.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"unknown runtime {runtime!r}; choose from {', '.join(RUNTIMES)}")
    path = SHIPPED_NETWORKS.get(str(path), path)
    is_onnx = str(path).endswith(".onnx")
    if runtime == "keras" and is_onnx:
        raise UserError(f"{path}: Keras does not open .onnx files; give the .keras file, or leave `runtime` out")
    if is_onnx:
        return open_onnx(path, threads=threads)
    if Path(path, SAVED_GRAPH).is_file():
        if runtime == "onnx":
            raise UserError(f"{path}: a SavedModel, which TensorFlow runs; leave `runtime` out")
        return open_saved_model(path)
    beside = Path(path).with_suffix(".onnx")
    if runtime == "onnx":
        return open_onnx(beside, path, threads)
    if runtime == "auto" and beside.is_file() and not str(path).startswith("hf://") and find_spec("onnxruntime"):
        try:
            return open_onnx(beside, path, threads)
        except UserError as error:
            logger.warning(f"{error}; Keras runs the network")
    return open_keras(path)


def open_keras(path: str | Path) -> Runtime:
    start_keras()
    from prnet.model.networks import has_free_surface, network_image_size, predict_faces, read_shapes
    from prnet.model.saved_network import load_network

    network, layout = load_network(path)

    def call(crops: np.ndarray) -> tuple[np.ndarray, FaceParameters | None]:
        return predict_faces(network, crops)

    return Runtime(
        "keras",
        network,
        layout,
        network_image_size(network),
        call,
        lambda: read_shapes(network),
        free_surface=has_free_surface(network),
    )


def open_onnx(path: str | Path, source: str | Path | None = None, threads: int = 0) -> Runtime:
    """Open an exported `.onnx` file. source : the network that it must have been exported from."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; {exporting(source or 'its network')}")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(f"{path}: needs ONNX Runtime; install it by pip install 'prnet[fast]'") from None
    if path.stat().st_size > MAX_ONNX_BYTES:
        raise UserError(f"{path}: larger than any network of ours")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        metadata = session.get_modelmeta().custom_metadata_map
    except Exception:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: damaged, or not an .onnx file; export the network again") from None
    if LAYOUT not in metadata:
        raise UserError(f"{path}: holds no UV layout; export the network again with {command('export')}")
    if source is not None and Path(source).exists() and metadata.get(SOURCE) != network_hash(source):
        raise UserError(f"{path}: is not of {source}; {exporting(source)} again")
    layout, names = _read_metadata(metadata, path)
    size, outputs = _checked_shapes(session, names, path)
    to_pixels = np.float32(size * TARGET_SCALE)
    taken = session.get_inputs()[0].name

    def call(crops: np.ndarray) -> tuple[np.ndarray, FaceParameters | None]:
        maps, *parameters = session.run(outputs, {taken: crops})
        return maps * to_pixels, read_parameters(names, *parameters) if names else None

    def decoder() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kernel, mean, texels = session.run(list(DECODER), {taken: np.zeros((1, size, size, 3), np.float32)})
        return kernel, mean, texels

    has_decoder = {each.name for each in session.get_outputs()}.issuperset(DECODER)

    def shapes() -> FaceShapes | None:
        decoded = runtime.decoded
        if names is None or decoded is None:
            return None
        return face_shapes(names, decoded[0], decoded[1:])

    runtime = Runtime("onnx", session, layout, size, call, shapes, decoder if has_decoder else None, names is None)
    return runtime


def open_saved_model(path: str | Path) -> Runtime:
    """Open a folder of TensorFlow's SavedModel form that also says what its texels mean, as `prnet export` writes it.

    Its graph is run as it is, and a graph can read and write files: open only what you trust.
    """
    path = Path(path)
    if not (path / SAVED_LAYOUT).is_file():
        adopt = f"{command('export')} `saved_model` {path} `uv_data` uv-data `output` FOLDER"
        raise UserError(f"{path}: a SavedModel without {SAVED_LAYOUT}; for one of PRNet's UV layout make it by {adopt}")
    try:
        layout = parse_layout((path / SAVED_LAYOUT).read_bytes())
        scale = float((path / SAVED_SCALE).read_text()) if (path / SAVED_SCALE).is_file() else TARGET_SCALE
    except Exception:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: {SAVED_LAYOUT} or {SAVED_SCALE} is damaged; export the network again") from None
    start_keras()
    tensorflow_log = logging.getLogger("tensorflow")
    level = tensorflow_log.level
    tensorflow_log.setLevel(logging.ERROR)  # it advises the loader that cannot read these files
    try:
        with without_remarks():
            import tensorflow as tf

            graph = tf.Graph()
            session = tf.compat.v1.Session(graph=graph)
            # TensorFlow 2's own loader also revives the optimizer, which it cannot do for files of its early versions.
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        signature = loaded.signature_def[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
        [taken], [given] = signature.inputs.values(), signature.outputs.values()
        crop, target = ([side.size for side in each.tensor_shape.dim] for each in (taken, given))
    except Exception as error:  # whatever TensorFlow meets in a file
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: not a SavedModel from crops to maps that TensorFlow opens: {reason}") from None
    finally:
        tensorflow_log.setLevel(level)
    size = crop[1] if len(crop) == 4 else 0
    if size < 1 or crop != [-1, size, size, 3] or target != crop:
        raise UserError(f"{path}: maps {crop} to {target}, not square crops to maps of their size")
    to_pixels = np.float32(size * scale)

    def call(crops: np.ndarray) -> tuple[np.ndarray, None]:
        return session.run(given.name, {taken.name: crops}) * to_pixels, None

    return Runtime("tensorflow", session, layout, size, call, lambda: None, free_surface=True)


def exporting(source: str | Path) -> str:
    return f"make it of {source} with {command('export')}, `format` onnx"


def _read_metadata(metadata: dict[str, str], path: Path) -> tuple[UVLayout, ParameterNames | None]:
    try:
        layout = parse_layout(base64.b64decode(metadata[LAYOUT]))
        return layout, ParameterNames.from_json(metadata[NAMES]) if NAMES in metadata else None
    except Exception:
        raise UserError(f"{path}: its UV layout or its parameters are damaged; export the network again") from None


def _checked_shapes(session: Any, names: ParameterNames | None, path: Path) -> tuple[int, list[str]]:
    """Side of the crop, and the names of the outputs: map, and where the network has them coefficients and pose."""
    taken, given = session.get_inputs(), session.get_outputs()
    shapes = [each.shape[1:] for each in (*taken[:1], *given)]
    crop = shapes[0]
    expected = [crop, crop, *([[names.count], [4, 3]] if names else [])]  # further ones are the decoder's
    if len(taken) != 1 or len(crop) != 3 or crop[0] != crop[1] or crop[2] != 3 or shapes[: len(expected)] != expected:
        raise UserError(f"{path}: maps {shapes[0]} to {shapes[1:]}, which no network of ours does")
    return crop[0], [each.name for each in given[: len(expected) - 1]]


def onnx_metadata(layout: UVLayout, names: ParameterNames | None, source: str | Path | None) -> dict[str, str]:
    """What an `.onnx` file is to carry. source : the file that its network was loaded from, if any."""
    entries = {LAYOUT: base64.b64encode(layout_bytes(layout)).decode()}
    if names is not None:
        entries[NAMES] = json.dumps(json.loads(names.to_json()))
    if source is not None:
        entries[SOURCE] = network_hash(source)
    return entries


def network_hash(path: str | Path) -> str:
    """Hash of a network's file, or of the weights in its folder."""
    path = Path(path)
    with open(path / "model.weights.h5" if path.is_dir() else path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
