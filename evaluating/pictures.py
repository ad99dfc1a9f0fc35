"""Pictures of an evaluation: curves, errors on a face and over yaw, contact sheet, examples. matplotlib, no display."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prnet.common.files import atomic_write
from prnet.configure.config import MAP_SIZE
from prnet.evaluating.methods import Method, NetworkMethod
from prnet.evaluating.protocols import FAILURE_LIMIT, cumulative_curve, summarise
from prnet.evaluating.results import Results
from prnet.evaluating.scoring import Failure
from prnet.evaluating.subjects import Subjects
from prnet.evaluating.types import Kind
from prnet.geometry.crop import Box, crop_image, crop_transform, transform_points
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.rasterise import render
from prnet.geometry.uv_layout import UVLayout, face_mask, grid_triangles, resample_map, sample_landmarks

BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
"""Colours that colour-blind people tell apart (Okabe and Ito 2008)."""

PARTS: dict[str, list[Sequence[int]]] = {
    "jaw": [range(0, 17)],
    "brows": [range(17, 22), range(22, 27)],
    "nose": [range(27, 31), range(31, 36)],
    "eyes": [[*range(36, 42), 36], [*range(42, 48), 42]],
    "mouth": [[*range(48, 60), 48], [*range(60, 68), 60]],
}
"""The lines that join the 68 landmarks."""

PANEL = 256
"""Side of a photo in sheets, in pixels."""


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, np.ndarray]:
    """A figure on paper of inches, and its axes (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: str | Path) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names may hold dollars
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


# curves


def draw_curves(all_results: list[Results], path: str | Path) -> None:
    """CED curves: of one method all types, of several methods a panel for each type."""
    panels = _curves_of_types(all_results[0]) if len(all_results) == 1 else _curves_of_methods(all_results)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes = _figure(6.4 * columns, 4.9 * rows, rows, columns)
    for axis, (title, curves) in zip(axes.flat, panels, strict=False):
        for errors, yaw, label, style in curves:
            summary = summarise(errors, yaw)
            x, y = cumulative_curve(errors)
            label += (
                f": {summary.mean:.2f} %, area {summary.area_under_curve:.1f}, failures {summary.failure_rate:.1f} %"
            )
            axis.step(
                np.r_[0, x, max(FAILURE_LIMIT, x.max(initial=0))],
                np.r_[0, y, y.max(initial=0)],
                where="post",
                label=label,
                **style,
            )
        axis.set(xlim=(0, FAILURE_LIMIT), ylim=(0, 100), title=title)
        axis.set(xlabel="NME, % of the type's normaliser", ylabel=f"share of {len(curves[0][0]):,} images, %")
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", bbox_to_anchor=(0, -0.13), frameon=False, fontsize=9)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    protocol = all_results[0].origin.protocol
    figure.suptitle(
        f"Cumulative errors, protocol {protocol.name}, z origin {protocol.depth_origin}\n"
        f"mean NME, area to {FAILURE_LIMIT:g} %, failures above {FAILURE_LIMIT:g} %",
        fontsize=11,
    )
    _save(figure, path)


def _curves_of_types(results: Results) -> list[tuple[str, list]]:
    """Panels of one method: alignment of landmarks and vertices, and reconstruction."""
    colours = {Kind.SPARSE: BLUE, Kind.DENSE: GREEN, "icp": VERMILLION, "rigid": SKY, "similarity": PURPLE}
    alignment: list[tuple] = []
    reconstruction: list[tuple] = []
    for column in results.columns:
        colour = colours[column.alignment or column.type.kind]
        style = {"color": colour, "linestyle": "--" if column.type.dimensions == 2 else "-", "linewidth": 2}
        curves = reconstruction if column.type.kind is Kind.RECONSTRUCTION else alignment
        curves.append((results.of(column), results.yaw, column.title, style))
    named = (
        (f"{results.origin.method}: alignment", alignment),
        (f"{results.origin.method}: reconstruction", reconstruction),
    )
    return [(title, curves) for title, curves in named if curves]


