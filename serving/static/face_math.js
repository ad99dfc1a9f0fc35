// The pure steps around the network, as prnet.reconstructing.face has them: photo to crop, position map to face.
// Pixels: x right, y down, an integer at a pixel's centre; z in pixels, larger nearer.

const ARRAYS = { texels: Uint32Array, canonical: Float32Array, landmark_texels: Uint32Array, landmark_weights: Float32Array };

// The arrays of a description, in base64 there, by name and type.
export const decoded = (json, types) => Object.fromEntries(Object.entries(types).map(([name, Type]) =>
  [name, new Type(Uint8Array.from(atob(json[name]), (c) => c.charCodeAt(0)).buffer)]));

// What face.json says, its arrays decoded.
export function readDescription(json) {
  const arrays = decoded(json, ARRAYS);
  return { ...json, ...arrays };
}

// The box around the landmarks that a detector's rectangle lets one expect.
export function boxOfRectangle([x, y, width, height], { centre_shift: shift, side_factor: factor }) {
  const side = (width + height) / 2;
  return { centre: [x + (width - 1) / 2 + side * shift[0], y + (height - 1) / 2 + side * shift[1]], side: side * factor };
}

// The detector's rectangle [x, y, width, height] that `boxOfRectangle` takes for a box.
export function rectangleOfBox({ centre, side: length }, { centre_shift: shift, side_factor: factor }) {
  const side = length / factor;
  return [...centre.map((at, axis) => at - side * shift[axis] - (side - 1) / 2), side, side];
}

export function landmarkBox(landmarks) {
  const [xs, ys] = [0, 1].map((axis) => landmarks.map((point) => point[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { centre: [(left + right) / 2, (top + bottom) / 2], side: (right - left + bottom - top) / 2 };
}

// Crop pixels per photo pixel: the square of margin x side about the box's centre goes to 0 and size - 1.
export const cropZoom = (box, { size, crop_margin: margin }) => (size - 1) / (margin * box.side);

// Draw the square around a box onto a context of size x size, and read it as floats (size x size x 3) in 0 to 1.
export function cutCrop(picture, box, face, context) {
  const { size } = face, zoom = cropZoom(box, face), edge = size / 2;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = zoom < 0.5 ? "high" : "low";
  context.setTransform(zoom, 0, 0, zoom, edge - zoom * (box.centre[0] + 0.5), edge - zoom * (box.centre[1] + 0.5));
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, size, size);
  const floats = new Float32Array(size * size * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) floats[j++] = data[i + c] / 255;
  return floats;
}

// From the network's outputs for one crop to a face in its photo. `unit` (3 x 3) takes a change x of the network's face
// model to pixels, y up, as x * unit.
export function restoreFace(map, coefficients, posed, box, face) {
  const { size } = face, zoom = cropZoom(box, face), scale = (size * face.target_scale) / zoom;
  const middle = (size - 1) / 2 / zoom;
  const place = (at) => [
    map[at] * scale - middle + box.centre[0], map[at + 1] * scale - middle + box.centre[1], map[at + 2] * scale];
  const landmarks = Array.from({ length: 68 }, (_, i) => {
    const point = [0, 0, 0];
    for (let corner = 4 * i; corner < 4 * i + 4; corner++) {
      place(3 * face.landmark_texels[corner]).forEach((x, axis) => { point[axis] += face.landmark_weights[corner] * x; });
    }
    return point;
  });
  const vertices = new Float32Array(face.texels.length * 3);
  face.texels.forEach((texel, n) => vertices.set(place(3 * texel), 3 * n));
  const found = similarity(vertices, face.canonical), { rotation } = found;
  return {
    box: landmarkBox(landmarks), landmarks, vertices: face.filter_width ? smoothedSurface(vertices, face) : vertices,
    pose: { ...angles(rotation), matrix: poseMatrix(rotation, found) },
    rotation, ...parametersOf(coefficients, face.parameters),
    unit: posed ? [0, 3, 6].map((at) => Array.from(posed.subarray(at, at + 3), (x) => x * scale)) : null,
  };
}

// Vertices of a surface that is free at every texel, as prnet.geometry.surface_filter smooths it: by a Gaussian, in texels,
// over the face alone.
export function smoothedSurface(vertices, { size, texels, filter_width: width }) {
  const reach = Math.round(4 * width);
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * width * width)));
  let sums = new Float32Array(size * size * 4); // x, y, z and weight
  texels.forEach((texel, n) => sums.set([...vertices.subarray(3 * n, 3 * n + 3), 1], 4 * texel));
  for (const [step, placeOf] of [[1, (texel) => texel % size], [size, (texel) => Math.floor(texel / size)]]) {
    const blurred = new Float32Array(sums.length);
    for (let texel = 0; texel < size * size; texel++) {
      const place = placeOf(texel);
      for (let i = Math.max(-reach, -place); i <= Math.min(reach, size - 1 - place); i++) {
        const from = 4 * (texel + i * step), weight = kernel[i + reach];
        for (let k = 0; k < 4; k++) blurred[4 * texel + k] += weight * sums[from + k];
      }
    }
    sums = blurred;
  }
  return vertices.map((_, i) => sums[4 * texels[Math.floor(i / 3)] + (i % 3)] / sums[4 * texels[Math.floor(i / 3)] + 3]);
}

