"""Work done a few items ahead in threads or processes, its results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(pool: Executor, make: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """`make(item)` for each item. At most `ahead` items wait for their results at a time, which bounds the memory."""
    running: deque[Future[Result]] = deque()
    for item in items:
        running.append(pool.submit(make, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
