"""A network as files for browsers: ONNX with weights in half precision, the face detector, and as JSON what a page has
to know of them."""

import base64
import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from prnet import __version__
from prnet.common.errors import UserError
from prnet.common.quiet import without_remarks
from prnet.configure.config import CROP_MARGIN, OUTER_EYE_CORNERS, TARGET_SCALE
from prnet.exporting.onnx_files import complete_onnx, decoder_constants
from prnet.geometry.uv_layout import UVLayout, landmark_stencil
from prnet.reconstructing import texture
from prnet.reconstructing.detection import MIN_CONFIDENCES, RULES
from prnet.reconstructing.expressions import BOUNDED
from prnet.reconstructing.face import FaceGrid, face_grid
from prnet.reconstructing.gltf import LEAST_CHANGE
from prnet.reconstructing.mesh_files import METRES_BETWEEN, closed_triangles, file_notes
from prnet.reconstructing.morphs import morph_parts
from prnet.reconstructing.quality import BOUNDS, CROP_SIDE, DOUBTED, DOUBTS
from prnet.reconstructing.reconstructor import FILTER_WIDTH
from prnet.reconstructing.smoothing import SMOOTHING

NETWORK, FACE, MESH = "network.onnx", "face.json", "mesh.json"

DETECTOR_SIDES = {"detector1.onnx": None, "detector2.onnx": 24, "detector3.onnx": 48}
"""The three networks of MTCNN and the side of the patches that each sees; the first takes images of any size."""

LEAST_HALVED = 256
"""Arrays of fewer values keep their precision."""

LEAST_WEIGHT = 1e-6
"""Smaller weights of a rim's vertices are left out."""

OPSET = 15

TEXTURE = (
    *("HIDDEN_DEPTH", "LEAST_FACING", "FULL_FACING", "EDGE_FACING", "OUTLINE_WIDTH", "LEAST_AREA", "RIM_SHARE"),
    *("OUTLINE_SIDE", "SEAM_WIDTH", "SHIFT_SIDE", "SHIFT_WIDTH", "SHIFT_PRIOR", "LEAST_KNOWN", "TEXTURE_SIDES"),
    *("LARGE_FACE", "OUTLINE_DOUBT", "DOUBTED_FACING"),
)
"""Constants of `prnet.reconstructing.texture` that the page goes by too."""


