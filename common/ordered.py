"""Work done a few items ahead in threads or processes, its results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
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


def made_ahead(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """The items, in their order, the next ones made in a thread of their own: at most `ahead` of them wait."""
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        coming: deque[Future[list[Item]]] = deque(thread.submit(_next_of, source) for _ in range(ahead))
        while item := coming.popleft().result():
            coming.append(thread.submit(_next_of, source))
            yield item[0]


def _next_of(source: Iterator[Item]) -> list[Item]:
    return list(islice(source, 1))
