"""Progress of training and evaluation runs, posted by `--serverlog` or Keras' `RemoteMonitor`, shown live.

An event is one flat JSON object. `run` names the run and `stage` what it does; `done` of `total` epochs or images are
finished (without `done`, Keras' `epoch`, which counts from 0); every other number is a measure (`loss`, `val_loss`,
...). All of it may be absent. Runs are kept in memory and, where the server has a file for them, over a restart.
"""

import asyncio
import itertools
import json
import logging
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.common.locks import exclusive_lock
from prnet.serving.limits import Limits
from prnet.serving.problems import Problem, problems

logger = logging.getLogger(__name__)

SAVE_SECONDS = 10.0
"""Between the first event that is not on disk and the file that has it."""

MEASURES = 64
"""The most numbers of one event that are kept."""

TEXT_LENGTH = 120
"""The most characters of a name that are kept."""

POINT_BYTES = 48
"""What a point takes in memory beside its text."""

BEGINNING = b'{"runs":'
"""Of the file, and of the answer."""

JSON, FORMS = "application/json", ("application/x-www-form-urlencoded", "multipart/form-data")


class RunProgress(BaseModel):
    """One run: what it said last, and its measures over time."""

    name: str
    stage: str
    started: float  # seconds since 1970
    updated: float
    done: float | None = None  # epochs or images finished
    total: float | None = None  # of how many
    points: list[dict[str, float | None]] = []  # None where a measure is not finite


class RunList(BaseModel):
    runs: list[RunProgress]  # the latest first


@dataclass(eq=False)
class KeptRun:
    """A run as it is kept: what it said last, and its points as the JSON that the answer is made of."""

    name: str
    stage: str
    started: float
    updated: float
    done: float | None = None
    total: float | None = None
    points: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes that the points take

    def add(self, numbers: dict[str, float | None]) -> None:
        self.points.append(json.dumps(numbers, ensure_ascii=False).encode())
        self.size += POINT_BYTES + len(self.points[-1])

    def thin(self) -> None:
        self.points = thinned(self.points)
        self.size = size_of(self.points)

    def answer(self, points: list[bytes]) -> bytes:
        said = RunProgress(
            **{name: getattr(self, name) for name in ("name", "stage", "started", "updated", "done", "total")}
        )
        return b'%s,"points":[%s]}' % (said.model_dump_json(exclude={"points"})[:-1].encode(), b",".join(points))


def size_of(points: list[bytes]) -> int:
    return sum(POINT_BYTES + len(point) for point in points)


def thinned(points: list[bytes]) -> list[bytes]:
    """Every second point, the last among them."""
    return points[::-2][::-1]


