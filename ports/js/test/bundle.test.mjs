/** Bundles that must be refused, pictures that must be refused, and that the next picture works. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";
import sharp from "sharp";

import { Diagnoser, correct, loadBundle, ortEngine, parseManifest } from "../dist/index.js";
import { fromFolder, sharpDecoder } from "../dist/node.js";

const folder = fileURLToPath(new URL("../../../exported/mobile", import.meta.url));
const examples = fileURLToPath(new URL("../../../examples", import.meta.url));
const source = fromFolder(folder);
const newest = fromFolder(fileURLToPath(new URL("../../../tests/fixtures/bundles/schema-3", import.meta.url)));
const newestManifest = JSON.parse(new TextDecoder().decode(await newest.read("bundle.json")));
const manifest = JSON.parse(await readFile(`${folder}/bundle.json`, "utf8"));
const engine = ortEngine(ort, { intraOpNumThreads: 1 });
const code = (expected) => (error) => error.code === expected && error.remedy.length > 0;

function changed(change, original = manifest) {
  const copy = structuredClone(original);
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
  "margin of 3": (m) => (m.roi.margin = 3),
};
const REFUSED_NEWEST = {
  "newer key in schema 2": (m) => (m.schema_version = 2),
  "newer inner key in schema 2": (m) => {
    m.schema_version = 2;
    delete m.familiarity;
  },
  "both rules": (m) => (m.dermoscopy = { terms: {}, clip: 1, intercept: 0, min_score: 0 }),
  "the map as score": (m) => (m.familiarity.output = m.segmenter.output.name),
  "no tolerance of the score": (m) => (m.golden.max_familiarity = null),
  "no tolerance of a variant": (m) => delete m.segmenter.variants.int8.tolerance.max_familiarity,
  "prior of 1": (m) => (m.calibration.prior = 1),
  "unknown basis": (m) => (m.operating_points[0].basis = "cost"),
  "unknown method": (m) => (m.calibration.method = "isotonic"),
};

for (const [name, change] of Object.entries(REFUSED)) {
  test(`manifest refused: ${name}`, () => {
    assert.throws(() => parseManifest(changed(change)), code("bundle-schema"));
  });
}

for (const [name, change] of Object.entries(REFUSED_NEWEST)) {
  test(`manifest of schema 3 refused: ${name}`, () => {
    assert.throws(() => parseManifest(changed(change, newestManifest)), code("bundle-schema"));
  });
}

test("what an older schema does not know has its default, and a newer one is read", () => {
  const older = parseManifest(JSON.stringify({ ...manifest }));
  if (manifest.schema_version < 3) {
    assert.equal(older.familiarity, null);
    assert.equal(older.calibration.prior, null);
    assert.equal(older.operating_points[0].basis, "ranking");
  }
  const platt = parseManifest(changed((m) => Object.assign(m.calibration, { method: "platt", bias: -0.5, prior: 0.2 }), newestManifest));
  assert.deepEqual([platt.calibration.bias, platt.calibration.prior, platt.schema_version], [-0.5, 0.2, 3]);
});

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

/** The newest fixture with other values in its manifest; files and hashes stay. */
function newestWith(change) {
  const text = new TextEncoder().encode(changed(change, newestManifest));
  return { read: (file) => (file === "bundle.json" ? Promise.resolve(text) : newest.read(file)) };
}

/** Draws a dark disc on skin: the fixture finds a lesion in it. */
function drawn() {
  const [height, width] = [120, 160];
  const data = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++) {
    const [y, x] = [Math.floor(i / width), i % width];
    const inside = (y - 60) ** 2 + (x - 80) ** 2 < 900;
    const grain = (x * 7 + y * 13) % 11;
    data.set(inside ? [80 + grain, 50 + grain, 40 + grain] : [210 + grain, 170 + grain, 150 + grain], 3 * i);
  }
  return { height, width, data };
}

const usable = (m) => {
  m.mask = { ...m.mask, threshold: 1e-6, min_area_fraction: 0, max_area_fraction: 1, min_confidence: 0 };
  m.quality = { min_side: 8, min_contrast: 0, min_luminance: 0, max_luminance: 255, min_sharpness: 0 };
  m.familiarity.threshold = -1e9;
};

