"""face_model.hdf5: everything comes back, anything else is refused with the file's name."""

import time
import tracemalloc
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.formats.face_model_file import load_face_model, save_face_model
from prnet.geometry.face_model import FaceModel, MediaPipePoints


@pytest.fixture
def model():
    return random_model(vertices=100, identity=5, expression=4)


def random_model(vertices, identity, expression):
    random = np.random.default_rng(0)

    def values(*shape):
        return random.random(shape, dtype=np.float32)

    return FaceModel(
        mean=values(vertices, 3),
        shape_basis=values(vertices, 3, identity),
        expression_basis=values(vertices, 3, expression),
        shape_deviation=values(identity),
        expression_deviation=values(expression),
        triangles=random.integers(0, vertices, (2 * vertices, 3), dtype=np.int32),
        landmark_vertices=random.integers(0, vertices, (68, 3), dtype=np.int32),
        landmark_weights=np.full((68, 3), 1 / 3, np.float32),
        uv=values(vertices, 2),
        mean_texture=values(vertices, 3),
        region_weights=values(256, 256),
        source="random numbers, für Tests",
        licence="none",
        expression_names=tuple(f"shape{number}Left" for number in range(expression)),
        mediapipe=MediaPipePoints(
            random.integers(0, vertices, (468, 3), dtype=np.int32),
            np.full((468, 3), 1 / 3, np.float32),
            values(468),
            values(468, 3),
        ),
    )


def test_a_saved_model_comes_back_whole(model, tmp_path):
    save_face_model(model, tmp_path / "model.hdf5")
    loaded = load_face_model(tmp_path / "model.hdf5")
    for field in fields(FaceModel):
        original, read = getattr(model, field.name), getattr(loaded, field.name)
        if field.name == "mediapipe":
            for part in fields(MediaPipePoints):
                np.testing.assert_array_equal(getattr(original, part.name), getattr(read, part.name))
            continue
        np.testing.assert_array_equal(original, read, err_msg=field.name)
        assert type(original) is type(read)
        assert getattr(original, "dtype", None) == getattr(read, "dtype", None)
    assert loaded.identity == model.identity


def test_the_file_explains_itself(model, tmp_path):
    save_face_model(model, tmp_path / "model.hdf5")
    with h5py.File(tmp_path / "model.hdf5") as file:
        assert file.attrs["format"] == b"face model"
        assert file.attrs["format_version"] == 2
        assert all(file[name].attrs["description"] for name in file)


def test_a_file_of_version_1_is_read(model, tmp_path):
    """Landmarks were vertices, expressions had no names, and the identity is still the one that was written."""
    one = {"landmark_vertices": model.landmark_vertices[:, :1], "landmark_weights": np.ones((68, 1), np.float32)}
    old = replace(model, **one, expression_names=(), mediapipe=None)
    save_face_model(old, tmp_path / "model.hdf5")
    with h5py.File(tmp_path / "model.hdf5", "a") as file:
        file.attrs["format_version"] = 1
        del file["landmark_weights"], file["landmark_vertices"]
        file["landmark_vertices"] = old.landmark_vertices[:, 0]
    loaded = load_face_model(tmp_path / "model.hdf5")
    np.testing.assert_array_equal(loaded.landmark_vertices, old.landmark_vertices)
    np.testing.assert_array_equal(loaded.landmark_weights, old.landmark_weights)
    assert (loaded.expression_names, loaded.mediapipe) == ((), None)


def test_texts_are_of_fixed_length_and_those_of_older_files_are_read(model, tmp_path):
    """A damaged text of variable length can trap HDF5 for ever."""
    path = tmp_path / "model.hdf5"
    save_face_model(replace(model, licence=""), path)
    with h5py.File(path, "a") as file:
        for item in (file, *file.values()):
            for name in item.attrs:
                assert h5py.check_string_dtype(item.attrs.get_id(name).dtype) is None or (
                    h5py.check_string_dtype(item.attrs.get_id(name).dtype).length
                )
        for name in ("format", "source", "licence", "identity"):
            file.attrs[name] = file.attrs[name].decode()
    loaded = load_face_model(path)
    assert (loaded.source, loaded.licence, loaded.identity) == (model.source, "", model.identity)


