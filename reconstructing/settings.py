"""Choices of the programs that use or export a network. No heavy imports: `--help` needs it."""

from dataclasses import dataclass

from prnet.configure.config import SHIPPED_NETWORKS

MODEL_PATH = SHIPPED_NETWORKS["morphnet"]
"""The network that scripts use unless `--model` says otherwise."""

NETWORK_HELP = f"network: a .keras file, its unzipped folder, hf://OWNER/NAME, or {', '.join(SHIPPED_NETWORKS)}"
"""What `--model` takes."""

DETECTORS = ("auto", "libfacedetection", "mtcnn", "none")
"""How faces are found: auto is libfacedetection where it is installed, else MTCNN; none takes the whole photo for one
face."""

DETECTOR_HELP = "auto: libfacedetection if installed, else mtcnn; none: the face fills the photo"
FILTER_HELP = "leave the meshes of prnet, lprnet and their like as rough as the network returns them"
RUNTIME_HELP = "what runs the network; auto: onnx where the model's .onnx file lies beside it, else keras"

OVERLAYS = ("landmarks", "mesh", "depth", "dense", "pncc", "points")
"""What is drawn over a video or a photo: dense is the visible vertices as points. On black: pncc, the projected
normalised coordinate code of 3DDFA (Zhu et al., CVPR 2016); points, all vertices coloured by depth, L-PRNet's view."""

ON_BLACK = ("pncc", "points")
"""Those that do not show the photo."""

PARTS = ("face", "eyes", "mouth")
"""What of one face can be put on another."""

MESH_FORMATS = ("obj", "ply", "glb")

UNITS = ("metres", "pixels")
"""Of a .glb: upright and centred, in metres; or as the face lies in its photo."""

MAX_TEXTURE = 8192
"""Side of the largest UV texture."""

EXPORT_FORMATS = ("keras", "savedmodel", "litert", "onnx")

QUANTIZATIONS = ("float16", "int8")
"""Smaller forms of a LiteRT file, int8 of an ONNX file too."""


@dataclass(frozen=True)
class OutputSettings:
    """What is written beside landmarks, pose, maps and the sheet."""

    meshes: tuple[str, ...] = MESH_FORMATS
    mat: bool = False  # a MATLAB file in the fields of PRNet-keras' server
    frontal: bool = False  # the meshes once more, turned to the front
    texture_size: int | None = None  # side of the UV texture in pixels; else by the face's size in its photo
    masked: bool = False  # the texture once more, without what the camera did not see
    units: str = "metres"  # of .glb, of `UNITS`
    together: bool = False  # all faces of a photo in one .glb and one .ply
    csv: bool = False  # landmarks and vertices as tables
    pictures: tuple[str, ...] = ()  # drawn over a photo, of `OVERLAYS`
    overlay: str = "landmarks"  # what is drawn over a video, of `OVERLAYS`
    smooth: bool = False  # filter a video's faces against jitter, from the frames before
    look_ahead: bool = False  # smooth a video's faces over the frames before and after
    start: float = 0.0  # seconds of a video to begin at
    end: float | None = None  # and to end before
    overwrite: bool = False  # what a photo or video of the same name in another folder came to
