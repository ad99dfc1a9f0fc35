"""The networks that come with the package in every runtime, on one crop, one and two threads, beside peers; and one
photo from the shell and a server without TensorFlow, stage by stage.

Peers are `.onnx` files in the folder that the variable PEERS names, run on noise of their own input's shape. 3DDFA_V2's
mobilenet 0.5 (Guo et al., ECCV 2020) is published as `.pth` alone: it has to be converted, with torch, beforehand.
"""

import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figures import Figure, median_ratio, times_in_turn
from prnet.model.runtimes import DECODER

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("morphnet", "lprnet")
ROUNDS = 40
PARAMETERS = "morphnet's parameters alone"


def measure() -> list[Figure]:
    with TemporaryDirectory() as folder:
        _in_own_process(_export, folder)
        figures = [figure for threads in (1, 2) for figure in _in_own_process(_calls, folder, threads)]
        return [*figures, *_in_own_process(_stages, folder), *_programs(folder)]


def _in_own_process(function: Callable, *arguments):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _export(folder: str) -> None:
    from prnet.common.quiet import start_keras

    start_keras()
    from onnx.utils import extract_model

    from prnet.common.errors import UserError
    from prnet.exporting.export import export_network, read_crops
    from prnet.model.saved_network import load_network

    crops = read_crops(None, 128)
    for name in NETWORKS:
        path = shutil.copy(ROOT / "resource" / "weights" / f"{name}.keras", folder)
        network, layout = load_network(path)
        for form, suffix in (("onnx", "onnx"), ("litert", "tflite")):
            export_network(network, layout, Path(folder, f"{name}.{suffix}"), form, source=path)
            small = Path(folder, f"{name}_int8.{suffix}")
            try:
                export_network(network, layout, small, form, quantize="int8", crops=crops)
            except UserError as error:
                print(f"not measured: {error}", file=sys.stderr)
    whole = Path(folder, "morphnet.onnx")
    taken, given = _names(whole)
    extract_model(whole, whole.with_name(f"{PARAMETERS}.onnx"), taken, given[1:3], check_model=False)


def _names(path: Path) -> tuple[list[str], list[str]]:
    """Of a network's inputs and outputs; the first outputs of a morphable one are map, coefficients and pose."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]


def _calls(folder: str, threads: int) -> list[Figure]:
    """Milliseconds for one crop, in turn, and the ratios that have targets. Runs in a process of its own, since
    TensorFlow's threads are set before it starts."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    crop = np.random.default_rng(0).random((1, 128, 128, 3), dtype=np.float32)
    calls: dict[str, Callable[[], object]] = {}
    for name in NETWORKS:
        calls |= {f"{name}, {way}": call for way, call in _ways(Path(folder, name), crop, threads).items()}
    calls[PARAMETERS] = _onnx_call(Path(folder, f"{PARAMETERS}.onnx"), crop, threads)
    peers = _peers(threads)
    times = dict(zip([*calls, *peers], times_in_turn([*calls.values(), *peers.values()], ROUNDS), strict=True))
    label = f"{threads} thread{'s' if threads > 1 else ''}"
    figures = [Figure(f"{way}, {label}", 1000 * statistics.median(of_way), "ms") for way, of_way in times.items()]
    ours = times["morphnet, ONNX Runtime"]
    ratio = median_ratio(ours, times["lprnet, ONNX Runtime"])
    figures.append(Figure(f"morphnet over lprnet, ONNX Runtime, {label}", ratio, "x", at_most=0.4))
    ratio = median_ratio(times[PARAMETERS], times["lprnet, ONNX Runtime"])
    figures.append(Figure(f"{PARAMETERS} over lprnet, {label}", ratio, "x"))
    for peer in peers:
        for name, of_name, most in (("morphnet", ours, 2.5), (PARAMETERS, times[PARAMETERS], 1.5)):
            ratio = median_ratio(of_name, times[peer])
            figures.append(Figure(f"{name} over {peer}, {label}", ratio, "x", at_most=most))
    return figures


