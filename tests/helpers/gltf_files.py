"""glTF binary files taken apart, and as Khronos' validator and three.js read them under Node.js."""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from prnet.serving.pages import STATIC

VALIDATE = """
const validator = require(process.argv[1]), fs = require("fs");
(async () => {
  for (const file of process.argv.slice(2)) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)));
    console.log(JSON.stringify(report.issues));
  }
})();
"""

OPEN = """
import { readFileSync } from "node:fs";
import { Box3, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
globalThis.self = globalThis;
globalThis.createImageBitmap = async (blob) => {  // Node decodes no pictures; a PNG's header has its size
  const header = new DataView(await blob.arrayBuffer());
  return { width: header.getUint32(16), height: header.getUint32(20), close() {} };
};
const bytes = readFileSync(process.argv[2]);
const { scene } = await new GLTFLoader().parseAsync(new Uint8Array(bytes).buffer, "");
const meshes = [];
scene.traverse((node) => { if (node.isMesh) meshes.push(node); });
console.log(JSON.stringify(meshes.map((mesh) => ({
  name: mesh.name, unlit: mesh.material.isMeshBasicMaterial === true, texture: mesh.material.map?.image.width ?? 0,
  vertices: mesh.geometry.getAttribute("position").count, normals: mesh.geometry.getAttribute("normal")?.count ?? 0,
  size: new Box3().setFromObject(mesh).getSize(new Vector3()).toArray(),
  expressions: mesh.morphTargetDictionary ?? {}, weights: mesh.morphTargetInfluences ?? [],
}))));
"""


def tree_of(content: bytes) -> dict:
    magic, version, length, size, kind = struct.unpack("<4sIIII", content[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), 0x4E4F534A)
    return json.loads(content[20 : 20 + size])


def binary_of(content: bytes) -> bytes:
    return content[20 + struct.unpack("<I", content[12:16])[0] + 8 :]


def stored(tree: dict, binary: bytes, number: int) -> np.ndarray:
    """An accessor's rows, sparse or not."""
    accessor = tree["accessors"][number]
    if "sparse" not in accessor:
        if "bufferView" not in accessor:
            return np.zeros((accessor["count"], 3), np.float32)
        kind = {5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        return np.frombuffer(view(tree, binary, accessor["bufferView"]), kind).reshape(accessor["count"], -1)
    rows = np.zeros((accessor["count"], 3), np.float32)
    sparse = accessor["sparse"]
    kind = {5123: "<u2", 5125: "<u4"}[sparse["indices"]["componentType"]]
    index = np.frombuffer(view(tree, binary, sparse["indices"]["bufferView"]), kind)[: sparse["count"]]
    values = np.frombuffer(view(tree, binary, sparse["values"]["bufferView"]), "<f4").reshape(-1, 3)
    rows[index] = values[: sparse["count"]]
    return rows


def view(tree: dict, binary: bytes, number: int) -> bytes:
    part = tree["bufferViews"][number]
    return binary[part.get("byteOffset", 0) :][: part["byteLength"]]


def validated(files: Sequence[Path]) -> list[dict]:
    """What Khronos' validator says of each file."""
    node = _node("Khronos' glTF validator cannot run")
    folder = os.environ.get("GLTF_VALIDATOR", "gltf-validator")
    found = subprocess.run([node, "-e", "require(process.argv[1])", folder], capture_output=True, timeout=60)
    if found.returncode:
        pytest.skip("no npm package gltf-validator: install it and name its folder in GLTF_VALIDATOR")
    result = subprocess.run([node, "-e", VALIDATE, folder, *files], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def opened_by_three(file: Path, folder: Path) -> list[dict]:
    """The meshes that three.js' GLTFLoader, the one that the page loads, finds in a file. folder : an empty one."""
    node = _node("three.js cannot open the file")
    package = folder / "node_modules" / "three"
    shutil.copytree(STATIC / "vendor" / "three", package)
    exports = {".": "./build/three.module.min.js", "./addons/*": "./examples/jsm/*"}
    (package / "package.json").write_text(json.dumps({"name": "three", "type": "module", "exports": exports}))
    (folder / "open.mjs").write_text(OPEN)
    result = subprocess.run([node, folder / "open.mjs", file], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def _node(consequence: str) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip(f"Node.js is not installed: {consequence}")
    return node
