"""Predicted meshes of many images against scans: measured, summarised, and as tables and a curve."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from prnet.common.errors import UserError, printable
from prnet.common.files import atomic_write
from prnet.evaluating.scan_protocols import SEVEN_OF_68, PredictedMesh, Scan, ScanProtocol
from prnet.evaluating.scan_references import reference_rows
from prnet.formats.scan_files import find_prediction, find_scan, read_mesh, read_seven_landmarks
from prnet.geometry.surface import Surface

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""Millimetres of the units that predictions may be in."""

FILES = ("scans.md", "scan_images.csv", "scan_curve.png")
EYE_DISTANCES = (40.0, 160.0)
"""Millimetres between the outer eye corners that a face can have: what another unit is told by."""

CURVE_END = 7.0
"""Millimetres at which the cumulative curve ends."""


@dataclass(frozen=True, eq=False)
class ScanResult:
    """One image: distances in mm, or why there are none."""

    image: PurePosixPath
    distances: np.ndarray | None  # (n,) float32
    problem: str | None = None

    @property
    def challenge(self) -> str:
        return self.image.parts[1]


def measure_scans(
    scans: Path,
    predictions: Path,
    images: Sequence[PurePosixPath],
    protocol: ScanProtocol,
    *,
    metric: bool = False,
    unit: str = "mm",
    progress: Callable[[ScanResult], None] = lambda result: None,
) -> list[ScanResult]:
    """Each image by a protocol; one without a usable prediction or scan is noted with the reason and counted."""
    if not predictions.is_dir():
        raise UserError(f"{predictions}: no such folder of predictions")
    scan_of = lru_cache(maxsize=1)(lambda subject: _read_scan(scans, subject))
    results = []
    for image in images:
        try:
            distances = _measure(scan_of(image.parts[0]), predictions, image, protocol, metric, UNITS[unit])
            results.append(ScanResult(image, distances))
        except UserError as error:
            results.append(ScanResult(image, None, str(error)))
        progress(results[-1])
    return results


def _read_scan(folder: Path, subject: str) -> Scan:
    mesh, marks = find_scan(folder, subject)
    landmarks = read_seven_landmarks(marks, SEVEN_OF_68)
    _require_human_size(landmarks, f"{marks}: scans have to be in millimetres")
    return Scan(read_mesh(mesh)[0], landmarks)


def _require_human_size(landmarks: np.ndarray, complaint: str) -> None:
    """Raise UserError where the outer eye corners are not as far apart as people's, infants' among them."""
    low, high = EYE_DISTANCES
    apart = float(np.linalg.norm(landmarks[0] - landmarks[3]))
    if not low <= apart <= high:
        raise UserError(f"{complaint}, but the outer eye corners are {apart:.3g} mm apart")


OFF_MESH = 0.25
"""Mean distance of the landmarks from their mesh, over their own spread, above which they are not of it."""


def _require_on_mesh(mesh: PredictedMesh, complaint: str) -> None:
    apart = np.linalg.norm(Surface(mesh.vertices, mesh.triangles).nearest(mesh.landmarks) - mesh.landmarks, axis=1)
    spread = np.linalg.norm(mesh.landmarks - mesh.landmarks.mean(axis=0), axis=1).mean()
    if apart.mean() > OFF_MESH * spread:
        raise UserError(f"{complaint}; give both in the same axes and unit, y up where the mesh's is")


def _measure(
    scan: Scan, folder: Path, image: PurePosixPath, protocol: ScanProtocol, metric: bool, scale: float
) -> np.ndarray:
    found = find_prediction(folder, image)
    if found is None:
        raise UserError(f"{folder / image.with_suffix('')}: has no predicted mesh")
    vertices, triangles = read_mesh(found[0])
    if not len(triangles):
        raise UserError(f"{found[0]}: has no triangles")
    mesh = PredictedMesh(scale * vertices, triangles, scale * read_seven_landmarks(found[1], SEVEN_OF_68))
    _require_on_mesh(mesh, f"{found[1]}: its landmarks lie off the mesh beside it")
    if metric:
        _require_human_size(mesh.landmarks, f"{found[1]}: is not in the stated `unit`")
    try:
        distances = protocol.distances(mesh, scan, metric)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise UserError(
            f"{found[0]}: cannot be laid over its scan: {error}; check landmarks, their order and units"
        ) from None
    if not np.isfinite(distances).all():
        raise UserError(f"{found[0]}: its distances are not finite")
    return distances.astype(np.float32)


