"""3D faces from single photos by UV position maps (PRNet, Feng et al., ECCV 2018), in Keras 3."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prnet.configure.config import Run, Training
    from prnet.configure.recipes import RECIPES
    from prnet.formats.face_model_file import load_face_model
    from prnet.formats.photos import read_image
    from prnet.generating.dataset import open_dataset
    from prnet.generating.sequence import FaceSequence
    from prnet.interface import evaluate, reconstruct, reconstruct_folder, train
    from prnet.model.networks import build_network, network_parameters
    from prnet.model.saved_network import load_network, save_network
    from prnet.reconstructing.expressions import arkit_expressions
    from prnet.reconstructing.outputs import save_face
    from prnet.reconstructing.photo_face import PhotoFace
    from prnet.reconstructing.reconstructor import FaceReconstructor

__version__ = "1.0.0"
__all__ = [
    "RECIPES",
    "FaceReconstructor",
    "FaceSequence",
    "PhotoFace",
    "Run",
    "Training",
    "arkit_expressions",
    "build_network",
    "evaluate",
    "load_face_model",
    "load_network",
    "network_parameters",
    "open_dataset",
    "read_image",
    "reconstruct",
    "reconstruct_folder",
    "save_face",
    "save_network",
    "train",
]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "configure").is_dir():  # a checkout: the packages lie beside this folder, not within it
    __path__ = [*__path__, str(_HERE.parent)]

_MODULES = {
    "FaceReconstructor": "reconstructing.reconstructor",
    "FaceSequence": "generating.sequence",
    "PhotoFace": "reconstructing.photo_face",
    "RECIPES": "configure.recipes",
    "Run": "configure.config",
    "Training": "configure.config",
    "arkit_expressions": "reconstructing.expressions",
    "build_network": "model.networks",
    "evaluate": "interface",
    "load_face_model": "formats.face_model_file",
    "load_network": "model.saved_network",
    "network_parameters": "model.networks",
    "open_dataset": "generating.dataset",
    "read_image": "formats.photos",
    "reconstruct": "interface",
    "reconstruct_folder": "interface",
    "save_face": "reconstructing.outputs",
    "save_network": "model.saved_network",
    "train": "interface",
}
_NEED_KERAS = ("generating.sequence", "model.networks", "model.saved_network")
_PACKAGES = ("geometry", "formats", "generating", "model", "evaluating", "reconstructing", "exporting", "serving")


def __getattr__(name: str):
    """Public names and packages are imported when they are first used: `import prnet` takes milliseconds."""
    if name in _PACKAGES:
        return import_module(f"prnet.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'prnet' has no attribute {name!r}")
    if _MODULES[name] in _NEED_KERAS:
        from prnet.common.quiet import start_keras

        start_keras()
    value = getattr(import_module(f"prnet.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
