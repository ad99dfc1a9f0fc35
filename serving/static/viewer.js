// The 3D stage: one mesh of a face in several views, which sways until somebody takes hold of it.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const DISTANCE = 5.8; // of the camera, in half heights of the face
const SWAY_ANGLE = 0.55; // radians each way
const SWAY_RATE = 0.7; // radians of phase per second
const KEY_ANGLE = Math.PI / 18; // radians a key press turns
const FLAT = new Set(["map", "texture"]); // views of the texels' plane
const GIZMO = 84; // CSS pixels
const DEPTH_COLOURS = ["#2d1160", "#721f81", "#b73779", "#f1605d", "#feb078", "#fcfdbf"].map((c) => new THREE.Color(c));
const SIDES = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]].map((side) => new THREE.Vector3(...side));

export class Viewer {
  // gizmo, light : the buttons that lie over the canvas.
  constructor(canvas, gizmo, light) {
    Object.assign(this, { canvas, gizmo, light });
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.autoClear = false;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(26, 1, 0.1, 50);
    this.flatCamera = new THREE.OrthographicCamera(-1, 1, 1, -1, -2, 2);
    this.controls = new OrbitControls(this.camera, canvas);
    Object.assign(this.controls, { enableDamping: true, enablePan: false, minDistance: 2.5, maxDistance: 12 });
    this.controls.addEventListener("start", () => { this.held = true; });
    this.lamp = new THREE.DirectionalLight("#fff4e6", 2.6);
    this.scene.add(this.camera, new THREE.HemisphereLight("#dfe9f2", "#4a4038", 0.9));
    this.camera.add(this.lamp, this.lamp.target);
    this.head = headGizmo();
    this.shown = { view: "textured", landmarks: true, frontal: false, turn: true };
    this.clock = new THREE.Timer();
    this.listen();
    this.reset();
    this.placeLight(-0.45, 0.55);
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
    this.renderer.setAnimationLoop(() => this.frame());
  }