def test_a_full_size_model_loads_fast_and_once(tmp_path):
    save_face_model(random_model(vertices=53215, identity=199, expression=29), tmp_path / "model.hdf5")
    start = time.process_time()
    load_face_model(tmp_path / "model.hdf5")
    seconds = time.process_time() - start
    tracemalloc.start()
    model = load_face_model(tmp_path / "model.hdf5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(getattr(getattr(model, field.name), "nbytes", 0) for field in fields(FaceModel))
    assert seconds < 1.0
    assert peak < 1.35 * held


def test_an_older_file_survives_a_model_that_is_wrong(model, tmp_path):
    path = tmp_path / "model.hdf5"
    save_face_model(model, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"model\.hdf5: triangles points outside the 100 vertices"):
        save_face_model(replace(model, triangles=model.triangles + 50), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "change", "complaint"),
    [
        ("mean", lambda array: array * np.nan, "mean holds NaN"),
        ("mean", lambda array: array.astype(np.float64), "mean is float64 and not float32"),
        ("shape_basis", lambda array: array[:-1], r"shape_basis has shape \(99, 3, 5\) and not 100 x 3 x 5"),
        ("shape_deviation", lambda array: array[:-1], r"shape_deviation has shape \(4,\) and not 5"),
        ("expression_basis", lambda array: array[..., 0], "expression_basis has shape"),
        ("landmark_vertices", lambda array: array[:-1], r"landmark_vertices has shape \(67, 3\) and not 68 x 3"),
        ("landmark_vertices", lambda array: array - 100, "landmark_vertices points outside"),
        ("landmark_weights", lambda array: array * 2, "landmark_weights does not sum to 1"),
        ("mediapipe/weights", lambda array: array * 2, "mediapipe/weights does not sum to 1"),
        ("mediapipe/vertices", lambda array: array + 100, "mediapipe/vertices points outside"),
        ("mediapipe/distance", lambda array: array[1:], r"mediapipe/distance has shape \(467,\) and not 468"),
        ("expression_names", lambda array: array[1:], r"has \d+ expression_names for \d+ components"),
        ("triangles", lambda array: array[:0], "triangles points outside"),
        ("uv", lambda array: array + 0.5, "uv leaves 0 to 1"),
        ("mean_texture", lambda array: array * 255, "mean_texture leaves 0 to 1"),
        ("region_weights", lambda array: array[:128], "region_weights has shape"),
        ("region_weights", lambda array: array * 0, "region_weights holds no face"),
    ],
)
def test_a_wrong_array_is_named(model, tmp_path, field, change, complaint):
    path = tmp_path / "model.hdf5"
    save_face_model(model, path)
    with h5py.File(path, "a") as file:
        array = change(file[field][()])
        del file[field]
        file[field] = array
    with pytest.raises(UserError, match=rf"model\.hdf5: {complaint}"):
        load_face_model(path)


def corrupted(path, kind):
    with h5py.File(path, "a") as file:
        if kind == "version":
            file.attrs["format_version"] = 3
        elif kind == "format":
            del file.attrs["format"]
        elif kind == "missing":
            del file["uv"]
            file.create_group("uv")
        elif kind == "licence":
            del file.attrs["licence"]
        elif kind == "bit":
            file["shape_basis"][50, 1, 2] *= 1.0000002
        elif kind == "huge":
            del file["shape_basis"]
            file.create_dataset("shape_basis", (100, 3, 1 << 32), dtype=np.float32, chunks=(1, 1, 1024))
        elif kind == "strings":
            del file["uv"]
            file["uv"] = np.full((100, 2), b"a")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("version", "face model of version 3, this program reads 2"),
        ("format", "not a face model"),
        ("missing", "uv missing"),
        ("licence", "licence missing"),
        ("bit", "damaged"),
        ("huge", "declares more than it holds"),
        ("strings", "uv is .S1 and not float32"),
    ],
)
def test_a_changed_file_is_named(model, tmp_path, kind, complaint):
    path = tmp_path / "model.hdf5"
    save_face_model(model, path)
    corrupted(path, kind)
    with pytest.raises(UserError, match=rf"model\.hdf5: {complaint}"):
        load_face_model(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_named(model, tmp_path, share):
    path = tmp_path / "model.hdf5"
    save_face_model(model, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"model\.hdf5: not a readable HDF5 file"):
        load_face_model(path)


def test_no_damage_is_believed(model, tmp_path):
    path = tmp_path / "model.hdf5"
    save_face_model(model, path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[random.integers(20000)] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            assert load_face_model(path).identity == model.identity
        except UserError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


def test_files_that_are_not_there_or_of_another_kind_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.hdf5: no such face model; make one with build_face_model\.py"):
        load_face_model(tmp_path / "absent.hdf5")
    (tmp_path / "text.hdf5").write_text("not HDF5\n")
    with pytest.raises(UserError, match=r"text\.hdf5: not a readable HDF5 file"):
        load_face_model(tmp_path / "text.hdf5")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        load_face_model(tmp_path)
