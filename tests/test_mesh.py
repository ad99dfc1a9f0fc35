"""Mesh boundaries and normals on meshes small enough to know by heart."""

import numpy as np

from prnet.geometry.mesh import boundary_edges, boundary_loops, vertex_normals
from prnet.geometry.uv_layout import grid_triangles


def test_a_grid_with_a_hole_has_two_boundaries_the_outer_first():
    mask = np.ones((9, 9), dtype=bool)
    mask[4, 4] = False
    outer, inner = boundary_loops(grid_triangles(mask))
    assert len(outer) == 32
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(80)
    assert set(inner) == {index[3, 4], index[4, 3], index[5, 4], index[4, 5], index[3, 5], index[5, 3]}


def test_boundary_edges_keep_the_direction_of_their_triangle():
    assert {tuple(edge) for edge in boundary_edges(np.array([[0, 1, 2], [2, 1, 3]]))} == {
        (0, 1),
        (2, 0),
        (1, 3),
        (3, 2),
    }


def test_normals_of_a_sphere_point_outwards():
    angle, height = np.meshgrid(np.linspace(0.2, 3.0, 40), np.linspace(-0.9, 0.9, 40))
    radius = np.sqrt(1 - height**2)
    sphere = np.stack([-np.cos(angle) * radius, -height, np.sin(angle) * radius], axis=-1).reshape(-1, 3)
    triangles = grid_triangles(np.ones(angle.shape, dtype=bool))
    inner = np.ones(angle.shape, dtype=bool)
    inner[[0, -1]] = inner[:, [0, -1]] = False
    np.testing.assert_allclose(vertex_normals(sphere, triangles)[inner.ravel()], sphere[inner.ravel()], atol=0.02)


def test_a_loose_vertex_has_no_normal():
    normals = vertex_normals(np.eye(4, 3), np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(normals[3], 0)
    np.testing.assert_allclose(np.linalg.norm(normals[:3], axis=1), 1, rtol=1e-6)
