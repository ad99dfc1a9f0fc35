"""Meshes written and read back, by trimesh and by SciPy."""

from dataclasses import replace

import numpy as np
import pytest

from prnet.geometry.crop import Box, crop_transform
from prnet.geometry.position_map import layout_of_model
from prnet.reconstructing.face import face_grid, restore_face
from prnet.reconstructing.mesh_files import METRES_BETWEEN, face_mesh, mat_fields, write_mesh, write_together
from tests.helpers.perfect_network import mean_face_map

SIZE = 128


@pytest.fixture(scope="module")
def face(sample_model):
    layout = layout_of_model(sample_model)
    box = Box(np.array([90.0, 80.0]), 70.0)
    return restore_face(mean_face_map(layout, SIZE), box, crop_transform(box, SIZE), face_grid(layout, SIZE))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (200, 180, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def mesh(face, photo):
    return face_mesh(face, photo)


def read_back(path):
    import trimesh

    return trimesh.load(path, process=False, force="mesh", maintain_order=True)


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_what_is_written_is_read_back(mesh, tmp_path, suffix):
    written = write_mesh(mesh, tmp_path / f"face.{suffix}")
    assert all(path.is_file() for path in written)
    again = read_back(written[0])
    expected = mesh.in_metres().vertices if suffix == "glb" else mesh.vertices
    np.testing.assert_allclose(again.vertices, expected, rtol=1e-5, atol=1e-7 if suffix == "glb" else 1e-3)
    np.testing.assert_array_equal(again.faces, mesh.triangles)


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_the_texture_goes_with_its_coordinates(mesh, tmp_path, suffix):
    again = read_back(write_mesh(mesh, tmp_path / f"face.{suffix}")[0])
    np.testing.assert_allclose(again.visual.uv, mesh.uv, atol=1e-5)
    material = again.visual.material
    texture = np.asarray(material.image if suffix == "obj" else material.baseColorTexture)
    np.testing.assert_array_equal(texture[..., :3], mesh.texture.pixels)


def test_vertex_colours_go_with_a_ply(mesh, tmp_path):
    again = read_back(write_mesh(mesh, tmp_path / "face.ply")[0])
    np.testing.assert_array_equal(again.visual.vertex_colors[:, :3], mesh.colours)


def test_a_glb_in_pixels_is_as_the_face_lies_in_its_photo(mesh, tmp_path):
    again = read_back(write_mesh(mesh, tmp_path / "face.glb", units="pixels")[0])
    np.testing.assert_allclose(again.vertices, mesh.vertices, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("frontal", [False, True])
def test_metres_are_centred_upright_and_of_a_face(sample_model, photo, frontal):
    """However the face lies in its photo: turned, far from the middle, of any size."""
    layout, box = layout_of_model(sample_model), Box(np.array([60.0, 130.0]), 55.0)
    grid, angle = face_grid(layout, SIZE), np.deg2rad(100)
    face = restore_face(mean_face_map(layout, SIZE), box, crop_transform(box, SIZE, angle=angle), grid)
    metres = face_mesh(face, photo, frontal=frontal).in_metres()
    np.testing.assert_allclose(metres.vertices.mean(axis=0), 0, atol=1e-6)
    assert 0.12 < np.ptp(metres.vertices[:, 1]) < 0.25
    chin, brow, nose, left, right = metres.vertices[grid.landmark_vertices[[8, 19, 30, 36, 45]]]
    assert chin[1] < nose[1] < brow[1]
    assert nose[2] > chin[2]
    assert np.linalg.norm(right - left) == pytest.approx(METRES_BETWEEN, rel=0.05)  # vertices near the landmarks
    assert right[0] - left[0] == pytest.approx(METRES_BETWEEN, rel=0.05)


def test_texture_coordinates_meet_their_texels(face, photo):
    """At a texel's centre the texture holds the vertex's own colour, within the rim, where both coincide."""
    mesh = face_mesh(face, photo, texture_size=SIZE)
    column = mesh.uv[:, 0] * SIZE - 0.5
    row = (1 - mesh.uv[:, 1]) * SIZE - 0.5
    exact = (np.abs(column - np.rint(column)) < 1e-4) & (np.abs(row - np.rint(row)) < 1e-4)
    assert exact.mean() > 0.6
    texels = mesh.texture.pixels[np.rint(row).astype(int), np.rint(column).astype(int)]
    assert np.abs(texels[exact].astype(int) - mesh.colours[exact]).max() <= 1


def test_the_faces_of_a_photo_in_one_file(face, mesh, tmp_path):
    import trimesh

    other = replace(mesh, vertices=mesh.vertices + np.float32((90, 20, 40)))
    path = write_together([mesh, other], tmp_path / "faces.glb")
    scene = trimesh.load(path, process=False)
    assert sorted(scene.geometry) == ["face0", "face1"]
    first, second = (scene.geometry[name].vertices for name in sorted(scene.geometry))
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-5)
    scale = np.ptp(first[:, 0]) / np.ptp(mesh.vertices[:, 0])
    np.testing.assert_allclose((second - first) / scale, np.broadcast_to((90, 20, 0), first.shape), atol=0.05)
    both = read_back(write_together([mesh, other], tmp_path / "faces.ply"))
    np.testing.assert_allclose(both.vertices[: len(mesh.vertices)], mesh.vertices, rtol=1e-5, atol=1e-3)
    assert len(both.faces) == 2 * len(mesh.triangles)


def test_viewers_see_it_upright_and_from_outside(face, mesh, photo):
    import trimesh

    chin, brow, nose = face.grid.landmark_vertices[[8, 19, 30]]
    for each in (mesh, face_mesh(face, photo, frontal=True)):
        assert each.vertices[chin, 1] < each.vertices[brow, 1]
        assert each.vertices[nose, 2] > each.vertices[chin, 2]
        normals = trimesh.Trimesh(each.vertices, each.triangles, process=False).vertex_normals
        assert normals[nose, 2] > 0.7
    x, y = face.vertices[nose, :2]
    np.testing.assert_allclose(mesh.vertices[nose, :2], (x, photo.shape[0] - 1 - y), rtol=1e-5)


def test_the_mat_file_has_the_fields_of_prnet_keras(face, photo, tmp_path):
    from scipy.io import loadmat

    from prnet.reconstructing.mesh_files import mat_bytes

    (tmp_path / "face.mat").write_bytes(mat_bytes(face, photo))
    read, fields = loadmat(tmp_path / "face.mat"), mat_fields(face, photo)
    assert set(fields) == {"vertices", "colors", "full_triangles", "vertex_normals", "kptIdxs", "bounding_box"}
    for name, value in fields.items():
        np.testing.assert_array_equal(read[name].squeeze(), value)
    landmarks = read["vertices"][read["kptIdxs"].ravel()]
    np.testing.assert_allclose(landmarks[:, 0], face.landmarks[:, 0], atol=1.5)
    np.testing.assert_allclose(photo.shape[0] - 1 - landmarks[:, 1], face.landmarks[:, 1], atol=1.5)
    assert read["colors"].max() <= 1
    low, high = read["bounding_box"].ravel()[:3], read["bounding_box"].ravel()[3:]
    np.testing.assert_array_equal(low, read["vertices"].min(axis=0))
    np.testing.assert_array_equal(high, read["vertices"].max(axis=0))
