"""The face recognition network of the npm package face-api onto Keras: TensorFlow.js' format, and its own answer."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.exporting.face_api import STEM, import_face_api, read_weights

PACKAGE = "PRNET_FACE_API"
"""The environment variable that names the package's folder (npm pack @vladmandic/face-api, unpacked)."""


def write_manifest(folder: Path, entries: list[dict], content: bytes) -> None:
    (folder / f"{STEM}-weights_manifest.json").write_text(json.dumps([{"paths": [], "weights": entries}]))
    (folder / f"{STEM}.bin").write_bytes(content)


def test_tensors_of_bytes_are_scaled_and_floats_are_taken_as_they_are(tmp_path):
    entries = [
        {"name": "a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
        {"name": "b", "shape": [1, 2], "dtype": "float32"},
    ]
    write_manifest(tmp_path, entries, bytes([0, 6]) + np.array([3.5, -2], "<f4").tobytes())
    tensors = read_weights(tmp_path, STEM)
    np.testing.assert_array_equal(tensors["a"], [-1, 2])
    np.testing.assert_array_equal(tensors["b"], [[3.5, -2]])


def test_what_is_no_such_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file; give the npm package's folder model"):
        import_face_api(tmp_path)
    entry = {"name": "a", "shape": [2], "dtype": "float32"}
    write_manifest(tmp_path, [entry], bytes(8))
    with pytest.raises(UserError, match="not the face recognition network"):
        import_face_api(tmp_path)
    write_manifest(tmp_path, [entry], bytes(9))
    with pytest.raises(UserError, match="holds 9 bytes, its manifest speaks of 8"):
        import_face_api(tmp_path)
    write_manifest(tmp_path, [entry], bytes(7))
    with pytest.raises(UserError, match="damaged"):
        import_face_api(tmp_path)


def test_it_answers_as_the_package_does_under_node(tmp_path):
    package, node = os.environ.get(PACKAGE), shutil.which("node")
    if not package or node is None:
        pytest.skip(f"needs node, and ${PACKAGE}, the folder of the npm package @vladmandic/face-api")
    from prnet.commands.export_model import main
    from prnet.model.photo_training import load_recognition

    file = tmp_path / "recognition.keras"
    main(["--from-face-api", str(Path(package, "model")), "--output", str(file)])
    network = load_recognition(file)
    random = np.random.default_rng(0)
    smooth = np.kron(random.integers(0, 256, (10, 10, 3)), np.ones((15, 15, 1))).astype(int)
    (tmp_path / "pixels.json").write_text(json.dumps(smooth.ravel().tolist()))
    script = Path(__file__).parent / "helpers" / "face_api.js"
    command = [node, str(script), package, str(tmp_path / "pixels.json"), "150"]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True).stdout
    expected = np.array(json.loads(answer.splitlines()[-1]))
    found = np.asarray(network((smooth / 255).astype(np.float32)[None]))[0]
    assert expected.shape == (128,)
    np.testing.assert_allclose(found, expected, atol=1e-4)
