"""Damaged files of every kind are read or refused: no crash, no hang, no traceback, no claim of memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STRICT_MALLOC = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
"""With glibc, ends a process that frees what it never claimed, which otherwise shows now and then."""

LIGHT = ["fits", "meshes", "photos", "uploads", "archives", "datasets", "face models", "predictions", "results"]


@pytest.mark.skipif(sys.platform == "win32", reason="memory cannot be limited there")
@pytest.mark.parametrize(
    ("seed", "count", "kinds"),
    [
        pytest.param(0, 150, LIGHT, id="quick"),
        pytest.param(1, 3000, LIGHT, id="many", marks=pytest.mark.large),
        pytest.param(1, 600, ["networks"], id="networks", marks=pytest.mark.large),
    ],
)
def test_damaged_files_are_read_or_refused(seed, count, kinds):
    result = subprocess.run(
        [sys.executable, "-m", "tests.helpers.damaged_files", str(seed), str(count), *kinds],
        cwd=Path(__file__).parents[1],
        env=os.environ | (STRICT_MALLOC if sys.platform == "linux" else {}),
        capture_output=True,
        text=True,
        timeout=900,
    )
    last_words = result.stdout[-3000:] + result.stderr[-3000:]
    assert f"{count} damaged files of {len(kinds)} kinds, 0 failures" in result.stdout, last_words
