"""What the camera saw of a face, and how the rest of its texture is filled in."""

import numpy as np
import pytest
from scipy import ndimage

from prnet.geometry.crop import compose, crop_transform, landmark_box, lift_transform
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import layout_of_model, position_maps
from prnet.geometry.rasterise import render
from prnet.geometry.spreading import spread
from prnet.reconstructing.face import face_grid, place_face, restore_face
from prnet.reconstructing.texture import (
    OUTLINE_DOUBT,
    complete_texture,
    sample_texture,
    seen_texels,
    texture_side,
    uv_texture,
    visibility_mask,
    visible_landmarks,
    visible_vertices,
)

SIZE = 128
HEIGHT, WIDTH = 420, 460


@pytest.fixture(scope="module")
def grid(sample_model):
    return face_grid(layout_of_model(sample_model), SIZE)


def turned_face(sample_model, basis, grid, yaw):
    """The mean face, turned by yaw degrees, 220 pixels wide, as a perfect network would find it."""
    pose = np.array([0, np.radians(yaw), 0, WIDTH / 2, HEIGHT / 2, 3.0, 220 / np.ptp(sample_model.mean[:, 0])])
    to_pixels = fit_to_pixels(pose, HEIGHT)
    box = landmark_box(sample_model.mean[sample_model.landmark_vertices[:, 0]] @ to_pixels[:, :3].T + to_pixels[:, 3])
    to_crop = crop_transform(box, SIZE)
    nothing = np.zeros((1, sample_model.coefficient_count))
    crop_map = position_maps(basis, nothing, compose(lift_transform(to_crop), to_pixels)[None])[0]
    return restore_face(crop_map, box, to_crop, grid)


def painted(face, colour_of_uv, background=(0, 0, 255)):
    """A photo of the face in the colours (N, 3) of its vertices on a garish background."""
    closed = face.grid.closed
    canvas = np.full((HEIGHT, WIDTH, 3), background, dtype=np.uint8)
    return render(closed.close(face.vertices), closed.triangles, colour_of_uv(closed.uv), canvas)


def skin(uv):
    """Skin with a darker brow band, the same on both sides."""
    return np.where(uv[:, 1:] > 0.7, (120.0, 80.0, 60.0), (200.0, 150.0, 120.0))


def lit_skin(uv):
    return skin(uv) * (0.6 + 0.4 * uv[:, :1])


