"""Meshes written and read back, by trimesh and by SciPy."""

import numpy as np
import pytest

from prnet.geometry.crop import Box, crop_transform
from prnet.geometry.position_map import layout_of_model
from prnet.reconstructing.face import face_grid, restore_face
from prnet.reconstructing.mesh_files import face_mesh, mat_fields, write_mesh
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
    np.testing.assert_allclose(again.vertices, mesh.vertices, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(again.faces, mesh.triangles)


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_the_texture_goes_with_its_coordinates(mesh, tmp_path, suffix):
    again = read_back(write_mesh(mesh, tmp_path / f"face.{suffix}")[0])
    np.testing.assert_allclose(again.visual.uv, mesh.uv, atol=1e-5)
    material = again.visual.material
    texture = np.asarray(material.image if suffix == "obj" else material.baseColorTexture)
    np.testing.assert_array_equal(texture[..., :3], mesh.texture)


def test_vertex_colours_go_with_a_ply(mesh, tmp_path):
    again = read_back(write_mesh(mesh, tmp_path / "face.ply")[0])
    np.testing.assert_array_equal(again.visual.vertex_colors[:, :3], mesh.colours)


def test_texture_coordinates_meet_their_texels(face, photo):
    """At a texel's centre the texture holds the vertex's own colour where texels and vertices coincide."""
    mesh = face_mesh(face, photo, texture_size=SIZE)
    column = mesh.uv[:, 0] * SIZE - 0.5
    row = (1 - mesh.uv[:, 1]) * SIZE - 0.5
    np.testing.assert_allclose(column, np.rint(column), atol=1e-3)
    texels = mesh.texture[np.rint(row).astype(int), np.rint(column).astype(int)]
    np.testing.assert_array_equal(texels, mesh.colours)


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
