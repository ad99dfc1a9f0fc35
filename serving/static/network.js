import { readMesh } from "./face_mesh.js";

// The page's end of the worker: it is started, and its files are loaded, when the first face is asked for.
let worker = null;
let started = null;
let described = null;
let count = 0;
const waiting = new Map();

function ask(message, transfer = []) {
  worker ??= startWorker();
  const id = count++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...message }, transfer);
  });
}

function startWorker() {
  const made = new Worker(new URL(`./worker.js${location.search}`, import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data: { id, problem, ...answer } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (problem) reject(new Error(problem));
    else resolve(answer);
  });
  made.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "the worker could not start"));
    waiting.clear();
    worker = started = null;
  });
  return made;
}

// Resolves with { face: what face.json says, threads, provider } once the network runs.
export function start() {
  started ??= ask({ start: true }).catch((error) => { started = null; throw error; });
  return started;
}

// Resolve with { faces, seconds }. picture : an ImageBitmap, which is handed over. where : see worker.js.
export const facesOf = (picture, where) => ask({ picture, ...where }, [picture]);
// floats : a crop as `cutCrop` returns it, handed over. box : what it was cut around. size : of the picture.
export const faceOfCrop = (floats, box, size) => ask({ crop: { floats, box, ...size } }, [floats.buffer]);
// Resolves with { shapes }: see worker.js.
export const expressionShapes = () => ask({ shapes: true });

// Resolves with what mesh.json says.
export function meshDescription() {
  described ??= fetchMesh().catch((error) => { described = null; throw error; });
  return described;
}

async function fetchMesh() {
  const answer = await fetch(new URL("../live/mesh.json", import.meta.url)).catch(() => null);
  if (!answer?.ok) throw new Error("mesh.json could not be loaded; is the connection gone?");
  return readMesh(await answer.json());
}
