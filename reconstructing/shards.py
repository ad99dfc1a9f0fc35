"""Very many photos in shards: each becomes one Parquet file, made as a whole by one process or by Ray."""

import json
import logging
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2

from prnet.common.errors import OutOfMemory, UserError, in_one_line
from prnet.common.files import atomic_write, read_file, remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.common.threads import ONE_THREAD
from prnet.configure.config import CHECKOUT
from prnet.formats.pairs import MAX_IMAGE_BYTES, find_pairs, is_left_out
from prnet.formats.photos import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

TOGETHER = 32
"""Photos that are in memory at once; their faces share the network's batches."""

RECORD = "shards.json"

UNREADABLE = (UserError, OSError)
"""What reading a photo may raise."""


def problem_of(error: Exception) -> str:
    """What a row says of a photo that cannot be read. Lack of memory is no fault of the photo: it is raised."""
    if isinstance(error, OutOfMemory):
        raise error
    return in_one_line(error)


@dataclass(frozen=True)
class Plan:
    """What all shards of a run are made by, with the fields of a subclass: others do not belong beside them."""

    source: str  # a folder, a .zip archive, or a .parquet list with a column `path`
    names: str  # hash of the photos' names
    shard_size: int  # photos a shard


class ShardWorker(ABC):
    """Turns shards into files, on one thread, the same with Ray and without. A subclass says what the rows are."""

    STEM: str
    """Of the files' names."""

    COLUMNS: dict[str, str]
    """Of each row: what `write_rows` takes. Among them are `image`, and `problem`, None where all is well."""

    def __init__(self, plan: Plan, folder: str):
        cv2.setNumThreads(1)
        self.source, self.folder = Path(plan.source), Path(folder)

    @abstractmethod
    def rows(self, names: Sequence[str]) -> Iterator[dict]:
        """The rows of some photos, in their order."""

    def __call__(self, task: dict) -> dict:
        """Write the shard `number` of the named `photos`; what was found."""
        number, photos = int(task["number"]), list(task["photos"])
        rows = [row for at in range(0, len(photos), TOGETHER) for row in self.rows(photos[at : at + TOGETHER])]
        write_rows(self.path(self.folder, number), rows, self.COLUMNS)
        problems = sum(row["problem"] is not None for row in rows)
        return {"number": number, "photos": len(photos), "good": len(rows) - problems, "problems": problems}

    @classmethod
    def path(cls, folder: Path, number: int) -> Path:
        return folder / f"{cls.STEM}-{number:05d}.parquet"

    @cached_property
    def read(self) -> Callable[[str], bytes]:
        """The file of a photo, by its name within the source. It may raise what `UNREADABLE` lists."""
        if not self.source.is_dir() and not _is_list(self.source):
            archive = find_pairs(self.source)
            return lambda name: archive.read(name, MAX_IMAGE_BYTES)
        folder = self.source if self.source.is_dir() else self.source.parent  # of a list, whose paths may be absolute
        return lambda name: read_file(folder / name, MAX_IMAGE_BYTES)


