"""From the bytes of a photo to faces, shared by all requests: a few threads for photos, one for the network."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import cv2
import numpy as np

from prnet.geometry.crop import Box
from prnet.reconstructing.face import Face, prepare_crop, restore_face
from prnet.reconstructing.quality import Quality, judge
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.serving.batching import Batcher
from prnet.serving.limits import Limits
from prnet.serving.problems import Problem
from prnet.serving.uploads import read_photo

PHOTO_THREADS = 2
"""Photos that are decoded at once: bounds the memory that they take."""

MIN_SIDE = 4.0
"""Of a face's box, in pixels of the photo."""


@dataclass(frozen=True)
class Photo:
    """What is left of a photo once its faces are cut out."""

    width: int
    height: int
    faces: list[Face]
    qualities: list[Quality]  # of each face


class Engine:
    """Use as `async with`: at the end what was taken is finished."""

    def __init__(self, reconstructor: FaceReconstructor, batch_size: int, limits: Limits):
        cv2.setNumThreads(1)
        self.reconstructor, self.limits = reconstructor, limits
        self.batcher = Batcher(reconstructor.predict_faces, batch_size, limits.waiting_crops)
        self._threads = ThreadPoolExecutor(PHOTO_THREADS, thread_name_prefix="photo")
        self._detecting = threading.Lock()
        self._long_work = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of each client

    async def __aenter__(self) -> "Engine":
        self._exit = AsyncExitStack()
        self._exit.callback(self._threads.shutdown)
        await self._exit.enter_async_context(self.batcher)
        return self

    async def __aexit__(self, *_) -> None:
        await self._exit.aclose()

    async def run(self, function: Callable, *arguments):
        """A call in one of the threads for photos; if cancelled while it waits for one, it does not begin."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """A client's turn at work of many calls: one such work is under way at a time, and clients alternate."""
        own = self._turns.setdefault(client, asyncio.Lock())
        async with own, self._long_work:
            yield

    async def reconstruct(
        self, data: bytes, name: str, boxes_of: Callable[[np.ndarray], list[Box]] | None = None
    ) -> Photo:
        """Faces of the photo that the bytes of a file hold.

        name : what errors call it. boxes_of : boxes of its faces from the decoded photo; by default those that the
        detector finds. Raises `Problem` or `UserError` for a photo that is refused.
        """
        height, width, boxes, crops = await self.run(self._prepare, data, name, boxes_of or self._detect)
        found = await self.batcher.predict([crop for crop, _ in crops])
        return await self.run(self._restore, width, height, found, boxes, crops)

    def _prepare(self, data, name, boxes_of):
        photo = read_photo(data, name, self.limits)
        boxes = boxes_of(photo)
        if len(boxes) > self.limits.faces:
            raise Problem(413, f"{name}: {len(boxes)} faces, more than {self.limits.faces}; send a part of the photo")
        for box in boxes:
            check_box(box, photo, name)
        return *photo.shape[:2], boxes, [prepare_crop(photo, box, self.reconstructor.image_size) for box in boxes]

    def _detect(self, photo):
        with self._detecting:
            return self.reconstructor.detect(photo)

    def _restore(self, width, height, found, boxes, crops) -> Photo:
        faces = [
            restore_face(crop_map, box, to_crop, self.reconstructor.grid, parameters)
            for (crop_map, parameters), box, (_, to_crop) in zip(found, boxes, crops, strict=True)
        ]
        qualities = [judge(face, crop, width, height) for face, (crop, _) in zip(faces, crops, strict=True)]
        return Photo(width, height, faces, qualities)


def check_box(box: Box, photo: np.ndarray, name: str) -> None:
    """Raise `Problem` 422 unless a face can be there: finite, not tiny, about a place in or near the photo."""
    height, width = photo.shape[:2]
    extent = np.array([width, height])
    near = np.isfinite([*box.centre, box.side]).all() and (np.abs(box.centre - extent / 2) <= extent).all()
    if not (near and MIN_SIDE <= box.side <= 4 * extent.max()):
        raise Problem(422, f"{name}: a face's box is too small, or not in the photo of {width} x {height} pixels")


def warm_up(reconstructor: FaceReconstructor, batch_size: int) -> None:
    """Run detector and network once in each form that requests bring, so that no request pays for it."""
    size = reconstructor.image_size
    reconstructor.detect(np.zeros((size, size, 3), dtype=np.uint8))
    for count in sorted({1, min(2, batch_size), batch_size}):
        reconstructor.predict_faces(np.zeros((count, size, size, 3), dtype=np.float32))
