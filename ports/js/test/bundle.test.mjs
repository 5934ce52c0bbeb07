/** Bundles that must be refused, pictures that must be refused, and that the next picture works. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";
import sharp from "sharp";

import { Diagnoser, loadBundle, ortEngine, parseManifest } from "../dist/index.js";
import { fromFolder, sharpDecoder } from "../dist/node.js";

const folder = fileURLToPath(new URL("../../../exported/mobile", import.meta.url));
const examples = fileURLToPath(new URL("../../../examples", import.meta.url));
const source = fromFolder(folder);
const manifest = JSON.parse(await readFile(`${folder}/bundle.json`, "utf8"));
const engine = ortEngine(ort, { intraOpNumThreads: 1 });
const code = (expected) => (error) => error.code === expected && error.remedy.length > 0;

function changed(change) {
  const copy = structuredClone(manifest);
  change(copy);
  return JSON.stringify(copy);
}

const REFUSED = {
  "newer schema": (m) => (m.schema_version = 99),
  "schema as text": (m) => (m.schema_version = "2"),
  "unknown key": (m) => (m.extra = 1),
  "unknown inner key": (m) => (m.roi.marign = 0.1),
  "missing key": (m) => delete m.mask,
  "text for a number": (m) => (m.mask.threshold = "0.5"),
  "threshold of 1": (m) => (m.mask.threshold = 1),
  "unknown crop rule": (m) => (m.roi.outside = "stretch"),
  "unknown default": (m) => (m.default_operating_point = "none"),
  "melanoma is no label": (m) => (m.melanoma_label = "melanoma"),
  "label twice": (m) => (m.labels[0] = m.labels[1]),
  "file outside": (m) => (m.files["../x"] = { sha256: "", bytes: 1 }),
  "failed gate": (m) => (m.parity[0].value = m.parity[0].relation === "<=" ? 1e9 : -1e9),
  "newer key in schema 1": (m) => (m.schema_version = 1),
};

for (const [name, change] of Object.entries(REFUSED)) {
  test(`manifest refused: ${name}`, () => {
    assert.throws(() => parseManifest(changed(change)), code("bundle-schema"));
  });
}

test("no JSON, no manifest, no file, another file", async () => {
  assert.throws(() => parseManifest("{"), code("bundle-schema"));
  const reading = (overrides) => ({ read: (path) => (path in overrides ? overrides[path]() : source.read(path)) });
  const fail = () => Promise.reject(new Error("gone"));
  await assert.rejects(loadBundle(reading({ "bundle.json": fail })), code("bundle-not-found"));
  await assert.rejects(loadBundle(reading({ "classifier.onnx": fail })), code("bundle-file-missing"));
  const tampered = async () => {
    const data = await source.read("segmenter.onnx");
    data[100] ^= 1;
    return data;
  };
  await assert.rejects(loadBundle(reading({ "segmenter.onnx": tampered })), code("bundle-tampered"));
  await assert.rejects(loadBundle(source, { variant: "int3" }), code("bundle-error"));
});

test("bad pictures are typed errors, and the next picture works", async () => {
  const diagnoser = await Diagnoser.load(source, { engine, decoder: sharpDecoder(sharp), maxPixels: 1_000_000 });
  const good = new Uint8Array(await readFile(`${examples}/nevus-like.jpg`));
  const cut = good.slice(0, good.length / 2);
  const large = new Uint8Array(await sharp({ create: { width: 1200, height: 1000, channels: 3, background: "red" } }).png().toBuffer());
  const heic = Uint8Array.from([0, 0, 0, 24, ...Buffer.from("ftypheic"), ...new Array(40).fill(0)]);
  await assert.rejects(diagnoser.diagnose(cut), code("image-decode"));
  await assert.rejects(diagnoser.diagnose(new Uint8Array()), code("image-decode"));
  await assert.rejects(diagnoser.diagnose(large), code("image-too-large"));
  await assert.rejects(diagnoser.diagnose(heic), code("image-unsupported"));
  await assert.rejects(diagnoser.diagnose({ width: 2, height: 2, data: new Uint8Array(3) }), code("image-array"));
  await assert.rejects(diagnoser.diagnose(good, { signal: AbortSignal.abort() }), code("cancelled"));
  const kinds = [];
  for await (const result of diagnoser.diagnoseMany([cut, good])) kinds.push(Object.keys(result)[0]);
  assert.deepEqual(kinds, ["error", "diagnosis"]);
  const [first, second] = await Promise.all([diagnoser.diagnose(good), diagnoser.diagnose(new Blob([good]))]);
  assert.equal(first.status, "ok");
  assert.equal(first.melanoma_probability, second.melanoma_probability);
  await diagnoser.close();
  await diagnoser.close();
  await assert.rejects(diagnoser.diagnose(good), code("engine-error"));
});

test("operating points and bands that do not exist", async () => {
  await assert.rejects(Diagnoser.load(source, { engine, operatingPoint: "none" }), code("bundle-error"));
  await assert.rejects(Diagnoser.load(source, { engine, abstain: 0.77 }), code("bundle-error"));
});
