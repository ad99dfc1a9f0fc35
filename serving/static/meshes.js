// Meshes for the viewer, from files and from arrays.
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { add } from "./face_mesh.js";

// The one mesh of a .glb file (ArrayBuffer), which looks at the viewer. morphs: what its expressions add to it at rest,
// { names, weights, changes, rest }, or null.
export async function meshOfGlb(glb) {
  const { scene } = await new GLTFLoader().parseAsync(glb, "");
  let mesh;
  scene.updateMatrixWorld(true);
  scene.traverse((node) => { if (node.isMesh) mesh = node; });
  const { geometry, material: { map } } = mesh;
  const changes = geometry.morphAttributes.position?.map(({ array }) => array);
  geometry.morphAttributes = {};
  geometry.applyMatrix4(mesh.matrixWorld);
  const position = geometry.getAttribute("position").array;
  if (!changes) return { geometry, map, morphs: null, upright: true };
  const morphs = { names: Object.keys(mesh.morphTargetDictionary), weights: [...mesh.morphTargetInfluences], changes, rest: position.slice() };
  position.set(expressed(morphs));
  return { geometry, map, morphs, upright: true };
}

// The points (N x 3) of a face that shows its expressions by the weights of its morphs.
export function expressed({ rest, changes, weights }) {
  return weights.reduce((points, weight, e) => add(points, changes[e], weight), rest.slice());
}

// points (N x 3): y up, z to the viewer. uv (N x 2): places in the picture (a canvas), v down. layout (N x 2): places in the position map's square.
export function meshOfArrays(points, uv, { triangles, layout }, picture) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(Float32Array.from(points), 3));
  geometry.setAttribute("uv", new THREE.BufferAttribute(Float32Array.from(uv), 2));
  geometry.setAttribute("layout", new THREE.BufferAttribute(layout, 2));
  geometry.setIndex(new THREE.BufferAttribute(Uint32Array.from(triangles), 1));
  const map = new THREE.CanvasTexture(picture);
  Object.assign(map, { flipY: false, colorSpace: THREE.SRGBColorSpace, generateMipmaps: false, minFilter: THREE.LinearFilter });
  return { geometry, map };
}
