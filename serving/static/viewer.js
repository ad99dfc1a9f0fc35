// The 3D stage: one textured mesh that sways until somebody takes hold of it.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const DISTANCE = 5.8; // of the camera, in half heights of the face
const SWAY_ANGLE = 0.55; // radians each way
const SWAY_RATE = 0.7; // radians of phase per second
const DEPTH_COLOURS = ["#2d1160", "#721f81", "#b73779", "#f1605d", "#feb078", "#fcfdbf"].map((c) => new THREE.Color(c));

export class Viewer {
  constructor(canvas) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(26, 1, 0.1, 50);
    this.camera.position.set(0, 0, DISTANCE);
    this.controls = new OrbitControls(this.camera, canvas);
    Object.assign(this.controls, { enableDamping: true, enablePan: false, minDistance: 2.5, maxDistance: 12 });
    this.controls.addEventListener("start", () => { this.held = true; });
    this.held = false;
    this.shown = { landmarks: true, wireframe: false, depth: false, turn: true };
    this.phase = 0;
    this.clock = new THREE.Timer();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
    this.renderer.setAnimationLoop(() => this.frame());
  }

  // glb: ArrayBuffer; landmarkVertices: indices of the mesh's vertices.
  async show(glb, landmarkVertices) {
    const { scene } = await new GLTFLoader().parseAsync(glb, "");
    let mesh;
    scene.traverse((node) => { if (node.isMesh) mesh = node; });
    this.clear();
    const geometry = mesh.geometry.applyMatrix4(mesh.matrixWorld);
    geometry.computeBoundingBox();
    const centre = geometry.boundingBox.getCenter(new THREE.Vector3());
    const size = geometry.boundingBox.getSize(new THREE.Vector3());
    const scale = 2 / Math.max(size.x, size.y);
    geometry.translate(-centre.x, -centre.y, -centre.z).scale(scale, scale, scale);

    const map = mesh.material.map;
    this.textured = new THREE.MeshBasicMaterial(map ? { map } : { vertexColors: true });
    this.textured.side = THREE.DoubleSide;
    this.plain = new THREE.MeshBasicMaterial({ color: "#8fd8cd", wireframe: true, transparent: true, opacity: 0.35 });
    const depthGeometry = geometry.clone().setAttribute("color", depthColours(geometry));
    this.depth = new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide });

    this.group = new THREE.Group();
    this.surface = new THREE.Mesh(geometry, this.textured);
    this.depthSurface = new THREE.Mesh(depthGeometry, this.depth);
    this.points = landmarkPoints(geometry, landmarkVertices);
    this.group.add(this.surface, this.depthSurface, this.points);
    this.scene.add(this.group);
    this.held = false;
    this.phase = 0;
    this.camera.position.set(0, 0, DISTANCE);
    this.controls.target.set(0, 0, 0);
    this.apply();
    this.frame();
  }

  clear() {
    this.group?.traverse((node) => { node.geometry?.dispose(); node.material?.dispose(); });
    this.group?.removeFromParent();
    this.textured?.map?.dispose();
    this.group = null;
  }

  set(name, value) {
    this.shown[name] = value;
    if (name === "turn") this.held = false;
    this.apply();
  }

  apply() {
    if (!this.group) return;
    const { landmarks, wireframe, depth } = this.shown;
    this.surface.visible = wireframe || !depth;
    this.surface.material = wireframe ? this.plain : this.textured;
    this.depthSurface.visible = depth;
    this.points.visible = landmarks;
  }

  resize() {
    const { clientWidth, clientHeight } = this.renderer.domElement.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
  }

  frame() {
    this.clock.update();
    if (this.group && this.shown.turn && !this.held) this.phase += this.clock.getDelta() * SWAY_RATE;
    if (this.group) this.group.rotation.y = SWAY_ANGLE * Math.sin(this.phase);
    this.controls.update();
    this.renderer.render(this.scene, this.camera);
  }
}

function depthColours(geometry) {
  const position = geometry.getAttribute("position");
  const { min, max } = new THREE.Box3().setFromBufferAttribute(position);
  const colours = new Float32Array(position.count * 3);
  const colour = new THREE.Color();
  for (let i = 0; i < position.count; i++) {
    const at = ((position.getZ(i) - min.z) / (max.z - min.z || 1)) * (DEPTH_COLOURS.length - 1);
    const step = Math.min(Math.floor(at), DEPTH_COLOURS.length - 2);
    colour.lerpColors(DEPTH_COLOURS[step], DEPTH_COLOURS[step + 1], at - step).toArray(colours, 3 * i);
  }
  return new THREE.BufferAttribute(colours, 3);
}

function landmarkPoints(geometry, vertices) {
  const position = geometry.getAttribute("position");
  const points = vertices.map((v) => new THREE.Vector3().fromBufferAttribute(position, v));
  const spheres = new THREE.InstancedMesh(
    new THREE.SphereGeometry(0.011, 12, 8), new THREE.MeshBasicMaterial({ color: "#6ff0da" }), points.length);
  points.forEach((point, i) => spheres.setMatrixAt(i, new THREE.Matrix4().setPosition(point)));
  return spheres;
}