  // geometry : BufferGeometry with position (y up, z to the viewer), uv (v down) and index, and as "layout" the places in
  // the square of the position map where they are not the uv. map : its texture. upright : whether the face looks at the
  // viewer, not as it does in the photo.
  // landmarkVertices : indices of vertices. rotation : 3 x 3, how the head is turned in the photo.
  show({ geometry, map, upright = false }, landmarkVertices, rotation) {
    this.clear();
    if (!geometry.getAttribute("normal")) geometry.computeVertexNormals();
    this.materials = {
      textured: new THREE.MeshBasicMaterial({ map, side: THREE.DoubleSide }),
      clay: new THREE.MeshStandardMaterial({ color: "#cdb9a6", roughness: 0.62, side: THREE.DoubleSide }),
      wireframe: new THREE.MeshBasicMaterial({ color: "#8fd8cd", wireframe: true, transparent: true, opacity: 0.35 }),
      depth: new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide }),
      map: new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide }),
      texture: new THREE.MeshBasicMaterial({ map, side: THREE.DoubleSide }),
    };
    this.map = map;
    this.upright = upright;
    this.landmarkVertices = landmarkVertices;
    this.surface = new THREE.Mesh(geometry, this.materials.textured);
    this.flat = new THREE.Mesh(geometry.clone(), this.materials.map);
    this.points = new THREE.InstancedMesh(
      new THREE.SphereGeometry(0.011, 12, 8), new THREE.MeshBasicMaterial({ color: "#6ff0da" }), landmarkVertices.length);
    this.turned = new THREE.Group().add(this.surface, this.points);
    this.group = new THREE.Group().add(this.turned);
    this.scene.add(this.group, this.flat);
    this.place(geometry.getAttribute("position").array, rotation);
    this.reset();
    this.apply();
    this.frame();
  }

  // New points of the mesh that is shown: (N x 3) as in `show`, and how the head is turned.
  place(points, rotation) {
    this.turn = new THREE.Quaternion().setFromRotationMatrix(new THREE.Matrix4().setFromMatrix3(new THREE.Matrix3().set(...rotation.flat())));
    this.bounds = boundsOf(points);
    this.deform(points);
  }

  // Other points of the face that is shown, which keeps its place and size.
  deform(points) {
    const { geometry } = this.surface;
    const position = geometry.getAttribute("position");
    this.canvas.dataset.lowest = normalise(points, this.bounds, position.array).toFixed(3);
    position.needsUpdate = true;
    for (const name of ["boundingBox", "boundingSphere"]) geometry[name] = null;
    this.landmarkVertices.forEach((vertex, i) => {
      this.points.setMatrixAt(i, new THREE.Matrix4().setPosition(new THREE.Vector3().fromBufferAttribute(position, vertex)));
    });
    Object.assign(this.points, { boundingSphere: null, boundingBox: null });
    this.points.instanceMatrix.needsUpdate = true;
    this.stale = this.changed = true;
  }

  // The next frame of a face that moves: points and uv (N x 2) as of `show`, and the picture that is its map.
  follow(points, uv, rotation, picture) {
    this.map.image = picture;
    const attribute = this.surface.geometry.getAttribute("uv");
    attribute.array.set(uv);
    attribute.needsUpdate = this.map.needsUpdate = true;
    this.place(points, rotation);
    this.turnHead();
  }

  // As in the photo, or to the viewer.
  turnHead() {
    this.facing = this.upright ? new THREE.Quaternion() : this.turn;
    this.turned.quaternion.copy(this.facing).invert();
    if (!this.shown.frontal) this.turned.quaternion.premultiply(this.turn);
  }

  // Stop swaying.
  hold() {
    this.reset();
    this.held = true;
  }

  // What only some views need, when they need it.
  freshen() {
    const { geometry } = this.surface;
    const { view } = this.shown;
    if (view === "clay") geometry.computeVertexNormals();
    if (view === "depth") geometry.setAttribute("color", depthColours(geometry));
    if (FLAT.has(view)) flatten(this.flat.geometry, geometry);
    if (view === "map") this.flat.geometry.setAttribute("color", placeColours(geometry));
    this.stale = false;
  }

  clear() {
    for (const mesh of [this.surface, this.flat, this.points]) mesh?.geometry.dispose();
    for (const material of [...Object.values(this.materials ?? {}), ...(this.points ? [this.points.material] : [])]) material.dispose();
    this.map?.dispose();
    this.group?.removeFromParent();
    this.flat?.removeFromParent();
    Object.assign(this, { changed: true, group: null, surface: null, flat: null, points: null, materials: null, map: null });
    for (const button of [this.gizmo, this.light]) button.hidden = true;
  }

  set(name, value) {
    this.shown[name] = value;
    if (name === "turn") this.held = false;
    if (name === "frontal" && value) this.reset();
    this.apply();
  }

  apply() {
    if (!this.group) return;
    const { view, landmarks } = this.shown;
    const flat = FLAT.has(view);
    this.group.visible = !flat;
    this.flat.visible = flat;
    (flat ? this.flat : this.surface).material = this.materials[view];
    this.points.visible = landmarks;
    this.turnHead();
    this.controls.enabled = !flat;
    this.gizmo.hidden = flat;
    this.light.hidden = view !== "clay";
    this.stale = this.changed = true;
  }

  reset() {
    this.held = false;
    this.phase = 0;
    if (this.group) this.group.rotation.y = 0;
    this.changed = true;
    this.camera.position.set(0, 0, DISTANCE);
    this.controls.target.set(0, 0, 0);
  }

  listen() {
    const { canvas, gizmo, light } = this;
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.key in turns) this.orbit(...turns[event.key].map((way) => way * KEY_ANGLE));
      else if (event.key === "+" || event.key === "=") this.orbit(0, 0, 0.9);
      else if (event.key === "-") this.orbit(0, 0, 1 / 0.9);
      else if (event.key === "0") this.reset();
      else return;
      event.preventDefault();
    });
    gizmo.addEventListener("click", (event) => this.seeFrom(event));
    light.addEventListener("pointerdown", (event) => light.setPointerCapture(event.pointerId));
    light.addEventListener("pointermove", (event) => {
      if (!light.hasPointerCapture(event.pointerId)) return;
      const { left, top, width, height } = canvas.getBoundingClientRect();
      this.placeLight((2 * (event.clientX - left)) / width - 1, 1 - (2 * (event.clientY - top)) / height);
    });
    light.addEventListener("keydown", (event) => {
      if (!(event.key in turns)) return;
      const [x, y] = turns[event.key];
      this.placeLight(this.lamp.position.x + x * 0.1, this.lamp.position.y - y * 0.1);
      event.preventDefault();
    });
  }

  // The light shines from where its button lies in the stage: x to the right, y up, each -1 to 1.
  placeLight(x, y) {
    const [right, up] = [x, y].map((at) => Math.min(Math.max(at, -0.95), 0.95));
    this.lamp.position.set(right, up, Math.sqrt(Math.max(1 - (right * right + up * up) / 2, 0.05)));
    this.light.style.left = `${50 + 50 * right}%`;
    this.light.style.top = `${50 - 50 * up}%`;
    this.changed = true;
  }

  orbit(right, down, zoom = 1) {
    this.held = this.changed = true;
    const at = new THREE.Spherical().setFromVector3(this.camera.position);
    at.theta += right;
    at.phi = Math.min(Math.max(at.phi + down, 0.05), Math.PI - 0.05);
    at.radius = Math.min(Math.max(at.radius * zoom, this.controls.minDistance), this.controls.maxDistance);
    this.camera.position.setFromSpherical(at);
  }

  headTurn() {
    return this.group.quaternion.clone().multiply(this.turned.quaternion).multiply(this.facing);
  }

  // To the side of the gizmo's head that was clicked; by the keyboard, to the front.
  seeFrom(event) {
    let side = SIDES[0];
    if (event.detail) {
      const { left, top, width, height } = this.gizmo.getBoundingClientRect();
      const at = new THREE.Vector2((2 * (event.clientX - left)) / width - 1, 1 - (2 * (event.clientY - top)) / height);
      const ray = new THREE.Raycaster();
      ray.setFromCamera(at, this.head.camera);
      const [hit] = ray.intersectObject(this.head.figure);
      if (!hit) return;
      const place = this.head.figure.worldToLocal(hit.point.clone());
      side = SIDES.reduce((best, each) => (each.dot(place) > best.dot(place) ? each : best));
    }
    this.phase = 0;
    this.held = this.changed = true;
    this.group.rotation.y = 0;
    this.camera.position.copy(side).applyQuaternion(this.headTurn()).multiplyScalar(DISTANCE);
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    const ratio = clientWidth / clientHeight;
    this.camera.aspect = ratio;
    this.camera.fov = ratio < 1 ? (2 * Math.atan(Math.tan((13 * Math.PI) / 180) / ratio) * 180) / Math.PI : 26;
    this.camera.updateProjectionMatrix();
    const [x, y] = ratio > 1 ? [ratio, 1] : [1, 1 / ratio];
    Object.assign(this.flatCamera, { left: -1.05 * x, right: 1.05 * x, top: 1.05 * y, bottom: -1.05 * y });
    this.flatCamera.updateProjectionMatrix();
    this.changed = true;
  }

  frame() {
    this.clock.update();
    const { view, turn } = this.shown;
    const sways = this.group && turn && !this.held;
    if (sways) {
      this.phase += this.clock.getDelta() * SWAY_RATE;
      this.group.rotation.y = SWAY_ANGLE * Math.sin(this.phase);
    }
    const moved = this.controls.update();
    if (!(sways || moved || this.changed)) return;
    this.changed = false;
    this.canvas.dataset.seen = [...this.camera.position, ...this.lamp.position].map((x) => x.toFixed(3)).join(" ");
    if (this.group && this.stale) this.freshen();
    this.renderer.clear();
    this.renderer.render(this.scene, FLAT.has(view) ? this.flatCamera : this.camera);
    if (this.group && !this.gizmo.hidden) this.drawGizmo();
  }

  drawGizmo() {
    const { clientWidth, clientHeight } = this.canvas;
    this.head.figure.quaternion.copy(this.camera.quaternion).invert().multiply(this.headTurn());
    this.renderer.setViewport(clientWidth - GIZMO - 8, clientHeight - GIZMO - 8, GIZMO, GIZMO);
    this.renderer.clearDepth();
    this.renderer.render(this.head.scene, this.head.camera);
    this.renderer.setViewport(0, 0, clientWidth, clientHeight);
  }
}