def _ways(stem: Path, crop: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    import tensorflow as tf

    from prnet.model.networks import with_parameters
    from prnet.model.saved_network import load_network

    network = with_parameters(load_network(stem.with_suffix(".keras"))[0])
    function, tensor = tf.function(lambda crops: network(crops, training=False)), tf.constant(crop)
    ways: dict[str, Callable[[], object]] = {
        "Keras' call": lambda: network.predict_on_batch(crop),
        "tf.function": lambda: tf.nest.map_structure(lambda each: each.numpy(), function(tensor)),
    }
    for kind, end in (("", ""), (" int8", "_int8")):
        ways[f"ONNX Runtime{kind}"] = _onnx_call(stem.with_name(f"{stem.name}{end}.onnx"), crop, threads)
        lite = stem.with_name(f"{stem.name}{end}.tflite")
        if lite.is_file():
            ways[f"LiteRT{kind}"] = _litert_call(lite, crop, threads)
    return ways


def _onnx_call(path: Path, crop: np.ndarray, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0].name
    given = [each.name for each in session.get_outputs() if each.name not in DECODER]
    return lambda: session.run(given, {taken: crop})


def _litert_call(path: Path, crop: np.ndarray, threads: int) -> Callable[[], object]:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call():
        interpreter.set_tensor(taken, crop)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return call


def _peers(threads: int) -> dict[str, Callable[[], object]]:
    folder = os.environ.get("PEERS")
    found = sorted(Path(folder).glob("*.onnx")) if folder else []
    if not found:
        print(f"no peer is measured: PEERS {'holds no .onnx file' if folder else 'names no folder'}", file=sys.stderr)
    return {path.stem: _onnx_call(path, _noise(path), threads) for path in found}


def _noise(path: Path) -> np.ndarray:
    import onnxruntime

    shape = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    sides = [side if isinstance(side, int) else 1 for side in shape]
    return np.random.default_rng(0).random(sides, dtype=np.float32)


def _stages(folder: str) -> list[Figure]:
    """Milliseconds of each stage of a photo with one face, written in full, by ONNX Runtime."""
    from skimage.data import astronaut

    from prnet.formats.encoding import encode_jpeg
    from prnet.formats.photos import decode_image
    from prnet.reconstructing.detection import chosen_detector, find_faces
    from prnet.reconstructing.face import prepare_crop, restore_face
    from prnet.reconstructing.outputs import write_face
    from prnet.reconstructing.photo_face import in_photo
    from prnet.reconstructing.reconstructor import FaceReconstructor
    from prnet.reconstructing.settings import OutputSettings

    reconstructor = FaceReconstructor(Path(folder, "morphnet.onnx"))
    photo = encode_jpeg(astronaut())
    image = decode_image(photo, "photo")
    box = reconstructor.detect(image)[0]
    crop, to_crop = prepare_crop(image, box, reconstructor.image_size)
    crop_map, parameters = reconstructor.predict_faces(crop[None])[0]
    face = in_photo(restore_face(crop_map, box, to_crop, reconstructor.grid, parameters), image)
    detectors = sorted({chosen_detector("auto"), "mtcnn"})
    stages: dict[str, Callable[[], object]] = {
        "decoding a 512 x 512 JPEG": lambda: decode_image(photo, "photo"),
        **{f"detection by {name}": partial(find_faces, image, name) for name in detectors},
        "crop": lambda: prepare_crop(image, box, reconstructor.image_size),
        "network": lambda: reconstructor.predict_faces(crop[None]),
        "landmarks and pose": lambda: restore_face(crop_map, box, to_crop, reconstructor.grid, parameters),
        "all files of the face": lambda: write_face(face, image, Path(folder), "face", OutputSettings()),
    }
    times = times_in_turn(list(stages.values()), 7)
    return [
        Figure(f"a photo: {stage}", 1000 * statistics.median(taken), "ms")
        for stage, taken in zip(stages, times, strict=True)
    ]


def _programs(folder: str) -> list[Figure]:
    """Least of five runs, in seconds, with the fastest detector that is installed."""
    from PIL import Image
    from skimage.data import astronaut

    photo = Path(folder, "photo.png")
    Image.fromarray(astronaut()).save(photo)
    model = ["--model", str(Path(folder, "morphnet.keras")), "--runtime", "onnx"]
    reconstruct = [sys.executable, "reconstruct_face.py", str(photo), *model, "--output-dir", f"{folder}/faces"]
    serve = [sys.executable, "serve_model.py", "--port", "0", *model]
    return [
        Figure("one photo from the shell", min(_until(reconstruct, b"open:") for _ in range(5)), "s", at_most=1.0),
        Figure("serve_model.py until it is ready", min(_until(serve, b"ready:") for _ in range(5)), "s", at_most=2.0),
    ]


def _until(command: list[str], line: bytes) -> float:
    """Seconds until a program prints a line that begins so; it is then stopped."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        found = any(printed.startswith(line) for printed in process.stdout)
        elapsed = time.perf_counter() - start
        process.terminate()
    if not found:
        raise RuntimeError(f"{command[1]} ended without {line.decode()}")
    return elapsed