test("a score below the threshold refuses the picture and keeps its outline", async () => {
  for (const [threshold, refused] of [[-1e9, false], [1e9, true]]) {
    const bundle = newestWith((m) => (usable(m), (m.familiarity.threshold = threshold)));
    const diagnoser = await Diagnoser.load(bundle, { engine });
    const found = await diagnoser.diagnose(drawn());
    assert.equal(typeof found.quality.familiarity, "number");
    assert.notEqual(found.mask, null);
    assert.equal(found.reason, refused ? "not_dermoscopy" : null);
    assert.equal(found.melanoma_probability === null, refused);
    await diagnoser.close();
  }
});

test("an output that leaves 0 to 1 by rounding is clipped, and one that leaves it further is a typed error", async () => {
  for (const [value, refused] of [[1.0000001192092896, false], [-1e-7, false], [1.001, true], [NaN, true]]) {
    const other = async (...given) => {
      const real = await engine(...given);
      const run = async (...each) => {
        const outputs = { ...(await real.run(...each)) };
        const name = newestManifest.segmenter.output.name;
        if (name in outputs) outputs[name] = Float32Array.from(outputs[name], (old, i) => (i ? old : value));
        return outputs;
      };
      return { provider: "test", run, close: () => real.close() };
    };
    const diagnoser = await Diagnoser.load(newestWith(usable), { engine: other });
    if (refused) await assert.rejects(diagnoser.diagnose(drawn()), code("inference"));
    else assert.equal((await diagnoser.diagnose(drawn())).status, "ok");
    await diagnoser.close();
  }
});

test("a segmenter without the score, and a score that is none, are typed errors", async () => {
  const bundle = newestWith((m) => (usable(m), (m.familiarity.output = "elsewhere")));
  await assert.rejects(Diagnoser.load(bundle, { engine }), code("bundle-mismatch"));
  const silent = async (...given) => {
    const real = await engine(...given);
    const run = async (...each) => {
      const outputs = { ...(await real.run(...each)) };
      if (newestManifest.familiarity.output in outputs) outputs[newestManifest.familiarity.output] = Float32Array.of(NaN);
      return outputs;
    };
    return { provider: "test", run, close: () => real.close() };
  };
  const diagnoser = await Diagnoser.load(newestWith(usable), { engine: silent });
  await assert.rejects(diagnoser.diagnose(drawn()), code("inference"));
  await diagnoser.close();
});

test("a prevalence moves probabilities and ranked thresholds, and no decision", async () => {
  const prior = 0.2;
  const set = (basis) => (m) => {
    usable(m);
    m.calibration.prior = prior;
    for (const point of m.operating_points) point.basis = basis;
  };
  const ratio = (0.02 / 0.98 / prior) * (1 - prior);
  for (const basis of ["ranking", "probability"]) {
    const plain = await Diagnoser.load(newestWith(set(basis)), { engine });
    const moved = await Diagnoser.load(newestWith(set(basis)), { engine, prevalence: 0.02 });
    const [before, after] = [await plain.diagnose(drawn()), await moved.diagnose(drawn())];
    assert.deepEqual([before.prior, after.prior], [prior, 0.02]);
    const [p, corrected] = [before.melanoma_probability, after.melanoma_probability];
    assert.ok(Math.abs(corrected - (ratio * p) / (ratio * p + 1 - p)) < 1e-12);
    const sum = Object.values(after.probabilities).reduce((total, each) => total + each, 0);
    assert.ok(Math.abs(sum - 1) < 1e-6);
    const wanted = basis === "ranking" ? correct(before.threshold, ratio) : before.threshold;
    assert.equal(after.threshold, wanted);
    if (basis === "ranking") assert.equal(after.label, before.label);
    await Promise.all([plain.close(), moved.close()]);
  }
  for (const prevalence of [0, 1, Number.NaN]) {
    await assert.rejects(Diagnoser.load(newestWith(set("ranking")), { engine, prevalence }), code("prevalence"));
  }
  const silent = newestWith((m) => (m.calibration.prior = null));
  await assert.rejects(Diagnoser.load(silent, { engine, prevalence: 0.02 }), code("bundle-error"));
});
