// How far a face can be trusted, as prnet.reconstructing.quality judges it; face.json has the bounds and the words.

// floats : what the network saw (size x size x 3). Returns { confidence, doubts }.
export function judge(found, floats, picture, face) {
  const { bounds, doubts, doubted } = face.quality;
  const trust = Object.fromEntries(Object.entries(measures(found, floats, picture, face)).map(([name, value]) => {
    const [full, none] = bounds[name];
    return [name, Math.min(Math.max((value - none) / (full - none), 0), 1)];
  }));
  const { misfit, identity = 1, shift, ...rest } = trust;
  const shares = { unusual: Math.min(misfit, identity, shift), ...rest };
  return {
    confidence: Object.values(shares).reduce((product, share) => product * share, 1),
    doubts: Object.keys(doubts).filter((name) => shares[name] < doubted).map((name) => doubts[name]),
  };
}

function measures({ box, expected, vertices, pose, identity }, floats, picture, face) {
  const found = {
    misfit: misfit(vertices, pose.matrix, face.canonical),
    shift: Math.hypot(box.centre[0] - expected.centre[0], box.centre[1] - expected.centre[1]) / expected.side,
    inside: inside(vertices, picture),
    sharpness: sharpness(floats, face),
    side: box.side,
    yaw: Math.abs(pose.yaw),
  };
  return identity ? { ...found, identity: Math.sqrt(identity.reduce((sum, x) => sum + x * x, 0) / identity.length) } : found;
}

// Root mean squared distance of the vertices from the posed canonical face, as a share of its size.
function misfit(vertices, matrix, canonical) {
  let apart = 0, energy = 0;
  for (let i = 0; i < canonical.length; i += 3) {
    for (let a = 0; a < 3; a++) {
      const [x, y, z, offset] = matrix[a];
      apart += (vertices[i + a] - (x * canonical[i] + y * canonical[i + 1] + z * canonical[i + 2] + offset)) ** 2;
      energy += canonical[i + a] ** 2;
    }
  }
  const scale = Math.hypot(...matrix[0].slice(0, 3));
  return Math.sqrt(apart / energy) / scale;
}

function inside(vertices, { width, height }) {
  let count = 0;
  for (let i = 0; i < vertices.length; i += 3) {
    count += vertices[i] >= 0 && vertices[i] < width && vertices[i + 1] >= 0 && vertices[i + 1] < height;
  }
  return (3 * count) / vertices.length;
}

// Standard deviation of the Laplacian over that of the brightness, within the landmarks' box of the crop.
function sharpness(floats, { size, crop_margin: margin, quality: { crop_side: side } }) {
  const factor = Math.max(Math.round(size / side), 1), wide = Math.floor(size / factor);
  const grey = new Float32Array(wide * wide);
  for (let row = 0; row < wide * factor; row++) {
    for (let column = 0; column < wide * factor; column++) {
      const at = 3 * (row * size + column);
      const light = 0.299 * floats[at] + 0.587 * floats[at + 1] + 0.114 * floats[at + 2];
      grey[Math.floor(row / factor) * wide + Math.floor(column / factor)] += light / factor ** 2;
    }
  }
  const edge = Math.round((wide * (1 - 1 / margin)) / 2);
  const lights = [], edges = [];
  for (let row = edge; row < wide - edge; row++) {
    for (let column = edge; column < wide - edge; column++) {
      const at = row * wide + column;
      lights.push(grey[at]);
      edges.push(grey[at - 1] + grey[at + 1] + grey[at - wide] + grey[at + wide] - 4 * grey[at]);
    }
  }
  return deviation(edges) / Math.max(deviation(lights), 1e-6);
}

function deviation(values) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  return Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
}
