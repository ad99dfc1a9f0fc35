"""Time until `--help` of each script."""

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure, seconds

ROOT = Path(__file__).resolve().parents[1]


def measure() -> list[Figure]:
    """Least of five runs of each script's `--help`, in seconds."""
    scripts = sorted(path for path in ROOT.glob("*.py"))
    return [
        Figure(f"{script.name} --help", min(_help_seconds(script) for _ in range(5)), "s", at_most=0.5)
        for script in scripts
    ]


def _help_seconds(script: Path) -> float:
    command = [sys.executable, str(script), "--help"]
    return seconds(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))
