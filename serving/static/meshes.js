// Meshes for the viewer, from files and from arrays.
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

// The one mesh of a .glb file (ArrayBuffer).
export async function meshOfGlb(glb) {
  const { scene } = await new GLTFLoader().parseAsync(glb, "");
  let mesh;
  scene.updateMatrixWorld(true);
  scene.traverse((node) => { if (node.isMesh) mesh = node; });
  return { geometry: mesh.geometry.applyMatrix4(mesh.matrixWorld), map: mesh.material.map };
}

// points (N x 3): y up, z to the viewer. uv (N x 2): places in the picture (a canvas), v down. grid: what face.json says.
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
