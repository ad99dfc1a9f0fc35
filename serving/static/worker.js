// Runs detector and network beside the page. { id, start: true } loads them, and answers { id, face, threads, provider }. Then it
// takes a picture (ImageBitmap) with rectangles [x, y, width, height] of its faces, or with the side to which it is reduced
// before they are looked for, and their smallest size there; or a crop (floats), the box that it was cut around and the
// picture's size. It answers { id, faces, seconds }, or { id, problem }. Asked { id, shapes: true } it answers with what each
// expression adds to the vertices of a face (E x N x 3), in the unit of the network's face model, or null without one.
import { boxOfRectangle, cutCrop, readDescription, restoreFace } from "./face_math.js";
import { findFaces } from "./detector.js";
import { judge } from "./quality.js";

const LIVE = new URL("../live/", import.meta.url);
const RUNTIME = new URL("./vendor/onnxruntime/", import.meta.url);
const MOST_THREADS = 4; // and one core fewer than there are, which draws
const MOST_FACES = 32;
const TRIAL_CALLS = 3;
const ASKED = new URLSearchParams(self.location.search).get("runtime"); // "wasm" or "webgpu", or what is faster
const DECODER = ["decoder_kernel", "decoder_mean", "decoder_texels"]; // outputs that are the same for every crop

let loading = null; // what `load` will have

onmessage = async ({ data: { id, start, shapes, ...asked } }) => {
  try {
    loading ??= load();
    const loaded = await loading;
    if (start) postMessage({ id, face: loaded.json, threads: loaded.threads, provider: loaded.provider });
    else if (shapes) postMessage({ id, shapes: await shapesOf(loaded) });
    else answer(id, await facesOf(asked, loaded));
  } catch (error) {
    if (start) loading = null;
    postMessage({ id, problem: error.message });
  }
};

function answer(id, { faces, seconds }) {
  postMessage({ id, faces, seconds }, faces.map((face) => face.vertices.buffer));
}

async function load() {
  const gpu = ASKED !== "wasm" && (await hasGpu());
  if (ASKED === "webgpu" && !gpu) throw new Error("This browser has no WebGPU that the network could use.");
  const ort = await import(new URL(gpu ? "ort.jspi.min.mjs" : "ort.wasm.min.mjs", RUNTIME));
  const threads = self.crossOriginIsolated ? Math.min(Math.max(navigator.hardwareConcurrency - 1, 1), MOST_THREADS) : 1;
  const [binary, json, ...networks] = await Promise.all([
    unpacked(new URL(`ort-wasm-simd-threaded${gpu ? ".jspi" : ""}.wasm.gz`, RUNTIME)),
    fetched(new URL("face.json", LIVE)).then((text) => JSON.parse(new TextDecoder().decode(text))),
    ...["network", "detector1", "detector2", "detector3"].map((name) => fetched(new URL(`${name}.onnx`, LIVE))),
  ]);
  Object.assign(ort.env.wasm, { numThreads: threads, wasmBinary: binary, wasmPaths: RUNTIME.href });
  ort.env.logLevel = "error";
  const face = readDescription(json);
  const crop = new OffscreenCanvas(face.size, face.size).getContext("2d", { willReadFrequently: true });
  const runOn = async (session, floats, shape, wanted = (name) => !DECODER.includes(name)) => {
    const names = session.outputNames.filter(wanted);
    const found = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", floats, shape) }, names);
    return names.map((name) => found[name]);
  };
  const open = (file, provider) => ort.InferenceSession.create(new Uint8Array(file), { executionProviders: [provider], logSeverityLevel: 3 });
  const call = (session) => runOn(session, new Float32Array(face.size * face.size * 3), [1, face.size, face.size, 3]);
  const providers = gpu && ASKED === "webgpu" ? ["webgpu"] : gpu ? ["wasm", "webgpu"] : ["wasm"];
  const { session, provider } = await fastest(providers, (each) => open(networks[0], each), call);
  const sessions = [session];
  for (const detector of networks.slice(1)) sessions.push(await open(detector, "wasm"));
  const run = (number, ...asked) => runOn(sessions[number], ...asked);
  return { face, json, run, crop, threads, provider };
}

