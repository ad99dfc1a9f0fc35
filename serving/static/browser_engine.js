// Faces found by the network in this browser: what the page without a server uses.
import { readDescription } from "./face_math.js";
import { facesOf, start } from "./network.js";
import { meshOfArrays } from "./meshes.js";
import { glbFile, objFile, plyFile } from "./mesh_files.js";

const SEARCH = { side: 800, smallest: 24 }; // of a photo's faces, in pixels
const TEXTURES = [256, 512]; // pixels a side of the picture that a mesh is textured with

let made = []; // addresses of files that the page offers

// As of the server's engine.
export async function reconstruct(photo, name, box, signal) {
  const picture = await createImageBitmap(photo).catch(() => { throw new Error("This is not an image that the browser can read. Choose a JPEG, PNG or WebP."); });
  const image = { width: picture.width, height: picture.height };
  const { face } = await start();
  signal.throwIfAborted();
  const kept = await createImageBitmap(picture);
  const { faces } = await facesOf(picture, box ? { rectangles: [box] } : SEARCH);
  return { image, faces, picture: kept, name, grid: readDescription(face), landmark_vertices: face.landmark_vertices };
}

export async function mesh(answer, face) {
  const { points, uv, canvas } = textured(answer, face);
  return meshOfArrays(points, uv, answer.grid, canvas);
}

export async function downloads(answer, face) {
  made.forEach((address) => URL.revokeObjectURL(address));
  const { points, uv, canvas } = textured(answer, face);
  const png = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const stem = `${answer.name.replace(/\.[^.]*$/, "") || "photo"}_face${answer.faces.indexOf(face) + 1}`;
  const { triangles } = answer.grid;
  const described = { image: answer.image, ...face, vertices: undefined, rotation: undefined };
  const files = [
    ["GLB", "mesh with texture", "glb", new Blob([glbFile(points, uv, triangles, await png.arrayBuffer())])],
    ["OBJ", "mesh", "obj", new Blob([objFile(points, uv, triangles)])],
    ["PLY", "mesh", "ply", new Blob([plyFile(points, triangles)])],
    ["TEXTURE", "PNG", "png", png],
    ["JSON", "landmarks, pose", "json", new Blob([JSON.stringify(described, null, 1)])],
  ];
  const offers = files.map(([label, what, suffix, blob]) => [label, what, URL.createObjectURL(blob), `${stem}.${suffix}`]);
  made = offers.map(([, , address]) => address);
  return offers;
}

// The mesh with y up, and the part of the photo around the face as its texture.
function textured({ picture }, { vertices, expected }) {
  const side = 1.6 * expected.side, pixels = TEXTURES[side > TEXTURES[0] ? 1 : 0];
  const [left, top] = expected.centre.map((at) => at + 0.5 - side / 2);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = pixels;
  canvas.getContext("2d").drawImage(picture, left, top, side, side, 0, 0, pixels, pixels);
  const points = vertices.map((x, i) => (i % 3 === 1 ? -x : x));
  const uv = new Float32Array((vertices.length / 3) * 2);
  for (let n = 0; n < uv.length / 2; n++) {
    uv[2 * n] = (vertices[3 * n] + 0.5 - left) / side;
    uv[2 * n + 1] = (vertices[3 * n + 1] + 0.5 - top) / side;
  }
  return { points, uv, canvas };
}
