// The photo unrolled onto the UV square and completed, as prnet.reconstructing.texture does: what the camera did not see is
// that of the mirrored side, its colours matched, and what both sides hide continues the colours around it. What is smooth is
// found on a coarse square and enlarged. A field is { data, side, width }: side x side rows of `width` numbers, from the top.
import { cropZoom } from "./face_math.js";
import { closed, vertexNormals } from "./face_mesh.js";

// picture : a canvas or ImageBitmap. face : of the worker. grid, mesh : what face.json and mesh.json say. Returns ImageData.
export function completeTexture(picture, face, grid, mesh) {
  const told = mesh.texture, coarse = told.outline_side;
  const points = closed(face.vertices, mesh); // y down
  const size = told.texture_sides[extent(face.vertices) > told.large_face ? 1 : 0];
  const places = fieldOf(points, mesh.texels, grid.size, 3);
  const photo = unrolled(picture, spread(places, maskOf(mesh.texels, grid.size)), size);
  const { seen, onFace, facing } = visibility(points, face, picture, grid, mesh, places);
  const own = feathered(seen, onFace, Math.fround(told.seam_width * coarse));
  own.data.forEach((x, i) => { own.data[i] = x * facing.data[i]; });
  const small = reduced(photo, coarse), shift = colourShift(small, own, told);
  const total = zeros(coarse, 1), known = zeros(coarse, 1);
  own.data.forEach((x, i) => {
    total.data[i] = Math.max(x, own.data[mirrored(i, coarse)]);
    known.data[i] = Math.max(total.data[i], seen.data[i] * Math.min(facing.data[i] / told.edge_facing, 1));
  });
  const filling = spread(mixed(small, own, shift), { ...known, data: known.data.map((x) => (x > told.least_known ? x : 0)) });
  const result = mixed(photo, own, shift, known, filling);
  const image = new ImageData(size, size);
  for (let i = 0, j = 0; j < result.data.length; i += 4) {
    for (let axis = 0; axis < 3; axis++) image.data[i + axis] = Math.round(result.data[j++]);
    image.data[i + 3] = 255;
  }
  return image;
}

const zeros = (side, width) => ({ data: new Float32Array(side * side * width), side, width });
const mirrored = (i, side) => i - (i % side) + side - 1 - (i % side);

function fieldOf(values, texels, side, width) {
  const field = zeros(side, width);
  texels.forEach((texel, n) => { for (let a = 0; a < width; a++) field.data[width * texel + a] = values[width * n + a]; });
  return field;
}

const maskOf = (texels, side) => fieldOf(new Uint8Array(texels.length).fill(1), texels, side, 1);

function extent(points) {
  return Math.max(...[0, 1].map((axis) => {
    let low = Infinity, high = -Infinity;
    for (let i = axis; i < points.length; i += 3) [low, high] = [Math.min(low, points[i]), Math.max(high, points[i])];
    return high - low;
  }));
}

// The photo's colours at the places of a map, bilinear; a photo far finer than the texels is averaged down first.
function unrolled(picture, places, size) {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < places.data.length; i += 3) {
    for (let a = 0; a < 2; a++) [low[a], high[a]] = [Math.min(low[a], places.data[i + a]), Math.max(high[a], places.data[i + a])];
  }
  const limits = [picture.width, picture.height];
  const from = low.map((x, a) => Math.min(Math.max(Math.floor(x) - 1, 0), limits[a] - 1));
  const wide = high.map((x, a) => Math.min(Math.max(Math.ceil(x) + 2, from[a] + 1), limits[a]) - from[a]);
  const step = Math.max(Math.floor(Math.max(...wide) / size), 1);
  const [columns, rows] = wide.map((x) => Math.max(Math.floor(x / step), 1));
  const context = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, ...from, ...wide, 0, 0, columns, rows);
  const { data } = context.getImageData(0, 0, columns, rows);
  const photo = { data: new Uint8ClampedArray(size * size * 3), side: size, width: 3 };
  const row = new Float32Array(3 * size), steps = stepsOf(places.side, size, (x) => (x * (places.side - 1)) / (size - 1));
  const within = (at, first, length, count) => Math.min(Math.max(((at - first + 0.5) * count) / length - 0.5, 0), count - 1);
  for (let y = 0, at = 0; y < size; y++) {
    rowOf(places, steps, steps.left[y], steps.across[y], row);
    for (let x = 0; x < size; x++) {
      const u = within(row[3 * x], from[0], wide[0], columns), v = within(row[3 * x + 1], from[1], wide[1], rows);
      const left = Math.min(Math.floor(u), Math.max(columns - 2, 0)), top = Math.min(Math.floor(v), Math.max(rows - 2, 0));
      const right = columns > 1 ? 4 : 0, below = rows > 1 ? 4 * columns : 0, first = 4 * (top * columns + left);
      for (let c = 0; c < 3; c++) {
        const upper = data[first + c] + (data[first + right + c] - data[first + c]) * (u - left);
        const lower = data[first + below + c] + (data[first + below + right + c] - data[first + below + c]) * (u - left);
        photo.data[at++] = upper + (lower - upper) * (v - top);
      }
    }
  }
  return photo;
}

