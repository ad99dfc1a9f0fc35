"""An exported `.onnx` network in 8 bits, by calibration: convolutions compute in them, large matrices are stored so."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.files import atomic_write

LEAST_WEIGHTS = 1 << 16
"""Matrices with fewer numbers stay as they are."""


def quantise_onnx(path: Path, crops: np.ndarray) -> None:
    """Rewrite a network with 8-bit convolutions, of which ranges are measured on crops (B, S, S, 3) in 0 to 1.

    The first and the last convolution hurt most and stay in float, and so does everything but convolutions: reading a
    face's parameters off the raw map, and decoding them. Of those steps' constants the large ones are stored in 8 bits,
    each row or column with its own scale; they are floats again once the file is open.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as temporary:
        prepared, quantised = str(Path(folder) / "prepared.onnx"), str(Path(folder) / "quantised.onnx")
        quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        quantize_static(
            prepared,
            quantised,
            _reader(onnx.load(prepared).graph.input[0].name, crops),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[*convolutions[:1], *convolutions[-1:]],
        )
        description = onnx.load(quantised)
        _store_small(description.graph)
        onnx.save(description, str(temporary))


def _reader(name: str, crops: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Crops(CalibrationDataReader):
        def __init__(self) -> None:
            self.crops: Iterator[np.ndarray] = iter(crops)

        def get_next(self) -> dict[str, np.ndarray] | None:
            crop = next(self.crops, None)
            return None if crop is None else {name: crop[None]}

    return Crops()


def _store_small(graph: Any) -> None:
    """Replace large float matrices of products by 8-bit ones with scales. The two nodes that multiply them are
    evaluated when the file is opened."""
    from onnx import TensorProto, helper, numpy_helper

    used = {name for node in graph.node if node.op_type in ("Gemm", "MatMul") for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in used]:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2 or np.prod(tensor.dims) < LEAST_WEIGHTS:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        scale = np.abs(values).max(axis=int(values.shape[0] < values.shape[1]), keepdims=True) / np.float32(127)
        steps = np.rint(values / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(steps, f"{name}_steps"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        graph.node.insert(0, helper.make_node("Mul", [f"{name}_floats", f"{name}_scale"], [name]))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_steps"], [f"{name}_floats"], to=TensorProto.FLOAT))