class RunLog:
    """The latest runs, the oldest forgotten first; long ones are thinned.

    path : the file that keeps them; "" for none. It is read at once; one that is damaged is kept under another name,
    one that cannot be read or renamed, or holds something else, raises `UserError`. Use as `async with` for a log with
    a file: it is written soon after an event and at the end, by one server alone.
    """

    def __init__(self, limits: Limits, path: str = ""):
        self._runs: deque[KeptRun] = deque(maxlen=limits.runs)
        self._limits, self._path = limits, path
        self._unsaved, self._warned = asyncio.Event(), False
        self._held = ExitStack()  # the lock of the file
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="runs")  # a disk may be slow
        self._load()

    async def __aenter__(self) -> "RunLog":
        if self._path:
            try:
                self._held.enter_context(exclusive_lock(f"{self._path}.lock", "another server keeps its runs there"))
            except UserError as error:
                logger.warning(f"{self._path}: runs are not kept: {error}; `runs` names another file")
                self._path = ""
        self._saving = asyncio.ensure_future(self._save_after_events())
        return self

    async def __aexit__(self, *_) -> None:
        self._saving.cancel()
        await self.save()
        self._writer.shutdown()
        self._held.close()

    async def _save_after_events(self) -> None:
        while True:
            await self._unsaved.wait()
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    def _load(self) -> None:
        path = Path(self._path)
        if not self._path or not path.exists():
            return
        if not path.is_file():
            raise UserError(f"{path}: is no file; give `runs` another, or '' for none")
        content = b""
        try:
            content = path.read_bytes()
            kept = RunList.model_validate_json(content).runs
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"{self._path}: cannot be read: {reason}; give `runs` another file, or '' for none"
            ) from None
        except ValidationError:
            if content.strip(b"\0 \n") and not content.startswith(BEGINNING):
                raise UserError(f"{path}: holds something else than runs; give `runs` another file") from None
            aside = kept_aside(path)
            logger.warning(f"{self._path}: holds no runs that can be read; it is now {aside}, and a new one is begun")
            return
        for run in reversed(kept):
            self._runs.append(KeptRun(**run.model_dump(exclude={"points"})))
            for point in run.points:
                self._runs[-1].add(point)

    async def save(self) -> None:
        if not self._path or not self._unsaved.is_set():
            return
        runs = sorted(self._runs, key=lambda run: run.updated, reverse=True)
        content = BEGINNING + b"[%s]}" % b",".join(run.answer(run.points) for run in runs)
        self._unsaved.clear()
        kept = False
        try:
            kept = await asyncio.get_running_loop().run_in_executor(self._writer, self._write, content)
        finally:
            if not kept:  # the next time may do better
                self._unsaved.set()

    def _write(self, content: bytes) -> bool:
        try:
            with atomic_write(self._path) as temporary:
                temporary.write_bytes(content)
        except (OSError, UserError) as error:
            if not self._warned:
                logger.warning(f"runs are not kept: {error}")
            self._warned = True
            return False
        self._warned = False
        return True

    def answer(self) -> bytes:
        """All runs as the JSON of `RunList`. Where it would be too long, the longest are thinned further."""
        runs = sorted(self._runs, key=lambda run: run.updated, reverse=True)
        shown = [run.points for run in runs]
        sizes = [run.size for run in runs]
        while sum(sizes) > self._limits.run_bytes:
            longest = sizes.index(max(sizes))
            shown[longest] = thinned(shown[longest])
            sizes[longest] = size_of(shown[longest])
        return BEGINNING + b"[%s]}" % b",".join(run.answer(points) for run, points in zip(runs, shown, strict=True))

    def record(self, event: dict) -> None:
        """Add an event to the run that it names; one that steps back opens a new run of that name."""
        now = time.time()
        numbers = {
            text_of(name): finite(value)
            for name, value in list(event.items())[:MEASURES]
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        done = numbers.get("done")
        if done is None and (epoch := numbers.get("epoch")) is not None:
            done = epoch + 1
        name, stage = (text_of(event.get(key, "training")) for key in ("run", "stage"))
        run = next((run for run in reversed(self._runs) if (run.name, run.stage) == (name, stage)), None)
        steps_back = run and done is not None and run.done is not None and done <= run.done
        if run is None or steps_back:
            run = KeptRun(name=name, stage=stage, started=now, updated=now)
            self._runs.append(run)
        run.updated = now
        run.done, run.total = done, numbers.get("total")
        run.add(numbers)
        self._unsaved.set()
        while len(run.points) > self._limits.run_points or run.size > self._limits.run_bytes:
            run.thin()


def kept_aside(path: Path) -> Path:
    """The new name of a file that is in the way. Raises `UserError` where it cannot be moved."""
    names = (path.with_name(f"{path.stem}.damaged{number or ''}{path.suffix}") for number in itertools.count())
    aside = next(name for name in names if not name.exists())
    try:
        return path.rename(aside)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path}: is damaged and cannot be renamed: {reason}; move it, or give `runs` another file"
        ) from None


def text_of(value) -> str:
    """A name, shortened; halves of characters, which no answer can hold, become question marks."""
    return str(value)[:TEXT_LENGTH].encode("utf-8", "replace").decode()


def finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


EXAMPLES = {
    "curl": """curl {address}/publish/epoch/end/ -H 'Content-Type: application/json' \\
  -d '{"run": "mine", "stage": "training", "done": 3, "total": 20, "loss": 0.12, "val_loss": 0.15}'""",
    "python": """import keras

monitor = keras.callbacks.RemoteMonitor(root="{address}", send_as_json=True)
model.fit(images, targets, epochs=20, callbacks=[monitor])""",
}


def runs_router(log: RunLog, limits: Limits) -> APIRouter:
    router = APIRouter(tags=["progress"])

    @router.get(
        "/v1/runs",
        summary="Runs and their measures, the latest first",
        response_model=RunList,
        openapi_extra={"x-examples": {"curl": "curl {address}/v1/runs"}},
    )
    async def runs():
        return Response(log.answer(), media_type="application/json")

    @router.post(
        "/publish/epoch/end/",
        summary="One event of a run, as Keras' RemoteMonitor posts it",
        status_code=202,
        responses=problems(400, 403, 408, 413, 415, 421, 422, 429, 503),
        openapi_extra={"x-examples": EXAMPLES},
    )
    async def publish(request: Request) -> None:
        """The body is a JSON object, or a form whose field `data` holds one."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await request.body()
        if len(body) > limits.event_bytes:
            raise Problem(413, f"the event has more than {limits.event_bytes >> 10} KiB")
        if kind not in (JSON, *FORMS):
            raise Problem(415, f"an event is sent as {JSON}, or in a form")
        text = body if kind == JSON else str((await request.form()).get("data", ""))
        try:
            event = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise Problem(400, f"the event is not JSON: {error}"[:200]) from None
        if not isinstance(event, dict):
            raise Problem(422, 'an event is a JSON object such as {"epoch": 0, "loss": 0.1}')
        log.record(event)

    return router