def web_files(network: Any, layout: UVLayout) -> dict[str, bytes]:
    """What the page loads, by name: the network, the detector's three, `face.json`, and for files `mesh.json`.

    The network returns position maps / (S x 1.1), and, where it has named parameters, coefficients and pose as the
    layers of `prnet.model.morphnet` do. Raises `UserError` where the packages for ONNX are missing.
    """
    import keras

    from prnet.model.networks import has_free_surface, has_shapes, network_image_size

    if keras.backend.backend() != "tensorflow":
        raise UserError(f"files for browsers need KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(f"files for browsers need the package {error.name}; pip install 'prnet[export]'") from None
    with warnings.catch_warnings(), without_remarks():
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        halved = _with_half_weights(onnx.load_from_string(_onnx_of(network)))
        detector = _detector_files()
    width = FILTER_WIDTH if has_free_surface(network) else 0.0
    grid = face_grid(layout, network_image_size(network), filter_width=width)
    names = network.parameter_names.names if has_shapes(network) else None
    described = {FACE: describe(network, grid), MESH: describe_mesh(grid, names)}
    texts = {name: json.dumps(content).encode() for name, content in described.items()}
    return {NETWORK: halved.SerializeToString(), **texts, **detector}


def _onnx_of(network: Any) -> bytes:
    """The network, with its named parameters and its decoder's constants as further outputs where it has any, for any
    number of crops."""
    import keras

    from prnet.model.morphnet import COEFFICIENTS, POSE
    from prnet.model.networks import has_shapes

    asked = network
    if getattr(network, "parameter_names", None) is not None:
        outputs = [network.output, *(network.get_layer(name).output for name in (COEFFICIENTS, POSE))]
        asked = keras.Model(network.input, outputs)
    signature = [keras.InputSpec(shape=(None, *network.input_shape[1:]), dtype="float32", name="image")]
    with tempfile.TemporaryDirectory(prefix="prnet-") as folder:
        path = Path(folder) / NETWORK
        asked.export(path, format="onnx", verbose=False, input_signature=signature, opset_version=OPSET)
        if has_shapes(network):
            complete_onnx(path, {}, decoder_constants(network, path))
        return path.read_bytes()


def _with_half_weights(model: Any) -> Any:
    """Store the weights as float16 and cast them back as the network is loaded: half the file, the same speed."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in [each for each in graph.initializer if each.data_type == TensorProto.FLOAT]:
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = f"{tensor.name}_half"
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name))
    for node in reversed(casts):
        graph.node.insert(0, node)
    return model


def _detector_files() -> dict[str, bytes]:
    import tensorflow as tf
    import tf2onnx
    from mtcnn import MTCNN

    files = {}
    for stage, (name, side) in zip(MTCNN().stages, DETECTOR_SIDES.items(), strict=True):
        signature = tf.TensorSpec([None, side, side, 3], tf.float32, name="image")
        traced = tf.function(lambda image, model=stage.model: model(image))
        model, _ = tf2onnx.convert.from_function(traced, input_signature=[signature], opset=OPSET)
        files[name] = model.SerializeToString()
    return files


def describe(network: Any, grid: FaceGrid) -> dict[str, Any]:
    """What a page has to know to turn a crop into a network's input, and its outputs into a face.

    Arrays are in base64, little-endian: texels (N,) uint32 of the face in the flat map,
    canonical (N, 3) float32 as `FaceGrid` has it, landmark_texels (68, 4) uint32 and landmark_weights (68, 4) float32.
    """
    texels, weights = landmark_stencil(grid.layout, grid.size)
    names = getattr(network, "parameter_names", None)
    parameters = names and {
        "identity_count": names.identity_count,
        "names": list(names.names),
        "mean": names.mean.tolist(),
        "deviation": names.deviation.tolist(),
        "bounded": [name in BOUNDED for name in names.names],
        "scores": list(names.scores),
    }
    return {
        "size": grid.size,
        "target_scale": TARGET_SCALE,
        "crop_margin": CROP_MARGIN,
        "filter_width": grid.filter_width,
        "detector": {
            "centre_shift": RULES["mtcnn"].shift,
            "side_factor": RULES["mtcnn"].factor,
            "least_confidence": MIN_CONFIDENCES["mtcnn"],
        },
        "smoothing": {
            "least_cutoff": SMOOTHING.least_cutoff,
            "speed_factor": SMOOTHING.speed_factor,
            "speed_cutoff": SMOOTHING.speed_cutoff,
        },
        "quality": {"bounds": BOUNDS, "doubts": DOUBTS, "doubted": DOUBTED, "crop_side": CROP_SIDE},
        "parameters": parameters,
        "landmark_vertices": grid.landmark_vertices.tolist(),
        "texels": _base64(np.flatnonzero(grid.mask), "<u4"),
        "canonical": _base64(grid.canonical, "<f4"),
        "landmark_texels": _base64(texels, "<u4"),
        "landmark_weights": _base64(weights, "<f4"),
    }


def describe_mesh(grid: FaceGrid, names: Sequence[str] | None) -> dict[str, Any]:
    """What a page has to know to write a face's mesh as `prnet.reconstructing.mesh_files` does.

    names : of the expressions, where the network's file holds its decoder. Arrays are as in `describe`: texels (M,) of
    the closed face, those of its holes last, and triangles (T, 3) of it; sparse matrices that make its vertices, by
    columns and weights of each row: holes x vertices, and with a smooth rim (R,) x + follow @ (shift @ x[rim]).
    """
    closed = grid.closed
    place = np.argsort(closed.face_first)
    rim, close = closed.rim, closed.close
    holes = np.zeros((len(close.hole), grid.mask.sum()))
    holes[:, close.rim] = close.membrane
    follow = np.zeros((len(place), len(rim.vertices)))
    follow[rim.near[:, None], rim.nearest] = rim.weights
    shift = rim.smoothed(np.eye(len(rim.vertices))) - np.eye(len(rim.vertices))
    shift[np.abs(shift) < LEAST_WEIGHT] = 0
    shift[np.diag_indices(len(shift))] -= shift.sum(axis=1)
    parts = morph_parts(names) if names else {}
    return {
        "generator": f"prnet {__version__}",
        "notes": file_notes("metres"),
        "metres_between": METRES_BETWEEN,
        "eye_corners": OUTER_EYE_CORNERS,
        "least_change": LEAST_CHANGE,
        "texture": {name.lower(): getattr(texture, name) for name in TEXTURE},
        "morphs": [{"name": name, "of": of} for name, of in parts.items()],
        "texels": _base64(np.flatnonzero(closed.mask)[closed.face_first], "<u4"),
        "triangles": _base64(closed_triangles(grid), "<u4"),
        "rim": _base64(place[rim.vertices], "<u4"),
        "holes": _sparse(holes),
        "follow": _sparse(follow[closed.face_first]),
        "shift": _sparse(shift),
    }


def _sparse(dense: np.ndarray) -> dict[str, str]:
    matrix = sparse.csr_array(dense)
    parts = {"starts": (matrix.indptr, "<u4"), "columns": (matrix.indices, "<u2"), "weights": (matrix.data, "<f4")}
    return {name: _base64(values, kind) for name, (values, kind) in parts.items()}


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode()
