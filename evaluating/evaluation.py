"""The evaluation loop: subjects are read in batches, predicted and measured, and only numbers are kept."""

import shutil
import time
import zipfile
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.configure.config import MAP_SIZE
from prnet.evaluating.methods import Method, file_hash, write_predictions
from prnet.evaluating.protocols import Protocol
from prnet.evaluating.results import KEPT, Origin, Results, load_results
from prnet.evaluating.scoring import Failure, Prediction, Score, score
from prnet.evaluating.subjects import Subject, Subjects
from prnet.evaluating.types import EvaluationType
from prnet.formats.vertex_file import VertexFile
from prnet.geometry.uv_layout import UVLayout, face_mask

SAVE_EVERY = 20.0
"""Seconds after which an evaluation writes down how far it has come."""

WORKERS = 2
"""Threads that measure, and the batches that are read ahead."""


def evaluate(
    subjects: Subjects,
    method: Method,
    *,
    types: Iterable[int],
    protocol: Protocol,
    layout: UVLayout | None,
    path: str | Path,
    batch_size: int = 10,
    predictions_path: str | Path | None = None,
    with_vertices: bool = False,
    progress: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Measure a method on subjects, resuming from the results at `path` where they are of the same three.

    method : for instance a `prnet.evaluating.methods.NetworkMethod`, or a `PredictionFile`. types : of
    `EvaluationType`, or their numbers. layout : of the true maps, where they are known. path : the results file,
    written every `SAVE_EVERY` seconds and at the end. predictions_path : where the predictions are written, as
    `PredictionFile` reads them, with their vertices if so asked. progress : called after each batch. Memory grows
    with the number of images by about 2 kB each.
    """
    wanted = tuple(map(EvaluationType, types))
    require_possible(subjects, method, wanted, protocol, layout, with_vertices)
    face = None if layout is None else np.flatnonzero(face_mask(layout, MAP_SIZE))
    origin = Origin(method.name, method.identity, subjects.identity, protocol, wanted, subjects.landmark_source)
    results, vertices = _earlier(origin, subjects, path), None
    if predictions_path and with_vertices and face is not None:
        vertices_path = Path(predictions_path)
        vertices_path = vertices_path.with_name(f".{vertices_path.name}.{origin.key}.partial.npy")
        if results and not _takes_up_vertices(results, predictions_path, vertices_path):
            results = None
        vertices = VertexFile(vertices_path, (len(subjects), len(face), 3), resume=results is not None)
    results = results or Results(origin, subjects.names, subjects.yaw)
    results.vertices = KEPT if vertices else None
    # Closed here: a fault leaves it unfinished, and a collector in one of its own threads could not end them.
    measured = closing(_batches(subjects, method, results, face, batch_size))
    with vertices or nullcontext(), measured as batches:
        _fill(results, vertices, batches, face, path, progress)
    if predictions_path:
        landmarks = results.landmarks[..., : method.landmark_dimensions]
        write_predictions(predictions_path, results.names, landmarks, vertices.path if vertices else None)
        if vertices:
            results.vertices = file_hash(predictions_path)
            results.save(path)
            vertices.path.unlink()
    return results


Outcome = tuple[Prediction, Score] | Failure
"""What becomes of one image."""


def _fill(
    results: Results,
    vertices: VertexFile | None,
    batches: Iterable[tuple[np.ndarray, list[Subject], list[Outcome]]],
    face: np.ndarray | None,
    path: str | Path,
    progress: Callable[[Results], None],
) -> None:
    """Note the outcomes of all batches, saved now and then, and whatever ends them."""
    saved = time.monotonic()
    try:
        for batch, found, outcomes in batches:
            for index, subject, outcome in zip(batch, found, outcomes, strict=True):
                _note(results, vertices, face, index, subject, outcome)
            progress(results)
            if time.monotonic() - saved > SAVE_EVERY:
                results.save(path)
                saved = time.monotonic()
    finally:
        results.save(path)


def _note(
    results: Results,
    vertices: VertexFile | None,
    face: np.ndarray | None,
    index: int,
    subject: Subject,
    outcome: Outcome,
) -> None:
    """Note one image; its vertices first, since what counts as done has to have them."""
    if subject.truth is not None:
        results.set_truth(index, subject.truth, subject.box)
    if isinstance(outcome, Failure):
        if vertices is not None:
            vertices.write(index, np.nan)
        results.set_failure(index, outcome)
        return
    prediction, measured = outcome
    if vertices is not None and prediction.vertices is not None:
        vertices.write(index, prediction.vertices)
    results.set_score(index, measured, prediction.landmarks, face)


def _takes_up_vertices(results: Results, predictions_path: str | Path, vertices_path: Path) -> bool:
    """Whether `vertices_path` has the vertices of all that is done, once those of finished predictions are put back."""
    if results.vertices == KEPT:
        return vertices_path.exists()
    if not Path(predictions_path).is_file() or file_hash(predictions_path) != results.vertices:
        return False
    with (
        atomic_write(vertices_path) as temporary,
        zipfile.ZipFile(predictions_path) as archive,
        archive.open("vertices.npy") as stored,
        open(temporary, "wb") as file,
    ):
        shutil.copyfileobj(stored, file, 1 << 20)
    return True


def _batches(
    subjects: Subjects, method: Method, results: Results, face: np.ndarray | None, batch_size: int
) -> Generator[tuple[np.ndarray, list[Subject], list[Outcome]]]:
    """The subjects not measured yet, with predictions and scores or failures, read ahead while the network works."""
    pending = np.flatnonzero(~results.done)
    batches = [pending[start : start + batch_size] for start in range(0, len(pending), batch_size)]
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(WORKERS) as workers:
        ahead = [reader.submit(subjects.read, batch) for batch in batches[:WORKERS]]
        for number, batch in enumerate(batches):
            found = ahead.pop(0).result()
            if number + WORKERS < len(batches):
                ahead.append(reader.submit(subjects.read, batches[number + WORKERS]))
            predictions = method.predict(found)
            yield batch, found, list(workers.map(partial(_measure, results, face), found, predictions))


def _measure(results: Results, face: np.ndarray | None, subject: Subject, prediction: Prediction | Failure) -> Outcome:
    """The prediction of one image with its errors, or why it has none."""
    if isinstance(prediction, Failure):
        return prediction
    if subject.truth is None:
        return Failure(subject.problem or "has no ground truth")
    try:
        measured = score(prediction, subject.truth, face, results.columns, results.origin.protocol)
    except ValueError as error:
        return Failure(str(error))
    return (prediction, measured) if np.isfinite(measured.errors).all() else Failure("its errors are not finite")


def require_possible(
    subjects: Subjects,
    method: Method,
    types: Iterable[EvaluationType],
    protocol: Protocol,
    layout: UVLayout | None,
    with_vertices: bool = False,
) -> None:
    """Raise UserError where the types or the protocol ask for more than subjects and method have."""
    dense = sorted(each for each in set(types) if each.needs_mesh)
    wanted = f"`types` {' '.join(map(str, dense))} ({', '.join(each.title for each in dense)})"
    if dense and not subjects.has_mesh:
        raise UserError(f"{wanted}: needs the true mesh; give `face_model`, or only `types` 0 1")
    if dense and not method.has_vertices:
        raise UserError(f"{wanted}: {method.name} has landmarks and no vertices; give only `types` 0 1")
    if with_vertices and not (method.has_vertices and subjects.has_mesh):
        raise UserError(
            "`with_vertices`: the predictions have no vertices, or the face mask is not known; leave it out"
        )
    if EvaluationType.SPARSE_3D in types and min(subjects.landmark_dimensions, method.landmark_dimensions) < 3:
        raise UserError("`types` 1 (sparse 3D): landmarks are known in 2D only; give `types` 0")
    if protocol.normaliser == "mesh diagonal" and not subjects.has_mesh:
        raise UserError(f"`protocol` {protocol.name}: divides by the size of the true mesh; give `face_model`")
    method.require_matches(subjects, layout, bool(dense) or with_vertices)


def _earlier(origin: Origin, subjects: Subjects, path: str | Path) -> Results | None:
    """The results at `path`, if they are of this origin; what had no result is to be tried again."""
    if not Path(path).is_file():
        return None
    try:
        earlier = load_results(path)
    except UserError:
        return None
    if earlier.origin.key != origin.key or earlier.names != subjects.names:
        return None
    earlier.origin = origin
    earlier.forget_problems()
    return earlier
