"""Networks that learn from photos: what they start as, their camera, the file they are saved in, and their training."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from prnet.commands.build_dataset import main as build_dataset_main
from prnet.common.errors import UserError
from prnet.configure.config import NO_AUGMENTATION, PHOTO_NETWORKS, PhotoTerms, Run
from prnet.configure.recipes import lprnet, weak
from prnet.evaluating.subjects import DatasetSubjects
from prnet.formats.face_model_file import load_face_model, save_face_model
from prnet.generating.augmentation import noise_texture
from prnet.generating.batches import MIRRORED_LANDMARKS
from prnet.generating.dataset import open_dataset
from prnet.generating.photo_batches import make_photo_batch, photo_landmarks
from prnet.generating.texture import learn_texture
from prnet.geometry.face_model import TextureBasis, at_landmarks
from prnet.geometry.harmonics import AMBIENT
from prnet.geometry.pose import rotation_from_angles
from prnet.geometry.position_map import frontal_map, layout_of_model, map_basis, texel_mixture
from prnet.geometry.uv_layout import face_mask
from prnet.model import photonet
from prnet.model.appearance import albedo_space, prior_face_space
from prnet.model.networks import build_network, predict_faces, predict_maps
from prnet.model.photo_training import PhotoTraining, load_recognition
from prnet.model.photonet import ALBEDO, LIGHT
from prnet.model.saved_network import load_network, save_network
from prnet.model.training import train
from tests.helpers.tiny_data import write_tiny_data

SIZE = 128


@pytest.fixture(scope="module")
def textured_model(sample_model):
    basis = np.random.default_rng(0).normal(scale=0.003, size=(*sample_model.mean.shape, 3)).astype(np.float32)
    return replace(sample_model, texture=TextureBasis(basis, np.ones(3, np.float32)))


@pytest.fixture(scope="module")
def layout(textured_model):
    return layout_of_model(textured_model)


@pytest.fixture(scope="module")
def space(textured_model, layout):
    return prior_face_space(textured_model, map_basis(textured_model, SIZE), layout)


@pytest.fixture(scope="module")
def albedos(textured_model, space):
    return albedo_space(textured_model, space)


@pytest.fixture
def network(space, albedos):
    return build_network("photonet", SIZE, space=space, albedos=albedos)


@pytest.fixture
def data(tmp_path, textured_model):
    write_tiny_data(tmp_path, textured_model)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        yield dataset


def a_batch(dataset, model, count: int = 4, **options) -> dict:
    options = {"augmentation": NO_AUGMENTATION, "texture": noise_texture(0), "seed": 0, "epoch": 0, **options}
    return make_photo_batch(dataset, np.arange(count), photo_landmarks(dataset, model), size=SIZE, **options)


def test_it_starts_as_the_mean_face_in_its_reference_crop(network, textured_model, layout):
    maps = predict_maps(network, np.random.default_rng(0).uniform(size=(2, SIZE, SIZE, 3)).astype(np.float32))
    mean = (texel_mixture(textured_model, SIZE) @ textured_model.mean).reshape(SIZE, SIZE, 3)
    expected = frontal_map(mean, at_landmarks(textured_model, textured_model.mean))
    face = face_mask(layout, SIZE)
    assert np.abs(maps - expected)[:, face].max() < 0.1  # pixels


def test_its_prior_is_the_face_models(space, textured_model):
    np.testing.assert_allclose(space.expression_mean, 0, atol=1e-6)
    np.testing.assert_allclose(space.expression_deviation, textured_model.expression_deviation, rtol=1e-5)
    assert space.identity_count == textured_model.shape_basis.shape[2]


def test_its_rotation_is_the_projects(network):
    angles = np.random.default_rng(0).uniform(-1, 1, (5, 3))
    np.testing.assert_allclose(photonet._rotation(angles), rotation_from_angles(angles), atol=1e-6)


def test_a_near_camera_magnifies_what_is_near(space, albedos):
    """By f / (f - z), z in crop sides; what lies at the face's own depth stays."""
    points = np.array([[[0.6, 0.5, 0.0], [0.6, 0.5, 0.1], [0.6, 0.5, -0.1]]], np.float32)
    seen = np.asarray(photonet._seen_from_near(points, SIZE))[0]
    centre, distance = 127 / 2 / (128 * 1.1), 1015 / 224 / 1.1
    expected = centre + (0.6 - centre) * distance / (distance - np.array([0, 0.1, -0.1]))
    np.testing.assert_allclose(seen[:, 0], expected, rtol=1e-6)