// Between which cells of a row of `side` the places at(0), ..., at(count - 1) lie, and how far across.
function stepsOf(side, count, at) {
  const left = new Int32Array(count), across = new Float32Array(count);
  for (let x = 0; x < count; x++) {
    const place = Math.min(Math.max(at(x), 0), side - 1);
    left[x] = Math.floor(place);
    across[x] = place - left[x];
  }
  return { left, across };
}

// One row of a field enlarged, bilinear. steps : of the columns; the row lies `down` below the field's row `upper`.
function rowOf({ data, side, width }, { left, across }, upper, down, into) {
  const below = upper < side - 1 ? side * width : 0;
  for (let x = 0, to = 0; x < left.length; x++) {
    const beside = left[x] < side - 1 ? width : 0, share = across[x];
    for (let at = width * (upper * side + left[x]), end = at + width; at < end; at++, to++) {
      const above = data[at] + (data[at + beside] - data[at]) * share, lower = at + below;
      into[to] = above + (data[lower] + (data[lower + beside] - data[lower]) * share - above) * down;
    }
  }
}

const centredSteps = (field, side) => stepsOf(field.side, side, (x) => ((x + 0.5) * field.side) / side - 0.5);

// A field at another side, bilinear between the centres of its cells.
function enlarged(field, side) {
  const result = zeros(side, field.width), steps = centredSteps(field, side), length = side * field.width;
  for (let y = 0; y < side; y++) rowOf(field, steps, steps.left[y], steps.across[y], result.data.subarray(y * length, (y + 1) * length));
  return result;
}

// A field whose cells are means of squares of cells.
function reduced({ data, side: large, width }, side) {
  const result = zeros(side, width), each = large / side;
  for (let y = 0, i = 0; y < large; y++) {
    for (let x = 0; x < large; x++) {
      const to = width * (Math.floor(y / each) * side + Math.floor(x / each));
      for (let k = 0; k < width; k++) result.data[to + k] += data[i++] / each ** 2;
    }
  }
  return result;
}

function blurred({ data, side, width }, sigma) {
  const reach = Math.ceil(3 * sigma);
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)));
  const sum = kernel.reduce((a, b) => a + b);
  const along = (values, step, other) => {
    const result = new Float32Array(values.length);
    for (let line = 0; line < side; line++) {
      for (let x = 0; x < side; x++) {
        for (let i = -reach; i <= reach; i++) {
          const weight = kernel[i + reach] / sum, from = width * (line * other + Math.min(Math.max(x + i, 0), side - 1) * step);
          for (let k = 0; k < width; k++) result[width * (line * other + x * step) + k] += weight * values[from + k];
        }
      }
    }
    return result;
  };
  return { data: along(along(data, 1, side), side, 1), side, width };
}

