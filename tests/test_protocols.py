"""Protocols: what each divides by, how images become a number, and that the truth itself scores 0 under all of them."""

from dataclasses import replace

import numpy as np
import pytest

from prnet.evaluating.protocols import PROTOCOLS, cumulative_curve, summarise, yaw_bins
from prnet.evaluating.scoring import Prediction, Truth, columns_of, score
from prnet.evaluating.types import EvaluationType
from tests.helpers.surfaces import face_surface

ALL = columns_of(EvaluationType)


@pytest.fixture(scope="module")
def truth():
    """A face of 400 mesh points, with landmarks among them."""
    random = np.random.default_rng(0)
    surface = face_surface(step=2.0).astype(np.float32)
    mesh = surface[random.choice(len(surface), 400, replace=False)] + np.float32([200, 150, 30])
    return Truth(landmarks=mesh[:68] + np.float32([0.5, -0.5, 0]), mesh=mesh, mesh_landmarks=mesh[:68])


FACE = np.arange(50, 400)


def errors_of(prediction, truth, protocol):
    found = score(prediction, truth, FACE, ALL, protocol).errors
    return {column.title: error for column, error in zip(ALL, found, strict=True)}


@pytest.mark.parametrize("origin", ["min", "mean", "none"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_truth_scores_0_in_every_type(truth, name, origin):
    protocol = replace(PROTOCOLS[name], depth_origin=origin)
    perfect = Prediction(truth.landmarks.copy(), truth.mesh[FACE])
    for title, error in errors_of(perfect, truth, protocol).items():
        assert error < 1e-4, title


@pytest.mark.parametrize("origin", ["min", "mean"])
def test_depth_beyond_its_origin_does_not_count(truth, origin):
    away = np.float32([0, 0, 77])
    protocol = replace(PROTOCOLS["standard"], depth_origin=origin)
    errors = errors_of(Prediction(truth.landmarks + away, truth.mesh[FACE] + away), truth, protocol)
    assert max(errors.values()) < 1e-3
    unmoved = errors_of(
        Prediction(truth.landmarks + away, truth.mesh[FACE] + away), truth, replace(protocol, depth_origin="none")
    )
    assert unmoved["sparse 3D"] > 10
    assert unmoved["dense 3D"] > 10
    assert unmoved["sparse 2D"] == 0


def test_standard_divides_by_the_root_of_the_box_area(truth):
    aside = np.float32([5, 0, 0])
    errors = errors_of(Prediction(truth.landmarks + aside, truth.mesh[FACE] + aside), truth, PROTOCOLS["standard"])
    for title, points in (
        ("sparse 2D", truth.landmarks),
        ("sparse 3D", truth.landmarks),
        ("dense 3D", truth.mesh[FACE]),
    ):
        width, height = np.ptp(points[:, :2], axis=0)
        assert errors[title] == pytest.approx(500 / np.sqrt(width * height), rel=1e-5)


def test_prnet_keras_divides_by_the_diagonal_of_the_whole_mesh(truth):
    aside = np.float32([0, 5, 0])
    errors = errors_of(Prediction(truth.landmarks + aside, truth.mesh[FACE] + aside), truth, PROTOCOLS["prnet-keras"])
    diagonal = np.hypot(*np.ptp(truth.mesh[:, :2], axis=0))
    for title in ("sparse 2D", "sparse 3D", "dense 2D", "dense 3D"):
        assert errors[title] == pytest.approx(500 / diagonal, rel=1e-5)


@pytest.mark.parametrize(("name", "corners"), [("standard", (36, 45)), ("prnet-keras", (37, 46))])
def test_a_reconstruction_is_divided_by_the_distance_of_the_eyes(truth, name, corners):
    centre = truth.mesh[FACE].mean(axis=0)
    larger = centre + 1.2 * (truth.mesh[FACE] - centre)
    errors = errors_of(Prediction(truth.landmarks, larger), truth, PROTOCOLS[name])
    eyes = np.linalg.norm(np.subtract(*truth.mesh_landmarks[list(corners)]))
    spread = np.linalg.norm(truth.mesh[FACE] - centre, axis=1).mean()
    assert errors["reconstruction 3D, rigid"] == pytest.approx(100 * 0.2 * spread / eyes, rel=1e-4)
    assert errors["reconstruction 3D, similarity"] < 1e-3
    assert errors["reconstruction 2D, rigid"] < errors["reconstruction 3D, rigid"]


def test_what_the_map_costs_is_stated_apart(truth):
    exact = replace(truth, grid_landmarks=truth.landmarks)
    shifted = replace(truth, grid_landmarks=truth.landmarks + np.float32([3, 4, 0]))
    perfect, protocol = Prediction(truth.landmarks, truth.mesh[FACE]), PROTOCOLS["standard"]
    np.testing.assert_allclose(score(perfect, exact, FACE, ALL, protocol).map_errors, 0, atol=1e-6)
    width, height = np.ptp(truth.landmarks[:, :2], axis=0)
    cost = score(perfect, shifted, FACE, ALL, protocol).map_errors
    np.testing.assert_allclose(cost, 500 / np.sqrt(width * height), rtol=1e-5)
    assert np.isnan(score(perfect, truth, FACE, ALL, protocol).map_errors).all()


def test_landmarks_of_two_dimensions_are_enough_for_sparse_2d(truth):
    flat = replace(truth, landmarks=truth.landmarks[:, :2])
    found = score(
        Prediction(truth.landmarks + 1), flat, FACE, columns_of([EvaluationType.SPARSE_2D]), PROTOCOLS["standard"]
    )
    width, height = np.ptp(flat.landmarks, axis=0)
    np.testing.assert_allclose(found.errors, 100 * np.sqrt(2) / np.sqrt(width * height), rtol=1e-5)


def test_columns_are_the_six_types_and_each_alignment():
    assert [
        column.title
        for column in columns_of([EvaluationType.DENSE_3D, EvaluationType.SPARSE_2D, EvaluationType.SPARSE_2D])
    ] == ["sparse 2D", "dense 3D"]
    assert [column.title for column in columns_of([EvaluationType.RECONSTRUCTION_3D])] == [
        f"reconstruction 3D, {way}" for way in ("icp", "rigid", "similarity")
    ]


def test_the_types_keep_their_numbers():
    """`--evalidxs`, result files and PRNet-keras' API count them."""
    titles = ["sparse 2D", "sparse 3D", "dense 2D", "dense 3D", "reconstruction 2D", "reconstruction 3D"]
    assert [EvaluationType(number).title for number in range(6)] == titles
    assert [each.dimensions for each in EvaluationType] == [2, 3, 2, 3, 2, 3]
    assert [each.needs_mesh for each in EvaluationType] == [False, False, True, True, True, True]


def test_yaw_bins_have_no_upper_bound_and_no_sign():
    yaw = np.array([0, -30, 30, 30.001, -60, 60.001, -89, 95, -351])
    np.testing.assert_array_equal(yaw_bins(yaw), [0, 0, 0, 1, 1, 2, 2, 2, 2])


def test_an_image_without_result_is_a_failure_and_neither_zero_nor_gone():
    errors = np.array([2.0, 4.0, np.inf, 12.0])
    summary = summarise(errors, np.array([0.0, 10.0, 20.0, 70.0]))
    assert (summary.images, summary.without_result) == (4, 1)
    assert summary.mean == pytest.approx(6.0)  # over the three with a result
    assert summary.failure_rate == pytest.approx(50.0)  # the one without, and the one above 10 %
    assert summary.area_under_curve == pytest.approx(100 * (0.8 + 0.6 + 0 + 0) / 4)
    assert summary.bin_images == (3, 0, 1)
    assert summary.bin_means[0] == pytest.approx(3.0)
    assert np.isnan(summary.bin_means[1])
    assert np.isnan(summary.mean_of_bins)  # an empty bin is not a zero
    assert summary.deviation == pytest.approx(np.std([2, 4, 12]))


def test_the_area_is_that_under_the_curve():
    errors = np.array([0.5, 3.0, 9.0, 11.0, np.inf])
    x, y = cumulative_curve(errors)
    np.testing.assert_allclose(y, [20, 40, 60, 80])
    fine = np.linspace(0, 10, 100_001)
    steps = np.array([0, *y])[np.searchsorted(x, fine, side="right")]
    assert summarise(errors, np.zeros(5)).area_under_curve == pytest.approx(steps.mean(), abs=1e-2)


def test_a_statement_names_all_five_and_the_alignment():
    changed = replace(PROTOCOLS["standard"], depth_origin="mean", landmarks="new.npy", yaw="yaw.npy")
    text = " ".join(changed.statement)
    for part in (
        "sqrt(w h)",
        "mean of the compared",
        "new.npy",
        "yaw.npy",
        "Mean of bins",
        "36 and 45",
        "stop:",
        "2000",
    ):
        assert part in text
    assert "sqrt(w^2 + h^2)" in " ".join(PROTOCOLS["prnet-keras"].statement)


def test_a_reconstruction_is_divided_by_the_eye_distance_of_the_true_map(truth):
    """Not by that of re-annotated landmarks, which may lie elsewhere."""
    bent = Prediction(truth.landmarks, truth.mesh[FACE] + 3 * np.sin(truth.mesh[FACE] / 20))
    wider = replace(truth, landmarks=truth.landmarks * np.float32([2, 1, 1]))
    expected, found = (errors_of(bent, each, PROTOCOLS["standard"]) for each in (truth, wider))
    reconstructions = [title for title in expected if title.startswith("reconstruction")]
    assert len(reconstructions) == 6
    for title in reconstructions:
        assert found[title] == pytest.approx(expected[title]) != 0