def list_photos(source: str | Path) -> list[str]:
    """The photos of a folder and those in it, of a .zip archive, or of a .parquet file's column `path`, by name."""
    source = Path(source)
    if _is_list(source):
        return _listed(source)
    if source.is_dir():
        names = [str(path.relative_to(source)) for path in source.rglob("*")]
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    else:
        raise UserError(f"{source}: no folder, .zip archive or .parquet list of photos")
    kept = (name for name in names if not name.endswith("/") and not is_left_out(name))
    photos = sorted(name for name in kept if Path(name).suffix.lower() in IMAGE_SUFFIXES)
    if not photos:
        raise UserError(f"{source}: holds no photo ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for name in photos:
        if not name.isprintable():
            raise UserError(f"{source}: the name {ascii(name)} is not UTF-8 text in one line; rename it")
    return photos


def _is_list(source: Path) -> bool:
    return source.suffix == ".parquet" and source.is_file()


def _listed(path: Path) -> list[str]:
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_table(path, columns=["path"])["path"].to_pylist()
    except Exception as error:  # damaged, or without the column
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: no Parquet file with a column called path: {reason}") from None
    for row, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise UserError(f"{path}: row {row} of its column path holds {name!r}; give the path of a photo")
    return names


def make_shards(
    worker: type[ShardWorker],
    plan_of: Callable[[str, str, int], Plan],
    source: str | Path,
    folder: str | Path,
    *,
    shard_size: int,
    workers: int,
    cluster: str | None,
) -> int:
    """Write the shards of a source to a folder, `STEM-00000.parquet` and so on. plan_of : a `Plan` of its own fields.

    Shards that are there already, of the same plan, are kept: a run that was stopped goes on. workers : processes; from
    two on they are actors of Ray. cluster : address of a running one. Returns the number of photos with a problem.
    """
    for module in ("pyarrow", *(("ray",) if workers > 1 or cluster else ())):
        if find_spec(module) is None:
            raise UserError(f"{folder}: writing shards needs {module}; install it by pip install 'prnet[scale]'")
    photos, folder = list_photos(source), Path(folder)
    names = sha256("\0".join(photos).encode()).hexdigest()[:16]
    plan = plan_of(str(Path(source).resolve()), names, shard_size)
    refusal = f"{folder}: another run writes shards there; wait until it has ended, or choose another `output_folder`"
    with exclusive_lock(folder / ".shards.lock", refusal) as alone:
        _claim(folder, plan)
        shards = [worker.path(folder, number) for number in range(-(-len(photos) // shard_size))]
        kept = [path for path in shards if path.exists()]
        left = [number for number, path in enumerate(shards) if not path.exists()]
        if kept:
            logger.info(f"{folder}: {len(kept)} of {len(shards)} shards are there already")
        if alone:
            remove_left_behind(*(shards[number] for number in left))
        problems = sum(map(problems_in, kept))
        tasks = [{"number": n, "photos": photos[n * shard_size : (n + 1) * shard_size]} for n in left]
        arguments = plan, str(folder.resolve())
        by_ray = workers > 1 or cluster
        results = _by_ray(worker, arguments, tasks, workers, cluster) if by_ray else map(worker(*arguments), tasks)
        for done, result in enumerate(results, start=1):
            problems += result["problems"]
            found = f"{result['photos']} photos, {result['good']} {worker.STEM}"
            logger.info(f"shard {result['number']}: {found}; {len(tasks) - done} left")
    return problems


def problems_in(path: Path) -> int:
    """Rows of a shard that hold a problem in place of a face or a fit."""
    from pyarrow import parquet

    column = parquet.read_table(path, columns=["problem"])["problem"]
    return len(column) - column.null_count


def _claim(folder: Path, plan: Plan) -> None:
    record, now = folder / RECORD, json.loads(json.dumps(asdict(plan)))
    if record.exists() and _recorded(record) != now:
        raise UserError(f"{folder}: holds shards of other photos or settings; choose another `output_folder`")
    with atomic_write(record) as temporary:
        temporary.write_text(json.dumps(now, indent=1))


def _recorded(record: Path) -> Any:
    try:
        return json.loads(record.read_text())
    except ValueError:
        raise UserError(f"{record}: is damaged; choose another `output_folder`, or remove it with its shards") from None


def _by_ray(
    worker: type[ShardWorker], arguments: tuple, tasks: list[dict], workers: int, cluster: str | None
) -> Iterator[dict]:
    """Shards are rows of a Ray data set; actors that hold a worker turn each into its file and what was found."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    place: dict[str, Any] = {"address": cluster} if cluster else {"num_cpus": workers, **quiet}
    path = {"PYTHONPATH": str(CHECKOUT)} if CHECKOUT else {}
    ray.init(**place, runtime_env={"env_vars": {**ONE_THREAD, **path}})
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        tasks_of_ray = ray.data.from_items(tasks, override_num_blocks=max(len(tasks), 1))
        yield from tasks_of_ray.map(
            worker, fn_constructor_args=arguments, compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=1
        ).iter_rows()
    finally:
        ray.shutdown()


def write_rows(path: Path, rows: list[dict], columns: dict[str, str]) -> None:
    """A Parquet file. columns : their types by name, of pyarrow's names, or `numbers` and `named numbers`."""
    import pyarrow
    from pyarrow import parquet

    numbers = pyarrow.float32()
    ours = {"numbers": pyarrow.list_(numbers), "named numbers": pyarrow.map_(pyarrow.string(), numbers)}
    schema = pyarrow.schema([(name, ours.get(kind) or pyarrow.type_for_alias(kind)) for name, kind in columns.items()])
    with atomic_write(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), temporary)