// Which texels the camera sees, which are of the closed face (0 or 1), and how far they face it (0 to 1), on the coarse square.
function visibility(points, face, picture, grid, mesh, places) {
  const told = mesh.texture, { size } = grid, coarse = told.outline_side, mask = maskOf(mesh.texels, size);
  const zoom = cropZoom(face.expected, grid), middle = (size - 1) / 2;
  const crop = points.map((x, i) => (i % 3 === 2 ? x * zoom : (x - face.expected.centre[i % 3]) * zoom + middle));
  const normals = vertexNormals(points.map((x, i) => (i % 3 === 1 ? -x : x)), mesh.triangles);
  const depth = depthOf(crop, mesh.triangles, size), own = face.vertices.length / 3;
  const toOutline = distancesTo(depth.map((z) => (z === -Infinity ? 1 : 0)), size);
  const seen = new Float32Array(points.length / 3), turned = new Float32Array(seen.length).fill(1);
  for (let n = 0; n < seen.length; n++) {
    const [x, y] = [Math.round(crop[3 * n]), Math.round(crop[3 * n + 1])];
    const out = x < 0 || y < 0 || x >= size || y >= size;
    const inFront = out || crop[3 * n + 2] >= depth[y * size + x] - told.hidden_depth * size;
    const sure = out || toOutline[y * size + x] > told.outline_doubt * size || normals[3 * n + 2] > told.doubted_facing;
    seen[n] = inFront && sure && (n >= own || normals[3 * n + 2] > told.least_facing) ? 1 : 0;
    if (n < own) turned[n] = Math.min(Math.max(normals[3 * n + 2] / told.full_facing, 0), 1);
  }
  const { starts, columns, weights } = mesh.holes;
  for (let hole = 0; hole < starts.length - 1; hole++) {
    let around = 0;
    for (let at = starts[hole]; at < starts[hole + 1]; at++) around += weights[at] * seen[columns[at]];
    seen[own + hole] = Math.max(seen[own + hole], Math.min(around / told.rim_share, 1));
  }
  const sigma = told.outline_width * size, rim = blurred(mask, sigma), smooth = blurred(fieldOf(seen, mesh.texels, size, 1), sigma);
  smooth.data.forEach((x, i) => { smooth.data[i] = x / Math.max(rim.data[i], 1e-6); });
  const onFace = enlarged(rim, coarse), shown = enlarged(smooth, coarse), at = enlarged(spread(places, mask), coarse);
  onFace.data.forEach((x, i) => { onFace.data[i] = x >= 0.5 ? 1 : 0; });
  shown.data.forEach((x, i) => { shown.data[i] = x > 0.5 && onFace.data[i] ? 1 : 0; });
  for (const value of [1, 0]) withoutSpecks(shown, onFace, value, told.least_area * coarse ** 2);
  shown.data.forEach((x, i) => {
    const [left, top] = [at.data[3 * i], at.data[3 * i + 1]];
    if (left < 0 || top < 0 || left > picture.width - 1 || top > picture.height - 1) shown.data[i] = 0;
  });
  return { seen: shown, onFace, facing: enlarged(spread(fieldOf(turned, mesh.texels, size, 1), mask), coarse) };
}

// The greatest z of the triangles that face the camera, at the centre of each of size x size pixels.
function depthOf(points, triangles, size) {
  const depth = new Float32Array(size * size).fill(-Infinity);
  for (let t = 0; t < triangles.length; t += 3) {
    const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
    const ax = points[a], ay = points[a + 1], az = points[a + 2];
    const x1 = points[b] - ax, y1 = points[b + 1] - ay, x2 = points[c] - ax, y2 = points[c + 1] - ay;
    const area = x1 * y2 - x2 * y1;
    if (area >= 0) continue;
    const left = Math.max(Math.ceil(ax + Math.min(0, x1, x2)), 0), right = Math.min(Math.floor(ax + Math.max(0, x1, x2)), size - 1);
    const top = Math.max(Math.ceil(ay + Math.min(0, y1, y2)), 0), bottom = Math.min(Math.floor(ay + Math.max(0, y1, y2)), size - 1);
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const second = ((x - ax) * y2 - (y - ay) * x2) / area, third = ((y - ay) * x1 - (x - ax) * y1) / area;
        if (second < -1e-5 || third < -1e-5 || second + third > 1 + 1e-5) continue;
        const z = az + second * (points[b + 2] - az) + third * (points[c + 2] - az);
        if (z > depth[y * size + x]) depth[y * size + x] = z;
      }
    }
  }
  return depth;
}

// Turn connected areas of a value that are at most so large, within a mask, into the other value.
function withoutSpecks({ data, side }, mask, value, most) {
  const visited = new Uint8Array(data.length);
  for (let start = 0; start < data.length; start++) {
    if (visited[start] || !mask.data[start] || data[start] !== value) continue;
    const area = [start];
    visited[start] = 1;
    for (let i = 0; i < area.length; i++) {
      const at = area[i], x = at % side;
      for (const next of [x > 0 ? at - 1 : -1, x < side - 1 ? at + 1 : -1, at - side, at + side]) {
        if (next < 0 || next >= data.length || visited[next] || !mask.data[next] || data[next] !== value) continue;
        visited[next] = 1;
        area.push(next);
      }
    }
    if (area.length <= most) for (const at of area) data[at] = 1 - value;
  }
}

// 1 far within what is seen, falling smoothly to 0 over `width` texels where the face is hidden or ends.
function feathered(seen, onFace, width) {
  const hidden = onFace.data.map((x, i) => (x && !seen.data[i] ? 1 : 0)), distance = distancesTo(hidden, seen.side);
  const ramp = (x) => x * x * (3 - 2 * x);
  return { ...seen, data: seen.data.map((x, i) => x * ramp(Math.min(distance[i] / width, 1))) };
}

