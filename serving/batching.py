"""Crops of several requests, gathered into batches for the one thread that runs the network."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from prnet.serving.problems import RETRY_AFTER, Problem

PATIENCE = 0.1
"""How long a batch waits for more at most, as a share of the time that the last one took."""


class Batcher:
    """Runs `predict` on batches of what waits, in the order it came.

    predict : (B, S, S, 3) crops to an answer for each, called in one thread of its own. Crops that come while it runs
    are the next batch. A lone crop never waits; under load a batch waits a moment until it holds half of those under
    way, so that one half is prepared while the network runs the other. Use as `async with`: at the end what was taken
    is finished.
    """

    def __init__(self, predict: Callable[[np.ndarray], Sequence], batch_size: int, limit: int):
        self._predict, self._batch_size, self._limit = predict, batch_size, limit
        self._waiting: asyncio.Queue = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")
        self._last_size, self._last_seconds = 0, 0.0
        self.crops = 0  # run so far

    @property
    def waiting(self) -> int:
        """Crops that the network has not taken yet."""
        return self._waiting.qsize()

    async def __aenter__(self) -> "Batcher":
        self._running = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(self, *_) -> None:
        self._waiting.put_nowait(None)
        await self._running
        self._thread.shutdown()

    async def predict(self, crops: list[np.ndarray]) -> list:
        """Answers for one request's crops. Raises `Problem` 503 if too many wait; if cancelled, those that still wait
        are dropped."""
        if self.waiting + len(crops) > self._limit:
            raise Problem(503, "too many faces wait for the network; try again in a moment", RETRY_AFTER)
        answers = [asyncio.get_running_loop().create_future() for _ in crops]
        for crop, answer in zip(crops, answers, strict=True):
            self._waiting.put_nowait((crop, answer))
        return await asyncio.gather(*answers)

    async def _run(self) -> None:
        while batch := await self._next_batch():
            crops, answers = zip(*batch, strict=True)
            start = time.monotonic()
            try:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._thread, self._predict, np.stack(crops))
            except Exception as error:
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for answer, of_crop in zip(answers, found, strict=True):
                    if not answer.done():
                        answer.set_result(of_crop)
            self._last_size, self._last_seconds = len(batch), time.monotonic() - start
            self.crops += len(batch)

    async def _next_batch(self) -> list[tuple[np.ndarray, asyncio.Future]]:
        """What is to run next; nothing once the end is reached."""
        batch: list[tuple[np.ndarray, asyncio.Future]] = []
        deadline = None
        half = (self._last_size + self.waiting) / 2
        while len(batch) < self._batch_size:
            if batch and self._waiting.empty() and len(batch) >= half:
                break
            try:
                timeout = None if deadline is None else max(deadline - time.monotonic(), 0)
                item = await asyncio.wait_for(self._waiting.get(), timeout)
            except TimeoutError:
                break
            if item is None:
                self._waiting.put_nowait(None)
                break
            if not item[1].cancelled():
                batch.append(item)
                deadline = deadline or time.monotonic() + PATIENCE * self._last_seconds
        return batch
