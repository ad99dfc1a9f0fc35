"""The public functions that join packages: a photo to faces, a data set to a network, a network to its error."""

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError, printable
from prnet.common.ordered import in_order
from prnet.common.quiet import start_keras
from prnet.configure.config import FACE_MODEL_PATH, Run, Training
from prnet.configure.recipes import RECIPES
from prnet.evaluating.methods import NetworkMethod, file_hash
from prnet.evaluating.results import RESULTS_NAME, Results
from prnet.evaluating.types import EvaluationType
from prnet.formats.face_model_file import load_face_model
from prnet.formats.photo_arrays import Photo, as_photo
from prnet.formats.photos import IMAGE_SUFFIXES
from prnet.generating.dataset import Dataset, open_dataset
from prnet.geometry.crop import Box
from prnet.geometry.face_model import FaceModel
from prnet.geometry.position_map import layout_of_model
from prnet.reconstructing.photo_face import PhotoFace
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.records import face_record


def reconstruct(
    photo: Photo, boxes=None, *, model=None, detector: str = "auto", mirrored: bool = False, runtime: str = "auto"
) -> list[PhotoFace]:
    """The faces of a photo, the largest first, or in the order of `boxes`.

    photo : a path, a Pillow image or an array (`prnet.formats.photo_arrays.as_photo`). boxes, model, detector,
    mirrored, runtime : as of `FaceReconstructor`, which is kept for the next photo.

    >>> faces = prnet.reconstruct("photo.jpg")
    >>> faces[0].landmarks.shape  # pixels of the photo: x right, y down, larger z is nearer
    (68, 3)
    >>> bool(abs(faces[0].pose.yaw) < 10)  # degrees
    True
    """
    return _reconstructor(model, detector, mirrored, runtime).reconstruct(photo, boxes)


