"""The network whose surface is a face: its face space, its projection, its decoder, and the file it is saved in."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from prnet.commands import train_model
from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.generating.dataset import open_dataset
from prnet.geometry.pose import rotation_from_angles
from prnet.geometry.position_map import map_basis, position_maps
from prnet.geometry.transforms import FLIP_Y
from prnet.geometry.uv_layout import face_mask, resample_map
from prnet.model import morphnet
from prnet.model.blocks import ENCODER_LAYERS
from prnet.model.face_space import RAW_SIZE, face_space
from prnet.model.networks import build_network
from prnet.model.saved_network import load_network, save_network
from prnet.model.transfer import begin_with, face_space_of, open_start
from tests.helpers.tiny_data import write_tiny_data

SIZE = 128


@pytest.fixture(scope="module")
def space(sample_model, basis, layout, fits):
    return face_space(sample_model, basis, layout, fits)


@pytest.fixture(scope="module")
def network(space):
    return build_network("morphnet", SIZE, space=space)


def targets_of(model, basis, coefficients, random) -> np.ndarray:
    """Maps of turned and moved faces, in target units."""
    count = len(coefficients)
    scale = 0.25 * SIZE / np.abs(model.mean).max()
    transforms = np.empty((count, 3, 4))
    transforms[:, :, :3] = scale * rotation_from_angles(random.uniform(-0.7, 0.7, (count, 3)))
    transforms[:, :, 3] = random.uniform(0.4 * SIZE, 0.6 * SIZE, (count, 3))
    transforms[:, 1] *= -1
    transforms[:, 1, 3] += SIZE
    return position_maps(basis, coefficients, transforms) / (SIZE * TARGET_SCALE)


def from_raw_map(space) -> keras.Model:
    raw = keras.Input((RAW_SIZE**2, 3))
    pose, coefficients = morphnet._project(raw, space)
    return keras.Model(raw, (morphnet._decode(pose, coefficients, space, SIZE), pose, coefficients))


def test_a_true_raw_map_gives_the_true_map_back(sample_model, basis, space, layout, fits):
    targets = targets_of(sample_model, basis, fits[:16], np.random.default_rng(1))
    raw = targets.reshape(16, -1, 3)[:, space.raw_texels]
    maps, pose, _ = from_raw_map(space).predict_on_batch(raw)
    face = face_mask(layout, SIZE)
    crop_sides = np.abs(maps - targets)[:, face].mean(axis=(1, 2)) * TARGET_SCALE
    assert crop_sides.max() < 0.006
    rotations = pose[:, :3] / np.linalg.norm(pose[:, :1], axis=-1, keepdims=True)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (16, 1, 1)), atol=1e-5)
    assert (np.linalg.det(rotations) > 0.99).all()


def test_whatever_the_raw_map_says_the_surface_is_a_face(space, layout):
    """Noise of a tenth of the crop on every raw texel roughens the map a hundred times less."""
    model, random = from_raw_map(space), np.random.default_rng(2)
    noise = random.normal(scale=0.1, size=(4, RAW_SIZE**2, 3)).astype(np.float32)
    smooth, rough = (model.predict_on_batch(space.raw_start + factor * noise)[0] for factor in (0, 1))
    face = face_mask(layout, SIZE)[1:-1, 1:-1]

    def roughness(maps):
        around = maps[:, :-2, 1:-1] + maps[:, 2:, 1:-1] + maps[:, 1:-1, :-2] + maps[:, 1:-1, 2:]
        return np.linalg.norm(maps[:, 1:-1, 1:-1] - around / 4, axis=-1)[:, face].mean()

    assert roughness(rough) < roughness(smooth) + 0.1 / 100


def test_a_fresh_network_returns_the_mean_face(network, space, layout):
    images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    maps = network.predict_on_batch(images)
    assert maps.shape == (2, SIZE, SIZE, 3)
    start = np.abs(maps.reshape(2, -1, 3)[:, space.raw_texels] - space.raw_start)[:, space.raw_face]
    assert start.max() < 0.02


def test_only_the_encoder_and_the_raw_map_are_trained(network, space):
    trained = sum(int(np.prod(weights.shape)) for weights in network.trainable_weights)
    assert 1.3e6 < trained < 1.5e6
    constants = {layer.name for layer in network.layers if layer.weights and not layer.trainable}
    assert constants == {"affine", "explain", "shape"}
    light = build_network("lprnet", SIZE)
    names = {layer.name for layer in light.layers if layer.name.startswith(ENCODER_LAYERS)}
    assert names <= {layer.name for layer in network.layers}


def test_identity_is_made_of_principal_components(sample_model, basis, layout, space, fits):
    """Independent, of unit variance, by falling strength; and a shorter space is the beginning of the longer one."""
    count, face = sample_model.shape_basis.shape[2], face_mask(layout, SIZE).ravel()
    shapes = fits[:, :count] @ basis.rows[1 : 1 + count]
    faces = shapes.reshape(len(fits), -1, 3)[:, face].reshape(len(fits), -1)
    axes = space.basis[: space.identity_count, space.nearest[face]].reshape(space.identity_count, -1)
    covariance = np.cov(np.linalg.lstsq(axes.T.astype(np.float64), (faces - faces.mean(axis=0)).T)[0])
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(space.identity_count), atol=0.02)
    assert (np.diff(np.linalg.norm(axes, axis=1)) <= 1e-6).all()
    shorter = face_space(sample_model, basis, layout, fits, identities=5)
    assert shorter.identity_count == 5
    np.testing.assert_allclose(shorter.basis[:5], space.basis[:5], atol=1e-6)


def test_its_canonical_map_is_the_mean_face_of_the_training_set(sample_model, basis, layout, fits):
    """Frontal: turned to the front and fitted to its reference crop, it is the map of the mean coefficients."""
    shifted = fits + 0.5 * fits.std(axis=0)
    space = face_space(sample_model, basis, layout, shifted)
    mean_map, seen = basis.rows[0] + shifted.mean(axis=0) @ basis.rows[1:], face_mask(layout, SIZE)
    faces = mean_map.reshape(SIZE, SIZE, 3)[seen], resample_map(space.canonical_map, SIZE)[seen] * FLIP_Y
    for axis in range(3):
        one, other = (points[:, axis] for points in faces)
        slope, offset = np.polyfit(one, other, 1)
        assert np.percentile(np.abs(slope * one + offset - other), 99) < 0.4  # pixels of 256, resampled twice
        assert slope > 0


def test_it_learns_from_the_command_line_beginning_with_a_light_encoder(sample_model, layout, tmp_path, terminal):
    """Names are saved with it, and statistics of its own fits."""
    write_tiny_data(tmp_path, sample_model)
    light = build_network("lprnet", SIZE)
    light.get_layer("stem_conv").set_weights([np.full(light.get_layer("stem_conv").weights[0].shape, 0.25)])
    save_network(light, layout, tmp_path / "light.keras")
    places = ["--hdf5-dir", tmp_path, "--face-model", tmp_path / "face_model.hdf5", "--output-dir", tmp_path / "run"]
    flags = ["--recipe", "morphnet", "--identities", 3, "--learning-rate", 1e-9, "--batch-size", 4, "--epochs", 1]
    train_model.main([str(flag) for flag in (*flags, *places, "--model", tmp_path / "light.keras")])
    assert "begins with the encoder of a lprnet" in terminal.readouterr().out
    network, saved_layout = load_network(tmp_path / "run" / "last.keras")
    assert network.parameter_names.identity_count == 3
    assert len(network.parameter_names.names) == sample_model.expression_basis.shape[2]
    np.testing.assert_allclose(network.get_layer("stem_conv").get_weights()[0], 0.25, atol=1e-6)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        training_fits = np.asarray(dataset.coefficients)[~dataset.validation]
    mean = face_space(sample_model, map_basis(sample_model, SIZE), layout, training_fits).canonical_map
    np.testing.assert_allclose(saved_layout.canonical_map, mean, atol=1e-3)


def test_a_network_is_trained_on_in_its_own_face_space(sample_model, layout, basis, fits, tmp_path):
    space = face_space(sample_model, basis, layout, fits[:40], 3)
    network = build_network("morphnet", SIZE, space=space)
    save_network(network, replace(layout, canonical_map=space.canonical_map), tmp_path / "earlier.keras")
    start = open_start(tmp_path / "earlier.keras")
    found = face_space_of(start, layout, SIZE, 3)
    for field in ("mean", "basis", "canonical_map", "expression_mean", "expression_deviation"):
        np.testing.assert_allclose(getattr(found, field), getattr(space, field), rtol=1e-5, atol=1e-5, err_msg=field)
    for field in ("texels", "nearest", "raw_texels", "raw_face", "names"):
        np.testing.assert_array_equal(getattr(found, field), getattr(space, field), err_msg=field)
    again = build_network("morphnet", SIZE, space=found)
    begin_with(again, start, layout)
    crops = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    np.testing.assert_allclose(again.predict_on_batch(crops), network.predict_on_batch(crops), atol=1e-3)
    assert face_space_of(start, layout, 256, 3) is None
    with pytest.raises(UserError, match="has 3 identity components, not 5; give that as `identities`"):
        face_space_of(start, layout, SIZE, 5)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--head", "sigmoid"), "`head` sigmoid: morphnet has none"),
        (("--schedule", "steps", "--warmup", 0.3), "`warmup` 0.3: belongs to a cosine"),
        (("--image-size", 256), "`image_size` 256: morphnet takes 128"),
        (("--network", "photonet"), "`balance` 0.7: photonet does not take it"),
        (("--network", "photonet", "--balance", 0, "--identities", 5), "`identities` 5: photonet does not take it"),
        (("--network", "photonet", "--head", "sigmoid"), "`head` sigmoid: photonet has none"),
        (("--balance", 2), "balance 2.0: must be from 0 to 1"),
        (("--average", -1), "average -1.0: must be between 0 and 1"),
        (("--average", 1), "average 1.0: must be between 0 and 1"),
        (("--warmup", -1), "warmup -1.0: must be from 0 to inf"),
        (("--clip-norm", 0), "clip norm 0.0: must be above 0"),
        (("--identities", 0), "identities 0: must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(sample_model, tmp_path, flags, complaint):
    write_tiny_data(tmp_path, sample_model)
    places = ["--hdf5-dir", tmp_path, "--face-model", tmp_path / "face_model.hdf5", "--output-dir", tmp_path / "run"]
    with pytest.raises(UserError) as caught:
        train_model.main([str(flag) for flag in ("--recipe", "morphnet", "--batch-size", 4, *places, *flags)])
    assert complaint in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_fits_of_one_identity_are_refused(sample_model, tmp_path, monkeypatch):
    alike = replace(sample_model, shape_deviation=np.zeros_like(sample_model.shape_deviation))
    write_tiny_data(tmp_path, alike)
    places = ["--hdf5-dir", tmp_path, "--face-model", tmp_path / "face_model.hdf5", "--output-dir", tmp_path / "run"]
    with pytest.raises(UserError, match="its fits show one identity; morphnet learns from photos of several people"):
        train_model.main([str(flag) for flag in ("--recipe", "morphnet", "--batch-size", 4, *places)])


def test_expressions_keep_their_directions_and_names(sample_model, basis, layout, space, fits):
    count, face = sample_model.shape_basis.shape[2], face_mask(layout, SIZE).ravel()
    for number, name in enumerate(space.names):
        direction = basis.rows[1 + count + number].reshape(-1, 3)[face]
        found = space.basis[space.identity_count + number, space.nearest[face]]
        ratio = np.sum(direction * found) / np.sum(direction**2)
        np.testing.assert_allclose(found, ratio * direction, atol=1e-5 * np.abs(found).max(), err_msg=name)
    np.testing.assert_allclose(space.expression_deviation, fits[:, count:].std(axis=0), rtol=1e-5)
    assert len(space.names) == len(space.basis) - space.identity_count


def test_a_saved_network_opens_without_this_project(network, layout, tmp_path):
    save_network(network, layout, tmp_path / "m.keras")
    images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, keras, numpy\n"
        "network = keras.saving.load_model(sys.argv[1] + '/m.keras')\n"
        "numpy.save(sys.argv[1] + '/maps.npy', network.predict_on_batch(numpy.load(sys.argv[1] + '/images.npy')))\n"
        "assert not any(name.startswith('prnet') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), network.predict_on_batch(images), atol=1e-5)


def test_half_of_the_bytes_move_no_point_by_a_tenth_of_a_pixel(network, layout, tmp_path):
    save_network(network, layout, tmp_path / "half.keras", half=True)
    images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    halved = load_network(tmp_path / "half.keras")[0].predict_on_batch(images)
    assert np.abs(halved - network.predict_on_batch(images)).max() * SIZE * TARGET_SCALE < 0.1


def test_it_says_what_it_needs(space):
    with pytest.raises(UserError, match="morphnet at 128 pixels needs a face space"):
        build_network("morphnet", SIZE)
    with pytest.raises(UserError, match="morphnet at 256 pixels needs a face space"):
        build_network("morphnet", 256, space=space)
