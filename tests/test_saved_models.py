"""SavedModels of other projects: opened as they are, run like the network that they came from, refused in one line."""

import shutil

import numpy as np
import pytest

from prnet.commands.export_model import main
from prnet.commands.terminal import in_flags
from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.exporting.export import export_network
from prnet.geometry.position_map import layout_of_model
from prnet.model.runtimes import SAVED_LAYOUT, SAVED_SCALE, open_runtime
from prnet.model.saved_network import save_network
from prnet.reconstructing.reconstructor import FaceReconstructor
from tests.helpers.perfect_network import constant_network, mean_face_map

SIZE = 128


@pytest.fixture(scope="module")
def exported(sample_model, tmp_path_factory):
    """A .keras file and, beside it, the same network as a SavedModel's folder; never written to."""
    folder, layout = tmp_path_factory.mktemp("saved"), layout_of_model(sample_model)
    network = constant_network(mean_face_map(layout, SIZE))
    save_network(network, layout, folder / "mean.keras")
    export_network(network, layout, folder / "mean", "savedmodel")
    return folder / "mean"


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "mean")


def test_a_saved_model_finds_the_face_that_its_network_finds(exported):
    photo = np.zeros((90, 120, 3), np.uint8)
    boxes = [(30, 20, 40, 50), (60, 30, 40, 40)]
    expected, found = (
        FaceReconstructor(path, "none").reconstruct(photo, boxes) for path in (f"{exported}.keras", exported)
    )
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.position_map, one.position_map, atol=1e-3)
        np.testing.assert_allclose(other.landmarks, one.landmarks, atol=1e-3)
        assert other.parameters is None
    assert open_runtime(exported).free_surface


def test_the_scale_of_its_maps_may_be_another(copied):
    (copied / SAVED_SCALE).write_text("1\n")
    crops = np.zeros((1, SIZE, SIZE, 3), np.float32)
    undivided = open_runtime(copied)(crops)[0]
    (copied / SAVED_SCALE).unlink()
    np.testing.assert_allclose(undivided * TARGET_SCALE, open_runtime(copied)(crops)[0], rtol=1e-5)


def test_a_saved_model_without_a_layout_gets_prnets(copied, shared_data, tmp_path):
    shutil.rmtree(copied / "assets.extra")
    with pytest.raises(UserError, match="a SavedModel without assets.extra") as caught:
        open_runtime(copied)
    assert "--saved-model" in in_flags(str(caught.value))
    places = ["--uv-data", str(shared_data / "uv"), "--output", str(tmp_path / "own")]
    main(["--saved-model", str(copied), "--target-scale", "1", *places])
    runtime = open_runtime(tmp_path / "own")
    assert np.count_nonzero(runtime.layout.region_weights) == 43_867  # PRNet's face texels
    assert (tmp_path / "own" / SAVED_SCALE).read_text() == "1.0\n"
    with pytest.raises(UserError, match="exists"):
        main(["--saved-model", str(copied), *places])


def damage_graph(folder):
    (folder / "saved_model.pb").write_bytes(b"no graph")


def damage_layout(folder):
    (folder / SAVED_LAYOUT).write_bytes(b"no layout")


def damage_scale(folder):
    (folder / SAVED_SCALE).write_text("half")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (damage_graph, "not a SavedModel from crops to maps that TensorFlow opens"),
        (damage_layout, "is damaged; export the network again"),
        (damage_scale, "is damaged; export the network again"),
    ],
)
def test_damaged_folders_are_refused_in_one_line(copied, damage, complaint):
    damage(copied)
    with pytest.raises(UserError, match=complaint) as caught:
        open_runtime(copied)
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_requests_that_cannot_be_met_are_refused(exported, tmp_path):
    with pytest.raises(UserError, match="a SavedModel, which TensorFlow runs"):
        open_runtime(exported, "onnx")
    with pytest.raises(UserError, match="--uv-data"):
        main(["--saved-model", str(exported), "--output", str(tmp_path / "own")])
    with pytest.raises(UserError, match=r"holds no saved_model\.pb"):
        main(["--saved-model", str(tmp_path), "--uv-data", str(tmp_path), "--output", str(tmp_path / "own")])