// The least and the greatest x, y, z of points (N x 3).
function boundsOf(points) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    low[i % 3] = Math.min(low[i % 3], points[i]);
    high[i % 3] = Math.max(high[i % 3], points[i]);
  }
  return { low, high };
}

// Points moved and scaled so that a face of these bounds is two high and its centre is the origin. Returns the least y.
function normalise(points, { low, high }, into) {
  const scale = 2 / Math.max(high[0] - low[0], high[1] - low[1], 1e-9);
  let lowest = Infinity;
  for (let i = 0; i < points.length; i++) {
    into[i] = (points[i] - (low[i % 3] + high[i % 3]) / 2) * scale;
    if (i % 3 === 1) lowest = Math.min(lowest, into[i]);
  }
  return lowest;
}

// Lay a mesh out as position maps are.
function flatten(flat, geometry) {
  const position = flat.getAttribute("position"), uv = geometry.getAttribute("uv");
  const layout = geometry.getAttribute("layout") ?? uv;
  for (let i = 0; i < layout.count; i++) position.setXYZ(i, 2 * layout.getX(i) - 1, 1 - 2 * layout.getY(i), 0);
  position.needsUpdate = true;
  flat.setAttribute("uv", uv);
  Object.assign(flat, { boundingSphere: null, boundingBox: null });
}

