"""Results as Markdown tables for people, and as the lines that a terminal shows last."""

from collections.abc import Iterable

import numpy as np

from prnet.evaluating.baseline import CONSTANT, constant_errors, constant_landmarks, constant_summaries
from prnet.evaluating.openings import PARTS, STATEMENT, landmark_agreements
from prnet.evaluating.protocols import BIN_NAMES, FAILURE_LIMIT, Summary, summarise
from prnet.evaluating.references import Reference, references_for
from prnet.evaluating.results import Results
from prnet.evaluating.types import EvaluationType, Kind


def markdown_report(all_results: list[Results], left_out: tuple[str, ...] = ()) -> str:
    """Tables of one or more methods, measured alike, with the protocol below."""
    first = all_results[0]
    names = " and ".join(results.origin.method for results in all_results)
    lines = [f"# Evaluation of {names}", "", *_header(all_results), ""]
    if len(all_results) == 1:
        lines += ["## NME in per cent", "", *_table("type", first, _rows_of_types(first)), ""]
    types = sorted({column.type for results in all_results for column in results.columns})
    published = {reference.type for reference in references_for(first)}
    for each in types if len(all_results) > 1 else [each for each in types if each in published]:
        lines += [
            f"## {_capitalised(each.title)}",
            "",
            *_table("method", first, _rows_of_methods(all_results, each)),
            "",
        ]
    lines += _map_cost(first)
    lines += ["## Protocol", "", *(f"- {sentence}" for sentence in first.origin.protocol.statement)]
    lines += [f"- {STATEMENT}"] if any(each.kind is Kind.SPARSE for each in types) else []
    lines += [f"- True landmarks: {first.origin.landmark_source}.", *_reference_note(first), ""]
    for results in all_results:
        lines += _problems(results)
    if left_out:
        lines += ["## Left out, without ground truth", "", *(f"- {line}" for line in left_out), ""]
    return "\n".join(lines).rstrip() + "\n"


def _header(all_results: list[Results]) -> list[str]:
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


def _table(first_head: str, results: Results, rows: Iterable[list[str]]) -> list[str]:
    counts = summarise(np.zeros(len(results.yaw)), results.yaw).bin_images
    bins = [f"{_escaped(name)} (n = {count:,})" for name, count in zip(BIN_NAMES, counts, strict=True)]
    head = [first_head, *bins, "mean of bins", "mean of images", "without result", f"above {FAILURE_LIMIT:g} %", "area"]
    head += PARTS
    return [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *(_row(row) for row in rows)]


def _rows_of_types(results: Results) -> list[list[str]]:
    """One method: its errors, then the constant map's."""
    rows = [
        [*_cells(column.title, summarise(results.of(column), results.yaw)), *_openings(results, column.type)]
        for column in results.columns
    ]
    return rows + [
        [*_cells(f"{CONSTANT}, {column.title}", summary), *_openings(results, column.type, constant=True)]
        for column, summary in constant_summaries(results)
    ]


def _openings(results: Results, of_type: EvaluationType, constant: bool = False) -> list[str]:
    """Mouth and eyes of a row of landmarks; of other types nothing."""
    if of_type.kind is not Kind.SPARSE:
        return [""] * len(PARTS)
    landmarks = constant_landmarks(results) if constant else results.landmarks
    return [each.text for each in landmark_agreements(landmarks, results.true_landmarks).values()]


def _rows_of_methods(all_results: list[Results], wanted: EvaluationType) -> list[list[str]]:
    """One type: methods, the constant map, published results."""
    first, rows = all_results[0], []
    for results in all_results:
        for column in results.columns:
            if column.type is wanted:
                name = f"{results.origin.method}, {column.alignment}" if column.alignment else results.origin.method
                rows.append([*_cells(name, summarise(results.of(column), results.yaw)), *_openings(results, wanted)])
    rows += [
        [*_cells(CONSTANT, summary), *_openings(first, wanted, constant=True)]
        for column, summary in constant_summaries(first)
        if column.type is wanted
    ]
    return rows + [_reference_cells(reference) for reference in references_for(first) if reference.type is wanted]


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _cells(name: str, summary: Summary) -> list[str]:
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


def _reference_cells(reference: Reference) -> list[str]:
    bins = reference.bins or (None,) * len(BIN_NAMES)
    numbers = [*bins, reference.mean_of_bins, reference.mean]
    shown = ["" if number is None else f"{number:.2f}" for number in numbers]
    return [f"*{reference.method}* ({reference.source})", *shown, "", "", "", *[""] * len(PARTS)]


def _with_deviation(mean: float, deviation: float) -> str:
    return "" if np.isnan(mean) else f"{mean:.2f} ± {deviation:.2f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _reference_note(results: Results) -> list[str]:
    if references_for(results):
        return ["- In italics: published results on the same 2,000 images. Their papers do not state the z origin."]
    return [
        "- Published results are not shown: they hold for all 2,000 images of AFLW2000-3D with the original landmarks "
        "and under their own protocol only."
    ]


def _map_cost(results: Results) -> list[str]:
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


def _problems(results: Results) -> list[str]:
    if not results.problems:
        return []
    lines = [f"## Without a result: {results.origin.method}", ""]
    return [*lines, *(f"- {name}: {reason}" for name, reason in results.problems.items()), ""]


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
    if any(column.type.kind is Kind.SPARSE for column in results.columns):
        found = landmark_agreements(results.landmarks, results.true_landmarks)
        shown = "; ".join(f"{part} {each.text}" for part, each in found.items())
        lines.append(f"slope / correlation / mean absolute error in %: {shown}")
    if results.problems:
        lines.append(f"without a result: {len(results.problems)} of {len(results.names)} images")
    return lines
