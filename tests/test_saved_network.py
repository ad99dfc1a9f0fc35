import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.geometry.uv_layout import UVLayout
from prnet.model.networks import build_network, predict_maps
from prnet.model.runtimes import open_runtime
from prnet.model.saved_network import LAYOUT_ENTRY, WEIGHTS_ENTRY, load_network, save_network, unzip_network

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def layout() -> UVLayout:
    random = np.random.default_rng(1)
    return UVLayout(
        landmark_uv=random.uniform(size=(68, 2)).astype(np.float32),
        region_weights=random.integers(0, 4, (256, 256)).astype(np.float32),
        canonical_map=random.uniform(size=(256, 256, 3)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def network():
    network = build_network("lprnet", 128)
    random = np.random.default_rng(2)
    network.set_weights([random.uniform(0.01, 0.2, weight.shape) for weight in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(2, 128, 128, 3)).astype(np.float32)


def test_a_network_comes_back_with_its_layout(network, layout, images, tmp_path):
    path = tmp_path / "folder" / "network.keras"
    save_network(network, layout, path)
    again, again_layout = load_network(path)
    np.testing.assert_array_equal(predict_maps(again, images), predict_maps(network, images))
    for name in ("landmark_uv", "region_weights", "canonical_map"):
        np.testing.assert_array_equal(getattr(again_layout, name), getattr(layout, name))
    assert again_layout.identity == layout.identity
    assert [file.name for file in path.parent.iterdir()] == ["network.keras"]


def test_plain_keras_opens_the_file(network, layout, images, tmp_path):
    save_network(network, layout, tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict_on_batch(images), network.predict_on_batch(images))


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends_open_the_file(network, layout, images, tmp_path, backend):
    pytest.importorskip(backend)
    save_network(network, layout, tmp_path / "network.keras")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy; from prnet.model.networks import predict_maps;"
        "from prnet.model.saved_network import load_network;"
        "folder = sys.argv[1]; network, _ = load_network(folder + '/network.keras');"
        "numpy.save(folder + '/maps.npy', predict_maps(network, numpy.load(folder + '/images.npy')))"
    )
    environment = os.environ | {"KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, env=environment, check=True, timeout=300)
    expected = predict_maps(network, images)
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), expected, atol=1e-4 * np.abs(expected).max())


def test_half_precision_fits_ten_megabytes_and_opens_as_float32(network, layout, images, tmp_path):
    path = tmp_path / "network.keras"
    save_network(network, layout, path, half=True)
    assert path.stat().st_size < 10 * MEGABYTE
    again, _ = load_network(path)
    assert {weight.dtype for weight in again.get_weights()} == {np.dtype(np.float32)}
    for stored, weight in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(stored, weight.astype(np.float16).astype(np.float32))
    assert [file.name for file in tmp_path.iterdir()] == ["network.keras"]


def unzipped(network, layout, folder: Path) -> Path:
    save_network(network, layout, folder.with_suffix(".keras"))
    unzip_network(folder.with_suffix(".keras"), folder)
    return folder


def test_the_unzipped_folder_opens_with_its_layout(network, layout, images, tmp_path):
    folder = unzipped(network, layout, tmp_path / "hub")
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metadata.json",
        WEIGHTS_ENTRY,
        LAYOUT_ENTRY,
    }
    again, again_layout = load_network(folder)
    np.testing.assert_array_equal(predict_maps(again, images), predict_maps(network, images))
    assert again_layout.identity == layout.identity
    plain = keras.saving.load_model(folder)
    np.testing.assert_array_equal(plain.predict_on_batch(images), network.predict_on_batch(images))


def test_a_folder_that_keras_wrote_opens_once_the_layout_is_put_into_it(network, layout, images, tmp_path):
    keras.saving.save_model(network, tmp_path / "hub", zipped=False)
    with pytest.raises(UserError, match="hub: holds no UV layout"):
        load_network(tmp_path / "hub")
    source = unzipped(network, layout, tmp_path / "other")
    (tmp_path / "hub" / LAYOUT_ENTRY).write_bytes((source / LAYOUT_ENTRY).read_bytes())
    again, _ = load_network(tmp_path / "hub")
    np.testing.assert_array_equal(predict_maps(again, images), predict_maps(network, images))


@pytest.mark.parametrize("name", ["config.json", WEIGHTS_ENTRY, LAYOUT_ENTRY])
def test_a_damaged_folder_is_refused_by_name(network, layout, tmp_path, name):
    folder = unzipped(network, layout, tmp_path / "hub")
    (folder / name).write_bytes(b"no network")
    with pytest.raises(UserError, match="hub: ") as caught:
        load_network(folder)
    assert "\n" not in str(caught.value)
    (folder / name).unlink()
    with pytest.raises(UserError, match="hub: "):
        load_network(folder)


