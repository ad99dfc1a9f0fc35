"""Results as CSV for programs: the tables' rows, and one line for each image."""

import csv
import io
from collections.abc import Iterable

import numpy as np

from prnet.evaluating.baseline import CONSTANT, constant_landmarks, constant_summaries
from prnet.evaluating.openings import PARTS, landmark_agreements, landmark_openings
from prnet.evaluating.protocols import Summary, summarise
from prnet.evaluating.references import IMAGE_COUNT, Reference, references_for
from prnet.evaluating.results import Results
from prnet.evaluating.types import EvaluationType, Kind

_BIN_KEYS = ("frontal", "half", "profile")
_HEAD = (
    *("method", "method_hash", "origin", "type", "images_hash", "protocol", "normaliser", "z_origin"),
    *("landmarks", "yaw", "images", "without_result", *(f"images_{key}" for key in _BIN_KEYS)),
    *(f"mean_{key}" for key in _BIN_KEYS),
    *(f"deviation_{key}" for key in _BIN_KEYS),
    *("mean_of_bins", "deviation_of_bins", "mean", "deviation", "failure_rate", "area_under_curve"),
    *(f"{part}_{key}" for part in PARTS for key in ("slope", "correlation", "error")),
)


def csv_report(all_results: list[Results]) -> str:
    """The same rows as `tables.markdown_report`, one for each method and error, with their protocol; per cent."""
    first = all_results[0]
    protocol = first.origin.protocol
    shared = [first.origin.subjects_identity, protocol.name, protocol.normaliser, protocol.depth_origin]
    shared += [protocol.landmarks, protocol.yaw]
    rows = []
    for results in all_results:
        who = (results.origin.method, results.origin.method_identity, "measured")
        for column in results.columns:
            summary = summarise(results.of(column), results.yaw)
            opened = _opening_cells(results, column.type, results.landmarks)
            rows.append([*who, column.title, *shared, *_measured_cells(summary), *opened])
    for column, summary in constant_summaries(first):
        opened = _opening_cells(first, column.type, constant_landmarks(first))
        rows.append([CONSTANT, "", "measured", column.title, *shared, *_measured_cells(summary), *opened])
    for reference in references_for(first):
        who = (reference.method, "", f"published: {reference.source}")
        rows.append([*who, reference.type.title, *shared, *_published_cells(reference), *_NO_OPENINGS])
    return _csv([_HEAD, *rows])


_NO_OPENINGS = [""] * 3 * len(PARTS)


def _opening_cells(results: Results, of_type: EvaluationType, landmarks: np.ndarray) -> list[str]:
    if of_type.kind is not Kind.SPARSE:
        return _NO_OPENINGS
    found = landmark_agreements(landmarks, results.true_landmarks).values()
    return [f"{number:.4f}" for each in found for number in (each.slope, each.correlation, each.error)]


def _measured_cells(summary: Summary) -> list[object]:
    numbers = [*summary.bin_means, *summary.bin_deviations, summary.mean_of_bins, summary.deviation_of_bins]
    numbers += [summary.mean, summary.deviation, summary.failure_rate, summary.area_under_curve]
    return [summary.images, summary.without_result, *summary.bin_images, *(f"{number:.4f}" for number in numbers)]


def _published_cells(reference: Reference) -> list[object]:
    empty = [""] * len(_BIN_KEYS)
    means = [*(reference.bins or empty), *empty, reference.mean_of_bins, "", reference.mean, "", "", ""]
    return [IMAGE_COUNT, "", *empty, *means]


def csv_of_images(results: Results) -> str:
    """One line for each image: its name, yaw in degrees, errors in per cent (inf without a result), openings of mouth
    and eyes in per cent, predicted and true, and problem."""
    titles = [column.title for column in results.columns]
    opened = [f"{which}{part}" for part in PARTS for which in ("", "true ")]
    rows: list[Iterable[object]] = [["name", "yaw", *titles, *opened, "problem"]]
    openings = landmark_openings(results.landmarks, results.true_landmarks).values()
    columns = np.column_stack([results.errors, *(values for pair in openings for values in pair)])
    for name, yaw, numbers in zip(results.names, results.yaw, columns, strict=True):
        rows.append([name, f"{yaw:.2f}", *(f"{number:.4f}" for number in numbers), results.problems.get(name, "")])
    return _csv(rows)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