def test_a_saved_one_keeps_albedo_and_light_and_opens_without_the_project(network, layout, tmp_path):
    random = np.random.default_rng(0)
    for name in ("angles", "identity", "albedo_coefficients", "light_coefficients"):
        layer = network.get_layer(name)
        layer.set_weights([random.normal(scale=0.1, size=weights.shape) for weights in layer.get_weights()])
    save_network(network, layout, tmp_path / "photonet.keras")
    opened, _ = load_network(tmp_path / "photonet.keras")
    images = random.uniform(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    for name in (ALBEDO, LIGHT):
        parts = [keras.Model(model.input, model.get_layer(name).output)(images) for model in (network, opened)]
        np.testing.assert_allclose(*map(np.asarray, parts), atol=1e-5)
        assert np.asarray(parts[0]).std() > 0.01
    maps, parameters = predict_faces(opened, images)
    np.testing.assert_allclose(maps, predict_maps(network, images), atol=1e-2)
    assert len(parameters.names) == 16
    code = f"import keras; keras.saving.load_model({str(tmp_path / 'photonet.keras')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, timeout=120)


def test_a_face_model_without_texture_is_told_what_to_do(sample_model, space):
    with pytest.raises(UserError, match="no texture basis.*`learn_texture`"):
        albedo_space(sample_model, space)


def test_texture_is_kept_in_the_face_model_file(textured_model, tmp_path):
    save_face_model(textured_model, tmp_path / "model.hdf5")
    found = load_face_model(tmp_path / "model.hdf5")
    np.testing.assert_array_equal(found.texture.basis, textured_model.texture.basis)
    assert found.identity == textured_model.identity  # data sets built for it stay valid


def test_landmarks_of_a_mirrored_photo_change_sides(data, textured_model):
    assert (MIRRORED_LANDMARKS[MIRRORED_LANDMARKS] == np.arange(68)).all()
    plain = a_batch(data, textured_model)["landmarks"]
    mirrored = a_batch(data, textured_model, augmentation=replace(NO_AUGMENTATION, mirror=1.0))["landmarks"]
    swapped = plain[:, MIRRORED_LANDMARKS] * (-1, 1) + ((SIZE - 1) / SIZE, 0)
    np.testing.assert_allclose(mirrored, swapped, atol=1e-5)


def test_landmarks_that_came_with_the_photos_go_before_those_of_a_fit(data, textured_model):
    np.testing.assert_allclose(photo_landmarks(data, textured_model), data.landmarks[..., :2], atol=1e-4)


@pytest.mark.parametrize("rendering", ["texels", "pixels"])
def test_the_right_light_has_the_least_photometric_error(network, layout, data, textured_model, rendering):
    """Tiny faces are painted with the mean texture, without shading: brighter or darker light is worse."""
    training = PhotoTraining(network, layout, PhotoTerms(rendering=rendering))
    batch = a_batch(data, textured_model)
    errors = []
    for factor in (0.7, 1 / (AMBIENT * np.sqrt(np.pi) / 2), 2.0):
        bias = np.zeros(27, np.float32)
        bias[[0, 9, 18]] = AMBIENT * (factor - 1)
        layer = network.get_layer("light_coefficients")
        layer.set_weights([layer.get_weights()[0], bias])
        errors.append(float(np.mean(training(batch)["photometric"])))
    assert errors[1] < 0.8 * min(errors[0], errors[2])


def test_both_renderings_agree(network, layout, data, textured_model):
    batch = a_batch(data, textured_model)
    found = [
        np.asarray(PhotoTraining(network, layout, PhotoTerms(rendering=rendering))(batch)["photometric"])
        for rendering in ("texels", "pixels")
    ]
    np.testing.assert_allclose(*found, rtol=0.15)


def test_the_perceptual_loss_asks_a_recognition_network(network, layout, data, textured_model, tmp_path):
    stand_in = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(8)])
    stand_in.save(tmp_path / "stand_in.keras")
    recognition = load_recognition(tmp_path / "stand_in.keras")
    training = PhotoTraining(network, layout, PhotoTerms(), recognition)
    batch = a_batch(data, textured_model, recognition_side=32)
    values = np.asarray(training(batch)["perceptual"])
    assert values.shape == (4,)
    assert ((values >= 0) & (values <= 2)).all()
    assert not set(map(id, recognition.weights)) & set(map(id, training.trainable_variables))
    with pytest.raises(UserError, match="no recognition network"):
        load_recognition(tmp_path / "missing.keras")
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="not a square crop to a vector"):
        load_recognition(tmp_path / "other.keras")


