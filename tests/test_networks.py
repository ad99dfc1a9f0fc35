import keras
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.geometry.position_map import layout_of_model
from prnet.model.blocks import ENCODER_LAYERS
from prnet.model.networks import build_network, network_image_size, predict_maps
from prnet.model.saved_network import load_network, save_network
from prnet.model.transfer import begin_with, open_start


def parameter_count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_prnet_has_the_published_parameters():
    network = build_network("prnet", 256, "sigmoid")
    # 13.35 million trainable and 13.37 million in all: names and shapes of the published checkpoint.
    assert parameter_count(network.trainable_weights) == 13_353_618
    assert parameter_count(network.weights) == 13_365_508
    assert network.output_shape == (None, 256, 256, 3)


def test_prnet_has_the_published_variables(shared_data):
    import tensorflow as tf

    index = shared_data / "prnet_checkpoint" / "256_256_resfcn256_weight.index"
    published = tf.train.list_variables(str(index.with_suffix("")))
    shapes = sorted(tuple(shape) for name, shape in published if shape and "Adam" not in name)
    network = build_network("prnet", 256, "sigmoid")
    assert sorted(tuple(variable.shape) for variable in network.weights) == shapes


def test_prnet_decays_half_the_sum_of_squares_of_every_kernel_and_nothing_else():
    network = build_network("prnet", 128)
    kernels = [variable.numpy() for variable in network.trainable_weights if variable.name == "kernel"]
    expected = 2e-4 * sum(0.5 * np.sum(np.square(kernel, dtype=np.float64)) for kernel in kernels)
    assert sum(float(loss) for loss in network.losses) == pytest.approx(expected, rel=1e-5)
    assert len(kernels) == 53


@pytest.mark.parametrize("name", ["prnet", "lprnet"])
def test_batch_normalisation_keeps_its_scale(name):
    network = build_network(name, 128)
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(layer.scale and layer.center and layer.epsilon == 1e-3 for layer in layers)
    assert {layer.momentum for layer in layers} == ({0.999} if name == "prnet" else {0.95})


def test_lprnet_is_light():
    network = build_network("lprnet", 128)
    assert 4.4e6 < parameter_count(network.weights) < 4.6e6
    assert network.get_layer("encoder7_pointwise").output.shape == (None, 8, 8, 512)
    assert network.output_shape == (None, 128, 128, 3)


@pytest.mark.parametrize("head", ["linear", "sigmoid"])
def test_heads_reach_as_far_as_they_say(head):
    network = build_network("lprnet", 128, head)
    last = network.get_layer("head_conv")
    last.bias.assign([-2.0, 0.0, 3.0])
    outputs = network.predict_on_batch(np.zeros((1, 128, 128, 3), dtype=np.float32))[0, 0, 0]
    expected = {"linear": [-2.0, 0.0, 3.0], "sigmoid": 1 / (1 + np.exp([2.0, 0.0, -3.0]))}
    np.testing.assert_allclose(outputs, expected[head], rtol=1e-5)


@pytest.mark.parametrize(("name", "side"), [("prnet", 20), ("lprnet", 8)])
@pytest.mark.parametrize("decoder", ["transposed", "resize"])
def test_constant_features_give_a_constant_map_unless_convolutions_are_transposed(name, side, decoder):
    """Away from the border a decoder sees the same everywhere; strided transposed convolutions draw a pattern there."""
    keras.utils.set_random_seed(0)
    network = build_network(name, 128, decoder=decoder)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.beta.assign(0.1 * np.ones(layer.beta.shape))  # else all may end in a ReLU's zeros
    first = next(number for number, layer in enumerate(network.layers) if layer.name.startswith("decoder0"))
    features = outputs = keras.Input((side, side, 512))
    for layer in network.layers[first:]:
        outputs = layer(outputs)
    constant = np.random.default_rng(0).random(512, dtype=np.float32) * np.ones((1, side, side, 1), np.float32)
    found = keras.Model(features, outputs).predict_on_batch(constant)[0]
    middle = found.shape[0] // 2
    centre = found[middle - 8 : middle + 8, middle - 8 : middle + 8]
    assert np.abs(centre).max() > 1e-6
    pattern = np.ptp(centre, axis=(0, 1)).max() / np.abs(centre).max()
    assert pattern < 1e-3 if decoder == "resize" else pattern > 0.03


@pytest.mark.parametrize("name", [pytest.param("prnet", marks=pytest.mark.large), "lprnet"])
def test_the_decoder_is_part_of_what_a_network_is(name, tmp_path, sample_model):
    layout = layout_of_model(sample_model)
    network, usual = (build_network(name, 128, decoder=decoder) for decoder in ("resize", "transposed"))
    assert (network.name, usual.name) == (f"{name}_resize", name)
    assert network.output_shape == usual.output_shape
    assert parameter_count(network.weights) == parameter_count(usual.weights)
    save_network(network, layout, tmp_path / "resize.keras")
    reopened, _ = load_network(tmp_path / "resize.keras")
    crops = np.random.default_rng(0).random((1, 128, 128, 3), dtype=np.float32)
    np.testing.assert_array_equal(reopened.predict_on_batch(crops), network.predict_on_batch(crops))
    begin_with(usual, open_start(tmp_path / "resize.keras"), layout)  # another kind: it takes the encoder
    encoders = (
        [layer for layer in each.layers if layer.name.startswith(ENCODER_LAYERS) and layer.weights]
        for each in (network, usual)
    )
    for given, taken in zip(*encoders, strict=True):
        for one, other in zip(given.get_weights(), taken.get_weights(), strict=True):
            np.testing.assert_array_equal(other, one)


def test_maps_come_in_crop_pixels():
    network = build_network("lprnet", 128)
    network.get_layer("head_conv").bias.assign([0.5, 0.25, 1.0])
    maps = predict_maps(network, np.zeros((2, 128, 128, 3), dtype=np.float32))
    assert maps.shape == (2, 128, 128, 3)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[1, 5, 7], np.array([0.5, 0.25, 1.0]) * 128 * TARGET_SCALE, rtol=1e-5)
    assert network_image_size(network) == 128


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("resnet", 256), "network 'resnet'"),
        (("prnet", 100), "image size 100"),
        (("prnet", 256, "tanh"), "head 'tanh'"),
    ],
)
def test_what_is_unknown_is_named(arguments, part):
    with pytest.raises(UserError, match=part):
        build_network(*arguments)