// Whether there is a GPU, and what onnxruntime-web's smaller build for it needs of JavaScript. A renderer in software is
// taken only where it is asked for.
async function hasGpu() {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && (ASKED === "webgpu" || !adapter.info.isFallbackAdapter);
}

// The session whose calls are the fastest here, and its provider: with so small a network a GPU may be slower.
async function fastest(providers, open, call) {
  const tried = [];
  for (const provider of providers) {
    try {
      const session = await open(provider);
      await call(session);
      const begun = performance.now();
      for (let n = 0; n < TRIAL_CALLS; n++) await call(session);
      tried.push({ provider, session, spent: performance.now() - begun });
    } catch (error) {
      if (provider === providers.at(-1) && !tried.length) throw error;
    }
  }
  const [best, ...others] = tried.sort((a, b) => a.spent - b.spent);
  for (const { session } of others) await session.release();
  return best;
}

async function fetched(url) {
  const answer = await fetch(url).catch(() => { throw new Error("the network could not be loaded; is the connection gone?"); });
  if (answer.ok) return answer.arrayBuffer();
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `${url.pathname} is missing (${answer.status})`);
}

// Some hosts unpack a .gz as they send it.
async function unpacked(url) {
  const bytes = await fetched(url);
  const [first, second] = new Uint8Array(bytes, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function facesOf({ picture, rectangles, crop: given, most = MOST_FACES, side, smallest }, { face, run, crop }) {
  const begun = performance.now();
  const crops = given ? [given] : [];
  if (picture) {
    const found = rectangles ?? (await detect(picture, side, smallest, face, run));
    const boxes = found.slice(0, most).map((each) => boxOfRectangle(each, face.detector));
    const { width, height } = picture;
    crops.push(...boxes.map((box) => ({ box, width, height, floats: cutCrop(picture, box, face, crop) })));
    picture.close();
  }
  const cut = performance.now();
  const faces = [];
  for (const { box, floats, width, height } of crops) {
    const outputs = await run(0, floats, [1, face.size, face.size, 3]);
    const found = { expected: box, ...restoreFace(...[0, 1, 2].map((n) => outputs[n]?.data), box, face) };
    faces.push({ ...found, ...judge(found, floats, { width, height }, face) });
  }
  return { faces, seconds: { detecting: (cut - begun) / 1000, network: (performance.now() - cut) / 1000 } };
}

async function shapesOf({ face: { size, parameters, texels }, run }) {
  const crop = [new Float32Array(size * size * 3), [1, size, size, 3]];
  const [kernel, , places] = await run(0, ...crop, (name) => DECODER.includes(name));
  if (!kernel) return null;
  const { identity_count: first, deviation } = parameters, columns = kernel.dims[1];
  const shapes = new Float32Array(deviation.length * texels.length * 3);
  let at = 0;
  for (let e = 0; e < deviation.length; e++) {
    for (const texel of texels) {
      const from = (first + e) * columns + 3 * Number(places.data[texel]);
      for (let axis = 0; axis < 3; axis++) shapes[at++] = kernel.data[from + axis] / deviation[e];
    }
  }
  return shapes;
}

// Rectangles [x, y, width, height] of a picture's faces. side : the longest side on which they are looked for.
async function detect(picture, side, smallest, face, run) {
  const zoom = Math.min(side / Math.max(picture.width, picture.height), 1);
  const canvas = new OffscreenCanvas(Math.max(Math.round(picture.width * zoom), 1), Math.max(Math.round(picture.height * zoom), 1));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const boxes = await findFaces((stage, ...inputs) => run(stage + 1, ...inputs), canvas, smallest, face.detector.least_confidence);
  return boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2 - x1, y2 - y1].map((x) => x / zoom));
}