def _curves_of_methods(all_results: list[Results]) -> list[tuple[str, list]]:
    """Panels of several methods: one for each error that all of them have."""
    colours = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
    shared = [column for column in all_results[0].columns if all(column in other.columns for other in all_results)]
    panels = []
    for column in shared:
        curves = []
        for number, results in enumerate(all_results):
            style = {"color": colours[number % len(colours)], "linewidth": 2}
            style["linestyle"] = ("-", "--", ":")[number // len(colours) % 3]
            curves.append((results.of(column), results.yaw, results.origin.method, style))
        panels.append((column.title, curves))
    return panels


# errors by landmark and by yaw


def draw_landmark_errors(results: Results, layout: UVLayout | None, path: str | Path) -> None:
    """Mean 2D error of each landmark, on the mean face, or without a layout on the most frontal image's landmarks."""
    import matplotlib

    errors = results.landmark_errors[np.isfinite(results.landmark_errors).all(axis=1)]
    if not len(errors):
        return
    figure, axes = _figure(7.4, 7, 1, 1)
    axis = axes[0, 0]
    if layout is None:
        known = np.isfinite(results.true_landmarks[:, :, 0]).all(axis=1)
        points = results.true_landmarks[np.argmin(np.where(known, np.abs(results.yaw), np.inf))]
    else:
        points = sample_landmarks(layout.canonical_map, layout)
        axis.imshow(_shaded_face(layout), cmap="gray", vmin=0, vmax=1, alpha=0.55)
    mean = errors.mean(axis=0)
    for lines in PARTS.values():
        for line in lines:
            axis.plot(*points[list(line), :2].T, color="#666666", linewidth=0.8, zorder=1)
    scale = matplotlib.colors.Normalize(0, mean.max())
    dots = axis.scatter(
        *points[:, :2].T, c=mean, s=95, cmap="viridis", norm=scale, edgecolor="white", linewidth=0.8, zorder=2
    )
    figure.colorbar(dots, ax=axis, label="mean distance in the image, % of the normaliser", shrink=0.8)
    members = {name: sorted({index for line in lines for index in line}) for name, lines in PARTS.items()}
    summary = "   ".join(f"{name} {mean[indices].mean():.2f}" for name, indices in members.items())
    figure.suptitle(f"{results.origin.method}: error by landmark, {len(errors):,} images")
    axis.set_title(f"{summary}   all {mean.mean():.2f} %", fontsize=9)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    margin = 0.16 * (high - low).max()
    axis.set(xlim=(low[0] - margin, high[0] + margin), ylim=(high[1] + margin, low[1] - 1.6 * margin), aspect="equal")
    axis.set_axis_off()
    _save(figure, path)


def draw_yaw_errors(results: Results, path: str | Path) -> None:
    """Error of each image over its yaw, with the median and the middle half of each 15 degrees."""
    columns = [column for column in results.columns if column.alignment in (None, "icp")]
    wide = 2 if len(columns) in (2, 4) else min(len(columns), 3)
    rows = -(-len(columns) // wide)
    figure, axes = _figure(5 * wide, 3.9 * rows, rows, wide)
    yaw = np.clip(results.yaw, -90, 90)
    for axis, column in zip(axes.flat, columns, strict=False):
        errors = results.of(column)
        finite = np.isfinite(errors)
        top = max(1.15 * np.percentile(errors[finite], 99), 1e-6) if finite.any() else FAILURE_LIMIT
        inside = errors <= top
        axis.plot(yaw[inside], errors[inside], ".", color=BLUE, alpha=max(0.15, min(1, 150 / len(yaw))), markersize=5)
        axis.plot(yaw[~inside], np.full((~inside).sum(), 0.985 * top), "^", color=VERMILLION, markersize=6)
        edges = np.arange(-90, 91, 15)
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            members = errors[finite & (yaw >= low) & ((yaw < high) | (high == 90))]
            if len(members) >= 5:
                first, middle, third = np.percentile(members, (25, 50, 75))
                axis.fill_between([low, high], first, third, color=ORANGE, alpha=0.35, linewidth=0)
                axis.plot([low, high], [middle, middle], color=BLACK, linewidth=2)
        beyond = int((~inside).sum())
        axis.set_title(
            column.title + (f" ({beyond} above or without result: triangles)" if beyond else ""), fontsize=10
        )
        axis.set(xlim=(-90, 90), ylim=(0, top), xticks=range(-90, 91, 30), xlabel="yaw, degrees", ylabel="NME, %")
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(columns) :]:
        axis.set_axis_off()
    figure.suptitle(
        f"{results.origin.method}: error over yaw\nblack: median of 15 degrees (5 images or more), orange: middle half",
        fontsize=11,
    )
    _save(figure, path)


# errors on the face


def draw_error_map(results: Results, layout: UVLayout, path: str | Path) -> None:
    """Mean dense 3D error of every vertex: on the UV grid, and on the mean face from the front and from the side."""
    import matplotlib

    if results.vertex_error_count == 0:
        return
    mask = face_mask(layout, MAP_SIZE)
    mean = (results.vertex_error_sum / results.vertex_error_count).reshape(MAP_SIZE, MAP_SIZE)
    vertices = layout.canonical_map[mask]
    scale = matplotlib.colors.Normalize(0, np.percentile(mean[mask], 99.5))
    colours = matplotlib.colormaps["viridis"](scale(mean[mask]))[:, :3]
    figure, axes = _figure(13, 5, 1, 3)
    views = [np.ma.masked_where(~mask, mean)] + [_turned_face(vertices, mask, colours, yaw) for yaw in (0, 50)]
    titles = ("UV grid", "mean face, front", "mean face, side")
    for axis, view, title in zip(axes[0], views, titles, strict=True):
        axis.imshow(view, cmap="viridis", norm=scale)
        axis.set_title(title)
        axis.set_axis_off()
    figure.colorbar(
        matplotlib.cm.ScalarMappable(scale, "viridis"),
        ax=axes,
        label="mean 3D distance, % of the dense normaliser",
        shrink=0.8,
        extend="max",
    )
    figure.suptitle(
        f"{results.origin.method}: mean dense error by vertex, {results.vertex_error_count:,} images, "
        f"z origin {results.origin.protocol.depth_origin}"
    )
    _save(figure, path)


def _turned_face(vertices: np.ndarray, mask: np.ndarray, colours: np.ndarray, yaw: float) -> np.ndarray:
    """The mean face (V, 3), turned by yaw degrees, shaded, as a picture."""
    angle = np.radians(yaw)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    side = 2 * PANEL
    turned = vertices @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    turned = (turned - (low + high) / 2) * (0.96 * side / np.ptp(vertices[:, :2], axis=0).max())
    turned[:, :2] += side / 2
    triangles = grid_triangles(mask)
    shade = 0.55 + 0.45 * _facing(turned, triangles)
    return np.clip(render(turned, triangles, colours * shade[:, None], np.ones((side, side, 3))), 0, 1)


def _shaded_face(layout: UVLayout) -> np.ndarray:
    """The mean face, frontal, in its crop, as a grey picture on white."""
    mask = face_mask(layout, MAP_SIZE)
    triangles = grid_triangles(mask)
    vertices = layout.canonical_map[mask]
    shade = np.repeat(0.35 + 0.6 * _facing(vertices, triangles)[:, None], 3, axis=1)
    return np.clip(render(vertices, triangles, shade, np.ones((MAP_SIZE, MAP_SIZE, 3))), 0, 1)


def _facing(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How much each vertex's surface is turned to the viewer, 0 to 1."""
    return np.clip(-vertex_normals(vertices, triangles)[:, 2], 0, 1)


# photos


def draw_contact_sheet(
    results: Results, subjects: Subjects, method: Method, layout: UVLayout | None, path: str | Path, each: int = 4
) -> None:
    """The best, the middle and the worst images: landmarks beside the face laid over the photo."""
    column = results.columns[0]
    errors = results.of(column)
    order = np.flatnonzero(np.isfinite(errors))
    order = order[np.argsort(errors[order])]
    if not len(order) or not subjects.has_photos:
        return
    each = min(each, max(len(order) // 3, 1))
    middle = max((len(order) - each) // 2, 0)
    rows = {"best": order[:each], "middle": order[middle : middle + each], "worst": order[-each:][::-1]}
    mask = method.vertex_mask(layout)
    pictures = 1 if mask is None else 2
    figure, axes = _figure(2.15 * pictures * each + 0.4, 2.55 * len(rows) + 0.6, len(rows), pictures * each)
    for row, (title, chosen) in zip(axes, rows.items(), strict=True):
        found = subjects.read(chosen)
        predictions = method.predict(found)
        for number, (index, subject, prediction) in enumerate(zip(chosen, found, predictions, strict=True)):
            if subject.truth is None or subject.photo is None or isinstance(prediction, Failure):
                continue  # lost since it was measured
            landmarks = subject.truth.landmarks
            crop = crop_transform(_box_of(landmarks), PANEL, margin=1.6)
            photo = crop_image(_as_bytes(subject.photo), crop, PANEL)
            axis = row[pictures * number]
            _show(axis, photo)
            _show_landmarks(axis, transform_points(crop, landmarks), transform_points(crop, prediction.landmarks))
            axis.set_title(
                f"{subject.name}\n{errors[index]:.2f} %, yaw {results.yaw[index]:.0f}°", fontsize=8, loc="left"
            )
            if number == 0:
                axis.text(
                    -0.06, 0.5, title, transform=axis.transAxes, rotation=90, ha="right", va="center", fontsize=12
                )
            if mask is not None and prediction.vertices is not None:
                _show(row[pictures * number + 1], _overlay(photo, transform_points(crop, prediction.vertices), mask))
    figure.suptitle(f"{results.origin.method}: {column.title}; white: true landmarks, orange: predicted")
    _save(figure, path)


def _box_of(landmarks: np.ndarray) -> Box:
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    return Box((low + high) / 2, float((high - low).max()))


def draw_examples(
    photos: list[np.ndarray], true_maps: list[np.ndarray], maps: list[np.ndarray], layout: UVLayout, path: str | Path
) -> None:
    """Rows of photo, landmarks, face laid over the photo, and the position map, true and predicted.

    photos : crops (256, 256, 3) uint8 RGB. true_maps, maps : (256, 256, 3) in the crop's pixels.
    """
    titles = (
        "photo",
        "landmarks: white true, orange predicted",
        "predicted face",
        "true position map",
        "predicted position map",
        "distance of the two",
    )
    figure, axes = _figure(2.5 * len(titles), 2.55 * len(photos) + 0.3, len(photos), len(titles))
    mask = face_mask(layout, MAP_SIZE)
    for row, photo, truth, found in zip(axes, photos, true_maps, maps, strict=True):
        _show(row[0], photo)
        _show(row[1], photo)
        _show_landmarks(row[1], sample_landmarks(truth, layout), sample_landmarks(found, layout))
        _show(row[2], _overlay(photo, found[mask], mask))
        low, high = truth[mask].min(axis=0), truth[mask].max(axis=0)
        for axis, position_map in ((row[3], truth), (row[4], found)):
            levels = np.clip((position_map - low) / np.maximum(high - low, 1e-6), 0, 1)
            _show(axis, np.where(mask[..., None], levels, 1.0))
        distance = 100 * np.linalg.norm(found - truth, axis=-1) / MAP_SIZE
        shown = row[5].imshow(np.ma.masked_where(~mask, distance), cmap="viridis", vmin=0, vmax=10)
        row[5].set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.colorbar(shown, ax=axes[:, -1], label="% of the crop's side", shrink=0.8, extend="max")
    _save(figure, path)


def example_rows(
    subjects: Subjects, method: NetworkMethod, indices: Sequence[int] | np.ndarray
) -> tuple[list, list, list]:
    """Crops of side 256 of some subjects, true and predicted maps in them, as `draw_examples` takes them."""
    photos, true_maps, maps = [], [], []
    found = subjects.read(indices)
    for subject, predicted in zip(found, method.predict_maps(found), strict=True):
        if isinstance(predicted, Failure) or subject.truth is None or subject.truth.mesh is None:
            continue
        if subject.photo is not None and subject.box is not None:
            position_map, _ = predicted
            crop = crop_transform(subject.box, MAP_SIZE)
            photos.append(crop_image(_as_bytes(subject.photo), crop, MAP_SIZE))
            true_maps.append(transform_points(crop, subject.truth.mesh).reshape(MAP_SIZE, MAP_SIZE, 3))
            maps.append(resample_map(position_map, MAP_SIZE) * np.float32((MAP_SIZE - 1) / (method.size - 1)))
    return photos, true_maps, maps


def example_indices(results: Results, count: int = 6) -> np.ndarray:
    """Images with a result, spread evenly over |yaw|: not the best ones."""
    known = np.flatnonzero(np.isfinite(results.errors).all(axis=1))
    order = known[np.argsort(np.abs(results.yaw[known]), kind="stable")]
    return order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]


def _show(axis: Any, picture: np.ndarray) -> None:
    axis.imshow(picture)
    axis.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
    axis.set_axis_off()


def _show_landmarks(axis: Any, truth: np.ndarray, predicted: np.ndarray) -> None:
    for points, colour, width in ((truth, "white", 1.6), (predicted, ORANGE, 1.0)):
        for lines in PARTS.values():
            for line in lines:
                axis.plot(*points[list(line), :2].T, color=colour, linewidth=width)
    axis.plot(*predicted[:, :2].T, ".", color=ORANGE, markersize=2.5)


def _overlay(photo: np.ndarray, vertices: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The face (V, 3) in the photo's pixels, shaded, half transparent over the photo."""
    triangles = grid_triangles(mask)
    shade = 255 * (0.2 + 0.75 * _facing(vertices, triangles)[:, None]) * np.array([0.80, 0.90, 1.0])
    drawn = render(vertices, triangles, shade, photo.astype(np.float32))
    return np.clip(0.75 * drawn + 0.25 * photo, 0, 255).astype(np.uint8)


def _as_bytes(photo: np.ndarray) -> np.ndarray:
    return photo if photo.dtype == np.uint8 else np.rint(255 * np.clip(photo, 0, 1)).astype(np.uint8)
