"""Errors of every image, in one file that a stopped evaluation resumes from and that comparisons read."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.configure.config import LANDMARK_COUNT, MAP_SIZE
from prnet.configure.programs import command
from prnet.evaluating.protocols import Protocol
from prnet.evaluating.scoring import Column, Failure, Score, Truth, columns_of, sparse_normaliser
from prnet.evaluating.types import EvaluationType
from prnet.geometry.crop import Box

FORMAT_VERSION = 1
KEPT = "kept"


@dataclass(frozen=True)
class Origin:
    """What results belong to. Nothing is taken from an older run unless all of it agrees."""

    method: str
    method_identity: str
    subjects_identity: str
    protocol: Protocol
    types: tuple[EvaluationType, ...]
    landmark_source: str

    @property
    def key(self) -> str:
        """Hash of everything but the method's name."""
        parts = asdict(self)
        parts.pop("method")
        statement = [parts, self.protocol.statement, FORMAT_VERSION]
        return hashlib.sha256(json.dumps(statement, sort_keys=True).encode()).hexdigest()[:16]


class Results:
    """Errors of N images of one method.

    errors : (N, C) float64 per cent, one column for each of `columns`; inf for an image without a result, NaN for one
    not measured yet. landmark_errors : (N, 68) per cent in 2D. map_errors : (N, 2), what the position map itself
    costs in 2D and 3D. landmarks, true_landmarks : (N, 68, 3) pixels of the photo, NaN where there is none; z is NaN
    where only 2D is known. normalisers : (N,) d of the sparse types, pixels. boxes : (N, 3) centre x, centre y and
    side of the landmark box that the crop is cut around. vertex_error_sum : (65536,) dense 3D errors of the texels,
    summed over `vertex_error_count` images. problems : image name to why it has no result. vertices : where those of
    all that is done lie: `KEPT`, in the evaluation's `VertexFile`; a hash, in the predictions so hashed; None, nowhere.
    """

    def __init__(self, origin: Origin, names: list[str], yaw: np.ndarray):
        count = len(names)
        self.origin, self.names, self.yaw = origin, names, np.asarray(yaw, dtype=np.float64)
        self.columns = columns_of(origin.types)
        self.done = np.zeros(count, dtype=bool)
        self.errors = np.full((count, len(self.columns)), np.nan)
        self.landmark_errors = np.full((count, LANDMARK_COUNT), np.nan, dtype=np.float32)
        self.map_errors = np.full((count, 2), np.nan)
        self.landmarks = np.full((count, LANDMARK_COUNT, 3), np.nan, dtype=np.float32)
        self.true_landmarks = np.full((count, LANDMARK_COUNT, 3), np.nan, dtype=np.float32)
        self.boxes = np.full((count, 3), np.nan)
        self.normalisers = np.full(count, np.nan)
        self.vertex_error_sum = np.zeros(MAP_SIZE * MAP_SIZE)
        self.vertex_error_count = 0
        self.problems: dict[str, str] = {}
        self.vertices: str | None = None

    def of(self, column: Column) -> np.ndarray:
        """Errors (N,) of one column."""
        return self.errors[:, self.columns.index(column)]

    def mean_so_far(self) -> float:
        """Mean of the first column over the images with a result so far, per cent; NaN without any."""
        errors = self.errors[:, 0]
        finite = errors[np.isfinite(errors)]
        return float(finite.mean()) if len(finite) else float("nan")

    def set_truth(self, index: int, truth: Truth, box: Box | None) -> None:
        """Note what is true of an image."""
        self.true_landmarks[index, :, : truth.landmarks.shape[1]] = truth.landmarks
        self.normalisers[index] = sparse_normaliser(truth, self.origin.protocol)
        if box is not None:
            self.boxes[index] = *box.centre, box.side

    def set_score(self, index: int, score: Score, landmarks: np.ndarray, face: np.ndarray | None) -> None:
        """Note an image's errors."""
        self.errors[index] = score.errors
        self.landmark_errors[index] = score.landmark_errors
        self.map_errors[index] = score.map_errors
        self.landmarks[index, :, : landmarks.shape[1]] = landmarks
        if score.vertex_errors is not None:
            self.vertex_error_sum[face] += score.vertex_errors
            self.vertex_error_count += 1
        self.done[index] = True

    def set_failure(self, index: int, failure: Failure) -> None:
        """Note that an image has no result: it counts as a failure, and is neither left out nor zero."""
        self.errors[index] = np.inf
        self.problems[self.names[index]] = failure.reason
        self.done[index] = True

    def forget_problems(self) -> None:
        """Count the images without a result as not measured yet."""
        failed = np.isinf(self.errors).all(axis=1)
        self.errors[failed], self.done[failed], self.problems = np.nan, False, {}

    def save(self, path: str | Path) -> None:
        """Write all of it to one .npz file."""
        origin = {**asdict(self.origin), "version": FORMAT_VERSION, "key": self.origin.key}
        origin |= {"problems": self.problems, "vertices": self.vertices}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, names=np.array(self.names, dtype=np.str_), origin=json.dumps(origin), **arrays)