// paint : sets a colour from where a point lies between the least and the greatest x, y, z, each 0 to 1.
function coloured(geometry, paint) {
  const position = geometry.getAttribute("position");
  const { min, max } = new THREE.Box3().setFromBufferAttribute(position);
  const [low, high] = [min.toArray(), max.toArray()];
  const colours = new Float32Array(position.count * 3), colour = new THREE.Color();
  for (let i = 0; i < position.count; i++) {
    const share = low.map((least, axis) => (position.array[3 * i + axis] - least) / (high[axis] - least || 1));
    paint(colour, ...share);
    colour.toArray(colours, 3 * i);
  }
  return new THREE.BufferAttribute(colours, 3);
}

const depthColours = (geometry) => coloured(geometry, (colour, x, y, z) => {
  const at = z * (DEPTH_COLOURS.length - 1);
  const step = Math.min(Math.floor(at), DEPTH_COLOURS.length - 2);
  colour.lerpColors(DEPTH_COLOURS[step], DEPTH_COLOURS[step + 1], at - step);
});

// As position maps are printed: red to the right, green down, blue towards the camera.
const placeColours = (geometry) => coloured(geometry, (colour, x, y, z) => colour.setRGB(x, 1 - y, z, THREE.SRGBColorSpace));

function headGizmo() {
  const scene = new THREE.Scene(), camera = new THREE.OrthographicCamera(-1.5, 1.5, 1.5, -1.5, -5, 5);
  const skin = new THREE.MeshStandardMaterial({ color: "#9fb4b8", roughness: 0.9 });
  const part = (geometry, place, stretch) => {
    const mesh = new THREE.Mesh(geometry, skin);
    mesh.position.set(...place);
    mesh.scale.set(...stretch);
    return mesh;
  };
  const ball = new THREE.SphereGeometry(1, 24, 16);
  const nose = part(new THREE.ConeGeometry(0.16, 0.5, 12), [0, -0.1, 0.9], [1, 1, 1]);
  nose.rotation.x = Math.PI / 5;
  const figure = new THREE.Group().add(
    part(ball, [0, 0, 0], [0.76, 1, 0.86]), nose,
    part(ball, [0.78, -0.05, 0], [0.1, 0.24, 0.16]), part(ball, [-0.78, -0.05, 0], [0.1, 0.24, 0.16]));
  const lamp = new THREE.DirectionalLight("#ffffff", 2.4);
  lamp.position.set(-0.5, 0.8, 1);
  scene.add(figure, lamp, new THREE.HemisphereLight("#ffffff", "#334444", 0.8));
  return { scene, camera, figure };
}