@dataclass(frozen=True)
class ScanSummary:
    """Numbers of some images, in mm, over all vertices of all images together; NaN without any."""

    images: int
    missing: int
    median: float
    mean: float
    deviation: float
    root_mean_square: float  # of each image, mean over images
    image_deviation: float  # of those


def summarise_scans(results: Sequence[ScanResult]) -> ScanSummary:
    """Missing images are counted and have no distances."""
    found = [result.distances for result in results if result.distances is not None]
    missing = len(results) - len(found)
    if not found:
        return ScanSummary(len(results), missing, *[float("nan")] * 5)
    pooled = np.concatenate(found).astype(np.float64)
    squares = [np.sqrt(np.mean(each.astype(np.float64) ** 2)) for each in found]
    figures = (np.median(pooled), pooled.mean(), pooled.std(), np.mean(squares), np.std(squares))
    return ScanSummary(len(results), missing, *map(float, figures))


def scan_table(name: str, results: Sequence[ScanResult], protocol: ScanProtocol, metric: bool, unit: str) -> str:
    """The Markdown report: all images, each challenge, published rows, protocol, what is missing."""
    challenges = sorted({result.challenge for result in results})
    groups = [("all", list(results))]
    groups += [(each, [result for result in results if result.challenge == each]) for each in challenges]
    lines = [f"# {printable(name)} against scans", ""]
    variant = f", metric variant, predictions in {unit}" if metric else ""
    lines += [f"Protocol `{protocol.name}`{variant}. Millimetres.", ""]
    lines += ["| images | number | missing | median | mean | deviation | RMS of an image |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    lines += [_row(printable(title), summarise_scans(group)) for title, group in groups]
    lines += ["", "## Protocol", "", protocol.statement, ""]
    lines += reference_rows(protocol.name, metric)
    problems = [result for result in results if result.problem]
    if problems:
        lines += ["## Missing", "", *(f"- {printable(f'{each.image}: {each.problem}')}" for each in problems), ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(title: str, summary: ScanSummary) -> str:
    numbers = (summary.median, summary.mean, summary.deviation)
    shown = ["" if np.isnan(number) else f"{number:.2f}" for number in numbers]
    per_image = "" if summary.missing == summary.images else f"{summary.root_mean_square:.2f}"
    if per_image:
        per_image += f" ± {summary.image_deviation:.2f}"
    cells = [title.replace("|", r"\|"), str(summary.images), str(summary.missing), *shown, per_image]
    return f"| {' | '.join(cells)} |"


def write_scan_report(
    folder: Path, name: str, results: Sequence[ScanResult], protocol: ScanProtocol, metric: bool, unit: str
) -> str:
    """Write `FILES` to a folder. Returns the table."""
    table = scan_table(name, results, protocol, metric, unit)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "vertices", "median", "mean", "deviation", "root_mean_square", "problem"])
    for result in results:
        each = summarise_scans([result])
        count = 0 if result.distances is None else len(result.distances)
        numbers = (each.median, each.mean, each.deviation, each.root_mean_square)
        writer.writerow([result.image, count, *(f"{number:.4f}" for number in numbers), result.problem or ""])
    for file, content in (("scans.md", table), ("scan_images.csv", text.getvalue())):
        with atomic_write(folder / file) as temporary:
            temporary.write_text(content, encoding="utf-8", errors="backslashreplace")
    _draw_curve(folder / "scan_curve.png", name, results, protocol.name)
    return table


def _draw_curve(path: Path, name: str, results: Sequence[ScanResult], protocol: str) -> None:
    """Share of all vertices of all images that lie nearer than a distance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = [result.distances for result in results if result.distances is not None]
    ascending = np.sort(np.concatenate(found)) if found else np.zeros(0)
    at = np.linspace(0, CURVE_END, 351)
    share = 100 * np.searchsorted(ascending, at, side="right") / max(len(ascending), 1)
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(at, share)
    axis.set(xlim=(0, CURVE_END), ylim=(0, 100), xlabel="distance, mm", ylabel="share of vertices, %")
    axis.set_title(f"{printable(name)}, protocol {protocol}", parse_math=False)
    axis.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
