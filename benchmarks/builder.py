"""Building a data set: pairs a second, bytes on disk and in memory, and what one image costs to read at random."""

import io
import multiprocessing
import resource
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from benchmarks.figures import Figure, median_ratio, times_in_turn
from prnet.formats.pairs import find_pairs
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.geometry.face_model import FaceModel
from tests.helpers.small_faces import fit_fields, make_small_model, mat_bytes, small_photo

REAL_PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ytf" / "300W-LP.zip"
MODEL_SIZE = (199, 29)
MODEL_UNIT = 1e5  # model units in half a face, as in the Basel Face Model
FEW, MANY = 2_000, 50_000


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = REAL_PAIRS if REAL_PAIRS.is_file() else _write_archive(folder / "300W-LP.zip", 3000, side=190)
        return _measure_build(source, folder) + _measure_reading(folder / "train.hdf5") + _measure_memory(folder)


def _make_model() -> FaceModel:
    """As many components as the Basel Face Model has, all zero, on a few vertices."""
    model = make_small_model(*MODEL_SIZE)
    return replace(
        model,
        mean=model.mean * np.float32(MODEL_UNIT),
        shape_basis=np.zeros_like(model.shape_basis),
        expression_basis=np.zeros_like(model.expression_basis),
    )


def _write_archive(path: Path, count: int, side: int) -> Path:
    """Pairs in 300W-LP's format: one photo and one fit under many names."""
    fields = fit_fields(side=side)
    fields["Pose_Para"][0, 6] /= MODEL_UNIT
    fields |= {"Shape_Para": np.zeros((MODEL_SIZE[0], 1)), "Exp_Para": np.zeros((MODEL_SIZE[1], 1))}
    photo, fit = small_photo(side=side), mat_bytes(fields)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            stem = f"300W_LP/AFW/AFW_image_{number // 10:05d}_1_{number % 10}"
            archive.writestr(f"{stem}.jpg", photo)
            archive.writestr(f"{stem}.mat", fit)
    return path


def _measure_build(source: Path, folder: Path) -> list[Figure]:
    """The whole build; by the processor's time, beside the bare reading of the archive and decoding of its photos."""
    model = _make_model()

    def build():
        build_dataset([source], folder / "train.hdf5", model, progress=False, overwrite=True)

    rounds = [(*_wall_and_processor_time(build), _wall_and_processor_time(lambda: _floor(source))[1]) for _ in range(4)]
    walls, building, floor = (list(times) for times in zip(*rounds, strict=True))
    with find_pairs(source) as pairs:
        content = sum(len(pair.image_bytes()) for pair in pairs) + len(pairs) * (4 * sum(MODEL_SIZE) + 7 * 8)
        count = len(pairs)
    with open_dataset(folder / "train.hdf5") as dataset:
        assert len(dataset) == count
    return [
        Figure("pairs verified and written, two cores or more", count / min(walls), "pairs per second"),
        Figure("the same by the processor's time", count / min(building), "pairs per second and core", at_least=1000),
        Figure("over reading the archive and decoding", median_ratio(building, floor), "ratio of processor times"),
        Figure("file over images and parameters", (folder / "train.hdf5").stat().st_size / content, "x", at_most=1.06),
    ]


def _wall_and_processor_time(run) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def _floor(source: Path) -> None:
    from PIL import Image

    with find_pairs(source) as pairs:
        for pair in pairs:
            pair.fit_bytes()
            photo = Image.open(io.BytesIO(pair.image_bytes()), formats=("JPEG", "PNG"))
            photo.draft("L", (1, 1))
            photo.load()


def _measure_reading(path: Path) -> list[Figure]:
    """Encoded images in random order, checksum included, beside plain h5py."""
    with open_dataset(path) as dataset, h5py.File(path) as file:
        order = np.random.default_rng(0).integers(0, len(dataset), 20_000).tolist()
        images, offsets = file["images"], file["offsets"][()]

        def ours():
            for index in order:
                dataset.encoded_image(index)

        def plain():
            for index in order:
                images[offsets[index] : offsets[index + 1]]

        times, plain_times = times_in_turn([ours, plain], rounds=3)
    return [
        Figure("one encoded image at random", min(times) / len(order) * 1000, "ms", at_most=0.15),
        Figure("the same over plain h5py", median_ratio(times, plain_times), "ratio"),
    ]


def _measure_memory(folder: Path) -> list[Figure]:
    """Peak memory of a process that builds from few and from many small samples."""
    peaks = []
    for count in (FEW, MANY):
        archive = _write_archive(folder / f"{count}.zip", count, side=64)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks.append(pool.apply(_peak_memory, (archive,)))
    return [
        Figure(f"peak memory for {MANY:,} samples", peaks[1] / 1e6, "MB", at_most=500),
        Figure("memory for one more sample", (peaks[1] - peaks[0]) / (MANY - FEW), "bytes", at_most=4000),
    ]


def _peak_memory(archive: Path) -> int:
    build_dataset([archive], archive.with_suffix(".hdf5"), _make_model(), progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
