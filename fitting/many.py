"""Fits of very many photos, in shards (`prnet.reconstructing.shards`)."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prnet.fitting.evidence import FitModel
from prnet.fitting.fit_set import Outcome, fit_together, job_of_photo
from prnet.fitting.landmark_sources import landmark_source
from prnet.formats.face_model_file import load_face_model
from prnet.geometry.pose import fitted_landmarks
from prnet.reconstructing.shards import UNREADABLE, Plan, ShardWorker, list_photos, make_shards, problem_of


@dataclass(frozen=True)
class FitPlan(Plan):
    """What photos are fitted with, for all shards of a run."""

    face_model: str
    landmarks: tuple[str, ...]
    model: str
    detector: str


def fit_many(
    source: str | Path,
    folder: str | Path,
    *,
    face_model: str | Path,
    landmarks: Sequence[str],
    model: str,
    detector: str,
    shard_size: int = 1000,
    workers: int = 1,
    cluster: str | None = None,
) -> int:
    """Write `fits-00000.parquet` and so on to a folder, one row a photo: its fit, and why it should be left out.

    landmarks, model, detector : see `landmark_source`. Returns the number of photos with a problem; sources, workers
    and how a run goes on: `make_shards`.
    """

    def plan(place: str, names: str, size: int) -> FitPlan:
        if "network" not in landmarks:
            known = landmark_source(landmarks, load_face_model(face_model), face_model, model, detector)
            known.require_distinct([os.path.splitext(photo)[0] for photo in list_photos(source)])
        return FitPlan(place, names, size, str(face_model), tuple(landmarks), str(model), detector)

    return make_shards(FitWorker, plan, source, folder, shard_size=shard_size, workers=workers, cluster=cluster)


class FitWorker(ShardWorker):
    """A face model and the landmarks of its photos, or a network that finds them."""

    STEM = "fits"
    COLUMNS = {
        **{"image": "string", "problem": "string", "height": "int32", "width": "int32"},
        **dict.fromkeys(("pitch", "yaw", "roll", "residual", "disagreement", "identity_size", "activity"), "float"),
        **dict.fromkeys(("pose", "identity", "expression", "landmarks"), "numbers"),
    }

    def __init__(self, plan: FitPlan, folder: str):
        super().__init__(plan, folder)
        self.face_model = load_face_model(plan.face_model)
        self.model = FitModel(self.face_model)
        self.landmarks = landmark_source(
            plan.landmarks, self.face_model, plan.face_model, plan.model, plan.detector, threads=1
        )

    def rows(self, names: Sequence[str]) -> Iterator[dict]:
        for name in names:
            try:
                job = job_of_photo(name, self.read(name), self.landmarks, name)
            except UNREADABLE as error:
                yield {"image": name, "problem": problem_of(error).removeprefix(f"{name}: ")}
                continue
            (outcome,) = fit_together(self.model, [job])
            size = {"height": job.height, "width": job.width}
            yield {"image": name, "problem": outcome.reason, **size, **self._fit(outcome)}

    def _fit(self, outcome: Outcome) -> dict:
        quality = outcome.quality
        if quality is None or outcome.pose is None:
            return {}
        points = fitted_landmarks(self.face_model, outcome.coefficients, outcome.pose, outcome.height)
        return {
            **dict(zip(("pitch", "yaw", "roll"), quality.angles, strict=True)),
            "residual": quality.residual,
            "disagreement": None if np.isnan(quality.disagreement) else quality.disagreement,
            "identity_size": quality.identity,
            "activity": quality.activity,
            "pose": outcome.pose,
            "identity": outcome.identity,
            "expression": outcome.expression,
            "landmarks": points.ravel(),
        }
