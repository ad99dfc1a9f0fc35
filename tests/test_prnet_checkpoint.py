"""The published TF-slim checkpoint onto the Keras network."""

import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.exporting.prnet_checkpoint import (
    OPTIMISER_ENDINGS,
    import_prnet,
    is_optimiser_state,
    read_prnet_layout,
    variable_names,
)
from tests.helpers.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def network():
    from prnet.model.networks import build_network

    return build_network("prnet", 256, head="sigmoid")


@pytest.fixture(scope="module")
def published(shared_data):
    """Names and shapes of the published checkpoint."""
    import tensorflow as tf

    return dict(tf.train.list_variables(str(shared_data / "prnet_checkpoint" / "256_256_resfcn256_weight")))


@pytest.fixture(scope="module")
def random_weights(network):
    """Values by slim name that keep activations in range, moving variances positive."""
    rng = np.random.default_rng(0)
    values = {}
    for variable in network.variables:
        name, shape = variable_names(network)[variable.path], tuple(variable.shape)
        if name.endswith("weights"):
            fan_in = np.prod(shape[:2]) * (shape[3] if "transpose" in name else shape[2])
            value = rng.normal(0, np.sqrt(2 / fan_in), shape)
        else:
            value = rng.normal(0, 0.1, shape) + (0 if name.endswith(("beta", "moving_mean")) else 1)
        values[name] = np.abs(value).astype("f4") if name.endswith("moving_variance") else value.astype("f4")
    return values


def test_every_published_variable_is_used_or_belongs_to_the_optimiser(network, published):
    ours = {variable_names(network)[variable.path]: list(variable.shape) for variable in network.variables}
    weights = {name: shape for name, shape in published.items() if not is_optimiser_state(name)}
    assert ours == weights
    assert len(published) == 545
    assert {name.rpartition("/")[2] for name in set(published) - set(ours)} <= {
        ending.strip("/") for ending in OPTIMISER_ENDINGS
    }


def slim_forward(images, values):
    """The graph of PRNet's predictor in plain TensorFlow operations, from its description, variable by variable."""
    import tensorflow as tf

    def normalise(x, scope):
        mean, variance, scale, offset = (
            values[f"resfcn256/{scope}/BatchNorm/{part}"]
            for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (x - mean) / tf.sqrt(variance + 0.001) * scale + offset

    def convolve(x, scope, stride=1):
        return tf.nn.conv2d(x, values[f"resfcn256/{scope}/weights"], stride, "SAME")

    def transposed(x, scope, stride):
        weights = values[f"resfcn256/{scope}/weights"]
        batch, height, width, _ = x.shape
        return tf.nn.conv2d_transpose(
            x, weights, (batch, height * stride, width * stride, weights.shape[2]), stride, "SAME"
        )

    x = tf.nn.relu(normalise(convolve(images, "Conv"), "Conv"))
    for block in range(10):
        scope = f"resBlock_{block}" if block else "resBlock"
        stride = 2 - block % 2
        shortcut = convolve(x, f"{scope}/shortcut", stride) if stride == 2 else x
        x = tf.nn.relu(normalise(convolve(x, f"{scope}/Conv"), f"{scope}/Conv"))
        x = tf.nn.relu(normalise(convolve(x, f"{scope}/Conv_1", stride), f"{scope}/Conv_1"))
        x = tf.nn.relu(normalise(convolve(x, f"{scope}/Conv_2") + shortcut, scope))
    for layer, stride in enumerate((1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1)):
        scope = f"Conv2d_transpose_{layer}" if layer else "Conv2d_transpose"
        x = normalise(transposed(x, scope, stride), scope)
        x = tf.nn.relu(x) if layer < 16 else tf.nn.sigmoid(x)
    return x.numpy()


def test_the_imported_network_computes_what_the_slim_graph_computes(tmp_path, shared_data, random_weights):
    prefix = tmp_path / "256_256_resfcn256_weight"
    write_checkpoint(prefix, {**random_weights, "beta1_power": np.float32(0.9), "resfcn256/Conv/weights/Adam": 0.0})
    network, _ = import_prnet(prefix, shared_data / "uv")
    images = np.random.default_rng(1).random((2, 256, 256, 3), dtype=np.float32)
    expected = slim_forward(images, random_weights)
    assert np.ptp(expected) > 0.5  # not saturated: a wrong layer shows
    np.testing.assert_allclose(network.predict_on_batch(images), expected, atol=1e-4)


@pytest.mark.parametrize("change", ["missing", "left over", "shape"])
def test_another_network_is_refused(tmp_path, shared_data, random_weights, change):
    values = dict(random_weights)
    if change == "missing":
        del values["resfcn256/Conv/weights"]
    elif change == "left over":
        values["resfcn256/Conv_9/weights"] = np.zeros(3, np.float32)
    else:
        values["resfcn256/Conv/weights"] = np.zeros((3, 3, 3, 16), np.float32)
    write_checkpoint(tmp_path / "other", values)
    with pytest.raises(UserError, match="resfcn256/Conv"):
        import_prnet(tmp_path / "other", shared_data / "uv")


def test_a_checkpoint_without_its_data_is_refused(shared_data):
    with pytest.raises(UserError, match="data-00000-of-00001: no such file"):
        import_prnet(shared_data / "prnet_checkpoint" / "256_256_resfcn256_weight", shared_data / "uv")


def test_prnets_own_layout(shared_data):
    layout = read_prnet_layout(shared_data / "uv")
    assert np.count_nonzero(layout.region_weights) == 43867
    assert set(np.unique(layout.region_weights)) == {0, 3, 4}
    assert layout.canonical_map[..., 2].min() == 0
    column, row = np.loadtxt(shared_data / "uv" / "uv_kpt_ind.txt").astype(int)
    landmarks = layout.canonical_map[row, column]
    sides = np.ptp(landmarks[:, :2], axis=0)
    np.testing.assert_allclose(sides.mean() * 1.5, 255, rtol=1e-5)  # the reference crop
    assert landmarks[8, 1] > landmarks[27, 1]  # the chin below the nose: y points down
    assert landmarks[30, 2] > landmarks[0, 2]  # the nose nearer than the ear
