"""Everything that an evaluation writes to its folder."""

from pathlib import Path

from prnet.common.files import atomic_write
from prnet.evaluating import pictures
from prnet.evaluating.csv_tables import csv_of_images, csv_report
from prnet.evaluating.methods import Method, NetworkMethod
from prnet.evaluating.results import Results, require_comparable
from prnet.evaluating.subjects import Subjects
from prnet.evaluating.tables import markdown_report
from prnet.geometry.uv_layout import UVLayout

FILES = (
    *("benchmark.md", "benchmark.csv", "ced.png", "images.csv", "landmark_errors.png", "yaw_errors.png"),
    *("contact_sheet.png", "error_map.png", "examples.png"),
)
"""Names of all of it but the results themselves."""


def write_comparison(folder: str | Path, all_results: list[Results], left_out: tuple[str, ...] = ()) -> str:
    """`benchmark.md`, `benchmark.csv` and `ced.png` of one or more methods. Returns the table."""
    require_comparable(all_results)
    folder = Path(folder)
    table = markdown_report(all_results, left_out)
    _write(folder / "benchmark.md", table)
    _write(folder / "benchmark.csv", csv_report(all_results))
    pictures.draw_curves(all_results, folder / "ced.png")
    return table


def write_report(
    folder: str | Path, results: Results, subjects: Subjects, method: Method, layout: UVLayout | None
) -> str:
    """Tables and pictures of one method. Returns the table.

    Beside `write_comparison`'s: `images.csv`, `landmark_errors.png`, `yaw_errors.png`, `error_map.png` (dense types),
    `contact_sheet.png` (where there are photos) and `examples.png` (a network, where the true maps are of its layout).
    """
    folder = Path(folder)
    table = write_comparison(folder, [results], subjects.left_out)
    _write(folder / "images.csv", csv_of_images(results))
    pictures.draw_landmark_errors(results, layout, folder / "landmark_errors.png")
    pictures.draw_yaw_errors(results, folder / "yaw_errors.png")
    pictures.draw_contact_sheet(results, subjects, method, layout, folder / "contact_sheet.png")
    if layout is not None:
        pictures.draw_error_map(results, layout, folder / "error_map.png")
        if isinstance(method, NetworkMethod) and subjects.has_mesh and layout.identity == method.layout.identity:
            rows = pictures.example_rows(subjects, method, pictures.example_indices(results))
            if rows[0]:
                pictures.draw_examples(*rows, layout, folder / "examples.png")
    return table


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of folders may be anything
