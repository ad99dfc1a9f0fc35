"""What a benchmark reports, and how two pieces of code are timed against each other on a noisy machine."""

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number; with a target it passes or fails."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def missed(self) -> bool:
        too_much = self.at_most is not None and self.value > self.at_most
        return too_much or (self.at_least is not None and self.value < self.at_least)

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else ""


def measure(name: str) -> list[Figure]:
    """The figures of one benchmark; called in a process of its own, so that peaks of memory are its own too."""
    return importlib.import_module(f"benchmarks.{name}").measure()


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def times_in_turn(runs: list[Callable[[], object]], rounds: int = 7) -> list[list[float]]:
    """Wall times of several calls taken in turn, after one round that is not counted: [run][round], in seconds."""
    for run in runs:
        run()
    turns = [[seconds(run) for run in runs] for _ in range(rounds)]
    return [list(times) for times in zip(*turns, strict=True)]


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median of the ratios round by round, so that a drift of the machine's speed cancels."""
    return statistics.median(above / below for above, below in zip(numerator, denominator, strict=True))


def markdown_table(figures: list[Figure]) -> str:
    """The figures as a Markdown table, each beside its target."""
    lines = ["| figure | value | unit | target | |", "| --- | ---: | --- | --- | --- |"]
    for figure in figures:
        verdict = "missed" if figure.missed else "met" if figure.target else ""
        lines.append(f"| {figure.name} | {figure.value:.4g} | {figure.unit} | {figure.target} | {verdict} |")
    return "\n".join(lines)
