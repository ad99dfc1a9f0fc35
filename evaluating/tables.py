"""Results as tables: Markdown for people, CSV for programs, one line for each image."""

import csv
import io
import re

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE
from prnet.evaluating.nme import nme, residuals_from_origins
from prnet.evaluating.protocols import BIN_NAMES, FAILURE_LIMIT, SPARSE, TYPES, Protocol, Summary, summarise
from prnet.evaluating.references import IMAGES, REFERENCES, Reference
from prnet.evaluating.results import Results
from prnet.evaluating.scoring import Column
from prnet.geometry.crop import Box, crop_transform, invert_transform, transform_points

CONSTANT = "constant mean map"
"""What the method is called that says the same of every crop."""


def constant_errors(results: Results) -> dict[Column, np.ndarray]:
    """Errors (N,) of the sparse types of the constant mean map: the same 68 landmarks in every crop.

    They are the mean of the true ones in the reference crops of these very images, which is what the mean of their
    true position maps holds: no other constant does better in squared error, a training set's mean among them.
    """
    columns = [Column(index) for index in SPARSE if index in results.origin.types]
    known = np.isfinite(results.boxes).all(axis=1) & np.isfinite(results.normalisers)
    if not columns or not known.any():
        return {}
    truth = np.nan_to_num(results.true_landmarks[known])
    boxes = results.boxes[known]
    crops = [crop_transform(Box(box[:2], box[2]), MAP_SIZE) for box in boxes]
    inside = np.stack([transform_points(crop, points) for crop, points in zip(crops, truth, strict=True)])
    inside[..., 2] -= inside[..., 2].mean(axis=1, keepdims=True)
    constant = inside.mean(axis=0)
    restored = np.stack([transform_points(invert_transform(crop), constant) for crop in crops])
    restored[..., 2] += truth[..., 2].mean(axis=1, keepdims=True)
    residuals = residuals_from_origins(restored, truth, results.origin.protocol.depth_origin)
    errors = {}
    for column in columns:
        errors[column] = np.full(len(results.names), np.nan)
        errors[column][known] = nme(residuals[..., : column.dimensions], results.normalisers[known])
    return errors


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
                f"{other.method} was measured on other images or another truth than {first.method}; evaluate it again"
            )
    for results in all_results:
        if not results.done.all():
            raise UserError(
                f"{results.origin.method}: its evaluation is not finished; run evaluate_model.py again to go on"
            )


def markdown_report(all_results: list[Results], left_out: tuple[str, ...] = ()) -> str:
    """Tables of one or more methods, measured alike, with the protocol below."""
    first = all_results[0]
    names = " and ".join(results.origin.method for results in all_results)
    lines = [f"# Evaluation of {names}", "", *_header(all_results), ""]
    if len(all_results) == 1:
        lines += ["## NME in per cent", "", *_table("type", first, _rows_of_types(first)), ""]
    indices = sorted({column.index for results in all_results for column in results.columns})
    published = {reference.index for reference in references_for(first)}
    for index in indices if len(all_results) > 1 else [index for index in indices if index in published]:
        lines += [
            f"## {_capitalised(TYPES[index])}",
            "",
            *_table("method", first, _rows_of_methods(all_results, index)),
            "",
        ]
    lines += _map_cost(first)
    lines += ["## Protocol", "", *(f"- {sentence}" for sentence in first.origin.protocol.statement)]
    lines += [f"- True landmarks: {first.origin.landmark_source}.", *_reference_note(first), ""]
    for results in all_results:
        lines += _problems(results)
    if left_out:
        lines += ["## Left out, for want of a truth", "", *(f"- {line}" for line in left_out), ""]
    return "\n".join(lines).rstrip() + "\n"


def _header(all_results):
    first = all_results[0].origin
    count = len(all_results[0].names)
    lines = ["| | |", "| --- | --- |"]
    for results in all_results:
        lines.append(f"| method | {results.origin.method}, hash `{results.origin.method_identity}` |")
    lines.append(f"| images | {count:,}, hash `{first.subjects_identity}` |")
    protocol = first.protocol
    lines.append(
        f"| protocol | `{protocol.name}`: normaliser {protocol.normaliser}, z origin {protocol.depth_origin}, "
        f"landmarks {protocol.landmarks}, yaw by {protocol.yaw} |"
    )
    return lines


