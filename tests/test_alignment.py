"""Known transforms are recovered, and mirror images are not accepted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prnet.geometry import alignment
from prnet.geometry.alignment import align, apply_transform, iterative_closest_point
from tests.helpers.surfaces import face_surface, transform_of

angle = st.floats(-180, 180)


@settings(max_examples=60)
@given(st.tuples(angle, angle, angle), st.tuples(*[st.floats(-500, 500)] * 3), st.floats(0.01, 100))
def test_procrustes_recovers_rotation_translation_and_scale(angles, offset, scale):
    source = np.random.default_rng(0).normal(0, 50, (68, 3))
    expected = transform_of(angles, offset, scale)
    found = align(source, apply_transform(expected, source))
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(scale, 1))
    rigid = transform_of(angles, offset)
    np.testing.assert_allclose(align(source, apply_transform(rigid, source), scale=False), rigid, atol=1e-6)


def test_procrustes_with_noise():
    source, rng = face_surface(), np.random.default_rng(1)
    expected = transform_of((20, -35, 10), (30, -20, 5), 1.3)
    found = align(source, apply_transform(expected, source) + rng.normal(0, 0.5, source.shape))
    off = np.linalg.norm(apply_transform(found, source) - apply_transform(expected, source), axis=-1)
    assert off.max() < 5e-2
    assert np.sqrt(np.mean(off**2)) < 1e-2


@pytest.mark.parametrize("scale", [False, True])
def test_a_mirror_image_is_not_accepted(scale):
    source = np.random.default_rng(2).normal(0, 50, (68, 3))
    mirrored = source * (-1, 1, 1)
    found = align(source, mirrored, scale=scale)
    assert np.linalg.det(found[:, :3]) > 0
    assert np.linalg.norm(apply_transform(found, source) - mirrored, axis=-1).mean() > 10
    if not scale:
        assert np.linalg.det(found[:, :3]) == pytest.approx(1)


def test_points_in_a_plane_are_turned_and_not_mirrored():
    source = np.random.default_rng(3).normal(0, 50, (30, 3)) * (1, 1, 0)
    expected = transform_of((10, 60, -30), (1, 2, 3))
    found = align(source, apply_transform(expected, source), scale=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_procrustes_is_the_least_squares_optimum():
    rng = np.random.default_rng(4)
    source, target = rng.normal(0, 50, (68, 3)), rng.normal(0, 50, (68, 3))
    found = align(source, target)

    def cost(transform):
        return np.sum((apply_transform(transform, source) - target) ** 2)

    for _ in range(50):
        nudged = found.copy()
        nudged[:, :3] = (
            found[:, :3] @ transform_of(rng.normal(0, 2, 3), 0 * found[:, 3], rng.uniform(0.95, 1.05))[:, :3]
        )
        nudged[:, 3] += rng.normal(0, 1, 3)
        assert cost(nudged) >= cost(found)


def test_points_that_cannot_be_aligned_are_refused():
    with pytest.raises(ValueError, match="coincide"):
        align(np.ones((5, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="finite"):
        align(np.full((5, 3), np.nan), np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        align(np.zeros((5, 3)), np.zeros((6, 3)))


@pytest.mark.parametrize("scale", [1.0, 1.15])
def test_icp_recovers_a_known_transform(scale):
    source = face_surface()
    expected = transform_of((12, -18, 9), (40, -25, 60), scale)
    order = np.random.default_rng(5).permutation(len(source))
    target = apply_transform(expected, source)[order]
    found = iterative_closest_point(source, target, scale=scale != 1.0)
    assert found.converged
    np.testing.assert_allclose(found.transform, expected, atol=1e-6)
    assert found.distances.shape == (len(source),)
    np.testing.assert_array_equal(order[found.nearest], np.arange(len(source)))
    assert found.distances.max() < 1e-6


def test_icp_with_noise():
    source, rng = face_surface(), np.random.default_rng(6)
    expected = transform_of((12, -18, 9), (40, -25, 60))
    target = apply_transform(expected, source) + rng.normal(0, 0.1, source.shape)
    found = iterative_closest_point(source, target[rng.permutation(len(source))])
    off = apply_transform(found.transform, source) - apply_transform(expected, source)
    assert np.sqrt(np.mean(np.sum(off**2, axis=-1))) < 1e-2  # pixels


def test_icp_does_not_mirror():
    source = face_surface(step=3.0)
    found = iterative_closest_point(source, source * (-1, 1, 1))
    assert np.linalg.det(found.transform[:, :3]) == pytest.approx(1)
    assert found.distances.mean() > 0.1


def test_icp_brings_home_a_turn_of_60_degrees():
    source = face_surface(step=2.0)
    expected = transform_of((0, 60, 0), (40, -25, 60))
    found = iterative_closest_point(source, apply_transform(expected, source))
    np.testing.assert_allclose(found.transform, expected, atol=1e-6)


def test_icp_says_when_the_limit_of_steps_ended_it(monkeypatch):
    monkeypatch.setattr(alignment, "PLANE_STEPS", 1)
    monkeypatch.setattr(alignment, "POINT_STEPS", 2)
    source = face_surface(step=3.0)
    target = apply_transform(transform_of((12, -18, 9), (4, 5, 6)), source)
    assert not iterative_closest_point(source, target).converged


@pytest.mark.large
def test_icp_of_a_whole_face_takes_at_most_a_fifth_of_a_second():
    import time

    source = face_surface(step=0.68)
    target = apply_transform(transform_of((5, -8, 3), (4, 5, 6)), source) + 2 * np.sin(source / 30)
    times = []
    for _ in range(3):
        start = time.process_time()
        iterative_closest_point(source, target)
        times.append(time.process_time() - start)
    assert 40_000 < len(source) < 50_000
    assert min(times) < 0.2


@pytest.mark.parametrize(
    "spoil", [lambda points: points[:1], lambda points: 0 * points, lambda points: points * np.nan]
)
def test_points_that_have_no_shape_are_refused(spoil):
    points = face_surface(step=9.0)
    with (
        pytest.raises(ValueError, match="finite points that do not all coincide"),
        np.errstate(invalid="ignore"),
    ):
        iterative_closest_point(spoil(points), points)
    with pytest.raises(ValueError, match="finite points that do not all coincide"):
        iterative_closest_point(points, spoil(points))
