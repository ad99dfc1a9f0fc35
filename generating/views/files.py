"""A set of photos with fits -> a set of views of them, in 300W-LP's format."""

import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.common.ordered import in_order
from prnet.formats.encoding import encode_jpeg
from prnet.formats.fit_files import Fit, read_fit, require_model
from prnet.formats.image_files import check_image, decode_image
from prnet.formats.mat_files import mat_file_bytes, read_mat_arrays
from prnet.formats.pairs import find_pairs
from prnet.generating.views.plan import ViewSettings, plan_expressions, plan_views
from prnet.generating.views.profiling import render_view, view_angles, view_pose, view_transform
from prnet.generating.views.relief import FaceGrid, Relief, make_relief, move, with_expression
from prnet.geometry.crop import landmark_box
from prnet.geometry.face_model import FaceModel, face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.transforms import apply_transform

JPEG_QUALITY = 95

JOBS_AHEAD = 8
"""Photos read ahead of each worker: bounds the memory."""

_KEPT_FIELDS = ("Shape_Para", "Exp_Para", "Tex_Para", "Illum_Para", "Color_Para", "pt3d_68")


@dataclass(frozen=True)
class ViewSet:
    """What was made, and for each photo that was left out a line that says why."""

    photos: int
    views: int
    left_out: list[str]


def make_view_set(
    source: str | Path,
    output: str | Path,
    grid: FaceGrid,
    settings: ViewSettings,
    *,
    subfolder: str | Path = "",
    fit_shift: tuple[float, float] = (0.0, 0.0),
    workers: int | None = None,
) -> ViewSet:
    """Write the views of every photo with a fit below `source` (folder or zip) to a new folder `output`.

    Folders, below `subfolder`, and names are kept: `<photo>-v00.jpg` is the photo itself in the views' frame, `-v01`
    and on are its views, rotated ones before those with other expressions, each with its `.mat`. A photo that cannot be
    used is left out. fit_shift : moves every fit first, in sides of its landmark box, x right and y down. The result
    does not depend on `workers`, by default one process for each core. The folder appears when it is complete. Raises
    UserError where it is there already or no photo can be used.
    """
    from tqdm import tqdm

    if settings.expressions and grid.lips is None:
        raise UserError("the face model has no hole between its lips, so no mouth can open; leave `expressions` out")
    with find_pairs(source) as photos, _atomic_folder(Path(output)) as folder:
        pairs, fits, left_out = [], [], list(photos.left_out)
        for pair in photos:
            try:
                fit = read_fit(pair.fit_bytes(), pair.fit_file)
                require_model(fit, grid.landmarks, pair.fit_file)
            except UserError as error:
                left_out.append(str(error))
            else:
                pairs.append(pair)
                fits.append(moved_fit(fit, grid.landmarks, fit_shift))
        if not pairs:
            reason = f" ({left_out[0]})" if left_out else ""
            raise UserError(f"{source}: no .jpg with a usable .mat of the same name beside it{reason}")
        pitch, yaw = np.degrees([fit.pose[:2] for fit in fits]).T
        plan = plan_views(pitch, yaw, settings)
        expressions: list[list[np.ndarray]] = [[] for _ in fits]
        if settings.expressions:
            coefficients = np.array([fit.coefficients for fit in fits])
            donors = plan_expressions(grid.landmarks, coefficients, pitch, yaw, settings)
            expressions = [[fits[donor].expression for donor in drawn] for drawn in donors]

        def jobs():
            for pair, fit, poses, taken in zip(pairs, fits, plan, expressions, strict=True):
                path = folder / subfolder / pair.stem
                try:
                    angles = view_angles(fit.pose[:3], np.radians(poses), np.radians(settings.max_pitch))
                    yield pair.image_file, pair.image_bytes(), fit, pair.fit_bytes(), path, angles, taken
                except InputLost:
                    raise
                except UserError as error:
                    left_out.append(str(error))

        made = []
        with tqdm(total=len(plan) + sum(map(len, plan)) + sum(map(len, expressions)), unit="view", disable=None) as bar:
            for views, complaint in _written(jobs(), grid, workers):
                if complaint:
                    left_out.append(complaint)
                else:
                    made.append(views)
                bar.update(views)
        if not made:
            raise UserError(f"{left_out[-1]} (and none of the other {len(pairs) - 1} photos can be used)")
    return ViewSet(photos=len(made), views=sum(made), left_out=left_out)


