"""NME against values worked out by hand and against values obtained outside this project, at full scale."""

import numpy as np
import pytest

from prnet.evaluating.nme import (
    aligned_residuals,
    box_diagonal,
    landmark_distance,
    nme,
    residuals_from_origins,
    root_box_area,
)
from prnet.evaluating.protocols import summarise
from prnet.geometry.transforms import apply_transform
from tests.helpers.surfaces import face_surface, transform_of


def test_nme_by_hand():
    residuals = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])
    assert nme(residuals, 50.0) == pytest.approx(10.0)  # mean distance 5 of 50
    batch = np.stack([residuals, 2 * residuals])
    np.testing.assert_allclose(nme(batch, np.array([50.0, 25.0])), [10.0, 40.0])


def test_normalisers_by_hand():
    points = np.array([[2.0, 10.0, 0.0], [5.0, 14.0, 90.0], [3.0, 11.0, -5.0]])
    assert root_box_area(points) == pytest.approx(np.sqrt(3 * 4))
    assert box_diagonal(points) == pytest.approx(5.0)
    landmarks = np.zeros((68, 3))
    landmarks[36], landmarks[45] = (1, 2, 3), (3, 5, 9)
    assert landmark_distance(landmarks, (36, 45)) == pytest.approx(7.0)


@pytest.mark.parametrize(("origin", "left"), [("min", [4.0, 0.0]), ("mean", [2.0, -2.0]), ("none", [104.0, 100.0])])
def test_depth_is_measured_from_the_origin_of_each_side(origin, left):
    predicted = np.array([[0.0, 0.0, 107.0], [0.0, 0.0, 101.0]])
    truth = np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(residuals_from_origins(predicted, truth, origin)[:, 2], left)
    np.testing.assert_allclose(predicted[:, 2], [107.0, 101.0])  # what was given stays


def test_two_dimensions_have_no_depth_to_move():
    points = np.random.default_rng(0).normal(size=(68, 2))
    np.testing.assert_array_equal(residuals_from_origins(points + 1, points, "min"), (points + 1) - points)


@pytest.mark.parametrize(("alignment", "scale"), [("icp", 1.0), ("rigid", 1.0), ("similarity", 1.3)])
def test_alignment_takes_a_known_motion_away(alignment, scale):
    truth = face_surface(step=2.0)
    moved = apply_transform(transform_of((4, -9, 6), (30, -10, 50), scale), truth)
    assert np.abs(aligned_residuals(moved, truth, alignment)).max() < 1e-6


def test_a_rigid_alignment_keeps_the_error_of_size():
    truth = face_surface(step=2.0)
    centred = truth - truth.mean(axis=0)
    residuals = aligned_residuals(1.1 * centred, centred, "rigid")
    np.testing.assert_allclose(residuals, 0.1 * centred, atol=1e-9)
    assert np.abs(aligned_residuals(1.1 * centred, centred, "similarity")).max() < 1e-9


def test_icp_hides_errors_that_correspondences_show():
    truth = face_surface(step=2.0)
    slid = np.roll(truth, 1, axis=0)  # every vertex at its neighbour's place: the same surface
    assert np.abs(aligned_residuals(slid, truth, "icp")).max() < 1e-6
    assert np.linalg.norm(aligned_residuals(slid, truth, "rigid"), axis=-1).mean() > 1


@pytest.fixture(scope="module")
def published_landmarks(shared_data):
    """Original (2000, 68, 3) and re-annotated (2000, 68, 2) landmarks of AFLW2000-3D, pixels."""
    folder = shared_data / "landmarks"
    names = ("AFLW2000-3D.pts68.npy", "AFLW2000-3D-Reannotated.pts68.npy")
    return tuple(np.load(folder / name).transpose(0, 2, 1) for name in names)


@pytest.mark.parametrize(
    ("yaw_file", "counts", "bins", "mean_of_bins"),
    [
        ("AFLW2000-3D.pose.npy", (1312, 383, 305), (2.8116, 3.2341, 4.0962), 3.3806),
        ("AFLW2000-3D-new.pose.npy", (1306, 462, 232), (2.8136, 3.2864, 4.2412), 3.4471),
    ],
)
def test_golden_values_of_2000_images(shared_data, published_landmarks, yaw_file, counts, bins, mean_of_bins):
    """Obtained outside this project with 3DDFA's arithmetic; see the README of the data."""
    original, reannotated = published_landmarks
    errors = nme(residuals_from_origins(reannotated, original[..., :2], "min"), root_box_area(original))
    summary = summarise(errors, np.load(shared_data / "landmarks" / yaw_file))
    assert summary.bin_images == counts
    assert tuple(round(mean, 4) for mean in summary.bin_means) == bins
    assert round(summary.mean_of_bins, 4) == mean_of_bins
    assert round(summary.mean, 4) == 3.0884
