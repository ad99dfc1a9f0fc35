"""glTF binary files (Khronos glTF 2.0): textured meshes in metres with morph targets, and their animation.

Written here and not by a library, whose import costs more than a photo's reconstruction.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prnet import __version__
from prnet.reconstructing.morphs import Morphs
from prnet.reconstructing.texture import Texture

UNLIT = "KHR_materials_unlit"
"""The extension for materials whose texture holds the light already, as a photo's does."""

LEAST_CHANGE = 2e-5
"""Of a mesh's largest side: morph targets leave out vertices that move by less; half of all do."""

FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
VERTICES, INDICES = 34962, 34963
TRIANGLES = 4
"""glTF's codes for kinds of numbers, for what a view of the buffer holds, and for a primitive of triangles."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How one mesh moves over F frames."""

    seconds: np.ndarray  # (F,) float32, rising
    rotations: np.ndarray  # (F, 4) float32, unit quaternions x, y, z, w
    translations: np.ndarray  # (F, 3) float32
    weights: np.ndarray | None  # (F, E) float32, of the morph targets


@dataclass(frozen=True, eq=False)
class Part:
    """One mesh of a file, a node of its name; x right, y up, z to the viewer."""

    name: str
    vertices: np.ndarray  # (N, 3) float32, with all morph targets at their weights
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise as seen from outside
    normals: np.ndarray  # (N, 3) float32
    uv: np.ndarray  # (N, 2) float32, v up
    texture: Texture
    morphs: Morphs | None = None
    motion: Motion | None = None


class _Contents:
    """A file that is being put together: its tree, and the pieces of its buffer."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.tree: dict = {name: [] for name in ("nodes", "meshes", "materials", "textures", "images")}
        self.tree |= {"accessors": [], "bufferViews": []}

    def add(self, kind: str, entry: dict) -> int:
        """The place of a new entry."""
        self.tree[kind].append(entry)
        return len(self.tree[kind]) - 1

    def add_bytes(self, content: bytes, target: int | None = None) -> int:
        start = sum(map(len, self.pieces))
        self.pieces.append(content + bytes(-len(content) % 4))
        view = {"buffer": 0, "byteOffset": start, "byteLength": len(content)}
        return self.add("bufferViews", view if target is None else {**view, "target": target})

    def add_array(self, values: np.ndarray, kind: str, target: int | None = None) -> int:
        values = np.ascontiguousarray(values, dtype=np.float32)
        return self.add(
            "accessors", {**_accessor_of(values, kind), "bufferView": self.add_bytes(values.tobytes(), target)}
        )

    def to_bytes(self) -> bytes:
        """The file: a header, and two chunks in multiples of four bytes."""
        buffer = b"".join(self.pieces)
        tree = {**{name: value for name, value in self.tree.items() if value}, "buffers": [{"byteLength": len(buffer)}]}
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = [struct.pack("<I4s", len(part), kind) + part for part, kind in ((text, b"JSON"), (buffer, b"BIN\0"))]
        return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, chunks))) + b"".join(chunks)


def glb_bytes(parts: Sequence[Part], notes: dict | None = None) -> bytes:
    """A glTF binary file of meshes, each with its material and texture. notes : for the file's `asset.extras`."""
    file = _Contents()
    for part in parts:
        file.add("nodes", {"name": part.name, "mesh": _add_mesh(part, file)})
    moving = [(part, node) for node, part in enumerate(parts) if part.motion is not None]
    file.tree |= {
        "asset": {"version": "2.0", "generator": f"prnet {__version__}", **({"extras": notes} if notes else {})},
        "extensionsUsed": [UNLIT],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}],
        "animations": [_animation(moving, file)] if moving else [],
    }
    return file.to_bytes()


