"""Progress of training and evaluation runs, posted by `--serverlog` or Keras' `RemoteMonitor`, shown live.

An event is one flat JSON object. `run` names the run and `stage` what it does; `done` of `total` epochs or images are
finished (without `done`, Keras' `epoch`, which counts from 0); every other number is a measure (`loss`, `val_loss`,
...). All of it may be absent. Runs live in memory: the page shows them until the server stops.
"""

import json
import math
import time
from collections import deque

from fastapi import APIRouter, Request
from pydantic import BaseModel

from prnet.serving.limits import Limits
from prnet.serving.problems import Problem

MEASURES = 64
"""The most numbers of one event that are kept."""

TEXT_LENGTH = 120
"""The most characters of a name that are kept."""


class Run(BaseModel):
    """One run: what it said last, and its measures over time."""

    name: str
    stage: str
    started: float  # seconds since 1970
    updated: float
    done: float | None = None  # epochs or images finished
    total: float | None = None  # of how many
    points: list[dict[str, float | None]] = []  # None where a measure is not finite


class Runs(BaseModel):
    runs: list[Run]  # the latest first


class RunLog:
    """The latest runs, the oldest forgotten first."""

    def __init__(self, limits: Limits):
        self._runs: deque[Run] = deque(maxlen=limits.runs)
        self._points = limits.run_points

    def latest_first(self) -> list[Run]:
        return sorted(self._runs, key=lambda run: run.updated, reverse=True)

    def record(self, event: dict) -> None:
        """Add an event to the run that it names; one that steps back opens a new run of that name."""
        now = time.time()
        numbers = {
            str(name)[:TEXT_LENGTH]: float(value) if math.isfinite(value) else None
            for name, value in list(event.items())[:MEASURES]
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        done = numbers.get("done")
        if done is None and numbers.get("epoch") is not None:
            done = numbers["epoch"] + 1
        name = str(event.get("run", "training"))[:TEXT_LENGTH]
        stage = str(event.get("stage", "training"))[:TEXT_LENGTH]
        run = next((run for run in reversed(self._runs) if (run.name, run.stage) == (name, stage)), None)
        steps_back = run and done is not None and run.done is not None and done <= run.done
        if run is None or steps_back:
            run = Run(name=name, stage=stage, started=now, updated=now)
            self._runs.append(run)
        run.updated = now
        run.done, run.total = done, numbers.get("total")
        run.points.append(numbers)
        if len(run.points) > self._points:
            del run.points[1::2]


def runs_router(log: RunLog) -> APIRouter:
    router = APIRouter(tags=["progress"])

    @router.get("/v1/runs", summary="Runs and their measures, the latest first")
    async def runs() -> Runs:
        return Runs(runs=log.latest_first())

    @router.post("/publish/epoch/end/", summary="One event of a run, as Keras' RemoteMonitor posts it", status_code=202)
    async def publish(request: Request) -> None:
        """The body is a JSON object, or a form whose field `data` holds one."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        form = kind in ("application/x-www-form-urlencoded", "multipart/form-data")
        text = (await request.form()).get("data", "") if form else await request.body()
        try:
            event = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise Problem(400, f"the event is not JSON: {error}"[:200]) from None
        if not isinstance(event, dict):
            raise Problem(422, 'an event is a JSON object such as {"epoch": 0, "loss": 0.1}')
        log.record(event)

    return router
