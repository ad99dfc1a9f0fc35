// What is drawn over a photo or a video: landmarks, boxes, and the box that a person marks.

// The lines of the iBUG landmarks: jaw, brows, nose, eyes, lips; true closes the line.
const FEATURES = [
  [0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];
const DOT = 2.1; // CSS pixels
const KEY_STEP = 0.02; // of the photo's shorter side

export function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// Pixels of the picture per CSS pixel, where it is shown whole in its element.
export function pixelsPerCss(element, { width, height }) {
  const { width: wide, height: high } = element.getBoundingClientRect();
  return Math.max(width / (wide || 1), height / (high || 1));
}

export function frame(overlay, { width, height }) {
  overlay.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
}

// Dots grow with the face until they reach their size on the screen. unit : pixels of the picture per CSS pixel.
export function landmarkShapes({ landmarks, box }, unit) {
  const at = (i) => `${landmarks[i][0]},${landmarks[i][1]}`;
  const lines = FEATURES.map(([first, last, closed]) => {
    const points = Array.from({ length: last - first + 1 }, (_, i) => at(first + i)).join(" ");
    return svg(closed ? "polygon" : "polyline", { class: "line", points });
  });
  const r = Math.min(DOT * unit, box.side / 45);
  return [...lines, ...landmarks.map(([cx, cy]) => svg("circle", { class: "dot", cx, cy, r }))];
}

export function boxShape({ box: { centre, side } }, kind) {
  return svg("rect", { class: kind, x: centre[0] - side / 2, y: centre[1] - side / 2, width: side, height: side, rx: side / 40 });
}

// Let a person draw a box: by dragging, or with the arrow keys (with Shift its size), then Enter. Escape gives up.
// Resolves with [x, y, width, height] in pixels of the picture, or null. signal : ends it. first : the box to begin with,
// in shares of the picture.
export function markBox(overlay, size, signal, first = [0.3, 0.25, 0.4, 0.5]) {
  frame(overlay, size);
  const step = KEY_STEP * Math.min(size.width, size.height);
  let box = first.map((share, i) => share * (i % 2 ? size.height : size.width));
  let start = null;
  const shape = svg("rect", { class: "box chosen marking" });
  overlay.replaceChildren(shape);
  overlay.setAttribute("tabindex", "0");
  overlay.classList.add("marking");
  overlay.focus({ preventScroll: true });
  const draw = () => ["x", "y", "width", "height"].forEach((name, i) => shape.setAttribute(name, box[i]));
  const point = (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(overlay.getScreenCTM().inverse());
    return [Math.min(Math.max(x, 0), size.width), Math.min(Math.max(y, 0), size.height)];
  };
  draw();
  return new Promise((resolve) => {
    const ending = new AbortController();
    const finish = (answer) => {
      ending.abort();
      overlay.classList.remove("marking");
      overlay.removeAttribute("tabindex");
      shape.remove();
      resolve(answer);
    };
    const on = (name, act) => overlay.addEventListener(name, act, { signal: ending.signal });
    signal.addEventListener("abort", () => finish(null), { signal: ending.signal });
    on("pointerdown", (event) => { event.preventDefault(); overlay.setPointerCapture(event.pointerId); start = point(event); });
    on("pointermove", (event) => {
      if (!start) return;
      const end = point(event);
      box = [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.abs(end[0] - start[0]), Math.abs(end[1] - start[1])];
      draw();
    });
    on("pointerup", () => {
      if (start && Math.min(box[2], box[3]) > 6) finish(box);
      start = null;
    });
    on("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key === "Enter") finish(box);
      else if (event.key === "Escape") finish(null);
      else if (event.key in ways) {
        const [x, y] = ways[event.key];
        const first = event.shiftKey ? 2 : 0;
        box[first] = Math.max(box[first] + x * step, event.shiftKey ? 8 : -box[2] / 2);
        box[first + 1] = Math.max(box[first + 1] + y * step, event.shiftKey ? 8 : -box[3] / 2);
        draw();
      } else return;
      event.preventDefault();
    });
  });
}
