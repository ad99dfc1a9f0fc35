"""Choices of the programs that use or export a network. No heavy imports: `--help` needs it."""

from dataclasses import dataclass

from prnet.configure.config import RESOURCES

MODEL_PATH = str(RESOURCES / "weights" / "morphnet.keras")
"""The network that scripts use unless `--model` says otherwise."""

NETWORK_HELP = "network: a .keras file, its unzipped folder, or hf://OWNER/NAME"
"""What `--model` takes."""

DETECTORS = ("auto", "libfacedetection", "mtcnn", "none")
"""How faces are found: auto is libfacedetection where it is installed, else MTCNN; none takes the whole photo for one
face."""

DETECTOR_HELP = "auto: libfacedetection if installed, else mtcnn; none: the face fills the photo"
RUNTIME_HELP = "what runs the network; auto: onnx where the model's .onnx file lies beside it, else keras"

OVERLAYS = ("landmarks", "mesh", "depth")
"""What is drawn over a video."""

MESH_FORMATS = ("obj", "ply", "glb")

EXPORT_FORMATS = ("keras", "savedmodel", "litert", "onnx")

QUANTIZATIONS = ("float16", "int8")
"""Smaller forms of a LiteRT file, int8 of an ONNX file too."""


@dataclass(frozen=True)
class OutputSettings:
    """What is written beside landmarks, pose, maps and the sheet."""

    meshes: tuple[str, ...] = MESH_FORMATS
    mat: bool = False  # a MATLAB file in the fields of PRNet-keras' server
    frontal: bool = False  # the meshes once more, turned to the front
    texture_size: int = 256  # side of the UV texture in pixels
    overlay: str = "landmarks"  # what is drawn over a video, of `OVERLAYS`
    smooth: bool = False  # filter a video's faces against jitter
