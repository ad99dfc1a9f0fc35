// The page: a photo goes to the server, its landmarks are drawn over it and its mesh beside it.
import { Viewer } from "./viewer.js";

const FORMATS = {
  glb: "mesh with texture", obj: "mesh with texture", ply: "mesh with colours", mat: "MATLAB arrays", json: "landmarks, pose",
};
// The lines of the iBUG landmarks: jaw, brows, nose, eyes, lips; true closes the line.
const FEATURES = [
  [0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];
const $ = (id) => document.getElementById(id);

let viewer = null;
let current = null; // what the server answered
let chosen = 0;
let sending = null; // the request under way
let stream = null; // of the webcam

try {
  viewer = new Viewer($("mesh"));
} catch {
  $("mesh-hint").textContent = "This browser has no WebGL. Landmarks and downloads work without it.";
}

for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => ({ pick, webcam, capture, cancel: stopWebcam })[button.dataset.action]());
}
$("file").addEventListener("change", () => { if ($("file").files[0]) send($("file").files[0]); $("file").value = ""; });
for (const name of ["landmarks", "wireframe", "depth"]) {
  $(`show-${name}`).addEventListener("change", (event) => {
    viewer?.set(name, event.target.checked);
    if (name === "landmarks") drawOverlay();
  });
}
$("turn").addEventListener("change", (event) => viewer?.set("turn", event.target.checked));
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  $("turn").checked = false;
  viewer?.set("turn", false);
}

const stage = $("photo-stage");
for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => { event.preventDefault(); stage.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  addEventListener(name, (event) => { event.preventDefault(); if (name === "drop" || !event.relatedTarget) stage.classList.remove("over"); });
}
addEventListener("drop", (event) => { if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]); });
addEventListener("paste", (event) => { if (event.clipboardData.files[0]) send(event.clipboardData.files[0]); });

function pick() {
  stopWebcam();
  $("file").click();
}

async function webcam() {
  say();
  if (!navigator.mediaDevices) return say("The browser gives a page the webcam on localhost or over HTTPS only.");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  } catch (error) {
    return say(error.name === "NotFoundError" ? "No webcam was found." : "The webcam could not be opened: allow it in the browser, and close other programs that use it.");
  }
  $("video").srcObject = stream;
  for (const id of ["video", "shutter"]) $(id).hidden = false;
  $("welcome").hidden = true;
  stage.scrollIntoView({ block: "nearest" });
}

function stopWebcam() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  for (const id of ["video", "shutter"]) $(id).hidden = true;
  $("welcome").hidden = !$("photo-figure").hidden;
}

function capture() {
  const canvas = document.createElement("canvas");
  canvas.width = $("video").videoWidth;
  canvas.height = $("video").videoHeight;
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  canvas.toBlob((photo) => { stopWebcam(); send(photo); }, "image/jpeg", 0.92);
}

async function send(photo) {
  stopWebcam();
  sending?.abort();
  const request = (sending = new AbortController());
  forget();
  URL.revokeObjectURL($("photo").src);
  $("photo").src = URL.createObjectURL(photo);
  $("welcome").hidden = true;
  for (const id of ["photo-figure", "progress"]) $(id).hidden = false;
  stage.classList.add("filled");
  document.querySelector(".stages").classList.add("filled");
  const form = new FormData();
  form.append("photo", photo, photo.name ?? "webcam.jpg");
  const start = performance.now();
  try {
    const answer = await fetched("v1/reconstructions", { method: "POST", body: form, signal: request.signal });
    current = await answer.json();
    $("time").textContent = `${((performance.now() - start) / 1000).toFixed(2)} s`;
    if (!current.faces.length) return say("No face was found in this photo. Try one in which the face is larger, upright and well lit.");
    listFaces();
    await choose(0, request.signal);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (request === sending) $("progress").hidden = true;
  }
}

// fetch, with the server's own words as the error.
async function fetched(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  throw new Error(problem.detail);
}

async function choose(index, signal) {
  chosen = index;
  drawOverlay();
  for (const button of $("faces").children) button.setAttribute("aria-pressed", button.dataset.index === String(index));
  const face = current.faces[index];
  for (const angle of ["yaw", "pitch", "roll"]) $(angle).textContent = `${(Math.round(face.pose[angle] * 10) / 10 + 0).toFixed(1)}°`;
  $("size").textContent = `${Math.round(face.box.side)} px`;
  $("downloads").replaceChildren(...Object.entries(FORMATS).map(([format, what]) => downloadLink(face, format, what)));
  $("panel").hidden = false;
  const glb = await (await fetched(face.links.glb, { signal })).arrayBuffer();
  $("mesh-hint").hidden = Boolean(viewer);
  await viewer?.show(glb, current.landmark_vertices);
  document.body.dataset.mesh = String(index);
}

function forget() {
  say();
  current = null;
  viewer?.clear();
  delete document.body.dataset.mesh;
  $("overlay").replaceChildren();
  $("mesh-hint").hidden = false;
  for (const id of ["panel", "faces"]) $(id).hidden = true;
}

function listFaces() {
  $("faces").hidden = current.faces.length < 2;
  $("faces").replaceChildren(...current.faces.map((_, index) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: `Face ${index + 1}`, onclick: () => change(index) });
    button.dataset.index = index;
    return button;
  }));
}

function change(index) {
  choose(index).catch((error) => say(error.message));
}

function downloadLink(face, format, what) {
  const link = document.createElement("a");
  link.href = face.links[format];
  link.download = "";
  const name = document.createElement("strong");
  name.textContent = format.toUpperCase();
  const note = document.createElement("small");
  note.textContent = what;
  link.append(name, note);
  return link;
}

function drawOverlay() {
  if (!current) return;
  const { width, height } = current.image;
  $("overlay").setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  $("overlay").replaceChildren(...current.faces.flatMap((face, index) => drawFace(face, index)));
}

function drawFace(face, index) {
  const drawn = [];
  if (current.faces.length > 1) {
    const { centre, side } = face.box;
    const box = svg("rect", {
      class: index === chosen ? "box chosen" : "box",
      x: centre[0] - side / 2, y: centre[1] - side / 2, width: side, height: side, rx: side / 40,
    });
    box.addEventListener("click", () => change(index));
    drawn.push(box);
  }
  if ($("show-landmarks").checked) {
    const at = (i) => `${face.landmarks[i][0]},${face.landmarks[i][1]}`;
    for (const [first, last, closed] of FEATURES) {
      const points = Array.from({ length: last - first + 1 }, (_, i) => at(first + i)).join(" ");
      drawn.push(svg(closed ? "polygon" : "polyline", { class: "line", points }));
    }
    const r = face.box.side / 130;
    drawn.push(...face.landmarks.map(([cx, cy]) => svg("circle", { class: "dot", cx, cy, r })));
  }
  return drawn;
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function say(text) {
  $("message").textContent = text ?? "";
  $("message").hidden = !text;
}
