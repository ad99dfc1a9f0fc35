"""The notebooks: whole, without stored results, and run from their first to their last cell."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.notebooks import code_cells

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_results(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    for source in code_cells(path):
        ast.parse(source)


def run(path: Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", "tests.helpers.notebooks", path],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.large
def test_from_a_photo_to_a_mesh(tmp_path):
    said = run(ROOT / "examples" / "photo_to_mesh.ipynb", tmp_path)
    assert "[Face(pitch " in said
    assert said.count("a picture of ") == 3
    assert int(re.search(r"nearest to the camera: number (\d+)", said)[1]) in range(27, 36)
    assert "nobody.png no face found" in said
    assert (tmp_path / "astronaut.glb").is_file()
    assert float(re.search(r"([\d.]+) pixels apart", said)[1]) < 10


@pytest.mark.large
def test_from_photos_to_a_network(tmp_path):
    said = run(ROOT / "examples" / "photos_to_network.ipynb", tmp_path)
    assert said.count("a picture of ") == 5
    first, *_, last = (float(error) for error in re.findall(r"epoch \d+: ([\d.]+) %'", said))
    assert last < first
    assert float(re.search(r"sparse 2D: ([\d.]+) %", said)[1]) < 20
    assert (tmp_path / "run" / "best.keras").is_file()