def test_a_handle_of_the_hub_opens(network, layout, images, tmp_path):
    """huggingface_hub itself, offline, with a repository in its cache as a download leaves it."""
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "cache" / "models--someone--network"
    unzipped(network, layout, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy; from prnet.model.networks import predict_maps;"
        "from prnet.model.saved_network import load_network;"
        "network, layout = load_network('hf://someone/network');"
        "numpy.save(sys.argv[1] + '/maps.npy', predict_maps(network, numpy.load(sys.argv[1] + '/images.npy')));"
        "print(layout.identity)\n"
        "try: load_network('hf://someone/nothing')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    identity, refused = ran.stdout.splitlines()
    assert identity == layout.identity
    assert refused.startswith("UserError hf://someone/nothing: cannot be fetched: ")
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), predict_maps(network, images), rtol=1e-4, atol=1e-2)


def test_a_handle_without_the_hubs_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hf://someone/network: needs huggingface_hub; .*prnet\[hub\]"):
        load_network("hf://someone/network")


def test_a_file_that_is_no_network_is_refused_by_name(network, layout, tmp_path):
    whole = tmp_path / "whole.keras"
    save_network(network, layout, whole)
    (tmp_path / "short.keras").write_bytes(whole.read_bytes()[:-1000])
    (tmp_path / "text.keras").write_text("no network")
    os.mkfifo(tmp_path / "pipe.keras")
    network.save(tmp_path / "plain.keras")
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "hollow.keras", "w") as hollow:
        hollow.writestr(LAYOUT_ENTRY, source.read(LAYOUT_ENTRY))
    for name, complaint in {
        "absent.keras": "no such model file",
        "pipe.keras": "is not a plain file",
        "short.keras": "damaged",
        "text.keras": "damaged",
        "plain.keras": "no UV layout",
        "hollow.keras": "holds no network",
    }.items():
        with pytest.raises(UserError, match=f"{name}: .*{complaint}") as caught:
            load_network(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("taken", "given"), [((8, 8, 3), (4, 4, 3)), ((8, 4, 3), (8, 4, 3)), ((8, 8, 1), (8, 8, 1)), ((9,), (9,))]
)
def test_a_network_that_makes_no_maps_of_crops_is_refused(layout, tmp_path, taken, given):
    image = keras.Input(taken)
    count = int(np.prod(given))
    outputs = keras.layers.Reshape(given)(keras.layers.Dense(count)(keras.layers.Flatten()(image)))
    save_network(keras.Model(image, outputs), layout, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"other\.keras: maps .*not a square crop to a map of its size"):
        load_network(tmp_path / "other.keras")


def changed(path, **entries):
    """A copy of a `.keras` file with other contents of some entries."""
    copy = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            target.writestr(name, entries.pop(name, None) or source.read(name))
    return copy


def test_nothing_in_a_model_file_is_executed(layout, tmp_path, monkeypatch):
    """Neither a Lambda layer nor the import of a module that a configuration names."""
    path, image = tmp_path / "lambda.keras", keras.Input((8, 8, 3))
    save_network(keras.Model(image, keras.layers.Lambda(lambda x: x, name="harm")(image)), layout, path)
    with pytest.raises(UserError, match=r"lambda\.keras: .*cannot open the network.*Lambda"):
        load_network(path)

    save_network(keras.Model(image, keras.layers.ReLU(name="harm")(image)), layout, path)
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nclass ReLU: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    foreign = config.replace(
        b'"module": "keras.layers", "class_name": "ReLU"', b'"module": "stranger", "class_name": "ReLU"'
    )
    assert foreign != config
    with pytest.raises(UserError, match="cannot open the network"):
        load_network(changed(path, **{"config.json": foreign}))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("entry", [WEIGHTS_ENTRY, "uv_layout.npz", "within uv_layout.npz"])
def test_a_small_file_that_unpacks_to_much_is_refused_at_once(network, layout, tmp_path, monkeypatch, entry):
    monkeypatch.setattr("prnet.model.saved_network.MAX_BYTES", 100 << 20)
    path, zeros = tmp_path / "network.keras", bytes(101 << 20)
    save_network(network, layout, path)
    if entry.startswith("within"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as inner:
            inner.writestr("landmark_uv.npy", zeros)
        bomb = changed(path, **{"uv_layout.npz": packed.getvalue()})
    else:
        bomb = tmp_path / "bomb.keras"
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(entry, zeros)
    tracemalloc.start()
    with pytest.raises(UserError, match="damaged, or not a .keras file"):
        load_network(bomb)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_damaged_networks_are_read_or_refused(layout, tmp_path):
    """The networks of `test_damaged_files`, the quick part, in this process, which has Keras loaded."""
    from tests.helpers.damaged_files import damage, examine, network_sources

    sources = network_sources(tmp_path)
    for number in range(60):
        random, path = np.random.default_rng([0, number]), tmp_path / f"{number}.keras"
        path.write_bytes(damage(sources[number % len(sources)], random))
        assert examine(load_network, path) is None


@pytest.mark.parametrize("name", ["morphnet", "lprnet"])
def test_shipped_networks_have_names(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    network, _ = load_network(name)
    assert network.name.startswith(name)
    assert open_runtime(name).image_size == network.input_shape[1]
