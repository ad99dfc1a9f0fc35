// A textured mesh as bytes or text of a file, as prnet.reconstructing.gltf and mesh_files write them. uv (N x 2): 0 and 1 are
// the centres of the texture's outer texels, v down; triangles (T x 3), counter-clockwise.

const FLOAT = 5126, SHORT = 5123, UNSIGNED = 5125, VERTICES = 34962, INDICES = 34963; // glTF's and WebGL's constants
const UNLIT = "KHR_materials_unlit"; // the light is in the texture already

// mesh : of `meshOfFace`. described : what mesh.json says. png : the texture, `side` texels wide.
export function glbFile({ points, normals, uv, morphs }, described, png, side) {
  const content = { views: [], accessors: [], parts: [], bytes: 0 };
  const rows = (array, kind, width) => accessor(content, array, kind, width, VERTICES);
  const attributes = {
    POSITION: rows(morphs ? morphs.rest : points, "VEC3", 3), NORMAL: rows(normals, "VEC3", 3),
    TEXCOORD_0: rows(uv.map((x) => (x * (side - 1) + 0.5) / side), "VEC2", 2),
  };
  const least = described.least_change * Math.max(...extents(points, 3).map(([low, high]) => high - low));
  const targets = (morphs?.changes ?? []).map((change) => ({ POSITION: sparseAccessor(content, change, least) }));
  const indices = accessor(content, described.triangles, "SCALAR", 1, INDICES, UNSIGNED);
  const image = view(content, new Uint8Array(png));
  const named = { name: "face" };
  const json = {
    asset: { version: "2.0", generator: described.generator, extras: described.notes },
    extensionsUsed: [UNLIT],
    scene: 0, scenes: [{ nodes: [0] }], nodes: [{ ...named, mesh: 0 }],
    meshes: [{
      ...named,
      primitives: [{ attributes, indices, material: 0, mode: 4, ...(targets.length && { targets }) }],
      ...(morphs && { weights: morphs.weights, extras: { targetNames: morphs.names } }),
    }],
    materials: [{ ...named, pbrMetallicRoughness: { baseColorTexture: { index: 0 }, metallicFactor: 0, roughnessFactor: 1 }, extensions: { [UNLIT]: {} } }],
    textures: [{ source: 0 }], images: [{ ...named, bufferView: image, mimeType: "image/png" }],
    accessors: content.accessors, bufferViews: content.views, buffers: [{ byteLength: content.bytes }],
  };
  return container(new TextEncoder().encode(JSON.stringify(json)), content);
}

const padded = (length) => (length + 3) & ~3;

function view(content, array, target) {
  content.views.push({ buffer: 0, byteOffset: content.bytes, byteLength: array.byteLength, ...(target && { target }) });
  content.parts.push(array);
  content.bytes += padded(array.byteLength);
  return content.views.length - 1;
}

function accessor(content, array, type, width, target, componentType = FLOAT) {
  content.accessors.push({ bufferView: view(content, array, target), componentType, type, ...limits(array, width) });
  return content.accessors.length - 1;
}

// Only the vertices that move by more than the least are stored.
function sparseAccessor(content, change, least) {
  const moved = [];
  for (let i = 0; i < change.length; i += 3) if (Math.hypot(change[i], change[i + 1], change[i + 2]) > least) moved.push(i / 3);
  const values = Float32Array.from({ length: 3 * moved.length }, (_, i) => change[3 * moved[Math.floor(i / 3)] + (i % 3)]);
  const kept = new Float32Array(change.length);
  moved.forEach((n, i) => kept.set(values.subarray(3 * i, 3 * i + 3), 3 * n));
  const found = { componentType: FLOAT, type: "VEC3", ...limits(kept, 3) };
  if (moved.length) {
    const narrow = change.length / 3 <= 1 << 16;
    const index = narrow ? Uint16Array.from(moved) : Uint32Array.from(moved);
    found.sparse = {
      count: moved.length,
      indices: { bufferView: view(content, index), componentType: narrow ? SHORT : UNSIGNED },
      values: { bufferView: view(content, values) },
    };
  }
  content.accessors.push(found);
  return content.accessors.length - 1;
}

function limits(array, width) {
  const ends = extents(array, width);
  return { count: array.length / width, min: ends.map(([low]) => low), max: ends.map(([, high]) => high) };
}

// The least and the greatest number of each column.
function extents(array, width) {
  const ends = Array.from({ length: width }, () => [Infinity, -Infinity]);
  array.forEach((x, i) => {
    const end = ends[i % width];
    if (x < end[0]) end[0] = x;
    if (x > end[1]) end[1] = x;
  });
  return ends;
}

function container(text, { parts, views, bytes: length }) {
  const bytes = new Uint8Array(28 + padded(text.length) + length);
  const header = new DataView(bytes.buffer);
  const words = [[0, 0x46546c67], [4, 2], [8, bytes.length], [12, padded(text.length)], [16, 0x4e4f534a], [20 + padded(text.length), length], [24 + padded(text.length), 0x004e4942]];
  for (const [at, word] of words) header.setUint32(at, word, true);
  bytes.fill(0x20, 20, 20 + padded(text.length)).set(text, 20);
  const start = 28 + padded(text.length);
  parts.forEach((part, i) => bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), start + views[i].byteOffset));
  return bytes;
}

// points (N x 3): y up, in pixels counted from the photo's last row. side : of the texture.
export function objFile(points, uv, triangles, side) {
  const lines = [];
  const place = (x) => ((x * (side - 1) + 0.5) / side).toFixed(6);
  for (let i = 0; i < points.length; i += 3) lines.push(`v ${points[i].toFixed(3)} ${points[i + 1].toFixed(3)} ${points[i + 2].toFixed(3)}`);
  for (let i = 0; i < uv.length; i += 2) lines.push(`vt ${place(uv[i])} ${place(1 - uv[i + 1])}`);
  for (let i = 0; i < triangles.length; i += 3) lines.push(`f ${[0, 1, 2].map((k) => `${triangles[i + k] + 1}/${triangles[i + k] + 1}`).join(" ")}`);
  return `${lines.join("\n")}\n`;
}

// As `objFile`, with colours (N x 3) of 0 to 255.
export function plyFile(points, colours, triangles) {
  const [vertices, faces] = [points.length / 3, triangles.length / 3];
  const properties = [...["x", "y", "z"].map((axis) => `property float ${axis}`), ...["red", "green", "blue"].map((name) => `property uchar ${name}`)];
  const lines = ["ply", "format ascii 1.0", `element vertex ${vertices}`, ...properties, `element face ${faces}`, "property list uchar int vertex_indices", "end_header"];
  for (let i = 0; i < points.length; i += 3) lines.push(`${points[i].toFixed(3)} ${points[i + 1].toFixed(3)} ${points[i + 2].toFixed(3)} ${colours[i]} ${colours[i + 1]} ${colours[i + 2]}`);
  for (let i = 0; i < triangles.length; i += 3) lines.push(`3 ${triangles[i]} ${triangles[i + 1]} ${triangles[i + 2]}`);
  return `${lines.join("\n")}\n`;
}
