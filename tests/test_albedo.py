"""Texture bases learned from photos, and the truth that sample pictures are told with."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import loadmat

from prnet.common.errors import UserError
from prnet.formats.face_model_file import load_face_model
from prnet.formats.fit_files import read_fit
from prnet.formats.image_files import decode_image
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.generating.samples.archives import Studio, make_sample_data
from prnet.generating.texture import EXPOSURE, divide_light_out, learn_texture, principal_components
from prnet.geometry.face_model import face_vertices
from prnet.geometry.harmonics import harmonics
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.transforms import apply_transform


def test_light_is_divided_out_and_tone_stays():
    """Faces of one pattern in pale and dark, each under its own light: the patterns come back, and the tones."""
    random = np.random.default_rng(0)
    normals = random.normal(size=(400, 3)) * (1, 1, 0.5) + (0, 0, 1.5)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    pattern = 0.5 + 0.1 * np.sin(np.arange(400) * 1.7)
    tones = np.linspace(0.7, 1.2, 12)
    lights = random.normal(0, 0.08, (12, 9)) + np.eye(9)[0] * 0.8
    albedo = np.repeat((tones[:, None] * pattern)[..., None], 3, axis=2)
    shading = lights @ harmonics(normals).T
    shading *= EXPOSURE / shading.mean(axis=1, keepdims=True)
    found = divide_light_out((albedo * shading[..., None]).astype(np.float32), np.tile(normals, (12, 1, 1)))
    seen = normals[:, 2] > 0.3
    undivided = albedo * shading[..., None] / EXPOSURE
    assert np.abs(found - albedo)[:, seen].mean() < 0.5 * np.abs(undivided - albedo)[:, seen].mean()
    np.testing.assert_allclose(found[:, seen].mean(axis=(1, 2)), albedo[:, seen].mean(axis=(1, 2)), rtol=0.1)


def test_principal_components_by_hand():
    values = np.array([[1.0, 2, 0], [3, 2, 0]])
    mean, components, deviations = principal_components(values, 1)
    np.testing.assert_allclose(mean, [2, 2, 0])
    np.testing.assert_allclose(np.abs(components), [[1, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(deviations, [1])


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    make_sample_data(folder, train=2, val=3, seed=1, studio=Studio(harmonic=True, truth=True))
    return folder


def test_a_harmonic_picture_is_albedo_times_light(samples):
    """At vertices that look at the camera, the pixel is the albedo times the light that are told beside it."""
    model = load_face_model(samples / "face_model.hdf5")
    with zipfile.ZipFile(samples / "AFLW2000-3D.zip") as archive:
        for number in (1, 2, 3):
            name = f"image{number:05d}"
            picture = decode_image(archive.read(f"AFLW2000/{name}.jpg"), name) / 255
            fit = read_fit(archive.read(f"AFLW2000/{name}.mat"), name)
            truth = loadmat(io.BytesIO(archive.read(f"AFLW2000/truth/{name}_truth.mat")))
            points = apply_transform(fit_to_pixels(fit.pose, len(picture)), face_vertices(model, fit.coefficients))
            normals = vertex_normals(points * (1, -1, 1), model.triangles)
            column, row = np.clip(np.rint(points[:, :2]).astype(int), 0, len(picture) - 1).T
            expected = np.clip(truth["albedo"] / 255 * (harmonics(normals) @ truth["light"]), 0, 1)
            facing = normals[:, 2] > 0.9
            error = np.abs(picture[row, column] - expected).mean(axis=1)[facing]
            assert np.median(error) < 0.04


def test_a_mirrored_picture_has_the_mirrored_truth(samples):
    with zipfile.ZipFile(samples / "300W-LP.zip") as archive:
        names = [name for name in archive.namelist() if "/truth/" in name]
        plain, mirrored = (loadmat(io.BytesIO(archive.read(name))) for name in sorted(names))
    np.testing.assert_allclose(
        mirrored["light"], plain["light"] * np.where(np.isin(range(9), (3, 4, 7)), -1, 1)[:, None]
    )
    assert plain["albedo"].shape == mirrored["albedo"].shape
    np.testing.assert_allclose(plain["albedo"].mean(axis=0), mirrored["albedo"].mean(axis=0), atol=0.1)


def test_the_studio_tells_its_lights(tmp_path):
    make_sample_data(tmp_path, train=0, val=1, studio=Studio(truth=True))
    with zipfile.ZipFile(tmp_path / "AFLW2000-3D.zip") as archive:
        truth = loadmat(io.BytesIO(archive.read("AFLW2000/truth/image00001_truth.mat")))
    assert {"albedo", "direction", "key", "fill_direction", "fill", "sky", "ground"} <= truth.keys()


def test_too_few_photos_are_refused(samples, tmp_path):
    model = load_face_model(samples / "face_model.hdf5")
    build_dataset([samples / "300W-LP.zip"], tmp_path / "train.hdf5", model, progress=False)
    with open_dataset(tmp_path / "train.hdf5") as dataset, pytest.raises(UserError, match="photos of faces that look"):
        learn_texture(model, dataset, 40)


def test_photos_are_taken_evenly_from_all_that_look_ahead(sample_model, tmp_path, monkeypatch):
    from prnet.generating import texture
    from tests.helpers.tiny_data import write_tiny_data

    taken = []
    monkeypatch.setattr(texture, "LEAST_PHOTOS", 3)
    monkeypatch.setattr(texture, "MOST_PHOTOS", 4)
    monkeypatch.setattr(texture, "sample_textures", lambda *given: taken.extend(given[2]) or 1 / 0)
    write_tiny_data(tmp_path, sample_model, count=40)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        frontal = np.flatnonzero(np.abs(dataset.yaw) <= texture.MOST_YAW)
        with pytest.raises(ZeroDivisionError):
            learn_texture(sample_model, dataset, 2)
    assert len(set(taken)) == 4
    assert (taken[0], taken[-1]) == (frontal[0], frontal[-1])


def test_it_is_learned_from_photos(sample_model, tmp_path, monkeypatch):
    from prnet.generating import texture
    from tests.helpers.tiny_data import write_tiny_data

    monkeypatch.setattr(texture, "LEAST_PHOTOS", 3)
    write_tiny_data(tmp_path, sample_model, count=16)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        learned = learn_texture(replace(sample_model, mean_texture=np.zeros_like(sample_model.mean)), dataset, 2)
    assert learned.texture.basis.shape == (*sample_model.mean.shape, 2)
    np.testing.assert_allclose(np.linalg.norm(learned.texture.basis, axis=(0, 1)), 1, rtol=1e-4)
    front = vertex_normals(sample_model.mean, sample_model.triangles)[:, 2] > 0.8
    painted = np.clip(sample_model.mean_texture / EXPOSURE, 0, 1)[front]
    assert np.corrcoef(learned.mean_texture[front].ravel(), painted.ravel())[0, 1] > 0.85