def _table(first_head: str, results: Results, rows) -> list[str]:
    counts = summarise(np.zeros(len(results.yaw)), results.yaw).bin_images
    bins = [f"{_escaped(name)} (n = {count:,})" for name, count in zip(BIN_NAMES, counts, strict=True)]
    head = [first_head, *bins, "mean of bins", "mean of images", "without result", f"above {FAILURE_LIMIT:g} %", "area"]
    return [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *(_row(row) for row in rows)]


def _rows_of_types(results: Results) -> list[list[str]]:
    """One method: its errors, then the constant map's."""
    rows = [_cells(column.title, summarise(results.of(column), results.yaw)) for column in results.columns]
    return rows + [_cells(f"{CONSTANT}, {title}", summary) for title, summary in _constant_summaries(results)]


def _rows_of_methods(all_results: list[Results], index: int) -> list[list[str]]:
    """One type: methods, the constant map, published results."""
    first, rows = all_results[0], []
    for results in all_results:
        for column in results.columns:
            if column.index == index:
                name = f"{results.origin.method}, {column.alignment}" if column.alignment else results.origin.method
                rows.append(_cells(name, summarise(results.of(column), results.yaw)))
    rows += [_cells(CONSTANT, summary) for title, summary in _constant_summaries(first) if title == TYPES[index]]
    return rows + [_reference_cells(reference) for reference in references_for(first) if reference.index == index]


def _constant_summaries(results: Results):
    for column, errors in constant_errors(results).items():
        known = np.isfinite(errors)
        yield column.title, summarise(errors[known], results.yaw[known])


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _cells(name: str, summary: Summary):
    bins = zip(summary.bin_means, summary.bin_deviations, strict=True)
    return [
        _escaped(name),
        *(_with_deviation(mean, deviation) for mean, deviation in bins),
        _with_deviation(summary.mean_of_bins, summary.deviation_of_bins),
        _with_deviation(summary.mean, summary.deviation),
        str(summary.without_result),
        f"{summary.failure_rate:.1f} %",
        f"{summary.area_under_curve:.1f}",
    ]


def _reference_cells(reference: Reference):
    bins = reference.bins or (None,) * len(BIN_NAMES)
    numbers = [*bins, reference.mean_of_bins, reference.mean]
    shown = ["" if number is None else f"{number:.2f}" for number in numbers]
    return [f"*{reference.method}* ({reference.source})", *shown, "", "", ""]


def _with_deviation(mean: float, deviation: float) -> str:
    return "" if np.isnan(mean) else f"{mean:.2f} ± {deviation:.2f}"


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def references_for(results: Results) -> list[Reference]:
    """Published rows that may stand beside these results: the same protocol, and all of AFLW2000-3D."""
    protocol = results.origin.protocol
    same_images = len(results.names) == IMAGES and all(re.fullmatch(r"image\d{5}", name) for name in results.names)
    if not same_images or protocol.landmarks != Protocol.landmarks:
        return []
    return [
        reference
        for reference in REFERENCES
        if reference.protocol == protocol.name
        and (reference.bins is None or protocol.yaw == Protocol.yaw)
        and (reference.index in (0, 2, 4) or protocol.depth_origin == Protocol.depth_origin)
    ]


def _reference_note(results: Results):
    if references_for(results):
        return ["- In italics: published results on the same 2,000 images. Their papers do not state the z origin."]
    return [
        "- Published results are not shown: they hold for all 2,000 images of AFLW2000-3D with the original landmarks "
        "and under their own protocol only."
    ]


