"""Exported networks run in their own runtimes and compute the same."""

import cv2
import keras
import numpy as np
import pytest

from prnet.commands.export_model import main
from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.exporting.export import differences, export_network, read_crops, run_exported
from prnet.geometry.uv_layout import UVLayout
from prnet.model.saved_network import load_network, save_network
from prnet.reconstructing.face import prepare_crop

SIZE = 32


@pytest.fixture(scope="module")
def layout():
    rng = np.random.default_rng(0)
    return UVLayout(
        landmark_uv=rng.random((68, 2), dtype=np.float32),
        region_weights=np.full((256, 256), 3, np.float32),
        canonical_map=rng.random((256, 256, 3), dtype=np.float32),
    )


@pytest.fixture(scope="module")
def network():
    """A small encoder and decoder of the kinds of layers that ours have, its statistics away from their defaults."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(16, 4, 2, padding="same", use_bias=False)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(epsilon=1e-3)(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(epsilon=1e-3)(x))
    x = keras.layers.Conv2DTranspose(3, 4, 2, padding="same")(x)
    network = keras.Model(image, keras.layers.Activation("sigmoid")(x))
    rng = np.random.default_rng(0)
    for variable in network.variables:
        if variable.path.endswith(("moving_variance", "gamma")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("moving_mean", "beta")):
            variable.assign(rng.uniform(-0.2, 0.2, variable.shape))
        else:
            variable.assign(3 * variable.numpy())
    return network


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(1)
    return np.stack([cv2.resize(rng.random((5, 5, 3), dtype=np.float32), (SIZE, SIZE)) for _ in range(6)])


@pytest.mark.parametrize(
    ("form", "quantize", "name", "most"),
    [
        ("keras", None, "small.keras", 0.1),
        ("keras", None, "hub", 0.1),
        ("savedmodel", None, "served/1", 1e-4),
        ("onnx", None, "network.onnx", 1e-3),
        ("onnx", "int8", "whole.onnx", 2.0),
        ("litert", None, "network.tflite", 1e-3),
        ("litert", "float16", "half.tflite", 0.1),
        ("litert", "int8", "whole.tflite", 2.0),
    ],
)
def test_every_form_computes_what_the_network_computes(network, layout, crops, tmp_path, form, quantize, name, most):
    if form == "onnx":
        pytest.importorskip("tf2onnx", reason="ONNX needs onnx, tf2onnx and onnxruntime")
        pytest.importorskip("onnxruntime", reason="ONNX needs onnx, tf2onnx and onnxruntime")
    path = export_network(network, layout, tmp_path / name, form, quantize=quantize, crops=crops)
    expected = network.predict_on_batch(crops)
    assert np.ptp(expected) > 0.2
    largest, mean = differences(network, path, form, crops)
    apart = np.abs(run_exported(path, form, crops) - expected)
    assert largest == pytest.approx(apart.max() * SIZE * TARGET_SCALE)
    assert mean <= largest <= most
    if quantize:
        assert largest > 0

    if form == "keras":
        landmark_uv = load_network(path)[1].landmark_uv
    else:
        inside, beside = path / "assets.extra" / "uv_layout.npz", path.with_name(f"{path.stem}_layout.npz")
        with np.load(inside if form == "savedmodel" else beside) as arrays:
            landmark_uv = arrays["landmark_uv"]
    np.testing.assert_array_equal(landmark_uv, layout.landmark_uv)
    assert not [file for file in tmp_path.rglob("*") if "partial" in file.name]


@pytest.mark.parametrize(
    ("name", "form", "options", "message"),
    [
        ("n.tflite", "onnx", {}, "must end with .onnx"),
        ("n.onnx", "onnx", {"quantize": "float16"}, "only for the format litert"),
        ("n.tflite", "litert", {"quantize": "int8"}, "needs images of faces"),
        ("n.tflite", "tflite", {}, "unknown format 'tflite'; choose from keras, savedmodel, litert, onnx"),
        ("n.tflite", "litert", {"quantize": "int4"}, "unknown quantization 'int4'; choose from float16, int8"),
        ("served.pb", "savedmodel", {}, "be a folder's, without a suffix"),
        ("", "savedmodel", {}, "exists; remove it"),
    ],
)
def test_requests_that_cannot_be_met(network, layout, tmp_path, name, form, options, message):
    with pytest.raises(UserError, match=message):
        export_network(network, layout, tmp_path / name, form, **options)
    assert list(tmp_path.iterdir()) == []


def test_crops_of_photos_and_of_the_portrait(tmp_path):
    from skimage.data import astronaut

    cv2.imwrite(str(tmp_path / "a.png"), astronaut()[:256, 100:356, ::-1])
    crops = read_crops(tmp_path, SIZE)
    assert crops.shape == (1, SIZE, SIZE, 3)
    assert crops.dtype == np.float32
    assert 0 <= crops.min() < crops.max() <= 1
    assert np.abs(read_crops(None, SIZE) - crops).mean() < 0.1
    with pytest.raises(UserError, match="no photo there"):
        read_crops(tmp_path / "nowhere", SIZE)


def test_crops_of_a_data_set(tmp_path, sample_model):
    from prnet.generating.dataset import open_dataset
    from tests.helpers.tiny_data import write_tiny_data

    write_tiny_data(tmp_path, sample_model, count=5, validation=1)
    crops = read_crops(tmp_path / "train.hdf5", SIZE, count=3)
    assert crops.shape == (3, SIZE, SIZE, 3)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        expected, _ = prepare_crop(dataset.image(0), dataset.box(0), SIZE)
    np.testing.assert_array_equal(crops[0], expected)


def test_the_script_exports_and_checks(network, layout, tmp_path, capsys):
    save_network(network, layout, tmp_path / "network.keras")
    output = tmp_path / "network.tflite"
    assert main(["--model", str(tmp_path / "network.keras"), "--format", "litert", "--output", str(output)]) is None
    line, last = capsys.readouterr().out.strip().splitlines()[-2:]
    assert last == f"open: {output}"
    assert line.startswith(f"{output}: ")
    assert "from the network at most" in line
    with pytest.raises(UserError, match="--quantize int8: needs training images"):
        main(["--model", "x.keras", "--format", "litert", "--quantize", "int8", "--output", "x.tflite"])


def test_an_onnx_file_lies_beside_its_network_unless_told_otherwise(network, layout, tmp_path):
    save_network(network, layout, tmp_path / "best.keras")
    main(["--model", str(tmp_path / "best.keras"), "--format", "onnx"])
    assert (tmp_path / "best.onnx").is_file()
    for flags in (["--format", "litert"], ["--format", "onnx", "--quantize", "int8"], ["--saved-model", "x"]):
        with pytest.raises(UserError, match="--output: says where to write"):
            main(["--model", str(tmp_path / "best.keras"), *flags])


def test_the_script_converts_the_published_checkpoint(shared_data, tmp_path, capsys):
    from prnet.exporting.prnet_checkpoint import variable_names
    from prnet.model.networks import build_network
    from tests.helpers.checkpoints import write_checkpoint

    prnet = build_network("prnet", 256, head="sigmoid")
    names = variable_names(prnet)
    write_checkpoint(tmp_path / "weight", {names[v.path]: v.numpy() for v in prnet.variables})
    arguments = ["--from-prnet-checkpoint", str(tmp_path / "weight"), "--output", str(tmp_path / "prnet.keras")]
    main([*arguments, "--uv-data", str(shared_data / "uv")])
    assert "13,365,508 parameters" in capsys.readouterr().out
    again, _ = load_network(tmp_path / "prnet.keras")
    for one, other in zip(again.variables, prnet.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    with pytest.raises(UserError, match="needs PRNet's folder uv-data"):
        main(arguments)
