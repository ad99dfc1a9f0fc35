// A textured mesh as bytes or text of a file. points (N x 3): y up; uv (N x 2): v down; triangles (T x 3), counter-clockwise.

const FLOAT = 5126, UNSIGNED = 5125, VERTICES = 34962, INDICES = 34963; // glTF's and WebGL's constants

export function glbFile(points, uv, triangles, png) {
  const parts = [Float32Array.from(points), Float32Array.from(uv), Uint32Array.from(triangles), new Uint8Array(png)];
  const padded = (length) => (length + 3) & ~3;
  let offset = 0;
  const views = parts.map((part, i) => {
    const view = { buffer: 0, byteOffset: offset, byteLength: part.byteLength, ...(i < 3 && { target: i < 2 ? VERTICES : INDICES }) };
    offset += padded(part.byteLength);
    return view;
  });
  const extremes = (pick) => [0, 1, 2].map((axis) => parts[0].reduce((best, x, i) => (i % 3 === axis ? pick(best, x) : best), pick === Math.min ? Infinity : -Infinity));
  const json = {
    asset: { version: "2.0", generator: "PRNet" },
    scene: 0, scenes: [{ nodes: [0] }], nodes: [{ name: "face", mesh: 0 }],
    meshes: [{ name: "face", primitives: [{ attributes: { POSITION: 0, TEXCOORD_0: 1 }, indices: 2, material: 0 }] }],
    materials: [{ name: "skin", doubleSided: true, pbrMetallicRoughness: { baseColorTexture: { index: 0 }, metallicFactor: 0, roughnessFactor: 1 }, extensions: { KHR_materials_unlit: {} } }],
    extensionsUsed: ["KHR_materials_unlit"],
    textures: [{ source: 0, sampler: 0 }], samplers: [{ magFilter: 9729, minFilter: 9987 }], images: [{ bufferView: 3, mimeType: "image/png" }],
    accessors: [
      { bufferView: 0, componentType: FLOAT, count: points.length / 3, type: "VEC3", min: extremes(Math.min), max: extremes(Math.max) },
      { bufferView: 1, componentType: FLOAT, count: uv.length / 2, type: "VEC2" },
      { bufferView: 2, componentType: UNSIGNED, count: triangles.length, type: "SCALAR" },
    ],
    bufferViews: views, buffers: [{ byteLength: offset }],
  };
  const text = new TextEncoder().encode(JSON.stringify(json));
  const bytes = new Uint8Array(28 + padded(text.length) + offset);
  const header = new DataView(bytes.buffer);
  const words = [[0, 0x46546c67], [4, 2], [8, bytes.length], [12, padded(text.length)], [16, 0x4e4f534a], [20 + padded(text.length), offset], [24 + padded(text.length), 0x004e4942]];
  for (const [at, word] of words) header.setUint32(at, word, true);
  bytes.fill(0x20, 20, 20 + padded(text.length)).set(text, 20);
  const start = 28 + padded(text.length);
  parts.forEach((part, i) => bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), start + views[i].byteOffset));
  return bytes;
}

export function objFile(points, uv, triangles) {
  const lines = [];
  for (let i = 0; i < points.length; i += 3) lines.push(`v ${points[i].toFixed(3)} ${points[i + 1].toFixed(3)} ${points[i + 2].toFixed(3)}`);
  for (let i = 0; i < uv.length; i += 2) lines.push(`vt ${uv[i].toFixed(5)} ${(1 - uv[i + 1]).toFixed(5)}`);
  for (let i = 0; i < triangles.length; i += 3) lines.push(`f ${[0, 1, 2].map((k) => `${triangles[i + k] + 1}/${triangles[i + k] + 1}`).join(" ")}`);
  return `${lines.join("\n")}\n`;
}

export function plyFile(points, triangles) {
  const [vertices, faces] = [points.length / 3, triangles.length / 3];
  const lines = ["ply", "format ascii 1.0", `element vertex ${vertices}`, ...["x", "y", "z"].map((axis) => `property float ${axis}`), `element face ${faces}`, "property list uchar int vertex_indices", "end_header"];
  for (let i = 0; i < points.length; i += 3) lines.push(`${points[i].toFixed(3)} ${points[i + 1].toFixed(3)} ${points[i + 2].toFixed(3)}`);
  for (let i = 0; i < triangles.length; i += 3) lines.push(`3 ${triangles[i]} ${triangles[i + 1]} ${triangles[i + 2]}`);
  return `${lines.join("\n")}\n`;
}
