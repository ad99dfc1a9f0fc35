"""Experiments of equal processor time: SADRNet's alignment, the measures, and a whole run on a few faces."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from scipy.spatial.transform import Rotation

from benchmarks import sadrnet
from benchmarks.held_out import normal_angles, roughness
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.uv_layout import landmark_stencil, resample_map, sample_landmarks
from tests.helpers.tiny_data import write_tiny_data

SIDE = 32


def test_alignment_undoes_a_similarity_and_counts_what_is_seen(sample_model):
    """Landmarks of weight 0 may lie anywhere; a mirror image is turned, never mirrored."""
    layout = layout_of_model(sample_model)
    face = resample_map(layout.canonical_map, SIDE)[None] / 300
    turn = Rotation.from_euler("xyz", [0.3, -0.8, 0.2]).as_matrix()
    posed = (1.7 * face @ turn + [0.2, -0.4, 1.0]).astype(np.float32)
    stencil, weights = landmark_stencil(layout, SIDE), np.ones((1, 68), np.float32)
    aligned = ops.convert_to_numpy(sadrnet.align(face, posed, weights, stencil))
    np.testing.assert_allclose(aligned, posed, atol=1e-4)

    moved, astray = posed.copy(), stencil[0][:8].ravel()
    moved.reshape(1, -1, 3)[:, astray] += 5.0
    weights[:, np.isin(stencil[0], astray).any(axis=1)] = 0.0
    aligned = ops.convert_to_numpy(sadrnet.align(face, moved, weights, stencil))
    np.testing.assert_allclose(aligned, posed, atol=1e-4)

    mirror_image = posed * np.array([-1, 1, 1], np.float32)
    turned = ops.convert_to_numpy(sadrnet.align(face, mirror_image, np.ones((1, 68), np.float32), stencil))
    assert np.abs(sample_landmarks(turned, layout) - sample_landmarks(mirror_image, layout)).max() > 0.05


def test_roughness_and_normals_of_known_surfaces():
    row, column = np.mgrid[:SIDE, :SIDE].astype(float)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:-4, 4:-4] = True
    plane = np.stack([column, row, 0 * row], axis=-1)[None]
    bumpy = plane + [0, 0, 1] * ((row + column) % 2)[None, ..., None]
    tilted = plane + [0, 0, 1] * column[None, ..., None]
    np.testing.assert_allclose([roughness(each, mask)[0] for each in (plane, tilted, bumpy)], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(normal_angles(tilted, plane, mask), 45, atol=1e-3)


@pytest.mark.large
def test_the_experiment_runs(sample_model, tmp_path):
    write_tiny_data(tmp_path, sample_model, count=40)
    where = ["--facemodel", f"{tmp_path}/face_model.hdf5", "--outputdir", f"{tmp_path}/runs", "--minutes", "0.05"]
    command = [sys.executable, "-m", "benchmarks.sadrnet", "--dataset", f"{tmp_path}/train.hdf5", *where]
    program = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)  # its own thread
    rows = re.findall(r"^\| (\w+net) \| [\d.]+ \| \d+ \| \d+ \| .*\d", program.stdout, re.MULTILINE)
    assert rows[-3:] == ["morphnet", "sadrnet", "lprnet"]