def reconstruct_folder(
    folder, *, model=None, detector: str = "auto", mirrored: bool = False, runtime: str = "auto"
) -> list[dict]:
    """One record for each face in the photos of a folder; `pandas.DataFrame` takes the list.

    A record has the photo's name (image), the face's number, x, y, width and height of its mesh in pixels, pitch, yaw
    and roll in degrees, scale, and landmarks (68, 3). A photo that has no face or cannot be read has one record that
    says so as its problem, which is None of all others.

    >>> for record in prnet.reconstruct_folder("photos"):
    ...     print(record["image"], record["face"], record["problem"])
    empty.png None no face found
    photo.jpg 0 None
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"{folder}: holds no photo ({', '.join(sorted(IMAGE_SUFFIXES))})")
    reconstructor = _reconstructor(model, detector, mirrored, runtime)
    with ThreadPoolExecutor(1) as reader:  # reads a photo and finds its faces while the network is at the one before
        opened = in_order(reader, partial(_opened, reconstructor), paths, ahead=2)
        return [
            record for path, found in zip(paths, opened, strict=True) for record in _records(reconstructor, path, found)
        ]


def train(
    dataset: Dataset | str | Path,
    face_model: FaceModel | str | Path = FACE_MODEL_PATH,
    folder: str | Path = "output",
    *,
    recipe: str | Training = "default",
    run: Run | None = None,
    test_set: Dataset | None = None,
    start_from: str | Path | None = None,
    start_epoch: int = 0,
    overwrite: bool = False,
    **changes,
) -> list[dict]:
    """Train a network, or resume a run that stopped. Returns the log: one dictionary an epoch.

    dataset : train.hdf5, or one that `open_dataset` opened. face_model : the one it was built with. folder : gets
    best.keras, last.keras, the log and its curves. recipe : a name of `RECIPES`, or a `Training`. changes : fields of
    `Training` that differ from it. run : how many workers and devices, and where progress is posted. The others as
    `prnet train --help` says.

    >>> log = prnet.train("data/train.hdf5", "data/face_model.hdf5", "run", recipe="lprnet", epochs=1, batch_size=4)
    >>> log[0]["epoch"], sorted(path.name for path in pathlib.Path("run").glob("*.keras"))
    (1, ['best.keras', 'last.keras'])
    """
    start_keras()
    from prnet.model.training import train as run_training

    settings = replace(_choice("recipe", recipe, RECIPES)() if isinstance(recipe, str) else recipe, **changes)
    with ExitStack() as files:
        opened = dataset if isinstance(dataset, Dataset) else files.enter_context(open_dataset(dataset))
        model = face_model if isinstance(face_model, FaceModel) else load_face_model(face_model)
        return run_training(
            settings,
            run or Run(),
            opened,
            model,
            folder,
            test_set=test_set,
            start_from=start_from,
            start_epoch=start_epoch,
            overwrite=overwrite,
        )


def evaluate(
    model,
    data: str | Path,
    face_model: FaceModel | str | Path | None = None,
    folder: str | Path | None = None,
    *,
    types=(0, 1),
    protocol: str = "standard",
    batch_size: int = 10,
) -> Results:
    """The error of a network on photos whose faces are known.

    model : what `load_network` opens. data : a data set (.hdf5), or a folder or zip archive of photos with fits.
    face_model : for types 2 to 5, and for fits without landmarks. folder : gets tables, curves and pictures; without
    one nothing is written. types : 0 sparse 2D, 1 sparse 3D, 2 dense 2D, 3 dense 3D, 4 and 5 reconstruction in 2D and
    3D. protocol : of `prnet.evaluating.protocols.PROTOCOLS`. Returns errors in per cent, one row a photo and one
    column a type; inf for a photo without a result.

    >>> results = prnet.evaluate("morphnet", "data/val.hdf5")
    >>> results.errors.shape, [column.title for column in results.columns]
    ((4, 2), ['sparse 2D', 'sparse 3D'])
    """
    start_keras()
    from prnet.evaluating.evaluation import evaluate as measure
    from prnet.evaluating.protocols import PROTOCOLS
    from prnet.evaluating.reports import write_report
    from prnet.evaluating.subjects import DatasetSubjects, PairSubjects, Subjects
    from prnet.formats.pairs import find_pairs

    chosen = _choice("protocol", protocol, PROTOCOLS)
    for index in types:
        _choice("type", index, {int(kind): kind for kind in EvaluationType})
    method = network_method(model)
    truth = load_face_model(face_model) if isinstance(face_model, (str, Path)) else face_model
    layout = layout_of_model(truth) if truth is not None else None
    subjects: Subjects
    with ExitStack() as files:
        place = Path(folder or files.enter_context(tempfile.TemporaryDirectory()))
        if Path(data).suffix in (".hdf5", ".h5"):
            dataset = files.enter_context(open_dataset(data))
            if layout is None and method.layout.has_identity(dataset.layout_identity):
                layout = method.layout
            subjects = DatasetSubjects(dataset, truth, layout, method.size)
        else:
            subjects = PairSubjects(files.enter_context(find_pairs(data)), truth, layout, method.size)
        results = measure(
            subjects,
            method,
            types=sorted(set(types)),
            protocol=chosen,
            layout=layout,
            path=place / RESULTS_NAME,
            batch_size=batch_size,
        )
        if folder is not None:
            write_report(place, results, subjects, method, layout)
    return results


def network_method(path, name: str = "") -> NetworkMethod:
    """A saved network as something to evaluate, called `name`, else as its file. Raises `UserError`."""
    from prnet.model.networks import network_image_size, predict_maps
    from prnet.model.saved_network import WEIGHTS_ENTRY, fetch_network, load_network

    network, layout = load_network(path)
    place = fetch_network(path)
    identity = file_hash(place / WEIGHTS_ENTRY if place.is_dir() else place)
    name = name or printable(Path(path).stem)
    return NetworkMethod(
        name, identity, lambda images: predict_maps(network, images), layout, network_image_size(network)
    )


def _choice(label: str, value, known: Mapping):
    if value not in known:
        raise UserError(f"unknown {label} {value!r}; choose from {', '.join(map(str, known))}")
    return known[value]


@lru_cache(maxsize=2)
def _reconstructor(model, detector: str, mirrored: bool, runtime: str) -> FaceReconstructor:
    return FaceReconstructor(model, detector, mirrored=mirrored, runtime=runtime)


def _opened(reconstructor: FaceReconstructor, path: Path) -> tuple[np.ndarray, list[Box]] | UserError:
    try:
        photo = as_photo(path)
        return photo, reconstructor.detect(photo)
    except UserError as error:
        return error


def _records(
    reconstructor: FaceReconstructor, path: Path, opened: tuple[np.ndarray, list[Box]] | UserError
) -> Iterator[dict]:
    try:
        if isinstance(opened, UserError):
            raise opened
        faces = reconstructor.reconstruct(*opened)
    except UserError as error:
        yield {"image": path.name, "face": None, "problem": str(error)}
        return
    if not faces:
        yield {"image": path.name, "face": None, "problem": "no face found"}
    for number, face in enumerate(faces):
        yield {"image": path.name, "face": number, "problem": None, **face_record(face)}
