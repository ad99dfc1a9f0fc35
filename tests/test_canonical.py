"""A network's own canonical face: its predictions on frontal photos, turned upright and averaged."""

from types import SimpleNamespace

import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.exporting.canonical import with_own_canonical_map
from prnet.geometry.crop import compose, crop_transform, landmark_box, lift_transform
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import layout_of_model, map_basis, position_maps
from prnet.geometry.uv_layout import face_mask, sample_landmarks
from tests.helpers.perfect_network import constant_network

SIZE, SIDE = 128, 200


def turned_face(model, angles, off_face=()):
    """A network that sees the mean face turned by some angles, nonsense off the face, and a data set that says so."""
    landmarks = model.mean[model.landmark_vertices[:, 0]]
    pose = np.array([*angles, SIDE / 2, SIDE / 2, 7, 0.6 * SIDE / np.ptp(landmarks[:, 1])])
    to_photo = fit_to_pixels(pose, SIDE)
    box = landmark_box(landmarks @ to_photo[:, :3].T + to_photo[:, 3])
    transform = compose(lift_transform(crop_transform(box, SIZE)), to_photo)
    basis = map_basis(model, SIZE)
    (crop_map,) = position_maps(basis, np.zeros((1, len(basis.rows) - 1), np.float32), transform[None])
    crop_map[off_face, 2] = -1e4
    dataset = SimpleNamespace(
        path="train.hdf5",
        fits=lambda indices: (None, pose[None][indices]),
        box=lambda index: box,
        image=lambda index: np.zeros((SIDE, SIDE, 3), np.uint8),
    )
    return constant_network(crop_map), dataset


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.12, -0.16, 0.5)])
def test_turned_predictions_come_back_to_the_front(sample_model, angles):
    layout = layout_of_model(sample_model)
    network, dataset = turned_face(sample_model, angles, off_face=~face_mask(layout, SIZE))
    own = with_own_canonical_map(layout, network, dataset)
    assert own.identity == layout.identity
    assert own.canonical_map[..., 2].min() == 0
    found, expected = (sample_landmarks(each.canonical_map, layout) for each in (own, layout))
    difference = (found - found.mean(axis=0)) - (expected - expected.mean(axis=0))
    assert np.ptp(own.canonical_map[..., 2]) < 255
    assert np.sqrt(np.mean(difference**2)) < 0.4  # pixels of 256; the network's grid is half as fine
    faces = face_mask(layout, 256) & face_mask(layout, 256)[:, ::-1]
    across = own.canonical_map[:, ::-1, 0] + own.canonical_map[..., 0]
    assert np.percentile(np.abs(across[faces] - 255), 95) < 0.5  # at the rim the grids' masks differ


def test_faces_from_the_side_give_no_canonical_face(sample_model):
    network, dataset = turned_face(sample_model, (0.0, 0.3, 0.0))
    with pytest.raises(UserError, match=r"train\.hdf5: holds no photo within 10 degrees of the front"):
        with_own_canonical_map(layout_of_model(sample_model), network, dataset)