// Scale, rotation (y up) and mean of the similarity that takes the canonical face to vertices (N x 3, y down).
export function similarity(vertices, canonical) {
  const covariance = [[0, 0, 0], [0, 0, 0], [0, 0, 0]], mean = [0, 0, 0];
  let energy = 0;
  const count = canonical.length / 3;
  for (let i = 0; i < canonical.length; i += 3) {
    for (let a = 0; a < 3; a++) {
      const x = a === 1 ? -vertices[i + a] : vertices[i + a];
      mean[a] += vertices[i + a] / count;
      energy += canonical[i + a] ** 2;
      for (let b = 0; b < 3; b++) covariance[a][b] += x * canonical[i + b];
    }
  }
  const rotation = nearestRotation(covariance);
  const scale = rotation.flat().reduce((sum, x, i) => sum + x * covariance.flat()[i], 0) / energy;
  return { rotation, scale, mean };
}

// The orthogonal factor of a matrix of positive determinant, by Newton's iteration (Higham, SISSC 7(4), 1986).
function nearestRotation(matrix) {
  const length = Math.hypot(...matrix.flat());
  let turn = matrix.map((row) => row.map((x) => (x * Math.sqrt(3)) / length));
  for (let step = 0; step < 30; step++) {
    const other = transpose(inverse(turn));
    turn = turn.map((row, a) => row.map((x, b) => (x + other[a][b]) / 2));
  }
  return turn;
}

export const transpose = (m) => m[0].map((_, column) => m.map((row) => row[column]));

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const cofactors = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]];
  const determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0];
  return cofactors.map((row) => row.map((x) => x / determinant));
}

// Degrees, in 300W-LP's convention: R = Rx(pitch) Ry(yaw) Rz(roll) with the signs of prnet.geometry.pose.
export function angles(r) {
  const degrees = (x) => (x * 180) / Math.PI;
  return {
    pitch: degrees(Math.atan2(r[1][2], r[2][2])),
    yaw: degrees(Math.asin(Math.min(Math.max(-r[0][2], -1), 1))),
    roll: degrees(Math.atan2(r[0][1], r[0][0])),
  };
}

// (3 x 4), the canonical face to pixels of the photo, y down.
function poseMatrix(rotation, { scale, mean }) {
  return rotation.map((row, a) => [...row.map((x) => (a === 1 ? -x : x) * scale), mean[a]]);
}

function parametersOf(coefficients, parameters) {
  if (!parameters || !coefficients) return { expressions: null, scores: null, identity: null };
  const { identity_count: count, names, mean, deviation, bounded } = parameters;
  const scores = parameters.scores.map((name, i) => [name, coefficients[count + names.length + i]]);
  const values = names.map((name, i) => {
    const value = mean[i] + deviation[i] * coefficients[count + i];
    return [name, bounded[i] ? Math.min(Math.max(value, 0), 1) : value];
  });
  return {
    expressions: Object.fromEntries(values), scores: scores.length ? Object.fromEntries(scores) : null,
    identity: Array.from(coefficients.subarray(0, count)),
  };
}

// The one-euro filter (Casiez, Roussel and Vogel, CHI 2012) over arrays, as prnet.reconstructing.smoothing has it.
export class OneEuroFilter {
  constructor(settings) {
    this.settings = settings;
    this.value = null;
  }

  // seconds : since the call before. unit : length of one face side.
  smooth(value, seconds, unit = 1) {
    if (!this.value) {
      this.value = Float64Array.from(value);
      this.speed = new Float64Array(value.length);
      return this.value;
    }
    const { least_cutoff: least, speed_factor: factor, speed_cutoff: calm } = this.settings;
    const share = (cutoff) => 1 / (1 + 1 / (2 * Math.PI * cutoff * seconds));
    const calming = share(calm);
    for (let i = 0; i < value.length; i++) {
      this.speed[i] += ((value[i] - this.value[i]) / (seconds * unit) - this.speed[i]) * calming;
      this.value[i] += (value[i] - this.value[i]) * share(least + factor * Math.abs(this.speed[i]));
    }
    return this.value;
  }
}
