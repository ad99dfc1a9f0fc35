"""Very many photos: shards of a list, each reconstructed as a whole into one Parquet file, by one process or by Ray."""

import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.configure.config import CHECKOUT
from prnet.formats.photos import IMAGE_SUFFIXES, decode_image, read_image
from prnet.reconstructing.face import Face
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.records import face_record

logger = logging.getLogger(__name__)

TOGETHER = 32
"""Photos that are in memory at once; their faces share the network's batches."""

RECORD = "shards.json"


@dataclass(frozen=True)
class Plan:
    """What all shards of a run are made by: shards of another plan do not belong beside them."""

    source: str  # a folder, a .zip archive, or a .parquet list with a column `path`
    names: str  # hash of the photos' names
    shard_size: int  # photos a shard
    model: str
    detector: str
    runtime: str
    mirrored: bool
    refined: bool


def list_photos(source: str | Path) -> list[str]:
    """The photos of a folder and those in it, of a .zip archive, or of a .parquet file's column `path`, by name."""
    source = Path(source)
    if source.suffix == ".parquet" and source.is_file():
        return _listed(source)
    if source.is_dir():
        names = [str(path.relative_to(source)) for path in source.rglob("*")]
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    else:
        raise UserError(f"{source}: no folder, .zip archive or .parquet list of photos")
    photos = sorted(name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES)
    if not photos:
        raise UserError(f"{source}: holds no photo ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for name in photos:
        if not name.isprintable():
            raise UserError(f"{source}: the name {ascii(name)} is not UTF-8 text in one line; rename it")
    return photos


def _listed(path: Path) -> list[str]:
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path, columns=["path"])["path"].to_pylist()
    except Exception as error:  # damaged, or without the column
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: no Parquet file with a column called path: {reason}") from None


