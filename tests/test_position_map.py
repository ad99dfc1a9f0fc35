"""Position maps: known values on a mesh of nine vertices by nine, and on real fits with the stand-in face model."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from prnet.formats.fit_files import read_fit
from prnet.generating.samples.model import make_sample_head
from prnet.geometry.crop import (
    compose,
    crop_transform,
    invert_transform,
    landmark_box,
    lift_transform,
    transform_points,
)
from prnet.geometry.face_model import FaceModel, face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis, position_maps, texel_mixture
from prnet.geometry.uv_layout import UVLayout, face_mask, grid_triangles, landmark_texels, mirror_maps, sample_landmarks

IBUG_MIRROR = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1
]
"""The landmark that each of the 68 becomes in the mirrored face."""

INNER_LIPS = slice(60, 68)


def grid_model(side, hole=None, span=1.0) -> FaceModel:
    """A bulging sheet whose vertices lie at the texel centres of a grid of `side`, over `span` of the UV square."""
    random = np.random.default_rng(0)
    mask = np.ones((side, side), dtype=bool)
    if hole:
        mask[hole] = False
    row, column = np.nonzero(mask)
    u, v = column / (side - 1), 1 - row / (side - 1)
    count = len(u)
    return FaceModel(
        mean=np.column_stack([2 * u - 1, 2 * v - 1, 1 - (2 * u - 1) ** 2]).astype(np.float32),
        shape_basis=random.normal(0, 0.1, (count, 3, 3)).astype(np.float32),
        expression_basis=random.normal(0, 0.1, (count, 3, 2)).astype(np.float32),
        shape_deviation=np.ones(3, np.float32),
        expression_deviation=np.ones(2, np.float32),
        triangles=grid_triangles(mask),
        landmark_vertices=random.permutation(count)[:68, None].astype(np.int32),
        landmark_weights=np.ones((68, 1), np.float32),
        uv=(0.5 + span * (np.column_stack([u, v]) - 0.5)).astype(np.float32),
        mean_texture=np.zeros((count, 3), np.float32),
        region_weights=np.full((256, 256), 3, np.float32),
        source="",
        licence="",
    )


def pixels_of(model: FaceModel, coefficients, transform, subset=slice(None)):
    vertices = face_vertices(model, coefficients, subset).astype(np.float64)
    return vertices @ transform[:, :3].T + transform[:, 3]


COEFFICIENTS = np.array([1, -2, 0.5, 1.5, -1], np.float32)
TRANSFORM = np.array([[0, -20.0, 3, 40], [30, 5, 0, 50], [1, 2, 25, -7]])


def test_a_texel_on_a_vertex_holds_that_vertex():
    model = grid_model(9)
    position_map = position_maps(map_basis(model, 9), COEFFICIENTS[None], TRANSFORM[None])[0]
    expected = pixels_of(model, COEFFICIENTS, TRANSFORM)
    expected[:, 2] -= expected[:, 2].min()
    assert position_map.dtype == np.float32
    np.testing.assert_allclose(position_map.reshape(-1, 3), expected, atol=1e-3)


def test_a_batch_holds_the_maps_of_its_members():
    basis = map_basis(grid_model(9), 16)
    coefficients = np.stack([COEFFICIENTS, -COEFFICIENTS, 0 * COEFFICIENTS])
    transforms = np.stack([TRANSFORM, TRANSFORM * 2, TRANSFORM + 1])
    maps = position_maps(basis, coefficients, transforms)
    assert maps.shape == (3, 16, 16, 3)
    for position_map, *fit in zip(maps, coefficients, transforms, strict=True):
        np.testing.assert_allclose(position_maps(basis, *(part[None] for part in fit))[0], position_map, atol=1e-3)
    np.testing.assert_array_equal(maps[..., 2].min(axis=(1, 2)), 0)


def test_a_hole_is_closed_around_the_mean_of_its_rim():
    model = grid_model(9, hole=np.s_[4, 4])
    mixture = texel_mixture(model, 9)
    rim = [np.flatnonzero(np.all(np.isclose(model.uv * 8, at), axis=1))[0] for at in
           ((3, 4), (5, 4), (4, 3), (4, 5), (5, 5), (3, 3))]  # fmt: skip
    expected = np.zeros(len(model.mean))
    expected[rim] = 1 / 6
    np.testing.assert_allclose(mixture[[40]].toarray()[0], expected, atol=1e-6)


def test_texels_off_the_mesh_repeat_the_nearest_on_it():
    model = grid_model(9, span=0.5)  # texels 8 to 24 of 33, each vertex on one
    mixture = texel_mixture(model, 33).toarray().reshape(33, 33, -1)
    np.testing.assert_allclose(mixture.sum(axis=-1), 1, rtol=1e-6)
    assert mixture.min() > -1e-4
    np.testing.assert_array_equal(mixture[0, 0], mixture[8, 8])
    np.testing.assert_array_equal(mixture[15, 32], mixture[15, 24])
    assert mixture[8, 8, 0] == pytest.approx(1, abs=1e-6)
    assert mixture[24, 24, -1] == pytest.approx(1, abs=1e-6)


def test_the_canonical_map_is_a_frontal_upright_face_in_its_reference_crop(sample_model):
    layout = layout_of_model(sample_model)
    landmarks = sample_landmarks(layout.canonical_map, layout)
    eye_on_the_left, eye_on_the_right, nose, chin = landmarks[[36, 45, 30, 8]]
    assert eye_on_the_left[0] < nose[0] < eye_on_the_right[0]
    assert eye_on_the_left[1] < nose[1] < chin[1]
    assert nose[2] > eye_on_the_left[2] > 0
    assert layout.canonical_map[..., 2].min() == 0
    box = landmark_box(landmarks)
    np.testing.assert_allclose(box.centre, 127.5, atol=0.5)
    assert box.side == pytest.approx(255 / 1.5, abs=1)
    np.testing.assert_array_equal(layout.landmark_uv, sample_model.uv[sample_model.landmark_vertices[:, 0]])


@dataclass(frozen=True)
class RealFit:
    """One real sample, its map in the reference crop and its landmarks from the fit."""

    name: str
    coefficients: np.ndarray
    crop: np.ndarray
    to_crop: np.ndarray
    landmarks: np.ndarray  # of the fit, in pixels of the crop
    photo_landmarks: np.ndarray
    position_map: np.ndarray


@pytest.fixture(scope="module")
def stand_in_basis(stand_in_model) -> MapBasis:
    return map_basis(stand_in_model, 256)


@pytest.fixture(scope="module")
def stand_in_layout(stand_in_model) -> UVLayout:
    return layout_of_model(stand_in_model)


@pytest.fixture(scope="module")
def real_fits(shared_data, stand_in_model, stand_in_basis) -> list[RealFit]:
    """The six AFLW2000-3D samples and the one of 300W-LP."""
    fits = []
    for path in sorted([*(shared_data / "AFLW2000").glob("*.mat"), *(shared_data / "300W_LP").rglob("*.mat")]):
        fit, height = read_fit(path), cv2.imread(str(path.with_suffix(".jpg"))).shape[0]
        to_photo = fit_to_pixels(fit.pose, height)
        photo_landmarks = pixels_of(stand_in_model, fit.coefficients, to_photo, stand_in_model.landmark_vertices[:, 0])
        crop = crop_transform(landmark_box(photo_landmarks), 256)
        to_crop = compose(lift_transform(crop), to_photo)
        fits.append(
            RealFit(
                name=path.name,
                coefficients=fit.coefficients,
                crop=crop,
                to_crop=to_crop,
                landmarks=transform_points(crop, photo_landmarks),
                photo_landmarks=photo_landmarks,
                position_map=position_maps(stand_in_basis, fit.coefficients[None], to_crop[None])[0],
            )
        )
    assert len(fits) == 7
    return fits


def test_maps_of_real_fits_hold_the_landmarks(real_fits, stand_in_layout):
    """Bilinear at the landmarks' UV.

    `BFM_UV.mat` spends 2.5 pixels of the crop on a texel at the lips and along the nose. The inner lips are the rim of
    the mouth's hole, where the map bends sharply within one texel, and reach 1.3 px; two points of the bridge, 0.7 px.
    """
    for fit in real_fits:
        distance = np.linalg.norm((sample_landmarks(fit.position_map, stand_in_layout) - fit.landmarks)[:, :2], axis=1)
        assert np.sqrt(np.square(distance).mean()) < 0.35, fit.name
        assert distance.max() < 1.3, fit.name
        distance[INNER_LIPS] = 0
        assert distance.max() < 0.7, fit.name
        assert np.count_nonzero(distance > 0.5) <= 2, fit.name


def test_nearest_texels_of_real_fits_are_near_the_landmarks(real_fits, stand_in_layout):
    column, row = landmark_texels(stand_in_layout, 256).T
    for fit in real_fits:
        distance = np.linalg.norm((fit.position_map[row, column] - fit.landmarks)[:, :2], axis=1)
        assert np.sqrt(np.square(distance).mean()) < 1.0, fit.name
        assert np.mean(distance < 1.5) > 0.9, fit.name


def test_landmarks_of_a_map_return_to_the_photo(real_fits, stand_in_layout):
    for fit in real_fits:
        landmarks = sample_landmarks(fit.position_map, stand_in_layout)
        there = transform_points(invert_transform(fit.crop), landmarks)
        np.testing.assert_allclose(there[:60, :2], fit.photo_landmarks[:60, :2], atol=2)


def test_the_least_depth_of_a_map_is_zero_and_depth_keeps_the_scale_of_the_crop(real_fits, stand_in_layout):
    for fit in real_fits:
        assert fit.position_map[..., 2].min() == 0
        offset = (sample_landmarks(fit.position_map, stand_in_layout) - fit.landmarks)[:, 2]
        assert np.std(np.delete(offset, np.r_[INNER_LIPS])) < 0.5, fit.name


def containing_triangles(model: FaceModel, texels):
    """For UV points in texel units the triangle that holds each, -1 for none, and its barycentric weights.

    Nothing of `geometry.rasterise`: the 40 triangles with the nearest centroids are tried, the first that holds wins.
    """
    corners = (model.uv.astype(np.float64) * (1, -1) + (0, 1))[model.triangles] * 255
    candidates = cKDTree(corners.mean(axis=1)).query(texels, k=40)[1]
    found, weights = np.full(len(texels), -1), np.zeros((len(texels), 3))
    for candidate in candidates.T:
        first, second, third = np.moveaxis(corners[candidate], 1, 0)
        sides = np.stack([second - first, third - first], axis=-1)
        solvable = np.abs(np.linalg.det(sides)) > 1e-12
        sides[~solvable] = np.eye(2)
        share = np.linalg.solve(sides, (texels - first)[..., None])[..., 0]
        inside = solvable & (share >= -1e-9).all(axis=1) & (share.sum(axis=1) <= 1 + 1e-9) & (found < 0)
        found[inside] = candidate[inside]
        weights[inside] = np.column_stack([1 - share.sum(axis=1), share])[inside]
    return found, weights


def test_maps_of_real_fits_agree_with_the_posed_mesh_drawn_in_uv(real_fits, stand_in_model, stand_in_layout):
    mask = face_mask(stand_in_layout, 256)
    row, column = np.nonzero(mask)
    triangle, weights = containing_triangles(stand_in_model, np.column_stack([column, row]).astype(np.float64))
    held = triangle >= 0
    assert held.mean() > 0.99  # the rest lies in the mouth's hole
    corners = stand_in_model.triangles[triangle[held]]
    for fit in real_fits:
        vertices = pixels_of(stand_in_model, fit.coefficients, fit.to_crop)
        drawn = np.einsum("tk,tkc->tc", weights[held], vertices[corners])
        ours = fit.position_map[mask][held]
        distance = np.linalg.norm((ours - drawn)[:, :2], axis=1)
        assert np.mean(distance < 0.5) > 0.995, fit.name
        depth = ours[:, 2] - drawn[:, 2]
        assert np.mean(np.abs(depth - np.median(depth)) < 0.5) > 0.995, fit.name


def map_in_reference_crop(model, basis, coefficients, pose):
    """The map of a fit to a photo 256 pixels high, and the fit's landmarks, both in the crop."""
    to_photo = fit_to_pixels(pose, 256)
    landmarks = pixels_of(model, coefficients, to_photo, model.landmark_vertices[:, 0])
    crop = crop_transform(landmark_box(landmarks), 256)
    to_crop = compose(lift_transform(crop), to_photo)
    return position_maps(basis, coefficients[None], to_crop[None])[0], transform_points(crop, landmarks)


