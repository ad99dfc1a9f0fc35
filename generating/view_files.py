"""A set of photos with fits -> a set of views of them, in 300W-LP's format."""

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat, savemat

from common.errors import UserError
from common.files import written_whole
from generating.fit_files import read_fit
from generating.pairs import find_pairs
from generating.profiling import FaceGrid, Relief, make_relief, render_view, view_pose, view_transform
from generating.view_plan import ViewSettings, plan_views

JPEG_QUALITY = 95

_MAT_TEXT_LENGTH = 116
"""Bytes of free text at the start of a MATLAB 5 file."""

JOBS_AHEAD = 8
"""Photos read ahead of each worker: bounds the memory."""


@dataclass(frozen=True)
class ViewSet:
    """What was made, and for each photo that was left out a line that says why."""

    photos: int
    views: int
    left_out: list[str]


def make_view_set(source, output, grid: FaceGrid, settings: ViewSettings, *, workers: int = 1) -> ViewSet:
    """Write the views of every photo with a fit below `source` (folder or zip) to the folder `output`.

    Folders and names are kept: `<photo>-v00.jpg` is the photo itself in the views' frame, `-v01` and on are its views,
    each with its `.mat`. A photo that cannot be used is left out. The result does not depend on `workers`.
    """
    from tqdm import tqdm

    pairs, fits, left_out = [], [], []
    for pair in find_pairs(source):
        try:
            fits.append(read_fit(pair.fit_bytes(), pair.name))
            pairs.append(pair)
        except UserError as error:
            left_out.append(str(error))
    if not pairs:
        raise UserError(f"{source}: no photo with a usable fit; give a folder or zip in 300W-LP's format")
    pitch, yaw = np.degrees([fit.pose[:2] for fit in fits]).T
    plan = plan_views(pitch, yaw, settings)
    jobs = (
        (pair.image_bytes(), pair.fit_bytes(), pair.name, Path(output) / pair.name, np.radians(poses))
        for pair, poses in zip(pairs, plan, strict=True)
    )
    photos = views = 0
    with tqdm(total=len(plan) + sum(map(len, plan)), unit="view") as bar:
        for poses, (made, complaint) in zip(plan, _in_order(jobs, grid, workers), strict=True):
            bar.update(1 + len(poses))
            photos, views = photos + (made > 0), views + made
            if complaint:
                left_out.append(complaint)
    return ViewSet(photos=photos, views=views, left_out=left_out)


def _in_order(jobs, grid, workers):
    """The results of `_write_views`, in the order of the jobs."""
    if workers == 1:
        _start_worker(grid)
        yield from map(_write_views, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (grid,)) as pool:
        running = []
        for job in jobs:
            running.append(pool.submit(_write_views, job))
            if len(running) >= workers * JOBS_AHEAD:
                yield running.pop(0).result()
        for future in running:
            yield future.result()


def _start_worker(grid):
    global _grid
    _grid = grid
    cv2.setNumThreads(1)


def _write_views(job) -> tuple[int, str | None]:
    """Write all views of one photo. Returns how many, and a complaint if the photo cannot be used."""
    image_bytes, fit_bytes, name, path, poses = job
    photo = cv2.imdecode(np.frombuffer(image_bytes, np.uint8), cv2.IMREAD_COLOR)
    if photo is None:
        return 0, f"{name}: the image cannot be decoded; left out"
    fit = read_fit(fit_bytes, name)
    try:
        relief = make_relief(photo, fit.coefficients, fit.pose, _grid)
    except ValueError as error:
        return 0, f"{name}: {error}; left out"
    fields = {key: value for key, value in loadmat(io.BytesIO(fit_bytes)).items() if not key.startswith("__")}
    _write_view(path, 0, relief.picture, fields, relief, relief.transform, relief.angles)
    for number, (pitch, yaw) in enumerate(poses, start=1):
        transform = view_transform(relief, pitch, yaw)
        picture = render_view(relief, transform)
        _write_view(path, number, picture, fields, relief, transform, (pitch, yaw, relief.angles[2]))
    return 1 + len(poses), None


def _write_view(path: Path, number: int, picture, fields: dict, relief: Relief, transform, angles) -> None:
    side = len(picture)
    landmarks = (relief.landmarks @ transform[:, :3].T + transform[:, 3]).T + [[1.0], [1.0], [0.0]]
    changed = {
        "Pose_Para": view_pose(transform, angles, side)[None].astype(np.float32),
        "pt2d": landmarks[:2],
        "roi": np.rint(relief.region)[None].astype(np.int16),
    }
    if "pt3d_68" in fields:
        changed["pt3d_68"] = landmarks.astype(np.float32)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with written_whole(path.with_name(f"{path.name}-v{number:02d}.mat")) as temporary:
        temporary.write_bytes(_mat_bytes(fields | changed))
    with written_whole(path.with_name(f"{path.name}-v{number:02d}.jpg")) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _mat_bytes(fields: dict) -> bytes:
    """A MATLAB 5 file without the date in its header, so that equal fields make equal files."""
    buffer = io.BytesIO()
    savemat(buffer, fields)
    return b"MATLAB 5.0 MAT-file".ljust(_MAT_TEXT_LENGTH) + buffer.getvalue()[_MAT_TEXT_LENGTH:]