// How far each of side x side cells is from the nearest that is marked; infinite where none is.
function distancesTo(marked, side) {
  const distance = Float32Array.from(marked, (x) => (x ? 0 : Infinity));
  for (const way of [1, -1]) { // there and back
    for (let n = 0; n < distance.length; n++) {
      const i = way > 0 ? n : distance.length - 1 - n, x = i % side, above = i - way * side;
      let nearest = distance[i];
      const first = way > 0 ? x === 0 : x === side - 1, last = way > 0 ? x === side - 1 : x === 0;
      if (!first) nearest = Math.min(nearest, distance[i - way] + 1);
      if (above >= 0 && above < distance.length) {
        nearest = Math.min(nearest, distance[above] + 1);
        if (!first) nearest = Math.min(nearest, distance[above - way] + Math.SQRT2);
        if (!last) nearest = Math.min(nearest, distance[above + way] + Math.SQRT2);
      }
      distance[i] = nearest;
    }
  }
  return distance;
}

// By how much the colours of a face differ from the mirrored face's in the large.
function colourShift(photo, own, { shift_side: side, shift_width: share, shift_prior: prior }) {
  const shared = zeros(own.side, 1), difference = zeros(own.side, 3), half = [0, 0, 0, 0];
  own.data.forEach((x, i) => {
    const other = mirrored(i, own.side);
    shared.data[i] = Math.min(x, own.data[other]);
    for (let c = 0; c < 3; c++) difference.data[3 * i + c] = photo.data[3 * i + c] - photo.data[3 * other + c];
  });
  const weights = reduced(shared, side), known = reduced(difference, side);
  weights.data.forEach((weight, i) => {
    for (let c = 0; c < 3; c++) {
      known.data[3 * i + c] *= weight;
      if (i % side < side / 2) half[c] += known.data[3 * i + c];
    }
    if (i % side < side / 2) half[3] += weight;
  });
  const [blurredKnown, blurredWeights] = [known, weights].map((field) => blurred(field, share * side));
  return { ...known, data: known.data.map((_, j) => {
    const i = Math.floor(j / 3), mean = ((i % side < side / 2 ? 1 : -1) * half[j % 3]) / Math.max(half[3], 1e-6);
    return (blurredKnown.data[j] + prior * mean) / (blurredWeights.data[i] + prior);
  }) };
}

// The photo with what is hidden from the mirrored side; with `known` and `filling`, these where nothing is known.
function mixed(photo, own, shift, known = null, filling = null) {
  const { side } = photo, result = filling ? { data: new Uint8ClampedArray(photo.data.length), side, width: 3 } : zeros(side, 3);
  const fields = [own, shift, ...(filling ? [known, filling] : [])];
  const rows = fields.map(({ width }) => new Float32Array(width * side)), steps = fields.map((field) => centredSteps(field, side));
  for (let y = 0; y < side; y++) {
    fields.forEach((field, f) => rowOf(field, steps[f], steps[f].left[y], steps[f].across[y], rows[f]));
    for (let x = 0; x < side; x++) {
      const other = side - 1 - x, mine = rows[0][x], borrowed = Math.max(rows[0][other] - mine, 0);
      for (let c = 0; c < 3; c++) {
        const from = photo.data[3 * (y * side + x) + c], twin = photo.data[3 * (y * side + other) + c] + rows[1][3 * x + c];
        const colour = (from * mine + twin * borrowed) / Math.max(mine + borrowed, 1e-6);
        result.data[3 * (y * side + x) + c] = filling ? rows[3][3 * x + c] + rows[2][x] * (colour - rows[3][3 * x + c]) : colour;
      }
    }
  }
  return result;
}

// A field that agrees with the given one where the weights are 1; elsewhere means over ever larger neighbourhoods
// (pull-push: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.5).
export function spread({ data, side, width }, weights) {
  const known = { data: data.map((x, i) => x * weights.data[Math.floor(i / width)]), side, width };
  if (side === 1) return known;
  const half = Math.ceil(side / 2), share = reduced(weights, half), mean = reduced(known, half);
  mean.data.forEach((x, i) => { mean.data[i] = x / Math.max(share.data[Math.floor(i / width)], 1e-12); });
  share.data.forEach((x, i) => { share.data[i] = Math.min(4 * x, 1); });
  const beyond = enlarged(spread(mean, share), side);
  known.data.forEach((x, i) => { known.data[i] = x + beyond.data[i] * (1 - weights.data[Math.floor(i / width)]); });
  return known;
}
