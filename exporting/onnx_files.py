"""What an `.onnx` file holds beside the network that Keras writes: metadata, and its decoder as outputs of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from prnet.model.runtimes import DECODER


def decoder_constants(network: Any, path: Path) -> list[str]:
    """How the exported file of a morphable network that names its parameters calls the constants of its decoder, in the
    order of `DECODER`; none of other networks."""
    import onnx
    from onnx import numpy_helper

    from prnet.model.morphnet import SHAPE

    if getattr(network, "parameter_names", None) is None:
        return []
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}

    def equal_to(values: np.ndarray) -> str:
        alike = (name for name, tensor in tensors.items() if tuple(tensor.dims) == values.shape)
        return next(name for name in alike if np.array_equal(numpy_helper.to_array(tensors[name]), values))

    kernel, mean = network.get_layer(SHAPE).get_weights()
    texels = [node.input[1] for node in graph.node if node.op_type == "Gather"][-1]
    return [equal_to(kernel), equal_to(mean), texels]


def complete_onnx(path: Path, metadata: dict[str, str], constants: list[str]) -> None:
    """Add metadata to a file, and its decoder's constants as outputs, which a run need not ask for."""
    import onnx
    from onnx import TensorProto, helper

    description = onnx.load(str(path))
    for constant, name in zip(constants, DECODER, strict=bool(constants)):
        kind = TensorProto.INT32 if name == DECODER[-1] else TensorProto.FLOAT
        description.graph.node.append(helper.make_node("Identity", [constant], [name]))
        description.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    helper.set_model_props(description, metadata)
    onnx.save(description, str(path))
