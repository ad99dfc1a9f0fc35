// The page: a photo becomes landmarks over it and a mesh beside it; live, the webcam does.
import { Viewer } from "./viewer.js";
import { boxShape, frame, landmarkShapes, markBox, pixelsPerCss } from "./overlay.js";
import { rectangleOfBox } from "./face_math.js";
import { expressed } from "./meshes.js";
import { expressionSliders } from "./sliders.js";

const BARS = 8; // expressions shown of a photo
const $ = (id) => document.getElementById(id);
const inBrowser = document.documentElement.dataset.engine === "browser";
const pageEngine = await import(inBrowser ? "./browser_engine.js" : "./server_engine.js");
const stage = $("photo-stage");

let viewer = null;
let current = null; // what the engine answered
let chosen = 0;
let photo = null; // { file, name, engine } of the photo that is shown
let putBack = () => {}; // the face's expressions as they are in the photo
let work = new AbortController(); // ends what is under way: a request, a mark being drawn
let stream = null; // of the webcam
let live = null; // the live mode under way

try {
  viewer = new Viewer($("mesh"), $("gizmo"), $("light"));
} catch {
  $("mesh-hint").textContent = "This browser has no WebGL. Landmarks and downloads work without it.";
}

const actions = { pick, webcam, live: startLive, capture, keep, mark, retry: () => send(photo.file, photo.name, null, photo.engine), back: () => putBack(), leave };
for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => actions[button.dataset.action]());
}
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => sample(button.dataset.sample));
}
$("file").addEventListener("change", () => { if ($("file").files[0]) send($("file").files[0]); $("file").value = ""; });
for (const name of ["landmarks", "frontal", "turn"]) {
  $(`show-${name}`).addEventListener("change", (event) => {
    viewer?.set(name, event.target.checked);
    if (name === "landmarks") drawOverlay();
  });
}
$("views").addEventListener("change", (event) => viewer?.set("view", event.target.value));
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  $("show-turn").checked = false;
  viewer?.set("turn", false);
}
new ResizeObserver(drawOverlay).observe($("photo-figure"));

for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => { event.preventDefault(); stage.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  addEventListener(name, (event) => { event.preventDefault(); if (name === "drop" || !event.relatedTarget) stage.classList.remove("over"); });
}
addEventListener("drop", (event) => { if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]); });
addEventListener("paste", (event) => { if (event.clipboardData.files[0]) send(event.clipboardData.files[0]); });
document.body.dataset.ready = "";

function pick() {
  leave();
  $("file").click();
}

async function sample(url) {
  leave();
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error();
    await send(new File([await answer.blob()], url.split("/").at(-1), { type: "image/jpeg" }));
  } catch {
    say("The sample could not be loaded. Is the server still running?");
  }
}

// Resolves with whether the webcam runs; says why where it does not.
async function openWebcam() {
  leave();
  say();
  if (!navigator.mediaDevices) {
    say("The browser gives a page the webcam on localhost or over HTTPS only. A photo works everywhere.");
    return false;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  } catch (error) {
    say(error.name === "NotFoundError" ? "No webcam was found. A photo works too."
      : "The webcam could not be opened: allow it in the browser, and close other programs that use it.");
    return false;
  }
  $("video").srcObject = stream;
  if (!$("video").videoWidth) await new Promise((done) => $("video").addEventListener("loadedmetadata", done, { once: true }));
  takeShape($("video").videoWidth, $("video").videoHeight);
  $("video").hidden = $("stop").hidden = false;
  $("welcome").hidden = $("photo-figure").hidden = true;
  stage.scrollIntoView({ block: "nearest" });
  return true;
}

async function webcam() {
  $("shutter").hidden = !(await openWebcam());
}

// End what is under way, and show the photo again, or the welcome.
function leave() {
  work.abort();
  work = new AbortController();
  live?.stop();
  live = null;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  for (const id of ["video", "shutter", "stop", "keep", "progress"]) $(id).hidden = true;
  $("photo-figure").hidden = !photo;
  $("welcome").hidden = Boolean(photo);
  $("stages").classList.toggle("filled", Boolean(photo));
  if (photo?.width) takeShape(photo.width, photo.height);
  else $("mark").hidden = true;
}

