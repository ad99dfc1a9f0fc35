// MTCNN (Zhang et al., IEEE SPL 23(10), 2016) on the three networks that the server's detector uses too.
const CELL = 12, STRIDE = 2, SHRINK = 0.709; // of the first network, and of its pyramid
const PROPOSED = 0.6; // least confidence of the first network
const REFINED = [{ side: 24, least: 0.7 }, { side: 48, least: 0.8 }]; // of the two that follow
const MOST_PROPOSALS = 300;

// run(n, floats, shape) : the outputs of network n, each { data, dims }. canvas : the picture.
// smallest : of the faces that are looked for, in pixels. Resolves with boxes { x1, y1, x2, y2, score }, the largest first.
export async function findFaces(run, canvas, smallest, least) {
  let boxes = [];
  for (let zoom = CELL / smallest; Math.min(canvas.width, canvas.height) * zoom >= CELL; zoom *= SHRINK) {
    boxes.push(...(await propose(run, canvas, zoom)));
  }
  boxes = suppress(boxes, 0.7).slice(0, MOST_PROPOSALS);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (const [stage, { side, least: enough }] of REFINED.entries()) {
    if (!boxes.length) return [];
    boxes = boxes.map(squared);
    const patches = new Float32Array(boxes.length * side * side * 3);
    boxes.forEach((box, n) => cutPatch(pixels, box, side, patches, n * side * side * 3));
    const outputs = await run(stage + 1, patches, [boxes.length, side, side, 3]);
    const [moves, scores] = [outputs[0].data, outputs.at(-1).data];
    boxes = boxes.map((box, n) => moved(box, moves.subarray(4 * n, 4 * n + 4), scores[2 * n + 1]));
    boxes = suppress(boxes.filter((box) => box.score > enough), 0.7, stage === 1);
  }
  return boxes.filter((box) => box.score >= least).sort((a, b) => area(b) - area(a));
}

async function propose(run, canvas, zoom) {
  const [width, height] = [Math.trunc(canvas.width * zoom), Math.trunc(canvas.height * zoom)];
  const small = new OffscreenCanvas(width, height);
  const context = small.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const floats = new Float32Array(width * height * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) floats[j++] = (data[i + c] - 127.5) / 128;
  const [moves, scores] = await run(0, floats, [1, height, width, 3]);
  const [, rows, columns] = scores.dims;
  const boxes = [];
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const score = scores.data[2 * at + 1];
      if (score <= PROPOSED) continue;
      const [dx1, dy1, dx2, dy2] = moves.data.subarray(4 * at, 4 * at + 4);
      const [x1, y1, wide] = [column * STRIDE + 1, row * STRIDE + 1, CELL - 1];
      boxes.push({
        x1: (x1 + dx1 * wide) / zoom, y1: (y1 + dy1 * wide) / zoom,
        x2: (x1 + wide + dx2 * wide) / zoom, y2: (y1 + wide + dy2 * wide) / zoom, score,
      });
    }
  }
  return suppress(boxes, 0.5);
}

const area = ({ x1, y1, x2, y2 }) => (x2 - x1) * (y2 - y1);

// Non-maximum suppression. ofSmaller : overlap counts as a share of the smaller box, not of the union.
function suppress(boxes, most, ofSmaller = false) {
  const kept = [];
  for (const box of boxes.sort((a, b) => b.score - a.score)) {
    const overlaps = kept.some((other) => {
      const wide = Math.min(box.x2, other.x2) - Math.max(box.x1, other.x1);
      const high = Math.min(box.y2, other.y2) - Math.max(box.y1, other.y1);
      if (wide <= 0 || high <= 0) return false;
      const both = wide * high;
      return both / (ofSmaller ? Math.min(area(box), area(other)) : area(box) + area(other) - both) > most;
    });
    if (!overlaps) kept.push(box);
  }
  return kept;
}

function squared({ x1, y1, x2, y2, score }) {
  const side = Math.max(x2 - x1, y2 - y1);
  const [left, top] = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2];
  return { x1: left, y1: top, x2: left + side, y2: top + side, score };
}

function moved({ x1, y1, x2, y2 }, [dx1, dy1, dx2, dy2], score) {
  const [wide, high] = [x2 - x1 + 1, y2 - y1 + 1];
  return { x1: x1 + dx1 * wide, y1: y1 + dy1 * high, x2: x2 + dx2 * wide, y2: y2 + dy2 * high, score };
}

// Bilinear samples of a box, corner to corner; grey beyond the picture.
function cutPatch({ data, width, height }, { x1, y1, x2, y2 }, side, into, offset) {
  for (let row = 0; row < side; row++) {
    const y = (y1 / height + (row / (side - 1)) * ((y2 - y1) / height)) * (height - 1);
    for (let column = 0; column < side; column++, offset += 3) {
      const x = (x1 / width + (column / (side - 1)) * ((x2 - x1) / width)) * (width - 1);
      if (x < 0 || y < 0 || x > width - 1 || y > height - 1) continue;
      const [left, top] = [Math.min(Math.floor(x), width - 2), Math.min(Math.floor(y), height - 2)];
      const [right, down] = [x - left, y - top];
      const at = 4 * (top * width + left);
      for (let c = 0; c < 3; c++) {
        const upper = data[at + c] * (1 - right) + data[at + 4 + c] * right;
        const lower = data[at + 4 * width + c] * (1 - right) + data[at + 4 * width + 4 + c] * right;
        into[offset + c] = (upper * (1 - down) + lower * down - 127.5) / 128;
      }
    }
  }
}
