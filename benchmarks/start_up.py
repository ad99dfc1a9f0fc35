"""Time until `--help` of each script, and from the start of training to the end of its first step."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, seconds

ROOT = Path(__file__).resolve().parents[1]


def measure() -> list[Figure]:
    """Least of five runs of each script's `--help`, and of two first steps, in seconds."""
    scripts = sorted(path for path in ROOT.glob("*.py"))
    figures = [
        Figure(f"{script.name} --help", min(_help_seconds(script) for _ in range(5)), "s", at_most=0.5)
        for script in scripts
    ]
    with TemporaryDirectory() as folder:
        _run("make_sample_data.py", "--outdir", folder, "--train", "40", "--val", "4")
        model = ["--facemodel", f"{folder}/face_model.hdf5"]
        _run("build_dataset.py", "--zipDir", folder, "--hdf5dir", folder, "--buildmode", "train", *model)
        first_step = min(_first_step_seconds(folder, model, f"run{number}") for number in range(2))
    return [*figures, Figure("train_model.py to the end of its first step", first_step, "s", at_most=15)]


def _help_seconds(script: Path) -> float:
    command = [sys.executable, str(script), "--help"]
    return seconds(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))


def _run(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, script, *arguments], cwd=ROOT, check=True, capture_output=True)


def _first_step_seconds(folder: str, model: list[str], run: str) -> float:
    """Until the progress bar of the light network counts its first batch."""
    command = [sys.executable, "train_model.py", "--recipe", "lprnet", "--epochs", "1", "--hdf5dir", folder, *model]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--outputdir", f"{folder}/{run}"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    shown = b""
    while not re.search(rb"\| [1-9]\d*/\d+ \[", shown):
        piece = os.read(process.stderr.fileno(), 4096)
        if not piece:
            raise RuntimeError(f"training ended before its first step: {shown.decode(errors='replace')[-500:]}")
        shown += piece
    elapsed = time.perf_counter() - start
    process.kill()
    process.communicate()
    return elapsed
