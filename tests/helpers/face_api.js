// What the npm package @vladmandic/face-api itself makes of an image: node face_api.js PACKAGE PIXELS SIDE prints the
// descriptor of SIDE x SIDE RGB pixels, a JSON list. The bundle is run as in a browser's worker: it holds all it needs.
const fs = require('fs');
const vm = require('vm');

const [folder, pixels, side] = process.argv.slice(2);
const world = {
  performance, TextEncoder, TextDecoder, setTimeout, clearTimeout, console, fetch, WorkerGlobalScope: Object,
  ArrayBuffer, Float32Array, Int32Array, Uint8Array, Uint8ClampedArray,
};
world.self = world;
vm.createContext(world);
vm.runInContext(fs.readFileSync(`${folder}/dist/face-api.js`, 'utf8'), world);

async function main() {
  const { tf, nets, env } = world.faceapi;
  const none = class {};
  env.setEnv({ Canvas: none, CanvasRenderingContext2D: none, Image: none, ImageData: none, Video: none });
  await tf.setBackend('cpu');
  await tf.ready();
  const stem = `${folder}/model/face_recognition_model`;
  const manifest = JSON.parse(fs.readFileSync(`${stem}-weights_manifest.json`));
  const bytes = fs.readFileSync(`${stem}.bin`);
  const content = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const weights = tf.io.decodeWeights(content, manifest.flatMap((group) => group.weights));
  nets.faceRecognitionNet.loadFromWeightMap(weights);
  const image = tf.tensor3d(new Float32Array(JSON.parse(fs.readFileSync(pixels))), [+side, +side, 3]);
  console.log(JSON.stringify(Array.from(await nets.faceRecognitionNet.computeFaceDescriptor(image))));
}

main().catch((error) => { console.error(String(error)); process.exit(1); });
