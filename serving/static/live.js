// Live mode: the webcam's face, frame by frame, by the network in this browser. No picture leaves it.
import { OneEuroFilter, angles, cutCrop, landmarkBox, readDescription } from "./face_math.js";
import { textureUv, wholeFace } from "./face_mesh.js";
import { faceOfCrop, facesOf, meshDescription, start } from "./network.js";
import { meshOfArrays } from "./meshes.js";
import { frame, landmarkShapes, markBox, pixelsPerCss } from "./overlay.js";

const SEARCH = { side: 480, smallest: 36, most: 1 }; // of the first face, in pixels
const TEXTURE = 256; // pixels a side of the picture on the mask
const RATE_FRAMES = 20; // over which the rate is measured
const LOST = { move: 0.35, grow: 1.5 }; // in sides of the face from frame to frame: then it is looked for again
const PATIENCE = 2.5; // seconds without a face until a person is asked to mark it
const TEXT_EVERY = 150; // milliseconds between changes of the numbers

export class LiveMode {
  // video, overlay : where the face is; viewer : the 3D stage or null; show({ face, rate }) : for numbers and bars; say : for words.
  constructor({ video, overlay, viewer, show, say }) {
    Object.assign(this, { video, overlay, viewer, show, say });
    this.ending = new AbortController();
    this.box = null;
    this.times = [];
    this.canvases = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width: TEXTURE, height: TEXTURE }));
  }

  async start() {
    const [{ face, threads, provider }, mesh] = await Promise.all([start(), meshDescription()]);
    this.grid = readDescription(face);
    this.mesh = { ...mesh, layout: textureUv(face.size, mesh) };
    const canvas = Object.assign(document.createElement("canvas"), { width: face.size, height: face.size });
    this.crop = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(document.body.dataset, { threads, provider });
    this.lastSeen = performance.now();
    if (!this.stopped) this.loop();
  }

  get stopped() {
    return this.ending.signal.aborted;
  }

  stop() {
    this.ending.abort();
    this.overlay.replaceChildren();
    delete document.body.dataset.live;
  }

  // While a frame is drawn the network looks at the next one already.
  async loop() {
    let asked = this.ask();
    while (!this.stopped) {
      try {
        const { answer, ...seen } = await asked;
        if (this.stopped) return;
        const face = this.take(answer, seen);
        asked = this.ask();
        asked.catch(() => {}); // it is awaited in the next turn, unless live mode ends before
        if (face) this.draw(face, seen);
        if (face) this.count(face, answer.seconds);
      } catch (error) {
        if (!this.stopped) this.say(`Live mode stopped: ${error.message}`);
        return this.stop();
      }
      await new Promise((done) => requestAnimationFrame(done));
    }
  }

  // Hand the video's frame to the network. Resolves with its answer, the box that it looked at, the frame's size, and where
  // the picture for the mask lies in it.
  async ask() {
    const { video, box } = this;
    const size = { width: video.videoWidth, height: video.videoHeight };
    const part = this.drawTexture();
    const answer = await (box ? faceOfCrop(cutCrop(video, box, this.grid, this.crop), box, size)
      : facesOf(await createImageBitmap(video), SEARCH));
    return { answer, box, size, part };
  }

  // The face of an answer, smoothed, or undefined where there is none to follow.
  take({ faces: [face] }, { box, size }) {
    const now = performance.now();
    if (!face || !this.follows(face)) {
      if (this.box === box) this.box = null; // a person may have marked another meanwhile
      this.look(now, size);
      return undefined;
    }
    if (!this.filter) this.say();
    this.lastSeen = now;
    this.smooth(face, this.seenAt ? (now - this.seenAt) / 1000 : 1 / 30);
    this.seenAt = now;
    this.box = landmarkBox(face.landmarks);
    return face;
  }

  // Whether what was found is where and as large as the face before, and looks like one.
  follows({ box, expected, landmarks }) {
    const move = Math.hypot(box.centre[0] - expected.centre[0], box.centre[1] - expected.centre[1]) / expected.side;
    const grown = Math.max(box.side / expected.side, expected.side / box.side);
    return landmarks.flat().every(Number.isFinite) && move < LOST.move && grown < LOST.grow;
  }

  // Without a face: say so after a while, and let a person mark it.
  look(now, size) {
    this.filter = this.seenAt = null;
    this.times = [];
    if (now - this.lastSeen < PATIENCE * 1000 || this.marking) return;
    this.marking = true;
    this.overlay.replaceChildren();
    this.say("No face is found. Turn to the camera and the light, or drag a box over your face.", "hint");
    const marking = new AbortController();
    this.ending.signal.addEventListener("abort", () => marking.abort());
    this.endMarking = () => marking.abort();
    markBox(this.overlay, size, marking.signal).then((marked) => {
      this.marking = false;
      this.lastSeen = performance.now();
      if (marked) this.box = { centre: [marked[0] + marked[2] / 2, marked[1] + marked[3] / 2], side: (marked[2] + marked[3]) / 2 };
    });
  }

  smooth(face, seconds) {
    this.endMarking?.();
    this.filter ??= [0, 1, 2].map(() => new OneEuroFilter(this.grid.smoothing));
    const [points, shape, numbers] = this.filter;
    const { side } = face.box;
    const landmarks = points.smooth(face.landmarks.flat(), seconds, side);
    face.landmarks = face.landmarks.map((_, i) => Array.from(landmarks.subarray(3 * i, 3 * i + 3)));
    face.vertices = Float32Array.from(shape.smooth(face.vertices, seconds, side));
    const kinds = ["expressions", "scores"].filter((kind) => face[kind]);
    const smooth = numbers.smooth([...face.rotation.flat(), ...kinds.flatMap((kind) => Object.values(face[kind]))], seconds);
    face.rotation = [0, 1, 2].map((row) => Array.from(smooth.subarray(3 * row, 3 * row + 3)));
    face.pose = { ...face.pose, ...angles(face.rotation) };
    let at = 9;
    for (const kind of kinds) face[kind] = Object.fromEntries(Object.keys(face[kind]).map((name) => [name, smooth[at++]]));
    face.box = landmarkBox(face.landmarks);
  }

  // The part of the frame around the face's box, in one of two pictures: the other one is being shown.
  drawTexture() {
    if (!this.box) return null;
    this.canvases.reverse();
    const [canvas] = this.canvases, side = 1.6 * this.box.side;
    const [left, top] = this.box.centre.map((at) => at + 0.5 - side / 2);
    canvas.getContext("2d").drawImage(this.video, left, top, side, side, 0, 0, TEXTURE, TEXTURE);
    return { canvas, side, left, top };
  }

  draw(face, { size, part }) {
    frame(this.overlay, size);
    this.overlay.replaceChildren(...landmarkShapes(face, pixelsPerCss(this.overlay, size)));
    if (!this.viewer || !part) return;
    const vertices = wholeFace(face.vertices, this.mesh);
    const points = vertices.map((x, i) => (i % 3 === 2 ? x : -x)); // mirrored as the video is
    const rotation = face.rotation.map((row, r) => row.map((x, c) => ((r === 0) === (c === 0) ? x : -x)));
    const uv = new Float32Array((vertices.length / 3) * 2);
    for (let n = 0; n < uv.length / 2; n++) {
      uv[2 * n] = (vertices[3 * n] + 0.5 - part.left) / part.side;
      uv[2 * n + 1] = (vertices[3 * n + 1] + 0.5 - part.top) / part.side;
    }
    if (this.shown) return this.viewer.follow(points, uv, rotation, part.canvas);
    this.viewer.show(meshOfArrays(points, uv, this.mesh, part.canvas), this.grid.landmark_vertices, rotation);
    this.viewer.hold();
    this.shown = true;
  }

  count(face, seconds) {
    const now = performance.now();
    this.frames = (this.frames ?? 0) + 1;
    document.body.dataset.live = String(this.frames);
    document.body.dataset.networkSeconds = seconds.network.toFixed(4);
    this.times.push(now);
    if (this.times.length > RATE_FRAMES) this.times.shift();
    const spent = (now - this.times[0]) / 1000;
    this.rate = spent > 0 ? (this.times.length - 1) / spent : 0;
    if (now - (this.toldAt ?? 0) < TEXT_EVERY) return;
    this.toldAt = now;
    this.show({ face, rate: this.rate });
    document.body.dataset.rate = this.rate.toFixed(1);
  }
}
