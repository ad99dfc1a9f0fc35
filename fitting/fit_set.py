"""A set of photos with landmarks -> a set of photos with fits, ready to be trained on, and a report of each."""

import csv
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.common.files import atomic_write
from prnet.common.ordered import in_order
from prnet.common.threads import ONE_THREAD
from prnet.fitting.evidence import UPWARDS, FitModel, Landmarks
from prnet.fitting.group import solve_group
from prnet.fitting.output import as_jpeg, fit_archive, fit_file, fit_folder, stem_in_set
from prnet.fitting.quality import Quality, complaint, measure
from prnet.fitting.solver import Rules, Solution
from prnet.formats.image_files import check_image
from prnet.formats.pairs import MAX_IMAGE_BYTES, PairSource, find_pairs
from prnet.generating.split import group_name
from prnet.geometry.face_model import FaceModel, face_landmarks
from prnet.geometry.pose import pixels_to_fit

TABLE = "fits.csv"
COLUMNS = (
    *("photo", "kept", "reason", "pitch", "yaw", "roll"),
    *("residual", "disagreement", "identity", "activity", "sources"),
)
CHUNK = 32
"""Photos that a worker fits at a time, whole groups where they share an identity."""

JOBS_AHEAD = 4


@dataclass(frozen=True)
class Job:
    """A photo to be fitted."""

    photo: str  # file within the source
    landmarks: Landmarks
    height: int
    width: int


@dataclass(frozen=True)
class Outcome:
    """What became of a photo: its fit and its quality, or the reason why there is none."""

    photo: str
    height: int = 0
    identity: np.ndarray | None = None  # (S,)
    expression: np.ndarray | None = None  # (E,)
    pose: np.ndarray | None = None  # (7,) `Pose_Para`
    quality: Quality | None = None
    reason: str | None = None  # why it is left out
    landmarks: np.ndarray | None = None  # (68, 3) that were given, pixels of the photo, where all are known

    @property
    def residual(self) -> float:
        """Of its fit; infinite without one."""
        return self.quality.residual if self.quality else np.inf

    @property
    def coefficients(self) -> np.ndarray:
        return np.concatenate([self.identity, self.expression])


@dataclass(frozen=True)
class FitSet:
    """What was made. outcomes : one for each photo, in the order of their names."""

    source: Path
    outcomes: list[Outcome]
    without_photo: list[str] = field(default_factory=list)  # names of landmarks that belong to no photo

    @property
    def kept(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.reason is None]

    @property
    def left_out(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.reason is not None]


def make_fit_set(
    images: Path,
    landmarks,
    output: Path,
    face_model: FaceModel,
    *,
    zipped: bool = False,
    grouped: bool = False,
    workers: int | None = None,
) -> FitSet:
    """Fit every photo below `images` (folder or zip) and write photos, fits and `fits.csv` into the folder `output`.

    landmarks : a `LandmarkSource`, or a `NetworkLandmarks`. zipped : into `300W-LP.zip` there, else into `300W_LP/`.
    grouped : photos of one name but for its last number share an identity. The result does not depend on `workers`.
    Photos without a usable fit are left out, each with its reason in `fits.csv`. Raises UserError where no photo is
    left.
    """
    from tqdm import tqdm

    model = FitModel(face_model)
    outcomes: dict[str, Outcome] = {}
    write = fit_archive if zipped else fit_folder
    with find_pairs(images) as source, write(output) as add:
        if not source.photos:
            raise UserError(f"{images}: holds no photo (.jpg, .png); give a folder or a zip of them")
        if not landmarks.needs_photo:
            landmarks.require_distinct([os.path.splitext(photo)[0] for photo in source.photos])
        found = _jobs(source, landmarks, outcomes)
        with tqdm(total=len(source.photos), unit="photo", disable=None) as bar:
            for outcome in _fitted(_chunks(found, grouped), model, workers):
                outcomes[outcome.photo] = outcome
                if outcome.reason is None:
                    _write(outcome, source, face_model, add)
                bar.update(1)
        made = FitSet(Path(images), [outcomes[photo] for photo in source.photos], landmarks.unused())
        if not made.kept:
            first = made.outcomes[0]
            raise UserError(
                f"{images}/{first.photo}: {first.reason} (and no other of the {len(outcomes)} photos has a fit)"
            )
    write_table(made, output / TABLE)
    return made


def _jobs(source: PairSource, landmarks, outcomes: dict) -> Iterator[Job]:
    """The photos that have landmarks; of the others an outcome with the reason."""
    stems: dict[str, str] = {}
    for photo in source.photos:
        name, stem = f"{source.path}/{photo}", stem_in_set(photo, source.path)
        try:
            if stems.setdefault(stem, photo) != photo:
                raise UserError(f"would be {stem} in the set, as {stems[stem]} is; rename one of them")
            yield job_of_photo(photo, source.read(photo, MAX_IMAGE_BYTES), landmarks, name)
        except InputLost:
            raise
        except UserError as error:
            outcomes[photo] = Outcome(photo, reason=str(error).removeprefix(f"{name}: "))


def job_of_photo(photo: str, content: bytes, landmarks, name: str) -> Job:
    """A photo with its landmarks, checked. name : what errors call it. Raises UserError where it has none."""
    height, width = check_image(content, name)
    if landmarks.needs_photo:
        known = landmarks.of_photo(content, name)
    else:
        known = landmarks.landmarks(os.path.splitext(photo)[0])
        if known is None:
            raise UserError("no landmarks of this photo were given")
    _require_inside(known, height, width)
    return Job(photo, known, height, width)


