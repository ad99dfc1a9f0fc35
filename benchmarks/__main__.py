"""`python -m benchmarks [names]`: measure, print each figure beside its target, end with 1 if one is missed."""

import argparse
import json
import multiprocessing
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks.figures import markdown_table, measure
from prnet.commands.terminal import run_script
from prnet.common.files import atomic_write

BENCHMARKS = [
    *("start_up", "sequence", "builder", "evaluation", "reconstruction", "runtimes", "profiling", "serving", "live"),
    "train_step",
]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description="Measure speed and memory against their targets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--output", default="output/bench", help="folder of bench.md and bench.json")
    options = parser.parse_args(argv)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")

    figures = []
    for name in options.names or BENCHMARKS:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own_process:
            figures += own_process.submit(measure, name).result()

    table = f"{date.today()}, {platform.machine()}, Python {platform.python_version()}\n\n{markdown_table(figures)}"
    print(table)
    folder = Path(options.output)
    with atomic_write(folder / "bench.md") as path:
        path.write_text(table + "\n", encoding="utf-8")
    with atomic_write(folder / "bench.json") as path:
        path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1), encoding="utf-8")
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    run_script(main)
