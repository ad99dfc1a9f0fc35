"""Meshes as files for viewers: Wavefront OBJ with a texture, PLY with vertex colours, glTF binary, MATLAB.

In the files x points right, y up and z to the viewer, the triangles are counter-clockwise as seen from outside. A
face in its photo keeps the photo's pixels as its unit, with y counted up from the photo's last row; a frontal one has
the axes and the unit of the canonical face.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from prnet.common.files import atomic_write, plain_name
from prnet.formats.encoding import encode_png
from prnet.geometry.mesh import vertex_normals
from prnet.reconstructing.face import FLIP_Y, Face
from prnet.reconstructing.texture import uv_texture, vertex_colours


@dataclass(frozen=True)
class Mesh:
    """A textured triangle mesh in the axes of viewers."""

    vertices: np.ndarray  # (N, 3) float32, x right, y up, z to the viewer
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise as seen from outside
    uv: np.ndarray  # (N, 2) float32, image convention of viewers: (0, 0) the texture's lower left corner
    colours: np.ndarray  # (N, 3) uint8 RGB
    texture: np.ndarray  # (size, size, 3) uint8 RGB


def face_mesh(face: Face, image: np.ndarray, *, frontal: bool = False, texture_size: int = 256) -> Mesh:
    """The mesh of a face with the colours of its photo (H, W, 3) uint8 RGB; frontal : turned to the viewer."""
    last_row = image.shape[0] - 1
    return Mesh(
        vertices=face.frontal_vertices if frontal else (face.vertices * FLIP_Y + (0, last_row, 0)).astype(np.float32),
        triangles=face.triangles,
        uv=(face.grid.uv * (texture_size - 1) + np.float32(0.5)) / texture_size,
        colours=vertex_colours(face, image),
        texture=uv_texture(face, image, texture_size),
    )


def write_mesh(mesh: Mesh, path) -> list[Path]:
    """Write a mesh in the format that the path's suffix names. Returns the files written, `path` first."""
    path = Path(path)
    return {".obj": _write_obj, ".ply": _write_ply, ".glb": _write_glb}[path.suffix](mesh, path)


def _write_obj(mesh: Mesh, path: Path) -> list[Path]:
    stem = plain_name(path.stem)  # the files name each other, each in one line
    material, texture = path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}_texture.png")
    with atomic_write(texture) as temporary:
        temporary.write_bytes(encode_png(mesh.texture))
    with atomic_write(material) as temporary:
        temporary.write_text(
            f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture.name}\n", encoding="utf-8"
        )
    corners = np.repeat(mesh.triangles + 1, 2, axis=1)
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f"mtllib {material.name}\nusemtl face\n")
        file.write(_lines("v %.6g %.6g %.6g\n", mesh.vertices))
        file.write(_lines("vt %.6g %.6g\n", mesh.uv))
        file.write(_lines("f %d/%d %d/%d %d/%d\n", corners))
    return [path, material, texture]


def _lines(pattern: str, rows: np.ndarray) -> str:
    return (pattern * len(rows)) % tuple(rows.ravel().tolist())


def _write_ply(mesh: Mesh, path: Path) -> list[Path]:
    import trimesh

    with atomic_write(path) as temporary:
        coloured = trimesh.Trimesh(mesh.vertices, mesh.triangles, vertex_colors=mesh.colours, process=False)
        temporary.write_bytes(cast(bytes, coloured.export(file_type="ply")))
    return [path]


def _write_glb(mesh: Mesh, path: Path) -> list[Path]:
    import trimesh
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(mesh.texture), metallicFactor=0.0, roughnessFactor=1.0
    )
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    with atomic_write(path) as temporary:
        textured = trimesh.Trimesh(mesh.vertices, mesh.triangles, visual=visual, process=False)
        temporary.write_bytes(cast(bytes, textured.export(file_type="glb")))
    return [path]


def mat_fields(face: Face, image: np.ndarray) -> dict[str, np.ndarray]:
    """A face in the fields of PRNet-keras' server, y counted up from the photo's last row, indices from 0.

    vertices (N, 3), colors (N, 3) in 0 to 1 and vertex_normals (N, 3) float32, full_triangles (T, 3) and kptIdxs
    (68,) int32, bounding_box (6,) float32: the least x, y, z and the greatest.
    """
    mesh = face_mesh(face, image)
    return {
        "vertices": mesh.vertices,
        "colors": mesh.colours.astype(np.float32) / 255,
        "full_triangles": mesh.triangles,
        "vertex_normals": vertex_normals(mesh.vertices, mesh.triangles),
        "kptIdxs": face.grid.landmark_vertices,
        "bounding_box": np.concatenate([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)]),
    }


def mat_bytes(face: Face, image: np.ndarray) -> bytes:
    """A MATLAB file of `mat_fields`."""
    from scipy.io import savemat

    with io.BytesIO() as file:
        savemat(file, mat_fields(face, image), do_compression=True)
        return file.getvalue()
