// Faces found by the network in this browser: what the page without a server uses, and live mode.
import { readDescription } from "./face_math.js";
import { meshOfFace } from "./face_mesh.js";
import { expressionShapes, facesOf, meshDescription, start } from "./network.js";
import { meshOfGlb } from "./meshes.js";
import { glbFile, objFile, plyFile } from "./mesh_files.js";
import { completeTexture } from "./texture.js";

const SEARCH = { side: 800, smallest: 24 }; // of a photo's faces, in pixels

let made = []; // addresses of files that the page offers
let shapes = null; // what expressions add to a face, the same for all

// As of the server's engine.
export async function reconstruct(photo, name, box, signal) {
  const picture = await createImageBitmap(photo).catch(() => { throw new Error("This is not an image that the browser can read. Choose a JPEG, PNG or WebP."); });
  const image = { width: picture.width, height: picture.height };
  const { face } = await start();
  signal.throwIfAborted();
  const kept = await createImageBitmap(picture);
  const { faces } = await facesOf(picture, box ? { rectangles: [box] } : SEARCH);
  return { image, faces, picture: kept, name, grid: readDescription(face), landmark_vertices: face.landmark_vertices, files: new Map() };
}

export async function mesh(answer, face) {
  return meshOfGlb((await filesOf(answer, face)).glb.buffer);
}

export async function downloads(answer, face) {
  made.forEach((address) => URL.revokeObjectURL(address));
  const { glb, pixels, uv, triangles, png, texture } = await filesOf(answer, face);
  const points = pixels.map((x, i) => (i % 3 === 1 ? answer.image.height - 1 + x : x));
  const stem = `${answer.name.replace(/\.[^.]*$/, "") || "photo"}_face${answer.faces.indexOf(face) + 1}`;
  const described = { image: answer.image, ...face, vertices: undefined, rotation: undefined, unit: undefined };
  const files = [
    ["GLB", "mesh with texture", "glb", new Blob([glb])],
    ["OBJ", "mesh", "obj", new Blob([objFile(points, uv, triangles, texture.width)])],
    ["PLY", "mesh with colours", "ply", new Blob([plyFile(points, coloursAt(uv, texture), triangles)])],
    ["TEXTURE", "PNG", "png", png],
    ["JSON", "landmarks, pose", "json", new Blob([JSON.stringify(described, null, 1)])],
  ];
  const offers = files.map(([label, what, suffix, blob]) => [label, what, URL.createObjectURL(blob), `${stem}.${suffix}`]);
  made = offers.map(([, , address]) => address);
  return offers;
}

// What the files of a face are made of; made once.
function filesOf(answer, face) {
  if (!answer.files.has(face)) answer.files.set(face, makeFiles(answer, face));
  return answer.files.get(face);
}

async function makeFiles({ picture, grid }, face) {
  const mesh = await meshDescription();
  shapes ??= mesh.morphs.length ? (await expressionShapes()).shapes : null;
  const found = meshOfFace(face, grid.size, mesh, shapes);
  const texture = completeTexture(picture, face, grid, mesh);
  const canvas = new OffscreenCanvas(texture.width, texture.width);
  canvas.getContext("2d").putImageData(texture, 0, 0);
  const png = await canvas.convertToBlob({ type: "image/png" });
  const glb = glbFile(found, mesh, await png.arrayBuffer(), texture.width);
  return { ...found, triangles: mesh.triangles, texture, png, glb };
}

// The texture's colours at places of it, the nearest texel's: N x 3.
function coloursAt(uv, { data, width: side }) {
  const colours = new Uint8Array((uv.length / 2) * 3);
  for (let n = 0; n < uv.length / 2; n++) {
    const texel = Math.round(uv[2 * n + 1] * (side - 1)) * side + Math.round(uv[2 * n] * (side - 1));
    colours.set(data.subarray(4 * texel, 4 * texel + 3), 3 * n);
  }
  return colours;
}
