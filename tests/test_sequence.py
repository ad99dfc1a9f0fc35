"""The Sequence: pairs that agree with the fit, every data mode alike, the same whatever the workers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from prnet.configure.config import NO_AUGMENTATION, TARGET_SCALE, Augmentation
from prnet.generating.batches import make_batch
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.generating.sampling import BINS, MAX_WEIGHT, rarity, sampling_weights
from prnet.generating.sequence import FaceSequence, earlier_occurrences
from prnet.geometry.crop import Box, crop_transform, transform_points
from prnet.geometry.face_model import face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import layout_of_model, map_basis
from prnet.geometry.uv_layout import mirror_maps, sample_landmarks
from tests.helpers.tiny_data import write_tiny_data

SIZE = 128
EVERYTHING = Augmentation(
    mirror=0.5, occluder=0.5, shadow=0.5, blur=0.5, low_resolution=0.5, noise=0.5, jpeg=0.5, gamma=(0.7, 1.4)
)


@pytest.fixture(scope="module")
def dataset(sample_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequence")
    write_tiny_data(folder, sample_model)
    with open_dataset(folder / "train.hdf5") as dataset:
        yield dataset


def sequence(dataset, basis, **settings):
    settings = {"image_size": SIZE, "batch_size": 4} | settings
    return FaceSequence(dataset, np.arange(len(dataset)), basis=basis, **settings)


def true_landmarks(dataset, model, index):
    """The model's landmarks of one sample in pixels of its photo."""
    vertices = face_vertices(model, dataset.coefficients[index], model.landmark_vertices[:, 0])
    transform = fit_to_pixels(dataset.poses[index], dataset.image_heights[index])
    return vertices @ transform[:, :3].T + transform[:, 3]


def test_batches_hold_images_and_targets_in_their_units(dataset, basis):
    images, targets = sequence(dataset, basis)[0]
    assert images.shape == targets.shape == (4, SIZE, SIZE, 3)
    assert images.dtype == targets.dtype == np.float32
    assert images.min() >= 0
    assert 0.5 < images.max() <= 1
    np.testing.assert_allclose(targets[..., 2].min(axis=(1, 2)), 0, atol=1e-7)
    assert 0.5 < targets.max() < 1.3


def test_landmarks_of_the_target_lie_where_the_fit_puts_them_in_the_crop(dataset, basis, sample_model):
    _, targets = sequence(dataset, basis)[0]
    landmarks = sample_landmarks(targets, layout_of_model(sample_model)) * SIZE * TARGET_SCALE
    for index in range(4):
        x, y, side = dataset.boxes[index].astype(float)
        crop = crop_transform(Box(np.array([x, y]), side), SIZE)
        expected = transform_points(crop, true_landmarks(dataset, sample_model, index))
        distance = np.linalg.norm(landmarks[index, :, :2] - expected[:, :2], axis=-1)
        assert np.median(distance) < 0.2
        depths = landmarks[index, :, 2] - expected[:, 2]
        assert np.median(np.abs(depths - np.median(depths))) < 0.2
        assert np.ptp(depths) < 3


def test_landmarks_of_photos_go_with_them_into_the_crop(dataset, basis):
    given = dataset.landmarks
    assert np.isfinite(given).any()
    _, plain = sequence(dataset, basis, landmarks=True)[0]
    _, mirrored = sequence(dataset, basis, landmarks=True, augmentation=replace(NO_AUGMENTATION, mirror=1.0))[0]
    for index in range(4):
        x, y, side = dataset.boxes[index].astype(float)
        expected = transform_points(crop_transform(Box(np.array([x, y]), side), SIZE), given[index, :, :2])
        np.testing.assert_allclose(plain["landmarks"][index] * SIZE * TARGET_SCALE, expected, atol=1e-3)
    jaw, other_jaw = (each["landmarks"][:, [0, 16]] * SIZE * TARGET_SCALE for each in (plain, mirrored))
    np.testing.assert_allclose(other_jaw[:, ::-1] * (-1, 1) + (SIZE - 1, 0), jaw, atol=1e-3)
    np.testing.assert_array_equal(plain["maps"], sequence(dataset, basis)[0][1])


