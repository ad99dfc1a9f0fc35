"""A network on disk: Keras' own `.keras` archive, with the UV layout that its maps mean as one more entry, and as
another the names of its parameters, where it has any.

Unzipped, as hubs keep networks, it is a folder with the same entries and opens likewise.
Plain `keras.saving.load_model` opens the file too, on any backend, in safe mode.
"""

import shutil
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write, require_modest, require_plain
from prnet.configure.config import SHIPPED_NETWORKS
from prnet.configure.programs import command
from prnet.formats.layout_file import layout_bytes, parse_layout
from prnet.geometry.uv_layout import UVLayout
from prnet.model.morphnet import COEFFICIENTS, POSE
from prnet.model.network_sizes import require_modest_network, require_modest_weights
from prnet.model.parameters import ParameterNames

LAYOUT_ENTRY, PARAMETERS_ENTRY = "uv_layout.npz", "parameters.json"
CONFIG_ENTRY, WEIGHTS_ENTRY = "config.json", "model.weights.h5"
ENTRIES = (CONFIG_ENTRY, WEIGHTS_ENTRY, LAYOUT_ENTRY)

MAX_BYTES, MAX_NAMES_BYTES = 1 << 29, 1 << 20
"""An archive that unpacks to more is refused, and so are more names; our largest network has 54 MB."""


def save_network(
    network: keras.Model, layout: UVLayout, path, *, half: bool = False, parameters: ParameterNames | None = None
) -> None:
    """Write a network and its layout.

    half : store the weights as float16, half the size; they open as float32. parameters : what the coefficients of a
    morphable network mean; by default its attribute `parameter_names`, which it has from `build_network` or
    `load_network`.

    Raises `UserError` for a path that does not end with .keras.

    >>> network, layout = prnet.load_network("morphnet")
    >>> prnet.save_network(network, layout, "smaller.keras", half=True)
    """
    if Path(path).suffix != ".keras":
        raise UserError(f"{path}: a network's file ends with .keras; give it such a name")
    parameters = parameters or getattr(network, "parameter_names", None)
    if parameters is not None:
        _require_parameters(network, parameters, path)
    with atomic_write(path) as temporary:
        network.save(temporary)
        if half:
            _halve_weights(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(LAYOUT_ENTRY, layout_bytes(layout))
            if parameters is not None:
                archive.writestr(PARAMETERS_ENTRY, parameters.to_json())


def load_network(path) -> tuple[keras.Model, UVLayout]:
    """Open what `save_network` wrote, for inference. Raises `UserError` for anything else.

    A network whose file names its parameters has them as its attribute `parameter_names`.

    path : a `.keras` file, the folder that it unzips to, such a folder on Hugging Face's hub, hf://OWNER/NAME, or the
    name of a network that comes with the package, morphnet or lprnet.

    >>> network, layout = prnet.load_network("morphnet")
    >>> network.input_shape, layout.canonical_map.shape
    ((None, 128, 128, 3), (256, 256, 3))
    """
    path = fetch_network(path)
    if not path.exists():
        raise UserError(f"{path}: no such model file; train one with {command('train')}")
    if not path.is_dir():
        require_plain(path)
    try:
        config, weights, layout, parameters = _read_entries(path)
    except (KeyError, FileNotFoundError) as error:
        lacking = "UV layout" if LAYOUT_ENTRY in str(error) else "network"
        raise UserError(f"{path}: holds no {lacking}; save it with prnet.model.saved_network.save_network") from None
    except Exception:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: damaged, or not a .keras file; train or export the model again") from None
    try:
        require_modest_network(config, str(path))
        require_modest_weights(weights, str(path), MAX_BYTES)
        network = keras.saving.load_model(path, compile=False)
        taken, given = network.input_shape, network.output_shape
        if parameters is not None:
            _require_parameters(network, parameters, path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: Keras {keras.__version__} cannot open the network: {_first_line(error)}") from error
    if len(taken) != 4 or not taken[1] or taken[1] != taken[2] or taken[3] != 3 or given != taken:
        raise UserError(f"{path}: maps {taken} to {given}, not a square crop to a map of its size")
    if parameters is not None:
        network.parameter_names = parameters
    return network, layout


def fetch_network(path) -> Path:
    """Where a network lies on this machine; one of Hugging Face's hub is downloaded, if it has not been before."""
    if not str(path).startswith("hf://"):
        return Path(SHIPPED_NETWORKS.get(str(path), path))
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise UserError(f"{path}: needs huggingface_hub; install it by pip install 'prnet[hub]'") from None
    entries = ["config.json", "metadata.json", WEIGHTS_ENTRY, LAYOUT_ENTRY, PARAMETERS_ENTRY]
    try:
        return Path(snapshot_download(str(path).removeprefix("hf://"), allow_patterns=entries))
    except Exception as error:  # no network, no such repository, no permission: each library beneath has its own
        raise UserError(f"{path}: cannot be fetched: {_first_line(error)}") from None


def unzip_network(path, folder) -> None:
    """Extract a `.keras` file into a folder: the form for hubs."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)


def _read_entries(path: Path) -> tuple[bytes, bytes, UVLayout, ParameterNames | None]:
    """Configuration, weights, layout and names of a `.keras` file or of the folder that it unzips to."""
    names = None
    if path.is_dir():
        if sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) > MAX_BYTES:
            raise ValueError("holds more than any network")
        config, weights, layout = ((path / name).read_bytes() for name in ENTRIES)
        if (path / PARAMETERS_ENTRY).exists():
            names = (path / PARAMETERS_ENTRY).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            require_modest(archive, MAX_BYTES)
            config, weights, layout = (archive.read(name) for name in ENTRIES)
            if PARAMETERS_ENTRY in archive.namelist():
                names = archive.read(PARAMETERS_ENTRY)
    return config, weights, parse_layout(layout, MAX_BYTES), None if names is None else _parse_names(names)


def _parse_names(content: bytes) -> ParameterNames:
    if len(content) > MAX_NAMES_BYTES:
        raise ValueError("more names than any network has")
    return ParameterNames.from_json(content)


def _require_parameters(network: keras.Model, parameters: ParameterNames, path) -> None:
    shapes = [layer.output.shape for layer in network.layers if layer.name in (COEFFICIENTS, POSE)]
    if sorted(shapes, key=len) != [(None, parameters.count), (None, 4, 3)]:
        raise UserError(f"{path}: the names are of {parameters.count} parameters, and the network has other ones")


def _halve_weights(path: Path) -> None:
    """Rewrite a `.keras` file with its floating-point weights as float16."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        full, halved, smaller = (Path(folder) / name for name in ("full.h5", "halved.h5", "smaller.keras"))
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as target:
            full.write_bytes(source.read(WEIGHTS_ENTRY))
            with h5py.File(full) as weights, h5py.File(halved, "w") as result:
                _copy_halved(weights, result)
            for name in source.namelist():
                if name == WEIGHTS_ENTRY:
                    target.write(halved, name)
                else:
                    target.writestr(name, source.read(name))
        shutil.move(smaller, path)


def _copy_halved(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_halved(item, target.create_group(name))
        else:
            values = item[()]
            dtype = np.float16 if np.issubdtype(values.dtype, np.floating) else values.dtype
            target.create_dataset(name, data=values.astype(dtype)).attrs.update(item.attrs)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
