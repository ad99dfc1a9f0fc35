"""The evaluation itself: subjects pass by in batches, are predicted and measured, and only numbers are kept."""

import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import written_whole
from prnet.configure.config import MAP_SIZE
from prnet.evaluating.methods import file_hash, write_predictions
from prnet.evaluating.protocols import DENSE, RECONSTRUCTION, TYPES, Protocol
from prnet.evaluating.results import KEPT, Origin, Results, load_results
from prnet.evaluating.scoring import Prediction, Score, score
from prnet.evaluating.subjects import Subject, Subjects
from prnet.formats.vertex_file import VertexFile
from prnet.geometry.uv_layout import UVLayout, face_mask

SAVE_EVERY = 20.0
"""Seconds after which an evaluation writes down how far it has come."""

WORKERS = 2
"""Threads that measure, and the batches that are read ahead."""


def evaluate(
    subjects: Subjects,
    method,
    *,
    types,
    protocol: Protocol,
    layout: UVLayout | None,
    path,
    batch_size: int = 10,
    predictions_path=None,
    with_vertices: bool = False,
    progress=lambda results: None,
) -> Results:
    """Measure a method on subjects, going on from the results at `path` where they are of the same three.

    method : `prnet.evaluating.methods.NetworkMethod` or `PredictionFile`. types : indices into `TYPES`. layout : of the
    true maps, where they are known. path : the results file, written every `SAVE_EVERY` seconds and at the end.
    predictions_path : where the predictions are written, as `PredictionFile` reads them, with their vertices if so
    asked. progress : called after each batch. Memory does not grow with the number of images but for about 2 kB each.
    """
    require_possible(subjects, method, types, protocol, layout, with_vertices)
    face = None if layout is None else np.flatnonzero(face_mask(layout, MAP_SIZE))
    origin = Origin(method.name, method.identity, subjects.identity, protocol, tuple(types), subjects.landmark_source)
    results, vertices = _earlier(origin, subjects, path), None
    if predictions_path and with_vertices:
        vertices_path = Path(predictions_path)
        vertices_path = vertices_path.with_name(f".{vertices_path.name}.{origin.key}.partial.npy")
        if results and not _takes_up_vertices(results, predictions_path, vertices_path):
            results = None
        vertices = VertexFile(vertices_path, (len(subjects), len(face), 3), going_on=results is not None)
    results = results or Results(origin, subjects.names, subjects.yaw)
    results.vertices = KEPT if vertices else None
    saved = time.monotonic()
    with vertices or nullcontext():
        try:
            for batch, found, predictions, scores in _batches(subjects, method, results, face, batch_size):
                for index, subject, prediction, measured in zip(batch, found, predictions, scores, strict=True):
                    if subject.truth is not None:
                        results.set_truth(index, subject.truth, subject.box)
                    if vertices is not None:
                        vertices.write(index, np.nan if isinstance(measured, str) else prediction.vertices)
                    if isinstance(measured, str):
                        results.set_failure(index, measured)
                    else:
                        results.set_score(index, measured, prediction.landmarks, face)
                progress(results)
                if time.monotonic() - saved > SAVE_EVERY:
                    results.save(path)
                    saved = time.monotonic()
        finally:
            results.save(path)
    if predictions_path:
        landmarks = results.landmarks[..., : method.landmark_dimensions]
        write_predictions(predictions_path, results.names, landmarks, vertices and vertices.path)
        if vertices:
            results.vertices = file_hash(predictions_path)
            results.save(path)
            vertices.path.unlink()
    return results


def _takes_up_vertices(results: Results, predictions_path, vertices_path: Path) -> bool:
    """Whether `vertices_path` has the vertices of all that is done, once those of finished predictions are put back."""
    if results.vertices == KEPT:
        return vertices_path.exists()
    if not Path(predictions_path).is_file() or file_hash(predictions_path) != results.vertices:
        return False
    with (
        written_whole(vertices_path) as temporary,
        zipfile.ZipFile(predictions_path) as archive,
        archive.open("vertices.npy") as stored,
        open(temporary, "wb") as file,
    ):
        shutil.copyfileobj(stored, file, 1 << 20)
    return True


def _batches(subjects: Subjects, method, results: Results, face, batch_size: int):
    """The subjects not measured yet with predictions and scores, read ahead while the network works."""
    pending = np.flatnonzero(~results.done)
    batches = [pending[start : start + batch_size] for start in range(0, len(pending), batch_size)]
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(WORKERS) as workers:
        ahead = [reader.submit(subjects.read, batch) for batch in batches[:WORKERS]]
        for number, batch in enumerate(batches):
            found = ahead.pop(0).result()
            if number + WORKERS < len(batches):
                ahead.append(reader.submit(subjects.read, batches[number + WORKERS]))
            predictions = method.predict(found)
            scores = workers.map(
                lambda pair: _measure(*pair, face, results.columns, results.origin.protocol),
                zip(found, predictions, strict=True),
            )
            yield batch, found, predictions, list(scores)


def _measure(subject: Subject, prediction: Prediction | str, face, columns, protocol) -> Score | str:
    """The errors of one image, or why it has none."""
    if isinstance(prediction, str):
        return prediction
    if subject.truth is None:
        return subject.problem
    try:
        measured = score(prediction, subject.truth, face, columns, protocol)
    except ValueError as error:
        return str(error)
    return measured if np.isfinite(measured.errors).all() else "its errors are not finite"


def require_possible(subjects: Subjects, method, types, protocol: Protocol, layout, with_vertices=False) -> None:
    """Raise UserError where the types or the protocol ask for more than subjects and method have."""
    dense = sorted(set(types) & {*DENSE, *RECONSTRUCTION})
    wanted = f"--evalidxs {' '.join(map(str, dense))} ({', '.join(TYPES[index] for index in dense)})"
    if dense and not subjects.has_mesh:
        raise UserError(f"{wanted}: needs the true mesh; give --facemodel, or only --evalidxs 0 1")
    if dense and not method.has_vertices:
        raise UserError(f"{wanted}: {method.name} has landmarks and no vertices; give only --evalidxs 0 1")
    if with_vertices and not (method.has_vertices and subjects.has_mesh):
        raise UserError(
            "--with-vertices: the predictions have no vertices, or the face mask is not known; leave it out"
        )
    if 1 in types and min(subjects.landmark_dimensions, method.landmark_dimensions) < 3:
        raise UserError("--evalidxs 1 (sparse 3D): landmarks are known in 2D only; give --evalidxs 0")
    if protocol.normaliser == "mesh diagonal" and not subjects.has_mesh:
        raise UserError(f"--protocol {protocol.name}: divides by the size of the true mesh; give --facemodel")
    method.require_matches(subjects, layout, bool(dense) or with_vertices)


def _earlier(origin: Origin, subjects: Subjects, path) -> Results | None:
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
