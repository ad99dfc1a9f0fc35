// Faces found by the server that sent this page.
import { meshOfGlb } from "./meshes.js";

const FORMATS = {
  glb: "mesh with texture", obj: "mesh with texture", ply: "mesh with colours", texture: "PNG", sheet: "all of it on a PNG",
  mat: "MATLAB arrays", json: "landmarks, pose",
};

// box : [x, y, width, height], or null where faces are to be found. Resolves with what the server answers.
export async function reconstruct(photo, name, box, signal) {
  const form = new FormData();
  form.append("photo", photo, name);
  if (box) form.append("box", box.map((number) => number.toFixed(2)).join(","));
  return (await fetched("v1/reconstructions", { method: "POST", body: form, signal })).json();
}

export async function mesh(answer, face, signal) {
  return meshOfGlb(await (await fetched(face.links.glb, { signal })).arrayBuffer());
}

// [label, what it is, address, name of the file or "" for the server's].
export function downloads(answer, face) {
  const files = Object.entries(FORMATS).map(([form, what]) => [form.toUpperCase(), what, face.links[form], ""]);
  return [...files, ["ZIP", answer.faces.length > 1 ? "all faces" : "all files", answer.links.zip, ""]];
}

// fetch, with the server's own words as the error.
async function fetched(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server does not answer. Is it still running?"), { passing: true });
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  throw Object.assign(new Error(problem.detail), { passing: answer.status === 503 || answer.status === 429 });
}
