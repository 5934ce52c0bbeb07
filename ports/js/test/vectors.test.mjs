/** The conformance vectors, in Node: with the bundle's networks and sharp. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";
import sharp from "sharp";

import { replayVectors } from "../dist/conformance.js";
import { Diagnoser, ortEngine } from "../dist/index.js";
import { fromFolder, sharpDecoder } from "../dist/node.js";

const exported = fileURLToPath(new URL("../../../exported", import.meta.url));
const folder = process.env.EDGE_INFER_VECTORS ?? path.join(exported, "conformance");

test("every vector", async (t) => {
  const { bundle } = JSON.parse(await readFile(path.join(folder, "index.json"), "utf8"));
  const source = fromFolder(process.env.EDGE_INFER_BUNDLE ?? path.join(exported, bundle.name));
  const decoder = sharpDecoder(sharp);
  const diagnoser = await Diagnoser.load(source, {
    engine: ortEngine(ort, { intraOpNumThreads: 1 }),
    decoder,
  });
  const outcomes = [];
  for await (const outcome of replayVectors({ vectors: fromFolder(folder), decoder, diagnoser })) {
    outcomes.push(outcome);
    await t.test(outcome.name, () => {
      assert.equal(outcome.status, "passed", outcome.detail);
    });
  }
  await diagnoser.close();
  if (process.env.EDGE_INFER_OUTCOMES) {
    await writeFile(process.env.EDGE_INFER_OUTCOMES, JSON.stringify({ platform: "node", outcomes }));
  }
});
