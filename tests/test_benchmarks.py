"""The benchmarks that make their own data run to their end: what they call changes, and nobody else runs them."""

import math
from importlib import import_module

import pytest

pytestmark = pytest.mark.large


@pytest.mark.parametrize("name", ["builder", "evaluation", "profiling", "sequence"])
def test_a_benchmark_measures(name, monkeypatch):
    benchmark = import_module(f"benchmarks.{name}")
    if name == "evaluation":
        monkeypatch.setattr(benchmark, "IMAGES", 120)
    figures = benchmark.measure()
    if name == "sequence" and not figures:
        pytest.skip(f"no real samples at {benchmark.SAMPLES}")
    assert figures
    for figure in figures:
        assert math.isfinite(figure.value), figure.name