def _map_cost(results: Results):
    known = np.isfinite(results.map_errors)
    if not known[:, 0].any():
        return []
    parts = [
        f"{np.mean(results.map_errors[known[:, row], row]):.2f} % sparse {dimensions}D"
        for row, dimensions in enumerate((2, 3))
        if known[:, row].any()
    ]
    return [
        "## What the position map itself costs",
        "",
        f"The true maps' own landmarks, on the method's grid, against the true landmarks: {', '.join(parts)}. A "
        "network that regresses the maps perfectly scores this much in the sparse types and, but for a coarser grid, 0 "
        "in the others. Where the true landmarks are pt3d_68, it includes how far the face model's fit lies from them.",
        "",
    ]


def _problems(results: Results):
    if not results.problems:
        return []
    lines = [f"## Without a result: {results.origin.method}", ""]
    return [*lines, *(f"- {name}: {reason}" for name, reason in results.problems.items()), ""]


def csv_report(all_results: list[Results]) -> str:
    """The same rows as `markdown_report`, one for each method and error, with their protocol; per cent."""
    first = all_results[0]
    protocol = first.origin.protocol
    rows = []
    for results in all_results:
        for column in results.columns:
            summary = summarise(results.of(column), results.yaw)
            rows.append((results.origin.method, results.origin.method_identity, "measured", column.title, summary))
    rows += [(CONSTANT, "", "measured", title, summary) for title, summary in _constant_summaries(first)]
    head = [
        "method",
        "method_hash",
        "origin",
        "type",
        "images_hash",
        "protocol",
        "normaliser",
        "z_origin",
        "landmarks",
        "yaw",
        "images",
    ]
    head += ["without_result", *(f"images_{number}" for number in _BIN_KEYS), *(f"mean_{key}" for key in _BIN_KEYS)]
    head += [f"deviation_{key}" for key in _BIN_KEYS]
    head += ["mean_of_bins", "deviation_of_bins", "mean", "deviation", "failure_rate", "area_under_curve"]
    shared = [
        first.origin.subjects_identity,
        protocol.name,
        protocol.normaliser,
        protocol.depth_origin,
        protocol.landmarks,
        protocol.yaw,
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for method, identity, origin, title, summary in rows:
        numbers = [*summary.bin_means, *summary.bin_deviations, summary.mean_of_bins, summary.deviation_of_bins]
        numbers += [summary.mean, summary.deviation, summary.failure_rate, summary.area_under_curve]
        counts = [summary.images, summary.without_result, *summary.bin_images]
        writer.writerow([method, identity, origin, title, *shared, *counts, *(f"{number:.4f}" for number in numbers)])
    for reference in references_for(first):
        bins = reference.bins or ("",) * len(_BIN_KEYS)
        numbers = [*bins, *[""] * len(_BIN_KEYS), reference.mean_of_bins, "", reference.mean, "", "", ""]
        origin = f"published: {reference.source}"
        counts = [IMAGES, *[""] * (1 + len(_BIN_KEYS))]
        writer.writerow([reference.method, "", origin, TYPES[reference.index], *shared, *counts, *numbers])
    return text.getvalue()


_BIN_KEYS = ("frontal", "half", "profile")


def csv_of_images(results: Results) -> str:
    """One line for each image: its name, yaw in degrees, errors in per cent (inf without a result) and problem."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "yaw", *(column.title for column in results.columns), "problem"])
    for name, yaw, errors in zip(results.names, results.yaw, results.errors, strict=True):
        writer.writerow([name, f"{yaw:.2f}", *(f"{error:.4f}" for error in errors), results.problems.get(name, "")])
    return text.getvalue()


def closing_lines(results: Results) -> list[str]:
    """What a terminal shows last: the method's NME beside the constant mean map's, and what has no result."""
    lines = []
    constant = constant_errors(results)
    for column in results.columns:
        mean = summarise(results.of(column), results.yaw).mean
        line = f"{results.origin.method}, {column.title}: {mean:.2f} % mean of images"
        if column in constant:
            line += f"; {CONSTANT}: {np.nanmean(constant[column]):.2f} %"
        lines.append(line)
    if results.problems:
        lines.append(f"without a result: {len(results.problems)} of {len(results.names)} images")
    return lines
