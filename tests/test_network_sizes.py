"""A network from a file is refused by its size before anything of it is allocated, and opened if it is one of ours."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import pytest
from keras import layers, ops

from prnet.common.errors import UserError
from prnet.geometry.position_map import layout_of_model
from prnet.model.network_sizes import MAX_PARTS, require_modest_network, require_modest_weights
from prnet.model.networks import build_network
from prnet.model.saved_network import load_network, save_network
from tests.helpers.small_faces import make_small_model

LAYOUT = layout_of_model(make_small_model())


def graph(function, side=16) -> bytes:
    """The configuration of a network that is built without values, as whoever writes one by hand would."""

    def build():
        with keras.StatelessScope(initialize_variables=False):
            image = keras.Input((side, side, 3))
            return keras.Model(image, function(image)).to_json().encode()

    with ThreadPoolExecutor(1) as thread:  # where Keras remembers the variables that wait for a value
        return thread.submit(build).result()


def with_loose_layer(config: bytes) -> bytes:
    """The same network, and a layer that nothing leads to, which Keras would build all the same."""
    changed = json.loads(config)
    loose = keras.saving.serialize_keras_object(layers.Dense(1 << 27, name="loose"))
    loose |= {"name": "loose", "inbound_nodes": [], "build_config": {"input_shape": [None, 1 << 10]}}
    changed["config"]["layers"].append(loose)
    return json.dumps(changed).encode()


def nested(image):
    inner = keras.Input((16, 16, 3))
    small_again = layers.MaxPooling2D(1 << 10)(layers.UpSampling2D(1 << 10)(inner))
    return keras.Model(inner, small_again)(image)


GIANTS = {
    "input": (lambda image: layers.Conv2D(3, 1)(image), 1 << 20, "3,298,534,883,328 numbers for one crop in the layer"),
    "filters": (lambda image: layers.Conv2D(1 << 27, 3)(image), 16, "3,758,096,384 weights"),
    "upsampling": (lambda image: layers.MaxPooling2D(64)(layers.UpSampling2D(512)(image)), 16, "numbers for one crop"),
    "padding": (lambda image: layers.Cropping2D(9000)(layers.ZeroPadding2D(9000)(image)), 16, "numbers for one crop"),
    "dense": (lambda image: layers.Dense(1 << 24)(layers.Flatten()(image)), 16, "12,901,679,104 weights"),
    "nested": (nested, 16, "numbers for one crop in the layer up_sampling2d"),
    "operation": (lambda image: ops.max(ops.tile(image, (1, 999, 999, 1)), axis=(1, 2)), 16, "numbers for one crop"),
    "many layers": (
        lambda image: [image := layers.ZeroPadding2D(((0, 0), (k % 2, 0)))(image) for k in range(200)][-1],
        1 << 10,
        "numbers for one crop, and",
    ),
    "attention": (lambda image: layers.Attention()([layers.Reshape((256, 3))(image)] * 2), 16, "cannot be known"),
    "heads": (lambda image: layers.MultiHeadAttention(2, 8)(image, image), 16, "cannot be known"),
    "recurrent": (lambda image: layers.LSTM(8)(layers.Reshape((256, 3))(image)), 16, "cannot be known"),
    "any size": (lambda image: layers.GlobalMaxPooling1D()(ops.reshape(image, (1, -1, 3))), 16, "returns any size"),
}


@pytest.mark.parametrize("kind", GIANTS)
def test_a_giant_is_refused_before_it_is_there(kind):
    function, side, complaint = GIANTS[kind]
    config = graph(function, side)
    tracemalloc.start()
    with pytest.raises(UserError, match="^a.keras: ") as caught:
        require_modest_network(config, "a.keras")
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_layer_that_nothing_leads_to_counts():
    config = graph(lambda image: layers.Conv2D(3, 1)(image))
    require_modest_network(config, "a.keras")
    with pytest.raises(UserError, match="137,573,171,212 weights"):
        require_modest_network(with_loose_layer(config), "a.keras")


def test_a_description_of_many_parts_is_refused():
    layer = json.loads(graph(layers.ReLU()))["config"]["layers"][0]
    many = {"module": "keras", "class_name": "Functional", "config": {"layers": [layer] * MAX_PARTS}}
    with pytest.raises(UserError, match="has more than 20,000 parts"):
        require_modest_network(json.dumps(many).encode(), "a.keras")


def with_constant(shape):
    """A network whose decoder holds a constant, such as the maps of a face model's components."""

    @keras.saving.register_keras_serializable("position_maps")
    class Blend(layers.Layer):
        def build(self, taken):
            self.maps = self.add_weight(shape=shape, initializer="zeros", trainable=False)
            self.inner = layers.Dense(shape[0])
            self.inner.build(taken)

        def call(self, x):
            return ops.einsum("bk,knc->bnc", self.inner(x), self.maps)

    side = int(shape[1] ** 0.5)
    image = keras.Input((side, side, 3))
    maps = Blend()(layers.GlobalAveragePooling2D()(image))
    return keras.Model(image, layers.Reshape((side, side, 3))(maps))


