"""Which pixels are skin: mixtures of Gaussians, their estimation, what the builder stores."""

import numpy as np
import pytest

from prnet.generating.dataset import open_dataset
from prnet.generating.skin import (
    PRIOR,
    SHEET_SIDE,
    Mixture,
    SkinModel,
    estimate_skin,
    fit_mixture,
    load_skin_model,
    save_skin_model,
    skin_sheet,
)
from tests.helpers.small_faces import make_small_model, small_files, write_zip

SKIN_COLOUR, GREEN = (205, 150, 125), (30, 160, 60)


def one_gaussian(mean, deviation: float) -> Mixture:
    return Mixture(np.ones(1), np.array([mean], float), deviation**2 * np.eye(3)[None])


def test_density_by_hand():
    mixture = one_gaussian((0, 0, 0), 2.0)
    expected = np.exp(-0.5 * 4 / 4) / ((2 * np.pi) ** 1.5 * 8)
    np.testing.assert_allclose(mixture.density(np.array([[2.0, 0, 0]])), [expected])


def test_probability_is_bayes_rule_with_the_published_prior():
    same = one_gaussian((100, 128, 128), 20)
    image = np.full((2, 2, 3), 100, np.uint8)
    np.testing.assert_allclose(SkinModel(same, same).probability(image), PRIOR)


def test_a_mixture_finds_its_parts():
    random = np.random.default_rng(0)
    parts = [random.normal(mean, 5, (count, 3)) for mean, count in (((50, 120, 130), 600), ((180, 150, 100), 300))]
    mixture = fit_mixture(np.concatenate(parts), components=2)
    order = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.means[order], [(50, 120, 130), (180, 150, 100)], atol=1.5)
    np.testing.assert_allclose(mixture.weights[order], [2 / 3, 1 / 3], atol=0.02)


def test_photos_with_known_faces_teach_skin_and_it_is_kept(tmp_path):
    random = np.random.default_rng(0)
    photos = []
    for _ in range(5):
        image = np.tile(np.uint8(GREEN), (40, 40, 1))
        image[10:30, 10:30] = SKIN_COLOUR
        face = np.zeros((40, 40), bool)
        face[10:30, 10:30] = True
        photos.append((np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8), face))
    save_skin_model(estimate_skin(photos, components=2), tmp_path / "skin.npz")
    mask = load_skin_model(tmp_path / "skin.npz").mask(photos[0][0])
    assert mask[photos[0][1]].mean() > 250
    assert mask[~photos[0][1]].mean() < 10


def test_a_sheet_shows_photo_mask_and_what_counts():
    photo = np.full((40, 20, 3), 200, np.uint8)
    mask = np.zeros((40, 20), np.uint8)
    mask[20:] = 255
    sheet = skin_sheet([(photo, mask)] * 14)
    assert sheet.shape == (3 * SHEET_SIDE, 12 * SHEET_SIDE, 3)
    above, below, beside = (40, 40), (120, 40), (40, 120)  # row, column of the photo's halves, and of the white by it
    assert [sheet[row, column, 0] for row, column in (above, below, beside)] == [200, 200, 255]
    assert [sheet[SHEET_SIDE + row, column, 0] for row, column in (above, below, beside)] == [0, 255, 255]
    assert [sheet[2 * SHEET_SIDE + row, column, 0] for row, column in (above, below, beside)] == [0, 200, 255]


def test_the_shipped_one_tells_skin_from_leaves():
    model = load_skin_model()
    skin, leaves = (model.probability(np.full((1, 1, 3), colour, np.uint8))[0, 0] for colour in (SKIN_COLOUR, GREEN))
    assert skin > 0.8
    assert leaves < 0.2


def test_the_builder_stores_it(tmp_path):
    from prnet.common.errors import UserError
    from prnet.generating.builder import build_dataset
    from prnet.generating.photo_batches import _skin

    source = write_zip(tmp_path / "300W-LP.zip", small_files([f"300W_LP/AFW/AFW_{n}_0" for n in range(3)]))
    build_dataset([source], tmp_path / "train.hdf5", make_small_model(), skin=True, progress=False)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        for index in range(3):
            expected = load_skin_model().mask(dataset.image(index))
            np.testing.assert_array_equal(dataset.skin(index), expected)
        crop = _skin(dataset, 0, np.array([[1.0, 0, 0], [0, 1, 0]]), 64)
        np.testing.assert_allclose(crop[..., 0], dataset.skin(0) / 255, atol=1e-6)
    build_dataset([source], tmp_path / "plain.hdf5", make_small_model(), progress=False)
    with open_dataset(tmp_path / "plain.hdf5") as dataset:
        assert dataset.skin(0) is None
    with pytest.raises(UserError, match="data_mode"):
        build_dataset([source], tmp_path / "no.hdf5", make_small_model(), data_mode=0, skin=True, progress=False)
