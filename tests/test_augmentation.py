"""Augmentation: the crop's matrix stays within its ranges, looks leave uint8 images, every switch does something."""

from dataclasses import replace

import numpy as np
import pytest

from prnet.configure.config import NO_AUGMENTATION, Augmentation
from prnet.generating.augmentation import change_looks, draw_crop, noise_texture, tone_table
from prnet.geometry.crop import Box, crop_transform, transform_points, transform_scale

BOX = Box(centre=np.array([120.0, 90.0]), side=80.0)
SIZE = 128


def crop_picture():
    """A crop with smooth and sharp structure: gradients and a bright square."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    picture = np.stack([columns, rows, 200 - rows], axis=-1).clip(0, 255).astype(np.uint8)
    picture[40:60, 50:90] = 230
    return picture


def test_without_augmentation_the_crop_is_the_reference_crop():
    drawn = draw_crop(np.random.default_rng(5), NO_AUGMENTATION, BOX, SIZE, mirror=False)
    np.testing.assert_allclose(drawn, crop_transform(BOX, SIZE), atol=1e-12)


def test_drawn_crops_fill_their_published_ranges():
    augmentation = Augmentation()
    drawn = [draw_crop(np.random.default_rng(seed), augmentation, BOX, SIZE, mirror=False) for seed in range(800)]
    angles = np.rad2deg([np.arctan2(transform[1, 0], transform[0, 0]) for transform in drawn])
    assert -45 <= angles.min() < -40
    assert 40 < angles.max() <= 45
    reference = transform_scale(crop_transform(BOX, SIZE))
    zooms = np.array([transform_scale(transform) for transform in drawn]) / reference
    assert 0.9 / 1.1 <= zooms.min() < 0.9
    assert 1.2 < zooms.max() <= 1.2 / 0.9
    centres = np.array([transform_points(transform, BOX.centre) for transform in drawn]) / (SIZE - 1) - 0.5
    largest_jitter = 0.1 / 1.5 * np.sqrt(2) * 1.2 / 0.9
    assert np.abs(centres).max() <= 0.1 + largest_jitter
    assert np.abs(centres).max() > 0.12


def test_a_mirrored_crop_reflects_x():
    straight = draw_crop(np.random.default_rng(1), NO_AUGMENTATION, BOX, SIZE, mirror=False)
    mirrored = draw_crop(np.random.default_rng(1), NO_AUGMENTATION, BOX, SIZE, mirror=True)
    points = np.random.default_rng(0).uniform(60, 150, (20, 2))
    expected = transform_points(straight, points) * (-1, 1) + (SIZE - 1, 0)
    np.testing.assert_allclose(transform_points(mirrored, points), expected, atol=1e-9)


@pytest.mark.parametrize("change", ["occlusion", "occluder", "shadow", "blur", "low_resolution", "noise", "jpeg"])
def test_each_change_of_looks_changes_the_crop_and_repeats_for_a_seed(change):
    augmentation = replace(NO_AUGMENTATION, **{change: 1.0})
    texture = noise_texture(0)
    first = change_looks(crop_picture(), np.random.default_rng(3), augmentation, texture)
    again = change_looks(crop_picture(), np.random.default_rng(3), augmentation, texture)
    assert first.dtype == np.uint8
    assert first.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != crop_picture()) > 0.01
    unchanged = change_looks(crop_picture(), np.random.default_rng(3), NO_AUGMENTATION, texture)
    np.testing.assert_array_equal(unchanged, crop_picture())


def test_occlusion_covers_part_of_the_crop_and_leaves_the_rest():
    augmentation = replace(NO_AUGMENTATION, occlusion=1.0)
    texture = noise_texture(0)
    shares = [
        np.any(
            change_looks(crop_picture(), np.random.default_rng(seed), augmentation, texture) != crop_picture(), -1
        ).mean()
        for seed in range(50)
    ]
    assert min(shares) > 0.005
    assert max(shares) < 0.3


def test_the_tone_table_is_the_identity_without_augmentation():
    np.testing.assert_allclose(
        tone_table(np.random.default_rng(0), NO_AUGMENTATION)[:, 0, 1], np.arange(256) / 255, atol=1e-7
    )


def test_the_tone_table_scales_each_channel_by_its_own_factor_and_clips():
    table = tone_table(np.random.default_rng(2), replace(NO_AUGMENTATION, colour=(0.6, 1.4)))
    factors = table[100, 0] / (100 / 255)
    assert len(np.unique(factors)) == 3
    assert np.all((factors >= 0.6) & (factors <= 1.4))
    assert table.max() <= 1