OURS = {
    "lprnet": lambda: build_network("lprnet", 128),
    "prnet": lambda: build_network("prnet", 256),
    "lprnet at 256": lambda: build_network("lprnet", 256),
    "a decoder of 115 maps": lambda: with_constant((115, 128 * 128, 3)),
    "a sequence": lambda: keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(9, 3, padding="same"), layers.Dense(3)]
    ),
}


@pytest.mark.parametrize("kind", OURS)
def test_networks_of_our_sizes_are_opened_and_nothing_of_the_trial_stays(tmp_path, kind):
    network = OURS[kind]()
    save_network(network, LAYOUT, tmp_path / "ours.keras")
    again, _ = load_network(tmp_path / "ours.keras")
    assert again.count_params() == network.count_params()
    with keras.StatelessScope():  # leaving one makes all variables that wait for a value
        pass
    assert layers.Dense(1).name.partition("_")[0] == "dense"


def weights_file(change) -> bytes:
    with io.BytesIO() as buffer:
        with h5py.File(buffer, "w") as file:
            change(file)
        return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda file: file.create_dataset("a/b", (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip"), "take more"),
        (lambda file: file.create_dataset("a", (9,), "f4", external=[("/etc/hostname", 0, 36)]), "lies outside"),
        (lambda file: file.create_virtual_dataset("a", h5py.VirtualLayout((9,), "f4")), "lies outside"),
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/hostname", "b")), "lies outside"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "lies outside"),
        (lambda file: file.create_group("a/b").__setitem__("loop", file["a"]), "take more"),
    ],
)
def test_weights_that_are_no_networks_are_refused(tmp_path, change, complaint):
    content = weights_file(change)
    with pytest.raises(UserError, match=f"a.keras: .*{complaint}"):
        require_modest_weights(content, "a.keras", 1 << 29)
    save_network(build_network("lprnet", 128), LAYOUT, tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "a.keras", "w") as changed:
        for entry in whole.namelist():
            changed.writestr(entry, content if entry.endswith(".h5") else whole.read(entry))
    with pytest.raises(UserError, match=f"a.keras: .*{complaint}"):
        load_network(tmp_path / "a.keras")


@pytest.mark.skipif(sys.platform != "linux", reason="memory cannot be limited there")
@pytest.mark.parametrize("count", [40, pytest.param(800, marks=pytest.mark.large)])
def test_networks_of_any_size_are_opened_or_refused(count):
    result = subprocess.run(
        [sys.executable, "-m", "tests.helpers.giants", "0", str(count)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=1800,
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},  # each more reserves 64 MB of address space
    )
    assert f"{count} giants, 0 failures" in result.stdout, result.stdout[-3000:] + result.stderr[-3000:]