def _add_mesh(part: Part, file: _Contents) -> int:
    rest = part.vertices if part.morphs is None else part.morphs.rest(part.vertices)
    normals = np.where(part.normals.any(axis=1, keepdims=True), part.normals, (0, 0, 1))  # none: loose
    corners = part.triangles.astype("<u4").ravel()
    primitive = {
        "attributes": {
            "POSITION": file.add_array(rest, "VEC3", VERTICES),
            "NORMAL": file.add_array(normals, "VEC3", VERTICES),
            "TEXCOORD_0": file.add_array(part.uv * (1, -1) + (0, 1), "VEC2", VERTICES),  # v down
        },
        "indices": file.add(
            "accessors",
            {
                "bufferView": file.add_bytes(corners.tobytes(), INDICES),
                "componentType": UNSIGNED_INT,
                "type": "SCALAR",
                "count": len(corners),
            },
        ),
        "material": _add_material(part, file),
        "mode": TRIANGLES,
    }
    mesh: dict = {"name": part.name, "primitives": [primitive]}
    if part.morphs is not None:
        _add_targets(mesh, part, file)
    return file.add("meshes", mesh)


def _add_material(part: Part, file: _Contents) -> int:
    """An unlit material with the part's texture, and for viewers that know none, a matt one."""
    view = file.add_bytes(part.texture.png)
    image = file.add("images", {"name": part.name, "mimeType": "image/png", "bufferView": view})
    texture = file.add("textures", {"source": image})
    matt = {"baseColorTexture": {"index": texture}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    return file.add("materials", {"name": part.name, "pbrMetallicRoughness": matt, "extensions": {UNLIT: {}}})


def _add_targets(mesh: dict, part: Part, file: _Contents) -> None:
    morphs = part.morphs
    assert morphs is not None
    least = LEAST_CHANGE * np.ptp(part.vertices, axis=0).max()
    targets = [{"POSITION": _append_changes(changes, least, file)} for changes in morphs.changes]
    mesh["primitives"][0]["targets"] = targets
    mesh["weights"] = [float(weight) for weight in morphs.weights]
    mesh["extras"] = {**mesh.get("extras", {}), "targetNames": list(morphs.names)}


def _append_changes(changes: np.ndarray, least: float, file: _Contents) -> int:
    """A sparse accessor: only the vertices that move are stored."""
    moved = np.flatnonzero(np.linalg.norm(changes, axis=1) > least)
    kept = np.zeros_like(changes, dtype=np.float32)
    kept[moved] = changes[moved]
    accessor = _accessor_of(kept, "VEC3")
    if len(moved):
        narrow = len(changes) <= 1 << 16
        index = moved.astype("<u2" if narrow else "<u4")
        accessor["sparse"] = {
            "count": len(moved),
            "indices": {
                "bufferView": file.add_bytes(index.tobytes()),
                "componentType": UNSIGNED_SHORT if narrow else UNSIGNED_INT,
            },
            "values": {"bufferView": file.add_bytes(kept[moved].tobytes())},
        }
    return file.add("accessors", accessor)


def _animation(moving: Sequence[tuple[Part, int]], file: _Contents) -> dict:
    animation: dict = {"name": "video", "channels": [], "samplers": []}
    for part, node in moving:
        motion = part.motion
        assert motion is not None
        seconds = file.add_array(motion.seconds[:, None], "SCALAR")
        paths = {"rotation": (motion.rotations, "VEC4"), "translation": (motion.translations, "VEC3")}
        if motion.weights is not None:
            paths["weights"] = (motion.weights.reshape(-1, 1), "SCALAR")
        for path, (values, kind) in paths.items():
            output = file.add_array(values, kind)
            animation["channels"].append(
                {"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}}
            )
            animation["samplers"].append({"input": seconds, "interpolation": "LINEAR", "output": output})
    return animation


def _accessor_of(values: np.ndarray, kind: str) -> dict:
    """All of an accessor but where its values lie. values : (n, c) float32."""
    columns = np.ascontiguousarray(values.T)  # over long rows NumPy is ten times faster
    low, high = columns.min(axis=1), columns.max(axis=1)
    return {
        "componentType": FLOAT,
        "type": kind,
        "count": len(values),
        "min": [float(value) for value in low],
        "max": [float(value) for value in high],
    }
