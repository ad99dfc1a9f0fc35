"""A network as a small .keras file, SavedModel, LiteRT or ONNX, and the check that it computes the same."""

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.common.quiet import without_remarks
from prnet.configure.config import TARGET_SCALE
from prnet.configure.programs import command
from prnet.exporting.onnx_files import complete_onnx, decoder_constants
from prnet.exporting.quantisation import quantise_onnx
from prnet.formats.layout_file import layout_bytes
from prnet.formats.photos import IMAGE_SUFFIXES, read_image
from prnet.geometry.uv_layout import UVLayout
from prnet.model.runtimes import onnx_metadata
from prnet.reconstructing.detection import find_faces
from prnet.reconstructing.face import prepare_crop
from prnet.reconstructing.settings import EXPORT_FORMATS, QUANTIZATIONS

SUFFIXES = {"keras": (".keras", ""), "savedmodel": ("",), "litert": (".tflite",), "onnx": (".onnx",)}
"""How the name of an export may end; without a suffix it is a folder's."""

CALIBRATION_CROPS = 200
"""Most images that the ranges of an int8 network are measured on."""

CHECKED_CROPS = 16
"""Most images that an exported file is run on."""


def export_network(
    network: Any,
    layout: UVLayout,
    path: str | Path,
    form: str,
    *,
    quantize: str | None = None,
    crops: np.ndarray | None = None,
    source: str | Path | None = None,
) -> Path:
    """Write a network with the UV layout of its maps: within the `.keras` or `.onnx` file, in the SavedModel's folder
    as `assets.extra/uv_layout.npz`, else (and of `.onnx` too) beside it as `<stem>_layout.npz`. A `.keras` file gets
    its weights as float16; a path without suffix is a folder with its entries, as hubs keep networks. An `.onnx` file
    also returns and names the parameters that the network has, and `prnet.model.runtimes` runs it.

    form : of `EXPORT_FORMATS`. quantize : of `QUANTIZATIONS`, for LiteRT, and int8 for ONNX; inputs and outputs stay
    float32.
    crops : (B, S, S, 3) float32 in 0 to 1, on which an int8 network's ranges are measured. The exported network takes
    crops in 0 to 1 and returns position maps / (S x 1.1), as the network itself; LiteRT files take one at a time.
    source : the file that the network was opened from, which an `.onnx` file beside it then stands for, unless it is
    quantised.
    Returns the path written. Raises `UserError`.
    """
    import keras

    from prnet.model.networks import with_parameters
    from prnet.model.saved_network import save_network, unzip_network

    path = Path(path)
    _check_request(path, form, quantize, crops, keras.backend.backend())
    if form == "keras" and path.suffix:
        save_network(network, layout, path, half=True)
        return path
    if form == "keras":
        with atomic_folder(path) as temporary:
            save_network(network, layout, temporary.with_suffix(".keras"), half=True)
            unzip_network(temporary.with_suffix(".keras"), temporary)
        return path
    if form == "savedmodel":
        with atomic_folder(path) as temporary:
            network.export(temporary, format="tf_saved_model", verbose=False)
            _write_layout(layout, temporary / "assets.extra" / "uv_layout.npz")
        return path
    with atomic_write(path) as temporary, warnings.catch_warnings():
        # Keras' patch of tf2onnx asks NumPy for a name that NumPy warns of.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        batch = None if form == "onnx" else 1
        signature = [keras.InputSpec(shape=(batch, *network.input_shape[1:]), dtype="float32", name="image")]
        options = {} if form == "onnx" else _litert_options(quantize, crops)
        exported = with_parameters(network) if form == "onnx" else network
        try:
            exported.export(temporary, format=form, verbose=False, input_signature=signature, **options)
        except RuntimeError as error:  # TensorFlow's converter cannot quantise every network
            if quantize is None:
                raise
            reason = str(error).strip().partition("\n")[0][:200]
            raise UserError(f"{path}: LiteRT has no {quantize} form of it; `format` onnx may have: {reason}") from None
        if form == "onnx":
            constants = decoder_constants(network, temporary)
            if quantize:
                quantise_onnx(temporary, _calibration_crops(crops))
            names = getattr(network, "parameter_names", None)
            complete_onnx(temporary, onnx_metadata(layout, names, None if quantize else source), constants)
    _write_layout(layout, path.with_name(f"{path.stem}_layout.npz"))
    return path


