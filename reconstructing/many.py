"""The faces of very many photos, in shards (`prnet.reconstructing.shards`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prnet.formats.photos import decode_image
from prnet.reconstructing.face import Face
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.records import face_record
from prnet.reconstructing.shards import UNREADABLE, Plan, ShardWorker, make_shards, problem_of

MAX_BYTES = 1 << 28
"""Of photos in memory at once, but for the last of them."""


@dataclass(frozen=True)
class FacePlan(Plan):
    """How faces are reconstructed, for all shards of a run."""

    model: str
    detector: str
    runtime: str
    mirrored: bool
    refined: bool


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

    Returns the number of photos with a problem; sources, workers and how a run goes on: `make_shards`.
    """

    def plan(place: str, names: str, size: int) -> FacePlan:
        return FacePlan(place, names, size, model, detector, runtime, mirrored, refined)

    return make_shards(FaceWorker, plan, source, folder, shard_size=shard_size, workers=workers, cluster=cluster)


class FaceWorker(ShardWorker):
    """A network and a detector on one thread. A row's landmarks are 68 x, y, z one after the other, in pixels."""

    STEM = "faces"
    COLUMNS = {
        **{"image": "string", "face": "int32", "problem": "string"},
        **dict.fromkeys(("x", "y", "width", "height"), "float"),
        **dict.fromkeys(("pitch", "yaw", "roll", "scale", "misfit"), "float"),
        **{"landmarks": "numbers", "identity": "numbers", "expressions": "named numbers"},
    }

    def __init__(self, plan: FacePlan, folder: str):
        super().__init__(plan, folder)
        self.reconstructor = FaceReconstructor(
            plan.model,
            plan.detector,
            mirrored=plan.mirrored,
            refined=plan.refined,
            runtime=plan.runtime,
            threads=1,
        )

    def rows(self, names: Sequence[str]) -> Iterator[dict]:
        for together in self._opened(names):
            yield from self._found(*together)

    def _opened(self, names: Sequence[str]) -> Iterator[tuple[list[str], dict[str, np.ndarray], dict[str, str]]]:
        """Photos as many at once as memory takes: their names, those that are open, what is wrong with the others."""
        taken: list[str] = []
        opened: dict[str, np.ndarray] = {}
        problems: dict[str, str] = {}
        for name in names:
            taken.append(name)
            try:
                opened[name] = decode_image(self.read(name), name)
            except UNREADABLE as error:
                problems[name] = problem_of(error)
            if sum(photo.nbytes for photo in opened.values()) > MAX_BYTES:
                yield taken, opened, problems
                taken, opened, problems = [], {}, {}
        if taken:
            yield taken, opened, problems

    def _found(self, names: list[str], opened: dict[str, np.ndarray], problems: dict[str, str]) -> Iterator[dict]:
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