def _require_inside(landmarks: Landmarks, height: int, width: int) -> None:
    """Refuse points that cannot be of this photo: most of them beside it, or values that are no pixels."""
    for name, points in (("the 68 landmarks", landmarks.ibug), ("MediaPipe's points", landmarks.mediapipe)):
        if points is None:
            continue
        known = points[np.isfinite(points[:, :2]).all(axis=1), :2]
        if np.isinf(points).any() or (len(known) and np.nanmax(np.abs(points)) > 10 * max(height, width)):
            raise UserError(f"{name} lie far outside the photo of {width} x {height} pixels")
        inside = ((known >= 0) & (known < (width, height))).all(axis=1)
        if len(known) and inside.mean() < 0.5:
            raise UserError(f"most of {name} lie outside the photo of {width} x {height} pixels")


def _chunks(jobs: Iterator[Job], grouped: bool) -> Iterator[list[list[Job]]]:
    """Groups of jobs, enough at a time to be worth a worker's way."""
    chunk = []
    for group in _groups(jobs, grouped):
        chunk.append(group)
        if sum(map(len, chunk)) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _groups(jobs: Iterator[Job], grouped: bool) -> Iterator[list[Job]]:
    if not grouped:
        yield from ([job] for job in jobs)
        return
    groups: dict[PurePosixPath, list[Job]] = {}
    for job in jobs:
        path = PurePosixPath(job.photo)
        groups.setdefault(path.parent / group_name(path.stem), []).append(job)
    yield from groups.values()


def _fitted(chunks, model: FitModel, workers: int | None) -> Iterator[Outcome]:
    """The outcomes of all jobs, in order, from processes with one BLAS thread each: so sums have one order."""
    workers = workers or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with _one_blas_thread(), ProcessPoolExecutor(workers, context, _start_worker, (model,)) as pool:
        for outcomes in in_order(pool, _fit_chunk, chunks, ahead=workers * JOBS_AHEAD):
            yield from outcomes


@contextmanager
def _one_blas_thread():
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


_model: FitModel


def _start_worker(model: FitModel) -> None:
    global _model
    _model = model


def _fit_chunk(chunk: list[list[Job]]) -> list[Outcome]:
    return [outcome for group in chunk for outcome in fit_together(_model, group)]


def fit_together(model: FitModel, jobs: list[Job]) -> list[Outcome]:
    """Fits of photos that share an identity, or of one photo."""
    outcomes, usable = [], []
    for job in jobs:
        try:
            usable.append((job, model.evidence(job.landmarks)))
        except UserError as error:
            outcomes.append(Outcome(job.photo, reason=str(error)))
        except (ValueError, np.linalg.LinAlgError) as error:
            outcomes.append(Outcome(job.photo, reason=f"cannot be fitted: {error}"))
    try:
        solutions = (
            solve_group(model.points, [evidence.observation for _, evidence in usable], Rules()) if usable else []
        )
    except (ValueError, np.linalg.LinAlgError) as error:
        return outcomes + [Outcome(job.photo, reason=f"cannot be fitted: {error}") for job, _ in usable]
    for (job, evidence), solution in zip(usable, solutions, strict=True):
        quality = measure(model, evidence, solution)
        identity, expression = model.full(solution.coefficients)
        pose = pose_parameters(solution, job.height)
        fitted = identity, expression, pose, quality, complaint(quality)
        outcomes.append(Outcome(job.photo, job.height, *fitted, landmarks=_all_known(job.landmarks.ibug)))
    return outcomes


def _all_known(points: np.ndarray | None) -> np.ndarray | None:
    return None if points is None or not np.isfinite(points[:, :2]).all() else points


def pose_parameters(solution: Solution, height: int) -> np.ndarray:
    """`Pose_Para` (7,) of a solution in a photo of that height."""
    transform = np.zeros((3, 4))
    transform[:, :3] = solution.pose.scale * solution.pose.rotation
    transform[:2, 3] = solution.pose.shift
    return pixels_to_fit(transform * UPWARDS[:, None], height)


def _write(outcome: Outcome, source: PairSource, face_model: FaceModel, add) -> None:
    content = source.read(outcome.photo, MAX_IMAGE_BYTES)
    name = f"{source.path}/{outcome.photo}"
    height, width = check_image(content, name)
    stem = stem_in_set(outcome.photo, source.path)
    landmarks = face_landmarks(face_model, outcome.coefficients)
    add(f"{stem}.jpg", as_jpeg(content, name))
    fit = fit_file(outcome.identity, outcome.expression, outcome.pose, landmarks, height, width, outcome.landmarks)
    add(f"{stem}.mat", fit)


def write_table(made: FitSet, path: Path) -> None:
    """One line for each photo, and for each name among the landmarks that belongs to none."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for outcome in made.outcomes:
            table.writerow(
                [outcome.photo, int(outcome.reason is None), outcome.reason or "", *_figures(outcome.quality)]
            )
        for name in made.without_photo:
            table.writerow([name, 0, "landmarks without a photo"])


def _figures(quality: Quality | None) -> list[str]:
    if quality is None:
        return []
    numbers = (*quality.angles, quality.residual, quality.disagreement, quality.identity, quality.activity)
    return [f"{number:.3f}" for number in numbers] + ["+".join(quality.sources)]