def fit_and_mirrored_fit(model):
    """`Pose_Para` of a turned head, and of the same photo mirrored, 256 pixels wide: 1-based, x becomes 257 - x."""
    pose = np.array([0.2, 0.6, -0.3, 140.0, 120.0, 0.0, 110 / np.ptp(model.mean[:, 1])])
    return pose, pose * (1, -1, -1, -1, 1, 1, 1) + (0, 0, 0, 257, 0, 0, 0)


def test_a_mirrored_fit_of_a_symmetric_model_has_the_mirrored_map():
    head = make_sample_head()
    model, basis, layout = head.model, map_basis(head.model, 256), layout_of_model(head.model)
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation])
    coefficients = (np.random.default_rng(0).normal(0, 0.7, len(deviations)) * deviations).astype(np.float32)
    pose, mirrored_pose = fit_and_mirrored_fit(model)
    mirrored_coefficients = (coefficients * head.mirror_signs).astype(np.float32)
    position_map, landmarks = map_in_reference_crop(model, basis, coefficients, pose)
    expected, expected_landmarks = map_in_reference_crop(model, basis, mirrored_coefficients, mirrored_pose)

    np.testing.assert_allclose(expected_landmarks[IBUG_MIRROR] * (-1, 1, 1) + (255, 0, 0), landmarks, atol=0.05)
    mirrored = mirror_maps(position_map, 256)
    difference = np.linalg.norm(mirrored - expected, axis=-1)[face_mask(layout, 256)]
    assert difference.max() < 0.01
    read = np.linalg.norm(sample_landmarks(mirrored, layout) - sample_landmarks(expected, layout), axis=1)
    assert read.max() < 0.01


