import keras
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.model.networks import build_network, network_image_size, predict_maps


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
