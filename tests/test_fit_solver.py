"""Fits of known faces: what exact, noisy, missing and mirrored landmarks give back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from scipy.spatial import cKDTree

from prnet.common.errors import UserError
from prnet.fitting.evidence import FitModel, Landmarks
from prnet.fitting.fit_set import Job, fit_together, pose_parameters
from prnet.fitting.group import solve_group
from prnet.fitting.solver import Rules, bounded_minimum, rotation_about, solve
from prnet.formats.ict import CORRESPONDENCES, read_ict_model
from prnet.geometry.alignment import align, apply_transform
from prnet.geometry.face_model import at_landmarks, face_vertices, mixture
from prnet.geometry.pose import angles_from_rotation, fit_to_pixels, fitted_landmarks

HEIGHT = 400
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *(45, 44, 43, 42, 47, 46)]
    + [*(39, 38, 37, 36, 41, 40), *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
)


@pytest.fixture(scope="module")
def ict_model(shared_data):
    return read_ict_model(shared_data / "ict" / "ICT-FaceKit.zip", identity_count=60)


@pytest.fixture(scope="module")
def ict(ict_model):
    return FitModel(ict_model)


@pytest.fixture(scope="module")
def sample(sample_model):
    return FitModel(sample_model)


def person(model, seed, *, expression=0.6):
    """Coefficients (K,) of a likely person with an expression."""
    random = np.random.default_rng(seed)
    identity = random.normal(size=model.shape_basis.shape[2]) * model.shape_deviation * 0.7
    if model.expression_names:
        acts = random.random(len(model.expression_names)) < 0.1
        return np.concatenate([identity, acts * random.uniform(0.2, expression, len(acts))]).astype(np.float32)
    return np.concatenate(
        [identity, random.normal(size=len(model.expression_deviation)) * model.expression_deviation * 0.7]
    ).astype(np.float32)


def pose_of(model, degrees):
    """`Pose_Para` (7,) that puts the face, 200 pixels high, into the middle of a photo."""
    size = np.ptp(at_landmarks(model, model.mean)[:, 1])
    return np.array([*np.radians(degrees), HEIGHT / 2, HEIGHT / 2, 0, 200 / size])


def seen(model, coefficients, pose):
    """The landmarks that a photo of this face shows exactly."""
    to_pixels = fit_to_pixels(pose, HEIGHT)
    vertices = face_vertices(model, coefficients) @ to_pixels[:, :3].T + to_pixels[:, 3]
    mediapipe = None
    if model.mediapipe is not None:
        places = mixture(face_vertices(model, coefficients), model.mediapipe.vertices, model.mediapipe.weights)
        mediapipe = (places + model.mediapipe.shift) @ to_pixels[:, :3].T + to_pixels[:, 3]
    return Landmarks(at_landmarks(model, vertices), mediapipe)


def fit(fit_model, landmarks):
    (outcome,) = fit_together(fit_model, [Job("face", landmarks, HEIGHT, HEIGHT)])
    assert outcome.pose is not None, outcome.reason
    return outcome


def apart(model, outcome, coefficients, pose):
    """Mean 2D distance of the fit's landmarks from the true ones, per cent of the root of their box's area."""
    true = fitted_landmarks(model, coefficients, pose, HEIGHT)[:, :2]
    found = fitted_landmarks(model, outcome.coefficients, outcome.pose, HEIGHT)[:, :2]
    return 100 * np.linalg.norm(found - true, axis=1).mean() / np.sqrt(np.ptp(true, axis=0).prod())


def angle_between(first, second):
    return np.abs(np.degrees(np.asarray(first)[:3] - np.asarray(second)[:3])).max()


POSES = [(0, 0, 0), (10, -25, 5), (-15, 40, -20), (5, 70, 0), (0, -80, 10)]


@pytest.mark.parametrize("degrees", POSES)
def test_a_sample_person_comes_back_from_exact_landmarks(sample, sample_model, degrees):
    coefficients, pose = person(sample_model, 1), pose_of(sample_model, degrees)
    found = fit(sample, seen(sample_model, coefficients, pose))
    assert apart(sample_model, found, coefficients, pose) < 0.4
    assert angle_between(found.pose, pose) < 2.0
    assert found.pose[6] == pytest.approx(pose[6], rel=0.03)


@pytest.mark.parametrize("degrees", POSES)
def test_an_ict_person_comes_back_from_exact_landmarks(ict, ict_model, degrees):
    coefficients, pose = person(ict_model, 2), pose_of(ict_model, degrees)
    found = fit(ict, seen(ict_model, coefficients, pose))
    assert apart(ict_model, found, coefficients, pose) < 0.35
    assert angle_between(found.pose, pose) < 1.5
    expression = coefficients[60:]
    assert np.abs(found.expression - expression).mean() < 0.08
    if abs(degrees[1]) < 45:
        mouth = ict_model.expression_names.index("jawOpen")
        assert found.expression[mouth] == pytest.approx(expression[mouth], abs=0.1)
    away = face_vertices(ict_model, found.coefficients) - face_vertices(ict_model, coefficients)
    assert np.linalg.norm(away - away.mean(axis=0), axis=1)[:6706].mean() < 0.25  # cm


def test_an_open_mouth_and_a_closed_eye_are_named(ict, ict_model):
    coefficients = np.zeros(ict_model.coefficient_count, np.float32)
    for name, amount in (("jawOpen", 0.6), ("eyeBlinkLeft", 1.0)):
        coefficients[60 + ict_model.expression_names.index(name)] = amount
    found = fit(ict, seen(ict_model, coefficients, pose_of(ict_model, (0, 10, 0))))
    by_name = dict(zip(ict_model.expression_names, found.expression, strict=True))
    assert by_name["jawOpen"] == pytest.approx(0.6, abs=0.12)
    assert by_name["eyeBlinkLeft"] > 0.8
    assert by_name["eyeBlinkRight"] < 0.1
    assert found.expression.min() >= 0
    assert found.expression.max() <= 1


@pytest.mark.parametrize("sources", ["ibug", "mediapipe", "both", "flat"])
def test_any_subset_of_the_sources_is_enough(ict, ict_model, sources):
    coefficients, pose = person(ict_model, 3), pose_of(ict_model, (5, 20, -5))
    landmarks = seen(ict_model, coefficients, pose)
    if sources == "flat":
        landmarks = Landmarks(np.column_stack([landmarks.ibug[:, :2], np.full(68, np.nan)]))
    elif sources != "both":
        landmarks = Landmarks(**{sources: getattr(landmarks, sources)})
    found = fit(ict, landmarks)
    assert apart(ict_model, found, coefficients, pose) < (0.8 if sources == "mediapipe" else 0.4)
    assert angle_between(found.pose, pose) < 3.0


def test_noise_is_averaged(ict, ict_model):
    """Noise of 1.5 % of the box on each coordinate leaves less than that in the fit."""
    random = np.random.default_rng(0)
    errors = []
    for seed in range(5):
        coefficients, pose = person(ict_model, seed), pose_of(ict_model, (0, 15 * seed - 30, 0))
        exact = seen(ict_model, coefficients, pose)
        noisy = Landmarks(exact.ibug + random.normal(0, 3, (68, 3)), exact.mediapipe + random.normal(0, 3, (468, 3)))
        errors.append(apart(ict_model, fit(ict, noisy), coefficients, pose))
    assert np.mean(errors) < 1.2


def test_wrong_points_hardly_matter(ict, ict_model):
    coefficients, pose = person(ict_model, 4), pose_of(ict_model, (0, 0, 0))
    landmarks = seen(ict_model, coefficients, pose)
    landmarks.ibug[[3, 30, 57]] += (25, -20, 0)
    assert apart(ict_model, fit(ict, landmarks), coefficients, pose) < 0.8


def test_a_jaw_marked_along_the_outline_hardly_moves_the_rest(ict, ict_model):
    """As people mark photos: the far half of the jaw where the head's outline is, not where its points are."""
    coefficients, pose = person(ict_model, 4), pose_of(ict_model, (0, 35, 0))
    true = seen(ict_model, coefficients, pose).ibug
    far = 8 * np.sign(true[0, 0] - true[16, 0]) * np.sin(np.radians(35))
    marked = np.column_stack([true[:, :2], np.full(68, np.nan)])
    marked[[*range(0, 7)], 0] -= 2 * far
    marked[[*range(10, 17)], 0] -= 2 * far
    found = fit(ict, Landmarks(marked))
    moved = (fitted_landmarks(ict_model, found.coefficients, found.pose, HEIGHT) - true)[17:, :2]
    assert np.linalg.norm(moved, axis=1).mean() / 200 < 0.002
    assert angle_between(found.pose, pose) < 5