// The webcam's picture as a file.
function frameShown() {
  const canvas = document.createElement("canvas");
  canvas.width = $("video").videoWidth;
  canvas.height = $("video").videoHeight;
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

async function capture() {
  send(await frameShown(), "webcam.jpg");
}

// The face that live mode shows, as a photo of this browser's own.
async function keep() {
  const { box } = live, face = live.grid;
  const [taken, engine] = await Promise.all([frameShown(), import("./browser_engine.js")]);
  send(taken, "live.jpg", box && rectangleOfBox(box, face.detector), engine);
}

async function startLive() {
  if (!(await openWebcam())) return;
  forget();
  photo = null;
  $("progress").hidden = false;
  const { signal } = work;
  try {
    const { LiveMode } = await import("./live.js");
    if (signal.aborted) return;
    live = new LiveMode({ video: $("video"), overlay: $("live-overlay"), viewer, show: showLive, say });
    await live.start();
  } catch (error) {
    if (signal.aborted) return;
    leave();
    say(`Live mode could not start: ${error.message}`);
  }
  if (!signal.aborted) $("progress").hidden = true;
}

// Let the stage have the picture's proportions.
function takeShape(width, height) {
  $("stages").classList.add("filled");
  $("stages").style.setProperty("--ratio", Math.min(Math.max(width / height, 0.45), 2.4));
}

async function send(file, name = file.name || "photo.jpg", box = null, engine = pageEngine) {
  photo = { file, name, engine };
  leave();
  const { signal } = work;
  forget();
  URL.revokeObjectURL($("photo").src);
  $("photo").src = URL.createObjectURL(file);
  $("progress").hidden = false;
  const shown = $("photo").decode().then(() => true, () => false);
  const start = performance.now();
  try {
    if (await shown) {
      Object.assign(photo, { width: $("photo").naturalWidth, height: $("photo").naturalHeight });
      takeShape(photo.width, photo.height);
      $("mark").hidden = false;
    }
    if (signal.aborted) return;
    const answer = await engine.reconstruct(file, name, box, signal);
    if (signal.aborted) return;
    current = answer;
    $("time").textContent = `${((performance.now() - start) / 1000).toFixed(2)} s`;
    if (!current.faces.length) return say("No face was found in this photo. Mark it yourself, or try a photo in which it is larger, upright and well lit.");
    listFaces();
    await choose(0, signal);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    say(error.message);
    $("retry").hidden = !error.passing;
    if (!photo.width) { // not a picture: nothing to look at
      photo = null;
      leave();
    }
  } finally {
    if (!signal.aborted) $("progress").hidden = true;
  }
}

async function mark() {
  leave();
  say("Drag a box over the face, from the brows to the chin; or move it with the arrow keys (with Shift its size) and press Enter.", "hint");
  stage.scrollIntoView({ block: "nearest" });
  const box = await markBox($("overlay"), photo, work.signal);
  if (box) return send(photo.file, photo.name, box, photo.engine);
  say();
  drawOverlay();
}

async function choose(index, signal) {
  chosen = index;
  drawOverlay();
  for (const button of $("faces").children) button.setAttribute("aria-pressed", button.dataset.index === String(index));
  const face = current.faces[index];
  describe(face);
  showBars($("bars"), strongest(face.expressions));
  showBars($("gaze"), face.scores);
  $("time-label").textContent = "Time";
  $("panel").hidden = false;
  const [found, files] = await Promise.all([photo.engine.mesh(current, face, signal), photo.engine.downloads(current, face)]);
  if (signal.aborted) return;
  $("downloads").replaceChildren(...files.map(downloadLink));
  $("downloads").hidden = false;
  $("mesh-hint").hidden = Boolean(viewer);
  viewer?.show(found, current.landmark_vertices, headRotation(face.pose.matrix));
  offerSliders(found.morphs);
  document.body.dataset.mesh = String(index);
}

function describe(face) {
  for (const angle of ["yaw", "pitch", "roll"]) $(angle).textContent = `${(Math.round(face.pose[angle] * 10) / 10 + 0).toFixed(1)}°`;
  $("size").textContent = `${Math.round(face.box.side)} px`;
  $("confidence").textContent = face.confidence === undefined ? "–" : `${Math.round(100 * face.confidence)} %`;
  $("doubts").hidden = !face.doubts?.length;
  $("doubts").replaceChildren(...(face.doubts ?? []).map((doubt) => element("li", "", doubt)));
}

// Rows of the head's rotation, y up, from the first three columns of the pose's matrix, y down.
function headRotation(matrix) {
  const [a, b, c] = matrix.map((row) => row.slice(0, 3));
  const length = Math.hypot(...a);
  return [a.map((x) => x / length), b.map((x) => -x / length), c.map((x) => x / length)];
}

function offerSliders(morphs) {
  $("play").hidden = !viewer || !morphs;
  if (!viewer || !morphs) return;
  const move = (weights) => viewer.deform(expressed({ ...morphs, weights }));
  putBack = expressionSliders($("sliders"), $("all-sliders"), morphs, move);
}

// Those that a photo shows, the strongest first.
function strongest(expressions) {
  return expressions && Object.fromEntries(Object.entries(expressions).sort((a, b) => b[1] - a[1]).slice(0, BARS).filter(([, value]) => value >= 0.05));
}

// values : by name, or null. Bars stay in place while they move.
function showBars(bars, values) {
  const names = Object.keys(values ?? {});
  bars.parentElement.hidden = !names.length;
  if (bars.dataset.names !== names.join()) {
    bars.dataset.names = names.join();
    bars.replaceChildren(...names.map((name) => {
      const bar = element("label", "bar", name);
      bar.append(Object.assign(element("meter"), { min: 0, max: 1 }));
      return bar;
    }));
  }
  names.forEach((name, i) => { bars.children[i].lastChild.value = values[name]; });
}

// What live mode found in a frame.
function showLive({ face, rate }) {
  describe({ ...face, doubts: [] }); // words that come and go would move the page
  $("time-label").textContent = "Frames";
  $("time").textContent = `${rate.toFixed(0)} / s`;
  showBars($("bars"), face.expressions);
  showBars($("gaze"), face.scores);
  $("keep").hidden = false;
  $("mesh-hint").hidden = Boolean(viewer);
  $("downloads").hidden = true;
  $("panel").hidden = false;
}

function forget() {
  say();
  current = null;
  viewer?.clear();
  delete document.body.dataset.mesh;
  $("overlay").replaceChildren();
  $("mesh-hint").hidden = false;
  for (const id of ["panel", "faces", "doubts", "play", "retry", "mark"]) $(id).hidden = true;
}

function listFaces() {
  $("faces").hidden = current.faces.length < 2;
  $("faces").replaceChildren(...current.faces.map((_, index) => {
    const button = Object.assign(element("button", "", `Face ${index + 1}`), { type: "button", onclick: () => change(index) });
    button.dataset.index = index;
    return button;
  }));
}

function change(index) {
  const { signal } = work;
  choose(index, signal).catch((error) => { if (!signal.aborted) say(error.message); });
}

function downloadLink([label, what, href, name]) {
  const link = Object.assign(element("a"), { href, download: name });
  link.append(element("strong", "", label), element("small", "", what));
  return link;
}

function drawOverlay() {
  const overlay = $("overlay");
  if (!current || overlay.classList.contains("marking")) return;
  frame(overlay, current.image);
  const unit = pixelsPerCss(overlay, current.image);
  overlay.replaceChildren(...current.faces.flatMap((face, index) => {
    const shapes = $("show-landmarks").checked ? landmarkShapes(face, unit) : [];
    if (current.faces.length < 2) return shapes;
    const box = boxShape(face, index === chosen ? "box chosen" : "box");
    box.addEventListener("click", () => change(index));
    return [box, ...shapes];
  }));
}

function element(name, className = "", text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

// kind : "trouble", or "hint" for what to do next.
function say(text, kind = "trouble") {
  $("message").className = `message ${kind}`;
  $("message").textContent = text ?? "";
  $("message").hidden = !text;
}
