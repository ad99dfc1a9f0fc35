"""Meshes as files for viewers: Wavefront OBJ with a texture, PLY with vertex colours, glTF binary, MATLAB.

In the files x points right, y up and z to the viewer, the triangles are counter-clockwise as seen from outside. A
face in its photo keeps the photo's pixels as its unit, with y counted up from the photo's last row; a frontal one has
the axes and the unit of the canonical face. A glTF file is upright, looks at the viewer and is in metres.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prnet.common.files import atomic_write, plain_name
from prnet.configure.config import OUTER_EYE_CORNERS
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.transforms import FLIP_Y, apply_transform
from prnet.reconstructing.face import Face, FaceGrid
from prnet.reconstructing.gltf import Part, glb_bytes
from prnet.reconstructing.morphs import Morphs, face_morphs
from prnet.reconstructing.texture import Texture, complete_texture, sample_texture, texture_side, vertex_colours

METRES_BETWEEN = 0.0892
"""How far apart the outer corners of the eyes are taken to be, since a photo does not know its scale: as in
ICT-FaceKit's mean face."""


@dataclass(frozen=True)
class Mesh:
    """A textured triangle mesh in the axes of viewers."""

    vertices: np.ndarray  # (N, 3) float32, x right, y up, z to the viewer
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise as seen from outside
    uv: np.ndarray  # (N, 2) float32, image convention of viewers: (0, 0) the texture's lower left corner
    colours: np.ndarray  # (N, 3) uint8 RGB
    texture: Texture
    to_metres: np.ndarray  # (3, 4) float64: the face upright, looking at the viewer, in metres about its centroid
    morphs: Morphs | None = None  # expressions, in the unit of the vertices

    def in_metres(self) -> "Mesh":
        """The face upright, looking at the viewer, in metres about its centroid."""
        linear = self.to_metres[:, :3]
        return replace(
            self,
            vertices=apply_transform(self.to_metres, self.vertices).astype(np.float32),
            to_metres=np.eye(3, 4),
            morphs=None if self.morphs is None else self.morphs.mapped(linear),
        )


def face_mesh(
    face: Face,
    image: np.ndarray,
    *,
    frontal: bool = False,
    texture_size: int | None = None,
    texture: Texture | None = None,
    with_morphs: bool = False,
) -> Mesh:
    """The mesh of a face with the colours of its photo (H, W, 3) uint8 RGB, its rim a smooth contour.

    Eyes and mouth are closed: the vertices that do so come after the face's own, which keep their order.

    frontal : turned to the viewer. texture_size : side in pixels, by default as `texture_side` says. texture : of
    `complete_texture`, where it is made already. with_morphs : with the network's expressions, where it has them.
    """
    closed = face.grid.closed
    if texture is None:
        texture = Texture(complete_texture(face, image, texture_size or texture_side(face)))
    to_viewer = face.to_frontal_transform if frontal else _upright(image.shape[0])
    vertices = apply_transform(to_viewer, closed.in_files(face.vertices)).astype(np.float32)
    morphs = face_morphs(face) if with_morphs else None
    return Mesh(
        vertices=vertices,
        triangles=closed_triangles(face.grid),
        uv=texture_uv(face.grid, len(texture.pixels)),
        colours=sample_texture(texture.pixels, closed.uv[closed.face_first]),
        texture=texture,
        to_metres=_metres(face, vertices, to_viewer),
        morphs=None if morphs is None else morphs.mixed(closed.in_files).mapped(to_viewer[:, :3]),
    )


def closed_triangles(grid: FaceGrid) -> np.ndarray:
    """Triangles (T, 3) int32 of the closed face, whose own vertices come first."""
    return np.argsort(grid.closed.face_first)[grid.closed.triangles].astype(np.int32)


def texture_uv(grid: FaceGrid, side: int) -> np.ndarray:
    """Texture coordinates (M, 2) float32 of the same vertices, (0, 0) the lower left corner of the lower left texel."""
    return ((grid.closed.uv[grid.closed.face_first] * (side - 1) + 0.5) / side).astype(np.float32)


def _upright(height: int) -> np.ndarray:
    """Pixels of a photo to the axes of viewers: y counted up from the last row."""
    return np.column_stack([np.diag(FLIP_Y), (0, height - 1, 0)])


def _metres(face: Face, vertices: np.ndarray, to_viewer: np.ndarray) -> np.ndarray:
    """To metres, of the vertices that `to_viewer` made of the face's."""
    turned = np.linalg.inv(to_viewer[:, :3])
    turned = face.to_frontal_transform[:, :3] @ turned  # to the canonical face's axes
    eyes = apply_transform(face.to_frontal_transform, face.landmarks[list(OUTER_EYE_CORNERS)])
    linear = turned * METRES_BETWEEN / max(float(np.linalg.norm(eyes[0] - eyes[1])), 1e-9)
    return np.column_stack([linear, -linear @ vertices.mean(axis=0)])


def write_mesh(mesh: Mesh, path, *, units: str = "metres") -> list[Path]:
    """Write a mesh in the format that the path's suffix names. Returns the files written, `path` first.

    units : of a `.glb`, "metres", upright and centred, or "pixels", as the mesh is; the other forms are always that.
    """
    path = Path(path)
    if path.suffix == ".glb":
        return _write_glb(mesh.in_metres() if units == "metres" else mesh, path, units)
    return {".obj": _write_obj, ".ply": _write_ply}[path.suffix](mesh, path)