def test_missing_points_are_made_up_by_the_model(ict, ict_model, sample, sample_model):
    for fit_model, model in ((ict, ict_model), (sample, sample_model)):
        coefficients, pose = person(model, 5), pose_of(model, (0, -10, 0))
        ibug = seen(model, coefficients, pose).ibug
        ibug[0:9] = np.nan
        ibug[48:60:3] = np.nan
        ibug[25, 1] = np.nan  # half a place is none
        assert apart(model, fit(fit_model, Landmarks(ibug)), coefficients, pose) < 1.2


def test_a_mirrored_photo_gives_the_mirrored_fit(ict, ict_model):
    with np.load(CORRESPONDENCES) as places:
        canonical = places["mediapipe_canonical"]
    order = cKDTree(canonical).query(canonical * (-1, 1, 1))[1]
    for seed, degrees in enumerate([(0, 0, 0), (5, 30, 10), (-10, -55, 0)]):
        coefficients, pose = person(ict_model, seed), pose_of(ict_model, degrees)
        landmarks = seen(ict_model, coefficients, pose)

        def mirrored(points, of=None):
            flipped = points.copy()
            flipped[:, 0] = HEIGHT - 1 - flipped[:, 0]
            return flipped[of]

        twin = Landmarks(mirrored(landmarks.ibug, MIRROR), mirrored(landmarks.mediapipe, order))
        found, other = fit(ict, landmarks), fit(ict, twin)
        np.testing.assert_allclose(np.degrees(other.pose[:3] * (1, -1, -1)), np.degrees(found.pose[:3]), atol=1.0)
        here = fitted_landmarks(ict_model, found.coefficients, found.pose, HEIGHT)
        there = mirrored(fitted_landmarks(ict_model, other.coefficients, other.pose, HEIGHT), MIRROR)
        assert np.linalg.norm((here - there)[:, :2], axis=1).mean() / 200 < 0.006