def test_image_and_target_move_together(sample_model, basis, tmp_path):
    """Photos that show x as red and y as green tell where each pixel of an augmented crop came from."""
    write_tiny_data(tmp_path, sample_model)
    ramp = np.arange(120, dtype=np.uint8) * 2
    picture = np.zeros((120, 120, 3), dtype=np.uint8)
    picture[..., 0], picture[..., 1] = ramp[None, :], ramp[:, None]
    augmentation = replace(Augmentation(), colour=(1.0, 1.0), occlusion=0.0, mirror=0.5)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        dataset.image = lambda index: picture
        images, targets = sequence(dataset, basis, augmentation=augmentation, seed=3, batch_size=12)[0]
        landmarks = sample_landmarks(targets, layout_of_model(sample_model)) * SIZE * TARGET_SCALE
        mirrored = 0
        for index in range(12):
            inside = ((landmarks[index, :, :2] > 1) & (landmarks[index, :, :2] < SIZE - 2)).all(axis=-1)
            column, row = np.rint(landmarks[index, inside, :2]).astype(int).T
            found = images[index, row, column, :2] * 255 / 2
            expected = true_landmarks(dataset, sample_model, index)[:, :2]
            straight = np.abs(found - expected[inside]).max()
            swapped = np.abs(found[:, 1] - expected[inside, 1]).max()
            mirrored += straight > 5
            assert straight < 1.5 or swapped < 25
    assert 0 < mirrored < 12


def test_a_mirrored_sample_is_the_mirrored_image_with_the_mirrored_map(dataset, basis):
    mirror = replace(NO_AUGMENTATION, mirror=1.0)
    images, targets = sequence(dataset, basis)[0]
    mirrored_images, mirrored_targets = sequence(dataset, basis, augmentation=mirror)[0]
    np.testing.assert_allclose(mirrored_images, images[:, :, ::-1], atol=3 / 255)
    unit = SIZE * TARGET_SCALE
    np.testing.assert_allclose(mirrored_targets * unit, mirror_maps(targets * unit, SIZE), atol=1e-3)


@pytest.mark.parametrize("workers", [2, 3])
def test_samples_do_not_depend_on_the_number_of_workers(dataset, basis, workers):
    settings = {"augmentation": EVERYTHING, "seed": 7, "shuffle": True}
    alone, together = (sequence(dataset, basis, workers=count, **settings) for count in (1, workers))
    with ThreadPoolExecutor(workers) as pool:
        batches = pool.map(together.__getitem__, range(len(together)))
        for batch, prepared_in_threads in enumerate(batches):
            for one, other in zip(alone[batch], prepared_in_threads, strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_sample_depends_on_seed_epoch_and_its_place_and_not_on_its_batch(dataset, basis):
    settings = {"basis": basis, "size": SIZE, "augmentation": EVERYTHING, "texture": np.zeros((512, 512, 3), np.uint8)}

    def image(indices, seed, epoch):
        return make_batch(dataset, np.array(indices), seed=seed, epoch=epoch, **settings)[0][-1]

    reference = image([5], 0, 0)
    np.testing.assert_array_equal(image([2, 9, 5], 0, 0), reference)
    assert np.any(image([5], 1, 0) != reference)
    assert np.any(image([5], 0, 1) != reference)
    assert np.any(image([6], 0, 0) != reference)


def test_an_epoch_visits_every_sample_once_in_a_new_order(dataset, basis):
    shuffled = sequence(dataset, basis, shuffle=True, seed=1)
    first = np.concatenate([shuffled.batch_indices(batch) for batch in range(len(shuffled))])
    shuffled.on_epoch_end()
    second = np.concatenate([shuffled.batch_indices(batch) for batch in range(len(shuffled))])
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)
    assert shuffled.batch_names(0) == [f"tiny_{index}" for index in second[:4]]