def _write_layout(layout: UVLayout, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(layout_bytes(layout))


def _check_request(path: Path, form: str, quantize: str | None, crops: np.ndarray | None, backend: str) -> None:
    for label, value, known in (("format", form, EXPORT_FORMATS), ("quantization", quantize, (None, *QUANTIZATIONS))):
        if value not in known:
            raise UserError(f"unknown {label} {value!r}; choose from {', '.join(filter(None, known))}")
    if quantize and form != "litert" and (form, quantize) != ("onnx", "int8"):
        known_to = "the formats litert and onnx" if quantize == "int8" else "the format litert"
        raise UserError(f"`quantize` {quantize}: only for {known_to}, not {form}")
    if quantize == "int8" and (crops is None or not len(crops)):
        raise UserError("`quantize` int8: needs images of faces to measure ranges on; give training images as `images`")
    if backend != "tensorflow":
        raise UserError(f"exporting needs KERAS_BACKEND=tensorflow, not {backend}; a .keras file opens on either")
    if path.suffix not in SUFFIXES[form]:
        endings = (f"end with {suffix}" if suffix else "be a folder's, without a suffix" for suffix in SUFFIXES[form])
        wanted = " or ".join(endings)
        raise UserError(f"{path}: the name of a {form} export must {wanted}")
    if not path.suffix and path.exists():
        raise UserError(f"{path}: exists; remove it or choose another folder")


def _litert_options(quantize: str | None, crops: np.ndarray | None) -> dict:
    import tensorflow as tf

    if quantize is None:
        return {}
    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if quantize == "float16":
        return {**options, "target_spec": {"supported_types": [tf.float16]}}
    return {
        **options,
        "representative_dataset": lambda: ([crop[None]] for crop in _calibration_crops(crops)),
        "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    }


def _calibration_crops(crops: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if crops is None else crops[:CALIBRATION_CROPS]


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that takes the name `path` once everything in it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        whole = Path(temporary) / path.name
        yield whole
        os.replace(whole, path)


def run_exported(path: str | Path, form: str, crops: np.ndarray) -> np.ndarray:
    """What an exported network returns for crops (B, S, S, 3), in the format's own runtime: (B, S, S, 3)."""
    runners = {"keras": _run_keras, "savedmodel": _run_saved_model, "litert": _run_litert, "onnx": _run_onnx}
    return runners[form](str(path), crops)


def _run_keras(path: str, crops: np.ndarray) -> np.ndarray:
    from prnet.model.saved_network import load_network

    return load_network(path)[0].predict_on_batch(crops)


def _run_saved_model(path: str, crops: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return loaded.serve(tf.constant(crops)).numpy()


def _run_litert(path: str, crops: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    with without_remarks(), warnings.catch_warnings():
        # TensorFlow 2.21 still has the interpreter, and tells of a package that would replace it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
        interpreter = tf.lite.Interpreter(path)
        interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    (taken,) = run.get_input_details()
    (given,) = run.get_output_details()
    return np.concatenate([run(**{taken: crop[None]})[given] for crop in crops])


def _run_onnx(path: str, crops: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: crops})[0]


def differences(network: Any, path: str | Path, form: str, crops: np.ndarray) -> tuple[float, float]:
    """The largest and the mean difference of an exported network from the network, in crop pixels, on crops."""
    crops = crops[:CHECKED_CROPS]
    apart = np.abs(run_exported(path, form, crops) - network.predict_on_batch(crops))
    scale = crops.shape[1] * TARGET_SCALE
    return float(apart.max()) * scale, float(apart.mean()) * scale


def read_crops(path: str | Path | None, size: int, count: int = CALIBRATION_CROPS) -> np.ndarray:
    """Crops of faces (B, size, size, 3) float32 in 0 to 1, at most `count`, evenly spread.

    path : a data set of build_dataset.py, by its own boxes; a photo or a folder of them, by the detector; None for the
    portrait that scikit-image ships. Raises `UserError` where no face is found.
    """
    if path is not None and Path(path).suffix in (".hdf5", ".h5"):
        return _dataset_crops(path, size, count)
    photos = [_portrait()] if path is None else [read_image(file) for file in _spread(_photos(Path(path)), count)]
    found = [prepare_crop(photo, face.box, size)[0] for photo in photos for face in find_faces(photo)]
    if not found:
        raise UserError(f"{path}: no face found in its {len(photos)} photo(s); give photos of faces")
    return np.stack(found[:count])


def _dataset_crops(path: str | Path, size: int, count: int) -> np.ndarray:
    from prnet.generating.dataset import open_dataset

    with open_dataset(path) as dataset:
        chosen = _spread(range(len(dataset)), count)
        return np.stack([prepare_crop(dataset.image(index), dataset.box(index), size)[0] for index in chosen])


def _photos(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"{path}: no photo there; give a folder of photos, or a data set of {command('build-dataset')}")
    return found


def _portrait() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


def _spread(items: Sequence, count: int) -> list:
    chosen = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))
    return [items[index] for index in chosen]