def test_a_group_shares_an_identity_that_is_nearer_to_the_truth(ict, ict_model):
    random = np.random.default_rng(1)
    identity = person(ict_model, 6)[:60]
    observations = []
    for seed, yaw in enumerate((-40, -20, 0, 15, 35, 60)):
        coefficients = np.concatenate([identity, person(ict_model, seed)[60:]])
        exact = seen(ict_model, coefficients, pose_of(ict_model, (0, yaw, 0)))
        noisy = Landmarks(exact.ibug + random.normal(0, 2, (68, 3)), exact.mediapipe + random.normal(0, 2, (468, 3)))
        observations.append(ict.evidence(noisy).observation)
    alone = [solve(ict.points, observation, Rules()).coefficients[:60] for observation in observations]
    together = [solution.coefficients[:60] for solution in solve_group(ict.points, observations, Rules())]
    assert np.ptp(together, axis=0).max() == 0

    def error(coefficients):
        """In cm, the size aside, which no photo shows."""
        found, true = (
            ict_model.mean[:6706] + ict_model.shape_basis[:6706] @ each.astype(np.float32)
            for each in (coefficients, identity)
        )
        return np.linalg.norm(apply_transform(align(found, true, scale=True), found) - true, axis=1).mean()

    assert error(together[0]) < 0.8 * np.mean([error(one) for one in alone])


def test_sources_that_show_different_faces_are_told_apart(ict, ict_model):
    landmarks = seen(ict_model, person(ict_model, 7), pose_of(ict_model, (0, 0, 0)))
    assert ict.evidence(landmarks).disagreement < 2
    other = Landmarks(landmarks.ibug, landmarks.mediapipe + (40, 0, 0))
    assert ict.evidence(other).disagreement > 8
    assert ict.evidence(other).sources == ("ibug",)
    (outcome,) = fit_together(ict, [Job("face", other, HEIGHT, HEIGHT)])
    assert "the sources differ" in outcome.reason


def test_what_is_no_face_is_refused(ict, ict_model, sample):
    landmarks = seen(ict_model, person(ict_model, 8), pose_of(ict_model, (0, 0, 0)))
    nothing = np.full((68, 3), np.nan)
    with pytest.raises(UserError, match="fewer than 20 known points"):
        ict.evidence(Landmarks(nothing))
    with pytest.raises(UserError, match="MediaPipe's points alone"):
        sample.evidence(Landmarks(None, landmarks.mediapipe))
    with pytest.raises(UserError, match="one place or line"):
        ict.evidence(Landmarks(np.full((68, 3), 50.0)))
    shuffled = landmarks.ibug[np.random.default_rng(0).permutation(68)]
    (outcome,) = fit_together(ict, [Job("face", Landmarks(shuffled), HEIGHT, HEIGHT)])
    assert "residual" in outcome.reason


def test_the_bounded_minimum_is_that_of_scipy():
    random = np.random.default_rng(2)
    for _ in range(20):
        design, target = random.normal(size=(30, 12)), random.normal(size=30)
        design += 3 * random.normal(size=(30, 3)) @ random.normal(size=(3, 12))  # shapes that nearly cancel out
        lower, upper = np.full(12, -0.1), np.full(12, 0.15)
        expected = lsq_linear(design, target, (lower, upper), tol=1e-12).x
        free = np.ones(12, bool)
        found = bounded_minimum(design.T @ design, design.T @ target, np.zeros(12), free, lower, upper)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        free[:3] = False
        held = bounded_minimum(design.T @ design, design.T @ target, np.full(12, 0.05), free, lower, upper)
        np.testing.assert_array_equal(held[:3], 0.05)


def test_turns_are_rotations_and_poses_are_those_of_300w_lp(ict, ict_model):
    turn = rotation_about(np.array([0.3, -0.2, 0.1]))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    pose = pose_of(ict_model, (10, 20, 30))
    landmarks = seen(ict_model, np.zeros(ict_model.coefficient_count, np.float32), pose)
    solution = solve(ict.points, ict.evidence(landmarks).observation, Rules())
    np.testing.assert_allclose(pose_parameters(solution, HEIGHT)[:3], np.radians((10, 20, 30)), atol=0.01)
    np.testing.assert_allclose(angles_from_rotation(solution.pose.rotation), np.radians((10, 20, 30)), atol=0.01)


def test_the_same_numbers_give_the_same_fit(ict, ict_model):
    landmarks = seen(ict_model, person(ict_model, 9), pose_of(ict_model, (0, 30, 0)))
    first, second = fit(ict, landmarks), fit(ict, replace(landmarks))
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    np.testing.assert_array_equal(first.pose, second.pose)