def test_landmarks_of_mirrored_real_maps_come_out_in_ibug_order(real_fits, stand_in_layout):
    """As near as the unmirrored ones, and half a pixel: `BFM_UV.mat` is not quite symmetric."""
    for fit in real_fits:
        read = sample_landmarks(mirror_maps(fit.position_map, 256), stand_in_layout)
        expected = fit.landmarks[IBUG_MIRROR] * (-1, 1, 1) + (255, 0, 0)
        distance = np.linalg.norm((read - expected)[:, :2], axis=1)
        assert np.sqrt(np.square(distance).mean()) < 0.4, fit.name
        assert distance.max() < 1.4, fit.name


def test_the_stand_in_models_own_asymmetry_is_small(stand_in_model, stand_in_basis, stand_in_layout):
    """No head is symmetric, nor is the Basel mean: 0.7 px rms and 2 px at most in a crop of 256."""
    mean = np.zeros(stand_in_model.coefficient_count, np.float32)
    position_map, expected = (
        map_in_reference_crop(stand_in_model, stand_in_basis, mean, pose)[0]
        for pose in fit_and_mirrored_fit(stand_in_model)
    )
    difference = np.linalg.norm(mirror_maps(position_map, 256) - expected, axis=-1)[face_mask(stand_in_layout, 256)]
    assert np.sqrt(np.square(difference).mean()) < 0.8
    assert difference.max() < 2.1
