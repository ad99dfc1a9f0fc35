"""A face model of any make from plain arrays."""

import numpy as np
import pytest

from prnet.commands import build_face_model
from prnet.common.errors import UserError
from prnet.formats.array_model import read_array_model
from prnet.formats.face_model_file import load_face_model
from prnet.geometry.face_model import at_landmarks


@pytest.fixture(scope="module")
def arrays(sample_model):
    names = ("mean", "triangles", "shape_basis", "expression_basis", "shape_deviation", "expression_deviation")
    return {name: getattr(sample_model, name) for name in names} | {
        "landmark_vertices": sample_model.landmark_vertices[:, 0]
    }


def write(path, arrays):
    np.savez(path, **arrays)
    return path


def test_the_sample_model_comes_back_from_its_arrays(arrays, sample_model, tmp_path):
    path = write(tmp_path / "model.npz", arrays | {"licence": "MIT", "triangles": sample_model.triangles[:, ::-1]})
    build_face_model.main(["--arrays", str(path), "--output", str(tmp_path / "model.hdf5")])
    model = load_face_model(tmp_path / "model.hdf5")
    np.testing.assert_array_equal(model.mean, sample_model.mean)
    assert {tuple(sorted(each)) for each in model.triangles} == {tuple(sorted(each)) for each in sample_model.triangles}
    np.testing.assert_array_equal(at_landmarks(model, model.mean), at_landmarks(sample_model, sample_model.mean))
    a, b, c = np.moveaxis(model.uv[model.triangles].astype(np.float64), 1, 0)
    assert ((b - a)[:, 0] * (c - a)[:, 1] > (b - a)[:, 1] * (c - a)[:, 0]).mean() > 0.999
    assert (model.licence, model.expression_names, model.mediapipe) == ("MIT", (), None)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"triangles": None}, "has no array triangles"),
        ({"landmark_vertices": np.arange(67)}, "landmark_vertices has shape"),
        ({"landmark_vertices": np.full(68, 10**6)}, "do not belong together"),
        ({"landmark_vertices": np.zeros(68, int)}, "on top of each other"),
        ({"mean": np.zeros((5, 2))}, "do not belong together"),
        ({"expression_names": np.array(["a", "b"])}, "expression_names for"),
    ],
)
def test_arrays_that_are_wrong_are_named(arrays, tmp_path, change, complaint):
    wrong = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(UserError, match=complaint) as error:
        read_array_model(write(tmp_path / "model.npz", wrong))
    assert str(error.value).startswith(str(tmp_path / "model.npz"))


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_array_model(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UserError, match="not a readable"):
        read_array_model(tmp_path / "text.npz")
