"""Triangle meshes: boundaries and normals."""

import numpy as np


def boundary_edges(triangles: np.ndarray) -> np.ndarray:
    """Directed edges (E, 2) that belong to one triangle only, in that triangle's direction."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    count = edges.max() + 1
    forward, backward = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    return edges[~np.isin(forward, backward)]


def boundary_loops(triangles: np.ndarray, vertices: np.ndarray | None = None) -> list[np.ndarray]:
    """Closed boundaries of a mesh, each an array of vertices in the direction of its triangles.

    The longest comes first: by its length where the vertices (V, 3) are given, else by its number of edges.
    """
    following = {int(start): int(end) for start, end in boundary_edges(triangles)}
    loops = []
    while following:
        start, vertex = following.popitem()
        loop = [start]
        while vertex != start:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(np.array(loop))
    return sorted(loops, key=len if vertices is None else lambda loop: _length(vertices[loop]), reverse=True)


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) float32, each the area-weighted mean of its triangles' normals; zero for a loose vertex."""
    corners = vertices[triangles].astype(np.float64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [
            np.bincount(triangles.ravel(), weights=np.repeat(faces[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=-1,
    )
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return (normals / np.where(length > 0, length, 1)).astype(np.float32)


def facing_outwards(triangles: np.ndarray, nose_normal: np.ndarray) -> np.ndarray:
    """The triangles of a face, counter-clockwise as seen from outside. nose_normal : (3,), what they make at the tip of
    the nose, z towards the viewer: it should point at us."""
    return triangles if nose_normal[2] > 0 else np.ascontiguousarray(triangles[:, ::-1])