@pytest.mark.large
def test_it_trains(data, textured_model, tmp_path):
    training = replace(weak(), epochs=1, batch_size=4, warmup=0.0)
    (row,) = train(training, Run(workers=1), data, textured_model, tmp_path / "run")
    assert np.isfinite(row["loss"])
    network, _ = load_network(tmp_path / "run" / "best.keras")
    assert network.name == "photonet"
    assert (tmp_path / "run" / "samples.png").exists()


@pytest.mark.large
def test_it_resumes(data, textured_model, tmp_path):
    training = replace(weak(), epochs=1, batch_size=4, warmup=0.0)
    first = train(training, Run(workers=1), data, textured_model, tmp_path / "run")
    second = train(replace(training, epochs=2), Run(workers=1), data, textured_model, tmp_path / "run")
    assert [row["epoch"] for row in second] == [1, 2]
    assert second[0] == first[0]
    assert second[1]["loss"] < first[0]["loss"]


@pytest.mark.large
def test_photos_with_landmarks_alone_are_enough(data, textured_model, tmp_path):
    """Built without fits, the same photos give the same batches, and a run."""
    photos = tmp_path / "photos"
    photos.mkdir()
    landmarks = photo_landmarks(data, textured_model)
    for index, name in enumerate(data.names):
        (photos / f"{name}.jpg").write_bytes(data.encoded_image(index).tobytes())
    (photos / "nobody.jpg").write_bytes(data.encoded_image(0).tobytes())
    np.savez(tmp_path / "landmarks.npz", names=np.array(data.names), landmarks68=landmarks)
    save_face_model(textured_model, tmp_path / "model.hdf5")
    arguments = ["--extract-dir", photos, "--landmarks", tmp_path / "landmarks.npz", "--hdf5-dir", tmp_path / "built"]
    arguments += ["--build-mode", "train", "--face-model", tmp_path / "model.hdf5", "--skin"]
    assert build_dataset_main([str(argument) for argument in arguments]) == 1  # one photo has no landmarks
    with open_dataset(tmp_path / "built" / "train.hdf5") as built:
        order = [built.names.index(name) for name in data.names]
        assert len(built) == len(data)
        np.testing.assert_allclose(photo_landmarks(built, textured_model)[order], landmarks, atol=1e-3)
        np.testing.assert_allclose(built.boxes[order], data.boxes, atol=1e-2)
        assert built.skin(0) is not None
        training = replace(weak(), epochs=1, batch_size=4, warmup=0.0)
        log = train(training, Run(workers=1), built, textured_model, tmp_path / "run", test_set=built)
        assert np.isfinite(log[0]["loss"])
        with pytest.raises(UserError, match="photos and landmarks alone.*`network` photonet"):
            train(lprnet(), Run(), built, textured_model, tmp_path / "none")
        with pytest.raises(UserError, match="photos and landmarks alone.*lprnet does not learn from"):
            train(replace(lprnet(), batch_size=4), Run(), data, textured_model, tmp_path / "none", test_set=built)
        with pytest.raises(UserError, match="evaluate on one of data modes 0 to 5"):
            DatasetSubjects(built, textured_model, None)
        with pytest.raises(UserError, match="textures are sampled by fits"):
            learn_texture(textured_model, built, 2)


def test_settings_that_cannot_be(data, textured_model, tmp_path):
    for changed, said in (
        (replace(weak(), precision="mixed_bfloat16"), "precision"),
        (replace(weak(), photo=PhotoTerms(rendering="voxels")), "rendering.*texels, pixels"),
        (replace(weak(), photo=PhotoTerms(camera="fisheye")), "camera"),
        (replace(weak(), photo=PhotoTerms(outliers="some")), "outliers.*cut, kept"),
    ):
        with pytest.raises(UserError, match=said):
            train(replace(changed, batch_size=4), Run(), data, textured_model, tmp_path / "none")


@pytest.mark.large
def test_resnet50_takes_a_step(textured_model, layout, data):
    """As published: 224 pixels, ResNet-50 with fresh weights."""
    size = PHOTO_NETWORKS["photonet50"]
    space = prior_face_space(textured_model, map_basis(textured_model, size), layout)
    network = build_network("photonet50", size, space=space, albedos=albedo_space(textured_model, space))
    training = PhotoTraining(network, layout, PhotoTerms())
    training.compile(optimizer=keras.optimizers.Adam(1e-4))
    batch = make_photo_batch(
        data,
        np.arange(2),
        photo_landmarks(data, textured_model),
        size=size,
        augmentation=NO_AUGMENTATION,
        texture=noise_texture(0),
        seed=0,
        epoch=0,
    )
    losses = [training.train_on_batch(batch, np.zeros(2, np.float32), return_dict=True)["loss"] for _ in range(2)]
    assert np.isfinite(losses).all()
    assert network.output_shape == (None, size, size, 3)