def rim_free(grid, size):
    filled = np.repeat(np.repeat(grid.closed.mask, size // SIZE, 0), size // SIZE, 1)
    return ndimage.binary_erosion(filled, iterations=size // 12)


@pytest.mark.parametrize("yaw", [-60, -35, 0, 35, 60])
def test_masks_have_no_specks_and_are_of_one_outline(sample_model, basis, grid, yaw):
    face = turned_face(sample_model, basis, grid, yaw)
    seen = seen_texels(face, 512)
    for part in (seen, ~seen):
        _, count = ndimage.label(part)
        assert count <= 6
        assert min(np.bincount(ndimage.label(part)[0].ravel())) > 0.0009 * 512**2
    assert seen[:, ::-1].mean() == pytest.approx(
        seen_texels(turned_face(sample_model, basis, grid, -yaw), 512).mean(), abs=0.02
    )


def test_the_far_side_is_hidden(sample_model, basis, grid):
    face = turned_face(sample_model, basis, grid, 50)
    landmarks = visible_landmarks(face)
    near, far = ([1, 2, 3, 4], [12, 13, 14, 15])
    if landmarks[far].any():
        near, far = far, near
    assert landmarks[near].all()
    assert not landmarks[far].any()
    assert visible_vertices(face).shape == (grid.mask.sum(),)
    assert not visibility_mask(face, 256)[~np.repeat(np.repeat(ndimage.binary_dilation(grid.mask), 2, 0), 2, 1)].any()


@pytest.mark.parametrize("yaw", [-50, 0, 50])
@pytest.mark.parametrize("colours", [skin, lit_skin])
def test_hidden_texels_come_from_the_mirrored_side(sample_model, basis, grid, yaw, colours):
    """No background in the texture, and colours near the true ones, though light falls from one side."""
    face = turned_face(sample_model, basis, grid, yaw)
    texture = complete_texture(face, painted(face, colours), 256).astype(float)
    truth = np.zeros((SIZE, SIZE, 3))
    truth[grid.closed.mask] = colours(grid.closed.uv)
    truth = np.repeat(np.repeat(truth, 2, 0), 2, 1)
    inner = rim_free(grid, 256)
    assert (texture[inner, 2] < 200).all()  # the background's blue is 255
    assert np.median(np.abs(texture - truth)[inner]) < (4 if colours is skin else 15)
    if yaw and colours is skin:
        raw = uv_texture(face, painted(face, colours), 256).astype(float)
        assert np.abs(texture - truth)[inner].mean() < 0.5 * np.abs(raw - truth)[inner].mean()


@pytest.mark.parametrize("yaw", [-60, 0, 60])
def test_a_mesh_that_reaches_too_far_takes_little_of_what_is_behind(sample_model, basis, grid, monkeypatch, yaw):
    """The mesh a twentieth larger than the painted face; its texture's share of the background's blue."""
    face = turned_face(sample_model, basis, grid, yaw)
    photo = painted(face, skin)
    middle = face.position_map[grid.mask].mean(axis=0)
    larger = place_face(middle + np.float32(1.05) * (face.position_map - middle), face.box, face.to_crop, grid)
    inner, shares = rim_free(grid, 256), []
    for doubt in (0.0, OUTLINE_DOUBT):
        monkeypatch.setattr("prnet.reconstructing.texture.OUTLINE_DOUBT", doubt)
        shares.append((complete_texture(larger, photo, 256)[inner, 2] > 180).mean())
    assert shares[1] < 0.5 * shares[0], shares


@pytest.mark.parametrize("yaw", [-40, 40])
def test_colours_of_the_mirrored_side_are_brought_to_those_of_the_face(sample_model, basis, grid, monkeypatch, yaw):
    """Where one side is lit and the other is not, the seam would show."""
    face = turned_face(sample_model, basis, grid, yaw)
    photo = painted(face, lambda uv: skin(uv) * np.where(uv[:, :1] > 0.5, 1.0, 0.6))
    matched = complete_texture(face, photo, 256).astype(float)
    monkeypatch.setattr("prnet.reconstructing.texture._colour_shift", lambda difference, weights: 0)
    unmatched = complete_texture(face, photo, 256).astype(float)
    true_shade = skin(grid.closed.uv) * np.where(grid.closed.uv[:, :1] > 0.5, 1.0, 0.6)
    truth = np.zeros((SIZE, SIZE, 3))
    truth[grid.closed.mask] = true_shade
    truth = np.repeat(np.repeat(truth, 2, 0), 2, 1)
    hidden = ~seen_texels(face, 256) & rim_free(grid, 256)
    assert np.abs(matched - truth)[hidden].mean() < 0.6 * np.abs(unmatched - truth)[hidden].mean()


def test_what_is_seen_well_is_the_photo_itself(sample_model, basis, grid):
    face = turned_face(sample_model, basis, grid, 30)
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    texture, raw = complete_texture(face, photo, 256), uv_texture(face, photo, 256)
    same = np.abs(texture.astype(int) - raw).max(axis=-1) <= 1
    assert same[rim_free(grid, 256)].mean() > 0.3
    assert not same.all()


def test_the_texture_side_goes_by_the_face_in_its_photo(sample_model, basis, grid):
    face = turned_face(sample_model, basis, grid, 0)
    assert texture_side(face) == 1024
    zoom = np.column_stack([4 * np.eye(2), np.zeros(2)])
    larger = restore_face(face.position_map * 4, face.box, np.linalg.inv(np.vstack([zoom, [0, 0, 1]]))[:2], grid)
    assert texture_side(larger) in (1024, 2048)
    assert texture_side(larger) == (2048 if max(larger.bounding_box[2:]) > 800 else 1024)


def test_sampling_a_texture_at_its_texels():
    texture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    row, column = np.mgrid[:64, :64]
    uv = np.column_stack([column.ravel() / 63, 1 - row.ravel() / 63])
    np.testing.assert_array_equal(sample_texture(texture, uv).reshape(64, 64, 3), texture)


def test_spreading_keeps_what_is_known_and_stays_within_it():
    known = np.zeros((100, 83), dtype=bool)
    known[10:30, 5:40] = known[70:90, 50:80] = True
    values = np.where(known, np.linspace(50, 200, 100)[:, None], 999.0)[..., None].astype(np.float32)
    result = spread(values, known)
    np.testing.assert_allclose(result[known], values[known], rtol=1e-5)
    assert result.min() >= values[known].min() - 0.01
    assert result.max() <= values[known].max() + 0.01
    assert np.abs(np.diff(result[..., 0], axis=0)).max() < 40
    assert not spread(values, np.zeros_like(known)).any()
