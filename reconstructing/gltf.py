"""glTF binary files (Khronos glTF 2.0): textured meshes in metres with morph targets, and their animation.

trimesh writes the meshes; textures as they are encoded here, morph targets
and animations are added in its hooks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prnet import __version__
from prnet.formats.encoding import encode_png
from prnet.reconstructing.morphs import Morphs

UNLIT = "KHR_materials_unlit"
"""The extension for materials whose texture holds the light already, as a photo's does."""

LEAST_CHANGE = 2e-5
"""Of a mesh's largest side: morph targets leave out vertices that move by less; half of all do."""

FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
VERTICES, INDICES = 34962, 34963
"""glTF's codes for kinds of numbers, and for what a view of the buffer holds."""


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
    texture: np.ndarray  # (size, size, 3) uint8 RGB
    morphs: Morphs | None = None
    motion: Motion | None = None


def glb_bytes(parts: Sequence[Part], notes: dict | None = None) -> bytes:
    """A glTF binary file of meshes, each with its material and texture. notes : for the file's `asset.extras`."""
    import trimesh

    scene = trimesh.Scene()
    for part in parts:
        scene.add_geometry(_trimesh(part), node_name=part.name, geom_name=part.name)
    return trimesh.exchange.gltf.export_glb(
        scene,
        include_normals=True,
        buffer_postprocessor=lambda buffers, tree: _complete(parts, buffers, tree),
        tree_postprocessor=lambda tree: _describe(tree, notes),
    )


def _trimesh(part: Part):
    import trimesh

    return trimesh.Trimesh(
        part.vertices if part.morphs is None else part.morphs.rest(part.vertices),
        part.triangles,
        vertex_normals=np.where(part.normals.any(axis=1, keepdims=True), part.normals, (0, 0, 1)),  # none: loose
        visual=trimesh.visual.TextureVisuals(uv=part.uv, material=trimesh.visual.material.PBRMaterial()),
        process=False,
    )


def _describe(tree: dict, notes: dict | None) -> None:
    tree["asset"] = {"version": "2.0", "generator": f"prnet {__version__}", **({"extras": notes} if notes else {})}
    tree["extensionsUsed"] = [UNLIT]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            for accessor in primitive["attributes"].values():
                _view_of(accessor, tree)["target"] = VERTICES
            _view_of(primitive["indices"], tree)["target"] = INDICES


def _view_of(accessor: int, tree: dict) -> dict:
    return tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]


def _complete(parts: Sequence[Part], buffers, tree: dict) -> None:
    """Add textures, morph targets and animations to what trimesh is about to write."""
    meshes = {mesh["name"]: mesh for mesh in tree["meshes"]}
    for kind in ("materials", "textures", "images"):
        tree[kind] = []
    for part in parts:
        _add_material(meshes[part.name], part, buffers, tree)
        if part.morphs is not None:
            _add_targets(meshes[part.name], part, buffers, tree)
    channels = [(part, node) for part in parts for node in _nodes(tree, part.name) if part.motion is not None]
    if channels:
        tree["animations"] = [_animation(channels, buffers, tree)]


def _add_material(mesh: dict, part: Part, buffers, tree: dict) -> None:
    """An unlit material with the part's texture, and for viewers that know none, a matt one."""
    number = len(tree["materials"])
    view = _append_bytes(encode_png(part.texture), buffers)
    tree["images"].append({"name": part.name, "mimeType": "image/png", "bufferView": view})
    tree["textures"].append({"source": number})
    matt = {"baseColorTexture": {"index": number}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    tree["materials"].append({"name": part.name, "pbrMetallicRoughness": matt, "extensions": {UNLIT: {}}})
    mesh["primitives"][0]["material"] = number


def _nodes(tree: dict, name: str) -> list[int]:
    return [number for number, node in enumerate(tree["nodes"]) if node.get("name") == name]


def _add_targets(mesh: dict, part: Part, buffers, tree: dict) -> None:
    morphs = part.morphs
    assert morphs is not None
    least = LEAST_CHANGE * np.ptp(part.vertices, axis=0).max()
    targets = [{"POSITION": _append_changes(changes, least, buffers, tree)} for changes in morphs.changes]
    mesh["primitives"][0]["targets"] = targets
    mesh["weights"] = [float(weight) for weight in morphs.weights]
    mesh["extras"] = {**mesh.get("extras", {}), "targetNames": list(morphs.names)}


def _append_changes(changes: np.ndarray, least: float, buffers, tree: dict) -> int:
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
                "bufferView": _append_bytes(index.tobytes(), buffers),
                "componentType": UNSIGNED_SHORT if narrow else UNSIGNED_INT,
            },
            "values": {"bufferView": _append_bytes(kept[moved].tobytes(), buffers)},
        }
    return _append_accessor(accessor, tree)


def _animation(moving: Sequence[tuple[Part, int]], buffers, tree: dict) -> dict:
    animation: dict = {"name": "video", "channels": [], "samplers": []}
    for part, node in moving:
        motion = part.motion
        assert motion is not None
        seconds = _append_array(motion.seconds[:, None], "SCALAR", buffers, tree)
        paths = {"rotation": (motion.rotations, "VEC4"), "translation": (motion.translations, "VEC3")}
        if motion.weights is not None:
            paths["weights"] = (motion.weights.reshape(-1, 1), "SCALAR")
        for path, (values, kind) in paths.items():
            output = _append_array(values, kind, buffers, tree)
            animation["channels"].append(
                {"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}}
            )
            animation["samplers"].append({"input": seconds, "interpolation": "LINEAR", "output": output})
    return animation


def _append_array(values: np.ndarray, kind: str, buffers, tree: dict) -> int:
    values = np.ascontiguousarray(values, dtype=np.float32)
    return _append_accessor(
        {**_accessor_of(values, kind), "bufferView": _append_bytes(values.tobytes(), buffers)}, tree
    )


def _accessor_of(values: np.ndarray, kind: str) -> dict:
    """All of an accessor but where its values lie. values : (n, c) float32."""
    low, high = values.min(axis=0), values.max(axis=0)
    return {
        "componentType": FLOAT,
        "type": kind,
        "count": len(values),
        "min": [float(value) for value in low],
        "max": [float(value) for value in high],
    }


def _append_accessor(accessor: dict, tree: dict) -> int:
    tree["accessors"][("prnet", len(tree["accessors"]))] = accessor
    return len(tree["accessors"]) - 1


def _append_bytes(content: bytes, buffers) -> int:
    buffers[("prnet", len(buffers))] = content + bytes(-len(content) % 4)
    return len(buffers) - 1