def test_an_incomplete_batch_is_kept_in_order_and_left_out_when_shuffled(dataset, basis):
    assert len(sequence(dataset, basis, batch_size=5)) == 3
    assert len(sequence(dataset, basis, batch_size=5)[2][0]) == 2
    assert len(sequence(dataset, basis, batch_size=5, shuffle=True)) == 2
    assert len(sequence(dataset, basis, batch_size=50, shuffle=True)) == 1


def test_every_data_mode_yields_the_same_pairs_within_its_precision(shared_data, stand_in_model, tmp_path):
    batches = []
    bases = {size: map_basis(stand_in_model, size) for size in (256, 128)}
    for mode in range(6):
        report = build_dataset(
            [shared_data / "AFLW2000"], tmp_path / f"{mode}.hdf5", stand_in_model, data_mode=mode, progress=False
        )
        with open_dataset(report.path) as dataset:
            for size, basis in bases.items():
                pair = sequence(dataset, basis if mode == 5 else None, image_size=size, batch_size=6)[0]
                batches.append((mode, size, *pair))
    references = {size: (images, targets) for mode, size, images, targets in batches if mode == 5}
    for mode, size, images, targets in batches:
        reference_images, reference_targets = references[size]
        pixels = np.abs(targets - reference_targets) * size * TARGET_SCALE
        photo_precision = 0.3 if mode in (3, 4) else 0.01
        assert pixels.mean() < (photo_precision if size == 256 else photo_precision + 0.05)
        if size == 256 and mode < 4:
            np.testing.assert_allclose(images, reference_images, atol=1.01 / 255)
        assert np.abs(images - reference_images).mean() < 0.02


def test_rare_faces_are_drawn_more_often(sample_model, dataset):
    assert (sampling_weights(dataset, sample_model, 0) == 1).all()
    half, whole = (sampling_weights(dataset, sample_model, balance) for balance in (0.5, 1.0))
    np.testing.assert_allclose(half, 0.5 + 0.5 * whole)
    assert 0 < whole.min() < whole.max() <= MAX_WEIGHT


def test_the_rarest_of_a_measure_weighs_as_much_as_all_of_its_bin():
    measure = np.concatenate([np.linspace(0, 0.04, 990), [1.0] * 10])
    weights = rarity(measure)
    assert weights[-1] == pytest.approx(1000 / (BINS * 10))
    assert weights[0] == pytest.approx(1000 / (BINS * 990))


def test_a_sample_that_comes_again_in_an_epoch_is_augmented_anew(dataset, basis):
    drawn = sequence(
        dataset, basis, shuffle=True, weights=np.eye(len(dataset))[3] + 1e-9, augmentation=EVERYTHING, batch_size=12
    )
    indices, (images, targets) = drawn.batch_indices(0), drawn[0]
    assert list(indices) == [3] * 12
    assert len(np.unique(images.reshape(12, -1), axis=0)) == len(np.unique(targets.reshape(12, -1), axis=0)) == 12
    once = sequence(dataset, basis, augmentation=EVERYTHING, batch_size=12)[0][0][3]
    np.testing.assert_array_equal(images[0], once)
    np.testing.assert_array_equal(drawn[0][0], images)


def test_it_is_counted_how_often_a_value_came_before():
    np.testing.assert_array_equal(earlier_occurrences(np.array([3, 1, 3, 3, 2, 1])), [0, 0, 1, 2, 0, 1])


def test_samples_are_drawn_by_weight(dataset, basis):
    weights = np.ones(len(dataset))
    weights[3] = 4.0
    drawn = sequence(dataset, basis, shuffle=True, weights=weights, batch_size=1)
    counts = np.zeros(len(dataset))
    for epoch in range(50):
        drawn.epoch = epoch
        np.add.at(counts, [drawn.batch_indices(batch)[0] for batch in range(len(drawn))], 1)
    assert counts.sum() == 50 * len(dataset)
    assert counts[3] / 50 == pytest.approx(4 * 12 / 15, abs=0.2)
    assert np.delete(counts, 3).mean() / 50 == pytest.approx(12 / 15, abs=0.1)
    drawn.epoch = 7
    again = [drawn.batch_indices(batch)[0] for batch in range(len(drawn))]
    assert again == [drawn.batch_indices(batch)[0] for batch in range(len(drawn))]