def moved_fit(fit: Fit, landmarks: FaceModel, shift: tuple[float, float]) -> Fit:
    """A fit moved in the photo by `shift`, in sides of the box around its 68 landmarks, x right and y down."""
    box = landmark_box(move(fit_to_pixels(fit.pose, 0.0), face_vertices(landmarks, fit.coefficients)))
    pose = fit.pose.copy()
    pose[3:5] += box.side * np.array([shift[0], -shift[1]])
    return replace(fit, pose=pose)


@contextmanager
def _atomic_folder(output: Path):
    """Yield a folder beside `output` that takes its name on success and is removed on any error."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output}: is there already; give a new folder, or remove this one first")
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _written(jobs: Iterable, grid: FaceGrid, workers: int | None) -> Iterator[tuple[int, str | None]]:
    """The results of `_write_views`, in the order of the jobs, a few ahead in processes of their own."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        _start_worker(grid)
        yield from map(_write_views, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (grid,)) as pool:
        yield from in_order(pool, _write_views, jobs, ahead=workers * JOBS_AHEAD)


_grid: FaceGrid


def _start_worker(grid: FaceGrid) -> None:
    global _grid
    _grid = grid
    cv2.setNumThreads(1)


def _write_views(job) -> tuple[int, str | None]:
    """Write all views of one photo. Returns how many views the job had, and a complaint if there are none of them."""
    image_file, image_bytes, fit, fit_bytes, path, turns, expressions = job
    count = 1 + len(turns) + len(expressions)
    try:
        check_image(image_bytes, image_file)
        photo = decode_image(image_bytes, image_file)
        relief = make_relief(photo, fit.coefficients, fit.pose, _grid)
    except UserError as error:
        return count, str(error)
    except ValueError as error:
        return count, f"{image_file}: {error}"
    fields = {name: array for name, array in read_mat_arrays(fit_bytes).items() if name in _KEPT_FIELDS}
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_view(path, 0, relief.picture, fields, relief, relief.transform, relief.angles)
    for number, angles in enumerate(turns, start=1):
        transform = view_transform(relief, angles)
        _write_view(path, number, render_view(relief, transform), fields, relief, transform, angles)
    for number, expression in enumerate(expressions, start=1 + len(turns)):
        moved = with_expression(relief, np.concatenate([fit.shape, expression]), _grid)
        transform = view_transform(moved, relief.angles)
        shown = fields | {"Exp_Para": expression.reshape(fields["Exp_Para"].shape)}
        _write_view(path, number, render_view(moved, transform), shown, moved, transform, relief.angles)
    return count, None


def _write_view(path: Path, number: int, picture: np.ndarray, fields: dict, relief: Relief, transform, angles) -> None:
    """One view and its fit. `roi` is the part of the photo, in its 1-based pixels, that the frame covers; `pt2d` and
    `pt3d_68` are the model's landmarks in 1-based pixels of the view."""
    side = len(picture)
    landmarks = apply_transform(transform, relief.landmarks).T + [[1.0], [1.0], [0.0]]
    fields = fields | {
        "Pose_Para": view_pose(transform, angles, side)[None].astype(np.float32),
        "pt2d": landmarks[:2],
        "roi": np.rint(relief.region)[None].astype(np.int16),
    }
    if "pt3d_68" in fields:
        fields["pt3d_68"] = landmarks.astype(np.float32)
    path.with_name(f"{path.name}-v{number:02d}.mat").write_bytes(mat_file_bytes(fields))
    path.with_name(f"{path.name}-v{number:02d}.jpg").write_bytes(encode_jpeg(picture, JPEG_QUALITY))