_ARRAYS = (
    "yaw",
    "done",
    "errors",
    "landmark_errors",
    "map_errors",
    "landmarks",
    "true_landmarks",
    "boxes",
    "normalisers",
    "vertex_error_sum",
    "vertex_error_count",
)


def load_results(path: str | Path) -> Results:
    """Read what `Results.save` wrote; a folder stands for its results.npz. Raises UserError for anything else."""
    path = Path(path)
    if path.is_dir():
        path = path / RESULTS_NAME
    if not path.is_file():
        raise UserError(f"{path}: no such results; {command('evaluate')} writes them to `output_folder`")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            saved = json.loads(str(arrays["origin"]))
            if saved.pop("version") != FORMAT_VERSION:
                raise UserError(f"{path}: is of another version; evaluate again")
            problems, vertices, _ = saved.pop("problems"), saved.pop("vertices", None), saved.pop("key")
            saved["protocol"]["eye_corners"] = tuple(saved["protocol"]["eye_corners"])
            origin = Origin(
                **{
                    **saved,
                    "protocol": Protocol(**saved["protocol"]),
                    "types": tuple(map(EvaluationType, saved["types"])),
                }
            )
            names, yaw = [str(name) for name in arrays["names"]], arrays["yaw"]
            if yaw.shape != (len(names),) or yaw.dtype.kind != "f":
                raise ValueError(f"yaw is {yaw.dtype} of shape {yaw.shape}")
            results = Results(origin, names, yaw)
            if not all(map(str.isprintable, (origin.method, origin.landmark_source, *results.names))):
                raise ValueError("a name is not text in one line")
            for name in _ARRAYS:
                found = arrays[name]
                expected = np.asarray(getattr(results, name))
                if (found.shape, found.dtype.kind) != (expected.shape, expected.dtype.kind):
                    raise ValueError(f"{name} is {found.dtype} of shape {found.shape}")
                setattr(results, name, int(found) if name == "vertex_error_count" else found)
    except UserError:
        raise
    except Exception as error:  # a damaged file leads its reader to exceptions of many kinds
        raise UserError(f"{path}: is no readable results file; remove it and evaluate again ({error})") from None
    results.problems, results.vertices = problems, vertices
    return results


RESULTS_NAME = "results.npz"
"""Name of the results file in an output folder."""


def require_comparable(all_results: list[Results]) -> None:
    """Raise UserError unless results were measured on the same images under the same protocol."""
    first = all_results[0].origin
    for results in all_results[1:]:
        other = results.origin
        if other.protocol != first.protocol:
            raise UserError(
                f"{other.method} was measured under another protocol than {first.method}; evaluate both alike"
            )
        if other.subjects_identity != first.subjects_identity:
            raise UserError(
                f"{other.method} was measured on other images or ground truth than {first.method}; evaluate it again"
            )
    for results in all_results:
        if not results.done.all():
            raise UserError(
                f"{results.origin.method}: its evaluation is not finished; run {command('evaluate')} again to resume it"
            )
