"""Damaged files of every kind are read or refused: no crash, no hang, no traceback, no claim of memory."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="memory cannot be limited there")
@pytest.mark.parametrize(("seed", "count"), [(0, 150), pytest.param(1, 3000, marks=pytest.mark.large)])
def test_damaged_files_are_read_or_refused(seed, count):
    result = subprocess.run(
        [sys.executable, "-m", "tests.strangers", str(seed), str(count)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=900,
    )
    last_words = result.stdout[-3000:] + result.stderr[-3000:]
    assert f"{count} damaged files of 4 kinds, 0 failures" in result.stdout, last_words