def reconstruct_many(
    source: str | Path,
    folder: str | Path,
    *,
    model: str,
    detector: str = "auto",
    runtime: str = "auto",
    mirrored: bool = False,
    refined: bool = False,
    shard_size: int = 1000,
    workers: int = 1,
    cluster: str | None = None,
) -> int:
    """Write `faces-00000.parquet` and so on to a folder, one row a face, or a reason why a photo has none.

    Shards that are there already, of the same plan, are kept: a run that was stopped goes on. workers : processes; from
    two on they are actors of Ray. cluster : address of a running one. Returns the number of photos with a problem.
    """
    for module in ("pyarrow", *(("ray",) if workers > 1 or cluster else ())):
        if find_spec(module) is None:
            raise UserError(f"{folder}: writing shards needs {module}; install it by pip install 'prnet[scale]'")
    photos, folder = list_photos(source), Path(folder)
    names = sha256("\0".join(photos).encode()).hexdigest()[:16]
    plan = Plan(str(Path(source).resolve()), names, shard_size, model, detector, runtime, mirrored, refined)
    _claim(folder, plan)
    shards = range(-(-len(photos) // shard_size))
    left = [number for number in shards if not _shard_path(folder, number).exists()]
    if len(left) < len(shards):
        logger.info(f"{folder}: {len(shards) - len(left)} of {len(shards)} shards are there already")
    tasks = [{"number": n, "photos": photos[n * shard_size : (n + 1) * shard_size]} for n in left]
    run = _by_ray if workers > 1 or cluster else _by_one_process
    problems = 0
    for done, result in enumerate(run(plan, folder, tasks, workers, cluster), start=1):
        problems += result["problems"]
        logger.info(
            f"shard {result['number']}: {result['photos']} photos, {result['faces']} faces; {len(tasks) - done} left"
        )
    return problems


def _claim(folder: Path, plan: Plan) -> None:
    record = folder / RECORD
    if record.exists() and json.loads(record.read_text()) != asdict(plan):
        raise UserError(f"{folder}: holds shards of other photos or settings; choose another `output_folder`")
    with atomic_write(record) as temporary:
        temporary.write_text(json.dumps(asdict(plan), indent=1))


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"faces-{number:05d}.parquet"


def _by_one_process(plan: Plan, folder: Path, tasks: list[dict], _workers: int, _cluster: str | None) -> Iterator[dict]:
    work = ShardWorker(plan, str(folder))
    return map(work, tasks)


def _by_ray(plan: Plan, folder: Path, tasks: list[dict], workers: int, cluster: str | None) -> Iterator[dict]:
    """Shards are rows of a Ray data set; actors that hold the network turn each into its file and what was found."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    place: dict[str, Any] = {"address": cluster} if cluster else {"num_cpus": workers, **quiet}
    path = {"PYTHONPATH": str(CHECKOUT)} if CHECKOUT else {}
    ray.init(**place, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", **path}})
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        tasks_of_ray = ray.data.from_items(tasks, override_num_blocks=max(len(tasks), 1))
        yield from tasks_of_ray.map(
            ShardWorker,
            fn_constructor_args=(plan, str(folder.resolve())),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        ).iter_rows()
    finally:
        ray.shutdown()


class ShardWorker:
    """A network and a detector on one thread, which turn shards into files. The same with Ray and without."""

    def __init__(self, plan: Plan, folder: str):
        cv2.setNumThreads(1)
        self.plan, self.folder = plan, Path(folder)
        self.reconstructor = FaceReconstructor(
            plan.model,
            plan.detector,
            mirrored=plan.mirrored,
            refined=plan.refined,
            runtime=plan.runtime,
            threads=1,
        )

    def __call__(self, task: dict) -> dict:
        """Write the shard `number` of the named `photos`; what was found."""
        number, photos = int(task["number"]), list(task["photos"])
        with ExitStack() as files:
            read = self._reader(files)
            rows = [
                row for at in range(0, len(photos), TOGETHER) for row in self._rows(read, photos[at : at + TOGETHER])
            ]
        write_rows(_shard_path(self.folder, number), rows)
        problems = sum(row["problem"] is not None for row in rows)
        return {"number": number, "photos": len(photos), "faces": len(rows) - problems, "problems": problems}

    def _reader(self, files: ExitStack) -> Callable[[str], np.ndarray]:
        source = Path(self.plan.source)
        if source.suffix == ".zip":
            archive = files.enter_context(zipfile.ZipFile(source))
            return lambda name: decode_image(archive.read(name), name)
        folder = source if source.is_dir() else source.parent  # paths of a list are relative to it, or absolute
        return lambda name: read_image(folder / name)

    def _rows(self, read: Callable[[str], np.ndarray], names: Sequence[str]) -> Iterator[dict]:
        opened: dict[str, np.ndarray] = {}
        problems: dict[str, str] = {}
        for name in names:
            try:
                opened[name] = read(name)
            except (UserError, OSError, KeyError, zipfile.BadZipFile) as error:
                problems[name] = str(error)
        found = dict(zip(opened, self.reconstructor.reconstruct_batch(list(opened.values())), strict=True))
        for name in names:
            faces = found.get(name, [])
            if not faces:
                yield {"image": name, "face": None, "problem": problems.get(name, "no face found")}
            for number, face in enumerate(faces):
                yield {"image": name, "face": number, "problem": None, **_full_record(face)}


def _full_record(face: Face) -> dict:
    """`face_record` with the network's coefficients, and `misfit`, above 0.35 of what is hardly a face."""
    record: dict[str, Any] = {**face_record(face), "misfit": face.misfit}
    record["landmarks"] = face.landmarks.ravel()
    record["identity"] = face.identity
    record["expressions"] = None if face.expressions is None else list(face.expressions.items())
    return record


def write_rows(path: Path, rows: list[dict]) -> None:
    """A Parquet file of faces; landmarks are 68 x, y, z one after the other, in pixels of the photo."""
    import pyarrow
    from pyarrow import parquet

    numbers = pyarrow.list_(pyarrow.float32())
    columns = [("image", pyarrow.string()), ("face", pyarrow.int32()), ("problem", pyarrow.string())]
    columns += [(name, pyarrow.float32()) for name in ("x", "y", "width", "height")]
    columns += [(name, pyarrow.float32()) for name in ("pitch", "yaw", "roll", "scale", "misfit")]
    columns += [("landmarks", numbers), ("identity", numbers)]
    columns += [("expressions", pyarrow.map_(pyarrow.string(), pyarrow.float32()))]
    with atomic_write(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(columns)), temporary)