def _write_obj(mesh: Mesh, path: Path) -> list[Path]:
    stem = plain_name(path.stem)  # the files name each other, each in one line
    material, texture = path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}_texture.png")
    with atomic_write(texture) as temporary:
        temporary.write_bytes(mesh.texture.png)
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
    with atomic_write(path) as temporary:
        temporary.write_bytes(_ply_bytes(mesh.vertices, mesh.triangles, mesh.colours))
    return [path]


def _ply_bytes(vertices: np.ndarray, triangles: np.ndarray, colours: np.ndarray) -> bytes:
    """A binary PLY file (Turk, 1994)."""
    corner = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    corners = np.empty(len(vertices), corner)
    corners["place"], corners["colour"] = vertices, colours
    faces = np.empty(len(triangles), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"], faces["corners"] = 3, triangles
    properties = [*(f"float {axis}" for axis in "xyz"), *(f"uchar {colour}" for colour in ("red", "green", "blue"))]
    header = [
        *("ply", "format binary_little_endian 1.0", f"element vertex {len(corners)}"),
        *(f"property {each}" for each in properties),
        *(f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""),
    ]
    return "\n".join(header).encode() + corners.tobytes() + faces.tobytes()


def _write_glb(mesh: Mesh, path: Path, units: str) -> list[Path]:
    with atomic_write(path) as temporary:
        temporary.write_bytes(glb_bytes([mesh_part(mesh, "face")], file_notes(units)))
    return [path]


def mesh_part(mesh: Mesh, name: str) -> Part:
    """A mesh as a part of a glTF file."""
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    return Part(name, mesh.vertices, mesh.triangles, normals, mesh.uv, mesh.texture, mesh.morphs)


def write_together(meshes: Sequence[Mesh], path, *, units: str = "metres") -> Path:
    """Write the faces of one photo, as they stand in it, to one `.glb` (nodes face0, face1, ...) or `.ply`.

    In metres they have one scale, the mean of what their eyes say, and the first face's centroid is the origin; how
    far one face is behind another a photo does not say, so all centroids have the same depth.
    """
    path = Path(path)
    depths = [mesh.vertices[:, 2].mean() for mesh in meshes]
    moved = [mesh.vertices + np.array([0, 0, depths[0] - z]) for mesh, z in zip(meshes, depths, strict=True)]
    if path.suffix == ".ply":
        return _write_together_ply(meshes, moved, path)
    scale, origin = 1.0, np.zeros(3)
    if units == "metres":
        scale = float(np.mean([np.cbrt(np.linalg.det(mesh.to_metres[:, :3])) for mesh in meshes]))
        origin = moved[0].mean(axis=0)
    placed = [
        replace(mesh, vertices=((place - origin) * scale).astype(np.float32), morphs=_scaled(mesh.morphs, scale))
        for mesh, place in zip(meshes, moved, strict=True)
    ]
    parts = [mesh_part(mesh, f"face{number}") for number, mesh in enumerate(placed)]
    with atomic_write(path) as temporary:
        temporary.write_bytes(glb_bytes(parts, file_notes(units)))
    return path


def _scaled(morphs: Morphs | None, scale: float) -> Morphs | None:
    return None if morphs is None else morphs.mapped(scale * np.eye(3))


def _write_together_ply(meshes: Sequence[Mesh], moved: Sequence[np.ndarray], path: Path) -> Path:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    triangles = [mesh.triangles + start for mesh, start in zip(meshes, starts[:-1], strict=True)]
    with atomic_write(path) as temporary:
        colours = np.concatenate([mesh.colours for mesh in meshes])
        temporary.write_bytes(_ply_bytes(np.concatenate(moved), np.concatenate(triangles), colours))
    return path


def file_notes(units: str) -> dict[str, str]:
    """What a glTF file says of its unit."""
    scale = f"by convention: {METRES_BETWEEN} m between the outer corners of the eyes"
    return {"unit": "metre", "scale": scale} if units == "metres" else {"unit": "pixel of the photo"}


def mat_fields(face: Face, image: np.ndarray) -> dict[str, np.ndarray]:
    """A face in the fields of PRNet-keras' server, y counted up from the photo's last row, indices from 0.

    vertices (N, 3), colors (N, 3) in 0 to 1 and vertex_normals (N, 3) float32, full_triangles (T, 3) and kptIdxs
    (68,) int32, bounding_box (6,) float32: the least x, y, z and the greatest.
    """
    vertices = apply_transform(_upright(image.shape[0]), face.vertices).astype(np.float32)
    return {
        "vertices": vertices,
        "colors": vertex_colours(face, image).astype(np.float32) / 255,
        "full_triangles": face.triangles,
        "vertex_normals": vertex_normals(vertices, face.triangles),
        "kptIdxs": face.grid.landmark_vertices,
        "bounding_box": np.concatenate([vertices.min(axis=0), vertices.max(axis=0)]),
    }


def mat_bytes(face: Face, image: np.ndarray) -> bytes:
    """A MATLAB file of `mat_fields`."""
    from scipy.io import savemat

    with io.BytesIO() as file:
        savemat(file, mat_fields(face, image), do_compression=True)
        return file.getvalue()
