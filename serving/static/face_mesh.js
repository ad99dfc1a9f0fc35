// A face's mesh as prnet.reconstructing.mesh_files makes it: eyes and mouth closed, a smooth rim, upright, in metres about
// its centroid, and its expressions as morph targets. mesh.json has what that takes.
import { decoded, transpose } from "./face_math.js";

const ARRAYS = { texels: Uint32Array, triangles: Uint32Array, rim: Uint32Array };
const SPARSE = { starts: Uint32Array, columns: Uint16Array, weights: Float32Array };

// What mesh.json says, its arrays decoded.
export function readMesh(json) {
  const matrices = ["holes", "follow", "shift"].map((name) => [name, decoded(json[name], SPARSE)]);
  return { ...json, ...decoded(json, ARRAYS), ...Object.fromEntries(matrices) };
}

// face : of the worker. size : of the position map. shapes : what expressions add to vertices, or null; see worker.js.
// Returns points, the face as it is seen, with normals, uv (v down) and morphs { names, weights, changes, rest }, all in metres
// and upright, or morphs null; and pixels, the points in the photo with y up.
export function meshOfFace(face, size, mesh, shapes) {
  const pixels = wholeFace(mapped(face.vertices, FLIP_Y), mesh);
  const metres = metresOfPixels(face, mesh), centre = meanOf(pixels);
  const points = mapped(pixels.map((x, i) => x - centre[i % 3]), metres);
  return {
    points, pixels, uv: textureUv(size, mesh), normals: vertexNormals(points, mesh.triangles),
    morphs: shapes ? morphsOf(face, metres, points, mesh, shapes) : null,
  };
}

const FLIP_Y = [[1, 0, 0], [0, -1, 0], [0, 0, 1]];

// The points (M x 3) of the closed face with a smooth rim, or what is added to them, from those of the face (N x 3).
export const wholeFace = (points, mesh) => withSmoothRim(closed(points, mesh), mesh);

// The points of the closed face (M x 3) from those of the face (N x 3), which come first.
export function closed(points, { holes }) {
  const all = new Float32Array(points.length + 3 * (holes.starts.length - 1));
  all.set(points);
  all.set(product(holes, points), points.length);
  return all;
}

// Moves points (M x 3) of the closed face.
function withSmoothRim(points, { rim, shift, follow }) {
  const outer = Float32Array.from({ length: 3 * rim.length }, (_, i) => points[3 * rim[Math.floor(i / 3)] + (i % 3)]);
  product(follow, product(shift, outer)).forEach((x, i) => { points[i] += x; });
  return points;
}

// A sparse matrix times rows of three.
function product({ starts, columns, weights }, rows) {
  const sums = new Float32Array(3 * (starts.length - 1));
  for (let row = 0; row < starts.length - 1; row++) {
    for (let at = starts[row]; at < starts[row + 1]; at++) {
      for (let axis = 0; axis < 3; axis++) sums[3 * row + axis] += weights[at] * rows[3 * columns[at] + axis];
    }
  }
  return sums;
}

function mapped(points, matrix) {
  const moved = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    for (let a = 0; a < 3; a++) moved[i + a] = matrix[a][0] * points[i] + matrix[a][1] * points[i + 1] + matrix[a][2] * points[i + 2];
  }
  return moved;
}

function meanOf(points) {
  const sums = [0, 0, 0];
  points.forEach((x, i) => { sums[i % 3] += x; });
  return sums.map((sum) => (3 * sum) / points.length);
}

// One photo does not know its scale: by convention of the distance between the outer corners of the eyes.
function metresOfPixels({ landmarks, rotation }, { eye_corners: corners, metres_between: metres }) {
  const [one, other] = corners.map((i) => landmarks[i]);
  const scale = metres / Math.hypot(...one.map((x, axis) => x - other[axis]));
  return transpose(rotation).map((row) => row.map((x) => x * scale));
}

// In metres, from what expressions add to vertices in the unit of the network's face model.
function morphsOf(face, metres, points, mesh, shapes) {
  const values = Object.values(face.expressions), count = face.vertices.length;
  const turned = metres.map((row) => face.unit.map((axis) => row.reduce((sum, x, a) => sum + x * axis[a], 0)));
  const weights = mesh.morphs.map(({ of }) => of.reduce((sum, e) => sum + values[e], 0) / of.length);
  const changes = mesh.morphs.map(({ of }) => {
    const change = shapes.slice(count * of[0], count * (of[0] + 1));
    for (const e of of.slice(1)) change.forEach((x, i) => { change[i] = x + shapes[count * e + i]; });
    return wholeFace(mapped(change, turned), mesh);
  });
  const rest = Float32Array.from(points);
  weights.forEach((weight, e) => add(rest, changes[e], -weight));
  return { names: mesh.morphs.map(({ name }) => name), weights, changes, rest };
}

export function add(points, change, weight) {
  if (weight) for (let i = 0; i < points.length; i++) points[i] += weight * change[i];
  return points;
}

// Places of the vertices in the square of the position map of this size, v down.
export function textureUv(size, mesh) {
  const places = new Float32Array(3 * mesh.texels.length);
  mesh.texels.forEach((texel, n) => places.set([texel % size, Math.floor(texel / size), 0], 3 * n));
  withSmoothRim(places, mesh);
  return Float32Array.from({ length: 2 * mesh.texels.length }, (_, i) => places[3 * (i >> 1) + (i % 2)] / (size - 1));
}

// Unit normals, each the area-weighted mean of its triangles'.
export function vertexNormals(points, triangles) {
  const normals = new Float32Array(points.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
    const ux = points[b] - points[a], uy = points[b + 1] - points[a + 1], uz = points[b + 2] - points[a + 2];
    const vx = points[c] - points[a], vy = points[c + 1] - points[a + 1], vz = points[c + 2] - points[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    for (let k = t; k < t + 3; k++) {
      const corner = 3 * triangles[k];
      normals[corner] += x;
      normals[corner + 1] += y;
      normals[corner + 2] += z;
    }
  }
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]);
    if (length > 0) for (let axis = 0; axis < 3; axis++) normals[i + axis] /= length;
    else normals[i + 2] = 1;
  }
  return normals;
}
